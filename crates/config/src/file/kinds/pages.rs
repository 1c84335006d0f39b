//! Pages for faults, and texts that stand in files of their own.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::paths::{FilePath, PLAIN, media_type};
use super::route::Text;
use super::{quote, schema};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::given::Given;
use crate::routing::{ErrorPages, Page, Statuses};

/// A table of pages by their statuses.
pub(crate) struct Pages;

impl Unsaid for Pages {}

impl Kind for Pages {
    type Read = ErrorPages;

    fn read(&self, given: Given<'_>) -> Option<ErrorPages> {
        let Some(entries) = given.entries() else {
            return given.wrong_type("a table of pages", "{ 404 = \"pages/404.html\" }".to_owned());
        };
        // One that is wrong has been told, and the others may be wrong as well.
        let pages = entries.filter_map(|(name, value)| {
            let Some(statuses) = Statuses::read(name) else {
                return value.refuse(
                    format!("\"{name}\" is no status of a fault"),
                    Some("there is 400 to 599, and \"4xx\" and \"5xx\" for all of a kind".to_owned()),
                );
            };
            Some((statuses, Arc::new(page(value)?)))
        });
        Some(ErrorPages::new(pages.collect()))
    }

    fn schema(&self) -> Map<String, Json> {
        let page = TABLE.section.schema();
        schema(json!({
            "type": "object",
            "additionalProperties": false,
            "patternProperties": {
                "^([45][0-9][0-9]|[45]xx)$": { "anyOf": [{ "type": "string", "minLength": 1 }, page] },
            },
        }))
    }
}

declare! {
    /// A page, where it is a table.
    struct PageTable in TABLE = "page", One: "A page for faults.";
    keys {
        /// The file that it is in, up to 1 MiB. Relative to the folder of this file; read at the start and at each reload.
        FILE file: Option<PathBuf> => "`text` has it", FilePath;
        /// The page itself.
        TEXT text: Option<String> => "it is in `file`", Text;
        /// Its media type.
        CONTENT_TYPE content_type: Option<String> => "by the ending of `file`, or plain text", MediaType;
    }
}

/// The path of a file, or a table.
fn page(given: Given<'_>) -> Option<Page> {
    if let DeValue::String(path) = given.value.get_ref() {
        let text = given.text_in(path)?;
        return Some(Page::of(&text, media_type(path).to_owned()));
    }
    let Some(fields) = given.table(TABLE.section) else {
        return given.wrong_type("a file or a table", quote("pages/404.html"));
    };
    let PageTable { file: _, text, content_type } = fields.reading.sound(|| PageTable::read(&fields))?;
    let (text, usual) = match (fields.given(FILE.name), text) {
        (Some(file), None) => {
            let path = file.text("the path of a file", || quote("pages/404.html"))?;
            (file.text_in(path)?, media_type(path))
        }
        (None, Some(text)) => (text, PLAIN),
        (Some(_), Some(_)) => {
            let hint = "keep either `file` or `text`".to_owned();
            return fields.given(TEXT.name)?.refuse("the page is in `file` already", Some(hint));
        }
        (None, None) => {
            return given.refuse(
                "a page without content",
                Some("write `file = \"pages/404.html\"` or `text = \"…\"`".to_owned()),
            );
        }
    };
    Some(Page::of(&text, content_type.unwrap_or_else(|| usual.to_owned())))
}

/// A media type, as it stands in a header line.
pub(crate) struct MediaType;

impl Unsaid for MediaType {}

impl Kind for MediaType {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a media type", || quote(PLAIN))?;
        if text.contains('/') && is_line_text(text) {
            return Some(text.to_owned());
        }
        let hint = "write \"text/html; charset=utf-8\"".to_owned();
        given.refuse(format!("\"{text}\" is no media type"), Some(hint))
    }

    fn schema(&self) -> Map<String, Json> {
        Text.schema()
    }
}

/// No control character, so that nobody writes a second line into a header.
pub(super) fn is_line_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}
