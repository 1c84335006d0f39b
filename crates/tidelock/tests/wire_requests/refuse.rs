//! Requests that are refused, each with its status: what two parsers could read in two ways, what is too long, and
//! what is not HTTP/1. `GET /smuggled` is what the node must never see.

use crate::{Row, refused, refused_after};

pub(crate) fn rows() -> Vec<Row> {
    [
        first_lines(),
        hosts(),
        header_lines(),
        lengths_and_codings(),
        chunks(),
        upgrades(),
        too_long(),
        pipelined(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

fn first_lines() -> Vec<Row> {
    let mut rows: Vec<Row> = [
        // HTTP/0.9, which has neither version nor headers.
        (400, "GET /\r\n"),
        (400, "GET /\r\n\r\n"),
        (400, "GET / \r\nHost: a\r\n\r\n"),
        (400, "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"),
        (400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a\tb HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a\x7fb HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "G@T / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1.1\nHost: a\n\n"),
        (400, "GET / http/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/1,1\r\nHost: a\r\n\r\n"),
        (400, "GET / HTTP/11\r\nHost: a\r\n\r\n"),
        (505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"),
        (505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"),
        (505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"),
        // HTTP/2 with prior knowledge.
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (400, "\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        // Targets that lead elsewhere: none is contacted.
        (501, "CONNECT {decoy} HTTP/1.1\r\nHost: {decoy}\r\n\r\n"),
        (501, "CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "connect {decoy} HTTP/1.1\r\nHost: {decoy}\r\n\r\n"),
        (400, "GET {decoy} HTTP/1.1\r\nHost: {decoy}\r\n\r\n"),
        (400, "GET @{decoy}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http://{decoy}/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http://a@{decoy}/ HTTP/1.1\r\nHost: {decoy}\r\n\r\n"),
        (400, "GET http://a/ HTTP/1.1\r\nHost: a@{decoy}\r\n\r\n"),
        (400, "GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET http:a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET ?a HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"),
        (400, "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n"),
    ]
    .map(|(status, sends)| refused(status, sends))
    .into();
    // A TLS client on a plain port, and other tongues.
    rows.push(refused(400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x01\x02\x03"));
    rows.push(refused(400, b"\x00\x00\x00\x08\x04\xd2\x16\x2f"));
    rows.push(refused(400, "SSH-2.0-OpenSSH_9.9\r\n"));
    rows
}

fn hosts() -> Vec<Row> {
    [
        "GET / HTTP/1.1\r\n\r\n",
        // Absolute-form does not stand in for it (RFC 9112 section 3.2).
        "GET http://a/ HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a..b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: .a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: .\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: :80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: ä\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET http://a/ HTTP/1.0\r\nHost: b\r\n\r\n",
    ]
    .map(|sends| refused(400, sends))
    .into()
}

fn header_lines() -> Vec<Row> {
    [
        "A : b",
        "A\t: b",
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
        "A: b\r\n\tc",
        "A: b\n c",
        "A: b\nC: d",
        "A: b\nTransfer-Encoding: chunked",
        "é: b",
        "A\r\n: b",
        "A: b\r\r",
        "Host : b",
        "Content-Length : 0",
        "Transfer-Encoding\t: chunked",
    ]
    .map(|line| refused(400, format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n{SMUGGLED}")))
    .into_iter()
    .chain([refused(
        400,
        format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {}\r\n\r\n", ["a"; 40].join(",")),
    )])
    .collect()
}

/// Every way to make one of two parsers see another end of the body.
fn lengths_and_codings() -> Vec<Row> {
    let mut rows = vec![
        // CL.TE and TE.CL.
        refused(
            400,
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        refused(
            400,
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n29\r\n{SMUGGLED}\r\n0\r\n\r\n"
            ),
        ),
        refused(
            400,
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n",
        ),
        refused(
            400,
            format!(
                "POST / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
        refused(
            400,
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
    ];
    // TE.TE: a coding that one of two parsers may take for chunked, or may not.
    for coding in [
        "identity",
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "xchunked",
        "chunkedx",
        "\"chunked\"",
        "'chunked'",
        "chunked;a=b",
        "chunked; a",
        "chun ked",
        "",
        "x",
    ] {
        rows.push(refused(
            501,
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n{SMUGGLED}"),
        ));
    }
    for line in [
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0b",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding\r\n: chunked",
        " Transfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Content-Length: 3\r\nContent-Length: 3",
        "Content-Length: 3\r\nContent-Length: 4",
        "Content-Length: 3, 3",
        "Content-Length: 3,4",
        "Content-Length: +3",
        "Content-Length: -3",
        "Content-Length: 0x3",
        "Content-Length: 3_0",
        "Content-Length: 3 3",
        "Content-Length: 3;a",
        "Content-Length: 3.0",
        "Content-Length: 1e1",
        "Content-Length:",
        "Content-Length: \x0b3",
        "Content-Length: \"3\"",
        "Content-Length: ٣",
        "Content-Length: 1152921504606846977",
        "Content-Length: 9223372036854775808",
        "Content-Length: 18446744073709551615",
        "Content-Length: 18446744073709551616",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 3\r\n 0",
    ] {
        rows.push(refused(400, format!("POST / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\nabc{SMUGGLED}")));
    }
    rows
}

/// A chunked body that breaks: its request never becomes whole, and nothing behind it is read.
fn chunks() -> Vec<Row> {
    let mut rows = Vec::new();
    for body in [
        // Sizes.
        "\r\nabc\r\n0\r\n\r\n".to_owned(),
        " 3\r\nabc\r\n0\r\n\r\n".into(),
        "3 \r\nabc\r\n0\r\n\r\n".into(),
        "3\t\r\nabc\r\n0\r\n\r\n".into(),
        "+3\r\nabc\r\n0\r\n\r\n".into(),
        "-1\r\nabc\r\n0\r\n\r\n".into(),
        "0x3\r\nabc\r\n0\r\n\r\n".into(),
        "3,3\r\nabc\r\n0\r\n\r\n".into(),
        "g\r\nabc\r\n0\r\n\r\n".into(),
        "10000000000000003\r\nabc\r\n0\r\n\r\n".into(),
        "1000000000000001\r\nabc\r\n0\r\n\r\n".into(),
        "7fffffffffffffff\r\nabc\r\n0\r\n\r\n".into(),
        "ffffffffffffffff\r\nabc\r\n0\r\n\r\n".into(),
        "00000000000000003\r\nabc\r\n0\r\n\r\n".into(),
        "3 ;a\r\nabc\r\n0\r\n\r\n".into(),
        // Ends of lines: TERM.EXT, EXT.TERM, and behind the data.
        "3\nabc\r\n0\r\n\r\n".into(),
        "3\rabc\r\n0\r\n\r\n".into(),
        "3;\nabc\r\n0\r\n\r\n".into(),
        "3;a\nabc\r\n0\r\n\r\n".into(),
        "3;a\rb\r\nabc\r\n0\r\n\r\n".into(),
        "3;a\0\r\nabc\r\n0\r\n\r\n".into(),
        "3\r\r\nabc\r\n0\r\n\r\n".into(),
        "3\r\nabc\n0\r\n\r\n".into(),
        "3\r\nabc\r0\r\n\r\n".into(),
        // SPILL: more or less data than the size says.
        "3\r\nabcd\r\n0\r\n\r\n".into(),
        "3\r\nab\r\n0\r\n\r\n".into(),
        "3\r\nabcXX0\r\n\r\n".into(),
        // TRAIL.
        "0\r\n\n".into(),
        "0\n\r\n".into(),
        "0\r\nA: b\n\r\n".into(),
        "0\r\nA : b\r\n\r\n".into(),
        "0\r\n A: b\r\n\r\n".into(),
        "0\r\nA\r\n\r\n".into(),
        "0\r\n: b\r\n\r\n".into(),
        "0\r\nA: b\0\r\n\r\n".into(),
        "0\r\nA: b\rc\r\n\r\n".into(),
        "0\r\nA: b\r\n c\r\n\r\n".into(),
        "0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".into(),
        // Bounds: work that costs a client little.
        format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(2000)),
        format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(900)).repeat(10)),
        format!("0\r\n{}\r\n", "A: b\r\n".repeat(2000)),
    ] {
        rows.push(refused(
            400,
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{SMUGGLED}"),
        ));
    }
    rows
}

/// CVE-2026-2833 and CVE-2026-58055: a body behind a handshake is where a request hides.
fn upgrades() -> Vec<Row> {
    let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    vec![
        refused(400, format!("{upgrade}{key}Content-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len())),
        refused(400, format!("{upgrade}{key}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}")),
        refused(400, format!("{upgrade}\r\n{SMUGGLED}")),
        refused(400, format!("{upgrade}{key}{key}\r\n{SMUGGLED}")),
        refused(400, format!("{upgrade}Sec-WebSocket-Key: short\r\n\r\n{SMUGGLED}")),
    ]
}

fn too_long() -> Vec<Row> {
    vec![
        refused(414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8 * 1024))),
        refused(414, format!("GET /{}", "a".repeat(20_000))),
        refused(431, format!("GET / HTTP/1.1\r\nHost: a\r\nA: {}\r\n\r\n", "b".repeat(32 * 1024))),
        refused(431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(100))),
        refused(431, format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "A: b\r\n".repeat(6000))),
        refused(
            413,
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\n\r\n{}", "a".repeat(1025)),
        ),
        // The head alone is enough, and a client that waits for a 100 is told before it sends anything.
        refused(413, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1025\r\n\r\n"),
        refused(413, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1152921504606846976\r\n\r\n"),
        refused(
            413,
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n401\r\n{}\r\n0\r\n\r\n{SMUGGLED}",
                "a".repeat(1025)
            ),
        ),
        refused(
            413,
            format!(
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{}0\r\n\r\n{SMUGGLED}",
                "100\r\n".to_owned().replace("100\r\n", &format!("100\r\n{}\r\n", "a".repeat(256))).repeat(5)
            ),
        ),
    ]
}

/// A refusal ends the connection: nothing behind it is read, and what came before it was answered.
fn pipelined() -> Vec<Row> {
    let first = "GET /first HTTP/1.1\r\nHost: a\r\n{ours}";
    let sent = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
    vec![
        refused_after(first, 400, format!("{sent}GET / HTTP/1.1\r\n\r\n{SMUGGLED}")),
        refused_after(first, 400, format!("{sent}GET / HTTP/1.1\nHost: a\n\n{SMUGGLED}")),
        refused_after(first, 505, format!("{sent}GET / HTTP/2.0\r\nHost: a\r\n\r\n{SMUGGLED}")),
        refused_after(
            "POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{ours}abc",
            400,
            // One byte more than was said.
            format!("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\0{SMUGGLED}"),
        ),
        refused_after(
            "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{ours}0\r\n\r\n",
            400,
            format!(
                "POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\0{SMUGGLED}"
            ),
        ),
    ]
}
