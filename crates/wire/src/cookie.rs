//! Cookies in a request, as far as a proxy reads them (RFC 6265 section 5.4): the value of one, and the line without
//! it. Names and values are compared as they are sent.

use crate::request::RequestHead;

/// The value of the first cookie with this name.
pub fn find<'a>(head: &'a RequestHead, name: &[u8]) -> Option<&'a [u8]> {
    lines(head).flat_map(pairs).find_map(|pair| value_of(pair, name))
}

/// Whether a request has a cookie of this name.
pub fn has(head: &RequestHead, name: &[u8]) -> bool {
    find(head, name).is_some()
}

/// A Cookie line's value without the cookies of this name; empty if nothing else was in it.
pub(crate) fn print_without(value: &[u8], name: &[u8], out: &mut Vec<u8>) {
    let before = out.len();
    for pair in pairs(value).filter(|pair| !pair.is_empty() && value_of(pair, name).is_none()) {
        if out.len() > before {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(pair);
    }
}

/// The values of the Cookie lines: one, says the RFC; any number, says HTTP/2 to whoever stands in front of us.
fn lines(head: &RequestHead) -> impl Iterator<Item = &[u8]> {
    head.header_values("cookie")
}

fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b';').map(<[u8]>::trim_ascii)
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = pair.strip_prefix(name)?.strip_prefix(b"=")?;
    // Quotes are allowed around a value and are no part of it.
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeadBounds;

    fn head(lines: &str) -> RequestHead {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let bounds = HeadBounds { target_bytes_max: 100, head_bytes_max: 1000, lines_max: 20 };
        RequestHead::parse(head.as_bytes(), &bounds).unwrap()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let cases = [
            ("Cookie: a=1\r\n", Some("1")),
            ("Cookie: b=2; a=1; a=3\r\n", Some("1")),
            ("cookie: b=2;a=1\r\n", Some("1")),
            ("Cookie: a=\"1\"\r\n", Some("1")),
            ("Cookie: b=2\r\nCookie: a=1\r\n", Some("1")),
            ("Cookie: a=\r\n", Some("")),
            ("Cookie: a=x=y\r\n", Some("x=y")),
            ("Cookie: A=1; aa=2; xa=3; a\r\n", None),
            ("Cookie: b=\"a=1\"\r\n", None),
            ("X: a=1\r\n", None),
            ("Cookie: \r\n", None),
        ];
        for (lines, value) in cases {
            assert_eq!(find(&head(lines), b"a"), value.map(str::as_bytes), "{lines}");
        }
    }

    #[test]
    fn the_others_stay() {
        let cases = [
            ("a=1", ""),
            ("a=1; b=2", "b=2"),
            ("b=2; a=1; c=3; a=4", "b=2; c=3"),
            ("b=2;c; aa=1", "b=2; c; aa=1"),
            (";; a=1;", ""),
        ];
        for (value, without) in cases {
            let mut out = b"Cookie: ".to_vec();
            print_without(value.as_bytes(), b"a", &mut out);
            assert_eq!(out, [b"Cookie: ", without.as_bytes()].concat(), "{value}");
        }
    }
}
