//! HTTP/2 to HTTP/1 and back: a stream's header section as the request that a node is asked with, and an answer's head as the
//! fields of a stream. What HTTP/1 could take for something else is refused, never mended (RFC 9113 section 10.3).

use crate::chunked::{Chunked, Piece};
use crate::host;
use crate::malformed::Malformed;
use crate::request::RequestHead;
use crate::scan::{Side, is_token_byte};

/// The pseudo-header fields of a request (RFC 9113 section 8.3.1), and what is known of its stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamHead<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:scheme`, where it was said.
    pub scheme: Option<&'a [u8]>,
    /// `:authority`, where it was said.
    pub authority: Option<&'a [u8]>,
    /// `:path`, where it was said.
    pub path: Option<&'a [u8]>,
    /// `:protocol` (RFC 8441), where it was said.
    pub protocol: Option<&'a [u8]>,
    /// The Sec-WebSocket-Key that a node is asked with, if the stream is to become a WebSocket.
    pub key: &'a [u8],
    /// The header section did not end the stream.
    pub has_body: bool,
}

/// A name and a value.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// A request's header section as HTTP/1.1 would have said it.
#[derive(Debug)]
pub struct PrintedRequest {
    /// The head, which [`RequestHead::parse`] reads.
    pub head: Vec<u8>,
    /// The head says that chunks follow.
    pub is_chunked: bool,
}

/// Prints the header section of a request, whose fields are `fields`, as HTTP/1.1 would have said it. Whoever parses it finds
/// what else is wrong with it.
///
/// # Errors
/// If it breaks a rule of HTTP/2.
pub fn print_request(head: &StreamHead<'_>, fields: &[Field<'_>]) -> Result<PrintedRequest, Malformed> {
    let is_websocket = is_websocket(head)?;
    let path = path_of(head)?;
    let mut out = Vec::with_capacity(LINES_BYTES);
    out.extend_from_slice(if is_websocket { b"GET" } else { head.method });
    out.push(b' ');
    out.extend_from_slice(path);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    print_host(head, fields, &mut out)?;
    let mut has_length = false;
    for &(name, value) in fields {
        check_field(name, value)?;
        match name {
            // The crumbs of a Cookie become one line (RFC 9113 section 8.2.3).
            b"cookie" | b"host" => {}
            b"te" => {}
            // What a stream that becomes a WebSocket says with its key is ours to say (RFC 8441 section 5).
            b"sec-websocket-key" | b"sec-websocket-accept" if is_websocket => {}
            _ => {
                has_length |= name == b"content-length";
                print_line(name, value, &mut out);
            }
        }
    }
    print_cookies(fields, &mut out);
    let is_chunked = head.has_body && !has_length && !is_websocket;
    if is_websocket {
        out.extend_from_slice(b"connection: Upgrade\r\nupgrade: websocket\r\n");
        print_line(b"sec-websocket-key", head.key, &mut out);
    } else if is_chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else if !has_length && matches!(head.method, b"POST" | b"PUT" | b"PATCH") {
        // Whoever takes content says that there is none (RFC 9110 section 8.6).
        out.extend_from_slice(b"content-length: 0\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(PrintedRequest { head: out, is_chunked })
}

impl RequestHead {
    /// The same head, which a stream of HTTP/2 has said in other words. No other request follows on that stream.
    #[must_use]
    pub fn over_http2(mut self) -> Self {
        self.is_over_http2 = true;
        self.keep_alive = false;
        self
    }

    /// A stream of HTTP/2 has said it; its version is that of HTTP/1 in whose words it was read.
    #[must_use]
    pub fn is_over_http2(&self) -> bool {
        self.is_over_http2
    }

    /// A stream of HTTP/2 asks for a WebSocket by CONNECT (RFC 8441).
    #[must_use]
    pub fn is_extended_connect(&self) -> bool {
        self.is_over_http2 && self.websocket_key().is_some()
    }
}

/// Whether a CONNECT opens a WebSocket. Any other one is refused: this is no forward proxy.
fn is_websocket(head: &StreamHead<'_>) -> Result<bool, Malformed> {
    match (head.method, head.protocol) {
        (b"CONNECT", Some(b"websocket")) => Ok(true),
        (b"CONNECT", Some(_) | None) => Err(Malformed::Connect),
        (_, Some(_)) => Err(Malformed::PseudoHeader),
        (_, None) => Ok(false),
    }
}

/// The path and the query, in origin-form or `*`.
fn path_of<'a>(head: &StreamHead<'a>) -> Result<&'a [u8], Malformed> {
    if head.scheme.is_some_and(|scheme| !matches!(scheme, b"http" | b"https")) {
        return Err(Malformed::PseudoHeader);
    }
    let is_visible = |byte: &u8| byte.is_ascii_graphic() || *byte >= 0x80;
    match head.path {
        Some(b"*") if head.method == b"OPTIONS" => Ok(b"*"),
        Some(path) if path.starts_with(b"/") && path.iter().all(is_visible) => Ok(path),
        Some(_) | None => Err(Malformed::Target),
    }
}

