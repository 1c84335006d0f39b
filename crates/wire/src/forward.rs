//! Prints a head for the other end. Lines that are none of our business are copied as they came, in their order and
//! case; hop-by-hop lines are left out first, and only then are ours added, so that nothing a client says can take
//! away what we say (RFC 9110 section 7.6.1).

use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;

use crate::answer::{AnswerBody, AnswerHead};
use crate::cookie::SetCookie;
use crate::forwarded::{self, HOPS_MAX, Hop, read_address};
use crate::lines::{Line, Name};
use crate::request::{Method, RequestHead};
use crate::span::Version;
use crate::tag::Pin;
use crate::{cookie, engineio, host};

/// What is true of a client's connection. Made once for each; most of what we say about it never changes.
#[derive(Debug)]
pub struct ClientEnd {
    /// The other end of the connection: a client, or a proxy in front of us.
    peer: IpAddr,
    is_trusted: bool,
    scheme: &'static str,
    port: u16,
    /// X-Forwarded-For, X-Real-IP and -Proto for a peer that is not believed, and -Port where Host says none.
    plain_lines: Box<[u8]>,
    /// Where that last line begins.
    port_line_at: usize,
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
        let port_line_at = lines.len();
        // Not where we listen: a client may have asked a port that something in front of us maps to ours.
        print_line(&mut lines, "X-Forwarded-Port", default_port(scheme == "https"));
        // Copied, because the allocator takes longer to shrink a piece of memory than to give another.
        Self { peer, is_trusted, scheme, port, plain_lines: lines.as_slice().into(), port_line_at }
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
    /// from the right, that is not. Where no such line is there, Forwarded says the same.
    pub fn client_address(&self, head: &RequestHead, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
        if !self.is_trusted {
            return self.peer;
        }
        let mut client = self.peer;
        let mut believe = |hop: Option<IpAddr>| {
            // What cannot be read cannot be believed, and neither can what stands left of it.
            let Some(address) = hop else { return false };
            client = address;
            is_trusted(address)
        };
        let hops = head.forwarded_for().rev().flat_map(|value| value.rsplit(|&byte| byte == b','));
        for hop in hops.take(HOPS_MAX) {
            if !believe(read_address(hop)) {
                break;
            }
        }
        for hop in forwarded::alone(head).iter().rev() {
            if !believe(hop.address) {
                break;
            }
        }
        client
    }

    /// Whether the client itself speaks HTTPS, as far as a trusted proxy says or the connection shows.
    pub fn is_https(&self, head: &RequestHead) -> bool {
        if !self.is_trusted {
            return self.scheme == "https";
        }
        // The first is the client's own, where several proxies have said something.
        let told = told_scheme(head);
        let told = told.or_else(|| forwarded::alone(head).first()?.proto.map(str::as_bytes));
        told.unwrap_or(self.scheme.as_bytes()).eq_ignore_ascii_case(b"https")
    }
}

/// The first scheme in X-Forwarded-Proto.
fn told_scheme(head: &RequestHead) -> Option<&[u8]> {
    Some(first_of(head, Name::XForwardedProto)?.trim_ascii())
}

/// The first element of the first line of this name.
fn first_of(head: &RequestHead, name: Name) -> Option<&[u8]> {
    let line = head.lines.iter().find(|line| line.known == name)?;
    line.value.of_bytes(&head.bytes).split(|&byte| byte == b',').next()
}

/// The port that a scheme means by itself.
fn default_port(is_https: bool) -> &'static [u8] {
    if is_https { b"443" } else { b"80" }
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
    /// Leave out the pins in the cookies of these names: they are ours.
    pub strips_pins: &'a [Arc<str>],
    /// Lines of these names pass though a stranger says them, or with an underscore. Compared without case.
    pub pass_headers: &'a [String],
    /// What a route changes.
    pub edits: Option<&'a LineEdits>,
}

impl ForOrigin<'_> {
    fn passes(&self, bytes: &[u8], line: &Line) -> bool {
        let name = line.name.of_bytes(bytes);
        self.pass_headers.iter().any(|passes| name.eq_ignore_ascii_case(passes.as_bytes()))
    }
}

