//! A session id in a query: one id has many spellings there, and all of them are the same to the node. What it means is
//! the UTF-8 of what Node.js' `querystring` makes of it, which is also what the node has put into its open packet.

use std::borrow::Cow;

use crate::tag::Tag;

/// Longest session id that is looked at, tag included and as it is spelt; Engine.IO's own have 20 characters,
/// socketioxide's 16, and apps make their own.
pub const SID_BYTES_MAX: usize = 1024;

/// What `raw` means: `+` is a blank, `%41` an A, and what is no UTF-8 afterwards becomes U+FFFD. A `%` without two
/// digits behind it is itself.
pub(crate) fn decode(raw: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(raw) {
        return Cow::Borrowed(raw);
    }
    let bytes: Vec<u8> = units(raw).map(|unit| unit.byte).collect();
    match String::from_utf8_lossy(&bytes) {
        Cow::Borrowed(_) => Cow::Owned(bytes),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Writes an id as a query has it, with every byte escaped that could mean something else there.
pub fn escape_sid(sid: &[u8], out: &mut Vec<u8>) {
    for &byte in sid {
        match byte {
            b'-' | b'_' | b'.' | b'~' => out.push(byte),
            _ if byte.is_ascii_alphanumeric() => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

/// Where in `raw` the characters begin that mean a tag; `None` if there is nothing in front of them. Clients may
/// escape more than they have to, and the node gets the rest as it came. `is_plain` is what [`is_plain`] says of
/// it.
pub(crate) fn tag_at(raw: &[u8], is_plain: bool) -> Option<usize> {
    if is_plain {
        return raw.len().checked_sub(Tag::BYTES).filter(|&at| at > 0);
    }
    let starts: Vec<usize> = units(raw).map(|unit| unit.at).collect();
    let first = starts.len().checked_sub(Tag::BYTES).filter(|&first| first > 0)?;
    Some(starts[first])
}

pub(crate) fn means(raw: &[u8], name: &[u8]) -> bool {
    raw == name || (!is_plain(raw) && units(raw).map(|unit| unit.byte).eq(name.iter().copied()))
}

/// Whether it is what it means. What is not ASCII is not, or it would have to be looked at whether it is UTF-8.
pub(crate) fn is_plain(raw: &[u8]) -> bool {
    raw.is_ascii() && memchr::memchr2(b'%', b'+', raw).is_none()
}

/// One byte of what is meant, and where it begins in what is written.
struct Unit {
    byte: u8,
    at: usize,
}

fn units(raw: &[u8]) -> impl Iterator<Item = Unit> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let begins = at;
        let byte = match *raw.get(at..)? {
            [b'%', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                at += 3;
                hex(high) * 16 + hex(low)
            }
            [byte, ..] => {
                at += 1;
                if byte == b'+' { b' ' } else { byte }
            }
            [] => return None,
        };
        Some(Unit { byte, at: begins })
    })
}

fn hex(digit: u8) -> u8 {
    char::from(digit).to_digit(16).map_or(0, |value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each is what Node.js 20 prints for `querystring.parse("sid=" + raw).sid`.
    #[test]
    fn one_id_has_many_spellings() {
        for (raw, means) in [
            ("lv_VI97HAXpY6yYWAAAC", "lv_VI97HAXpY6yYWAAAC"),
            ("user%3A42%3Aabc", "user:42:abc"),
            ("user:42:abc", "user:42:abc"),
            ("a+b", "a b"),
            ("a%20b", "a b"),
            ("a%2Bb%2Fc%3D%3D", "a+b/c=="),
            ("%61%62", "ab"),
            ("%C3%A9", "é"),
            ("%c3%a9", "é"),
            ("%E9", "\u{fffd}"),
            ("a%E9b", "a\u{fffd}b"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("", ""),
        ] {
            assert_eq!(String::from_utf8_lossy(&decode(raw.as_bytes())), means, "{raw}");
        }
    }

    #[test]
    fn a_tag_is_found_however_it_is_spelt() {
        for (raw, rest) in [
            ("abcABCDEFGH", Some("abc")),
            ("user%3A42ABCDEFGH", Some("user%3A42")),
            ("abcABCD%45FGH", Some("abc")),
            ("abc%41BCDEF%47%48", Some("abc")),
            ("%C3%A9ABCDEFGH", Some("%C3%A9")),
            ("ABCDEFGH", None),
            ("%41BCDEFGH", None),
            ("", None),
        ] {
            assert_eq!(tag_at(raw.as_bytes(), is_plain(raw.as_bytes())).map(|at| &raw[..at]), rest, "{raw}");
        }
    }

    #[test]
    fn keys_may_be_escaped_too() {
        assert!(means(b"sid", b"sid") && means(b"%73id", b"sid") && means(b"s%69%64", b"sid"));
        assert!(!means(b"nosid", b"sid") && !means(b"%73i", b"sid") && !means(b"sid%20", b"sid"));
    }
}
