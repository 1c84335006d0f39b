//! Clients that have a proxy work for nothing. Each of these connections is ended with the right code and counted, and somebody else
//! is served meanwhile and afterwards.

use testkit::http2::{Frame, Http2Connection, block, flag, get, kind};
use testkit::origin::{ScriptedOrigin, Step};

use crate::World;

const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends what `flood` gives, piece by piece, until the connection ends. The codes of all GOAWAYs.
async fn flood(client: &mut Http2Connection, flood: impl Fn(u32) -> Vec<u8>) -> Vec<u32> {
    let mut codes = Vec::new();
    for turn in 0..PIECES_MAX {
        client.send_bytes(flood(turn)).await;
        client.send(&Frame::ping(*b"are you?")).await;
        // Reads on until the answer, so that nothing piles up on the way.
        loop {
            let Some(frame) = client.next().await else { return codes };
            codes.extend(frame.code().filter(|_| frame.kind == kind::GOAWAY));
            if frame.kind == kind::PING && frame.flags == flag::ACK && frame.payload == *b"are you?" {
                break;
            }
        }
    }
    panic!("the flood goes on: {codes:?}")
}

/// What is counted of it.
async fn counted(world: &World, word: &str) -> u64 {
    let status = world.proxy.status().await;
    let workers = status["workers"].as_array().expect("there are workers").clone();
    workers.iter().filter_map(|worker| worker["faults"][word].as_u64()).sum()
}

async fn is_ended(world: &World, name: &str, piece: impl Fn(u32) -> Vec<u8>) {
    let _named = testkit::Row(name.to_owned());
    let before = counted(world, FLOOD).await;
    let mut client = world.connect().await;
    let codes = flood(&mut client, piece).await;
    assert!(codes.contains(&ENHANCE_YOUR_CALM), "{name}: {codes:?}");
    assert_eq!(counted(world, FLOOD).await, before + 1, "{name}");
    world.assert_is_well().await;
}

/// So many of these in one piece.
fn many(count: u32, one: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    (0..count).flat_map(one).collect()
}

#[tokio::test]
async fn frames_that_carry_nothing() {
    let world = World::new().await;
    is_ended(&world, "settings", |_| many(500, |n| Frame::settings(&[(4, 65_535 + n % 2)]).bytes())).await;
    is_ended(&world, "pings", |_| many(500, |_| Frame::ping([0; 8]).bytes())).await;
    is_ended(&world, "priorities", |_| {
        many(500, |n| Frame::new(kind::PRIORITY, 0, 2 * n + 1, [0, 0, 0, 0, 1]).bytes())
    })
    .await;
    is_ended(&world, "window updates", |_| many(500, |_| Frame::window(0, 1).bytes())).await;
    is_ended(&world, "unknown frames", |_| many(500, |_| Frame::new(0xfe, 0, 0, []).bytes())).await;
    is_ended(&world, "acknowledgements", |_| {
        many(500, |_| Frame::new(kind::PING, flag::ACK, 0, [3; 8]).bytes())
    })
    .await;
}

#[tokio::test]
async fn content_of_nothing() {
    let world = World::new().await;
    let post = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")];
    let begun = |turn: u32, rest: Vec<u8>| {
        let begin = if turn == 0 { Frame::headers(1, 0, &post).bytes() } else { Vec::new() };
        [begin, rest].concat()
    };
    is_ended(&world, "empty DATA", |turn| begun(turn, many(200, |_| Frame::data(1, 0, "").bytes()))).await;
    is_ended(&world, "DATA of padding", |turn| {
        begun(turn, many(200, |_| Frame::new(kind::DATA, flag::PADDED, 1, [3, 0, 0, 0]).bytes()))
    })
    .await;
}

