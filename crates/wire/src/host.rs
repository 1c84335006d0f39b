//! Host and the authority of an absolute-form target, read strictly: what two parsers could take for two different
//! hosts is refused (RFC 9110 section 7.2, RFC 3986 section 3.2).

use crate::malformed::Malformed;

/// Checks `name[:port]`, where the name is an IPv4 address, an IPv6 address in brackets, or labels of letters,
/// digits, `-` and `_`, the last with a dot behind it or not. A port may be left out behind its colon (RFC 3986
/// section 3.2.3). User information, percent-encoding, lists and empty labels are refused. Gives the port, if it says one.
pub(crate) fn check(authority: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let (name, port) = split(authority);
    let name_holds = match name {
        [b'[', inside @ .., b']'] => {
            inside.contains(&b':')
                && inside.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        name => are_labels(name),
    };
    let port_holds = port.is_none_or(|port| {
        port.len() <= 5
            && port.iter().all(u8::is_ascii_digit)
            && port.iter().fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
    });
    match name_holds && port_holds {
        true => Ok(port.filter(|port| !port.is_empty())),
        false => Err(Malformed::Host),
    }
}

fn are_labels(name: &[u8]) -> bool {
    // In front of the first label there might as well be a dot.
    let mut before = DOT;
    let all_hold = name.iter().all(|&byte| {
        let class = NAME_BYTES[usize::from(byte)];
        let holds = class != 0 && class & before != DOT;
        before = class;
        holds
    });
    all_hold && !name.is_empty()
}

/// A table, because this is asked for each byte of each request's host.
const NAME_BYTES: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let letter = byte as u8;
        if letter.is_ascii_alphanumeric() || matches!(letter, b'-' | b'_') {
            table[byte] = OF_A_LABEL;
        }
        byte += 1;
    }
    table[b'.' as usize] = DOT;
    table
};
const OF_A_LABEL: u8 = 1;
const DOT: u8 = 2;

/// The name and the port of an authority; the colons inside brackets belong to the name.
pub(crate) fn split(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let name_end = match authority.first() {
        Some(b'[') => authority.iter().position(|&byte| byte == b']').map(|bracket| bracket + 1),
        _ => authority.iter().position(|&byte| byte == b':'),
    };
    let name_end = name_end.unwrap_or(authority.len());
    match authority[name_end..].split_first() {
        Some((b':', port)) => (&authority[..name_end], Some(port)),
        // Something between `]` and the end makes the name fail its check.
        Some(_) | None => (authority, None),
    }
}

/// The name that is meant: a dot at its end says only that it is whole (RFC 1034 section 3.1).
pub(crate) fn name(authority: &[u8]) -> &[u8] {
    let (name, _) = split(authority);
    name.strip_suffix(b".").unwrap_or(name)
}

/// The port, if there is one: a colon alone says nothing.
pub(crate) fn port(authority: &[u8]) -> Option<&[u8]> {
    split(authority).1.filter(|port| !port.is_empty())
}

/// Whether an absolute-form target's authority and Host name the same place, the scheme's own port said or not.
pub(crate) fn agree(target: &[u8], host: &[u8], default_port: &[u8]) -> bool {
    name(target).eq_ignore_ascii_case(name(host))
        && port(target).unwrap_or(default_port) == port(host).unwrap_or(default_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_pass() {
        for good in
            ["a", "example.com", "EXAMPLE.com:80", "127.0.0.1:8080", "[::1]", "[::1]:443", "my_host:1", "a:"]
        {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_dot_at_the_end_and_an_empty_port_say_nothing() {
        for (authority, want) in [
            ("example.com.", ("example.com", None)),
            ("example.com.:8080", ("example.com", Some("8080"))),
            ("example.com:", ("example.com", None)),
            ("[::1]:", ("[::1]", None)),
            ("127.0.0.1:1", ("127.0.0.1", Some("1"))),
        ] {
            let authority = authority.as_bytes();
            assert_eq!(check(authority), Ok(want.1.map(str::as_bytes)), "{authority:?}");
            let got = (name(authority), port(authority));
            assert_eq!(got, (want.0.as_bytes(), want.1.map(str::as_bytes)), "{authority:?}");
        }
    }

    #[test]
    fn what_can_be_read_two_ways_is_refused() {
        for bad in [
            "",
            ":80",
            ".",
            ":",
            "a..b",
            ".a",
            "a..",
            "..",
            "a:x",
            "a:65536",
            "a:123456",
            "a b",
            "user@a",
            "a,b",
            "a/b",
            "a%2fb",
            "[::1",
            "::1]",
            "[a]b",
            "[::1]x:80",
            "[]",
            "a:80:80",
            "a\\b",
            "a?b",
            "a#b",
        ] {
            assert_eq!(check(bad.as_bytes()), Err(Malformed::Host), "{bad}");
        }
    }

    #[test]
    fn a_default_port_is_the_same_said_or_not() {
        assert!(agree(b"a:80", b"A", b"80"));
        assert!(agree(b"[::1]", b"[::1]:80", b"80"));
        assert!(agree(b"a.", b"a:", b"80"));
        assert!(!agree(b"a", b"b", b"80"));
        assert!(!agree(b"a:81", b"a", b"80"));
    }
}
