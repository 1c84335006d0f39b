//! Prints a head for the other end. Lines that are none of our business are copied as they came, in their order and
//! case; hop-by-hop lines are left out first, and only then are ours added, so that nothing a client says can take
//! away what we say (RFC 9110 section 7.6.1).

use std::net::IpAddr;

use crate::forwarded::{self, HOPS_MAX, Hop, read_address};
use crate::lines::{Line, Name, is_of_certificate};
use crate::pin_names::StripPins;
use crate::request::RequestHead;
use crate::span::Version;
use crate::{engineio, host};

mod answer;
mod edits;
mod print;

pub use answer::{ForClient, Reframed, Wrap, print_answer, print_answer_wrapping};
pub use edits::LineEdits;
pub(crate) use print::copy_line;
use print::{OUR_LINES_BYTES, print_display, print_line};
pub use print::{add_line, print_connection, print_ip};

/// What is true of a client's connection. Made once for each; most of what we say about it never changes.
#[derive(Debug, Clone)]
pub struct ClientEnd {
    /// The other end of the connection: a client, or a proxy in front of us.
    peer: IpAddr,
    is_trusted: bool,
    scheme: &'static str,
    port: u16,
    /// What is said of the client's certificate, for those that are asked for one. Then X-Forwarded-For, X-Real-IP and -Proto for
    /// a peer that is not believed, and -Port where Host says none.
    plain_lines: Box<[u8]>,
    /// Where that last line begins.
    port_line_at: usize,
    /// How long the first part is; 0 for who is not asked for a certificate.
    certificate_bytes: u32,
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
        let plain_lines = lines.as_slice().into();
        Self { peer, is_trusted, scheme, port, plain_lines, port_line_at, certificate_bytes: 0 }
    }

    /// The same, of a client that was asked for a certificate. `lines` are whole, and say what it has shown.
    #[must_use]
    pub fn with_certificate(self, lines: &[u8]) -> Self {
        let plain_lines = [lines, &self.plain_lines].concat().into();
        let port_line_at = lines.len() + self.port_line_at;
        let certificate_bytes = u32::try_from(lines.len()).unwrap_or(u32::MAX);
        Self { plain_lines, port_line_at, certificate_bytes, ..self }
    }

    /// The listener asks for client certificates; whether one was shown is another matter.
    pub fn is_asked_for_certificate(&self) -> bool {
        self.certificate_bytes != 0
    }

    /// The other end of the connection.
    pub fn peer(&self) -> IpAddr {
        self.peer
    }

    /// The connection's other end is a trusted proxy, whose word on the client is believed.
    pub fn is_trusted(&self) -> bool {
        self.is_trusted
    }

    /// The port of the listener that accepted it, for X-Forwarded-Port and routes with `listen`.
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

/// What [`print_request`] changes of a request on its way to an origin.
#[derive(Debug)]
pub struct ForOrigin<'a> {
    /// Sent instead of the client's Host.
    pub host_override: Option<&'a str>,
    /// Sent where an HTTP/1.0 client sent none: HTTP/1.1 needs one.
    pub host_default: &'a str,
    /// The connection that the request came on: what stands in the forwarding lines, and whether those that came are believed.
    pub client_end: &'a ClientEnd,
    /// What [`ClientEnd::client_address`] found.
    pub client_address: IpAddr,
    /// Cut the tag off the session id in the query.
    pub strips_tag: bool,
    /// Leave out Accept-Encoding, so that the answer can be read.
    pub wants_plain: bool,
    /// Leave out pins, which are ours.
    pub strips_pins: StripPins<'a>,
    /// Lines of these names pass though a stranger says them, or with an underscore. Compared without case.
    pub pass_headers: &'a [String],
    /// Lines that the route sets, adds and removes.
    pub edits: Option<&'a LineEdits>,
}

impl ForOrigin<'_> {
    /// Whether a line of a front door goes no further. Of certificates we know it better, where clients are asked for them.
    fn withholds(&self, bytes: &[u8], line: &Line) -> bool {
        (!self.client_end.is_trusted && !self.passes(bytes, line))
            || (self.client_end.is_asked_for_certificate() && is_of_certificate(line.name.of_bytes(bytes)))
    }

    fn passes(&self, bytes: &[u8], line: &Line) -> bool {
        let name = line.name.of_bytes(bytes);
        self.pass_headers.iter().any(|passes| name.eq_ignore_ascii_case(passes.as_bytes()))
    }
}

