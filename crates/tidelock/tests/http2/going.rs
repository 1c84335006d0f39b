//! How a connection ends: in two steps when the proxy leaves or its listen is closed, and no request is lost; streams that are cut are
//! seen to be cut, by the client and by the node.

use testkit::http2::{Frame, flag, get, kind};
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::Signal;

use crate::World;

async fn held() -> World {
    let origin = ScriptedOrigin::start(|_| {
        vec![Step::Hold, Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")]
    })
    .await;
    World::with(origin, "").await
}

/// RFC 9113 section 6.8: what crosses the first GOAWAY on its way is answered, and so is what was asked before.
#[tokio::test]
async fn goes_in_two_steps() {
    let mut world = held().await;
    let mut client = world.connect().await;
    client.answers = false;
    client.send(&Frame::new(kind::SETTINGS, flag::ACK, 0, [])).await;
    client.send(&Frame::headers(1, flag::END_STREAM, &get("/before"))).await;
    world.origin.until_requests(1).await;
    world.proxy.process().signal(Signal::TERM);
    let (goaway, _) = client.until(|frame| frame.kind == kind::GOAWAY).await;
    assert_eq!((goaway.code(), &goaway.payload[..4]), (Some(0), &[0x7f, 0xff, 0xff, 0xff][..]));
    // The client has not seen it yet.
    client.send(&Frame::headers(3, flag::END_STREAM, &get("/crossing"))).await;
    world.origin.until_requests(2).await;
    let (ping, _) = client.until(|frame| frame.kind == kind::PING).await;
    client.send(&Frame::new(kind::PING, flag::ACK, 0, ping.payload)).await;
    let (goaway, _) = client.until(|frame| frame.kind == kind::GOAWAY).await;
    assert_eq!((goaway.code(), &goaway.payload[..4]), (Some(0), &[0, 0, 0, 3][..]));
    world.origin.release();
    world.origin.release();
    let mut whole = 0;
    for frame in client.until_end().await {
        whole += usize::from(
            frame.kind == kind::DATA && frame.payload == b"ok" && frame.flags & flag::END_STREAM != 0,
        );
    }
    assert_eq!(whole, 2);
}

#[tokio::test]
async fn an_idle_connection_is_told_and_ends() {
    let mut world = World::new().await;
    let mut client = world.connect().await;
    client.send(&Frame::headers(1, flag::END_STREAM, &get("/x"))).await;
    assert_eq!(client.answer(1).await.0, 200);
    world.proxy.process().signal(Signal::TERM);
    let seen = client.until_end().await;
    assert_eq!(seen.iter().filter(|frame| frame.kind == kind::GOAWAY).count(), 2, "{seen:?}");
    assert!(world.proxy.process().exit().await.success());
}

/// `timeouts.idle` ends it as it ends a connection of HTTP/1, and `timeouts.head` one that never asks.
#[tokio::test]
async fn idle_connections_end_by_the_same_timeouts() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let world = World::with(origin, "[timeouts]\nidle = \"1s\"\nhead = \"1s\"\n").await;
    let mut client = world.connect().await;
    client.send(&Frame::headers(1, flag::END_STREAM, &get("/x"))).await;
    assert_eq!(client.answer(1).await.0, 200);
    let seen = client.until_end().await;
    assert!(seen.iter().any(|frame| frame.kind == kind::GOAWAY && frame.code() == Some(0)), "{seen:?}");
    let seen = world.connect().await.until_end().await;
    assert!(seen.iter().any(|frame| frame.kind == kind::GOAWAY && frame.code() == Some(0)), "{seen:?}");
}

/// A client that resets a stream has closed a tab: its poll ends at the node, at once.
#[tokio::test]
async fn a_reset_ends_the_exchange_at_the_node() {
    let world = held().await;
    let mut client = world.connect().await;
    client.send(&Frame::headers(1, flag::END_STREAM, &get("/poll"))).await;
    world.origin.until_requests(1).await;
    client.send(&Frame::reset(1, 8)).await;
    world.origin.until_ended(1).await;
    // So does one that is gone with its connection.
    client.send(&Frame::headers(3, flag::END_STREAM, &get("/poll"))).await;
    world.origin.until_requests(2).await;
    client.close().await;
    world.origin.until_ended(2).await;
}

/// An answer that its node cuts does not look whole.
#[tokio::test]
async fn an_answer_that_is_cut_is_reset() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nab");
        let origin = ScriptedOrigin::start(move |_| vec![Step::send(&answer), Step::Close]).await;
        let world = World::with(origin, "").await;
        let mut client = world.connect().await;
        client.send(&Frame::headers(1, flag::END_STREAM, &get("/x"))).await;
        let (reset, seen) = client.until(|frame| frame.kind == kind::RST_STREAM).await;
        assert_eq!(reset.code(), Some(2), "{seen:?}");
        assert!(seen.iter().all(|frame| frame.kind != kind::DATA || frame.flags & flag::END_STREAM == 0));
    }
}

/// A listen that a reload closes: what was asked there is answered, and the connection ends.
#[tokio::test]
async fn a_listen_that_is_closed_lets_go_in_two_steps() {
    let mut world = held().await;
    let mut client = world.connect().await;
    client.send(&Frame::headers(1, flag::END_STREAM, &get("/before"))).await;
    world.origin.until_requests(1).await;
    let config = testkit::tidelock::config_for(&[world.origin.address()]);
    world.proxy.rewrite(&config.replace("127.0.0.1:0", &testkit::port::free_address().to_string()));
    world.proxy.process().signal(Signal::HUP);
    world.proxy.process().wait_for_line(|line| testkit::process::tells(line, "listen_closed")).await;
    client.send(&Frame::headers(3, flag::END_STREAM, &get("/after"))).await;
    world.origin.until_requests(2).await;
    world.origin.release();
    world.origin.release();
    let seen = client.until_end().await;
    let whole = seen.iter().filter(|frame| frame.kind == kind::DATA && frame.payload == b"ok").count();
    assert_eq!((whole, seen.iter().filter(|frame| frame.kind == kind::GOAWAY).count()), (2, 2), "{seen:?}");
}