/// CVE-2023-44487: each request reaches a node, and none waits for its answer.
#[tokio::test]
async fn rapid_reset() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let held = World::with(origin, "").await;
    let mut client = held.connect().await;
    let codes = flood(&mut client, |turn| {
        many(10, |n| {
            let stream = 2 * (turn * 10 + n) + 1;
            [Frame::headers(stream, flag::END_STREAM, &get("/x")), Frame::reset(stream, 8)]
                .map(|f| f.bytes())
                .concat()
        })
    })
    .await;
    assert!(codes.contains(&ENHANCE_YOUR_CALM), "{codes:?}");
    // Those that are reset once they are at the node end there, too.
    let mut client = held.connect().await;
    let codes = flood(&mut client, |turn| {
        let stream = 2 * turn + 1;
        let before = if turn > 0 { Frame::reset(stream - 2, 8).bytes() } else { Vec::new() };
        [before, Frame::headers(stream, flag::END_STREAM, &get("/x")).bytes()].concat()
    })
    .await;
    assert!(codes.contains(&ENHANCE_YOUR_CALM), "{codes:?}");
}

/// CVE-2025-8671: frames that break a rule, so that the proxy resets what it was asked for.
#[tokio::test]
async fn made_you_reset() {
    let world = World::new().await;
    for bad in [
        |stream| Frame::window(stream, 0x7fff_ffff),
        |stream| Frame::headers(stream, 0, &[("x-a", "1")]),
        |stream| Frame::data(stream, 0, "x"),
    ] {
        is_ended(&world, "made you reset", move |turn| {
            many(20, |n| {
                let stream = 2 * (turn * 20 + n) + 1;
                let post = [
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", "/x"),
                    (":authority", "a"),
                    ("content-length", "0"),
                ];
                [Frame::headers(stream, 0, &post), bad(stream)].map(|frame| frame.bytes()).concat()
            })
        })
        .await;
    }
}

#[tokio::test]
async fn malformed_requests_without_end() {
    let world = World::new().await;
    is_ended(&world, "malformed", |turn| {
        many(20, |n| Frame::headers(2 * (turn * 20 + n) + 1, flag::END_STREAM, &[(":method", "GET")]).bytes())
    })
    .await;
}

#[tokio::test]
async fn continuations_without_end() {
    let world = World::new().await;
    for piece in [Vec::new(), block(&[("x-a", "1")]), block(&[("x-a", &"a".repeat(8000))])] {
        let mut client = world.connect().await;
        client.send(&Frame::new(kind::HEADERS, 0, 1, block(&get("/x")))).await;
        let next = Frame::new(kind::CONTINUATION, 0, 1, piece);
        let more = next.bytes().repeat(500);
        client.send_bytes(more).await;
        let seen = client.until_end().await;
        let code = seen.iter().find(|frame| frame.kind == kind::GOAWAY).and_then(Frame::code);
        assert!(matches!(code, Some(ENHANCE_YOUR_CALM | 1)), "{code:?}");
        world.assert_is_well().await;
    }
}

