//! WebSockets over streams of HTTP/2 (RFC 8441), frame by frame: what the node is asked, what the client is told, and how either end
//! ends the other.

use testkit::http2::{Frame, Http2Connection, flag, get, kind};
use testkit::origin::{Origin, ScriptedOrigin};
use testkit::process::Signal;
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, config_for};

use crate::World;

const OPEN: [(&str, &str); 7] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/ws?x=1"),
    (":authority", "a"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat"),
];
const CANCEL: u32 = 8;

/// A proxy, a client on it, the node's connection, and the proxy's own settings.
async fn asked() -> (Tidelock, Http2Connection, RawConnection, String) {
    let origin = Origin::bind().await;
    let config = config_for(&[origin.address()]).replace("[[route]]", "http2 = true\n[[route]]");
    let proxy =
        Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &format!("{config}[drain]\nwindow = \"1s\"\n")).await;
    let mut client = Http2Connection::connect(proxy.address(), &[]).await;
    let (settings, _) = client.until(|frame| frame.kind == kind::SETTINGS).await;
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "{settings:?}");
    client.send(&Frame::headers(1, 0, &OPEN)).await;
    let mut node = origin.accept().await;
    let head = String::from_utf8(node.read_until("\r\n\r\n").await).expect("a head is text");
    (proxy, client, node, head)
}

/// The value of a line.
fn value<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
    Some(&line[name.len() + 2..])
}

/// Opens it: the node answers 101.
async fn opened() -> (Tidelock, Http2Connection, RawConnection) {
    let (proxy, mut client, mut node, head) = asked().await;
    accept(&mut node, &head).await;
    let (answer, _) = client.until(|frame| frame.stream == 1).await;
    assert_eq!((answer.status(), answer.flags & flag::END_STREAM), (Some(200), 0));
    (proxy, client, node)
}

async fn accept(node: &mut RawConnection, head: &str) {
    let key = value(head, "sec-websocket-key").expect("a key was made");
    let accept = wire::websocket::accept_for(key.as_bytes());
    let accept = str::from_utf8(&accept).expect("base64 is text");
    node.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Protocol: chat\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
    .await;
}

#[tokio::test]
async fn a_node_is_asked_by_an_upgrade_of_http1() {
    let (_proxy, mut client, mut node, head) = asked().await;
    assert!(head.starts_with("GET /ws?x=1 HTTP/1.1\r\n"), "{head}");
    for (name, said) in [
        ("connection", Some("Upgrade")),
        ("upgrade", Some("websocket")),
        ("sec-websocket-version", Some("13")),
        ("sec-websocket-protocol", Some("chat")),
        ("content-length", None),
        ("transfer-encoding", None),
    ] {
        assert_eq!(value(&head, name), said, "{head}");
    }
    assert_eq!(value(&head, "sec-websocket-key").map(str::len), Some(24));
    accept(&mut node, &head).await;
    let (answer, _) = client.until(|frame| frame.stream == 1).await;
    assert_eq!((answer.status(), answer.flags & flag::END_STREAM), (Some(200), 0));
    // Frames pass as they are, masked from the client on.
    let (hello, world) = (b"\x81\x85\x01\x02\x03\x04igohn", b"\x81\x05world");
    client.send(&Frame::data(1, 0, hello)).await;
    assert_eq!(node.read_exactly(hello.len()).await, hello);
    node.send(world).await;
    let (frame, _) = client.until(|frame| frame.stream == 1 && frame.kind == kind::DATA).await;
    assert_eq!(frame.payload, world);
    // Requests go on beside it.
    client.send(&Frame::headers(3, flag::END_STREAM, &get("/beside"))).await;
}

#[tokio::test]
async fn an_answer_that_is_no_upgrade_is_passed_on() {
    let (_proxy, mut client, mut node, _) = asked().await;
    node.send("HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").await;
    assert_eq!(client.answer(1).await, (404, b"no".to_vec()));
}

