//! Prints a head for the other end. Lines that are none of our business are copied as they came, in their order and
//! case; hop-by-hop lines are left out first, and only then are ours added, so that nothing a client says can take
//! away what we say (RFC 9110 section 7.6.1).

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::answer::{AnswerBody, AnswerHead};
use crate::lines::{Line, Name};
use crate::request::{Method, RequestHead};
use crate::{Version, cookie, engineio};

/// What is true of a client's connection. Made once for each; most of what we say about it never changes.
#[derive(Debug)]
pub struct ClientEnd {
    /// The other end of the connection: a client, or a proxy in front of us.
    peer: IpAddr,
    is_trusted: bool,
    scheme: &'static str,
    port: u16,
    /// X-Forwarded-For, X-Real-IP, -Proto and -Port for a peer that is not believed.
    plain_lines: Box<[u8]>,
}

impl ClientEnd {
    /// A connection from `peer` to `port`, `is_trusted` if the peer is one of the trusted proxies.
    pub fn new(peer: IpAddr, scheme: &'static str, port: u16, is_trusted: bool) -> Self {
        // A dual-stack listen shows IPv4 clients as mapped addresses, which apps would not recognise.
        let peer = peer.to_canonical();
        let mut lines = Vec::with_capacity(PLAIN_LINES_BYTES_MAX);
        lines.extend_from_slice(b"X-Forwarded-For: ");
        let address_at = lines.len();
        print_ip(peer, &mut lines);
        let address = address_at..lines.len();
        lines.extend_from_slice(b"\r\nX-Real-IP: ");
        lines.extend_from_within(address);
        lines.extend_from_slice(b"\r\n");
        print_line(&mut lines, "X-Forwarded-Proto", scheme.as_bytes());
        print_line(&mut lines, "X-Forwarded-Port", itoa::Buffer::new().format(port).as_bytes());
        // Copied, because the allocator takes longer to shrink a piece of memory than to give another.
        Self { peer, is_trusted, scheme, port, plain_lines: lines.as_slice().into() }
    }

    /// The other end of the connection.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// Whether the peer is one of the trusted proxies.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// Where the connection was accepted.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address of the client: the peer's, unless it is trusted; then the first one, walking X-Forwarded-For
    /// from the right, that is not.
    pub fn client_address(&self, head: &RequestHead, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
        if !self.is_trusted {
            return self.peer;
        }
        let mut client = self.peer;
        let hops = head.forwarded_for().rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
        for hop in hops.take(HOPS_MAX) {
            // What cannot be read cannot be believed, and neither can what stands left of it.
            let Some(address) = read_address(hop) else { break };
            client = address;
            if !is_trusted(address) {
                break;
            }
        }
        client
    }

    /// Whether the client itself speaks HTTPS, as far as a trusted proxy says or the connection shows.
    pub fn is_https(&self, head: &RequestHead) -> bool {
        let told = head.lines.iter().find(|line| self.is_trusted && line.known == Name::XForwardedProto);
        match told.map(|line| line.value.of_bytes(&head.bytes)) {
            // The first is the client's own, where several proxies have said something.
            Some(said) => said
                .split(|&byte| byte == b',')
                .next()
                .is_some_and(|scheme| scheme.trim_ascii().eq_ignore_ascii_case(b"https")),
            None => self.scheme == "https",
        }
    }
}

/// An element of X-Forwarded-For: an address, with a port as some balancers write it.
fn read_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

/// What a request is printed with.
#[derive(Debug)]
pub struct ForOrigin<'a> {
    /// Sent instead of the client's Host.
    pub host_override: Option<&'a str>,
    /// Sent where an HTTP/1.0 client sent none: HTTP/1.1 needs one.
    pub host_default: &'a str,
    /// Whose request it is.
    pub client_end: &'a ClientEnd,
    /// What [`ClientEnd::client_address`] found.
    pub client_address: IpAddr,
    /// Cut the tag off the session id in the query.
    pub strips_tag: bool,
    /// Leave out Accept-Encoding, so that the answer can be read.
    pub wants_plain: bool,
    /// Leave out the cookies of these names: they are ours.
    pub strips_cookies: &'a [Arc<str>],
}