/// Lines that a route changes on their way.
#[derive(Debug, Default)]
pub struct LineEdits {
    /// Names of lines that go no further, in lower case.
    drops: Vec<String>,
    /// Lines that are said in their place, or beside others.
    lines: Vec<u8>,
    /// What was taken from the front of the path, and what came in its place.
    mount: Option<Mount>,
}

/// Where an app stands for its clients, and where it thinks that it stands; both without a slash at their end.
#[derive(Debug)]
struct Mount {
    for_client: Vec<u8>,
    for_node: Vec<u8>,
}

impl LineEdits {
    /// Lines of this name go no further.
    pub fn drop_lines(&mut self, name: &str) {
        self.drops.push(name.to_ascii_lowercase());
    }

    /// One more line, without what would end it.
    pub fn say(&mut self, name: &str, value: &[u8]) {
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        self.lines.extend_from_slice(b"\r\n");
    }

    /// Paths in Location and in the Path of cookies that are under `for_node` come under `for_client`. Where the node stands
    /// at the top, all are but those that are under `for_client` already.
    pub fn mount_at(&mut self, for_client: &[u8], for_node: &[u8]) {
        self.mount = Some(Mount { for_client: for_client.to_vec(), for_node: for_node.to_vec() });
    }

    /// The lines that are said.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Whether lines of this name go no further, nor with an underscore for a dash: an app that folds them would take a
    /// stranger's line for ours.
    pub fn drops(&self, name: &[u8]) -> bool {
        let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        self.drops.iter().any(|drops| drops.bytes().map(|byte| folded(&byte)).eq(name.iter().map(folded)))
    }

    /// Whether paths are put under a mount.
    pub fn is_mounting(&self) -> bool {
        self.mount.is_some()
    }

    fn copy_line(&self, bytes: &[u8], line: &Line, out: &mut Vec<u8>) {
        let (name, value) = (line.name.of_bytes(bytes), line.value.of_bytes(bytes));
        if self.drops(name) {
            return;
        }
        let is_cookie = line.known == Name::SetCookie;
        match self.mounts_at(name, value, is_cookie) {
            None => copy_line(bytes, line, out),
            Some((mount, at)) => mount.print((name, value), at, is_cookie, out),
        }
    }

