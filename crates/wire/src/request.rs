//! The head of a request: read once, strictly, into offsets over its own bytes.

mod method;
mod says;

use std::borrow::Cow;
use std::mem::MaybeUninit;

use crate::engineio::{self, EngineIo};
use crate::lines::{self, Line, Name};
use crate::malformed::Malformed;
use crate::scan::{Side, is_token_byte};
use crate::span::{HeadBounds, Span, Version};
use crate::{host, websocket};

pub use method::Method;

/// A request's head. Exists only if the whole head holds. It owns a copy of its bytes: a head lives as long as its
/// exchange, which may be a poll of half a minute, and must not keep the buffer that it came in.
#[derive(Debug, Clone)]
pub struct RequestHead {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) lines: Vec<Line>,
    method: Method,
    method_span: Span,
    /// The whole target as it came.
    target: Span,
    /// The path inside it; empty for an absolute-form target without one.
    path: Span,
    /// What an origin is asked for in its place, behind the bytes that came.
    sent_path: Option<Span>,
    /// What follows `?`, if anything does.
    query: Option<Span>,
    version: Version,
    pub(crate) is_over_http2: bool,
    host: Option<Span>,
    /// Of the host, if it says one.
    host_port: Option<Span>,
    body: RequestBody,
    /// Whether the client means to send another request on this connection.
    pub(crate) keep_alive: bool,
    expects_continue: bool,
    opens_websocket: Option<Span>,
    engine_io: Option<EngineIo>,
    tells_of_client: bool,
    has_cookies: bool,
}

/// How a request's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestBody {
    /// There is none. Also for `Content-Length: 0`.
    None,
    /// Content-Length says the number of bytes.
    Length(u64),
    /// The body comes in chunks (RFC 9112 section 7.1), the last of which is empty.
    Chunked,
}

