//! SETTINGS, PING, GOAWAY, WINDOW_UPDATE and CONTINUATION (sections 6.5 and 6.7 to 6.10).

use testkit::http2::{Frame, block, flag, get, kind};

use super::Want::{Answer, Goaway, Ignored, Reset};
use super::{
    END, END_HEADERS, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, PROTOCOL_ERROR, Row, frames, one, post, request,
};

pub(super) fn section_6_settings() -> Vec<Row> {
    let setting = |id: u16, value: u32| Frame::settings(&[(id, value)]).bytes();
    vec![
        (
            "6.5 an acknowledgement with a payload",
            one(kind::SETTINGS, flag::ACK, 0, [0; 6]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        ("6.5 SETTINGS on a stream", one(kind::SETTINGS, 0, 1, []), Goaway(PROTOCOL_ERROR)),
        ("6.5 SETTINGS of 5 bytes", one(kind::SETTINGS, 0, 0, [0; 5]), Goaway(FRAME_SIZE_ERROR)),
        ("6.5 empty SETTINGS", one(kind::SETTINGS, 0, 0, []), Ignored),
        ("6.5.2 ENABLE_PUSH of 2", setting(2, 2), Goaway(PROTOCOL_ERROR)),
        ("6.5.2 ENABLE_PUSH of 0", setting(2, 0), Ignored),
        ("6.5.2 ENABLE_PUSH of 1", setting(2, 1), Ignored),
        ("6.5.2 INITIAL_WINDOW_SIZE of 2^31", setting(4, 0x8000_0000), Goaway(FLOW_CONTROL_ERROR)),
        ("6.5.2 INITIAL_WINDOW_SIZE of 2^31 - 1", setting(4, 0x7fff_ffff), Ignored),
        ("6.5.2 MAX_FRAME_SIZE of 16,383", setting(5, 16_383), Goaway(PROTOCOL_ERROR)),
        ("6.5.2 MAX_FRAME_SIZE of 2^24", setting(5, 1 << 24), Goaway(PROTOCOL_ERROR)),
        ("6.5.2 MAX_FRAME_SIZE of 2^24 - 1", setting(5, (1 << 24) - 1), Ignored),
        ("6.5.2 HEADER_TABLE_SIZE of 0", [setting(1, 0), request(1).bytes()].concat(), Answer(1, 200)),
        (
            "6.5.2 HEADER_TABLE_SIZE of 2^32 - 1",
            [setting(1, u32::MAX), request(1).bytes()].concat(),
            Answer(1, 200),
        ),
        (
            "6.5.2 MAX_CONCURRENT_STREAMS of 0 is about pushes",
            [setting(3, 0), request(1).bytes()].concat(),
            Answer(1, 200),
        ),
        (
            "6.5.2 MAX_HEADER_LIST_SIZE of 0 is advice",
            [setting(6, 0), request(1).bytes()].concat(),
            Answer(1, 200),
        ),
        (
            "6.5.3 the last of several counts",
            [Frame::settings(&[(4, 1), (4, 65_535)]).bytes(), request(1).bytes()].concat(),
            Answer(1, 200),
        ),
        ("8441 ENABLE_CONNECT_PROTOCOL of a client is ignored", setting(8, 1), Ignored),
    ]
}

pub(super) fn section_6_ping_and_goaway() -> Vec<Row> {
    vec![
        ("6.7 PING on a stream", one(kind::PING, 0, 1, [0; 8]), Goaway(PROTOCOL_ERROR)),
        ("6.7 PING of 9 bytes", one(kind::PING, 0, 0, [0; 9]), Goaway(FRAME_SIZE_ERROR)),
        ("6.7 PING of none", one(kind::PING, 0, 0, []), Goaway(FRAME_SIZE_ERROR)),
        ("6.7 an acknowledgement of none is ignored", one(kind::PING, flag::ACK, 0, [7; 8]), Ignored),
        ("6.8 GOAWAY on a stream", one(kind::GOAWAY, 0, 1, [0; 8]), Goaway(PROTOCOL_ERROR)),
        ("6.8 GOAWAY of 7 bytes", one(kind::GOAWAY, 0, 0, [0; 7]), Goaway(FRAME_SIZE_ERROR)),
        (
            "6.8 what was asked before a GOAWAY is answered",
            [request(1).bytes(), one(kind::GOAWAY, 0, 0, [0; 8])].concat(),
            Answer(1, 200),
        ),
        (
            "6.8 a GOAWAY with debug data",
            [request(1).bytes(), one(kind::GOAWAY, 0, 0, *b"\0\0\0\0\0\0\0\0because")].concat(),
            Answer(1, 200),
        ),
    ]
}

pub(super) fn section_6_windows() -> Vec<Row> {
    vec![
        ("6.9 WINDOW_UPDATE of 0 on the connection", Frame::window(0, 0).bytes(), Goaway(PROTOCOL_ERROR)),
        (
            "6.9 WINDOW_UPDATE of 0 on a stream",
            frames(&[post(1), Frame::window(1, 0)]),
            Reset(PROTOCOL_ERROR),
        ),
        ("6.9 WINDOW_UPDATE of 3 bytes", one(kind::WINDOW_UPDATE, 0, 0, [0; 3]), Goaway(FRAME_SIZE_ERROR)),
        (
            "6.9 WINDOW_UPDATE of 5 bytes",
            one(kind::WINDOW_UPDATE, 0, 0, [0, 0, 0, 1, 0]),
            Goaway(FRAME_SIZE_ERROR),
        ),
        (
            "6.9.1 the window of the connection beyond 2^31 - 1",
            Frame::window(0, 0x7fff_ffff).bytes(),
            Goaway(FLOW_CONTROL_ERROR),
        ),
        (
            "6.9.1 the window of a stream beyond 2^31 - 1",
            frames(&[post(1), Frame::window(1, 0x7fff_ffff)]),
            Reset(FLOW_CONTROL_ERROR),
        ),
        (
            "6.9.2 a setting that makes one larger than that",
            frames(&[post(1), Frame::window(1, 0x7fff_0000 - 0xffff), Frame::settings(&[(4, 0x7fff_ffff)])]),
            Goaway(FLOW_CONTROL_ERROR),
        ),
        (
            "6.9 the reserved bit of an increment is ignored",
            frames(&[request(1), Frame::window(0, 0x8000_0001)]),
            Answer(1, 200),
        ),
    ]
}

pub(super) fn section_6_continuations() -> Vec<Row> {
    let block = block(&get("/x"));
    let in_pieces = |of: usize| {
        let mut pieces = block.chunks(of);
        let mut bytes = one(kind::HEADERS, END, 1, pieces.next().unwrap_or_default());
        let rest: Vec<_> = pieces.collect();
        for (index, piece) in rest.iter().enumerate() {
            let flags = if index + 1 == rest.len() { END_HEADERS } else { 0 };
            bytes.extend(one(kind::CONTINUATION, flags, 1, *piece));
        }
        bytes
    };
    let begun = || one(kind::HEADERS, END, 1, block.clone());
    vec![
        ("6.10 two pieces", in_pieces(block.len() / 2 + 1), Answer(1, 200)),
        ("6.10 many pieces", in_pieces(16), Answer(1, 200)),
        (
            "6.10 an empty piece",
            [begun(), one(kind::CONTINUATION, END_HEADERS, 1, [])].concat(),
            Answer(1, 200),
        ),
        (
            "6.10 CONTINUATION on stream 0",
            [begun(), one(kind::CONTINUATION, END_HEADERS, 0, [])].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "6.10 CONTINUATION of another stream",
            [begun(), one(kind::CONTINUATION, END_HEADERS, 3, [])].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "6.10 CONTINUATION behind END_HEADERS",
            [request(1).bytes(), one(kind::CONTINUATION, END_HEADERS, 1, [])].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "6.10 CONTINUATION behind DATA",
            [frames(&[post(1), Frame::data(1, 0, "x")]), one(kind::CONTINUATION, END_HEADERS, 1, [])]
                .concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        (
            "6.10 DATA in between",
            [begun(), one(kind::DATA, 0, 1, *b"x"), one(kind::CONTINUATION, END_HEADERS, 1, [])].concat(),
            Goaway(PROTOCOL_ERROR),
        ),
        ("6.10 HEADERS again in between", [begun(), begun()].concat(), Goaway(PROTOCOL_ERROR)),
    ]
}
