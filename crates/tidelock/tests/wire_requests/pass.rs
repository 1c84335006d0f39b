//! Requests that are legitimate, the unusual ones above all: they reach the node with the same boundaries, and as they
//! came where nothing says otherwise.

use crate::{Row, passes, passes_and_closes};

pub(crate) fn rows() -> Vec<Row> {
    [as_they_came(), targets(), bodies(), connections(), hop_by_hop(), forwarded(), upgrades()]
        .into_iter()
        .flatten()
        .collect()
}

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Lines and their order are none of our business.
fn as_they_came() -> Vec<Row> {
    let long = "v".repeat(20_000);
    vec![
        passes("GET / HTTP/1.1\r\nHost: a\r\n\r\n", ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes(
            "GET / HTTP/1.1\r\nX-B: 2\r\nhOsT: a\r\nX-A: 1\r\nCookie: a\r\nCookie: b\r\nEmpty:\r\n\r\n",
            ["GET / HTTP/1.1\r\nX-B: 2\r\nhOsT: a\r\nX-A: 1\r\nCookie: a\r\nCookie: b\r\nEmpty: \r\n{ours}"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost:\ta \t\r\nX-Tab: a\tb\r\nX-Text: é ü \"\\\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\nX-Tab: a\tb\r\nX-Text: é ü \"\\\r\n{ours}"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~9: odd name\r\nUnder_Score: stays\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n!#$%&'*+-.^_`|~9: odd name\r\nUnder_Score: stays\r\n{ours}"],
        ),
        passes(
            format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n"),
            [&format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n{{ours}}")],
        ),
        passes(
            format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(99)),
            [&format!("GET / HTTP/1.1\r\nHost: a\r\n{}{{ours}}", "A: b\r\n".repeat(99))],
        ),
        passes(
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {TRACE}\r\ntracestate: a=b\r\ntracestate: c=d\r\n\r\n"
            ),
            [&format!(
                "GET / HTTP/1.1\r\nHost: a\r\nTraceparent: {TRACE}\r\ntracestate: a=b\r\ntracestate: c=d\r\n{{ours}}"
            )],
        ),
        // Of which trace that is, nobody could say.
        passes(
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: {TRACE}\r\ntraceparent: {TRACE}\r\nA: b\r\ntracestate: a=b\r\n\r\n"
            ),
            ["GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n{ours}"],
        ),
        passes(
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\ntracestate: a=b\r\ntraceparent: {TRACE}-more\r\nA: b\r\n\r\n"
            ),
            ["GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n{ours}"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\ntracestate: a=b\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", ["HEAD / HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", ["M-SEARCH / HTTP/1.1\r\nHost: a\r\n{ours}"]),
        // Methods are case-sensitive (RFC 9110 section 9.1): this is not GET, and the node may say so.
        passes("get / HTTP/1.1\r\nHost: a\r\n\r\n", ["get / HTTP/1.1\r\nHost: a\r\n{ours}"]),
        // An empty line before a request is ignored (RFC 9112 section 2.2); some clients send one behind a body.
        passes("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", ["GET / HTTP/1.1\r\nHost: [::1]:80\r\n{ours}"]),
        passes(
            "GET / HTTP/1.1\r\nHost: my_app.local.:8080\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: my_app.local.:8080\r\n{ours}"],
        ),
        // The same name without its dot and its colon, and the node gets what was sent.
        passes("GET / HTTP/1.1\r\nHost: a.:\r\n\r\n", ["GET / HTTP/1.1\r\nHost: a.:\r\n{ours}"]),
        // What Host says is a name for the node, not a place to go to.
        passes("GET / HTTP/1.1\r\nHost: {decoy}\r\n\r\n", ["GET / HTTP/1.1\r\nHost: {decoy}\r\n{ours}"]),
    ]
}