/// Any 2xx would open it (RFC 8441 section 5), and what follows would be taken for frames.
#[tokio::test]
async fn a_success_that_is_no_upgrade_opens_nothing() {
    for answer in
        ["200 OK\r\nContent-Length: 2\r\n\r\nno", "204 No Content\r\n\r\n", "206 Partial Content\r\n\r\nno"]
    {
        let (_proxy, mut client, mut node, _) = asked().await;
        node.send(format!("HTTP/1.1 {answer}")).await;
        assert_eq!(client.answer(1).await.0, 502, "{answer}");
    }
    let routes = "[[route]]\npath = \"/text\"\nrespond = { status = 200, text = \"hello\" }\n\
                  [[route]]\npath = \"/gone\"\nrespond = { status = 404, text = \"gone\" }\n\
                  [[route]]\npath = \"/tidelock.toml\"\nfiles = \".\"\n";
    let world = World::with(ScriptedOrigin::answering("HTTP/1.1 200 OK\r\n\r\n").await, routes).await;
    for (path, opened, asked) in [("/text", 501, 200), ("/gone", 404, 404), ("/tidelock.toml", 501, 200)] {
        let mut client = world.connect().await;
        let opening = OPEN.map(|(name, value)| (name, if name == ":path" { path } else { value }));
        client.send(&Frame::headers(1, 0, &opening)).await;
        assert_eq!(client.answer(1).await.0, opened, "{path}");
        client.send(&Frame::headers(3, flag::END_STREAM, &get(path))).await;
        assert_eq!(client.answer(3).await.0, asked, "{path}");
    }
}

#[tokio::test]
async fn an_accept_that_answers_nothing_is_refused() {
    let (_proxy, mut client, mut node, _) = asked().await;
    node.send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n").await;
    assert_eq!(client.answer(1).await.0, 502);
}

#[tokio::test]
async fn ends_go_both_ways() {
    let (_proxy, mut client, mut node) = opened().await;
    client.send(&Frame::data(1, 0, b"\x88\x82\0\0\0\0\x03\xe8")).await;
    client.send(&Frame::data(1, flag::END_STREAM, "")).await;
    assert_eq!(node.read_exactly(8).await, b"\x88\x82\0\0\0\0\x03\xe8");
    node.send(b"\x88\x02\x03\xe8").await;
    node.half_close().await;
    let (close, _) = client.until(|frame| frame.stream == 1 && frame.kind == kind::DATA).await;
    assert_eq!(close.payload, b"\x88\x02\x03\xe8");
    if close.flags & flag::END_STREAM == 0 {
        let (end, _) = client.until(|frame| frame.stream == 1).await;
        assert_eq!((end.kind, end.flags & flag::END_STREAM), (kind::DATA, flag::END_STREAM));
    }
    assert_eq!(node.read_to_end().await.0, b"");
}

#[tokio::test]
async fn a_reset_ends_the_node() {
    let (_proxy, mut client, mut node) = opened().await;
    client.send(&Frame::reset(1, CANCEL)).await;
    node.read_to_end().await;
    // The connection goes on.
    client.send(&Frame::ping([5; 8])).await;
    client.until(|frame| frame.kind == kind::PING && frame.flags == flag::ACK).await;
}

/// The Close of a drain comes between two messages, and the GOAWAYs of the connection beside it.
#[tokio::test]
async fn a_drain_closes_between_two_messages() {
    let (mut proxy, mut client, mut node) = opened().await;
    // Half of a message.
    node.send(b"\x81\x05wo").await;
    client.until(|frame| frame.stream == 1 && frame.kind == kind::DATA).await;
    proxy.process().signal(Signal::TERM);
    client.until(|frame| frame.kind == kind::GOAWAY).await;
    node.send(b"rld").await;
    let (mut content, mut is_over) = (Vec::new(), false);
    while !is_over {
        let (frame, _) = client.until(|frame| frame.stream == 1 && frame.kind == kind::DATA).await;
        content.extend_from_slice(&frame.payload);
        is_over = content.len() >= 7;
    }
    // 1001: the whole of tidelock goes.
    assert_eq!((&content[..4], &content[5..7]), (&b"rld\x88"[..], &1001_u16.to_be_bytes()[..]));
    client.send(&Frame::data(1, flag::END_STREAM, b"\x88\x82\0\0\0\0\x03\xe9")).await;
    assert_eq!(node.read_exactly(8).await, b"\x88\x82\0\0\0\0\x03\xe9");
    client.until_end().await;
}
