//! Heads of requests: what a node gets of them, and which nobody gets.

use std::net::{IpAddr, Ipv4Addr};

use wire::Malformed;
use wire::forward::{self, ClientEnd, ForOrigin};
use wire::pin_names::StripPins;
use wire::request::RequestHead;
use wire::scan::{HeadScan, Side};

use crate::BOUNDS;

pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
pub(crate) const OURS: &str = "X-Forwarded-For: 192.0.2.7\r\nX-Real-IP: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Port: 80\r\n";

pub(crate) fn read_request(text: &[u8]) -> Result<RequestHead, Malformed> {
    let mut scan = HeadScan::new(Side::Request);
    let length = scan.advance(text, &BOUNDS)?.expect("a whole head");
    RequestHead::parse(&text[..length], &BOUNDS)
}

pub(crate) fn print_request(head: &RequestHead, is_trusted: bool, strips_tag: bool) -> String {
    print_for(head, is_trusted, strips_tag, &[])
}

pub(crate) fn print_for(head: &RequestHead, is_trusted: bool, strips_tag: bool, passes: &[&str]) -> String {
    // A port that nobody asked for: something in front of us maps another one to it.
    let end = ClientEnd::new(PEER, "http", 8080, is_trusted);
    let how = ForOrigin {
        host_override: None,
        host_default: "node:3000",
        client_end: &end,
        client_address: end.client_address(head, |address| address == PEER),
        strips_tag,
        strips_pins: StripPins::None,
        wants_plain: strips_tag,
        pass_headers: &passes.iter().map(|&name| name.to_owned()).collect::<Vec<_>>(),
        edits: None,
    };
    let mut out = Vec::new();
    forward::print_request(head, &how, &mut out);
    String::from_utf8(out).expect("what was read was text")
}

/// The request in `text` reaches an origin as `want`, our own lines left out.
pub(crate) fn check(text: &str, want: &str) {
    let head =
        read_request(text.as_bytes()).unwrap_or_else(|refused| panic!("{text:?} was refused: {refused}"));
    let host =
        head.host_bytes().map_or("node:3000".into(), |host| String::from_utf8_lossy(host).into_owned());
    let want = format!("{want}{OURS}X-Forwarded-Host: {host}\r\n\r\n");
    assert_eq!(print_request(&head, false, false), want);
}

fn refuses(text: &str, want: Malformed) {
    assert_eq!(read_request(text.as_bytes()).err(), Some(want), "{text:?}");
}

#[test]
fn what_is_none_of_our_business_passes_as_it_came() {
    check(
        "GET /a?b=c HTTP/1.1\r\nhOsT: x\r\nX-B: 2\r\nX-A:  1 \r\nCookie: a\r\nCookie: b\r\nEmpty:\r\n\r\n",
        "GET /a?b=c HTTP/1.1\r\nhOsT: x\r\nX-B: 2\r\nX-A: 1\r\nCookie: a\r\nCookie: b\r\nEmpty: \r\n",
    );
    check(
        "M-SEARCH /%2e%2e//a;b HTTP/1.1\r\nHost: x\r\n\r\n",
        "M-SEARCH /%2e%2e//a;b HTTP/1.1\r\nHost: x\r\n",
    );
    check("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n");
    check(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n",
    );
}

#[test]
fn targets_become_origin_form() {
    check("GET http://x/a?b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a?b HTTP/1.1\r\nHost: x\r\n");
    check("GET HTTP://x:80?b HTTP/1.1\r\nHost: X\r\n\r\n", "GET /?b HTTP/1.1\r\nHost: X\r\n");
    check("OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.1\r\nHost: x\r\n");
}

#[test]
fn http_10_becomes_http_11() {
    check("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", "GET / HTTP/1.1\r\nHost: node:3000\r\n");
    check("GET / HTTP/1.0\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n");
    check("GET http://x/ HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\n");
}

#[test]
fn hop_by_hop_lines_end_here() {
    check(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, X-Secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
         Proxy-Connection: a\r\nProxy-Authorization: b\r\nUpgrade: h2c\r\nHTTP2-Settings: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n",
    );
    // Whatever is nominated, where the request goes, where it ends, and what we say stay.
    check(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: host, content-length, x-forwarded-for\r\nContent-Length: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n",
    );
}

#[test]
fn hosts_that_mean_a_name_are_that_name() {
    for (host, name) in
        [("Example.com.", "Example.com"), ("a:", "a"), ("a.:81", "a"), ("[::1]:", "[::1]"), ("a:81", "a")]
    {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let head = read_request(text.as_bytes()).expect("a good head");
        assert_eq!(head.host_name(), Some(name.as_bytes()), "{host}");
        assert!(print_request(&head, false, false).contains(&format!("\r\nHost: {host}\r\n")));
    }
    for host in ["a..b", ".a", ".", ":", "a.."] {
        refuses(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), Malformed::Host);
    }
    check("GET http://x.:80/ HTTP/1.1\r\nHost: x:\r\n\r\n", "GET / HTTP/1.1\r\nHost: x:\r\n");
}

#[test]
fn a_tag_is_cut_off_wherever_the_sid_stands() {
    for (query, want) in [
        ("EIO=4&transport=polling&sid=abcdefghTAGTAGTA&t=1", "EIO=4&transport=polling&sid=abcdefgh&t=1"),
        ("sid=abcdefghTAGTAGTA&EIO=4&transport=polling", "sid=abcdefgh&EIO=4&transport=polling"),
        ("EIO=4&transport=polling&sid=abcdefghTAGTAGTA", "EIO=4&transport=polling&sid=abcdefgh"),
        ("EIO=4&transport=polling&sid=%61bcdefghTAGTAG%54A", "EIO=4&transport=polling&sid=%61bcdefgh"),
    ] {
        let text = format!("GET /socket.io/?{query} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n");
        let head = read_request(text.as_bytes()).unwrap();
        let got = print_request(&head, false, true);
        assert!(got.starts_with(&format!("GET /socket.io/?{want} HTTP/1.1\r\nHost: x\r\nX-Forw")), "{got}");
    }
}

