//! The open packet, in which a node tells of a session that now exists on it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Deserializer;
use serde_json::value::RawValue;

use super::sid::SID_BYTES_MAX;

/// The open packet of a handshake's answer, by which a session begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenPacket {
    /// The session's id, as every reader of the packet's JSON has it.
    pub sid: Vec<u8>,
    /// Where in the answer a tag belongs: in front of the quote that ends the id. `None` where the id is wrapped in a
    /// script, or is no string.
    pub tag_at: Option<usize>,
    /// How long a living session can be silent, the ping interval and the ping timeout, in milliseconds; `None` if the
    /// packet does not say both, or says more than [`SILENCE_MS_MAX`].
    pub silence_ms: Option<u32>,
}

/// Nobody pings more rarely; and an app that lets a client write its answers cannot make a session last for ever.
pub const SILENCE_MS_MAX: u32 = 5 * 60 * 1000;

/// Reads the open packet that an answer begins with: `0{…}` in revision 4 and in the first frame of a WebSocket; behind a
/// length (`97:0{…}`), a binary length or a JSONP wrapper in revision 3. `None` if it begins with anything else, or if its
/// JSON cannot be read: then this is not Engine.IO, or it is said twice what the id is.
pub fn read_open_packet(body: &[u8]) -> Option<OpenPacket> {
    if let Some(script) = jsonp_string(body) {
        let payload = first_of::<String>(script)?;
        let open = read_payload(payload.as_bytes())?;
        return Some(OpenPacket { tag_at: None, ..open });
    }
    read_payload(body)
}

/// What stands in the brackets of `___eio[0]("…")`, with the end of the call still behind it.
fn jsonp_string(body: &[u8]) -> Option<&[u8]> {
    let rest = body.strip_prefix(b"___eio[")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest[digits..].strip_prefix(b"](")
}

fn read_payload(payload: &[u8]) -> Option<OpenPacket> {
    let json_at = length_bytes(payload) + 1;
    if payload.get(json_at - 1) != Some(&b'0') || payload.get(json_at) != Some(&b'{') {
        return None;
    }
    let packet = first_of::<Packet<'_>>(&payload[json_at..])?;
    let raw = packet.sid.get();
    let raw_at = raw.as_ptr() as usize - payload.as_ptr() as usize;
    let (sid, tag_at) = match serde_json::from_str::<Cow<'_, str>>(raw) {
        Ok(sid) => (sid.into_owned().into_bytes(), Some(raw_at + raw.len() - 1)),
        // A number goes into the query as it is written.
        Err(_) if serde_json::from_str::<f64>(raw).is_ok() => (raw.as_bytes().to_vec(), None),
        Err(_) => return None,
    };
    if sid.is_empty() || sid.len() > SID_BYTES_MAX {
        return None;
    }
    let silence_ms = packet.interval().zip(packet.timeout()).map(|(interval, timeout)| interval + timeout);
    let silence_ms = silence_ms.filter(|&ms| ms > 0.0 && ms <= f64::from(SILENCE_MS_MAX));
    Some(OpenPacket { sid, tag_at, silence_ms: silence_ms.map(|ms| ms as u32) })
}

/// The length in front of a packet of revision 3: digits and a colon, or 0, the digits as bytes, and 255.
fn length_bytes(payload: &[u8]) -> usize {
    let digits = |from: usize, is_digit: fn(u8) -> bool| {
        payload[from.min(payload.len())..]
            .iter()
            .take(LENGTH_DIGITS_MAX)
            .take_while(|&&byte| is_digit(byte))
            .count()
    };
    let text = digits(0, |byte| byte.is_ascii_digit());
    let binary = 1 + digits(1, |byte| byte < 10);
    match payload {
        _ if text > 0 && payload.get(text) == Some(&b':') => text + 1,
        [0, ..] if payload.get(binary) == Some(&0xff) => binary + 1,
        _ => 0,
    }
}

/// The first JSON value in `text`, whatever stands behind it.
fn first_of<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<T> {
    Deserializer::from_slice(text).into_iter().next()?.ok()
}

#[derive(Deserialize)]
struct Packet<'a> {
    #[serde(borrow)]
    sid: &'a RawValue,
    #[serde(borrow, rename = "pingInterval")]
    ping_interval: Option<&'a RawValue>,
    #[serde(borrow, rename = "pingTimeout")]
    ping_timeout: Option<&'a RawValue>,
}

impl Packet<'_> {
    fn interval(&self) -> Option<f64> {
        self.ping_interval.and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    fn timeout(&self) -> Option<f64> {
        self.ping_timeout.and_then(|raw| serde_json::from_str(raw.get()).ok())
    }
}

