//! An answer that stands in the file: `respond`.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Text, line, template};
use crate::file::declared::{Key, Kind, Optional, Or, Section};
use crate::file::given::Given;
use crate::file::kinds::paths::{FilePath, media_type};
use crate::file::kinds::{Count, quote, schema};
use crate::routing::{Pattern, Respond, Template};

/// A status, or a table.
pub(crate) struct RespondWith;

/// A table of answers.
pub(crate) static RESPOND_SECTION: Section = Section {
    doc: "An answer that stands in the file.",
    keys: &[&RESPOND_STATUS, &RESPOND_TEXT, &RESPOND_FILE, &RESPOND_TYPE],
};
static RESPOND_STATUS: Key<Count, Or<u64>> = Key {
    name: "status",
    kind: Count { least: 200, most: 599 },
    absent: Or(200),
    doc: "The status. 444 closes the connection without an answer, as in nginx.",
};
static RESPOND_TEXT: Key<Text, Optional> =
    Key { name: "text", kind: Text, absent: Optional("no body"), doc: "The body. May hold variables." };
static RESPOND_FILE: Key<FilePath, Optional> = Key {
    name: "file",
    kind: FilePath,
    absent: Optional("`text` has it"),
    doc: "A file that is the body, up to 1 MiB, without variables. Relative to the folder of this file; read at the start and \
          at each reload.",
};
static RESPOND_TYPE: Key<Text, Optional> = Key {
    name: "content_type",
    kind: Text,
    absent: Optional("by the ending of `file`, or \"text/plain; charset=utf-8\""),
    doc: "The media type of the body.",
};

impl RespondWith {
    /// Reads it, with the groups of the route's pattern.
    pub(crate) fn read_with(given: Given<'_>, pattern: Option<&Pattern>) -> Option<Respond> {
        let plain = "text/plain; charset=utf-8";
        if let DeValue::Integer(_) = given.value.get_ref() {
            let status = RESPOND_STATUS.kind.read(given)?;
            let status = u16::try_from(status).ok()?;
            return Some(Respond { status, text: Template::default(), content_type: plain.to_owned() });
        }
        let Some(fields) = given.table(&RESPOND_SECTION) else {
            return given.wrong_type("a status or a table", "{ status = 200, text = \"ok\" }".to_owned());
        };
        let status = u16::try_from(fields.readable(&RESPOND_STATUS)?).ok()?;
        let has_no_body = matches!(status, 204 | 205 | 304);
        let (text, usual) = match (fields.given(RESPOND_TEXT.name), fields.given(RESPOND_FILE.name)) {
            (Some(_), Some(file)) => {
                let hint = "keep either `file` or `text`".to_owned();
                return file.refuse("the body is in `text` already", Some(hint));
            }
            (None, Some(file)) if has_no_body => return no_body(file, status),
            (Some(text), None) => (template(text, text.text("a string", || quote("ok"))?, pattern)?, plain),
            (None, Some(file)) => {
                let path = file.text("the path of a file", || quote("pages/ok.html"))?;
                (Template::verbatim(file.text_in(path)?), media_type(path))
            }
            (None, None) => (Template::default(), plain),
        };
        let content_type = match fields.given(RESPOND_TYPE.name) {
            Some(given) => line(given, None, true)?.written().to_owned(),
            None => usual.to_owned(),
        };
        if !text.pieces().is_empty() && has_no_body {
            return no_body(given, status);
        }
        Some(Respond { status, text, content_type })
    }
}

fn no_body<T>(given: Given<'_>, status: u16) -> Option<T> {
    let hint = "leave `text` or `file` out, or write another status".to_owned();
    given.refuse(format!("an answer of {status} has no body"), Some(hint))
}

/// Read by [`RespondWith::read_with`], once the groups of the route are known.
impl Kind for RespondWith {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        let table = RESPOND_SECTION.schema();
        schema(json!({ "anyOf": [{ "type": "integer", "minimum": 200, "maximum": 599 }, table] }))
    }
}