pub(crate) const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[test]
fn websocket_handshakes() {
    check(
        &format!(
            "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n{KEY}\r\n"
        ),
        &format!("GET / HTTP/1.1\r\nHost: x\r\n{KEY}Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    );
    // Without the connection option, in HTTP/1.0, or among others it is an ordinary request.
    check(
        &format!("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n{KEY}\r\n"),
        &format!("GET / HTTP/1.1\r\nHost: x\r\n{KEY}"),
    );
    check(
        "GET / HTTP/1.0\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n",
    );
    check(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n",
    );
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n";
    refuses(&format!("{upgrade}{KEY}Content-Length: 1\r\n\r\n"), Malformed::UpgradeWithBody);
    refuses(&format!("{upgrade}{KEY}Transfer-Encoding: chunked\r\n\r\n"), Malformed::UpgradeWithBody);
    refuses(&format!("{upgrade}\r\n"), Malformed::WebSocketKey);
    refuses(&format!("{upgrade}{KEY}{KEY}\r\n"), Malformed::WebSocketKey);
    refuses(&format!("{upgrade}Sec-WebSocket-Key: short\r\n\r\n"), Malformed::WebSocketKey);
}

#[test]
fn requests_that_could_be_read_two_ways_are_refused() {
    use Malformed as M;
    let get = "GET / HTTP/1.1\r\nHost: x\r\n";
    for (lines, want) in [
        ("Content-Length: 1\r\nContent-Length: 1\r\n", M::ContentLengthTwice),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", M::ContentLengthTwice),
        ("Content-Length: 1, 1\r\n", M::ContentLength),
        ("Content-Length: +1\r\n", M::ContentLength),
        ("Content-Length: -1\r\n", M::ContentLength),
        ("Content-Length: 0x1\r\n", M::ContentLength),
        ("Content-Length:\r\n", M::ContentLength),
        ("Content-Length: 1 1\r\n", M::ContentLength),
        ("Content-Length: 18446744073709551616\r\n", M::ContentLength),
        ("Content-Length: 18446744073709551615\r\n", M::ContentLength),
        ("Content-Length: 1152921504606846977\r\n", M::ContentLength),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", M::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", M::LengthAndCoding),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", M::CodingTwice),
        ("Transfer-Encoding: chunked, chunked\r\n", M::Coding),
        ("Transfer-Encoding: gzip, chunked\r\n", M::Coding),
        ("Transfer-Encoding: identity\r\n", M::Coding),
        ("Transfer-Encoding: xchunked\r\n", M::Coding),
        ("Transfer-Encoding: \"chunked\"\r\n", M::Coding),
        ("Transfer-Encoding:\r\n", M::Coding),
        ("Transfer-Encoding: \x0bchunked\r\n", M::HeaderLine),
        ("Transfer-Encoding : chunked\r\n", M::HeaderLine),
        ("Transfer-Encoding\t: chunked\r\n", M::HeaderLine),
        ("A: b\r\n c\r\n", M::HeaderLine),
        ("A: b\r\n\tc\r\n", M::HeaderLine),
        (" A: b\r\n", M::HeaderLine),
        ("A\r\n", M::HeaderLine),
        (": b\r\n", M::HeaderLine),
        ("A(: b\r\n", M::HeaderLine),
        ("A: b\0\r\n", M::HeaderLine),
        ("A: b\rc\r\n", M::HeaderLine),
        ("A: b\x7f\r\n", M::HeaderLine),
        ("A: b\nC: d\r\n", M::BareLf),
        ("Host: x\r\n", M::HostTwice),
        ("Host: y\r\n", M::HostTwice),
    ] {
        refuses(&format!("{get}{lines}\r\n"), want);
    }
    refuses("GET / HTTP/1.1\r\n\r\n", M::HostMissing);
    refuses("GET / HTTP/1.1\r\nHost:\r\n\r\n", M::Host);
    refuses("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", M::Host);
    refuses("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", M::Host);
    refuses("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", M::CodingInHttp10);
    refuses("CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", M::Connect);
    refuses("GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n", M::HostContradicted);
    refuses("GET http://user@x/ HTTP/1.1\r\nHost: x\r\n\r\n", M::Host);
    refuses("GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", M::Target);
    refuses("GET x HTTP/1.1\r\nHost: x\r\n\r\n", M::Target);
    refuses("GET * HTTP/1.1\r\nHost: x\r\n\r\n", M::Target);
    refuses("GET @evil/ HTTP/1.1\r\nHost: x\r\n\r\n", M::Target);
    refuses("GET /a#b HTTP/1.1\r\nHost: x\r\n\r\n", M::Target);
    refuses("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", M::FirstLine);
    refuses("GET / a HTTP/1.1\r\nHost: x\r\n\r\n", M::FirstLine);
    refuses("G@T / HTTP/1.1\r\nHost: x\r\n\r\n", M::FirstLine);
    refuses("GET / HTTP/1.3\r\nHost: x\r\n\r\n", M::Version);
    refuses("GET / HTTP/2.0\r\nHost: x\r\n\r\n", M::Version);
    refuses(&format!("{get}{}\r\n", "A: b\r\n".repeat(64)), M::TooManyLines);
    refuses(&format!("{get}Connection: {}\r\n\r\n", "a,".repeat(33)), M::ConnectionTokens);
}
