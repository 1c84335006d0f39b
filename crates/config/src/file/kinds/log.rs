//! How a line of the access log looks: one of a few words, or a text with nginx's variables.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::{quote, schema};
use crate::file::declared::{Kind, Written};
use crate::file::given::Given;
use crate::plan::values::line::{LineFormat, NotAFormat};
use crate::plan::values::LogFormat;
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

const JSON: &str = "json";
const COMBINED: &str = "combined";
