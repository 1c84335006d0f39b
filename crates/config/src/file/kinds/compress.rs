//! What a route compresses.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Size, quote, schema};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::given::Given;
use crate::routing::{Coding, Compress};

/// `true`, or a table.
pub(crate) struct Compressing;

impl Unsaid for Compressing {}

declare! {
    /// `compress`, where it is a table.
    struct CompressTable in TABLE = "compress", One: "Which answers are compressed, and how.";
    keys {
        /// The codings that clients get, in the order that decides where they like several alike.
        CODINGS codings: Option<Vec<Coding>> => "\"zstd\", \"br\" and \"gzip\", the best first", Codings;
        /// Media types: "application/json", "text/*", or "*". `text/event-stream` has to be named.
        TYPES types: Option<Vec<String>>
            => "text, JSON, XML, JavaScript, SVG, WebAssembly and fonts that are not compressed themselves", MediaTypes;
        /// Answers that say that they are shorter are left as they are.
        BYTES_MIN bytes_min: u64 = 1 << 10, Size { least: 0, most: 1 << 30 };
    }
}

impl Kind for Compressing {
    type Read = Option<Compress>;

    fn read(&self, given: Given<'_>) -> Option<Option<Compress>> {
        let usual = || vec![Coding::Zstd, Coding::Brotli, Coding::Gzip];
        if let DeValue::Boolean(is_on) = given.value.get_ref() {
            let usual = || Compress { codings: usual(), types: None, bytes_min: BYTES_MIN.absent.0 };
            return Some(is_on.then(usual));
        }
        let Some(fields) = given.table(TABLE.section) else {
            return given.wrong_type("true, false or a table", "true".to_owned());
        };
        let CompressTable { codings, types, bytes_min } =
            fields.reading.sound(|| CompressTable::read(&fields))?;
        Some(Some(Compress { codings: codings.unwrap_or_else(usual), types, bytes_min }))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "boolean" }, TABLE.section.schema()] }))
    }
}

/// A list of codings.
pub(crate) struct Codings;

impl Unsaid for Codings {}

impl Kind for Codings {
    type Read = Vec<Coding>;

    fn read(&self, given: Given<'_>) -> Option<Vec<Coding>> {
        let mut read = Vec::new();
        let mut is_wrong = false;
        for element in given.elements("a list of codings", "[\"br\", \"gzip\"]")? {
            let text = element.text("a coding", || quote("gzip"))?;
            match Coding::ALL.into_iter().find(|coding| coding.as_str() == text) {
                Some(coding) if read.contains(&coding) => {}
                Some(coding) => read.push(coding),
                None => {
                    is_wrong = true;
                    let hint = "there is \"zstd\", \"br\" and \"gzip\"".to_owned();
                    element
                        .refuse::<()>(format!("\"{text}\" is not a coding that is known here"), Some(hint));
                }
            }
        }
        if read.is_empty() && !is_wrong {
            return given.refuse("`codings` is empty", Some("write `compress = false`".to_owned()));
        }
        (!is_wrong).then_some(read)
    }

    fn schema(&self) -> Map<String, Json> {
        let names: Vec<&str> = Coding::ALL.into_iter().map(Coding::as_str).collect();
        schema(json!({ "type": "array", "items": { "enum": names }, "minItems": 1 }))
    }
}

/// A list of media types.
pub(crate) struct MediaTypes;

impl Unsaid for MediaTypes {}

impl Kind for MediaTypes {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let mut read = Vec::new();
        let mut is_wrong = false;
        for element in given.elements("a list of media types", "[\"application/json\"]")? {
            let text = element.text("a media type", || quote("application/json"))?;
            if is_media_type(text) {
                read.push(text.to_ascii_lowercase());
            } else {
                is_wrong = true;
                let hint = "write \"application/json\", \"text/*\" or \"*\"".to_owned();
                element.refuse::<()>(format!("\"{text}\" is not a media type"), Some(hint));
            }
        }
        (!is_wrong).then_some(read)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }))
    }
}

fn is_media_type(text: &str) -> bool {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    text == "*"
        || text
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_name(kind) && (subtype == "*" || is_name(subtype)))
}
