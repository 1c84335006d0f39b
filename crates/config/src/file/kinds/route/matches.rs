//! What a route wants of a request's header lines and query: `headers`, `query`.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use crate::file::declared::{Kind, Unsaid};
use crate::file::given::Given;
use crate::file::kinds::headers::is_token_byte;
use crate::file::kinds::schema;
use crate::routing::Match;

/// Values by their names; `true` in the place of one is any.
pub(crate) struct Matching {
    /// Whether they are those of the query.
    pub(crate) of_query: bool,
}

impl Unsaid for Matching {}

impl Kind for Matching {
    type Read = Vec<Match>;

    fn read(&self, given: Given<'_>) -> Option<Vec<Match>> {
        let Some(entries) = given.entries() else {
            return given.wrong_type("a table", self.example().to_owned());
        };
        let mut read: Vec<Match> = Vec::new();
        let mut is_whole = true;
        for (name, value) in entries {
            match self.one(name, value) {
                Some(one) if read.iter().any(|other| other.name == one.name) => {
                    let hint = "names of header lines have no case; keep one of them".to_owned();
                    is_whole =
                        value.refuse::<()>(format!("\"{name}\" stands twice in it"), Some(hint)).is_some();
                }
                Some(one) => read.push(one),
                None => is_whole = false,
            }
        }
        if read.len() > MATCHES_MAX {
            let hint = Some(format!("{MATCHES_MAX} of them at most"));
            return given.refuse(format!("`{}` has {} names", given.name, read.len()), hint);
        }
        read.sort();
        is_whole.then_some(read)
    }

    fn schema(&self) -> Map<String, Json> {
        let value = json!({ "anyOf": [{ "type": "string", "maxLength": BYTES_MAX }, { "const": true }] });
        schema(json!({ "type": "object", "maxProperties": MATCHES_MAX, "additionalProperties": value }))
    }
}

impl Matching {
    fn one(&self, name: &str, given: Given<'_>) -> Option<Match> {
        let is_header = !self.of_query;
        let is_name = match is_header {
            true => name.bytes().all(is_token_byte),
            false => !name.contains(char::is_control),
        };
        if name.is_empty() || name.len() > BYTES_MAX || !is_name {
            return given
                .refuse(format!("\"{name}\" is no name here"), Some(format!("write {}", self.example())));
        }
        if is_header && name.eq_ignore_ascii_case("host") {
            return given.refuse("the host is told apart by `host`", Some("write it there".to_owned()));
        }
        let value = match given.value.get_ref() {
            DeValue::Boolean(true) => None,
            DeValue::String(_) => Some(given.text("a text", || self.example().to_owned())?.to_owned()),
            _ => return given.wrong_type("a text, or `true` for any", "true".to_owned()),
        };
        // A line is read without the blanks around its value.
        let is_said = |value: &String| {
            value.len() <= BYTES_MAX
                && !(is_header && (value.trim() != value || value.contains(char::is_control)))
        };
        if !value.as_ref().is_none_or(is_said) {
            let hint = format!("up to {BYTES_MAX} bytes, without blanks around them in a header line");
            return given.refuse(format!("no request says \"{name}\" so"), Some(hint));
        }
        let name = if is_header { name.to_ascii_lowercase() } else { name.to_owned() };
        Some(Match { name, value })
    }

    fn example(&self) -> &'static str {
        match self.of_query {
            false => "{ X-Version = \"2\", X-Debug = true }",
            true => "{ version = \"2\", debug = true }",
        }
    }
}

/// As many as an HTTPRoute may have.
const MATCHES_MAX: usize = 16;
/// Of a name, and of a value.
const BYTES_MAX: usize = 1024;