    /// The same for a cookie whose value is another one.
    fn print_cookie(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if self.drops(name) {
            return;
        }
        match self.mounts_at(name, value, true) {
            None => {
                for part in [name, b": ", value, b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
            Some((mount, at)) => mount.print((name, value), at, true, out),
        }
    }

    /// Where the value has a path that is another one for clients.
    fn mounts_at(&self, name: &[u8], value: &[u8], is_cookie: bool) -> Option<(&Mount, usize)> {
        let mount = self.mount.as_ref()?;
        let path_at = match is_cookie {
            true => cookie::path_at(value),
            false => name.eq_ignore_ascii_case(b"location").then_some(0),
        };
        path_at.filter(|&at| mount.moves(&value[at..])).map(|at| (mount, at))
    }
}

impl Mount {
    /// Whether this begins with a path that is another one for clients. `//` begins a host.
    fn moves(&self, value: &[u8]) -> bool {
        let is_under = |prefix: &[u8]| {
            let rest = value.strip_prefix(prefix);
            rest.is_some_and(|rest| matches!(rest, [] | [b'/' | b'?' | b'#' | b';', ..]))
        };
        let is_path = value.starts_with(b"/") && !value.starts_with(b"//");
        is_path
            && if self.for_node.is_empty() { !is_under(&self.for_client) } else { is_under(&self.for_node) }
    }

    fn print(&self, (name, value): (&[u8], &[u8]), at: usize, is_cookie: bool, out: &mut Vec<u8>) {
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(&value[..at]);
        out.extend_from_slice(&self.for_client);
        let rest = &value[at + self.for_node.len()..];
        // The path of a cookie that ends in a slash would not take the mount itself.
        let is_root = is_cookie && matches!(rest, [b'/'] | [b'/', b';' | b' ', ..]);
        out.extend_from_slice(&rest[usize::from(is_root)..]);
        out.extend_from_slice(b"\r\n");
    }
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
            | Name::Again
            | Name::XForwardedFor
            | Name::XRealIp => {}
            Name::AcceptEncoding if how.wants_plain => {}
            Name::TransferEncoding => print_line(out, "Transfer-Encoding", b"chunked"),
            // An HTTP/1.0 client cannot be sent a 100 (RFC 9110 section 10.1.1).
            Name::Expect if head.version() == Version::Http10 => {}
            Name::XForwardedProto | Name::XForwardedHost | Name::XForwardedPort if !is_trusted => {}
            Name::Forwarded | Name::FrontDoor if !is_trusted && !how.passes(&head.bytes, line) => {}
            // Dropped from a trusted proxy, too: it sets the names that it knows, and passes on what its client sent.
            Name::Twin if !how.passes(&head.bytes, line) => {}
            Name::Forwarded if is_trusted && is_last(head, line) => {
                print_forwarded(&head.bytes, line, how.client_end, out);
            }
            Name::Cookie if how.edits.is_some_and(|edits| edits.drops(b"cookie")) => {}
            Name::Cookie if cookie::has_pin(line.value.of_bytes(&head.bytes), how.strips_pins) => {
                print_cookies(&head.bytes, line, how.strips_pins, out);
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
            | Name::Forwarded
            | Name::FrontDoor
            | Name::Twin
            | Name::SecWebSocketKey
            | Name::SecWebSocketAccept => match how.edits {
                None => copy_line(&head.bytes, line, out),
                Some(edits) => edits.copy_line(&head.bytes, line, out),
            },
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
        print_plain_lines(head, how, out);
    }
    if let Some(edits) = how.edits {
        out.extend_from_slice(&edits.lines);
    }
    out.extend_from_slice(b"\r\n");
}

/// What we know of a client, whatever it says.
fn print_plain_lines(head: &RequestHead, how: &ForOrigin<'_>, out: &mut Vec<u8>) {
    let ClientEnd { plain_lines, port_line_at, .. } = how.client_end;
    match head.host_port() {
        None => out.extend_from_slice(plain_lines),
        Some(port) => {
            out.extend_from_slice(&plain_lines[..*port_line_at]);
            print_line(out, "X-Forwarded-Port", port);
        }
    }
    print_line(out, "X-Forwarded-Host", head.host_bytes().unwrap_or(how.host_default.as_bytes()));
}

/// A Cookie line without the pins that are ours; nothing if there is nothing else.
fn print_cookies(bytes: &[u8], line: &Line, ours: &[Arc<str>], out: &mut Vec<u8>) {
    let before = out.len();
    out.extend_from_slice(line.name.of_bytes(bytes));
    out.extend_from_slice(b": ");
    let value_at = out.len();
    cookie::print_without_pins(line.value.of_bytes(bytes), ours, out);
    if out.len() == value_at {
        out.truncate(before);
    } else {
        out.extend_from_slice(b"\r\n");
    }
}

/// The target in origin-form, whatever form it came in (RFC 9112 section 3.2.1).
fn print_target(head: &RequestHead, strips_tag: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(head.sent_path_bytes());
    let Some(query) = head.query() else { return };
    out.push(b'?');
    let tag = match head.engine_io().map(|engine_io| (engine_io.sid, engine_io.is_plain())) {
        Some((engineio::Sid::Is(sid), is_plain)) if strips_tag => {
            let tag_at = engineio::sid::tag_at(sid.of_bytes(&head.bytes), is_plain);
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
    let end = how.client_end;
    let hops = forwarded::alone(head);
    out.extend_from_slice(b"X-Forwarded-For: ");
    for value in head.forwarded_for() {
        out.extend_from_slice(value);
        out.extend_from_slice(b", ");
    }
    for hop in &hops {
        match hop.address {
            Some(address) => print_ip(address, out),
            None => out.extend_from_slice(b"unknown"),
        }
        out.extend_from_slice(b", ");
    }
    print_display(out, format_args!("{}\r\nX-Real-IP: {}\r\n", end.peer, how.client_address));
    // Of several proxies the one that our client asked says how it asked.
    let is_of_client = |hop: &&Hop<'_>| hop.address == Some(how.client_address);
    let hop = hops.iter().rev().find(is_of_client).copied().unwrap_or_default();
    let told_scheme = told_scheme(head);
    let scheme = hop.proto.unwrap_or(end.scheme);
    if told_scheme.is_none() {
        print_line(out, "X-Forwarded-Proto", scheme.as_bytes());
    }
    let told_host = first_of(head, Name::XForwardedHost).map(<[u8]>::trim_ascii);
    let host = hop.host.or_else(|| head.host_bytes()).unwrap_or(how.host_default.as_bytes());
    if told_host.is_none() {
        print_line(out, "X-Forwarded-Host", host);
    }
    if head.lines.iter().all(|line| line.known != Name::XForwardedPort) {
        let is_https = told_scheme.map_or(scheme == "https", |told| told.eq_ignore_ascii_case(b"https"));
        let host = told_host.or(hop.host).or_else(|| head.host_bytes());
        let port = host.filter(|host| host::check(host).is_ok()).and_then(host::port);
        print_line(out, "X-Forwarded-Port", port.unwrap_or(default_port(is_https)));
    }
}

/// Whether no line of the same name stands behind this one.
fn is_last(head: &RequestHead, line: &Line) -> bool {
    let last = head.lines.iter().rfind(|other| other.known == line.known);
    last.is_some_and(|last| last.name == line.name)
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
        match (body, self.version) {
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
    /// Which of the cookies that the answer sets those are.
    pub is_wrapped: &'a dyn Fn(&SetCookie<'_>) -> bool,
}

impl Wrap<'_> {
    fn takes(&self, line: &[u8]) -> bool {
        SetCookie::read(line).is_some_and(|cookie| (self.is_wrapped)(&cookie))
    }
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
    let status_and_reason = head.status_and_reason.of_bytes(&head.bytes);
    out.extend_from_slice(status_and_reason);
    // The space in front of the reason is not optional, the reason is (RFC 9112 section 4).
    out.extend_from_slice(if status_and_reason.len() == STATUS_BYTES { b" \r\n" } else { b"\r\n" });
    // An answer without content says nothing of framing, but to HEAD and in a 304, where it tells what GET would say.
    let may_frame = how.content_length.is_none() && head.status() >= 200 && head.status() != 204;
    let reframed = how.reframed(head.body());
    let edits = how.edits.filter(|_| !head.is_interim());
    for line in &head.lines {
        match line.known {
            Name::Connection | Name::KeepAlive | Name::HopByHop | Name::Nominated | Name::Again => {}
            Name::Upgrade if head.status() != 101 => {}
            Name::ContentLength if !may_frame => {}
            Name::TransferEncoding if !may_frame || how.version == Version::Http10 => {}
            Name::TransferEncoding => print_line(out, "Transfer-Encoding", b"chunked"),
            Name::SetCookie if wrap.is_some() => copy_or_wrap(&head.bytes, line, (edits, wrap), out),
            _ => match edits {
                None => copy_line(&head.bytes, line, out),
                Some(edits) => edits.copy_line(&head.bytes, line, out),
            },
        }
    }
    if let Some(edits) = edits {
        out.extend_from_slice(&edits.lines);
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
    (edits, wrap): (Option<&LineEdits>, Option<&Wrap<'_>>),
    out: &mut Vec<u8>,
) {
    let value = line.value.of_bytes(bytes);
    match (wrap.filter(|wrap| wrap.takes(value)), edits) {
        (Some(wrap), edits) => {
            let mut wrapped = Vec::with_capacity(value.len() + Pin::BYTES + 1);
            cookie::print_with_pin(value, wrap.pin, &mut wrapped);
            edits.unwrap_or(&LineEdits::default()).print_cookie(line.name.of_bytes(bytes), &wrapped, out);
        }
        (None, Some(edits)) => edits.copy_line(bytes, line, out),
        (None, None) => copy_line(bytes, line, out),
    }
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
