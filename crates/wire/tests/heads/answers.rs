//! Heads of answers: what a client gets of them, and which it does not get.

use wire::answer::{AnswerHead, AnswerTo};
use wire::forward::{self, ForClient};
use wire::request::Method;
use wire::scan::{HeadScan, Side};
use wire::{Malformed, Version};

use crate::requests::{KEY, read_request};
use crate::{BOUNDS, GET};

fn read_answer(text: &[u8], asked: &AnswerTo) -> Result<AnswerHead, Malformed> {
    let mut scan = HeadScan::new(Side::Answer);
    let length = scan.advance(text, &BOUNDS)?.expect("a whole head");
    AnswerHead::parse(&text[..length], &BOUNDS, asked)
}

fn check_answer(text: &str, version: Version, want: &str) {
    let head = read_answer(text.as_bytes(), &GET)
        .unwrap_or_else(|refused| panic!("{text:?} was refused: {refused}"));
    let mut out = Vec::new();
    let how = ForClient { version, method: Method::Get, keep_alive: true, content_length: None, edits: None };
    forward::print_answer(&head, &how, &mut out);
    assert_eq!(String::from_utf8(out).expect("what was read was text"), want);
}

#[test]
fn answers_reach_the_client_as_they_came() {
    use Version::{Http10, Http11};
    check_answer(
        "HTTP/1.1 404 Not  Here\r\nsEt-cookie: a\r\nContent-Length: 3\r\nConnection: keep-alive, X-H\r\nX-H: 1\r\nKeep-Alive: timeout=5\r\n\r\n",
        Http11,
        "HTTP/1.1 404 Not  Here\r\nsEt-cookie: a\r\nContent-Length: 3\r\n\r\n",
    );
    check_answer("HTTP/1.0 200\r\n\r\n", Http11, "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n");
    check_answer("HTTP/1.1 200 OK\r\n\r\n", Http10, "HTTP/1.1 200 OK\r\n\r\n");
    check_answer(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
        Http11,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    check_answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Http10, "HTTP/1.1 200 OK\r\n\r\n");
    check_answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
        Http10,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n",
    );
    check_answer("HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", Http11, "HTTP/1.1 204 No\r\n\r\n");
    check_answer(
        "HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n",
        Http11,
        "HTTP/1.1 304 No\r\nContent-Length: 2\r\n\r\n",
    );
    check_answer(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
        Http11,
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    );
    check_answer(
        "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
        Http11,
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
}

#[test]
fn what_nodes_get_wrong_and_everybody_understands_is_put_right() {
    use Version::Http11;
    check_answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\ncontent-length: 2\r\nContent-Length: 02\r\n\r\n",
        Http11,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: b\r\n\r\n",
    );
    for text in [
        "HTTP/1.1 200 OK\nA: b\nEmpty:\nContent-Length: 2\n\n",
        "HTTP/1.1 200 OK\r\nA: b\nEmpty: \r\nContent-Length: 2\n\r\n",
        "HTTP/1.1 200 OK\nA: b\r\nEmpty:\t\nContent-Length: 2\r\n\n",
    ] {
        check_answer(text, Http11, "HTTP/1.1 200 OK\r\nA: b\r\nEmpty: \r\nContent-Length: 2\r\n\r\n");
    }
    for status in ["600", "999 Odd", "777 "] {
        check_answer(
            &format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n"),
            Http11,
            &format!(
                "HTTP/1.1 {}\r\nContent-Length: 2\r\n\r\n",
                if status == "600" { "600 " } else { status }
            ),
        );
    }
}

/// graphql-yoga says `none`, which is no coding that anybody has registered.
#[test]
fn a_body_is_coded_where_a_coding_is_named() {
    for (coding, is_coded) in
        [("gzip", true), ("gzip, identity", true), ("identity", false), ("None", false), ("", false)]
    {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\n\r\n");
        let head = read_answer(text.as_bytes(), &GET).expect("it holds");
        assert_eq!(head.is_content_coded(), is_coded, "{coding:?}");
    }
}

#[test]
fn answers_that_could_be_read_two_ways_are_refused() {
    use Malformed as M;
    for (text, want) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n", M::ContentLengthTwice),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
            M::ContentLengthTwice,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1152921504606846977\r\n", M::ContentLength),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\nTransfer-Encoding: chunked\r\n", M::LengthAndCoding),
        ("HTTP/1.1 200 OK\nA: b\n c\n", M::HeaderLine),
        ("HTTP/1.1 200 OK\nA: b\rc\n", M::HeaderLine),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", M::LengthAndCoding),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", M::Coding),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", M::CodingInHttp10),
        ("HTTP/1.1 200 OK\r\nA: b\0\r\n", M::HeaderLine),
        ("HTTP/1.1 200 OK\r\nA : b\r\n", M::HeaderLine),
        ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n", M::HeaderLine),
        ("HTTP/1.1 20 OK\r\n", M::Status),
        ("HTTP/1.1 099 OK\r\n", M::Status),
        ("HTTP/1.1 1000 OK\r\n", M::Status),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", M::Unasked101),
        ("HTTP/2.0 200 OK\r\n", M::Version),
        ("ICY 200 OK\r\n", M::FirstLine),
    ] {
        assert_eq!(read_answer(format!("{text}\r\n").as_bytes(), &GET).err(), Some(want), "{text:?}");
    }
}

#[test]
fn only_a_101_that_answers_the_handshake_opens_a_tunnel() {
    let text = format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{KEY}\r\n");
    let asked = AnswerTo::by(&read_request(text.as_bytes()).unwrap());
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let good = format!("HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{accept}\r\n");
    assert_eq!(read_answer(good.as_bytes(), &asked).map(|head| head.status()), Ok(101));
    for bad in [
        good.replace("s3pP", "AAAA"),
        good.replace(accept, ""),
        good.replace(accept, &format!("{accept}{accept}")),
        good.replace("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"),
        good.replace("Connection: upgrade\r\n", ""),
    ] {
        assert_eq!(read_answer(bad.as_bytes(), &asked).err(), Some(Malformed::Unasked101), "{bad:?}");
    }
}
