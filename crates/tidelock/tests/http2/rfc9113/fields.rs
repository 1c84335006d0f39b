//! Fields (section 8.2), and how they are compressed (RFC 7541).

use testkit::http2::{Frame, get, kind};

use super::Want::{Answer, Goaway, Reset};
use super::{COMPRESSION_ERROR, END, END_HEADERS, PROTOCOL_ERROR, Row, get_with, one, post_with};

pub(super) fn section_8_fields() -> Vec<Row> {
    vec![
        ("8.2.1 upper case in a name", get_with(&[("X-A", "1")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 a blank in a name", get_with(&[("x a", "1")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 a colon in a name", get_with(&[("x:a", "1")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 CR in a name", get_with(&[("x\ra", "1")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 LF in a name", get_with(&[("x\na", "1")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 NUL in a name", get_with(&[("x\0a", "1")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 DEL in a name", get_with(&[("x\x7fa", "1")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 an empty name", get_with(&[("", "1")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 CR in a value", get_with(&[("x-a", "1\r2")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 LF in a value", get_with(&[("x-a", "1\n2")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 NUL in a value", get_with(&[("x-a", "1\x002")]), Reset(PROTOCOL_ERROR)),
        ("8.2.1 a blank before a value", get_with(&[("x-a", " 1")]), Answer(1, 400)),
        ("8.2.1 a blank behind a value", get_with(&[("x-a", "1 ")]), Answer(1, 400)),
        ("8.2.1 a tab before a value", get_with(&[("x-a", "\t1")]), Answer(1, 400)),
        ("8.2.1 an empty value", get_with(&[("x-a", "")]), Answer(1, 200)),
        ("8.2.2 Connection", get_with(&[("connection", "close")]), Reset(PROTOCOL_ERROR)),
        ("8.2.2 Keep-Alive", get_with(&[("keep-alive", "timeout=5")]), Reset(PROTOCOL_ERROR)),
        ("8.2.2 Proxy-Connection", get_with(&[("proxy-connection", "close")]), Reset(PROTOCOL_ERROR)),
        (
            "8.2.2 Transfer-Encoding",
            post_with(&[("transfer-encoding", "chunked")], &[Frame::data(1, END, "0\r\n\r\n")]),
            Reset(PROTOCOL_ERROR),
        ),
        ("8.2.2 Upgrade", get_with(&[("upgrade", "websocket")]), Reset(PROTOCOL_ERROR)),
        ("8.2.2 TE of trailers", get_with(&[("te", "trailers")]), Answer(1, 200)),
        ("8.2.2 another TE", get_with(&[("te", "gzip")]), Reset(PROTOCOL_ERROR)),
        ("8.2.2 TE of trailers and more", get_with(&[("te", "trailers, gzip")]), Reset(PROTOCOL_ERROR)),
        ("8.2.3 crumbs of a cookie", get_with(&[("cookie", "a=1"), ("cookie", "b=2")]), Answer(1, 200)),
    ]
}

pub(super) fn hpack() -> Vec<Row> {
    let block = |bytes: &[u8]| one(kind::HEADERS, END | END_HEADERS, 1, bytes);
    let whole = testkit::http2::block(&get("/x"));
    vec![
        (
            "7541 4.2 a table larger than allowed",
            block(&[&[0x3f, 0xe2, 0x7f][..], &whole].concat()),
            Goaway(COMPRESSION_ERROR),
        ),
        ("7541 4.2 a table of size 0", block(&[&[0x20][..], &whole].concat()), Answer(1, 200)),
        ("7541 4.2 a size behind a field", block(&[&whole[..], &[0x20]].concat()), Goaway(COMPRESSION_ERROR)),
        (
            "7541 5.1 a number without an end",
            block(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Goaway(COMPRESSION_ERROR),
        ),
        (
            "7541 5.2 EOS in a Huffman string",
            block(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'x']),
            Goaway(COMPRESSION_ERROR),
        ),
        (
            "7541 5.2 padding of more than seven bits",
            block(&[&whole[..], &[0, 0x82, 0x1f, 0xff, 1, b'x']].concat()),
            Goaway(COMPRESSION_ERROR),
        ),
        (
            "7541 5.2 padding that is not of EOS",
            block(&[&whole[..], &[0, 0x81, 0x18, 1, b'x']].concat()),
            Goaway(COMPRESSION_ERROR),
        ),
        ("7541 indexed fields", block(&[0x82, 0x86, 0x84, 0x41, 1, b'a']), Answer(1, 200)),
        (
            "7541 a literal that is never indexed",
            block(&[&whole[..], &[0x10, 3, b'x', b'-', b'a', 1, b'1']].concat()),
            Answer(1, 200),
        ),
    ]
}