impl RequestHead {
    /// Reads a whole head as [`crate::scan::HeadScan`] delimits it, leading empty lines included.
    ///
    /// # Errors
    /// If the head is not well-formed, too long for `bounds`, or can be understood in more than one way.
    pub fn parse(bytes: &[u8], bounds: &HeadBounds) -> Result<Self, Malformed> {
        let mut slots = [const { MaybeUninit::uninit() }; HeadBounds::LINES_MAX];
        let mut parsed = httparse::Request::new(&mut []);
        let slots = &mut slots[..bounds.lines_max.min(HeadBounds::LINES_MAX)];
        let status = parsed.parse_with_uninit_headers(bytes, slots).map_err(lines::refusal)?;
        let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(Malformed::FirstLine);
        };
        // The scan found the head's end; a parser that sees another end reads another message.
        if status != httparse::Status::Complete(bytes.len()) {
            return Err(Malformed::HeaderLine);
        }
        let version = if minor == 0 { Version::Http10 } else { Version::Http11 };
        let method_span = Span::of(method.as_bytes(), bytes);
        let target_span = Span::of(target.as_bytes(), bytes);
        let lines = lines::read(parsed.headers, bytes, Side::Request);
        if target.len() > bounds.target_bytes_max {
            return Err(Malformed::TargetTooLong);
        }
        Self::assemble(First { method: method_span, target: target_span, version }, lines, bytes)
    }

    fn assemble(first: First, mut lines: Vec<Line>, bytes: &[u8]) -> Result<Self, Malformed> {
        let version = first.version;
        let method = read_method(first.method.of_bytes(bytes))?;
        let hop = lines::read_hop(&mut lines, bytes, Side::Request, version)?;
        let host = lines::only(&lines, Name::Host, Malformed::HostTwice)?;
        let port = match host {
            Some(host) => host::check(host.of_bytes(bytes))?,
            None if version == Version::Http11 => return Err(Malformed::HostMissing),
            None => None,
        };
        let target = read_target(first.target.of_bytes(bytes), method, bytes)?;
        // Where both are there they agree, and Host is what the client said.
        let port = match (host, target.authority) {
            (None, Some((authority, _))) => host::port(authority.of_bytes(bytes)),
            (Some(_), _) | (None, None) => port,
        };
        let host = agreed_host(target.authority, host, bytes)?;
        let body = match (hop.is_chunked, hop.content_length) {
            (true, _) => RequestBody::Chunked,
            (false, None | Some(0)) => RequestBody::None,
            (false, Some(length)) => RequestBody::Length(length),
        };
        let asks = Asks { method, version, connection_upgrade: hop.upgrade, body };
        let opens_websocket = read_upgrade(&asks, &lines, bytes)?;
        let expects_continue = version == Version::Http11
            && body != RequestBody::None
            && lines.iter().any(|line| {
                line.known == Name::Expect && line.value.of_bytes(bytes).eq_ignore_ascii_case(b"100-continue")
            });
        Ok(Self {
            method,
            method_span: first.method,
            target: first.target,
            path: target.path,
            sent_path: None,
            query: target.query,
            version,
            is_over_http2: false,
            host,
            host_port: port.map(|port| Span::of(port, bytes)),
            body,
            keep_alive: !hop.close && (version == Version::Http11 || hop.keep_alive),
            expects_continue,
            opens_websocket,
            engine_io: target.query.and_then(|query| engineio::read_query(query, bytes)),
            tells_of_client: hop.tells_of_client,
            has_cookies: hop.has_cookies,
            lines,
            bytes: bytes.into(),
        })
    }

    /// The method, as far as it matters here.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The method as it came, for the log and the origin.
    pub fn method_bytes(&self) -> &[u8] {
        self.method_span.of_bytes(&self.bytes)
    }

    /// The target as it came, for the log.
    pub fn target_bytes(&self) -> &[u8] {
        self.target.of_bytes(&self.bytes)
    }

    /// The path, never empty: what routes are matched against. Where an absolute-form target has none it is `/`, or
    /// `*` for OPTIONS (RFC 9112 section 3.2.4).
    pub fn path_bytes(&self) -> &[u8] {
        match self.path.of_bytes(&self.bytes) {
            [] if self.method == Method::Options && self.query.is_none() => b"*",
            [] => b"/",
            path => path,
        }
    }

    /// The path that an origin is asked for: the client's, unless [`RequestHead::send_path`] said another.
    pub fn sent_path_bytes(&self) -> &[u8] {
        match self.sent_path {
            Some(path) => path.of_bytes(&self.bytes),
            None => self.path_bytes(),
        }
    }

    /// Lets an origin be asked for `path`, which begins with a slash and is as it is sent. The query stays. `None` is the
    /// path that came.
    pub fn send_path(&mut self, path: Option<&[u8]>) {
        self.sent_path = path.map(|path| {
            // In a copy of all, for requests whose path is changed are few and those whose head is read are many.
            let start = self.bytes.len();
            self.bytes = [&self.bytes, path].concat().into();
            Span::new(start, start + path.len())
        });
    }

    /// The query without its question mark, as it came.
    pub fn query_bytes(&self) -> Option<&[u8]> {
        self.query.map(|query| query.of_bytes(&self.bytes))
    }

    /// The target in origin-form as it came, from the path on: for a redirect.
    pub fn path_and_query(&self) -> &[u8] {
        if matches!(self.path_bytes(), b"*") || (self.path.is_empty() && self.query.is_none()) {
            return b"/";
        }
        &self.bytes[self.path.start as usize..self.target.end as usize]
    }

    /// The query, without its `?`.
    pub(crate) fn query(&self) -> Option<Span> {
        self.query
    }

    /// The version the client speaks.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The host as the client sent it, with its port; absent only in HTTP/1.0.
    pub fn host_bytes(&self) -> Option<&[u8]> {
        self.host.map(|host| host.of_bytes(&self.bytes))
    }

    /// The host without its port and without a dot at its end: what routes are matched against.
    pub fn host_name(&self) -> Option<&[u8]> {
        self.host_bytes().map(host::name)
    }

    /// The port in the host, if it says one.
    pub fn host_port(&self) -> Option<&[u8]> {
        self.host_port.map(|port| port.of_bytes(&self.bytes))
    }

    /// Whether a line says who the client is, or was asked for, as proxies say it and strangers may not.
    pub fn tells_of_client(&self) -> bool {
        self.tells_of_client
    }

    /// None, a length or chunks (RFC 9112 section 6); a request never lasts until its connection ends.
    pub fn body(&self) -> RequestBody {
        self.body
    }

    /// Whether the client means to send another request on this connection (RFC 9112 section 9.3).
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// True if the client waits for `100 Continue` before it sends its body (RFC 9110 section 10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.expects_continue
    }

    /// The Sec-WebSocket-Key, when the request opens a WebSocket (RFC 6455 section 4.1).
    pub fn websocket_key(&self) -> Option<&[u8]> {
        self.opens_websocket.map(|key| key.of_bytes(&self.bytes))
    }

    /// What the query says of an Engine.IO session; `None` where it is no query of Engine.IO.
    pub fn engine_io(&self) -> Option<&EngineIo> {
        self.engine_io.as_ref()
    }

    /// The Engine.IO session id in the query, as its node reads it.
    pub fn sid(&self) -> Option<Cow<'_, [u8]>> {
        let spelt = self.sid_as_spelt()?;
        let is_plain = self.engine_io.as_ref().is_some_and(EngineIo::is_plain);
        Some(if is_plain { Cow::Borrowed(spelt) } else { engineio::sid::decode(spelt) })
    }

    /// The same as the client has spelt it, a piece of the target.
    pub fn sid_as_spelt(&self) -> Option<&[u8]> {
        match self.engine_io.as_ref()?.sid {
            engineio::Sid::Is(sid) => Some(sid.of_bytes(&self.bytes)),
            engineio::Sid::None | engineio::Sid::TooLong => None,
        }
    }

    /// The digits of `j` in the query, by which the script calls back.
    pub fn jsonp_script(&self) -> Option<&[u8]> {
        let script = self.engine_io.as_ref()?.script()?.of_bytes(&self.bytes);
        Some(script).filter(|script| script.iter().all(u8::is_ascii_digit))
    }

    /// The first line with this name, for the log. Compared without case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.lines
            .iter()
            .find(|line| line.name.of_bytes(&self.bytes).eq_ignore_ascii_case(name.as_bytes()))
            .map(|line| line.value.of_bytes(&self.bytes))
    }

    /// True if there is a Cookie line, readable or not.
    pub fn has_cookies(&self) -> bool {
        self.has_cookies
    }

    /// The values of the Cookie lines, in their order.
    pub(crate) fn cookies(&self) -> impl Iterator<Item = &[u8]> {
        self.cookie_spans().map(|value| value.of_bytes(&self.bytes))
    }

    pub(crate) fn cookie_spans(&self) -> impl Iterator<Item = Span> {
        self.lines.iter().filter(|line| line.known == Name::Cookie).map(|line| line.value)
    }

    /// A segment of the path as it is sent, from 1; `None` if the path has no such segment, or if it is empty.
    pub fn path_segment(&self, number: usize) -> Option<&[u8]> {
        let segment = self.path_bytes().split(|&byte| byte == b'/').nth(number)?;
        Some(segment).filter(|segment| !segment.is_empty())
    }

    /// Whether it is EventSource's, which comes back by itself when its stream ends, in whatever way: it says that
    /// it wants no answer of a cache, which others who read events do not.
    pub fn is_event_source(&self) -> bool {
        let is_fresh = || {
            self.header("cache-control").is_some_and(|caching| {
                lines::list(caching).any(|directive| directive.eq_ignore_ascii_case(b"no-cache"))
            })
        };
        self.asks_for_events() && is_fresh()
    }

    /// Whether it asks for a stream of events, as EventSource does and others may.
    pub fn asks_for_events(&self) -> bool {
        self.method == Method::Get
            && self.header("accept").is_some_and(|accept| {
                lines::list(accept).any(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
            })
    }

    /// The value of the first key of this name in the query, both as they are sent; empty if it has none.
    pub fn query_value(&self, name: &[u8]) -> Option<&[u8]> {
        let query = self.query?.of_bytes(&self.bytes);
        query.split(|&byte| byte == b'&').find_map(|pair| match pair.strip_prefix(name)? {
            [] => Some([].as_slice()),
            [b'=', value @ ..] => Some(value),
            _ => None,
        })
    }

    /// The values of every X-Forwarded-For line, in their order.
    pub fn forwarded_for(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.lines
            .iter()
            .filter(|line| line.known == Name::XForwardedFor)
            .map(|line| line.value.of_bytes(&self.bytes))
    }
}

