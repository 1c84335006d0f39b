//! What RFC 9113 says a server MUST do, or that whoever does otherwise is to be treated so: raw frames, and what comes of them.

mod fields;
mod frames;
mod messages;
mod settings;
mod types;

use testkit::http2::{Frame, Http2Connection, PREFACE, flag, get, kind};

use crate::World;

/// What must come of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// The connection ends with a GOAWAY of this code, in the place of which the codec often says `PROTOCOL_ERROR`.
    Goaway(u32),
    /// Stream 1 is reset with this code, and the connection goes on.
    Reset(u32),
    /// The stream is answered with this status, and the connection goes on.
    Answer(u32, u16),
    /// Nothing is said of it, and the connection goes on.
    Ignored,
}

use Want::{Answer, Goaway, Ignored, Reset};

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE_ERROR: u32 = 6;
const COMPRESSION_ERROR: u32 = 9;
const END: u8 = flag::END_STREAM;
const END_HEADERS: u8 = flag::END_HEADERS;

type Row = (&'static str, Vec<u8>, Want);

fn frames(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(Frame::bytes).collect()
}

fn one(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Vec<u8> {
    Frame::new(kind, flags, stream, payload).bytes()
}

fn request(stream: u32) -> Frame {
    Frame::headers(stream, END, &get("/x"))
}

fn post(stream: u32) -> Frame {
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")];
    Frame::headers(stream, 0, &fields)
}

fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    Frame::headers(1, END, fields).bytes()
}

fn get_with(more: &[(&str, &str)]) -> Vec<u8> {
    fields(&[&get("/x"), more].concat())
}

fn post_with(more: &[(&str, &str)], then: &[Frame]) -> Vec<u8> {
    let first = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")];
    let headers = Frame::headers(1, 0, &[&first, more].concat());
    [headers.bytes(), frames(then)].concat()
}

fn rows() -> Vec<Row> {
    [
        frames::section_4_frames(),
        frames::section_4_header_blocks(),
        frames::section_5_streams(),
        types::section_6_data(),
        types::section_6_headers(),
        types::section_6_small(),
        settings::section_6_settings(),
        settings::section_6_ping_and_goaway(),
        settings::section_6_windows(),
        settings::section_6_continuations(),
        messages::section_8_messages(),
        messages::section_8_pseudo(),
        fields::section_8_fields(),
        fields::hpack(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Reads until it is known what has come of a row: whether that is as wanted, and all that was said. A stream error may be taken for
/// one of the connection (section 5.4.2), which the codec does where a field cannot be one.
async fn outcome(client: &mut Http2Connection, want: Want) -> (bool, Vec<Frame>) {
    let mut seen = Vec::new();
    let mut pings = 0;
    client.send(&Frame::ping([1; 8])).await;
    while let Some(frame) = client.next().await {
        let is_reset = frame.kind == kind::RST_STREAM && frame.stream == 1;
        let is_goaway = frame.kind == kind::GOAWAY;
        let is_done = match want {
            Goaway(code) => is_goaway && says(&frame, code),
            Reset(code) => (is_reset && frame.code() == Some(code)) || (is_goaway && says(&frame, code)),
            Answer(stream, status) => frame.stream == stream && frame.status() == Some(status),
            Ignored => frame.kind == kind::PING && frame.flags == flag::ACK && frame.payload == [1; 8],
        };
        let is_otherwise = is_goaway || (is_reset && want != Ignored);
        let is_pong = frame.kind == kind::PING && frame.flags == flag::ACK;
        seen.push(frame);
        if is_done || is_otherwise {
            return (is_done, seen);
        }
        // What was sent before a ping is said before the answer to the next one, unless a node is asked.
        if is_pong && !matches!(want, Answer(..)) {
            pings += 1;
            if pings > 3 {
                return (false, seen);
            }
            client.send(&Frame::ping([1 + pings; 8])).await;
        }
    }
    (false, seen)
}

fn says(goaway: &Frame, code: u32) -> bool {
    goaway.code().is_some_and(|said| said == code || said == PROTOCOL_ERROR)
}

#[tokio::test]
async fn what_the_rfc_demands_is_done() {
    let world = World::new().await;
    let rows = rows();
    assert!(rows.len() >= 140, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for (what, bytes, want) in rows {
        let mut client = world.connect().await;
        client.send_bytes(&bytes).await;
        let (is_as_wanted, seen) = outcome(&mut client, want).await;
        if !is_as_wanted {
            wrong.push(format!("{what}: wanted {want:?}, and got {seen:?}"));
        } else if matches!(want, Reset(_) | Ignored) && seen.iter().all(|frame| frame.kind != kind::GOAWAY) {
            // The connection goes on.
            client.send(&Frame::headers(0x7001, END, &get("/next"))).await;
            let (answer, _) = client.until(|frame| frame.stream == 0x7001).await;
            assert_eq!(answer.status(), Some(200), "{what}: {answer:?}");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.assert_is_well().await;
}

#[tokio::test]
async fn what_does_not_begin_as_http2_is_http1_or_nothing() {
    let world = World::new().await;
    let beginnings: [&[u8]; 4] = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x01\0\0\0\0\0x",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"PRX",
    ];
    for beginning in beginnings {
        let mut client = testkit::raw::RawConnection::connect(world.proxy.address()).await;
        client.send(beginning).await;
        client.half_close().await;
        client.read_to_end().await;
    }
    // HTTP/1 is spoken beside it, byte by byte, too.
    for pieces in [1, 1000] {
        let mut client = testkit::raw::RawConnection::connect(world.proxy.address()).await;
        client.send_pieces(b"PROPFIND /y HTTP/1.1\r\nHost: a\r\n\r\n".chunks(pieces)).await;
        assert_eq!(client.read_message().await.text(), "PROPFIND /y");
    }
    let mut client = testkit::raw::RawConnection::connect(world.proxy.address()).await;
    let whole = [PREFACE, &Frame::settings(&[]).bytes(), &request(1).bytes()].concat();
    client.send_pieces(whole.chunks(1)).await;
    assert_eq!(Http2Connection::over(client).answer(1).await.0, 200);
    world.assert_is_well().await;
}