/// Paths are passed on as they came: whoever decodes them twice is behind us.
fn targets() -> Vec<Row> {
    let long = "a".repeat(8100);
    vec![
        passes(
            "GET /%2e%2e//a;b/..;/%2F HTTP/1.1\r\nHost: a\r\n\r\n",
            ["GET /%2e%2e//a;b/..;/%2F HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes("GET //decoy/ HTTP/1.1\r\nHost: a\r\n\r\n", ["GET //decoy/ HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes(
            "GET /?a=b&&c=%zz?/@:,|\" HTTP/1.1\r\nHost: a\r\n\r\n",
            ["GET /?a=b&&c=%zz?/@:,|\" HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes("GET /? HTTP/1.1\r\nHost: a\r\n\r\n", ["GET /? HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes(
            "GET /@{decoy}/ HTTP/1.1\r\nHost: a\r\n\r\n",
            ["GET /@{decoy}/ HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes(
            format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),
            [&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n{{ours}}")],
        ),
        passes("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ["OPTIONS * HTTP/1.1\r\nHost: a\r\n{ours}"]),
        // Absolute-form must be accepted (RFC 9112 section 3.2.2), and becomes what a node expects.
        passes("GET http://a/b?c HTTP/1.1\r\nHost: a\r\n\r\n", ["GET /b?c HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes("GET HTTP://A:80 HTTP/1.1\r\nHost: a\r\n\r\n", ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes("GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n", ["GET /?b HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes("OPTIONS http://a HTTP/1.1\r\nHost: a\r\n\r\n", ["OPTIONS * HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes(
            "GET http://{decoy}/ HTTP/1.1\r\nHost: {decoy}\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: {decoy}\r\n{ours}"],
        ),
    ]
}

fn bodies() -> Vec<Row> {
    let full = "z".repeat(1024);
    vec![
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{ours}abc"],
        ),
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n{ours}"],
        ),
        passes("POST / HTTP/1.1\r\nHost: a\r\n\r\n", ["POST / HTTP/1.1\r\nHost: a\r\n{ours}"]),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            ["GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{ours}abc"],
        ),
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            [
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{ours}abc",
                "GET /2 HTTP/1.1\r\nHost: a\r\n{ours}",
            ],
        ),
        // A body may look like anything.
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 32\r\n\r\nGET /body HTTP/1.1\r\nHost: a\r\n\r\n!",
            [
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 32\r\n{ours}GET /body HTTP/1.1\r\nHost: a\r\n\r\n!",
            ],
        ),
        passes(
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n\r\n{full}"),
            [&format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1024\r\n{{ours}}{full}")],
        ),
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n",
            [
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{ours}3\r\nabc\r\n00A\r\n0123456789\r\n0\r\n\r\n",
            ],
        ),
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding:  CHUNKED \r\n\r\n0\r\n\r\n",
            ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{ours}0\r\n\r\n"],
        ),
        // Extensions mean nothing beyond one connection and are left out (RFC 9112 section 7.1.1).
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b;c\"\r\nabc\r\n0;last\r\n\r\n",
            ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{ours}3\r\nabc\r\n0\r\n\r\n"],
        ),
        // Trailers pass, but for those that frame or route (RFC 9110 section 6.5.1).
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nHost: b\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
            ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n{ours}\
              3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"],
        ),
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n0\r\n\r\n\r\n0\r\n\r\n",
            ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{ours}5\r\n0\r\n\r\n\r\n0\r\n\r\n"],
        ),
    ]
}

fn connections() -> Vec<Row> {
    vec![
        passes(
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\nHEAD /3 HTTP/1.1\r\nHost: c\r\n\r\n",
            [
                "GET /1 HTTP/1.1\r\nHost: a\r\n{ours}",
                "GET /2 HTTP/1.1\r\nHost: b\r\n{ours}",
                "HEAD /3 HTTP/1.1\r\nHost: c\r\n{ours}",
            ],
        ),
        passes_and_closes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n{ours}",
        ),
        // What comes behind the last request of a connection is nobody's.
        passes_and_closes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, CLOSE\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n{ours}",
        ),
        passes_and_closes("GET / HTTP/1.0\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\n{ours}"),
        passes(
            "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        // HTTP/1.0 needs no Host, but what we make of it does.
        passes_and_closes("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nHost: {node}\r\n{ours}"),
        passes_and_closes(
            "POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nContent-Length: 3\r\nHost: {node}\r\n{ours}abc",
        ),
        // Nor does it need one beside the host in its target.
        passes_and_closes(
            "GET http://a.example/x HTTP/1.0\r\n\r\n",
            "GET /x HTTP/1.1\r\nHost: a.example\r\n{ours}",
        ),
        // A 100 cannot be sent to HTTP/1.0 (RFC 9110 section 10.1.1).
        passes_and_closes(
            "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{ours}abc",
        ),
    ]
}