/// Few bytes on the wire that stand for many (CVE-2016-6581): each reference to a long field in the table counts whole.
#[tokio::test]
async fn a_header_bomb() {
    let world = World::new().await;
    let mut client = world.connect().await;
    let mut bomb = block(&get("/x"));
    // A literal with indexing, of 3,000 bytes, and then its index.
    bomb.extend([0x40, 1, b'x', 127]);
    bomb.extend([(3000_u32 - 127) as u8 & 0x7f | 0x80, ((3000 - 127) >> 7) as u8]);
    bomb.extend([b'a'; 3000]);
    bomb.extend([0xbe; 10_000]);
    client.send(&Frame::new(kind::HEADERS, flag::END_STREAM | flag::END_HEADERS, 1, bomb)).await;
    let seen = client.until_end().await;
    assert!(
        seen.iter().any(|frame| frame.kind == kind::GOAWAY && frame.code() == Some(ENHANCE_YOUR_CALM)),
        "{seen:?}"
    );
    world.assert_is_well().await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_refused_alone() {
    let world = World::new().await;
    let mut client = world.connect().await;
    let long = "a".repeat(10_000);
    let fields: Vec<_> = get("/x").into_iter().chain((0..4).map(|_| ("x-a", &*long))).collect();
    let bytes = block(&fields);
    let mut pieces = bytes.chunks(16_000);
    client.send(&Frame::new(kind::HEADERS, flag::END_STREAM, 1, pieces.next().unwrap_or_default())).await;
    let rest: Vec<_> = pieces.collect();
    for (index, piece) in rest.iter().enumerate() {
        let flags = if index + 1 == rest.len() { flag::END_HEADERS } else { 0 };
        client.send(&Frame::new(kind::CONTINUATION, flags, 1, *piece)).await;
    }
    assert_eq!(client.answer(1).await.0, 431);
    client.send(&Frame::headers(3, flag::END_STREAM, &get("/next"))).await;
    assert_eq!(client.answer(3).await.0, 200);
    // So is one of many lines.
    let mut client = world.connect().await;
    let names: Vec<String> = (0..120).map(|n| format!("x-{n}")).collect();
    let fields: Vec<_> = get("/x").into_iter().chain(names.iter().map(|name| (&**name, "1"))).collect();
    client.send(&Frame::headers(1, flag::END_STREAM, &fields)).await;
    assert_eq!(client.answer(1).await.0, 431);
}

/// More streams than there may be are refused, so that the client opens them again, and those that it has go on.
#[tokio::test]
async fn streams_beyond_the_bound() {
    let origin = ScriptedOrigin::start(|_| {
        vec![Step::Hold, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]
    })
    .await;
    let world = World::with(origin, "").await;
    let mut client = world.connect().await;
    for n in 0..130 {
        client.send(&Frame::headers(2 * n + 1, flag::END_STREAM, &get("/x"))).await;
    }
    let (reset, _) = client.until(|frame| frame.kind == kind::RST_STREAM).await;
    assert_eq!((reset.stream, reset.code()), (257, Some(7)));
    let (reset, _) = client.until(|frame| frame.kind == kind::RST_STREAM).await;
    assert_eq!((reset.stream, reset.code()), (259, Some(7)));
    for _ in 0..128 {
        world.origin.release();
    }
    let mut ended = 0;
    while ended < 128 {
        let (frame, _) = client.until(|frame| frame.flags & flag::END_STREAM != 0 && frame.stream != 0).await;
        assert_eq!(frame.kind, kind::DATA);
        ended += 1;
    }
}

/// A client that asks for much and lets none of it come takes a bounded amount of memory, and is ended in time.
#[tokio::test]
async fn stalled_windows() {
    let body = "x".repeat(1 << 20);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let origin = ScriptedOrigin::answering(&answer).await;
    let world = World::with(origin, "[timeouts]\nbody = \"1s\"\n").await;
    let mut client = Http2Connection::connect(world.proxy.address(), &[(4, 0)]).await;
    for n in 0..100 {
        client.send(&Frame::headers(2 * n + 1, flag::END_STREAM, &get("/x"))).await;
    }
    let mut reset = 0;
    while reset < 100 {
        let (frame, _) = client.until(|frame| frame.kind == kind::RST_STREAM).await;
        assert_eq!(frame.code(), Some(2));
        reset += 1;
    }
    // The connection itself is well.
    client.send(&Frame::settings(&[(4, 65_535)])).await;
    client.send(&Frame::headers(1001, flag::END_STREAM, &get("/x"))).await;
    let (frame, _) = client.until(|frame| frame.stream == 1001 && frame.kind == kind::DATA).await;
    assert!(!frame.payload.is_empty());
}

/// An honest client does all of this, in measure.
#[tokio::test]
async fn honest_clients_lose_nothing() {
    let world = World::new().await;
    let mut client = world.connect().await;
    for n in 0..400_u32 {
        let stream = 2 * n + 1;
        client.send(&Frame::ping([9; 8])).await;
        client.send(&Frame::window(0, 100)).await;
        client.send(&Frame::new(kind::PRIORITY, 0, stream, [0, 0, 0, 0, 1])).await;
        client.send(&Frame::headers(stream, flag::END_STREAM, &get("/x"))).await;
        if n % 8 == 7 {
            // A page that is left.
            client.send(&Frame::reset(stream, 8)).await;
        } else {
            assert_eq!(client.answer(stream).await.0, 200, "{n}");
        }
    }
}

const PIECES_MAX: u32 = 5_000;
const FLOOD: &str = "flood of HTTP/2 frames";
