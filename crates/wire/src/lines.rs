//! Header lines: which names mean something to a proxy, and the two rules that hold for both directions, framing
//! (RFC 9112 section 6) and the hop-by-hop lines that Connection names (RFC 9110 section 7.6.1).

use crate::malformed::Malformed;
use crate::scan::Side;
use crate::span::{Span, Version};

/// One header line of a head.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    pub(crate) name: Span,
    /// Without white space around it.
    pub(crate) value: Span,
    pub(crate) known: Name,
}

/// The names that a proxy reads, writes or removes. Everything else passes as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    /// End to end; none of our business.
    Other,
    Host,
    Connection,
    ContentLength,
    TransferEncoding,
    Upgrade,
    Expect,
    KeepAlive,
    /// Hop-by-hop by definition: Proxy-Connection, TE, Proxy-Authorization, Proxy-Authenticate, HTTP2-Settings.
    HopByHop,
    /// Named by Connection, so hop-by-hop in this message.
    Nominated,
    /// Says what another line has said. Left out, so that whoever is behind us need not compare.
    Again,
    AcceptEncoding,
    ContentEncoding,
    ContentType,
    Cookie,
    SetCookie,
    XForwardedFor,
    XForwardedProto,
    XForwardedHost,
    XForwardedPort,
    XRealIp,
    Forwarded,
    /// Something else that front doors say about a client, or about what it asked for: whatever begins with X-Forwarded,
    /// and what vendors have made up.
    FrontDoor,
    /// A name that only gateways which fold `_` into `-` (CGI, WSGI, PHP) take for one of these.
    Twin,
    TraceParent,
    TraceState,
    SecWebSocketKey,
    SecWebSocketAccept,
}

impl Name {
    /// A name in a request, or in trailers.
    pub(crate) fn of(name: &[u8]) -> Self {
        match Self::exactly(name) {
            Self::Other if is_twin(name) => Self::Twin,
            known => known,
        }
    }

    fn exactly(name: &[u8]) -> Self {
        // The length decides first: most names are told apart from all of ours by it alone.
        macro_rules! is {
            ($known:literal) => {
                is_same(name, $known.as_bytes(), const { Words::of($known.as_bytes()) })
            };
        }
        match name.len() {
            2 if is!("te") => Self::HopByHop,
            4 if is!("host") => Self::Host,
            6 if is!("expect") => Self::Expect,
            6 if is!("cookie") => Self::Cookie,
            7 if is!("upgrade") => Self::Upgrade,
            9 if is!("forwarded") => Self::Forwarded,
            9 if is!("x-real-ip") => Self::XRealIp,
            10 if is!("connection") => Self::Connection,
            10 if is!("keep-alive") => Self::KeepAlive,
            10 if is!("set-cookie") => Self::SetCookie,
            10 if is!("tracestate") => Self::TraceState,
            11 if is!("traceparent") => Self::TraceParent,
            12 if is!("content-type") => Self::ContentType,
            14 if is!("content-length") => Self::ContentLength,
            14 if is!("http2-settings") => Self::HopByHop,
            15 if is!("accept-encoding") => Self::AcceptEncoding,
            15 if is!("x-forwarded-for") => Self::XForwardedFor,
            16 if is!("content-encoding") => Self::ContentEncoding,
            16 if is!("proxy-connection") => Self::HopByHop,
            16 if is!("x-forwarded-host") => Self::XForwardedHost,
            16 if is!("x-forwarded-port") => Self::XForwardedPort,
            17 if is!("transfer-encoding") => Self::TransferEncoding,
            17 if is!("sec-websocket-key") => Self::SecWebSocketKey,
            17 if is!("x-forwarded-proto") => Self::XForwardedProto,
            18 if is!("proxy-authenticate") => Self::HopByHop,
            19 if is!("proxy-authorization") => Self::HopByHop,
            20 if is!("sec-websocket-accept") => Self::SecWebSocketAccept,
            // Nearly all begin with one letter, which few other names do.
            11.. if name[0] | 0x20 == b'x' && is_front_door(name) => Self::FrontDoor,
            11 if is!("client-cert") => Self::FrontDoor,
            14 if is!("true-client-ip") => Self::FrontDoor,
            15 if is!("front-end-https") => Self::FrontDoor,
            17 if is!("client-cert-chain") => Self::FrontDoor,
            16 if is!("cf-connecting-ip") || is!("fastly-client-ip") => Self::FrontDoor,
            _ => Self::Other,
        }
    }
}

