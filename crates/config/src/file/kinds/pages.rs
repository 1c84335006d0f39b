//! Pages for faults, and texts that stand in files of their own.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::paths::{FilePath, PLAIN, media_type};
use super::probe::RequestPath;
use super::route::Text;
use super::{Count, Name, quote, schema};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::fields::Fields;
use crate::file::given::Given;
use crate::routing::{AnswerPage, AnsweredBy, ErrorPages, Page, PageStatus, Statuses, TextPage};

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
        /// The page is what the route that takes a GET of this path answers, on the same host and listen.
        PATH path: Option<String> => "it is in `file` or `text`", RequestPath;
        /// The nodes of this upstream are asked what the route's own could not be, if nothing of the request can have been done
        /// and its body is still whole. Not for Engine.IO, whose sessions are on one node.
        UPSTREAM upstream: Option<String> => "no node is asked anew", Name;
        /// The status of an answer by `path` or `upstream`: a number, or "own" for whatever it has.
        STATUS status: Option<PageStatus> => "that of the fault; with `upstream` \"own\"", PageStatusKind;
    }
}

/// A status, or the word for the answer's own.
pub(crate) struct PageStatusKind;

impl Unsaid for PageStatusKind {}

impl Kind for PageStatusKind {
    type Read = PageStatus;

    fn read(&self, given: Given<'_>) -> Option<PageStatus> {
        match given.value.get_ref() {
            DeValue::String(word) if word == OWN => Some(PageStatus::Own),
            DeValue::Integer(_) => {
                let status = Count { least: 200, most: 599 }.read(given)?;
                // An answer by these has no content, and is framed otherwise.
                match u16::try_from(status).ok().filter(|status| !matches!(status, 204 | 205 | 304)) {
                    Some(status) => Some(PageStatus::Is(status)),
                    None => given.refuse(format!("an answer of {status} has no body"), None),
                }
            }
            _ => given.wrong_type("a status or \"own\"", "200".to_owned()),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "integer", "minimum": 200, "maximum": 599 }, { "const": OWN }] }))
    }
}

const OWN: &str = "own";

/// The path of a file, or a table.
fn page(given: Given<'_>) -> Option<Page> {
    if let DeValue::String(path) = given.value.get_ref() {
        let text = given.text_in(path)?;
        return Some(Page::Text(TextPage::of(&text, media_type(path).to_owned())));
    }
    let Some(fields) = given.table(TABLE.section) else {
        return given.wrong_type("a file or a table", quote("pages/404.html"));
    };
    let table = fields.reading.sound(|| PageTable::read(&fields))?;
    let contents = [FILE.name, TEXT.name, PATH.name, UPSTREAM.name];
    let said: Vec<&str> = contents.into_iter().filter(|key| fields.has(key)).collect();
    if let [first, second, ..] = said[..]
        && let Some(second_given) = fields.given(second)
    {
        let hint = format!("keep either `{second}` or `{first}`");
        return second_given.refuse(format!("the page is in `{first}` already"), Some(hint));
    }
    if fields.has(PATH.name) || fields.has(UPSTREAM.name) {
        table.answer(&fields).map(Page::Answer)
    } else {
        table.text(given, &fields).map(Page::Text)
    }
}

impl PageTable {
    /// A page that somebody is asked for.
    fn answer(self, fields: &Fields<'_>) -> Option<AnswerPage> {
        if let Some(given) = fields.given(CONTENT_TYPE.name) {
            let hint = "leave it out: whoever answers says it".to_owned();
            return given.refuse("`content_type` goes with `text` or `file`", Some(hint));
        }
        let (by, usual) = match self.path {
            Some(path) => (AnsweredBy::Path(path), PageStatus::OfFault),
            None => (AnsweredBy::Upstream(self.upstream?), PageStatus::Own),
        };
        Some(AnswerPage { by, status: self.status.unwrap_or(usual) })
    }

    fn text(self, given: Given<'_>, fields: &Fields<'_>) -> Option<TextPage> {
        if let Some(status) = fields.given(STATUS.name) {
            let hint = "leave it out: such a page has the status of the fault".to_owned();
            return status.refuse("`status` goes with `path` or `upstream`", Some(hint));
        }
        let (text, usual) = match (fields.given(FILE.name), self.text) {
            (Some(file), None) => {
                let path = file.text("the path of a file", || quote("pages/404.html"))?;
                (file.text_in(path)?, media_type(path))
            }
            (None, Some(text)) => (text, PLAIN),
            // `page` has told of both.
            (Some(_), Some(_)) => return None,
            (None, None) => {
                return given.refuse(
                    "a page without content",
                    Some("write `file = \"pages/404.html\"` or `text = \"…\"`".to_owned()),
                );
            }
        };
        Some(TextPage::of(&text, self.content_type.unwrap_or_else(|| usual.to_owned())))
    }
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
