//! Answers that are legitimate, the unusual ones above all: they reach the client whole.

use crate::{Ending, GET, GET_10, GET_10_KEPT, GET_LAST, HEAD, POST, Row, WEBSOCKET, Want, whole};

pub(crate) fn rows() -> Vec<Row> {
    [
        heads(),
        put_right(),
        without_body(),
        chunks(),
        until_close(),
        to_http_10(),
        from_http_10(),
        interim(),
        surplus(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What nodes get wrong and every other proxy takes: its meaning is single, and the client gets it as it should have been.
fn put_right() -> Vec<Row> {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        whole(GET, "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", ok, "abc"),
        whole(GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\n\r\nabc", ok, "abc"),
        whole(GET, "HTTP/1.1 200 OK\nContent-Length: 3\r\n\nabc", ok, "abc"),
        whole(
            GET,
            "HTTP/1.1 103 Early Hints\nLink: </a>\n\nHTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
            ok,
            "abc",
        )
        .behind("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        whole(GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabc", ok, "abc"),
        whole(GET, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 03\r\n\r\nabc", ok, "abc"),
        whole(GET, format!("{chunked}3 \r\nabc\r\n0\t \r\n\r\n"), chunked, "3\r\nabc\r\n0\r\n\r\n"),
        whole(GET, format!("{chunked}3 ; a=b\r\nabc\r\n0\r\n\r\n"), chunked, "3\r\nabc\r\n0\r\n\r\n"),
        whole(
            GET,
            "HTTP/1.1 600 Odd\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 600 Odd\r\nContent-Length: 3\r\n\r\n",
            "abc",
        ),
        whole(
            GET,
            "HTTP/1.1 999\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n",
            "",
        ),
    ]
}

fn heads() -> Vec<Row> {
    let long = "v".repeat(20_000);
    vec![
        whole(
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "abc",
        ),
        whole(
            POST,
            "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        whole(
            GET,
            "HTTP/1.1 404 Not  Here\r\nsEt-cookie: a\r\nSet-Cookie: b\r\nX-Tab: a\tb\r\nEmpty:\r\ncontent-length: 3\r\n\r\nabc",
            "HTTP/1.1 404 Not  Here\r\nsEt-cookie: a\r\nSet-Cookie: b\r\nX-Tab: a\tb\r\nEmpty: \r\ncontent-length: 3\r\n\r\n",
            "abc",
        ),
        whole(
            GET,
            "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        whole(
            GET,
            "HTTP/1.1 200 Déjà vu\r\nX: é\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 Déjà vu\r\nX: é\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        // The reason may be left out, the space before it may not (RFC 9112 section 4).
        whole(
            GET,
            "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        // What is meant for us ends here.
        whole(
            GET,
            "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-H\r\nX-H: 1\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\n\
             Proxy-Connection: close\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
        // The node closes; the client need not.
        whole(
            GET,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "abc",
        )
        .then(Ending::Fin),
        whole(
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "abc",
        )
        .then(Ending::Fin),
        whole(
            GET_LAST,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n",
            "abc",
        ),
        whole(
            GET,
            format!("HTTP/1.1 200 OK\r\nX: {long}\r\nContent-Length: 0\r\n\r\n"),
            &format!("HTTP/1.1 200 OK\r\nX: {long}\r\nContent-Length: 0\r\n\r\n"),
            "",
        ),
        // A handshake that the node refuses is an exchange like any other.
        whole(
            WEBSOCKET,
            "HTTP/1.1 400 Bad Request\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nno!",
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\n",
            "no!",
        ),
        whole(
            WEBSOCKET,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "abc",
        ),
    ]
}

/// RFC 9112 section 6.3: to HEAD, and in 1xx, 204 and 304, there is none, whatever the head says.
fn without_body() -> Vec<Row> {
    vec![
        whole(
            HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "",
        ),
        whole(HEAD, "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", ""),
        whole(
            HEAD,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "",
        ),
        whole(GET, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        whole(
            GET,
            "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "",
        ),
        whole(
            GET,
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "",
        ),
        whole(
            GET,
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n",
            "",
        ),
        // A node that sends one all the same has said something that is no answer to anybody.
        whole(
            HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "",
        )
        .with_surplus("abc"),
        whole(GET, "HTTP/1.1 304 Not Modified\r\n\r\n", "HTTP/1.1 304 Not Modified\r\n\r\n", "")
            .with_surplus("abc"),
        whole(GET, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", "")
            .with_surplus("abc"),
    ]
}

fn chunks() -> Vec<Row> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = |body: &str| format!("{head}{body}");
    vec![
        whole(
            GET,
            answer("3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n"),
            head,
            "3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n",
        ),
        whole(GET, answer("0\r\n\r\n"), head, "0\r\n\r\n"),
        whole(GET, answer("3;a=b\r\nabc\r\n0;c\r\n\r\n"), head, "3\r\nabc\r\n0\r\n\r\n"),
        whole(
            GET,
            answer("3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n"),
            head,
            "3\r\nabc\r\n0\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n",
        ),
        whole(
            GET,
            answer(
                "3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\n",
            ),
            head,
            "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n",
        ),
        whole(
            GET,
            "HTTP/1.1 200 OK\r\ntransfer-encoding: \tChunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            head,
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        whole(
            GET_LAST,
            answer("3\r\nabc\r\n0\r\n\r\n"),
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
        ),
    ]
}

/// A body that ends with the node's connection gets a frame, so that the client's need not end, and a cut shows.
fn until_close() -> Vec<Row> {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        whole(GET, "HTTP/1.1 200 OK\r\n\r\nabcdefghijklmnop", head, "abcdefghijklmnop").then(Ending::Fin),
        whole(GET, "HTTP/1.1 200 OK\r\n\r\n", head, "").then(Ending::Fin),
        whole(GET, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0\r\n\r\n!", head, "0\r\n\r\n!")
            .then(Ending::Fin),
        whole(
            GET_10,
            "HTTP/1.1 200 OK\r\n\r\nabcdefghijklmnop",
            "HTTP/1.1 200 OK\r\n\r\n",
            "abcdefghijklmnop",
        )
        .then(Ending::Fin),
        whole(
            GET_10_KEPT,
            "HTTP/1.1 200 OK\r\n\r\nabcdefghijklmnop",
            "HTTP/1.1 200 OK\r\n\r\n",
            "abcdefghijklmnop",
        )
        .then(Ending::Fin),
    ]
}

/// HTTP/1.0 knows neither chunks nor interim answers.
fn to_http_10() -> Vec<Row> {
    vec![
        whole(
            GET_10,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "abc",
        ),
        whole(
            GET_10_KEPT,
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
            "abc",
        ),
        whole(
            GET_10_KEPT,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "abcde",
        ),
        whole(
            GET_10,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "abc",
        ),
    ]
}

fn from_http_10() -> Vec<Row> {
    vec![
        whole(
            GET,
            "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "abc",
        )
        .then(Ending::Fin),
        whole(
            GET,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "abc",
        ),
        whole(
            GET,
            "HTTP/1.0 200 OK\r\n\r\nabcdefghijklmnop",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "abcdefghijklmnop",
        )
        .then(Ending::Fin),
        // Without a length it cannot mean to be kept, whatever it says.
        whole(
            GET,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nabcdefghijklmnop",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "abcdefghijklmnop",
        )
        .then(Ending::Fin),
    ]
}

/// Interim answers are passed on as they come, and the final one is not lost behind them.
fn interim() -> Vec<Row> {
    let last = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    let behind = |interim: &[&str]| Row {
        asks: GET,
        answers: format!("{}{last}abc", interim.concat()).into_bytes(),
        surplus: "",
        end: Ending::StaysOpen,
        want: Want::Whole {
            heads: interim.iter().copied().chain([last]).map(str::to_owned).collect(),
            body: b"abc".to_vec(),
        },
    };
    vec![
        behind(&["HTTP/1.1 100 Continue\r\n\r\n"]),
        behind(&["HTTP/1.1 102 Processing\r\n\r\n"]),
        behind(&["HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nLink: </b.js>\r\n\r\n"]),
        behind(&["HTTP/1.1 199 Odd\r\nX: y\r\n\r\n"]),
        behind(&[
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: b\r\n\r\n",
        ]),
        behind(&["HTTP/1.1 102 Processing\r\n\r\n"; 60]),
        // They have no body, whatever they say.
        Row {
            asks: GET,
            answers: format!("HTTP/1.1 103 Hints\r\nContent-Length: 3\r\n\r\n{last}abc").into_bytes(),
            surplus: "",
            end: Ending::StaysOpen,
            want: Want::Whole {
                heads: vec!["HTTP/1.1 103 Hints\r\n\r\n".to_owned(), last.to_owned()],
                body: b"abc".to_vec(),
            },
        },
    ]
}

/// Bytes behind an answer are the answer to nothing: neither this client nor the next one on that connection gets
/// them.
fn surplus() -> Vec<Row> {
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let refusal = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    [
        whole(GET, format!("{length}abc"), length, "abc"),
        whole(GET, format!("{chunked}0\r\n\r\n"), chunked, "0\r\n\r\n"),
        whole(HEAD, length, length, ""),
        whole(GET, "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n", ""),
        whole(WEBSOCKET, refusal, refusal, ""),
    ]
    .map(|row| row.with_surplus("HTTP/1.1 200 OK\r\nAsked: poison\r\nContent-Length: 0\r\n\r\n"))
    .into()
}
