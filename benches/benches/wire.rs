//! What the codec costs: a head read and printed, a chunked body walked, an Engine.IO handshake understood.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire::HeadBounds;
use wire::answer::AnswerBody;
use wire::body::BodyWalk;
use wire::forward::{ClientEnd, ForOrigin, print_request};
use wire::request::RequestHead;
use wire::scan::{HeadScan, Side};
use wire::tag::{Tag, Tagger};

const BOUNDS: HeadBounds = HeadBounds { target_bytes_max: 8192, head_bytes_max: 32768, lines_max: 100 };

/// What a browser sends for a poll.
const POLL: &[u8] = b"GET /socket.io/?EIO=4&transport=polling&t=PtUX1ab&sid=lv_VI97HAXpY6yYWAAACabcdefgh HTTP/1.1\r\n\
Host: api.example.com\r\nConnection: keep-alive\r\nsec-ch-ua-platform: \"Linux\"\r\n\
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n\
sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\nsec-ch-ua-mobile: ?0\r\nAccept: */*\r\n\
Origin: https://www.example.com\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n\
Referer: https://www.example.com/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\n\r\n";

fn read(bytes: &[u8]) -> RequestHead {
    let length =
        HeadScan::new(Side::Request).advance(bytes, &BOUNDS).expect("a good head").expect("a whole head");
    RequestHead::parse(&bytes[..length], &BOUNDS).expect("a good head")
}

fn heads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("head");
    group.throughput(Throughput::Bytes(POLL.len() as u64));
    group.bench_function("read", |bencher| bencher.iter(|| read(black_box(POLL))));
    let head = read(POLL);
    let end = ClientEnd::new(IpAddr::V4(Ipv4Addr::LOCALHOST), "https", 443, false);
    let how = ForOrigin {
        host_override: None,
        host_default: "node:3000",
        client_end: &end,
        client_address: end.peer(),
        strips_tag: true,
        strips_cookie: None,
        wants_plain: false,
    };
    let mut out = Vec::new();
    group.bench_function("print", |bencher| {
        bencher.iter(|| {
            out.clear();
            print_request(black_box(&head), &how, &mut out);
        });
    });
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let mut body = Vec::new();
    for _ in 0..16 {
        body.extend_from_slice(b"1000\r\n");
        body.extend_from_slice(&[b'x'; 4096]);
        body.extend_from_slice(b"\r\n");
    }
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("walk chunks", |bencher| {
        bencher.iter(|| BodyWalk::of_answer(AnswerBody::Chunked, true).walk(black_box(&mut body)));
    });
    group.finish();
}

fn engine_io(criterion: &mut Criterion) {
    let answer = br#"0{"sid":"lv_VI97HAXpY6yYWAAAC","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000}"#;
    criterion.bench_function("engine.io/open packet", |bencher| {
        bencher.iter(|| wire::engineio::read_open_packet(black_box(answer)));
    });
    let tagger = Tagger::new(b"a secret");
    let node: std::net::SocketAddr = "10.0.0.1:3000".parse().expect("an address");
    criterion.bench_function("engine.io/make a tag", |bencher| {
        bencher.iter(|| tagger.tag(black_box("nodes"), "server1:3000", node));
    });
    criterion.bench_function("engine.io/split a tag", |bencher| {
        bencher.iter(|| Tag::split(black_box(b"lv_VI97HAXpY6yYWAAACabcdefgh")));
    });
}

criterion_group!(benches, heads, bodies, engine_io);
criterion_main!(benches);