/// Prints `head` for an origin.
pub fn print_request(head: &RequestHead, how: &ForOrigin<'_>, out: &mut Vec<u8>) {
    out.reserve(head.bytes.len() + OUR_LINES_BYTES);
    out.extend_from_slice(head.method_bytes());
    out.push(b' ');
    print_target(head, how.strips_tag, out);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    let is_trusted = how.client_end.is_trusted;
    for line in &head.lines {
        match line.known {
            Name::Host => match how.host_override {
                Some(host) => print_line(out, "Host", host.as_bytes()),
                None => copy_line(&head.bytes, line, out),
            },
            Name::Connection
            | Name::KeepAlive
            | Name::Upgrade
            | Name::HopByHop
            | Name::Nominated
            | Name::ForwardedTwin
            | Name::XForwardedFor
            | Name::XRealIp => {}
            Name::AcceptEncoding if how.wants_plain => {}
            Name::TransferEncoding => print_line(out, "Transfer-Encoding", b"chunked"),
            // An HTTP/1.0 client cannot be sent a 100 (RFC 9110 section 10.1.1).
            Name::Expect if head.version() == Version::Http10 => {}
            Name::XForwardedProto | Name::XForwardedHost | Name::XForwardedPort | Name::Forwarded
                if !is_trusted => {}
            Name::Forwarded => print_forwarded(&head.bytes, line, how.client_end, out),
            Name::Cookie if cookie::has_any(line.value.of_bytes(&head.bytes), how.strips_cookies) => {
                print_cookies(&head.bytes, line, how.strips_cookies, out);
            }
            Name::Other
            | Name::Cookie
            | Name::SetCookie
            | Name::ContentLength
            | Name::Expect
            | Name::AcceptEncoding
            | Name::ContentEncoding
            | Name::ContentType
            | Name::XForwardedProto
            | Name::XForwardedHost
            | Name::XForwardedPort
            | Name::SecWebSocketKey
            | Name::SecWebSocketAccept => copy_line(&head.bytes, line, out),
        }
    }
    // HTTP/1.0 may leave it out, or say it in an absolute-form target alone; HTTP/1.1 must not.
    if head.lines.iter().all(|line| line.known != Name::Host) {
        let host = head.host_bytes().unwrap_or(how.host_default.as_bytes());
        print_line(out, "Host", how.host_override.map_or(host, str::as_bytes));
    }
    if head.websocket_key().is_some() {
        out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n");
    }
    if is_trusted {
        print_trusted_lines(head, how, out);
    } else {
        out.extend_from_slice(&how.client_end.plain_lines);
        print_line(out, "X-Forwarded-Host", head.host_bytes().unwrap_or(how.host_default.as_bytes()));
    }
    out.extend_from_slice(b"\r\n");
}

