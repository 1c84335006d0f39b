//! Header lines that a route sets, adds and removes: `request_headers`, `response_headers`.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{passing_line, without_node};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::fields::Fields;
use crate::file::given::Given;
use crate::file::kinds::headers::{OF_THE_CONNECTION, SAID_BY_US, is_token_byte, title};
use crate::file::kinds::{quote, schema};
use crate::routing::{HeaderEdits, Template};

/// Header lines that are set, added and removed. What requests say as Host is one of them.
pub(crate) struct HeaderChanges {
    /// Whether they are those of requests.
    pub(crate) of_requests: bool,
}

declare! {
    /// `request_headers` or `response_headers`.
    struct HeaderTable in TABLE = "headers", One: "Header lines that are set, added and removed.";
    keys {
        /// Lines in the place of those of the same name: `{ "Cache-Control" = "no-store" }`. Values may hold variables; an empty
        /// one sends no line.
        SET set: Option<Vec<(String, Template)>> => "none", Lines;
        /// Lines beside those of the same name.
        ADD add: Option<Vec<(String, Template)>> => "none", Lines;
        /// Names of lines that go no further.
        REMOVE remove: Option<Vec<String>> => "none", LineNames;
    }
}

impl Kind for HeaderChanges {
    type Read = HeaderEdits;

    fn read(&self, given: Given<'_>) -> Option<HeaderEdits> {
        let Some(fields) = given.table(TABLE.section) else {
            let example = "{ set = { \"Cache-Control\" = \"no-store\" } }".to_owned();
            return given.wrong_type("a table", example);
        };
        // All that is wrong is told, and not the first of it alone.
        fields.reading.sound(|| {
            let HeaderTable { set, add, remove } = HeaderTable::read(&fields);
            self.demand_names(&fields);
            HeaderEdits {
                set: set.unwrap_or_default(),
                add: add.unwrap_or_default(),
                remove: remove.unwrap_or_default(),
            }
        })
    }

    fn schema(&self) -> Map<String, Json> {
        schema(TABLE.section.schema())
    }
}

impl Unsaid for HeaderChanges {}

impl HeaderChanges {
    fn demand_names(&self, fields: &Fields<'_>) {
        for key in [SET.name, ADD.name] {
            for (name, value) in fields.given(key).and_then(Given::entries).into_iter().flatten() {
                let is_host = self.of_requests && key == SET.name && name.eq_ignore_ascii_case("host");
                match is_host {
                    true => demand_known_node(value),
                    false => self.demand_name(value, name),
                }
            }
        }
        for (name, given) in fields.given(REMOVE.name).map(Given::texts).unwrap_or_default() {
            self.demand_name(given, name);
        }
    }

    /// Tells why a line of this name may not be changed, if so.
    fn demand_name(&self, given: Given<'_>, name: &str) {
        let lower = name.to_ascii_lowercase();
        let (message, hint) = if name.is_empty() || !name.bytes().all(is_token_byte) {
            let hint = "a name stands without its colon: \"X-Frame-Options\"";
            (format!("\"{name}\" is not the name of a header"), hint)
        } else if OF_THE_CONNECTION.contains(&&*lower) {
            let title = title(&lower);
            (
                format!("{title} is between two ends of a connection, and tidelock says it itself"),
                "leave it out",
            )
        } else if self.of_requests && SAID_BY_US.contains(&&*lower) {
            let hint = match &*lower {
                "host" => "write it under `set`: `set = { Host = \"app.internal\" }`",
                _ => "leave it out: nodes are told who the client is on every request",
            };
            (format!("tidelock says {} itself", title(&lower)), hint)
        } else {
            return;
        };
        given.refuse::<()>(message, Some(hint.to_owned()));
    }
}

/// What requests say as Host is said before the node is chosen.
fn demand_known_node(host: Given<'_>) {
    if let DeValue::String(text) = host.value.get_ref()
        && let Ok(read) = Template::read(text, host.groups)
    {
        without_node(host, read);
    }
}

/// Header lines by their names.
pub(crate) struct Lines;

impl Kind for Lines {
    type Read = Vec<(String, Template)>;

    fn read(&self, given: Given<'_>) -> Option<Self::Read> {
        let Some(entries) = given.entries() else {
            return given.wrong_type("a table", "{ \"Cache-Control\" = \"no-store\" }".to_owned());
        };
        // One that is wrong has been told, and the others may be wrong as well.
        Some(entries.filter_map(|(name, value)| Some((name.to_owned(), passing_line(value)?))).collect())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "object", "additionalProperties": { "type": "string" } }))
    }
}

impl Unsaid for Lines {}

/// Names of header lines, read in lower case.
pub(crate) struct LineNames;

impl Kind for LineNames {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let names = given.elements("a list of header names", "[\"X-Powered-By\"]")?;
        let read = names.filter_map(|name| name.text("a header name", || quote("X-Powered-By")));
        Some(read.map(str::to_ascii_lowercase).collect())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }))
    }
}

impl Unsaid for LineNames {}