/// Appends `head` to `out` as an origin gets it, with the empty line that ends it.
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
            Name::Forwarded | Name::FrontDoor if how.withholds(&head.bytes, line) => {}
            // Dropped from a trusted proxy, too: it sets the names that it knows, and passes on what its client sent.
            Name::Twin if !how.passes(&head.bytes, line) => {}
            Name::Forwarded if is_trusted && is_last(head, line) => {
                print_forwarded(&head.bytes, line, how.client_end, out);
            }
            // Who cannot read the one has no use for the other.
            Name::TraceParent | Name::TraceState if head.trace_parent().is_none() => {}
            Name::Cookie if how.edits.is_some_and(|edits| edits.drops(b"cookie")) => {}
            Name::Cookie => print_cookies(&head.bytes, line, how, out),
            Name::Other
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
            | Name::TraceParent
            | Name::TraceState
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
fn print_cookies(bytes: &[u8], line: &Line, how: &ForOrigin<'_>, out: &mut Vec<u8>) {
    let (before, value) = (out.len(), line.value);
    match how.strips_pins {
        StripPins::One(taken) if taken == value => return,
        StripPins::One(taken) if value.start <= taken.start && taken.end <= value.end => {
            out.extend_from_slice(line.name.of_bytes(bytes));
            out.extend_from_slice(b": ");
            out.extend_from_slice(&bytes[value.start as usize..taken.start as usize]);
            out.extend_from_slice(&bytes[taken.end()..value.end()]);
        }
        StripPins::All(names) => {
            out.extend_from_slice(line.name.of_bytes(bytes));
            out.extend_from_slice(b": ");
            let value_at = out.len();
            names.print_without_pins(value.of_bytes(bytes), out);
            if out.len() == value_at {
                return out.truncate(before);
            }
        }
        StripPins::None | StripPins::One(_) => {
            return match how.edits {
                None => copy_line(bytes, line, out),
                Some(edits) => edits.copy_line(bytes, line, out),
            };
        }
    }
    out.extend_from_slice(b"\r\n");
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
    out.extend_from_slice(&end.plain_lines[..end.certificate_bytes as usize]);
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
    out.extend_from_slice(b", ");
    print_for(Some(end.peer), out);
    print_display(out, format_args!(";proto={}\r\n", end.scheme));
}

/// Says in a head that was printed by `how` for `head` who the client is, as RFC 7239 has it. A Forwarded of a trusted proxy has
/// our part already.
pub fn add_forwarded(head: &RequestHead, how: &ForOrigin<'_>, out: &mut Vec<u8>) {
    let end = how.client_end;
    let has_part = end.is_trusted && head.lines.iter().any(|line| line.known == Name::Forwarded);
    if has_part {
        return;
    }
    add_line(out, "Forwarded", |out| {
        if end.is_trusted {
            let hops = head.forwarded_for().flat_map(|value| value.split(|&byte| byte == b','));
            for hop in hops {
                print_for(read_address(hop), out);
                out.extend_from_slice(b", ");
            }
        }
        print_for(Some(end.peer), out);
        out.extend_from_slice(b";host=");
        print_value(head.host_bytes().unwrap_or(how.host_default.as_bytes()), out);
        print_display(out, format_args!(";proto={}", end.scheme));
    });
}

/// A node of RFC 7239 section 6. What cannot be read is said to be somebody, and no more: it may hold anything.
fn print_for(address: Option<IpAddr>, out: &mut Vec<u8>) {
    match address {
        Some(IpAddr::V4(address)) => print_display(out, format_args!("for={address}")),
        Some(IpAddr::V6(address)) => print_display(out, format_args!("for=\"[{address}]\"")),
        None => out.extend_from_slice(b"for=unknown"),
    }
}

/// A token as it is, and everything else in quotes (section 4).
fn print_value(value: &[u8], out: &mut Vec<u8>) {
    let is_token = !value.is_empty()
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    if is_token {
        return out.extend_from_slice(value);
    }
    out.push(b'"');
    for &byte in value {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// What these lines take at most, so that none of them moves the others.
const PLAIN_LINES_BYTES_MAX: usize = 192;