/// A Cookie line without the cookies that are ours; nothing if there is no other.
fn print_cookies(bytes: &[u8], line: &Line, ours: &[Arc<str>], out: &mut Vec<u8>) {
    let before = out.len();
    out.extend_from_slice(line.name.of_bytes(bytes));
    out.extend_from_slice(b": ");
    let value_at = out.len();
    cookie::print_without(line.value.of_bytes(bytes), ours, out);
    if out.len() == value_at {
        out.truncate(before);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

/// The target in origin-form, whatever form it came in (RFC 9112 section 3.2.1).
fn print_target(head: &RequestHead, strips_tag: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(head.path_bytes());
    let Some(query) = head.query() else { return };
    out.push(b'?');
    let tag = match head.engine_io().map(|engine_io| engine_io.sid) {
        Some(engineio::Sid::Is(sid)) if strips_tag => {
            let tag_at = engineio::sid::tag_at(sid.of_bytes(&head.bytes));
            tag_at.map(|at| sid.start as usize + at..sid.end as usize)
        }
        _ => None,
    };
    let Some(tag) = tag else { return out.extend_from_slice(query.of_bytes(&head.bytes)) };
    out.extend_from_slice(&head.bytes[query.start as usize..tag.start]);
    out.extend_from_slice(&head.bytes[tag.end..query.end as usize]);
}

/// What a trusted proxy said is kept, and what we know is added to it.
fn print_trusted_lines(head: &RequestHead, how: &ForOrigin<'_>, out: &mut Vec<u8>) {
    let has = |name: Name| head.lines.iter().any(|line| line.known == name);
    let end = how.client_end;
    out.extend_from_slice(b"X-Forwarded-For: ");
    for value in head.forwarded_for() {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    print_display(out, format_args!("{}\r\nX-Real-IP: {}\r\n", end.peer, how.client_address));
    if !has(Name::XForwardedProto) {
        print_line(out, "X-Forwarded-Proto", end.scheme.as_bytes());
    }
    if !has(Name::XForwardedHost) {
        print_line(out, "X-Forwarded-Host", head.host_bytes().unwrap_or(how.host_default.as_bytes()));
    }
    if !has(Name::XForwardedPort) {
        print_display(out, format_args!("X-Forwarded-Port: {}\r\n", end.port));
    }
}

/// A trusted Forwarded with our own element behind it (RFC 7239 section 5.2).
fn print_forwarded(bytes: &[u8], line: &Line, end: &ClientEnd, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Forwarded: ");
    out.extend_from_slice(line.value.of_bytes(bytes));
    match end.peer {
        IpAddr::V4(peer) => print_display(out, format_args!(", for={peer};proto={}\r\n", end.scheme)),
        IpAddr::V6(peer) => print_display(out, format_args!(", for=\"[{peer}]\";proto={}\r\n", end.scheme)),
    }
}

/// What an answer is printed with.
#[derive(Debug, Clone, Copy)]
pub struct ForClient {
    /// The version the client speaks.
    pub version: Version,
    /// The method it asked with.
    pub method: Method,
    /// Whether the client may send another request afterwards.
    pub keep_alive: bool,
    /// The length of a body that we changed; its coding is gone.
    pub content_length: Option<u64>,
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

impl ForClient {
    /// How the body of `answer` reaches the client. The connection cannot go on after [`Reframed::ToClose`].
    pub fn reframed(&self, body: AnswerBody) -> Reframed {
        match (body, self.version) {
            (AnswerBody::UntilClose, Version::Http11) => Reframed::ToChunks,
            (AnswerBody::UntilClose | AnswerBody::Chunked, Version::Http10) => Reframed::ToClose,
            (AnswerBody::None | AnswerBody::Length(_) | AnswerBody::Chunked, _) => Reframed::AsItCame,
        }
    }
}

/// Prints `head` for a client.
pub fn print_answer(head: &AnswerHead, how: &ForClient, out: &mut Vec<u8>) {
    out.reserve(head.bytes.len() + OUR_LINES_BYTES);
    out.extend_from_slice(b"HTTP/1.1 ");
    let status_and_reason = head.status_and_reason.of_bytes(&head.bytes);
    out.extend_from_slice(status_and_reason);
    // The space in front of the reason is not optional, the reason is (RFC 9112 section 4).
    out.extend_from_slice(if status_and_reason.len() == STATUS_BYTES { b" \r\n" } else { b"\r\n" });
    // An answer without content says nothing of framing, but to HEAD and in a 304, where it tells what GET would say.
    let may_frame = how.content_length.is_none() && head.status() >= 200 && head.status() != 204;
    let reframed = how.reframed(head.body());
    for line in &head.lines {
        match line.known {
            Name::Connection | Name::KeepAlive | Name::HopByHop | Name::Nominated => {}
            Name::Upgrade if head.status() != 101 => {}
            Name::ContentLength if !may_frame => {}
            Name::TransferEncoding if !may_frame || how.version == Version::Http10 => {}
            Name::TransferEncoding => print_line(out, "Transfer-Encoding", b"chunked"),
            _ => copy_line(&head.bytes, line, out),
        }
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

/// Prints an address. `Display` finds out first how wide it may be, which takes longer than the digits.
pub fn print_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => {
            let [first, rest @ ..] = v4.octets();
            let mut digits = itoa::Buffer::new();
            out.extend_from_slice(digits.format(first).as_bytes());
            for octet in rest {
                out.push(b'.');
                out.extend_from_slice(digits.format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => print_display(out, format_args!("{v6}")),
    }
}

/// Adds a line to a head that has been printed.
pub fn add_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    debug_assert!(out.ends_with(b"\r\n\r\n"));
    out.truncate(out.len() - b"\r\n".len());
    print_line(out, name, value);
    out.extend_from_slice(b"\r\n");
}

/// Says what is not the version's default (RFC 9112 section 9.3).
pub fn print_connection(version: Version, keep_alive: bool, out: &mut Vec<u8>) {
    match (version, keep_alive) {
        (Version::Http11, true) | (Version::Http10, false) => {}
        (Version::Http11, false) => print_line(out, "Connection", b"close"),
        (Version::Http10, true) => print_line(out, "Connection", b"keep-alive"),
    }
}

fn print_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A line as it came, but for white space around its value.
fn copy_line(bytes: &[u8], line: &Line, out: &mut Vec<u8>) {
    // Nearly every line has one blank in front of its value and none behind it, and is copied in one piece.
    let (name_end, end) = (line.name.end(), line.value.end());
    let whole = bytes.get(line.name.start as usize..end + 2);
    if let Some(whole) = whole.filter(|whole| whole.ends_with(b"\r\n"))
        && line.value.start as usize == name_end + 2
        && bytes[name_end + 1] == b' '
    {
        return out.extend_from_slice(whole);
    }
    out.extend_from_slice(line.name.of_bytes(bytes));
    out.extend_from_slice(b": ");
    out.extend_from_slice(line.value.of_bytes(bytes));
    out.extend_from_slice(b"\r\n");
}

fn print_display(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a Vec does not fail");
}

/// What our own lines add to a head, roughly; a guess that spares a reallocation, no bound.
const OUR_LINES_BYTES: usize = 256;
const STATUS_BYTES: usize = 3;
/// What these lines take at most, so that none of them moves the others.
const PLAIN_LINES_BYTES_MAX: usize = 192;
/// More proxies than stand in any row.
const HOPS_MAX: usize = 64;
