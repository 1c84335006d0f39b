//! What a route says of the files it answers with: `index`, `fallback`, `cache`.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;
use crate::file::kinds::{Time, quote, schema};
use crate::routing::Cache;

/// How long caches may keep a file.
pub(crate) struct CacheTime;

impl Unsaid for CacheTime {}

impl Kind for CacheTime {
    type Read = Cache;

    fn read(&self, given: Given<'_>) -> Option<Cache> {
        match given.value.get_ref() {
            DeValue::String(text) if text == HASHED => Some(Cache::Hashed),
            // Years, which other times do not have.
            DeValue::String(text)
                if text.strip_suffix('y').is_some_and(|years| years.parse::<u32>().is_ok()) =>
            {
                let years = text.trim_end_matches('y').parse::<u32>().ok().filter(|years| *years <= 10);
                match years {
                    Some(years) => Some(Cache::For(Duration::from_secs(u64::from(years) * YEAR_S))),
                    None => given.out_of_range("0s to 10y"),
                }
            }
            _ => Time { least: Duration::ZERO, most: Duration::from_secs(10 * YEAR_S) }
                .read(given)
                .map(Cache::For),
        }
    }

    fn range(&self) -> Option<String> {
        Some("0s to 10y".to_owned())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 2 }))
    }
}

/// Names of files in a folder, or one.
pub(crate) struct FileNames;

impl Kind for FileNames {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let DeValue::Array(_) = given.value.get_ref() else {
            return FileName.read(given).map(|name| vec![name]);
        };
        let names = given.elements("the name of a file, or a list of them", "[\"index.html\"]")?;
        names.map(|name| FileName.read(name)).collect()
    }

    fn schema(&self) -> Map<String, Json> {
        let one = Json::Object(FileName.schema());
        schema(json!({ "anyOf": [one, { "type": "array", "items": one }] }))
    }
}

impl Written for FileNames {
    fn written(&self, value: &Vec<String>) -> Json {
        json!(value)
    }
}

/// The name of a file in a folder, or under it.
pub(crate) struct FileName;

impl Unsaid for FileName {}

impl Kind for FileName {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("the name of a file", || quote("index.html"))?;
        let name = text.trim_start_matches('/');
        let is_within = !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if is_within {
            return Some(name.to_owned());
        }
        given.refuse(
            format!("\"{text}\" is not the name of a file in the folder"),
            Some("write it as seen from `files`: \"index.html\"".to_owned()),
        )
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

const HASHED: &str = "hashed";
const YEAR_S: u64 = 365 * 24 * 60 * 60;
