//! What a node sees of a stream: exactly the request that was meant, or nothing. Every row is a header section, and what follows it,
//! in raw frames.

use testkit::http2::{Frame, flag, kind};

use crate::World;

/// What must come of a row.
enum Want {
    /// The node sees this: the lines up to those that the proxy adds, and the body with its frame.
    Sees(&'static str, &'static str),
    /// It sees nothing, and the client gets this status.
    Refused(u16),
    /// It sees nothing, and the stream is reset with PROTOCOL_ERROR.
    Reset,
}

use Want::{Refused, Reset, Sees};

type Fields = Vec<(&'static str, &'static str)>;

struct Row {
    fields: Fields,
    /// `None`: HEADERS end the stream.
    body: Option<&'static [&'static str]>,
    trailers: Fields,
    want: Want,
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "a")];
const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")];

fn row(fields: &[(&'static str, &'static str)], want: Want) -> Row {
    Row { fields: fields.to_vec(), body: None, trailers: Vec::new(), want }
}

fn get(more: &[(&'static str, &'static str)], want: Want) -> Row {
    row(&[&GET, more].concat(), want)
}

fn post(more: &[(&'static str, &'static str)], body: &'static [&'static str], want: Want) -> Row {
    Row { body: Some(body), ..row(&[&POST, more].concat(), want) }
}

/// A GET with this pseudo-header in the place of its own.
fn with(name: &'static str, value: &'static str, want: Want) -> Row {
    let fields: Fields =
        GET.iter().map(|&(own, said)| (own, if own == name { value } else { said })).collect();
    row(&fields, want)
}

fn rows() -> Vec<Row> {
    [heads(), hosts(), hidden(), bodies(), cookies()].into_iter().flatten().collect()
}

