//! An answer that stands in the file: `respond`.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{BodyText, LineText};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::fields::Fields;
use crate::file::given::Given;
use crate::file::kinds::paths::{FilePath, PLAIN, media_type};
use crate::file::kinds::{Count, quote, schema};
use crate::routing::{Respond, Template};

/// A status, or a table.
pub(crate) struct RespondWith;

declare! {
    /// `respond`, where it is a table.
    struct RespondTable in TABLE = "respond", One: "An answer that stands in the file.";
    keys {
        /// The status. 444 closes the connection without an answer, as in nginx.
        STATUS status: u16 = 200, Count { least: 200, most: 599 };
        /// The body. May hold variables.
        TEXT text: Option<Template> => "no body", BodyText;
        /// A file that is the body, up to 1 MiB, without variables. Relative to the folder of this file; read at the start and
        /// at each reload.
        FILE file: Option<PathBuf> => "`text` has it", FilePath;
        /// The media type of the body.
        CONTENT_TYPE content_type: Option<String> => "by the ending of `file`, or \"text/plain; charset=utf-8\"", LineText;
    }
}

impl Kind for RespondWith {
    type Read = Arc<Respond>;

    fn read(&self, given: Given<'_>) -> Option<Arc<Respond>> {
        if let DeValue::Integer(_) = given.value.get_ref() {
            let status = u16::try_from(STATUS.kind.read(given)?).ok()?;
            let (text, content_type) = (Template::default(), PLAIN.to_owned());
            return Some(Arc::new(Respond { status, text, content_type }));
        }
        let Some(fields) = given.table(TABLE.section) else {
            return given.wrong_type("a status or a table", "{ status = 200, text = \"ok\" }".to_owned());
        };
        let table = fields.reading.sound(|| RespondTable::read(&fields))?;
        table.respond(given, &fields).map(Arc::new)
    }

    fn schema(&self) -> Map<String, Json> {
        let status = json!({ "type": "integer", "minimum": 200, "maximum": 599 });
        schema(json!({ "anyOf": [status, TABLE.section.schema()] }))
    }
}

impl Unsaid for RespondWith {}

impl RespondTable {
    fn respond(self, given: Given<'_>, fields: &Fields<'_>) -> Option<Respond> {
        let Self { status, text, file: _, content_type } = self;
        let has_no_body = matches!(status, 204 | 205 | 304);
        let (text, usual) = match (text, fields.given(FILE.name)) {
            (Some(_), Some(file)) => {
                let hint = "keep either `file` or `text`".to_owned();
                return file.refuse("the body is in `text` already", Some(hint));
            }
            (None, Some(file)) if has_no_body => return no_body(file, status),
            (Some(text), None) => (text, PLAIN),
            (None, Some(file)) => {
                let path = file.text("the path of a file", || quote("pages/ok.html"))?;
                (Template::verbatim(file.text_in(path)?), media_type(path))
            }
            (None, None) => (Template::default(), PLAIN),
        };
        if !text.pieces().is_empty() && has_no_body {
            return no_body(given, status);
        }
        Some(Respond { status, text, content_type: content_type.unwrap_or_else(|| usual.to_owned()) })
    }
}

fn no_body<T>(given: Given<'_>, status: u16) -> Option<T> {
    let hint = "leave `text` or `file` out, or write another status".to_owned();
    given.refuse(format!("an answer of {status} has no body"), Some(hint))
}