/// The first line.
struct First {
    method: Span,
    target: Span,
    version: Version,
}

fn read_method(method: &[u8]) -> Result<Method, Malformed> {
    match method {
        b"GET" => Ok(Method::Get),
        b"HEAD" => Ok(Method::Head),
        b"OPTIONS" => Ok(Method::Options),
        b"POST" => Ok(Method::Post),
        b"CONNECT" => Err(Malformed::Connect),
        other if other.iter().all(|&byte| is_token_byte(byte)) => Ok(Method::Other),
        _ => Err(Malformed::FirstLine),
    }
}

/// A target taken apart.
struct Target {
    /// Of an absolute-form target, with the port that its scheme implies.
    authority: Option<(Span, &'static [u8])>,
    path: Span,
    query: Option<Span>,
}

fn read_target(target: &[u8], method: Method, bytes: &[u8]) -> Result<Target, Malformed> {
    // A fragment never travels (RFC 9112 section 3.2.1); backends disagree on what it means when it does.
    if target.contains(&b'#') {
        return Err(Malformed::Target);
    }
    if target == b"*" {
        let path = Span::of(target, bytes);
        return if method == Method::Options {
            Ok(Target { authority: None, path, query: None })
        } else {
            Err(Malformed::Target)
        };
    }
    let (authority, rest) =
        if target.starts_with(b"/") { (None, target) } else { split_absolute(target, bytes)? };
    let (path, query) = match rest.iter().position(|&byte| byte == b'?') {
        Some(at) => (&rest[..at], Some(Span::of(&rest[at + 1..], bytes))),
        None => (rest, None),
    };
    Ok(Target { authority, path: Span::of(path, bytes), query })
}

type Authority = Option<(Span, &'static [u8])>;

/// `http://authority/path?query` (RFC 9112 section 3.2.2).
fn split_absolute<'a>(target: &'a [u8], bytes: &[u8]) -> Result<(Authority, &'a [u8]), Malformed> {
    let scheme_end = target.windows(3).position(|three| three == b"://").ok_or(Malformed::Target)?;
    let (scheme, rest) = (&target[..scheme_end], &target[scheme_end + 3..]);
    let port: &'static [u8] = if scheme.eq_ignore_ascii_case(b"http") {
        b"80"
    } else if scheme.eq_ignore_ascii_case(b"https") {
        b"443"
    } else {
        return Err(Malformed::Target);
    };
    let authority_end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(authority_end);
    host::check(authority)?;
    Ok((Some((Span::of(authority, bytes), port)), rest))
}

