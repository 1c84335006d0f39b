//! Every answer that we invent. Nothing else in the proxy writes a status line.

use std::num::NonZeroU16;

use wire::Version;
use wire::engineio::Revision;
use wire::forward::{LineEdits, print_connection};
use wire::request::{Method, RequestHead};

use crate::fault::{Fault, OurFault};
use crate::net::date::add_date;
use crate::request::pages::Content;
use crate::request::reason::reason_phrase;
use crate::upstream::sessions::Use;

/// The answer to a request that failed, and its status; `None` where there is nobody to tell. `pages` is what it consists of
/// where it is not Engine.IO's, and `lines` what its route says to browsers.
pub(crate) fn fault(
    fault: Fault,
    head: Option<&RequestHead>,
    content: impl FnOnce(u16) -> Content,
    lines: &LineEdits,
    keep_alive: bool,
) -> Option<(u16, Vec<u8>)> {
    let status = fault.status()?;
    let is_engine_io = head.is_some_and(|head| head.engine_io().is_some());
    let Content { content_type, body } = match is_engine_io {
        true => Content {
            content_type: "application/json".to_owned(),
            body: engine_io_body(fault, status).into_bytes(),
        },
        false => content(status),
    };
    let mut answer = Answer::new(status, head, keep_alive);
    answer.line("Content-Type", &content_type);
    answer.line("Cache-Control", "no-store");
    match (status, fault) {
        (_, Fault::Ours(OurFault::Maintenance)) => answer.line("Retry-After", "60"),
        // The guard of the route says it.
        (_, Fault::Ours(OurFault::TooManyRequests { .. } | OurFault::TooManyAtOnce { .. })) => {}
        (503, _) => answer.line("Retry-After", "1"),
        _ => {}
    }
    if let Some(head) = head.filter(|_| is_engine_io && !lines.drops(b"access-control-allow-origin")) {
        answer.cors_lines(head);
    }
    answer.bytes.extend_from_slice(lines.lines());
    lines.print_defaults(|_| false, &mut answer.bytes);
    Some((status, answer.end(&body)))
}

/// The answer of a session that was closed on its node: to a poll the close packet, to a POST what the node would say.
pub(crate) fn close_reply(head: &RequestHead, how: Use, keep_alive: bool) -> (u16, Vec<u8>) {
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
    (200, answer.end(body.as_bytes()))
}

/// A polling payload that is a close packet and nothing else.
pub(crate) fn close_packet(revision: Revision) -> &'static str {
    match revision {
        Revision::V3 => "1:1",
        Revision::V4 => "1",
    }
}

/// Engine.IO's own form. Code 1 makes the client start a new session; for what it has no code for, 3 with our words.
fn engine_io_body(fault: Fault, status: u16) -> String {
    let code = if fault == Fault::Ours(OurFault::SessionUnknown) { 1 } else { 3 };
    serde_json::json!({ "code": code, "message": fault.reason_told().unwrap_or(reason_phrase(status)) })
        .to_string()
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
    Some((308, answer.end(b"")))
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
    let mut bytes = Vec::with_capacity(HEAD_BYTES + own.body.len());
    head(&own.lines, asked, edits, Framing { status: own.status, keep_alive, length }, &mut bytes);
    if asked.method() != Method::Head {
        bytes.extend_from_slice(&own.body);
    }
    bytes
}

/// How an answer of ours begins, and how its end is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Framing {
    pub(crate) status: u16,
    /// The connection goes on behind it.
    pub(crate) keep_alive: bool,
    /// Of its content, where it may have some.
    pub(crate) length: Option<u64>,
}

/// Prints the head of such an answer.
pub(crate) fn head<V: AsRef<[u8]>>(
    lines: &[(&'static str, V)],
    asked: &RequestHead,
    edits: &LineEdits,
    framing: Framing,
    out: &mut Vec<u8>,
) {
    let Framing { status, keep_alive, length } = framing;
    match edits.status_instead(status) {
        None => print_status(status, out),
        Some(instead) => {
            for part in ["HTTP/1.1 ", instead, "\r\n"] {
                out.extend_from_slice(part.as_bytes());
            }
        }
    }
    if !edits.drops(b"date") {
        add_date(out);
    }
    for (name, value) in lines.iter().filter(|(name, _)| !edits.drops(name.as_bytes())) {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        // A value of the request may hold what would end the line.
        for part in value.as_ref().split(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            out.extend_from_slice(part);
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(edits.lines());
    edits.print_defaults(|name| lines.iter().any(|(said, _)| said.eq_ignore_ascii_case(name)), out);
    if let Some(length) = length {
        print_length(length, out);
    }
    print_connection(asked.version(), keep_alive, out);
    out.extend_from_slice(b"\r\n");
}

/// How long the body of a whole answer is.
pub(crate) fn body_bytes(answer: &[u8]) -> u64 {
    memchr::memmem::find(answer, b"\r\n\r\n").map_or(0, |end| answer.len() - end - 4) as u64
}

fn print_status(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn print_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
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
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        print_status(status, &mut bytes);
        add_date(&mut bytes);
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

    fn end(mut self, body: &[u8]) -> Vec<u8> {
        print_length(body.len() as u64, &mut self.bytes);
        print_connection(self.version, self.keep_alive, &mut self.bytes);
        self.bytes.extend_from_slice(b"\r\n");
        if !self.is_head {
            self.bytes.extend_from_slice(body);
        }
        self.bytes
    }
}

/// What most heads of ours fit into.
const HEAD_BYTES: usize = 512;
const HTTPS_PORT: NonZeroU16 = NonZeroU16::new(443).expect("it is not 0");
