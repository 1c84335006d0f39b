//! Answers that are not: each becomes our own 502, or, where its beginning has gone out already, a visible cut.

use crate::{Ending, GET, GET_10, Row, WEBSOCKET, cut, refused};

pub(crate) fn rows() -> Vec<Row> {
    [
        status_lines(),
        header_lines(),
        framing(),
        nothing(),
        upgrades(),
        too_much(),
        cut_short(),
        broken_chunks(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn status_lines() -> Vec<Row> {
    [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 099 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1 -20 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1\t200 OK",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/2.0 200 OK",
        "HTTP/2 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/11 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\x01K",
        "HTTP/1.1 200 O\rK",
        " HTTP/1.1 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "ICY 200 OK",
        "<html>hello</html>",
        "SSH-2.0-OpenSSH_9.9",
        "\x15\x03\x01\0\x02\x02\x46",
        "\0\0\0\0",
        "200 OK",
        "GET / HTTP/1.1",
    ]
    .map(|line| refused(GET, format!("{line}\r\nContent-Length: 3\r\n\r\nabc")))
    .into()
}

fn header_lines() -> Vec<Row> {
    [
        "A : b",
        " A: b",
        "\tA: b",
        "A",
        ": b",
        "A(: b",
        "A\0: b",
        "A: b\0",
        "A: b\x01",
        "A: b\x7f",
        "A: b\rc",
        "A: b\r\n c",
        "A: b\n c",
        "A: b\n\tc",
        "A: b\nC : d",
        "A: b\r\r",
        "é: b",
        "Content-Length : 3",
    ]
    .map(|line| refused(GET, format!("HTTP/1.1 200 OK\r\n{line}\r\nContent-Length: 3\r\n\r\nabc")))
    .into()
}

/// Every way to make one of two parsers see another end of the answer.
fn framing() -> Vec<Row> {
    let mut rows: Vec<Row> = [
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3\r\nContent-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3\nTransfer-Encoding: chunked",
        "Content-Length: 3, 3",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 0x3",
        "Content-Length:",
        "Content-Length: a",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551615",
        "Content-Length: 1152921504606846977",
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding:",
    ]
    .map(|lines| refused(GET, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n3\r\nabc\r\n0\r\n\r\n")))
    .into();
    rows.push(refused(GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"));
    rows.push(refused(GET, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nabc").then(Ending::Fin));
    rows
}

/// No answer, or less than a head of one.
fn nothing() -> Vec<Row> {
    [Ending::Fin, Ending::Reset]
        .into_iter()
        .flat_map(|end| {
            [
                "",
                "H",
                "HTTP/1.1 200 OK\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r",
            ]
            .map(|answers| refused(GET, answers).then(end))
        })
        .collect()
}

/// Only a 101 that was asked for, and that answers the key that was sent, ends HTTP.
fn upgrades() -> Vec<Row> {
    let good = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let bad = |from: &str, to: &str| refused(WEBSOCKET, good.replace(from, to));
    let accept = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    vec![
        refused(GET, good),
        refused(GET, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
        refused(GET, format!("HTTP/1.1 103 Early Hints\r\n\r\n{good}")),
        refused(GET_10, good),
        bad("s3pP", "AAAA"),
        bad("xOo=", "xOo"),
        bad(accept, ""),
        bad(accept, &accept.repeat(2)),
        bad("Upgrade: websocket\r\n", "Upgrade: h2c\r\n"),
        bad("Upgrade: websocket\r\n", "Upgrade: websocket\r\nUpgrade: h2c\r\n"),
        bad("Upgrade: websocket\r\n", ""),
        bad("Connection: Upgrade\r\n", ""),
        bad("Connection: Upgrade\r\n", "Connection: keep-alive\r\n"),
        // There is no Upgrade in HTTP/1.0 (RFC 9110 section 7.8).
        bad("HTTP/1.1 101", "HTTP/1.0 101"),
    ]
}

fn too_much() -> Vec<Row> {
    vec![
        refused(GET, format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 0\r\n\r\n", "v".repeat(33_000))),
        refused(GET, format!("HTTP/1.1 200 {}\r\nContent-Length: 0\r\n\r\n", "v".repeat(33_000))),
        refused(GET, format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", "A: b\r\n".repeat(100))),
        refused(GET, format!("HTTP/1.1 200 OK\r\nX: {}", "v".repeat(100_000))),
        refused(
            GET_10,
            format!(
                "{}HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                "HTTP/1.1 102 Processing\r\n\r\n".repeat(65)
            ),
        ),
    ]
}

fn cut_short() -> Vec<Row> {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let unframed = "HTTP/1.1 200 OK\r\n\r\n";
    let mut rows = Vec::new();
    for end in [Ending::Fin, Ending::Reset] {
        for body in ["", "abc", "abcdefgh"] {
            rows.push(cut(GET, format!("{length}{body}"), end, length));
            rows.push(cut(GET_10, format!("{length}{body}"), end, length));
        }
        for body in [
            "",
            "3",
            "3\r\n",
            "3\r\nab",
            "3\r\nabc",
            "3\r\nabc\r\n",
            "3\r\nabc\r\n0",
            "3\r\nabc\r\n0\r\n",
            "3\r\nabc\r\n0\r\n\r",
            "3\r\nabc\r\n0\r\nA: b\r\n",
        ] {
            rows.push(cut(GET, format!("{chunked}{body}"), end, chunked));
            rows.push(cut(GET_10, format!("{chunked}{body}"), end, unframed));
        }
    }
    // A FIN would be the end of these; a reset is none.
    rows.push(cut(GET, format!("{unframed}abc"), Ending::Reset, chunked));
    rows.push(cut(GET_10, format!("{unframed}abc"), Ending::Reset, unframed));
    rows
}

fn broken_chunks() -> Vec<Row> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut rows = Vec::new();
    for body in [
        "\r\n",
        "x\r\nabc\r\n0\r\n\r\n",
        "3\nabc\r\n0\r\n\r\n",
        "3 \nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "3 3\r\nabc\r\n0\r\n\r\n",
        "1000000000000001\r\nabc\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "-3\r\nabc\r\n0\r\n\r\n",
        "10000000000000003\r\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3;\0\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nA : b\r\n\r\n",
        "3\r\nabc\r\n0\r\nA: b\0\r\n\r\n",
        "3\r\nabc\r\n0\n\r\n",
        "3\r\nabc\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        rows.push(cut(GET, format!("{chunked}{body}"), Ending::StaysOpen, chunked));
        rows.push(cut(GET_10, format!("{chunked}{body}"), Ending::StaysOpen, "HTTP/1.1 200 OK\r\n\r\n"));
    }
    rows
}
