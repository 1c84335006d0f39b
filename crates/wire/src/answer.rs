//! The head of an answer: what a node sends reaches the client whole and valid, or becomes our own 502. It is read nearly as
//! strictly as a request's. What many servers get wrong and everybody understands is taken, and put right on its way: lines
//! that end in LF alone, and a length that is said twice.

use std::mem::MaybeUninit;

use crate::lines::{self, Line, Name};
use crate::malformed::Malformed;
use crate::request::{Method, RequestHead};
use crate::scan::Side;
use crate::span::{HeadBounds, Span, Version};
use crate::websocket;

/// An answer's head. Exists only if the whole head holds and fits the request it answers. Owns a copy of its
/// bytes, as the request's does.
#[derive(Debug)]
pub struct AnswerHead {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) lines: Vec<Line>,
    sets_cookies: bool,
    /// What follows the version in the status line: the status and the reason.
    pub(crate) status_and_reason: Span,
    status: u16,
    body: AnswerBody,
    keep_alive: bool,
}

/// How an answer's body is framed (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerBody {
    /// There is none: an answer to HEAD, a 1xx, 204 or 304, or `Content-Length: 0`.
    None,
    /// Content-Length says the number of bytes.
    Length(u64),
    /// The body comes in chunks (RFC 9112 section 7.1), the last of which is empty.
    Chunked,
    /// Neither is said: the body is everything until the origin closes the connection.
    UntilClose,
}

/// What of the request decides how its answer is read.
#[derive(Debug, Clone, Copy)]
pub struct AnswerTo {
    /// HEAD has an answer without a body.
    pub is_head: bool,
    /// What Sec-WebSocket-Accept must be, when a WebSocket was asked for.
    pub accept: Option<[u8; 28]>,
    /// A stream of HTTP/2 asks for a WebSocket by CONNECT, and takes any 2xx for its beginning.
    pub is_connect: bool,
}

impl AnswerTo {
    /// Takes from `request` what its answer depends on. Later changes of the request make no difference.
    pub fn by(request: &RequestHead) -> Self {
        Self {
            is_head: request.method() == Method::Head,
            accept: request.websocket_key().map(websocket::accept_for),
            is_connect: request.is_extended_connect(),
        }
    }
}

