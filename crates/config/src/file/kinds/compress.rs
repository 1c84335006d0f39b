//! What a route compresses.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Size, quote, schema};
use crate::file::declared::{Key, Kind, Optional, Or, Section, Unsaid};
use crate::file::given::Given;
use crate::routing::{Coding, Compress};

/// `true`, or a table.
pub(crate) struct Compressing;

impl Unsaid for Compressing {}

static SECTION: Section =
    Section { doc: "Which answers are compressed, and how.", keys: &[&CODINGS, &TYPES, &BYTES_MIN] };
static CODINGS: Key<Codings, Optional> = Key {
    name: "codings",
    kind: Codings,
    absent: Optional("\"zstd\", \"br\" and \"gzip\", the best first"),
    doc: "The codings that clients get, in the order that decides where they like several alike.",
};
static TYPES: Key<MediaTypes, Optional> = Key {
    name: "types",
    kind: MediaTypes,
    absent: Optional(
        "text, JSON, XML, JavaScript, SVG, WebAssembly and fonts that are not compressed themselves",
    ),
    doc: "Media types: \"application/json\", \"text/*\", or \"*\". `text/event-stream` has to be named.",
};
static BYTES_MIN: Key<Size, Or<u64>> = Key {
    name: "bytes_min",
    kind: Size { least: 0, most: 1 << 30 },
    absent: Or(1 << 10),
    doc: "Answers that say that they are shorter are left as they are.",
};

impl Kind for Compressing {
    type Read = Option<Compress>;

    fn read(&self, given: Given<'_>) -> Option<Option<Compress>> {
        let usual = || Compress {
            codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
            types: None,
            bytes_min: BYTES_MIN.absent.0,
        };
        if let DeValue::Boolean(is_on) = given.value.get_ref() {
            return Some(is_on.then(usual));
        }
        let Some(fields) = given.table(&SECTION) else {
            return given.wrong_type("true, false or a table", "true".to_owned());
        };
        // All that is wrong is told, and not the first of it alone.
        let usual = usual();
        let codings = fields.or_if_absent(&CODINGS, usual.codings);
        let types = match fields.has(TYPES.name) {
            true => fields.optional(&TYPES).map(Some),
            false => Some(None),
        };
        let bytes_min = fields.readable(&BYTES_MIN);
        Some(Some(Compress { codings: codings?, types: types?, bytes_min: bytes_min? }))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "boolean" }, SECTION.schema()] }))
    }
}

/// A list of codings.
struct Codings;

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
struct MediaTypes;

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
