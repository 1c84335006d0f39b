//! Requests: their content, and their pseudo-header fields (sections 8.1, 8.3 and 8.5, and RFC 8441).

use testkit::http2::Frame;

use super::Want::{Answer, Reset};
use super::{END, PROTOCOL_ERROR, Row, fields, frames, get_with, post, post_with};

pub(super) fn section_8_messages() -> Vec<Row> {
    let trailers = |fields: &[(&str, &str)], flags: u8| Frame::headers(1, flags, fields);
    vec![
        (
            "8.1 trailers end a stream",
            frames(&[post(1), Frame::data(1, 0, "x"), trailers(&[("x-sum", "1")], END)]),
            Answer(1, 200),
        ),
        (
            "8.1 trailers without content",
            frames(&[post(1), trailers(&[("x-sum", "1")], END)]),
            Answer(1, 200),
        ),
        (
            "8.1 trailers that do not end it",
            frames(&[post(1), Frame::data(1, 0, "x"), trailers(&[("x-sum", "1")], 0)]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1 a pseudo-header in trailers, which the codec leaves out (it MUST be a stream error)",
            frames(&[post(1), Frame::data(1, 0, "x"), trailers(&[(":path", "/")], END)]),
            Answer(1, 200),
        ),
        (
            "8.1 a connection-specific field in trailers",
            frames(&[post(1), Frame::data(1, 0, "x"), trailers(&[("connection", "close")], END)]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1 upper case in trailers",
            frames(&[post(1), Frame::data(1, 0, "x"), trailers(&[("X-Sum", "1")], END)]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 less content than Content-Length",
            post_with(&[("content-length", "2")], &[Frame::data(1, END, "x")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 more content than Content-Length",
            post_with(&[("content-length", "1")], &[Frame::data(1, END, "xx")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 more in several frames",
            post_with(&[("content-length", "2")], &[Frame::data(1, 0, "xx"), Frame::data(1, END, "x")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 content where it is 0",
            post_with(&[("content-length", "0")], &[Frame::data(1, END, "x")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 none where HEADERS end the stream",
            get_with(&[("content-length", "1")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 less, with trailers",
            post_with(
                &[("content-length", "2")],
                &[Frame::data(1, 0, "x"), trailers(&[("x-sum", "1")], END)],
            ),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 as much as it says",
            post_with(&[("content-length", "2")], &[Frame::data(1, 0, "x"), Frame::data(1, END, "x")]),
            Answer(1, 200),
        ),
        (
            "8.1.1 two lengths that differ",
            post_with(&[("content-length", "1"), ("content-length", "2")], &[Frame::data(1, END, "x")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 a length that is no number",
            post_with(&[("content-length", "x")], &[Frame::data(1, END, "x")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1.1 a negative length",
            post_with(&[("content-length", "-1")], &[Frame::data(1, END, "x")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.1 HEAD has no content",
            fields(&[(":method", "HEAD"), (":scheme", "http"), (":path", "/x"), (":authority", "a")]),
            Answer(1, 200),
        ),
    ]
}

pub(super) fn section_8_pseudo() -> Vec<Row> {
    let (method, scheme) = ((":method", "GET"), (":scheme", "http"));
    let (path, authority) = ((":path", "/x"), (":authority", "a"));
    vec![
        (
            "8.3 behind a field",
            fields(&[method, scheme, ("x-a", "1"), path, authority]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.3 one that nobody knows",
            fields(&[method, scheme, path, authority, (":other", "1")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.3 one of an answer",
            fields(&[method, scheme, path, authority, (":status", "200")]),
            Reset(PROTOCOL_ERROR),
        ),
        ("8.3 upper case", fields(&[(":Method", "GET"), scheme, path, authority]), Reset(PROTOCOL_ERROR)),
        ("8.3.1 :method twice", fields(&[method, method, scheme, path, authority]), Reset(PROTOCOL_ERROR)),
        ("8.3.1 :scheme twice", fields(&[method, scheme, scheme, path, authority]), Reset(PROTOCOL_ERROR)),
        ("8.3.1 :path twice", fields(&[method, scheme, path, path, authority]), Reset(PROTOCOL_ERROR)),
        (
            "8.3.1 :authority twice",
            fields(&[method, scheme, path, authority, authority]),
            Reset(PROTOCOL_ERROR),
        ),
        ("8.3.1 no :method", fields(&[scheme, path, authority]), Reset(PROTOCOL_ERROR)),
        ("8.3.1 no :scheme", fields(&[method, path, authority]), Reset(PROTOCOL_ERROR)),
        ("8.3.1 no :path", fields(&[method, scheme, authority]), Reset(PROTOCOL_ERROR)),
        ("8.3.1 an empty :path", fields(&[method, scheme, (":path", ""), authority]), Reset(PROTOCOL_ERROR)),
        (
            "8.3.1 an empty :method",
            fields(&[(":method", ""), scheme, path, authority]),
            Reset(PROTOCOL_ERROR),
        ),
        ("8.3.1 no :authority, and Host", fields(&[method, scheme, path, ("host", "a")]), Answer(1, 200)),
        ("8.3.1 neither", fields(&[method, scheme, path]), Answer(1, 400)),
        (
            "8.3.1 :authority and the same Host",
            fields(&[method, scheme, path, authority, ("host", "a")]),
            Answer(1, 200),
        ),
        (
            "8.3.1 :authority and another Host",
            fields(&[method, scheme, path, authority, ("host", "b")]),
            Answer(1, 400),
        ),
        (
            "8.3.1 user information in :authority",
            fields(&[method, scheme, path, (":authority", "u@a")]),
            Answer(1, 400),
        ),
        (
            "8.3.1 OPTIONS *",
            fields(&[(":method", "OPTIONS"), scheme, (":path", "*"), authority]),
            Answer(1, 200),
        ),
        (
            "8.3.1 a path that is none",
            fields(&[method, scheme, (":path", "x"), authority]),
            Reset(PROTOCOL_ERROR),
        ),
        ("8.5 CONNECT with :path", fields(&[(":method", "CONNECT"), path, authority]), Reset(PROTOCOL_ERROR)),
        (
            "8.5 CONNECT with :scheme",
            fields(&[(":method", "CONNECT"), scheme, authority]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8.5 CONNECT, which is not served",
            fields(&[(":method", "CONNECT"), (":authority", "a:80")]),
            Answer(1, 501),
        ),
        (
            "8441 :protocol without CONNECT",
            fields(&[method, scheme, path, authority, (":protocol", "websocket")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8441 a protocol that is not served",
            fields(&[(":method", "CONNECT"), scheme, path, authority, (":protocol", "x")]),
            Answer(1, 501),
        ),
        (
            "8441 an extended CONNECT without :path",
            fields(&[(":method", "CONNECT"), scheme, authority, (":protocol", "websocket")]),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "8441 an extended CONNECT without :scheme",
            fields(&[(":method", "CONNECT"), path, authority, (":protocol", "websocket")]),
            Reset(PROTOCOL_ERROR),
        ),
    ]
}
