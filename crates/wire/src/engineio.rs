//! Engine.IO on HTTP, as far as a proxy must read it: the query of a request, the open packet in a handshake's
//! answer, and the close packet in a polling payload. Protocol documents: engine.io-protocol revisions 3 and 4.

use memchr::memmem;

use crate::Span;

/// What the query of an Engine.IO request says. A query is one if it has both `EIO` and `transport`, in any order
/// and among any others; the path does not matter, apps choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineIo {
    /// The protocol revision.
    pub revision: Revision,
    /// How the client means to talk.
    pub transport: Transport,
    /// Which session it belongs to.
    pub sid: Sid,
    /// JSONP polling: the answer is a script, and its quotes are escaped.
    pub jsonp: bool,
}

/// The revision of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// Socket.IO 1 and 2. Every value other than `4` is taken for it, as Engine.IO itself does.
    V3,
    /// Socket.IO 3 and 4.
    V4,
}

/// The transport of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `polling`.
    Polling,
    /// `websocket`.
    WebSocket,
}

/// The session id in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sid {
    /// None: a handshake.
    None,
    /// Once, and in characters that every parser reads alike.
    Plain(Span),
    /// Twice, escaped, empty or too long. Never tagged, never stripped: two parsers could read two sessions.
    Odd,
}

/// Longest session id that is looked at, tag included; Engine.IO's own have 20 characters, socketioxide's 16.
pub const SID_BYTES_MAX: usize = 128;

/// Reads a query, `None` if it is not one of Engine.IO's.
pub(crate) fn read_query(query: Span, bytes: &[u8]) -> Option<EngineIo> {
    let mut revision = None;
    let mut transport = None;
    let mut sid = Sid::None;
    let mut jsonp = false;
    for pair in query.of_bytes(bytes).split(|&byte| byte == b'&') {
        let key_end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let (key, value) = (&pair[..key_end], pair.get(key_end + 1..).unwrap_or_default());
        match key {
            b"EIO" => revision = revision.or(Some(if value == b"4" { Revision::V4 } else { Revision::V3 })),
            b"transport" => {
                let named = match value {
                    b"polling" => Some(Transport::Polling),
                    b"websocket" => Some(Transport::WebSocket),
                    _ => None,
                };
                transport = transport.or(named);
            }
            b"sid" => {
                sid = match sid {
                    Sid::None if is_plain_sid(value) => Sid::Plain(Span::of(value, bytes)),
                    _ => Sid::Odd,
                };
            }
            b"j" => jsonp = true,
            escaped if escaped.contains(&b'%') && unescapes_to(escaped, b"sid") => sid = Sid::Odd,
            _ => {}
        }
    }
    Some(EngineIo { revision: revision?, transport: transport?, sid, jsonp })
}

fn is_plain_sid(sid: &[u8]) -> bool {
    !sid.is_empty() && sid.len() <= SID_BYTES_MAX && sid.iter().all(|&byte| is_sid_byte(byte))
}

