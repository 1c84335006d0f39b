//! DATA, HEADERS, PRIORITY, RST_STREAM and PUSH_PROMISE (sections 6.1 to 6.6).

use testkit::http2::{Frame, block, flag, get, kind};

use super::Want::{Answer, Goaway, Ignored, Reset};
use super::{END, END_HEADERS, FRAME_SIZE_ERROR, PROTOCOL_ERROR, Row, frames, one, post, request};

pub(super) fn section_6_data() -> Vec<Row> {
    vec![
        ("6.1 DATA on stream 0", one(kind::DATA, 0, 0, *b"x"), Goaway(PROTOCOL_ERROR)),
        (
            "6.1 DATA with padding",
            [post(1).bytes(), one(kind::DATA, END | flag::PADDED, 1, *b"\x02x\0\0")].concat(),
            Answer(1, 200),
        ),
        (
            "6.1 DATA of padding alone",
            [post(1).bytes(), one(kind::DATA, END | flag::PADDED, 1, *b"\x02\0\0")].concat(),
            Answer(1, 200),
        ),
        (
            "6.1 padding as long as the payload",
            [post(1).bytes(), one(kind::DATA, END | flag::PADDED, 1, *b"\x04x\0\0")].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "6.1 padding longer than the payload",
            [post(1).bytes(), one(kind::DATA, END | flag::PADDED, 1, *b"\xffx\0\0")].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "6.1 padded, and without a length",
            [post(1).bytes(), one(kind::DATA, END | flag::PADDED, 1, [])].concat(),
            Goaway(FRAME_SIZE_ERROR),
        ),
        ("6.1 an empty DATA that ends", frames(&[post(1), Frame::data(1, END, "")]), Answer(1, 200)),
        (
            "6.1 an empty DATA before others",
            frames(&[post(1), Frame::data(1, 0, ""), Frame::data(1, END, "x")]),
            Answer(1, 200),
        ),
    ]
}

pub(super) fn section_6_headers() -> Vec<Row> {
    let block = block(&get("/x"));
    let padded = |length: u8, padding: usize| [&[length][..], &block, &vec![0; padding]].concat();
    let with_priority = |on: u32| [&on.to_be_bytes()[..], &[16], &block].concat();
    vec![
        (
            "6.2 HEADERS on stream 0",
            one(kind::HEADERS, END | END_HEADERS, 0, block.clone()),
            Goaway(PROTOCOL_ERROR),
        ),
        ("6.2 padded", one(kind::HEADERS, END | END_HEADERS | flag::PADDED, 1, padded(3, 3)), Answer(1, 200)),
        (
            "6.2 padding longer than what follows",
            one(kind::HEADERS, END | END_HEADERS | flag::PADDED, 1, padded(255, 3)),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "6.2 padded, and empty",
            one(kind::HEADERS, END | END_HEADERS | flag::PADDED, 1, []),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "6.2 with a priority",
            one(kind::HEADERS, END | END_HEADERS | flag::PRIORITY, 1, with_priority(0)),
            Answer(1, 200),
        ),
        (
            "6.2 with a priority that is cut",
            one(kind::HEADERS, END | END_HEADERS | flag::PRIORITY, 1, [0; 3]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "6.2 exclusive",
            one(kind::HEADERS, END | END_HEADERS | flag::PRIORITY, 1, with_priority(0x8000_0000)),
            Answer(1, 200),
        ),
        (
            "5.3.1 a stream that depends on itself",
            one(kind::HEADERS, END | END_HEADERS | flag::PRIORITY, 1, with_priority(1)),
            Reset(PROTOCOL_ERROR),
        ),
        (
            "6.2 padded and with a priority",
            one(
                kind::HEADERS,
                END | END_HEADERS | flag::PRIORITY | flag::PADDED,
                1,
                [&[2, 0, 0, 0, 0, 16][..], &block, &[0, 0]].concat(),
            ),
            Answer(1, 200),
        ),
    ]
}

pub(super) fn section_6_small() -> Vec<Row> {
    vec![
        ("6.3 PRIORITY on stream 0", one(kind::PRIORITY, 0, 0, [0, 0, 0, 0, 16]), Goaway(PROTOCOL_ERROR)),
        (
            "6.3 PRIORITY of 4 bytes",
            [request(1).bytes(), one(kind::PRIORITY, 0, 1, [0; 4])].concat(),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "6.3 PRIORITY of 6 bytes",
            [request(1).bytes(), one(kind::PRIORITY, 0, 1, [0; 6])].concat(),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "5.3.1 PRIORITY on itself",
            [post(1).bytes(), one(kind::PRIORITY, 0, 1, [0, 0, 0, 1, 16])].concat(),
            Reset(PROTOCOL_ERROR),
        ),
        ("6.4 RST_STREAM on stream 0", Frame::reset(0, 8).bytes(), Goaway(PROTOCOL_ERROR)),
        (
            "6.4 RST_STREAM of 3 bytes",
            [request(1).bytes(), one(kind::RST_STREAM, 0, 1, [0; 3])].concat(),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "6.4 RST_STREAM of 5 bytes",
            [request(1).bytes(), one(kind::RST_STREAM, 0, 1, [0; 5])].concat(),
            Goaway(FRAME_SIZE_ERROR),
        ),
        ("6.4 RST_STREAM of a code that nobody knows", frames(&[post(1), Frame::reset(1, 0xfff)]), Ignored),
        (
            "6.6 a client's PUSH_PROMISE",
            [
                request(1).bytes(),
                one(kind::PUSH_PROMISE, END_HEADERS, 1, [&[0, 0, 0, 2][..], &block(&get("/y"))].concat()),
            ]
            .concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "6.6 PUSH_PROMISE on stream 0",
            one(kind::PUSH_PROMISE, END_HEADERS, 0, [0, 0, 0, 2]),
            Goaway(PROTOCOL_ERROR),
        ),
    ]
}