impl AnswerHead {
    /// Reads a whole head as [`crate::scan::HeadScan`] delimits it.
    ///
    /// # Errors
    /// If the head is not well-formed, too long for `bounds`, or can be understood in more than one way.
    pub fn parse(bytes: &[u8], bounds: &HeadBounds, asked: &AnswerTo) -> Result<Self, Malformed> {
        let mut slots = [const { MaybeUninit::uninit() }; HeadBounds::LINES_MAX];
        let mut parsed = httparse::Response::new(&mut []);
        let slots = &mut slots[..bounds.lines_max.min(HeadBounds::LINES_MAX)];
        let complete = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut parsed, bytes, slots)
            .map_err(lines::refusal)?;
        let (Some(minor), Some(status)) = (parsed.version, parsed.code) else {
            return Err(Malformed::FirstLine);
        };
        if complete != httparse::Status::Complete(bytes.len()) {
            return Err(Malformed::HeaderLine);
        }
        // Beyond 599 it is no status that anybody has defined, but clients take it for a 5xx (RFC 9110 section 15).
        if !(100..=999).contains(&status) {
            return Err(Malformed::Status);
        }
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let mut lines = lines::read(parsed.headers, bytes, Side::Answer);
        // httparse leaves the reason out when it holds obs-text; the line itself holds it all.
        let line_end = memchr::memchr2(b'\r', b'\n', bytes).ok_or(Malformed::FirstLine)?;
        let status_and_reason = Span::new("HTTP/1.1 ".len(), line_end);
        let hop = lines::read_hop(&mut lines, bytes, Side::Answer, version)?;
        let body = match status {
            100..200 | 204 | 304 => AnswerBody::None,
            _ if asked.is_head => AnswerBody::None,
            _ if hop.is_chunked => AnswerBody::Chunked,
            _ => match hop.content_length {
                Some(0) => AnswerBody::None,
                Some(length) => AnswerBody::Length(length),
                None => AnswerBody::UntilClose,
            },
        };
        if status == 101 {
            // HTTP/1.0 has no upgrades (RFC 9110 section 7.8).
            check_101(asked, hop.upgrade && version == Version::Http11, &lines, bytes)?;
        } else if asked.is_connect && (200..300).contains(&status) {
            return Err(Malformed::UnaskedSuccess);
        }
        let persists = !hop.close && (version == Version::Http11 || hop.keep_alive);
        let keep_alive = persists && body != AnswerBody::UntilClose;
        Ok(Self {
            bytes: bytes.into(),
            lines,
            status_and_reason,
            status,
            body,
            keep_alive,
            sets_cookies: hop.has_cookies,
        })
    }

    /// True if there is a Set-Cookie line, readable or not.
    pub fn sets_cookies(&self) -> bool {
        self.sets_cookies
    }

    /// The cookies that it sets, as they are written.
    pub fn set_cookies(&self) -> impl Iterator<Item = &[u8]> {
        let cookies = self.lines.iter().filter(|line| line.known == Name::SetCookie);
        cookies.map(|line| line.value.of_bytes(&self.bytes))
    }

    /// Whether a cache that others use may keep it (RFC 9111 section 3): then it must tell nothing about one
    /// client. A 304 renews what such a cache has.
    pub fn may_be_shared(&self) -> bool {
        let caching = self.lines.iter().filter(|line| {
            line.known == Name::Other
                && line.name.of_bytes(&self.bytes).eq_ignore_ascii_case(b"cache-control")
        });
        let mut directives = caching.flat_map(|line| lines::list(line.value.of_bytes(&self.bytes)));
        self.status == 304
            || directives.any(|directive| {
                let name = directive.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
                [&b"public"[..], b"s-maxage", b"immutable"]
                    .iter()
                    .any(|known| name.eq_ignore_ascii_case(known))
            })
    }

    /// The status code, 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether a final answer follows this one (RFC 9110 section 15.2). 101 is final: it ends HTTP.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// How the body is framed, with the request taken into account: HEAD, 204 and 304 have none.
    pub fn body(&self) -> AnswerBody {
        self.body
    }

    /// True if the origin keeps the connection open after this answer, so that another request may be sent on it.
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// `timeout=` of Keep-Alive, in seconds: after so long an idle connection is closed by the origin.
    pub fn keep_alive_timeout_s(&self) -> Option<u64> {
        let line = self.lines.iter().find(|line| line.known == Name::KeepAlive)?;
        lines::list(line.value.of_bytes(&self.bytes)).find_map(|parameter| {
            let seconds = parameter.strip_prefix(b"timeout=")?;
            std::str::from_utf8(seconds).ok()?.parse().ok()
        })
    }

    /// Whether the body is coded, so that it cannot be read in passing. There is no coding `none`, but graphql-yoga
    /// says so of its event streams, and others who want to be left alone by what compresses.
    pub fn is_content_coded(&self) -> bool {
        let is_plain = |coding: &[u8]| {
            coding.is_empty()
                || [&b"identity"[..], b"none"].iter().any(|plain| coding.eq_ignore_ascii_case(plain))
        };
        self.lines.iter().any(|line| {
            line.known == Name::ContentEncoding && !is_plain(line.value.of_bytes(&self.bytes).trim_ascii())
        })
    }

    /// The values of lines of this name, without case.
    pub fn lines_of(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let of_name =
            move |line: &&Line| line.name.of_bytes(&self.bytes).eq_ignore_ascii_case(name.as_bytes());
        self.lines.iter().filter(of_name).map(|line| line.value.of_bytes(&self.bytes))
    }

    /// Whether the content may be coded on its way (RFC 9110 section 7.7): it is whole and plain, nobody vouches
    /// for its bytes, and nobody forbids it.
    pub fn may_be_coded(&self) -> bool {
        let vouched = ["content-range", "content-md5", "digest", "content-digest", "repr-digest"];
        let has_content = !matches!(self.status, 100..200 | 204 | 205 | 206 | 304);
        let forbids =
            |value| lines::list(value).any(|directive| directive.eq_ignore_ascii_case(b"no-transform"));
        has_content
            && !self.is_content_coded()
            && !self.lines_of("cache-control").any(forbids)
            && !vouched.iter().any(|name| self.lines_of(name).next().is_some())
    }

    /// The length of the content, as the answer says it; to HEAD, too.
    pub fn content_length(&self) -> Option<u64> {
        std::str::from_utf8(self.lines_of("content-length").next()?.trim_ascii()).ok()?.parse().ok()
    }

    /// Whether the body is a stream of server-sent events, which may be silent for as long as it likes.
    pub fn is_event_stream(&self) -> bool {
        self.has_content_type(b"text/event-stream")
    }

    /// Content-Type is `application/octet-stream`, by which Engine.IO 3 tells payloads of bytes from those of text.
    pub fn is_binary(&self) -> bool {
        self.has_content_type(b"application/octet-stream")
    }

    fn has_content_type(&self, media_type: &[u8]) -> bool {
        let begins = |value: &[u8]| {
            value.get(..media_type.len()).is_some_and(|it| it.eq_ignore_ascii_case(media_type))
        };
        self.lines
            .iter()
            .any(|line| line.known == Name::ContentType && begins(line.value.of_bytes(&self.bytes)))
    }
}

/// A 101 opens a tunnel only if it answers the handshake that was sent (RFC 6455 section 4.1, client's checks).
fn check_101(
    asked: &AnswerTo,
    connection_upgrade: bool,
    lines: &[Line],
    bytes: &[u8],
) -> Result<(), Malformed> {
    let upgrade = lines::only(lines, Name::Upgrade, Malformed::Unasked101)?;
    let accept = lines::only(lines, Name::SecWebSocketAccept, Malformed::Unasked101)?;
    match (asked.accept, upgrade, accept) {
        (Some(want), Some(upgrade), Some(accept))
            if connection_upgrade
                && upgrade.of_bytes(bytes).eq_ignore_ascii_case(b"websocket")
                && accept.of_bytes(bytes) == want.as_slice() =>
        {
            Ok(())
        }
        _ => Err(Malformed::Unasked101),
    }
}
