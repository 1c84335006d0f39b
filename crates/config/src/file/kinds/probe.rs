//! Kinds of values that only an upstream's care for its nodes has: rates, statuses, texts that are looked for.

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{quote, schema};
use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;

/// So many a second: `"20/s"`.
pub(crate) struct Rate {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

/// HTTP statuses and ranges of them: `"200-299, 304"`.
pub(crate) struct Statuses;

impl Unsaid for Statuses {}

/// A path as it is asked for, with a query if need be.
pub(crate) struct RequestPath;

impl Unsaid for RequestPath {}

/// Any text that is not empty.
pub(crate) struct Text {
    pub(crate) bytes_max: usize,
}

impl Unsaid for Text {}

impl Kind for Rate {
    type Read = u64;

    fn read(&self, given: Given<'_>) -> Option<u64> {
        if let DeValue::Integer(number) = given.value.get_ref() {
            let hint = format!("write `{} = \"{}/s\"`", given.name, number.as_str());
            return given.refuse(format!("`{}` wants a rate with its unit", given.name), Some(hint));
        }
        let text = given.text("a rate in quotes", || quote("20/s"))?;
        let number = text.trim().strip_suffix("/s").map(str::trim_end);
        match number.map(str::parse::<u64>) {
            Some(Ok(rate)) if (self.least..=self.most).contains(&rate) => Some(rate),
            Some(Ok(_)) => given.out_of_range(&self.words()),
            Some(Err(_)) | None => {
                let hint = match meant(text) {
                    Some(rate) if (self.least..=self.most).contains(&rate) => {
                        format!("write `{} = \"{rate}/s\"`", given.name)
                    }
                    Some(_) => format!("it may be {}", self.words()),
                    None => format!("write `{} = \"20/s\"`", given.name),
                };
                given.refuse(format!("`{}` wants a rate, a whole number a second", given.name), Some(hint))
            }
        }
    }

    fn range(&self) -> Option<String> {
        Some(self.words())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^\\s*[0-9]+\\s*/s\\s*$" }))
    }
}

impl Rate {
    fn words(&self) -> String {
        format!("{}/s to {}/s", self.least, self.most)
    }
}

/// The rate that somebody meant who wrote it as nginx or a person does: `10r/s`, `600r/m`, `20 per second`. 0 is less than
/// one a second.
fn meant(text: &str) -> Option<u64> {
    let text = text.to_lowercase().replace("per", "/");
    let (number, unit) = text.split_once('/').unwrap_or((&text, "s"));
    let number: u64 =
        number.trim().trim_end_matches(|letter: char| letter.is_ascii_alphabetic()).trim().parse().ok()?;
    let seconds = match unit.trim() {
        "s" | "sec" | "second" => 1,
        "m" | "min" | "minute" => 60,
        "h" | "hour" => 3_600,
        _ => return None,
    };
    Some(number / seconds)
}

impl Written for Rate {
    fn written(&self, value: &u64) -> Json {
        json!(format!("{value}/s"))
    }
}

impl Kind for Statuses {
    type Read = Vec<RangeInclusive<u16>>;

    fn read(&self, given: Given<'_>) -> Option<Vec<RangeInclusive<u16>>> {
        let text = given.text("statuses in quotes", || quote("200-399"))?;
        let range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let status = |text: &str| {
                text.trim().parse::<u16>().ok().filter(|status| (STATUS_MIN..=STATUS_MAX).contains(status))
            };
            let range = status(first)?..=status(last)?;
            (!range.is_empty()).then_some(range)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(range).collect();
        ranges.or_else(|| {
            let hint = "statuses are 100 to 599: \"204\", \"200-399\" or \"200-299, 304\"";
            given.refuse(format!("\"{text}\" are not statuses"), Some(hint.to_owned()))
        })
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^\\s*[1-5][0-9]{2}(\\s*[-,]\\s*[1-5][0-9]{2})*\\s*$" }))
    }
}

impl Kind for RequestPath {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a path", || quote("/"))?;
        let hint = if !text.starts_with('/') {
            format!("a path begins with a slash: `{} = \"/{text}\"`", given.name)
        } else if text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            "what is not visible ASCII is written as clients send it: \"%20\"".to_owned()
        } else {
            return Some(text.to_owned());
        };
        given.refuse(format!("\"{text}\" cannot be asked for"), Some(hint))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^/[^#\\s]*$" }))
    }
}

impl Kind for Text {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a text", || quote("ok"))?;
        if text.is_empty() || text.len() > self.bytes_max {
            let range = format!("1 to {} bytes long", self.bytes_max);
            return given.out_of_range(&range);
        }
        Some(text.to_owned())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1, "maxLength": self.bytes_max }))
    }
}

const STATUS_MIN: u16 = 100;
const STATUS_MAX: u16 = 599;
