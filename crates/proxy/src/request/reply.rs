//! Every answer that we invent. Nothing else in the proxy writes a status line.

use std::num::NonZeroU16;

use wire::Version;
use wire::engineio::Revision;
use wire::forward::{LineEdits, print_connection};
use wire::request::{Method, RequestHead};

use crate::fault::{Fault, OurFault};
use crate::upstream::sessions::Use;

/// The answer to a request that failed, and its status; `None` where there is nobody to tell.
pub(crate) fn fault(fault: Fault, head: Option<&RequestHead>, keep_alive: bool) -> Option<(u16, Vec<u8>)> {
    let status = fault.status()?;
    let is_engine_io = head.is_some_and(|head| head.engine_io().is_some());
    let body = if is_engine_io { engine_io_body(fault) } else { format!("{status} {}\n", fault.reason()) };
    let mut answer = Answer::new(status, head, keep_alive);
    answer.line("Content-Type", if is_engine_io { "application/json" } else { "text/plain; charset=utf-8" });
    answer.line("Cache-Control", "no-store");
    if status == 503 {
        answer.line("Retry-After", "1");
    }
    if let Some(head) = head.filter(|_| is_engine_io) {
        answer.cors_lines(head);
    }
    Some((status, answer.end(&body)))
}

/// The answer of a session that was closed on its node: to a poll the close packet, to a POST what the node would say.
pub(crate) fn goodbye(head: &RequestHead, how: Use, keep_alive: bool) -> (u16, Vec<u8>) {
    let (body, content_type) = match (how, head.engine_io()) {
        (Use::Post, _) => ("ok".to_owned(), "text/html"),
        (Use::Poll | Use::Tunnel, Some(engine_io)) if engine_io.jsonp => {
            let script = String::from_utf8_lossy(head.jsonp_script().unwrap_or_default());
            let packet = close_packet(engine_io.revision);
            (format!("___eio[{script}](\"{packet}\");"), "text/javascript; charset=UTF-8")
        }
        (Use::Poll | Use::Tunnel, Some(engine_io)) => {
            (close_packet(engine_io.revision).to_owned(), "text/plain; charset=UTF-8")
        }
        (Use::Poll | Use::Tunnel, None) => (String::new(), "text/plain; charset=UTF-8"),
    };
    let mut answer = Answer::new(200, Some(head), keep_alive);
    answer.line("Content-Type", content_type);
    answer.line("Cache-Control", "no-store");
    answer.cors_lines(head);
    (200, answer.end(&body))
}

/// A polling payload that is a close packet and nothing else.
pub(crate) fn close_packet(revision: Revision) -> &'static str {
    match revision {
        Revision::V3 => "1:1",
        Revision::V4 => "1",
    }
}

/// Engine.IO's own form. Code 1 makes the client start a new session; for what it has no code for, 3 with our words.
fn engine_io_body(fault: Fault) -> String {
    let code = if fault == Fault::Ours(OurFault::SessionUnknown) { 1 } else { 3 };
    serde_json::json!({ "code": code, "message": fault.reason() }).to_string()
}

/// A listen that answers every request with the same URL under https.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Redirect {
    /// Written into the URL; `None` when it is 443.
    pub(crate) port: Option<u16>,
}

impl Redirect {
    /// The one to `port`.
    pub(crate) fn to(port: NonZeroU16) -> Self {
        Self { port: Some(port.get()).filter(|_| port != HTTPS_PORT) }
    }

    /// Its port, in half of its own size.
    pub(crate) fn whole_port(self) -> NonZeroU16 {
        self.port.and_then(NonZeroU16::new).unwrap_or(HTTPS_PORT)
    }
}

/// To the same URL under https (RFC 9110 section 15.4.9: the method stays). `None` without a host to name.
pub(crate) fn redirect_to_https(
    head: &RequestHead,
    Redirect { port }: Redirect,
    keep_alive: bool,
) -> Option<(u16, Vec<u8>)> {
    let host = String::from_utf8_lossy(head.host_name()?).into_owned();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let mut answer = Answer::new(308, Some(head), keep_alive);
    let location = [format!("https://{host}{port}").as_bytes(), head.path_and_query()].concat();
    answer.bytes_line("Location", &location);
    Some((308, answer.end("")))
}

/// An answer of a route.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) status: u16,
    pub(crate) lines: Vec<(&'static str, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

/// The bytes of an answer of a route, with what the route changes of it.
pub(crate) fn own(own: &Own, asked: &RequestHead, edits: &LineEdits, keep_alive: bool) -> Vec<u8> {
    // These have no content, and say nothing of its length (RFC 9110 section 8.6).
    let length = (!matches!(own.status, 204 | 304)).then_some(own.body.len() as u64);
    let mut bytes = head(own.status, &own.lines, asked, edits, (keep_alive, length));
    if asked.method() != Method::Head {
        bytes.extend_from_slice(&own.body);
    }
    bytes
}

/// The head of such an answer, and the length of the content that follows it.
pub(crate) fn head(
    status: u16,
    lines: &[(&'static str, Vec<u8>)],
    asked: &RequestHead,
    edits: &LineEdits,
    (keep_alive, length): (bool, Option<u64>),
) -> Vec<u8> {
    let mut answer = Answer::new(status, Some(asked), keep_alive);
    for (name, value) in lines.iter().filter(|(name, _)| !edits.drops(name.as_bytes())) {
        // A value of the request may hold what would end the line.
        let value: Vec<u8> =
            value.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)).collect();
        answer.bytes_line(name, &value);
    }
    answer.bytes.extend_from_slice(edits.lines());
    if let Some(length) = length {
        answer.line("Content-Length", &length.to_string());
    }
    print_connection(answer.version, keep_alive, &mut answer.bytes);
    answer.bytes.extend_from_slice(b"\r\n");
    answer.bytes
}

/// An answer that is being written.
struct Answer {
    bytes: Vec<u8>,
    is_head: bool,
    version: Version,
    keep_alive: bool,
}

impl Answer {
    fn new(status: u16, head: Option<&RequestHead>, keep_alive: bool) -> Self {
        let bytes = format!("HTTP/1.1 {status} {}\r\n", reason_phrase(status)).into_bytes();
        Self {
            bytes,
            is_head: head.is_some_and(|head| head.method() == Method::Head),
            version: head.map_or(Version::Http11, RequestHead::version),
            keep_alive,
        }
    }

    fn line(&mut self, name: &str, value: &str) {
        self.bytes_line(name, value.as_bytes());
    }

    fn bytes_line(&mut self, name: &str, value: &[u8]) {
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The page behind a cross-origin client must be able to read what ends its session, or it cannot start again. It
    /// tells nothing that is not public.
    fn cors_lines(&mut self, head: &RequestHead) {
        if let Some(origin) = head.header("origin") {
            self.bytes_line("Access-Control-Allow-Origin", origin);
            self.line("Access-Control-Allow-Credentials", "true");
            self.line("Vary", "Origin");
        }
    }

    fn end(mut self, body: &str) -> Vec<u8> {
        self.line("Content-Length", &body.len().to_string());
        print_connection(self.version, self.keep_alive, &mut self.bytes);
        self.bytes.extend_from_slice(b"\r\n");
        if !self.is_head {
            self.bytes.extend_from_slice(body.as_bytes());
        }
        self.bytes
    }
}

/// RFC 9110 section 15, and those that are registered elsewhere. A reason may be empty.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        205 => "Reset Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        418 => "I'm a teapot",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}
const HTTPS_PORT: NonZeroU16 = NonZeroU16::new(443).expect("it is not 0");
