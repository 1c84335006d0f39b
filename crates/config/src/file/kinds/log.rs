//! How a line of the access log looks: one of a few words, or a text with nginx's variables.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::{quote, schema};
use crate::file::declared::{Kind, Written};
use crate::file::given::Given;
use crate::plan::values::LogFormat;
use crate::plan::values::fields::LogFields;
use crate::plan::values::line::{LineFormat, NotAFormat};
use crate::problem::Problem;
use crate::suggest::nearest;

/// `"json"`, `"combined"` or a text with variables.
pub(crate) struct FormatOfLines;

impl Kind for FormatOfLines {
    type Read = LogFormat;

    fn read(&self, given: Given<'_>) -> Option<LogFormat> {
        let text = given.text("\"json\", \"combined\" or a text with nginx's variables", || quote(JSON))?;
        match text {
            JSON => Some(LogFormat::Json),
            COMBINED => Some(LogFormat::Combined),
            text if text.contains('$') => match LineFormat::read(text) {
                Ok(format) => Some(LogFormat::Text(Arc::new(format))),
                Err(wrong) => {
                    tell(given, text, &wrong);
                    None
                }
            },
            word => given.refuse(
                format!("`{}` wants \"{JSON}\", \"{COMBINED}\" or a text with nginx's variables", given.name),
                Some(match nearest(word, [JSON, COMBINED]) {
                    Some(meant) => format!("did you mean \"{meant}\"?"),
                    None => {
                        format!("write `{} = '$remote_addr [$time_local] \"$request\" $status'`", given.name)
                    }
                }),
            ),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "enum": [JSON, COMBINED] }, { "type": "string", "pattern": "\\$" }] }))
    }
}

/// Points at the variable, or at the whole text where escapes hide its place.
fn tell(given: Given<'_>, text: &str, wrong: &NotAFormat) {
    let NotAFormat { at, message, hint } = wrong;
    let whole = given.value.span();
    let is_as_written = whole.len() == text.len() + 2;
    let span = if is_as_written { whole.start + 1 + at.start..whole.start + 1 + at.end } else { whole };
    given.push(Problem::error(span, message.clone()).hint(hint.clone()));
}

impl Written for FormatOfLines {
    fn written(&self, value: &LogFormat) -> Json {
        match value {
            LogFormat::Json => json!(JSON),
            LogFormat::Combined => json!(COMBINED),
            LogFormat::Text(format) => json!(format.written()),
        }
    }
}

/// Keys of a query.
pub(crate) struct QueryKeys;

impl Kind for QueryKeys {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let mut keys = Vec::new();
        for element in given.elements("a list of keys of a query", "[\"token\"]")? {
            let key = element.text("a key of a query", || quote("token"))?;
            let is_one = (1..=KEY_BYTES_MAX).contains(&key.len())
                && !key.contains(|c: char| c.is_whitespace() || c.is_control() || "&;=?#%[]".contains(c));
            if !is_one {
                return element.refuse(
                    format!("\"{key}\" is not a key of a query"),
                    Some("write its name alone, as it is without escapes: \"token\"".to_owned()),
                );
            }
            keys.push(key.to_owned());
        }
        Some(keys)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(
            json!({ "type": "array", "items": { "type": "string", "minLength": 1, "maxLength": KEY_BYTES_MAX } }),
        )
    }
}

impl Written for QueryKeys {
    fn written(&self, value: &Vec<String>) -> Json {
        json!(value.join(", "))
    }
}

/// Names of members of a JSON line.
pub(crate) struct FieldNames;

impl Kind for FieldNames {
    type Read = LogFields;

    fn read(&self, given: Given<'_>) -> Option<LogFields> {
        let (mut fields, mut is_wrong) = (LogFields::NONE, false);
        for element in given.elements("a list of fields", "[\"usual\", \"user_agent\"]")? {
            let name = element.text("the name of a field", || quote("user_agent"))?;
            let known = if name == USUAL { Some(LogFields::USUAL) } else { LogFields::named(name) };
            match known {
                Some(field) => fields = fields.with(field),
                None => {
                    is_wrong = true;
                    let names = || std::iter::once(USUAL).chain(LogFields::all().names());
                    let hint = match nearest(name, names()) {
                        Some(meant) => format!("did you mean \"{meant}\"?"),
                        None => format!("there are {}", names().collect::<Vec<_>>().join(", ")),
                    };
                    element.refuse::<()>(format!("\"{name}\" is no field of a line"), Some(hint));
                }
            }
        }
        if fields == LogFields::NONE && !is_wrong {
            let hint = "write `access = \"off\"` if no line is wanted".to_owned();
            return given.refuse("`fields` is empty", Some(hint));
        }
        (!is_wrong).then_some(fields)
    }

    fn schema(&self) -> Map<String, Json> {
        let names: Vec<&str> = std::iter::once(USUAL).chain(LogFields::all().names()).collect();
        schema(json!({ "type": "array", "items": { "enum": names }, "minItems": 1 }))
    }
}

impl Written for FieldNames {
    fn written(&self, value: &LogFields) -> Json {
        let has_usual = value.has_all(LogFields::USUAL);
        let is_said = |name: &&str| !(has_usual && LogFields::USUAL.names().any(|usual| usual == *name));
        let names: Vec<&str> =
            has_usual.then_some(USUAL).into_iter().chain(value.names().filter(is_said)).collect();
        json!(names.join(", "))
    }
}

const USUAL: &str = "usual";
const JSON: &str = "json";
const COMBINED: &str = "combined";
const KEY_BYTES_MAX: usize = 64;