/// What is meant for the next hop ends here, and cannot be used to take away what we say.
fn hop_by_hop() -> Vec<Row> {
    vec![
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-secret , ,X-OTHER\r\nX-Secret: 1\r\nx-other: 2\r\nKeep-Alive: timeout=5\r\n\
             TE: trailers\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: b\r\nProxy-Authenticate: c\r\nX-Stays: 3\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\nX-Stays: 3\r\n{ours}"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: Cookie\r\nCookie: a\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: x-forwarded-for, x-real-ip, x-forwarded-proto, x-forwarded-host, \
             x-forwarded-port, host, connection\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\nContent-Length: 3\r\n\r\nabc",
            ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{ours}abc"],
        ),
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            ["POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{ours}0\r\n\r\n"],
        ),
    ]
}

/// A client says nothing about itself that we do not know better.
fn forwarded() -> Vec<Row> {
    vec![
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nx-real-ip: 1.1.1.1\r\n\
             Forwarded: for=1.1.1.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Port: 1\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        // CGI and its kin take these for the others.
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nX_Forwarded_For: 1.1.1.1\r\nX_FORWARDED-FOR: 1.1.1.1\r\nX-Forwarded_For: 1.1.1.1\r\n\
             X_Real_IP: 1.1.1.1\r\nX_Forwarded_Proto: https\r\nX_Forwarded_Host: evil\r\nX_Forwarded_Port: 1\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        // Nor does it say what the front doors of others would.
        passes(
            "GET / HTTP/1.1\r\nHost: a:8443\r\nTrue-Client-IP: 1.1.1.1\r\nCF-Connecting-IP: 1.1.1.1\r\nX-Client-IP: 1.1.1.1\r\n\
             X-Cluster-Client-IP: 1.1.1.1\r\nFastly-Client-IP: 1.1.1.1\r\nFront-End-Https: on\r\nX-Url-Scheme: https\r\n\
             X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nX-Forwarded-Prefix: /a\r\nX-Forwarded-User: root\r\n\
             X_Forwarded_User: root\r\nTransfer_Encoding: chunked\r\nContent_Length: 3\r\nMy_Token: 1\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a:8443\r\nMy_Token: 1\r\n{ours}"],
        ),
    ]
}

/// Every Upgrade but a WebSocket's is left out, and the request goes on as the ordinary one that it also is.
fn upgrades() -> Vec<Row> {
    const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    vec![
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes(
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
            ["POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{ours}abc"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n\r\n",
            ["GET / HTTP/1.1\r\nHost: a\r\n{ours}"],
        ),
        // Without the connection option, or in HTTP/1.0, Upgrade asks for nothing (RFC 9110 section 7.8).
        passes(
            format!("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n{KEY}\r\n"),
            [&format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}{{ours}}")],
        ),
        passes_and_closes(
            format!("GET / HTTP/1.0\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEY}\r\n"),
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{KEY}{{ours}}"),
        ),
        // A handshake is a GET (RFC 6455 section 4.1).
        passes(
            format!("POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{KEY}\r\n"),
            [&format!("POST / HTTP/1.1\r\nHost: a\r\n{KEY}{{ours}}")],
        ),
        // 22 characters and `==`, which some devices send, are a key, also where they are the base64 of nothing.
        passes(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abcdefghijklmnopqrstuv==\r\n\r\n",
            [
                "GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: abcdefghijklmnopqrstuv==\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{ours}",
            ],
        ),
        // The node may refuse the handshake; what it answers is an answer, and the connection goes on.
        passes(
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n{KEY}Sec-WebSocket-Version: 13\r\n\r\n"
            ),
            [&format!(
                "GET / HTTP/1.1\r\nHost: a\r\n{KEY}Sec-WebSocket-Version: 13\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{{ours}}"
            )],
        ),
    ]
}
