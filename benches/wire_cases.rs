//! The codec: heads, bodies, frames, Engine.IO.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use wire::HeadBounds;
use wire::answer::{AnswerBody, AnswerHead, AnswerTo};
use wire::body::BodyWalk;
use wire::forward::{ClientEnd, ForOrigin, print_request};
use wire::frame::FrameEdges;
use wire::pin_names::StripPins;
use wire::request::RequestHead;
use wire::scan::{HeadScan, Side};
use wire::tag::{Key, Tag};

use crate::{Case, Size, Step};

pub(crate) const CASES: &[Case] = &[
    case("head/read request", read_request),
    case("head/print request", print_for_origin),
    case("head/read answer", read_answer),
    case("body/walk 64 KiB in chunks", walk_chunks),
    case("frame/edges of 16 frames", frame_edges),
    case("frame/edges of 64 KiB", long_frame),
    case("engine.io/open packet", open_packet),
    case("engine.io/make a tag", make_a_tag),
    case("engine.io/split a tag", split_a_tag),
];

const fn case(name: &'static str, prepare: fn(Size) -> Step) -> Case {
    Case { name, times: 100, prepare }
}

pub(crate) const BOUNDS: HeadBounds =
    HeadBounds { target_bytes_max: 8192, head_bytes_max: 32768, lines_max: 100 };

/// What a browser sends for a poll.
pub(crate) fn poll(sid: &str) -> Vec<u8> {
    POLL.replace("SID", sid).into_bytes()
}

pub(crate) fn read(bytes: &[u8]) -> RequestHead {
    let length =
        HeadScan::new(Side::Request).advance(bytes, &BOUNDS).expect("a good head").expect("a whole head");
    RequestHead::parse(&bytes[..length], &BOUNDS).expect("a good head")
}

fn read_request(_: Size) -> Step {
    let bytes = poll("lv_VI97HAXpY6yYWAAACabcdefgh");
    Box::new(move || {
        black_box(read(black_box(&bytes)));
    })
}

fn print_for_origin(_: Size) -> Step {
    let head = read(&poll("lv_VI97HAXpY6yYWAAACabcdefgh"));
    let end = ClientEnd::new(IpAddr::V4(Ipv4Addr::LOCALHOST), "https", 443, false);
    let mut out = Vec::new();
    Box::new(move || {
        let how = ForOrigin {
            host_override: None,
            host_default: "node:3000",
            client_end: &end,
            client_address: end.peer(),
            strips_tag: true,
            strips_pins: StripPins::None,
            pass_headers: &[],
            edits: None,
            wants_plain: false,
        };
        out.clear();
        print_request(black_box(&head), &how, &mut out);
        black_box(&out);
    })
}

fn read_answer(_: Size) -> Step {
    let asked = AnswerTo::by(&read(&poll("lv_VI97HAXpY6yYWAAACabcdefgh")));
    Box::new(move || {
        let bytes = black_box(ANSWER);
        let length =
            HeadScan::new(Side::Answer).advance(bytes, &BOUNDS).expect("a good head").expect("a whole head");
        let head = AnswerHead::parse(&bytes[..length], &BOUNDS, &asked);
        black_box(head.expect("a good head"));
    })
}

fn walk_chunks(_: Size) -> Step {
    let mut body = Vec::new();
    for _ in 0..16 {
        body.extend_from_slice(b"1000\r\n");
        body.extend_from_slice(&[b'x'; 4096]);
        body.extend_from_slice(b"\r\n");
    }
    Box::new(move || {
        let walked = BodyWalk::of_answer(AnswerBody::Chunked, true).walk(black_box(&mut body));
        black_box(walked.expect("good chunks"));
    })
}

fn frame_edges(_: Size) -> Step {
    let mut frames = Vec::new();
    for _ in 0..16 {
        frames.extend_from_slice(&[0x81, 0x80 | 64, 1, 2, 3, 4]);
        frames.extend_from_slice(&[b'x'; 64]);
    }
    let mut edges = FrameEdges::default();
    Box::new(move || {
        black_box(edges.feed(black_box(&frames)));
    })
}

fn long_frame(_: Size) -> Step {
    let mut frame = vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0];
    frame.resize(frame.len() + 65536, b'x');
    let mut edges = FrameEdges::default();
    Box::new(move || {
        black_box(edges.feed(black_box(&frame)));
    })
}

fn open_packet(_: Size) -> Step {
    let answer = br#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#;
    Box::new(|| {
        black_box(wire::engineio::read_open_packet(black_box(answer)));
    })
}

fn make_a_tag(_: Size) -> Step {
    let seal = Key::new(b"a secret").seal("tcp:10.0.0.1:3000");
    Box::new(move || {
        black_box(seal.tag(black_box(b"lv_VI97HAXpY6yYWAAAC")));
    })
}

fn split_a_tag(_: Size) -> Step {
    Box::new(|| {
        black_box(Tag::split(black_box(b"lv_VI97HAXpY6yYWAAACabcdefgh")));
    })
}

const POLL: &str = "GET /socket.io/?EIO=4&transport=polling&t=PtUX1ab&sid=SID HTTP/1.1\r\n\
Host: api.example.com\r\nConnection: keep-alive\r\nsec-ch-ua-platform: \"Linux\"\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\nAccept: */*\r\n\
Origin: https://www.example.com\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
Referer: https://www.example.com/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n";

/// What a Node.js node with socket.io sends.
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: 97\r\n\
cache-control: no-store\r\nAccess-Control-Allow-Origin: https://www.example.com\r\nVary: Origin\r\n\
Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n";
