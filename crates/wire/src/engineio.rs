//! Engine.IO on HTTP, as far as a proxy must read it: the query of a request, the open packet in a handshake's
//! answer, and the close packet in a polling payload. Protocol documents: engine.io-protocol revisions 3 and 4.

mod open;
pub(crate) mod sid;

pub use open::{OpenPacket, SILENCE_MS_MAX, read_open_packet};
pub use sid::{SID_BYTES_MAX, escape_sid};

use crate::span::Span;

/// What the query of an Engine.IO request says. A query is one if it has both `EIO` and `transport`, in any order
/// and among any others; the path does not matter, apps choose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineIo {
    /// By the value of `EIO`; it decides how payloads are framed.
    pub revision: Revision,
    /// The transport that the client asks for.
    pub transport: Transport,
    /// The session that the request belongs to, or that it begins one.
    pub sid: Sid,
    /// The number of `sid` keys in the query. More than one is ambiguous: nodes may read either.
    pub sids: u32,
    /// JSONP polling: the answer is a script, and its quotes are escaped.
    pub jsonp: bool,
    /// Whether the id means itself, so that it needs no decoding.
    is_plain: bool,
    /// Which script it is, as the query says.
    script: Option<Span>,
}

impl EngineIo {
    pub(crate) fn script(&self) -> Option<Span> {
        self.script
    }

    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain
    }
}

/// The revision of Engine.IO, which is not that of Socket.IO.
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
    /// HTTP long polling, `transport=polling`.
    Polling,
    /// A WebSocket, `transport=websocket`.
    WebSocket,
}

/// The session id in a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sid {
    /// None, or an empty one: a handshake.
    None,
    /// Where its value is, as it is spelt. Of several keys the last counts, as it does for the node.
    Is(Span),
    /// Too long to be looked at: [`SID_BYTES_MAX`].
    TooLong,
}

/// Reads a query, `None` if it is not one of Engine.IO's.
pub(crate) fn read_query(query: Span, bytes: &[u8]) -> Option<EngineIo> {
    let mut revision = None;
    let mut transport = None;
    let mut sid = Sid::None;
    let mut sids = 0;
    let mut is_plain = true;
    let mut jsonp = None;
    for pair in query.of_bytes(bytes).split(|&byte| byte == b'&') {
        let key_end = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let value = pair.get(key_end + 1..).unwrap_or(&pair[key_end..]);
        let key = &pair[..key_end];
        match name_of(key) {
            Some(Known::Revision) => {
                // Nobody escapes it, but somebody might.
                let is_four = value == b"4" || &*sid::decode(value) == b"4";
                let said = if is_four { Revision::V4 } else { Revision::V3 };
                revision = revision.or(Some(said));
            }
            Some(Known::Transport) => {
                transport =
                    transport.or_else(|| transport_of(value)).or_else(|| transport_of(&sid::decode(value)));
            }
            Some(Known::Sid) => {
                sids += 1;
                sid = match value.len() {
                    0 => Sid::None,
                    1..=SID_BYTES_MAX => {
                        is_plain = sid::is_plain(value);
                        Sid::Is(Span::of(value, bytes))
                    }
                    _ => Sid::TooLong,
                };
            }
            Some(Known::Jsonp) => jsonp = Some(Span::of(value, bytes)),
            None => {}
        }
    }
    Some(EngineIo {
        revision: revision?,
        transport: transport?,
        sid,
        sids,
        is_plain,
        jsonp: jsonp.is_some(),
        script: jsonp,
    })
}

fn transport_of(value: &[u8]) -> Option<Transport> {
    match value {
        b"polling" => Some(Transport::Polling),
        b"websocket" => Some(Transport::WebSocket),
        _ => None,
    }
}

/// The keys that Engine.IO reads.
enum Known {
    Revision,
    Transport,
    Sid,
    Jsonp,
}

fn name_of(key: &[u8]) -> Option<Known> {
    match key {
        b"EIO" => Some(Known::Revision),
        b"transport" => Some(Known::Transport),
        b"sid" => Some(Known::Sid),
        b"j" => Some(Known::Jsonp),
        escaped if escaped.contains(&b'%') => [
            (Known::Revision, &b"EIO"[..]),
            (Known::Transport, b"transport"),
            (Known::Sid, b"sid"),
            (Known::Jsonp, b"j"),
        ]
        .into_iter()
        .find_map(|(known, name)| sid::means(escaped, name).then_some(known)),
        _ => None,
    }
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
    /// Starts at the first byte of a POST's payload. `jsonp` says that it comes as a form.
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

    /// Whether the payload held a close packet. To be asked once it is whole: one at its very end has no separator
    /// behind it.
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
/// Revision 3 counts lengths in them, as JavaScript does.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check_query(query: &str, want: Option<(Revision, Transport, &str)>) {
        let bytes = query.as_bytes();
        let got = read_query(Span::of(bytes, bytes), bytes).map(|found| {
            let sid = match found.sid {
                Sid::None => "none",
                Sid::TooLong => "too long",
                Sid::Is(sid) => std::str::from_utf8(sid.of_bytes(bytes)).unwrap(),
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
        check_query("EIO=4&transport=polling&sid=a&sid=b", Some((V4, Polling, "b")));
        check_query("EIO=4&transport=polling&sid=a%62", Some((V4, Polling, "a%62")));
        check_query("EIO=4&transport=polling&%73id=ab", Some((V4, Polling, "ab")));
        check_query("%45IO=%34&tr%61nsport=poll%69ng&sid=ab", Some((V4, Polling, "ab")));
        check_query("EIO=4&transport=polling&sid=", Some((V4, Polling, "none")));
        let long = format!("EIO=4&transport=polling&sid={}", "x".repeat(SID_BYTES_MAX + 1));
        check_query(&long, Some((V4, Polling, "too long")));
        check_query("EIO=4&transport=polling&nosid=1&s%69x=2", Some((V4, Polling, "none")));
        check_query("sid=123", None);
        check_query("EIO=4&sid=123", None);
        check_query("transport=polling&sid=123", None);
        check_query("EIO=4&transport=webtransport", None);
        check_query("", None);
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