/// The Host of HTTP/1. Where both are said they name the same host, since what is behind us may read either.
fn print_host(head: &StreamHead<'_>, fields: &[Field<'_>], out: &mut Vec<u8>) -> Result<(), Malformed> {
    let mut hosts = fields.iter().filter(|(name, _)| *name == b"host").map(|&(_, value)| value);
    let (said, again) = (hosts.next(), hosts.next());
    if again.is_some() {
        return Err(Malformed::HostTwice);
    }
    let default_port: &[u8] = if head.scheme == Some(b"http") { b"80" } else { b"443" };
    let host = match (head.authority, said) {
        (None, None) => return Err(Malformed::HostMissing),
        (None, Some(host)) | (Some(host), None) => host,
        (Some(authority), Some(host)) => {
            host::check(authority)?;
            host::check(host)?;
            if !host::agree(authority, host, default_port) {
                return Err(Malformed::HostContradicted);
            }
            authority
        }
    };
    host::check(host)?;
    print_line(b"host", host, out);
    Ok(())
}

/// A field is what both ends of HTTP/1 take for one line of that name and value (RFC 9113 section 8.2.1), and none that is
/// about the connection (section 8.2.2).
fn check_field(name: &[u8], value: &[u8]) -> Result<(), Malformed> {
    let is_name = |byte: &u8| is_token_byte(*byte) && !byte.is_ascii_uppercase();
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    if name.is_empty() || !name.iter().all(is_name) {
        return Err(Malformed::HeaderLine);
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        || is_blank(value.first())
        || is_blank(value.last())
    {
        return Err(Malformed::HeaderLine);
    }
    match name {
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => {
            Err(Malformed::ConnectionField)
        }
        b"te" if value != b"trailers" => Err(Malformed::ConnectionField),
        _ => Ok(()),
    }
}

fn print_cookies(fields: &[Field<'_>], out: &mut Vec<u8>) {
    let mut crumbs = fields.iter().filter(|(name, _)| *name == b"cookie").map(|&(_, value)| value);
    let Some(first) = crumbs.next() else { return };
    out.extend_from_slice(b"cookie: ");
    out.extend_from_slice(first);
    for crumb in crumbs {
        out.extend_from_slice(b"; ");
        out.extend_from_slice(crumb);
    }
    out.extend_from_slice(b"\r\n");
}

fn print_line(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// An answer's head as it is printed for HTTP/1, which HTTP/2 says in fields.
#[derive(Debug, Clone, Copy)]
pub struct PrintedAnswer<'a> {
    /// Its status.
    pub status: u16,
    /// Its body is chunked, which HTTP/2 is not told.
    pub is_chunked: bool,
    /// Its Content-Length, if it says one.
    pub length: Option<u64>,
    lines: &'a [u8],
}

impl<'a> PrintedAnswer<'a> {
    /// Reads a head that was printed here, up to the empty line that ends it. Also gives what stands behind that.
    /// `None` if it is none.
    pub fn read(printed: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let end = memchr::memmem::find(printed, b"\r\n\r\n")?;
        let (head, rest) = (&printed[..end + 2], &printed[end + 4..]);
        let first_end = memchr::memchr(b'\n', head)?;
        let status = std::str::from_utf8(head.get(9..12)?).ok()?.parse().ok()?;
        let mut answer = Self { status, is_chunked: false, length: None, lines: &head[first_end + 1..] };
        for (name, value) in answer.lines() {
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                answer.is_chunked = true;
            } else if name.eq_ignore_ascii_case(b"content-length") {
                answer.length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            }
        }
        Some((answer, rest))
    }

    /// The fields that are not about a connection of HTTP/1. A 101, which HTTP/2 does not have, leaves out what only an answer
    /// of HTTP/1 to a handshake has (RFC 8441 section 5.1).
    pub fn fields(self) -> impl Iterator<Item = Field<'a>> {
        let is_101 = self.status == 101;
        self.lines().filter(move |(name, _)| {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let is_of_connection = is("connection")
                || is("keep-alive")
                || is("proxy-connection")
                || is("te")
                || is("transfer-encoding")
                || is("upgrade");
            !(is_of_connection || is_101 && is("sec-websocket-accept"))
        })
    }

    fn lines(self) -> impl Iterator<Item = Field<'a>> {
        fields_of(self.lines)
    }
}