/// More than any length has.
const LENGTH_DIGITS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// The id, and the answer with a tag in it.
    fn check(body: &str, want: Option<(&str, Option<&str>, Option<u32>)>) {
        let open = read_open_packet(body.as_bytes());
        let got = open.map(|open| {
            let tagged = open.tag_at.map(|at| format!("{}TAG{}", &body[..at], &body[at..]));
            (String::from_utf8(open.sid).expect("text"), tagged, open.silence_ms)
        });
        let want = want.map(|(sid, tagged, silence)| (sid.to_owned(), tagged.map(str::to_owned), silence));
        assert_eq!(got, want, "{body}");
    }

    #[test]
    fn open_packets_of_every_form() {
        let rest = r#""upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000"#;
        let four = format!(r#"0{{"sid":"lv_VI97HAXpY6yYWAAAC",{rest}}}"#);
        let tagged = four.replace("AAAC", "AAACTAG");
        check(&four, Some(("lv_VI97HAXpY6yYWAAAC", Some(&tagged), Some(45_000))));
        let three = format!("97:{four}2:40");
        check(&three, Some(("lv_VI97HAXpY6yYWAAAC", Some(&format!("97:{tagged}2:40")), Some(45_000))));
        let binary = format!("\0\x09\x07\u{ff}{four}");
        // As bytes: the last byte of the length is 255, which is no character.
        let binary: Vec<u8> = binary.chars().map(|c| c as u8).collect();
        assert_eq!(read_open_packet(&binary).map(|open| open.sid), Some(b"lv_VI97HAXpY6yYWAAAC".to_vec()));
        let escaped = three.replace('"', "\\\"");
        check(&format!("___eio[0](\"{escaped}\");"), Some(("lv_VI97HAXpY6yYWAAAC", None, Some(45_000))));
        check(
            r#"0{"pingTimeout": 2, "pingInterval": 1, "sid": "abc"}"#,
            Some(("abc", Some(r#"0{"pingTimeout": 2, "pingInterval": 1, "sid": "abcTAG"}"#), Some(3))),
        );
    }

    #[test]
    fn ids_of_the_apps_own_making() {
        let check_id = |json: &str, id: &str| {
            let tagged = format!("0{{\"sid\":{}TAG\"}}", json.strip_suffix('"').expect("a string"));
            check(&format!("0{{\"sid\":{json}}}"), Some((id, Some(&tagged), None)));
        };
        check_id(r#""user:42:abc""#, "user:42:abc");
        check_id(r#""a+b/c==""#, "a+b/c==");
        check_id(r#""a\"b\\c""#, "a\"b\\c");
        check_id(r#""a\"""#, "a\"");
        check_id(r#""é €""#, "é €");
        check_id(r#""\u00e9\ud83d\ude00""#, "é😀");
        check_id(&format!("\"{}\"", "x".repeat(130)), &"x".repeat(130));
        check(r#"0{"sid":17}"#, Some(("17", None, None)));
    }

    #[test]
    fn what_cannot_be_believed() {
        for no_session in [
            r#"{"code":1,"message":"Session ID unknown"}"#,
            r#"0{"sid":""}"#,
            r#"0{"sid":null}"#,
            r#"0{"sid":"a","sid":"b"}"#,
            r#"0{"sid":"abc"#,
            // An app that says what it was asked for.
            r#"/?EIO=4&transport=polling&x=0{"sid":"abc","pingInterval":1,"pingTimeout":2}"#,
            r#"<p>0{"sid":"abc"}</p>"#,
            r#"40{"sid":"abc"}"#,
            r#"0{"sid":"\ud800"}"#,
            "",
            "0",
        ] {
            check(no_session, None);
        }
        let silence = |more: &str| {
            read_open_packet(format!("0{{\"sid\":\"a\"{more}}}").as_bytes()).expect("one").silence_ms
        };
        assert_eq!(silence(""), None);
        assert_eq!(silence(r#","pingInterval":25000"#), None);
        assert_eq!(silence(r#","pingInterval":"x","pingTimeout":1"#), None);
        assert_eq!(silence(r#","pingInterval":4294967295,"pingTimeout":4294967295"#), None);
        assert_eq!(silence(r#","pingInterval":-1,"pingTimeout":0"#), None);
        assert_eq!(silence(r#","pingInterval":280000,"pingTimeout":20000"#), Some(SILENCE_MS_MAX));
    }

    #[test]
    fn whatever_comes_nothing_panics() {
        let whole = br#"97:0{"sid":"a\u00e9\\","pingInterval":25000,"pingTimeout":20000}2:40"#;
        for cut in 0..=whole.len() {
            let _ = read_open_packet(&whole[..cut]);
            let _ = read_open_packet(&whole[cut..]);
            let mut broken = whole.to_vec();
            if let Some(byte) = broken.get_mut(cut) {
                *byte = 0xff;
            }
            let _ = read_open_packet(&broken);
        }
        let _ = read_open_packet(b"\0");
        let _ = read_open_packet(b"\0\x01\xff");
        let _ = read_open_packet(b"___eio[1](");
    }
}
