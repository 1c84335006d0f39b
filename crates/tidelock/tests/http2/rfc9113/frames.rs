//! Frames, header blocks and the states of streams (sections 4 and 5).

use testkit::http2::{Frame, block, get, kind};

use super::Want::{Answer, Goaway, Ignored, Reset};
use super::{
    COMPRESSION_ERROR, END, END_HEADERS, FRAME_SIZE_ERROR, PROTOCOL_ERROR, Row, STREAM_CLOSED, frames, one,
    post, request,
};

pub(super) fn section_4_frames() -> Vec<Row> {
    vec![
        ("4.1 an unknown type is ignored", one(0xfa, 0, 0, *b"x"), Ignored),
        ("4.1 an unknown type on a stream is ignored", one(0xfa, 0xff, 5, *b"x"), Ignored),
        (
            "4.1 the reserved bit is ignored",
            {
                let mut bytes = request(1).bytes();
                bytes[5] |= 0x80;
                bytes
            },
            Answer(1, 200),
        ),
        ("4.1 flags without a meaning are ignored", one(kind::PING, 0xfe, 0, [1; 8]), Ignored),
        (
            "4.2 the longest frame is taken",
            frames(&[post(1), Frame::data(1, END, vec![b'x'; 16_384])]),
            Answer(1, 200),
        ),
        (
            "4.2 DATA longer than SETTINGS_MAX_FRAME_SIZE",
            frames(&[post(1), Frame::data(1, END, vec![b'x'; 16_385])]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "4.2 HEADERS longer than SETTINGS_MAX_FRAME_SIZE",
            one(kind::HEADERS, END | END_HEADERS, 1, vec![0; 16_385]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "4.2 SETTINGS longer than SETTINGS_MAX_FRAME_SIZE",
            one(kind::SETTINGS, 0, 0, vec![0; 16_386]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        ("4.2 an unknown type longer than that", one(0xfa, 0, 0, vec![0; 16_385]), Goaway(FRAME_SIZE_ERROR)),
        ("4.2 PING of 7 bytes", one(kind::PING, 0, 0, [0; 7]), Goaway(FRAME_SIZE_ERROR)),
    ]
}

pub(super) fn section_4_header_blocks() -> Vec<Row> {
    vec![
        (
            "4.3 an index beyond the tables",
            one(kind::HEADERS, END | END_HEADERS, 1, [0xff, 0xff, 0x01]),
            Goaway(COMPRESSION_ERROR),
        ),
        ("4.3 index 0", one(kind::HEADERS, END | END_HEADERS, 1, [0x80]), Goaway(COMPRESSION_ERROR)),
        (
            "4.3 a block that ends in a literal",
            one(kind::HEADERS, END | END_HEADERS, 1, [0, 5, b'a']),
            Goaway(COMPRESSION_ERROR),
        ),
        (
            "4.3 HEADERS without END_HEADERS, and then DATA",
            [one(kind::HEADERS, 0, 1, block(&get("/x"))), one(kind::DATA, END, 1, *b"x")].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "4.3 the same, and HEADERS of another stream",
            [one(kind::HEADERS, END, 1, block(&get("/x"))), request(3).bytes()].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "4.3 the same, and a PING",
            [one(kind::HEADERS, END, 1, block(&get("/x"))), one(kind::PING, 0, 0, [0; 8])].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "4.3 the same, and an unknown type",
            [one(kind::HEADERS, END, 1, block(&get("/x"))), one(0xfa, 0, 0, *b"x")].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "4.3 a block of which a field is cut",
            {
                let block = block(&get("/x"));
                let (first, rest) = block.split_at(7);
                [one(kind::HEADERS, END, 1, first), one(kind::CONTINUATION, END_HEADERS, 1, rest)].concat()
            },
            Answer(1, 200),
        ),
    ]
}

pub(super) fn section_5_streams() -> Vec<Row> {
    let trailers = Frame::headers(1, END, &[("x-trailer", "1")]);
    vec![
        ("5.1 idle: DATA", one(kind::DATA, END, 1, *b"x"), Goaway(PROTOCOL_ERROR)),
        ("5.1 idle: RST_STREAM", Frame::reset(1, 8).bytes(), Goaway(PROTOCOL_ERROR)),
        ("5.1 idle: WINDOW_UPDATE", Frame::window(1, 1).bytes(), Goaway(PROTOCOL_ERROR)),
        (
            "5.1 idle: CONTINUATION",
            one(kind::CONTINUATION, END_HEADERS, 1, block(&get("/x"))),
            Goaway(PROTOCOL_ERROR),
        ),
        ("5.1 idle: PRIORITY is allowed", one(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16]), Ignored),
        (
            "5.1 half-closed: DATA",
            frames(&[post(1), Frame::data(1, END, "x"), Frame::data(1, END, "x")]),
            Reset(STREAM_CLOSED),
        ),
        (
            "5.1 half-closed: HEADERS",
            frames(&[post(1), Frame::data(1, END, "x"), trailers.clone()]),
            Goaway(STREAM_CLOSED),
        ),
        (
            "5.1 half-closed: WINDOW_UPDATE is allowed",
            frames(&[request(1), Frame::window(1, 1)]),
            Answer(1, 200),
        ),
        (
            "5.1 half-closed: PRIORITY is allowed",
            [request(1).bytes(), one(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16])].concat(),
            Answer(1, 200),
        ),
        ("5.1 half-closed: RST_STREAM is allowed", frames(&[request(1), Frame::reset(1, 8)]), Ignored),
        ("5.1 reset: HEADERS", frames(&[post(1), Frame::reset(1, 8), trailers]), Goaway(STREAM_CLOSED)),
        (
            "5.1 reset: DATA",
            frames(&[post(1), Frame::reset(1, 8), Frame::data(1, END, "x")]),
            Reset(STREAM_CLOSED),
        ),
        (
            "5.1 reset: PRIORITY is allowed",
            [frames(&[post(1), Frame::reset(1, 8)]), one(kind::PRIORITY, 0, 1, [0, 0, 0, 0, 16])].concat(),
            Ignored,
        ),
        (
            "5.1 reset: WINDOW_UPDATE is ignored",
            frames(&[post(1), Frame::reset(1, 8), Frame::window(1, 1)]),
            Ignored,
        ),
        (
            "5.1 reset: RST_STREAM is ignored",
            frames(&[post(1), Frame::reset(1, 8), Frame::reset(1, 8)]),
            Ignored,
        ),
        ("5.1.1 a stream of even number", request(2).bytes(), Goaway(PROTOCOL_ERROR)),
        ("5.1.1 stream 0", request(0).bytes(), Goaway(PROTOCOL_ERROR)),
        ("5.1.1 a smaller number than before", frames(&[request(5), request(3)]), Goaway(PROTOCOL_ERROR)),
        ("5.1.1 numbers may be left out", request(101).bytes(), Answer(101, 200)),
        (
            "5.1.1 what is left out is closed: DATA resets that stream",
            frames(&[request(5), Frame::data(3, END, "x")]),
            Ignored,
        ),
        (
            "5.4.1 a connection error is told by a GOAWAY",
            one(kind::SETTINGS, 0, 1, []),
            Goaway(PROTOCOL_ERROR),
        ),
        ("5.1.2 the largest number", request(0x7fff_ffff).bytes(), Answer(0x7fff_ffff, 200)),
        ("5.5 an unknown setting is ignored", Frame::settings(&[(0xff, 1)]).bytes(), Ignored),
    ]
}
