//! Header lines that a route sets, adds and removes: `request_headers`, `response_headers`.

use serde_json::{Map, Value as Json, json};

use super::{line, passing_line};
use crate::file::declared::{Key, Kind, Optional, Section};
use crate::file::fields::Fields;
use crate::file::given::Given;
use crate::file::kinds::headers::{OF_THE_CONNECTION, SAID_BY_US, is_token_byte, title};
use crate::file::kinds::{quote, schema};
use crate::routing::{HeaderEdits, Pattern, Template};

/// Header lines that are set, added and removed.
pub(crate) struct HeaderChanges {
    /// Whether they are those of requests.
    pub(crate) of_requests: bool,
}

/// A table of changes to header lines.
pub(crate) static HEADERS_SECTION: Section = Section {
    doc: "Header lines that are set, added and removed.",
    keys: &[&HEADERS_SET, &HEADERS_ADD, &HEADERS_REMOVE],
};
static HEADERS_SET: Key<LineTable, Optional> = Key {
    name: "set",
    kind: LineTable,
    absent: Optional("none"),
    doc: "Lines in the place of those of the same name: `{ \"Cache-Control\" = \"no-store\" }`. Values may hold variables; \
          an empty one sends no line.",
};
static HEADERS_ADD: Key<LineTable, Optional> = Key {
    name: "add",
    kind: LineTable,
    absent: Optional("none"),
    doc: "Lines beside those of the same name.",
};
static HEADERS_REMOVE: Key<LineNames, Optional> = Key {
    name: "remove",
    kind: LineNames,
    absent: Optional("none"),
    doc: "Names of lines that go no further.",
};

struct LineTable;
struct LineNames;

impl Kind for LineTable {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "object", "additionalProperties": { "type": "string" } }))
    }
}

impl Kind for LineNames {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }))
    }
}

impl HeaderChanges {
    /// Reads them, with the groups of the route's pattern. What requests say as Host comes apart.
    pub(crate) fn read_with(
        &self,
        given: Given<'_>,
        pattern: Option<&Pattern>,
    ) -> Option<(HeaderEdits, Option<Template>)> {
        let Some(fields) = given.table(&HEADERS_SECTION) else {
            let example = "{ set = { \"Cache-Control\" = \"no-store\" } }".to_owned();
            return given.wrong_type("a table", example);
        };
        let mut set = self.lines(&fields, HEADERS_SET.name, pattern)?;
        let add = self.lines(&fields, HEADERS_ADD.name, pattern)?;
        let remove = match fields.given(HEADERS_REMOVE.name) {
            Some(names) => names
                .elements("a list of header names", "[\"X-Powered-By\"]")?
                .filter_map(|name| {
                    let text = name.text("a header name", || quote("X-Powered-By"))?;
                    self.name(name, text).map(|()| text.to_ascii_lowercase())
                })
                .collect(),
            None => Vec::new(),
        };
        let host = set.iter().position(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.filter(|_| self.of_requests).map(|at| set.remove(at).1);
        Some((HeaderEdits { set, add, remove }, host))
    }

    fn lines(
        &self,
        fields: &Fields<'_>,
        key: &str,
        pattern: Option<&Pattern>,
    ) -> Option<Vec<(String, Template)>> {
        let Some(given) = fields.given(key) else { return Some(Vec::new()) };
        let Some(entries) = given.entries() else {
            return given.wrong_type("a table", "{ \"Cache-Control\" = \"no-store\" }".to_owned());
        };
        // One that is wrong has been told, and the others may be wrong as well.
        let lines = entries.filter_map(|(name, value)| {
            let is_host = self.of_requests && key == HEADERS_SET.name && name.eq_ignore_ascii_case("host");
            if is_host {
                return Some((name.to_owned(), line(value, pattern, true)?));
            }
            self.name(value, name)?;
            Some((name.to_owned(), passing_line(value, pattern)?))
        });
        Some(lines.collect())
    }

    /// Whether a line of this name may be changed.
    fn name(&self, given: Given<'_>, name: &str) -> Option<()> {
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return given.refuse(
                format!("\"{name}\" is not the name of a header"),
                Some("a name stands without its colon: \"X-Frame-Options\"".to_owned()),
            );
        }
        if OF_THE_CONNECTION.contains(&&*lower) {
            return given.refuse(
                format!("{} is between two ends of a connection, and tidelock says it itself", title(&lower)),
                Some("leave it out".to_owned()),
            );
        }
        if self.of_requests && SAID_BY_US.contains(&&*lower) {
            let hint = match &*lower {
                "host" => "write it under `set`: `set = { Host = \"app.internal\" }`",
                _ => "leave it out: nodes are told who the client is on every request",
            };
            return given.refuse(format!("tidelock says {} itself", title(&lower)), Some(hint.to_owned()));
        }
        Some(())
    }
}

/// Read by [`HeaderChanges::read_with`], once the groups of the route are known.
impl Kind for HeaderChanges {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(HEADERS_SECTION.schema())
    }
}