/// RFC 9112 section 3.2.2 lets the target win over Host; two that differ are refused instead, because what is
/// behind us may read the other one.
fn agreed_host(authority: Authority, host: Option<Span>, bytes: &[u8]) -> Result<Option<Span>, Malformed> {
    match (authority, host) {
        (None, host) => Ok(host),
        (Some((authority, _)), None) => Ok(Some(authority)),
        (Some((authority, port)), Some(host)) => {
            if host::agree(authority.of_bytes(bytes), host.of_bytes(bytes), port) {
                Ok(Some(host))
            } else {
                Err(Malformed::HostContradicted)
            }
        }
    }
}

/// What decides whether an Upgrade is one.
struct Asks {
    method: Method,
    version: Version,
    connection_upgrade: bool,
    body: RequestBody,
}

/// The key of a WebSocket handshake. Any other Upgrade is no error: it is stripped, and the request goes on as the
/// ordinary one that it also is (RFC 9110 section 7.8).
fn read_upgrade(asks: &Asks, lines: &[Line], bytes: &[u8]) -> Result<Option<Span>, Malformed> {
    let mut upgrades = lines.iter().filter(|line| line.known == Name::Upgrade);
    let (Some(upgrade), None) = (upgrades.next(), upgrades.next()) else { return Ok(None) };
    let is_websocket =
        asks.connection_upgrade && upgrade.value.of_bytes(bytes).eq_ignore_ascii_case(b"websocket");
    if !is_websocket || asks.version == Version::Http10 {
        return Ok(None);
    }
    if asks.body != RequestBody::None {
        return Err(Malformed::UpgradeWithBody);
    }
    if asks.method != Method::Get {
        return Ok(None);
    }
    let key =
        lines::only(lines, Name::SecWebSocketKey, Malformed::WebSocketKey)?.ok_or(Malformed::WebSocketKey)?;
    websocket::check_key(key.of_bytes(bytes))?;
    Ok(Some(key))
}