/// A name of ours in lower case, by its first and its last eight bytes.
struct Words {
    ends: [u64; 2],
    /// The bit that tells upper from lower case, where there are letters.
    folds: [u64; 2],
}

impl Words {
    /// Of a name of any length; one of less than eight bytes has no words.
    const fn of(known: &[u8]) -> Self {
        if known.len() < 8 {
            return Self { ends: [0; 2], folds: [0; 2] };
        }
        let (first, fold_first) = Self::word(known, 0);
        let (last, fold_last) = Self::word(known, known.len() - 8);
        Self { ends: [first, last], folds: [fold_first, fold_last] }
    }

    const fn word(known: &[u8], at: usize) -> (u64, u64) {
        let (mut word, mut folds) = ([0; 8], [0; 8]);
        let mut index = 0;
        while index < 8 {
            word[index] = known[at + index];
            folds[index] = if known[at + index].is_ascii_lowercase() { 0x20 } else { 0 };
            index += 1;
        }
        (u64::from_ne_bytes(word), u64::from_ne_bytes(folds))
    }
}

/// Whether `name`, which is as long, is `known` but for its case. Asked of every line, hence eight bytes at a time.
#[inline(always)]
fn is_same(name: &[u8], known: &[u8], words: Words) -> bool {
    let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) else {
        return name.eq_ignore_ascii_case(known);
    };
    let is_end =
        |end: usize, bytes: &[u8; 8]| u64::from_ne_bytes(*bytes) | words.folds[end] == words.ends[end];
    is_end(0, first) && is_end(1, last) && (name.len() <= 16 || name.eq_ignore_ascii_case(known))
}

/// Whether a line is one by which front doors tell an app who the client is, how it asked, and for what. An app
/// that reads one of them believes it, so that nobody but a trusted proxy may say it.
fn is_front_door(name: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    let begins = |prefix: &str| name[..prefix.len()].eq_ignore_ascii_case(prefix.as_bytes());
    match name.len() {
        _ if matches!(name.get(11), None | Some(b'-')) && begins("x-forwarded") => true,
        // What it has of a client's certificate, whatever follows: HAProxy's and nginx' users call it so, and so do we.
        12.. if matches!(name.get(12), None | Some(b'-')) && begins(CERTIFICATE_LINES) => true,
        11 => is("x-client-ip"),
        12 => is("x-url-scheme"),
        13 => is("x-rewrite-url"),
        14 => is("x-original-url") || is("x-original-for"),
        15 => is("x-original-host"),
        16 => is("x-original-proto"),
        19 => is("x-cluster-client-ip"),
        24 => is("x-original-forwarded-for"),
        _ => false,
    }
}

/// Whether a line of this name says who has a client's certificate.
pub(crate) fn is_of_certificate(name: &[u8]) -> bool {
    let begin = name.get(..CERTIFICATE_LINES.len());
    begin.is_some_and(|begin| begin.eq_ignore_ascii_case(CERTIFICATE_LINES.as_bytes()))
}

/// Whether a name is one of ours but for underscores: `X_Forwarded-For`, `Content_Length`. CGI and its heirs take
/// the two for one.
fn is_twin(name: &[u8]) -> bool {
    has_underscore(name) && is_folded_ours(name)
}

#[cold]
fn is_folded_ours(name: &[u8]) -> bool {
    // What is longer than any of ours can only begin like one of them.
    let name = &name[..name.len().min(TWIN_BYTES_MAX)];
    let mut folded = [0; TWIN_BYTES_MAX];
    let folded = &mut folded[..name.len()];
    for (to, &byte) in folded.iter_mut().zip(name) {
        *to = if byte == b'_' { b'-' } else { byte };
    }
    Name::exactly(folded) != Name::Other
}

/// Asked of nearly every line that is none of ours, hence eight bytes at a time. Those of ours that are shorter have
/// nothing to fold.
fn has_underscore(name: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let is_in = |eight: &[u8; 8]| {
        let is_zero_there = u64::from_ne_bytes(*eight) ^ (ONES * b'_' as u64);
        is_zero_there.wrapping_sub(ONES) & !is_zero_there & (ONES << 7) != 0
    };
    match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) if name.len() <= 16 => is_in(first) | is_in(last),
        (Some(_), Some(last)) => is_in(last) || name.as_chunks().0.iter().any(is_in),
        _ => false,
    }
}

/// How all lines begin that say whose certificate a client has.
const CERTIFICATE_LINES: &str = "x-ssl-client";
/// One more than the longest of ours has.
const TWIN_BYTES_MAX: usize = 25;

