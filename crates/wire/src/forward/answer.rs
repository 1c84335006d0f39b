//! Prints the head of an answer for a client.

use crate::answer::{AnswerBody, AnswerHead};
use crate::cookie;
use crate::lines::{Line, Name};
use crate::request::Method;
use crate::span::Version;
use crate::tag::Pin;

use super::edits::LineEdits;
use super::print::{OUR_LINES_BYTES, copy_line, print_connection, print_display, print_line};

/// What an answer is printed with.
#[derive(Debug, Clone, Copy)]
pub struct ForClient<'a> {
    /// The version the client speaks.
    pub version: Version,
    /// The method it asked with.
    pub method: Method,
    /// Whether the client may send another request afterwards.
    pub keep_alive: bool,
    /// The length of a body that we changed; its coding is gone.
    pub content_length: Option<u64>,
    /// What a route changes; of final answers alone.
    pub edits: Option<&'a LineEdits>,
}

/// How an answer's body reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reframed {
    /// As the origin framed it.
    AsItCame,
    /// In chunks of ours: its end would otherwise be the connection's.
    ToChunks,
    /// Without a frame, ended by the connection: the client knows no chunks.
    ToClose,
}

impl ForClient<'_> {
    /// How the body of `answer` reaches the client. The connection cannot go on after [`Reframed::ToClose`].
    pub fn reframed(&self, body: AnswerBody) -> Reframed {
        let is_coding = self.edits.is_some_and(|edits| edits.is_coding);
        match (body, self.version) {
            (AnswerBody::Length(_), Version::Http11) if is_coding => Reframed::ToChunks,
            (AnswerBody::UntilClose, Version::Http11) => Reframed::ToChunks,
            (AnswerBody::UntilClose | AnswerBody::Chunked, Version::Http10) => Reframed::ToClose,
            (AnswerBody::None | AnswerBody::Length(_) | AnswerBody::Chunked, _) => Reframed::AsItCame,
        }
    }
}

/// A pin that goes behind the values of cookies that are the node's own and have the pin's name.
pub struct Wrap<'a> {
    /// The pin.
    pub pin: &'a Pin,
    /// Which of the cookies that the answer sets those are, as they are written.
    pub is_wrapped: &'a dyn Fn(&[u8]) -> bool,
}

impl std::fmt::Debug for Wrap<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wrap(..)")
    }
}

/// Prints `head` for a client.
pub fn print_answer(head: &AnswerHead, how: &ForClient<'_>, out: &mut Vec<u8>) {
    print_answer_wrapping(head, how, None, out);
}

/// The same with a pin in cookies of the node.
pub fn print_answer_wrapping(
    head: &AnswerHead,
    how: &ForClient<'_>,
    wrap: Option<&Wrap<'_>>,
    out: &mut Vec<u8>,
) {
    out.reserve(head.bytes.len() + OUR_LINES_BYTES);
    out.extend_from_slice(b"HTTP/1.1 ");
    let edits = how.edits.filter(|_| !head.is_interim());
    let own = head.status_and_reason.of_bytes(&head.bytes);
    let instead = edits.and_then(|edits| edits.status_instead(head.status()));
    let status_and_reason = instead.map_or(own, str::as_bytes);
    out.extend_from_slice(status_and_reason);
    // The space in front of the reason is not optional, the reason is (RFC 9112 section 4).
    out.extend_from_slice(if status_and_reason.len() == STATUS_BYTES { b" \r\n" } else { b"\r\n" });
    // An answer without content says nothing of framing, but to HEAD and in a 304, where it tells what GET would say.
    let may_frame = how.content_length.is_none() && head.status() >= 200 && head.status() != 204;
    let reframed = how.reframed(head.body());
    for line in &head.lines {
        match line.known {
            Name::Connection | Name::KeepAlive | Name::HopByHop | Name::Nominated | Name::Again => {}
            Name::Upgrade if head.status() != 101 => {}
            Name::ContentLength if !may_frame => {}
            Name::TransferEncoding if !may_frame || how.version == Version::Http10 => {}
            Name::TransferEncoding => print_line(out, "Transfer-Encoding", b"chunked"),
            Name::SetCookie if wrap.is_some() => copy_or_wrap(&head.bytes, line, edits, wrap, out),
            _ => match edits {
                None => copy_line(&head.bytes, line, out),
                Some(edits) => edits.copy_line(&head.bytes, line, out),
            },
        }
    }
    if let Some(edits) = edits {
        out.extend_from_slice(&edits.lines);
        let has = |name: &str| {
            head.lines
                .iter()
                .any(|line| line.name.of_bytes(&head.bytes).eq_ignore_ascii_case(name.as_bytes()))
        };
        edits.print_defaults(has, out);
    }
    if let Some(length) = how.content_length {
        print_display(out, format_args!("Content-Length: {length}\r\n"));
    } else if reframed == Reframed::ToChunks {
        print_line(out, "Transfer-Encoding", b"chunked");
    }
    if head.status() == 101 {
        print_line(out, "Connection", b"Upgrade");
    } else if !head.is_interim() {
        print_connection(how.version, how.keep_alive && reframed != Reframed::ToClose, out);
    }
    out.extend_from_slice(b"\r\n");
}

fn copy_or_wrap(
    bytes: &[u8],
    line: &Line,
    edits: Option<&LineEdits>,
    wrap: Option<&Wrap<'_>>,
    out: &mut Vec<u8>,
) {
    let value = line.value.of_bytes(bytes);
    match (wrap.filter(|wrap| (wrap.is_wrapped)(value)), edits) {
        (Some(wrap), edits) => {
            let mut wrapped = Vec::with_capacity(value.len() + Pin::BYTES + 1);
            cookie::print_with_pin(value, wrap.pin, &mut wrapped);
            edits.unwrap_or(&LineEdits::default()).print_cookie(line.name.of_bytes(bytes), &wrapped, out);
        }
        (None, Some(edits)) => edits.copy_line(bytes, line, out),
        (None, None) => copy_line(bytes, line, out),
    }
}

const STATUS_BYTES: usize = 3;