/// base64url, which both Engine.IO and socketioxide use.
fn is_sid_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// Whether percent-decoding `escaped` gives `plain`.
fn unescapes_to(escaped: &[u8], plain: &[u8]) -> bool {
    let mut rest = escaped;
    for &want in plain {
        let (have, after) = match rest {
            [b'%', high, low, after @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, after),
                _ => return false,
            },
            [byte, after @ ..] => (*byte, after),
            [] => return false,
        };
        if have != want {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// What a handshake's answer told: the session that now exists on the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenPacket {
    /// Where in the body the id is.
    pub sid: Span,
    /// How often one end pings the other, in milliseconds.
    pub ping_interval_ms: u32,
    /// How long the other may take to answer, in milliseconds.
    pub ping_timeout_ms: u32,
}

impl OpenPacket {
    /// How long a living session can be silent, in milliseconds.
    pub fn silence_ms(&self) -> u64 {
        u64::from(self.ping_interval_ms) + u64::from(self.ping_timeout_ms)
    }
}

/// Finds the open packet in a handshake's answer: `0{…}` at the start for revision 4 and for the first frame of a
/// WebSocket; behind a length (`97:0{…}`), a binary length or a JSONP wrapper, with escaped quotes, for revision 3.
/// `None` if there is none, or if its id is not one that can be told apart safely in a query.
pub fn read_open_packet(body: &[u8]) -> Option<OpenPacket> {
    let packet_at = memmem::find(body, b"0{")?;
    if packet_at > OPEN_PACKET_AT_MAX {
        return None;
    }
    let sid = value_of(body, packet_at, b"sid")?;
    let sid_start = sid + body[sid..].iter().position(|&byte| byte != b'\\' && byte != b'"')?;
    let sid_end = sid_start + body[sid_start..].iter().position(|&byte| !is_sid_byte(byte))?;
    if !is_plain_sid(&body[sid_start..sid_end]) || !matches!(body[sid_end], b'"' | b'\\') {
        return None;
    }
    Some(OpenPacket {
        sid: Span::new(sid_start, sid_end),
        ping_interval_ms: number_of(body, packet_at, b"pingInterval")?,
        ping_timeout_ms: number_of(body, packet_at, b"pingTimeout")?,
    })
}

/// Where the value of a key begins: behind `"key":`, its quotes escaped or not, with or without blanks.
fn value_of(body: &[u8], from: usize, key: &[u8]) -> Option<usize> {
    let key_at = memmem::find_iter(&body[from..], key)
        .map(|at| from + at)
        .find(|&at| body[at - 1] == b'"' && matches!(body.get(at + key.len()), Some(b'"' | b'\\')))?;
    let colon = key_at + body[key_at..].iter().position(|&byte| byte == b':')?;
    Some(colon + 1 + body[colon + 1..].iter().position(|&byte| byte != b' ')?)
}

fn number_of(body: &[u8], from: usize, key: &[u8]) -> Option<u32> {
    let start = value_of(body, from, key)?;
    let digits = body[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&body[start..start + digits]).ok()?.parse().ok()
}

/// Watches a polling payload go by for a close packet: a `1` that is a packet of its own.
#[derive(Debug, Clone, Copy)]
pub struct CloseScan {
    framing: Framing,
    is_closed: bool,
}

/// How a payload tells its packets apart, and where in it the scan is.
#[derive(Debug, Clone, Copy)]
enum Framing {
    /// Revision 4: packets are separated by U+001E.
    Separated(Separated),
    /// Revision 3: `length:packet`, the length in UTF-16 units.
    Counted(Counted),
    /// JSONP posts a form, `d=` and the payload escaped. A close is sent alone, so that only that is looked for.
    Form { seen: [u8; FORM_BYTES_MAX], length: usize },
    /// Revision 3 with bytes for lengths: for binary data, which a close never travels with.
    Binary,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Separated {
    PacketStart,
    /// After a `1` that began a packet.
    MaybeClose,
    Inside,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counted {
    Length { so_far: usize },
    Packet { left: usize, is_single: bool },
}

impl CloseScan {
    /// At the first byte of a payload.
    pub fn new(revision: Revision, jsonp: bool) -> Self {
        let framing = match (jsonp, revision) {
            (true, _) => Framing::Form { seen: [0; FORM_BYTES_MAX], length: 0 },
            (false, Revision::V4) => Framing::Separated(Separated::PacketStart),
            (false, Revision::V3) => Framing::Counted(Counted::Length { so_far: 0 }),
        };
        Self { framing, is_closed: false }
    }

    /// Looks at the next bytes of the payload.
    pub fn feed(&mut self, bytes: &[u8]) {
        match &mut self.framing {
            Framing::Separated(state) => self.is_closed |= state.feed(bytes),
            Framing::Counted(Counted::Length { so_far: 0 }) if matches!(bytes, [0..=1, ..]) => {
                self.framing = Framing::Binary;
            }
            Framing::Counted(state) => self.is_closed |= state.feed(bytes),
            Framing::Form { seen, length } => {
                for &byte in bytes {
                    if let Some(slot) = seen.get_mut(*length) {
                        *slot = byte.to_ascii_lowercase();
                    }
                    *length += 1;
                }
            }
            Framing::Binary => {}
        }
    }

    /// Whether the payload, now whole, held a close packet.
    pub fn is_closed(&self) -> bool {
        match self.framing {
            Framing::Separated(Separated::MaybeClose) => true,
            Framing::Form { seen, length } => {
                seen.get(..length).is_some_and(|form| matches!(form, b"d=1" | b"d=1:1" | b"d=1%3a1"))
            }
            Framing::Separated(_) | Framing::Counted(_) | Framing::Binary => self.is_closed,
        }
    }
}

impl Separated {
    fn feed(&mut self, mut bytes: &[u8]) -> bool {
        let mut is_closed = false;
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = rest;
            *self = match (*self, first) {
                (state, SEPARATOR) => {
                    is_closed |= state == Self::MaybeClose;
                    Self::PacketStart
                }
                (Self::PacketStart, b'1') => Self::MaybeClose,
                (Self::PacketStart | Self::MaybeClose | Self::Inside, _) => {
                    bytes = memchr::memchr(SEPARATOR, bytes).map_or(&[], |at| &bytes[at..]);
                    Self::Inside
                }
            };
        }
        is_closed
    }
}

impl Counted {
    fn feed(&mut self, bytes: &[u8]) -> bool {
        let mut is_closed = false;
        for &byte in bytes {
            *self = match *self {
                // The last bytes of the character that ended a packet.
                state @ Self::Length { .. } if utf16_units(byte) == 0 => state,
                Self::Length { so_far } if byte == b':' => {
                    Self::Packet { left: so_far, is_single: so_far == 1 }
                }
                Self::Length { so_far } => Self::Length {
                    so_far: so_far.saturating_mul(10).saturating_add(usize::from(byte & 0x0f)),
                },
                Self::Packet { left, is_single } => {
                    is_closed |= is_single && byte == b'1';
                    match left.saturating_sub(utf16_units(byte)) {
                        0 => Self::Length { so_far: 0 },
                        left => Self::Packet { left, is_single: false },
                    }
                }
            };
        }
        is_closed
    }
}

/// How many UTF-16 units the character has that begins with this byte of UTF-8; none for a byte that continues one.
fn utf16_units(byte: u8) -> usize {
    match byte {
        0x80..0xc0 => 0,
        0xf0.. => 2,
        _ => 1,
    }
}

const SEPARATOR: u8 = 0x1e;
/// `d=1%3a1`.
const FORM_BYTES_MAX: usize = 7;
/// A length, or a JSONP wrapper with its index, may stand before the first packet.
const OPEN_PACKET_AT_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn check_query(query: &str, want: Option<(Revision, Transport, &str)>) {
        let bytes = query.as_bytes();
        let got = read_query(Span::of(bytes, bytes), bytes).map(|found| {
            let sid = match found.sid {
                Sid::None => "none",
                Sid::Odd => "odd",
                Sid::Plain(sid) => std::str::from_utf8(sid.of_bytes(bytes)).unwrap(),
            };
            (found.revision, found.transport, sid)
        });
        assert_eq!(got, want, "{query}");
    }

    #[test]
    fn queries() {
        use Revision::{V3, V4};
        use Transport::{Polling, WebSocket};
        check_query("EIO=4&transport=polling&t=abc", Some((V4, Polling, "none")));
        check_query("t=x&sid=abc_-1&transport=websocket&EIO=3", Some((V3, WebSocket, "abc_-1")));
        check_query("EIO=4&transport=polling&sid=a&sid=a", Some((V4, Polling, "odd")));
        check_query("EIO=4&transport=polling&sid=a%62", Some((V4, Polling, "odd")));
        check_query("EIO=4&transport=polling&%73id=ab", Some((V4, Polling, "odd")));
        check_query("EIO=4&transport=polling&sid=", Some((V4, Polling, "odd")));
        check_query("EIO=4&transport=polling&nosid=1&s%69x=2", Some((V4, Polling, "none")));
        check_query("sid=123", None);
        check_query("EIO=4&sid=123", None);
        check_query("transport=polling&sid=123", None);
        check_query("EIO=4&transport=webtransport", None);
        check_query("", None);
    }

    fn check_open(body: &str, want: Option<(&str, u64)>) {
        let got = read_open_packet(body.as_bytes()).map(|open| {
            (std::str::from_utf8(open.sid.of_bytes(body.as_bytes())).unwrap(), open.silence_ms())
        });
        assert_eq!(got, want, "{body}");
    }

    #[test]
    fn open_packets() {
        let four = r#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#;
        check_open(four, Some(("lv_VI97HAXpY6yYWAAAC", 45_000)));
        check_open(
            r#"97:0{"sid":"abc","upgrades":[],"pingInterval":1,"pingTimeout":2}2:40"#,
            Some(("abc", 3)),
        );
        check_open(
            r#"___eio[0]("97:0{\"sid\":\"abc\",\"upgrades\":[],\"pingInterval\":1,\"pingTimeout\":2}2:40");"#,
            Some(("abc", 3)),
        );
        check_open(r#"0{"pingTimeout": 2, "pingInterval": 1, "sid": "abc"}"#, Some(("abc", 3)));
        check_open(r#"0{"sid":"a b","pingInterval":1,"pingTimeout":2}"#, None);
        check_open(r#"0{"sid":"","pingInterval":1,"pingTimeout":2}"#, None);
        check_open(r#"0{"sid":"abc"}"#, None);
        check_open(r#"{"code":1,"message":"Session ID unknown"}"#, None);
        check_open("0{\"sid\":\"abc", None);
        check_open("", None);
    }

    /// The same however the payload is cut.
    fn check_close(revision: Revision, jsonp: bool, payload: &str, want: bool) {
        for cut in 0..=payload.len() {
            let mut scan = CloseScan::new(revision, jsonp);
            scan.feed(&payload.as_bytes()[..cut]);
            scan.feed(&payload.as_bytes()[cut..]);
            assert_eq!(scan.is_closed(), want, "{payload:?} cut at {cut}");
        }
    }

    #[test]
    fn close_packets_of_revision_4() {
        for closed in ["1", "2\x1e1", "1\x1e2", "4hello\x1e1\x1e4x"] {
            check_close(Revision::V4, false, closed, true);
        }
        for open in ["41", "11", "4a\x1e12", "", "4[\"1\"]\x1e2"] {
            check_close(Revision::V4, false, open, false);
        }
    }

    #[test]
    fn close_packets_of_revision_3() {
        for closed in ["1:1", "2:411:1", "1:11:6", "2:4é1:1", "3:4😀1:1"] {
            check_close(Revision::V3, false, closed, true);
        }
        for open in ["1:6", "2:41", "2:11", "3:1:1", "4:😀:1", "", "\u{0}\u{1}1"] {
            check_close(Revision::V3, false, open, false);
        }
    }

    #[test]
    fn close_packets_of_jsonp() {
        for closed in ["d=1", "d=1%3A1", "d=1%3a1", "d=1:1"] {
            check_close(Revision::V3, true, closed, true);
        }
        for open in ["d=2", "d=11", "d=1%3A12", "", "x=1"] {
            check_close(Revision::V3, true, open, false);
        }
    }
}