/// Reads what httparse found into lines that own nothing, as offsets into `bytes`.
pub(crate) fn read(headers: &[httparse::Header<'_>], bytes: &[u8], side: Side) -> Vec<Line> {
    headers
        .iter()
        .map(|header| Line {
            name: Span::of(header.name.as_bytes(), bytes),
            value: Span::of(trim(header.value), bytes),
            // Whoever folds underscores is a gateway in front of an app, never a client.
            known: match side {
                Side::Request => Name::of(header.name.as_bytes()),
                Side::Answer => Name::exactly(header.name.as_bytes()),
            },
        })
        .collect()
}

/// Optional white space (RFC 9110 section 5.6.3) around a value.
fn trim(value: &[u8]) -> &[u8] {
    let is_blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().position(|byte| !is_blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// What the lines that frame a message and steer its connection say, before the two directions differ.
#[derive(Debug, Default)]
pub(crate) struct Hop {
    pub(crate) content_length: Option<u64>,
    pub(crate) is_chunked: bool,
    pub(crate) close: bool,
    pub(crate) keep_alive: bool,
    /// Connection names `upgrade`.
    pub(crate) upgrade: bool,
    /// A line says who the client is, as proxies say it.
    pub(crate) tells_of_client: bool,
    /// There is a Cookie or a Set-Cookie.
    pub(crate) has_cookies: bool,
}

/// Reads framing and Connection, and marks the lines that Connection nominates and those that say nothing new.
pub(crate) fn read_hop(
    lines: &mut [Line],
    bytes: &[u8],
    side: Side,
    version: Version,
) -> Result<Hop, Malformed> {
    let mut hop = Hop::default();
    let mut tokens = 0;
    let mut nominates = false;
    for line in lines.iter_mut() {
        let value = line.value.of_bytes(bytes);
        match line.known {
            Name::ContentLength => {
                let length = Some(read_length(value)?);
                match (hop.content_length, side) {
                    (None, _) => hop.content_length = length,
                    // RFC 9112 section 6.3 lets one take it, and nobody is behind a node who might not.
                    (before, Side::Answer) if before == length => line.known = Name::Again,
                    (Some(_), _) => return Err(Malformed::ContentLengthTwice),
                }
            }
            Name::TransferEncoding if version == Version::Http10 => return Err(Malformed::CodingInHttp10),
            Name::TransferEncoding if hop.is_chunked => return Err(Malformed::CodingTwice),
            Name::TransferEncoding if value.eq_ignore_ascii_case(b"chunked") => hop.is_chunked = true,
            Name::TransferEncoding => return Err(Malformed::Coding),
            Name::XForwardedFor | Name::FrontDoor => hop.tells_of_client = true,
            Name::Cookie | Name::SetCookie => hop.has_cookies = true,
            Name::Connection => {
                for token in list(value) {
                    tokens += 1;
                    match token.len() {
                        5 if token.eq_ignore_ascii_case(b"close") => hop.close = true,
                        10 if token.eq_ignore_ascii_case(b"keep-alive") => hop.keep_alive = true,
                        7 if token.eq_ignore_ascii_case(b"upgrade") => hop.upgrade = true,
                        _ => nominates = true,
                    }
                }
            }
            _ => {}
        }
    }
    if hop.is_chunked && hop.content_length.is_some() {
        return Err(Malformed::LengthAndCoding);
    }
    if tokens > CONNECTION_TOKENS_MAX {
        return Err(Malformed::ConnectionTokens);
    }
    if nominates {
        mark_nominated(lines, bytes);
    }
    Ok(hop)
}

/// Marks the lines that Connection names. Those that we read or write ourselves keep their meaning: a client that
/// nominates Host or Content-Length must not change where its request goes or where it ends, and ours are added
/// after the client's were removed, so that none of ours can be nominated away.
fn mark_nominated(lines: &mut [Line], bytes: &[u8]) {
    let connections: Vec<Span> =
        lines.iter().filter(|line| line.known == Name::Connection).map(|line| line.value).collect();
    for line in lines.iter_mut() {
        let removable = matches!(
            line.known,
            Name::Other
                | Name::AcceptEncoding
                | Name::ContentEncoding
                | Name::ContentType
                | Name::Cookie
                | Name::Expect
                | Name::SetCookie
        );
        let name = line.name.of_bytes(bytes);
        if removable
            && connections
                .iter()
                .any(|span| list(span.of_bytes(bytes)).any(|token| token.eq_ignore_ascii_case(name)))
        {
            line.known = Name::Nominated;
        }
    }
}

/// The elements of a comma-separated list, without the empty ones (RFC 9110 section 5.6.1).
pub(crate) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|token| !token.is_empty())
}

/// One or more digits and nothing else (RFC 9110 section 8.6): no sign, no list, and nothing that is no length.
fn read_length(value: &[u8]) -> Result<u64, Malformed> {
    if value.is_empty() {
        return Err(Malformed::ContentLength);
    }
    value
        .iter()
        .try_fold(0_u64, |length, &byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        })
        .filter(|&length| length <= LENGTH_MAX)
        .ok_or(Malformed::ContentLength)
}

