//! What stands in an answer of 400 to 599 that is ours: a page of the file's, JSON for whoever asks for it, or a line of text.

use config::routing::{AnswerPage, AnsweredBy, ErrorPages, Page, PagePiece, PageStatus, TextPage};
use wire::request::{RequestBody, RequestHead};

use crate::observe::record::Record;
use crate::request::reason::reason_phrase;
use crate::request::request_id;

/// The content of an answer.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) content_type: String,
    pub(crate) body: Vec<u8>,
}

/// The content for a status; `told` is what there is to tell beside it.
pub(crate) fn of(
    status: u16,
    told: Option<&'static str>,
    head: Option<&RequestHead>,
    pages: Option<&ErrorPages>,
    record: &mut Record,
) -> Content {
    let page = pages.and_then(|pages| pages.find(status)).and_then(|page| match page {
        Page::Text(page) => Some(page),
        // Whoever answers has been asked, or is not to be.
        Page::Answer(_) => None,
    });
    let wants_json = head.is_some_and(asks_for_json);
    if let Some(page) = page.filter(|page| !wants_json || is_of_json(page)) {
        return Content { content_type: page.content_type.clone(), body: print(page, status, record) };
    }
    if !wants_json {
        let line = format!("{status} {}\n", told.unwrap_or(reason_phrase(status)));
        return Content { content_type: "text/plain; charset=utf-8".to_owned(), body: line.into_bytes() };
    }
    let mut json = serde_json::json!({ "status": status, "error": reason_phrase(status) });
    if let Some(told) = told {
        json["message"] = told.into();
    }
    if let Some(id) = &record.request_id {
        json["request_id"] = (**id).into();
    }
    Content { content_type: "application/json".to_owned(), body: format!("{json}\n").into_bytes() }
}

/// Whether a page comes in the place of what a node answers with this status. Whoever asks for JSON gets the node's
/// own, and so do clients of Engine.IO; and a 401 says what it wants in a line of its own.
pub(crate) fn replaces(pages: &ErrorPages, status: u16, head: &RequestHead) -> bool {
    status >= 400
        && status != 401
        && head.engine_io().is_none()
        && pages.find(status).is_some_and(|page| match page {
            Page::Text(page) => !asks_for_json(head) || is_of_json(page),
            Page::Answer(page) => is_for(page, head) && (!by_node(page) || is_repeatable(head)),
        })
}

/// The page for a status that somebody is asked for, where it is for this request.
pub(crate) fn answer_for<'p>(
    pages: &'p ErrorPages,
    status: u16,
    head: &RequestHead,
) -> Option<&'p AnswerPage> {
    match pages.find(status)? {
        Page::Answer(page) if head.engine_io().is_none() && is_for(page, head) => Some(page),
        Page::Answer(_) | Page::Text(_) => None,
    }
}

/// Whether a request that somebody has answered may be asked once more: asking changes nothing, and there is no
/// body that would have to be kept.
pub(crate) fn is_repeatable(head: &RequestHead) -> bool {
    head.method().is_safe() && head.body() == RequestBody::None
}

/// What has the status of the fault is a page to be read, and no app that goes on.
fn is_for(page: &AnswerPage, head: &RequestHead) -> bool {
    by_node(page) || page.status != PageStatus::OfFault || !asks_for_json(head)
}

fn by_node(page: &AnswerPage) -> bool {
    matches!(page.by, AnsweredBy::Upstream(_))
}

fn is_of_json(page: &TextPage) -> bool {
    page.content_type.contains("json")
}

/// A page with its variables filled in.
fn print(page: &TextPage, status: u16, record: &mut Record) -> Vec<u8> {
    if page.tells_id() && record.request_id.is_none() {
        record.request_id = Some(request_id::new());
    }
    let mut out = Vec::new();
    for piece in &page.pieces {
        match piece {
            PagePiece::Text(text) => out.extend_from_slice(text.as_bytes()),
            PagePiece::Status => out.extend_from_slice(status.to_string().as_bytes()),
            PagePiece::Reason => out.extend_from_slice(reason_phrase(status).as_bytes()),
            // An id has no markup in it, whoever made it.
            PagePiece::RequestId => {
                out.extend_from_slice(record.request_id.as_deref().unwrap_or_default().as_bytes());
            }
        }
    }
    out
}

/// Whether a parameter says `not this` (RFC 9110 section 12.4.2).
fn is_zero_quality(word: &[u8]) -> bool {
    let quality = word.strip_prefix(b"q=0");
    quality.is_some_and(|rest| rest.iter().all(|byte| matches!(byte, b'.' | b'0')))
}

/// Whether a client would rather read JSON than HTML: scripts say so, browsers that go to a page do not.
fn asks_for_json(head: &RequestHead) -> bool {
    let Some(accept) = head.header("accept") else { return false };
    let accept = accept.to_ascii_lowercase();
    let mut is_json = false;
    for element in accept.split(|&byte| byte == b',') {
        let mut words = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let media = words.next().unwrap_or_default();
        let is_refused = words.any(is_zero_quality);
        if media == b"text/html" && !is_refused {
            return false;
        }
        is_json |= !is_refused && (media == b"application/json" || media.ends_with(b"+json"));
    }
    is_json
}

#[cfg(test)]
mod tests {
    use wire::HeadBounds;
    use wire::request::RequestHead;

    use super::asks_for_json;

    #[test]
    fn json_is_for_whoever_asks_for_it_and_not_for_a_page() {
        for (accept, want) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/problem+json, */*;q=0.1", true),
            ("application/json;q=0.5, text/html;q=0", true),
            ("text/html, application/json", false),
            ("application/json;q=0.000", false),
            ("application/json; q=0", false),
            ("application/json;q=0.01", true),
            ("*/*", false),
            ("text/html,application/xhtml+xml,*/*;q=0.8", false),
            ("", false),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
            let bounds = HeadBounds { target_bytes_max: 100, head_bytes_max: 1000, lines_max: 20 };
            let head = RequestHead::parse(head.as_bytes(), &bounds).expect("a request");
            assert_eq!(asks_for_json(&head), want, "{accept}");
        }
    }
}
