//! Forwarded (RFC 7239), as far as a trusted proxy says with it who a client is and how it asked.

use std::net::{IpAddr, SocketAddr};

use crate::host;
use crate::lines::Name;
use crate::request::RequestHead;

/// What one proxy says of whoever asked it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Hop<'a> {
    /// `None` for what is no address: `unknown`, `_hidden`, or nothing.
    pub(crate) address: Option<IpAddr>,
    /// `http` or `https`.
    pub(crate) proto: Option<&'static str>,
    /// A name or an address with an optional port.
    pub(crate) host: Option<&'a [u8]>,
}

/// The hops that Forwarded tells of (RFC 7239), where nothing else does: a proxy that says X-Forwarded-For may pass
/// on any Forwarded of its client's. The last hop is that of the proxy that we are connected to; of more than stand
/// in any row the last are told.
pub(crate) fn alone(head: &RequestHead) -> Vec<Hop<'_>> {
    let is_told_otherwise = head.lines.iter().any(|line| {
        matches!(
            line.known,
            Name::XForwardedFor | Name::XForwardedProto | Name::XForwardedHost | Name::XForwardedPort
        )
    });
    if is_told_otherwise {
        return Vec::new();
    }
    let values = head.lines.iter().filter(|line| line.known == Name::Forwarded);
    let elements = values.flat_map(|line| split(line.value.of_bytes(&head.bytes), b','));
    // An element without anything is none (RFC 9110 section 5.6.1).
    let mut hops: Vec<_> =
        elements.filter(|element| !element.trim_ascii().is_empty()).map(read_hop).collect();
    hops.drain(..hops.len().saturating_sub(HOPS_MAX));
    hops
}

/// An address, with a port or in brackets as some proxies write it.
pub(crate) fn read_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    let address = text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let address = address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    address.map(|address: IpAddr| address.to_canonical())
}

fn read_hop(element: &[u8]) -> Hop<'_> {
    let mut hop = Hop::default();
    for pair in split(element, b';') {
        let Some(equals) = pair.iter().position(|&byte| byte == b'=') else { continue };
        let (name, value) = (pair[..equals].trim_ascii(), unquoted(pair[equals + 1..].trim_ascii()));
        if name.eq_ignore_ascii_case(b"for") {
            hop.address = read_address(value);
        } else if name.eq_ignore_ascii_case(b"proto") {
            hop.proto = ["http", "https"].into_iter().find(|it| value.eq_ignore_ascii_case(it.as_bytes()));
        } else if name.eq_ignore_ascii_case(b"host") {
            hop.host = Some(value).filter(|host| host::check(host).is_ok());
        }
    }
    hop
}

/// None of the values that mean something here can hold what has to be escaped.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inside @ .., b'"'] => inside,
        value => value,
    }
}

/// The parts between separators, those in quotes left out.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    text.split(move |&byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => return byte == separator && !is_quoted,
        }
        false
    })
}

/// More proxies than stand in any row.
pub(crate) const HOPS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, want: &[(Option<&str>, Option<&str>, Option<&str>)]) {
        let got: Vec<_> = split(value.as_bytes(), b',').map(read_hop).collect();
        let want: Vec<_> = want
            .iter()
            .map(|&(address, proto, host)| Hop {
                address: address.map(|address| address.parse().expect("an address")),
                proto: proto.map(|proto| if proto == "https" { "https" } else { "http" }),
                host: host.map(str::as_bytes),
            })
            .collect();
        assert_eq!(got, want, "{value}");
    }

    #[test]
    fn the_examples_of_the_rfc() {
        check("for=\"_gazonk\"", &[(None, None, None)]);
        check("For=\"[2001:db8:cafe::17]:4711\"", &[(Some("2001:db8:cafe::17"), None, None)]);
        check("for=192.0.2.60;proto=http;by=203.0.113.43", &[(Some("192.0.2.60"), Some("http"), None)]);
        check(
            "for=192.0.2.43, for=198.51.100.17",
            &[(Some("192.0.2.43"), None, None), (Some("198.51.100.17"), None, None)],
        );
        check("for=\"[2001:db8::1]\"", &[(Some("2001:db8::1"), None, None)]);
    }

    #[test]
    fn what_is_quoted_separates_nothing() {
        check(
            "for=1.2.3.4;ext=\"a,b;proto=https\\\",c\";PROTO=\"HTTPS\";host=\"a.example:81\"",
            &[(Some("1.2.3.4"), Some("https"), Some("a.example:81"))],
        );
        check("for=\"1.2.3.4,for=5.6.7.8", &[(None, None, None)]);
    }

    #[test]
    fn what_cannot_be_read_is_not_said() {
        check("for=unknown;proto=ftp;host=\"a b\"", &[(None, None, None)]);
        check("for;=;;proto", &[(None, None, None)]);
        check("", &[(None, None, None)]);
    }
}