fn heads() -> Vec<Row> {
    vec![
        get(&[], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        get(&[("x-a", "1"), ("x-b", "2")], Sees("GET /x HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-b: 2\r\n", "")),
        get(&[("x-a", "1"), ("x-a", "2")], Sees("GET /x HTTP/1.1\r\nhost: a\r\nx-a: 1\r\nx-a: 2\r\n", "")),
        get(&[("te", "trailers")], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        get(&[("http2-settings", "AAMAAABk")], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        get(&[("proxy-authorization", "Basic x")], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        get(&[("x-forwarded-for", "6.6.6.6")], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        get(&[("x_forwarded_for", "6.6.6.6")], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        get(&[("content_length", "5")], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        with(":path", "/x?y=%20&z", Sees("GET /x?y=%20&z HTTP/1.1\r\nhost: a\r\n", "")),
        with(":path", "//x/../y", Sees("GET //x/../y HTTP/1.1\r\nhost: a\r\n", "")),
        with(":method", "DELETE", Sees("DELETE /x HTTP/1.1\r\nhost: a\r\n", "")),
        with(":method", "PROPFIND", Sees("PROPFIND /x HTTP/1.1\r\nhost: a\r\n", "")),
        with(":method", "POST", Sees("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n", "")),
        with(":scheme", "https", Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        with(":scheme", "ftp", Refused(400)),
        with(":scheme", "http://evil", Reset),
        with(":method", "GET / HTTP/1.1\r\nHost: evil", Reset),
        with(":method", "GE T", Reset),
        with(":path", "/x HTTP/1.1\r\nHost: evil\r\n\r\n", Reset),
        with(":path", "/x y", Reset),
        with(":path", "/x\ty", Reset),
        with(":path", "/x\x7f", Reset),
        with(":path", "http://evil/", Reset),
        with(":path", "evil:80", Reset),
        with(":path", "*", Refused(400)),
        with(":path", "?x", Refused(400)),
        // What stands behind `#` never travels; the codec takes it off.
        with(":path", "/x#y", Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
    ]
}

fn hosts() -> Vec<Row> {
    let said = |host: &'static str, want| {
        let mut fields: Fields = GET[..3].to_vec();
        fields.push(("host", host));
        row(&fields, want)
    };
    vec![
        with(":authority", "a:8080", Sees("GET /x HTTP/1.1\r\nhost: a:8080\r\n", "")),
        with(":authority", "[::1]", Sees("GET /x HTTP/1.1\r\nhost: [::1]\r\n", "")),
        with(":authority", "u@a", Refused(400)),
        with(":authority", "u:p@a", Refused(400)),
        with(":authority", "a,b", Refused(400)),
        with(":authority", "a b", Reset),
        with(":authority", "a/b", Reset),
        with(":authority", "a\r\nx: y", Reset),
        with(":authority", "a:99999999", Refused(400)),
        said("a", Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        said("a b", Refused(400)),
        said("u@a", Refused(400)),
        said("", Refused(400)),
        get(&[("host", "a")], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        get(&[("host", "A:80")], Sees("GET /x HTTP/1.1\r\nhost: a\r\n", "")),
        get(&[("host", "b")], Refused(400)),
        get(&[("host", "a:81")], Refused(400)),
        get(&[("host", "a"), ("host", "a")], Refused(400)),
        get(&[("host", "a, b")], Refused(400)),
        row(&GET[..3], Refused(400)),
    ]
}

/// A second request in what HTTP/1 would read as lines.
fn hidden() -> Vec<Row> {
    vec![
        get(&[("x-a", "1\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: a")], Reset),
        get(&[("x-a", "1\r\nx-b: 2")], Reset),
        get(&[("x-a", "1\nx-b: 2")], Reset),
        get(&[("x-a: 1\r\nx-b", "2")], Reset),
        get(&[("x-a:", "1")], Reset),
        get(&[("transfer-encoding", "chunked")], Reset),
        get(&[("transfer-encoding ", "chunked")], Reset),
        get(&[("connection", "content-length")], Reset),
        get(&[("upgrade", "h2c")], Reset),
        get(&[("keep-alive", "1")], Reset),
        get(&[("content-length", "35")], Reset),
        get(&[("content-length", "0")], Sees("GET /x HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n", "")),
        get(&[("x-a", " 1")], Refused(400)),
    ]
}

fn bodies() -> Vec<Row> {
    let trailing = |trailers: &[(&'static str, &'static str)], want| Row {
        trailers: trailers.to_vec(),
        ..post(&[], &["ab"], want)
    };
    let head = || "POST /x HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: chunked\r\n";
    vec![
        post(
            &[("content-length", "2")],
            &["ab"],
            Sees("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n", "ab"),
        ),
        post(
            &[("content-length", "2")],
            &["a", "b"],
            Sees("POST /x HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n", "ab"),
        ),
        post(&[], &["ab"], Sees(head(), "2\r\nab\r\n0\r\n\r\n")),
        post(&[], &[""], Sees(head(), "0\r\n\r\n")),
        post(
            &[],
            &["0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"],
            Sees(head(), "1f\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n\r\n0\r\n\r\n"),
        ),
        trailing(&[("x-sum", "1")], Sees(head(), "2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n")),
        trailing(&[("content-length", "5")], Sees(head(), "2\r\nab\r\n0\r\n\r\n")),
        trailing(&[("host", "evil")], Sees(head(), "2\r\nab\r\n0\r\n\r\n")),
        trailing(&[("cookie", "a=b")], Sees(head(), "2\r\nab\r\n0\r\n\r\n")),
    ]
}

fn cookies() -> Vec<Row> {
    vec![
        get(&[("cookie", "a=1")], Sees("GET /x HTTP/1.1\r\nhost: a\r\ncookie: a=1\r\n", "")),
        get(
            &[("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")],
            Sees("GET /x HTTP/1.1\r\nhost: a\r\ncookie: a=1; b=2; c=3\r\n", ""),
        ),
        get(
            &[("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2")],
            Sees("GET /x HTTP/1.1\r\nhost: a\r\nx-a: 1\r\ncookie: a=1; b=2\r\n", ""),
        ),
    ]
}

impl Row {
    fn frames(&self) -> Vec<u8> {
        let ends = if self.body.is_none() { flag::END_STREAM } else { 0 };
        let mut bytes = Frame::headers(1, ends, &self.fields).bytes();
        let pieces = self.body.unwrap_or_default();
        for (index, piece) in pieces.iter().enumerate() {
            let is_last = index + 1 == pieces.len() && self.trailers.is_empty();
            bytes.extend(Frame::data(1, if is_last { flag::END_STREAM } else { 0 }, piece).bytes());
        }
        if !self.trailers.is_empty() {
            bytes.extend(Frame::headers(1, flag::END_STREAM, &self.trailers).bytes());
        }
        bytes
    }
}

#[tokio::test]
async fn a_node_sees_what_was_meant_or_nothing() {
    let world = World::new().await;
    let rows = rows();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let what = format!("{:?} {:?} {:?}", row.fields, row.body, row.trailers);
        let before = world.origin.requests().len();
        let mut client = world.connect().await;
        client.send_bytes(row.frames()).await;
        let is_it = |frame: &Frame| match frame.kind {
            kind::HEADERS | kind::RST_STREAM => frame.stream == 1,
            // The codec takes what can be no field for an error of the connection.
            other => other == kind::GOAWAY,
        };
        let (answer, _) = client.until(is_it).await;
        let seen: Vec<String> = world.origin.requests()[before..]
            .iter()
            .map(|request| String::from_utf8_lossy(&request.raw).into_owned())
            .collect();
        let (is_as_wanted, expected) = match row.want {
            Sees(head, body) => {
                let is_seen = seen.len() == 1 && {
                    let (before, after) =
                        seen[0].split_once("X-Forwarded-For: 127.0.0.1\r\n").unwrap_or((&seen[0], ""));
                    let own = after.split_once("\r\n\r\n").unwrap_or_default();
                    before == head && own.1 == body
                };
                (is_seen && answer.status() == Some(200), format!("{head:?} {body:?}"))
            }
            Refused(status) => (seen.is_empty() && answer.status() == Some(status), status.to_string()),
            Reset => (seen.is_empty() && answer.code() == Some(1), "a reset".to_owned()),
        };
        if !is_as_wanted {
            wrong.push(format!(
                "{what}: wanted {expected}, got {:?} {:?}, {seen:?}",
                answer.status(),
                answer.code()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.assert_is_well().await;
}
