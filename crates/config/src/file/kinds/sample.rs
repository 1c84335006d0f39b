//! Which lines the access log has.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Flag, quote, schema};
use crate::file::declared::{Kind, Written};
use crate::file::given::Given;
use crate::routing::{LogSample, LogShare};

/// `true`, `false`, or a share of them.
pub(crate) struct Logged;

/// A table of shares by statuses.
pub(crate) struct SampleByStatus;

impl Kind for Logged {
    type Read = LogShare;

    fn read(&self, given: Given<'_>) -> Option<LogShare> {
        match given.value.get_ref() {
            DeValue::String(text) if text.contains('%') => share(given),
            _ => Flag.read(given).map(|is_on| if is_on { LogShare::ALL } else { LogShare::NONE }),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": PERCENT }] }))
    }
}

impl Written for Logged {
    fn written(&self, value: &LogShare) -> Json {
        match *value {
            LogShare::ALL => json!(true),
            LogShare::NONE => json!(false),
            share => json!(share.to_string()),
        }
    }
}

impl Kind for SampleByStatus {
    type Read = LogSample;

    fn read(&self, given: Given<'_>) -> Option<LogSample> {
        let Some(entries) = given.entries() else {
            return given.wrong_type("a table of shares", "{ 2xx = \"1%\" }".to_owned());
        };
        let (mut sample, mut is_wrong) = (LogSample::default(), false);
        for (name, value) in entries {
            let Some(share) = share(value) else {
                is_wrong = true;
                continue;
            };
            if !sample.add(name, share) {
                is_wrong = true;
                let hint = "there is 100 to 599, and \"1xx\" to \"5xx\" for all of a kind".to_owned();
                value.refuse::<()>(format!("\"{name}\" is no status"), Some(hint));
            }
        }
        (!is_wrong).then_some(sample)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({
            "type": "object",
            "additionalProperties": false,
            "patternProperties": { "^[1-5]([0-9][0-9]|xx)$": { "type": "string", "pattern": PERCENT } },
        }))
    }
}

impl Written for SampleByStatus {
    fn written(&self, value: &LogSample) -> Json {
        json!(value.written())
    }
}

fn share(given: Given<'_>) -> Option<LogShare> {
    let text = given.text("a share", || quote("5%"))?;
    match LogShare::read(text) {
        Some(share) => Some(share),
        None => given.refuse(
            format!("`{}` wants a share, 0% to 100%", given.name),
            Some(format!("write `{} = \"5%\"`; \"0.01%\" is the least", given.name)),
        ),
    }
}

const PERCENT: &str = "^[0-9]{1,3}(\\.[0-9]{1,2})? ?%$";