/// The only value of the lines with a name: `Err(second)` when there is more than one.
pub(crate) fn only(lines: &[Line], name: Name, second: Malformed) -> Result<Option<Span>, Malformed> {
    let mut spans = lines.iter().filter(|line| line.known == name).map(|line| line.value);
    let first = spans.next();
    if spans.next().is_some() { Err(second) } else { Ok(first) }
}

/// httparse's refusals in our words.
pub(crate) fn refusal(error: httparse::Error) -> Malformed {
    match error {
        httparse::Error::TooManyHeaders => Malformed::TooManyLines,
        httparse::Error::Status => Malformed::Status,
        // The scan has seen a good version at the line's end; one elsewhere means that the line has too many parts.
        httparse::Error::Version | httparse::Error::Token => Malformed::FirstLine,
        httparse::Error::HeaderName | httparse::Error::HeaderValue | httparse::Error::NewLine => {
            Malformed::HeaderLine
        }
    }
}

/// More than any honest message carries; each is compared with each header line.
const CONNECTION_TOKENS_MAX: usize = 32;

/// The most that a length or a chunk may say, 1 EiB. No content is so long, and what nodes and we add to a length, or sum
/// up of a few, stays far below what 64 bits hold, signed or not.
pub(crate) const LENGTH_MAX: u64 = 1 << 60;

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name of ours, in any case, and nothing that differs from it in one bit, is that name.
    #[test]
    fn names_are_known_in_any_case_and_by_every_bit() {
        let ours = [
            ("te", Name::HopByHop),
            ("host", Name::Host),
            ("expect", Name::Expect),
            ("cookie", Name::Cookie),
            ("upgrade", Name::Upgrade),
            ("forwarded", Name::Forwarded),
            ("x-real-ip", Name::XRealIp),
            ("connection", Name::Connection),
            ("keep-alive", Name::KeepAlive),
            ("set-cookie", Name::SetCookie),
            ("content-type", Name::ContentType),
            ("content-length", Name::ContentLength),
            ("http2-settings", Name::HopByHop),
            ("accept-encoding", Name::AcceptEncoding),
            ("x-forwarded-for", Name::XForwardedFor),
            ("content-encoding", Name::ContentEncoding),
            ("proxy-connection", Name::HopByHop),
            ("x-forwarded-host", Name::XForwardedHost),
            ("x-forwarded-port", Name::XForwardedPort),
            ("transfer-encoding", Name::TransferEncoding),
            ("sec-websocket-key", Name::SecWebSocketKey),
            ("x-forwarded-proto", Name::XForwardedProto),
            ("proxy-authenticate", Name::HopByHop),
            ("proxy-authorization", Name::HopByHop),
            ("sec-websocket-accept", Name::SecWebSocketAccept),
            ("true-client-ip", Name::FrontDoor),
            ("cf-connecting-ip", Name::FrontDoor),
            ("fastly-client-ip", Name::FrontDoor),
            ("client-cert", Name::FrontDoor),
            ("client-cert-chain", Name::FrontDoor),
            ("x-ssl-client-verify", Name::FrontDoor),
        ];
        for (name, known) in ours {
            assert_eq!(Name::exactly(name.as_bytes()), known, "{name}");
            assert_eq!(Name::exactly(name.to_uppercase().as_bytes()), known, "{name} in upper case");
            for (at, bit) in (0..name.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
                let mut other = name.as_bytes().to_vec();
                other[at] ^= 1 << bit;
                let is_same = other.eq_ignore_ascii_case(name.as_bytes());
                let found = Name::exactly(&other);
                // What begins with X-Forwarded or X-SSL-Client is a front door's word, whatever follows.
                let want = if is_same { vec![known] } else { vec![Name::Other, Name::FrontDoor] };
                assert!(want.contains(&found), "{:?} is {found:?}", String::from_utf8_lossy(&other));
            }
        }
    }
}
