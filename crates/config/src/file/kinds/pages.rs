//! Pages for faults, and texts that stand in files of their own.

use std::sync::Arc;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::paths::{FilePath, PLAIN, media_type};
use super::probe::RequestPath;
use super::route::Text;
use super::{Count, Name, quote, schema};
use crate::file::declared::{Key, Kind, Optional, Section, Unsaid};
use crate::file::fields::Fields;
use crate::file::given::Given;
use crate::routing::{AnswerPage, AnsweredBy, ErrorPages, Page, PageStatus, Statuses, TextPage};

/// A table of pages by their statuses.
pub(crate) struct Pages;

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
        let page = PAGE_SECTION.schema();
        schema(json!({
            "type": "object",
            "additionalProperties": false,
            "patternProperties": {
                "^([45][0-9][0-9]|[45]xx)$": { "anyOf": [{ "type": "string", "minLength": 1 }, page] },
            },
        }))
    }
}

/// A page: the path of a file, or a table.
static PAGE_SECTION: Section = Section {
    doc: "A page for faults.",
    keys: &[&PAGE_FILE, &PAGE_TEXT, &PAGE_TYPE, &PAGE_PATH, &PAGE_UPSTREAM, &PAGE_STATUS],
};
pub(crate) static PAGE_FILE: Key<FilePath, Optional> = Key {
    name: "file",
    kind: FilePath,
    absent: Optional("`text` has it"),
    doc: "The file that it is in, up to 1 MiB. Relative to the folder of this file; read at the start and at each reload.",
};
static PAGE_TEXT: Key<Text, Optional> =
    Key { name: "text", kind: Text, absent: Optional("it is in `file`"), doc: "The page itself." };
pub(crate) static PAGE_TYPE: Key<Text, Optional> = Key {
    name: "content_type",
    kind: Text,
    absent: Optional("by the ending of `file`, or plain text"),
    doc: "Its media type.",
};
static PAGE_PATH: Key<RequestPath, Optional> = Key {
    name: "path",
    kind: RequestPath,
    absent: Optional("it is in `file` or `text`"),
    doc: "The page is what the route that takes a GET of this path answers, on the same host and listen.",
};
static PAGE_UPSTREAM: Key<Name, Optional> = Key {
    name: "upstream",
    kind: Name,
    absent: Optional("no node is asked anew"),
    doc: "The nodes of this upstream are asked what the route's own could not be, if nothing of the request can have been done and \
          its body is still whole. Not for Engine.IO, whose sessions are on one node.",
};
static PAGE_STATUS: Key<PageStatusKind, Optional> = Key {
    name: "status",
    kind: PageStatusKind,
    absent: Optional("that of the fault; with `upstream` \"own\""),
    doc: "The status of an answer by `path` or `upstream`: a number, or \"own\" for whatever it has.",
};

/// A status, or the word for the answer's own.
struct PageStatusKind;

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

fn page(given: Given<'_>) -> Option<Page> {
    if let DeValue::String(path) = given.value.get_ref() {
        let text = given.text_in(path)?;
        return Some(Page::Text(TextPage::of(&text, media_type(path).to_owned())));
    }
    let Some(fields) = given.table(&PAGE_SECTION) else {
        return given.wrong_type("a file or a table", quote("pages/404.html"));
    };
    let contents = [PAGE_FILE.name, PAGE_TEXT.name, PAGE_PATH.name, PAGE_UPSTREAM.name];
    let said: Vec<&str> = contents.into_iter().filter(|key| fields.has(key)).collect();
    if let [first, second, ..] = said[..]
        && let Some(second_given) = fields.given(second)
    {
        let hint = format!("keep either `{second}` or `{first}`");
        return second_given.refuse(format!("the page is in `{first}` already"), Some(hint));
    }
    match said.first() {
        Some(&key) if key == PAGE_PATH.name || key == PAGE_UPSTREAM.name => answer_page(&fields),
        _ => text_page(given, &fields),
    }
}

/// A page that somebody is asked for.
fn answer_page(fields: &Fields<'_>) -> Option<Page> {
    if let Some(given) = fields.given(PAGE_TYPE.name) {
        let hint = "leave it out: whoever answers says it".to_owned();
        return given.refuse("`content_type` goes with `text` or `file`", Some(hint));
    }
    let (by, usual) = match fields.has(PAGE_PATH.name) {
        true => (AnsweredBy::Path(fields.optional(&PAGE_PATH)?), PageStatus::OfFault),
        false => (AnsweredBy::Upstream(fields.optional(&PAGE_UPSTREAM)?), PageStatus::Own),
    };
    let status = fields.or_if_absent(&PAGE_STATUS, usual)?;
    Some(Page::Answer(AnswerPage { by, status }))
}

fn text_page(given: Given<'_>, fields: &Fields<'_>) -> Option<Page> {
    if let Some(status) = fields.given(PAGE_STATUS.name) {
        let hint = "leave it out: such a page has the status of the fault".to_owned();
        return status.refuse("`status` goes with `path` or `upstream`", Some(hint));
    }
    let content_type = match fields.given(PAGE_TYPE.name) {
        Some(given) => Some(content_type(given)?),
        None => None,
    };
    let (text, usual) = match (fields.given(PAGE_FILE.name), fields.given(PAGE_TEXT.name)) {
        (Some(file), None) => {
            let path = file.text("the path of a file", || quote("pages/404.html"))?;
            (file.text_in(path)?, media_type(path))
        }
        (None, Some(text)) => (text.text("a string", || quote("…"))?.to_owned(), PLAIN),
        // `page` has told of both.
        (Some(_), Some(_)) => return None,
        (None, None) => {
            return given.refuse(
                "a page without content",
                Some("write `file = \"pages/404.html\"` or `text = \"…\"`".to_owned()),
            );
        }
    };
    Some(Page::Text(TextPage::of(&text, content_type.unwrap_or_else(|| usual.to_owned()))))
}

/// A media type, as it stands in a header line.
pub(crate) fn content_type(given: Given<'_>) -> Option<String> {
    let text = given.text("a media type", || quote(PLAIN))?;
    if text.contains('/') && is_line_text(text) {
        return Some(text.to_owned());
    }
    given
        .refuse(format!("\"{text}\" is no media type"), Some("write \"text/html; charset=utf-8\"".to_owned()))
}

/// Returns whether a text can be the value of a header line.
pub(super) fn is_line_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}