/// Takes the chunks off a body that is framed by HTTP/1, and keeps what stands behind the last of them.
#[derive(Debug)]
pub struct Unchunked {
    chunked: Chunked,
    trailers: Vec<u8>,
}

impl Unchunked {
    /// At the first chunk of an answer.
    #[must_use]
    pub fn of_answer() -> Self {
        Self { chunked: Chunked::of(Side::Answer), trailers: Vec::new() }
    }

    /// Walks over `bytes`, adds what is content to `content`, up to `content_max` bytes of it, and returns how many of them are
    /// done with.
    ///
    /// # Errors
    /// If the chunks are not well-formed.
    pub fn walk(
        &mut self,
        bytes: &[u8],
        content: &mut Vec<u8>,
        content_max: usize,
    ) -> Result<usize, Malformed> {
        let mut taken = 0;
        loop {
            let is_trailer = self.chunked.is_at_trailers();
            let mut rest = &bytes[taken..];
            if self.chunked.is_in_data() {
                rest = &rest[..rest.len().min(content_max - content.len())];
            }
            match self.chunked.next(rest)? {
                Piece::Data(length) => {
                    content.extend_from_slice(&rest[..length]);
                    taken += length;
                }
                Piece::Frame { kept, dropped, tail } => {
                    // The empty line that ends them is one of two bytes.
                    if is_trailer && kept > 2 {
                        self.trailers.extend_from_slice(&rest[..kept]);
                    }
                    taken += kept + dropped + tail;
                }
                Piece::Unfinished | Piece::End => return Ok(taken),
            }
        }
    }

    /// Content is what comes next.
    #[must_use]
    pub fn is_in_data(&self) -> bool {
        self.chunked.is_in_data()
    }

    /// The end has come.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.chunked.is_at_end()
    }

    /// The trailers, once the end has come.
    pub fn trailers(&self) -> impl Iterator<Item = Field<'_>> {
        fields_of(&self.trailers)
    }
}

/// The fields of lines that end in CRLF, as heads and trailers have them.
pub fn fields_of(lines: &[u8]) -> impl Iterator<Item = Field<'_>> {
    lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}

/// What most header sections fit into.
const LINES_BYTES: usize = 1024;
