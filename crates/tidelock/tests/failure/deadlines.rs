//! Every wait ends: for a head, a body, an answer, a next request. The deadlines are configured short; what is tested
//! is what happens at them.

use std::time::Duration;

use testkit::origin::{Origin, ScriptedOrigin, Step};
use testkit::raw::{End, RawConnection};
use tokio::time::interval;

use crate::{GET, HANDSHAKE, OK, POST, answering, ask, start};

#[tokio::test]
async fn a_head_that_is_dripped_gets_a_408() {
    let origin = answering().await;
    let proxy = start(&[origin.address()], "[timeouts]\nhead = \"300ms\"\n").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\nX: ").await;
    // Each byte comes in time; it is the whole head that does not. The pace is the attack, and nothing waits for it.
    let mut pace = interval(Duration::from_millis(20));
    let mut dripped = 0;
    let answer = loop {
        tokio::select! {
            answer = client.read_message() => break answer,
            _ = pace.tick() => dripped += 1,
        }
        client.send("x").await;
        assert!(dripped < 1000, "it is served for ever");
    };
    assert_eq!((answer.status(), answer.text().as_str()), (408, "408 request head timed out\n"));
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_client_that_stops_in_its_body_gets_a_408() {
    let origin = answering().await;
    let proxy = start(&[origin.address()], "[timeouts]\nbody = \"200ms\"\n").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nab").await;
    let answer = client.read_message().await;
    assert_eq!((answer.status(), answer.header("connection")), (408, Some("close")));
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
    origin.until_ended(1).await;
    assert_eq!(origin.requests().len(), 0, "half a body is no request");
}

#[tokio::test]
async fn a_node_that_stops_in_its_answer_is_cut() {
    let origin = ScriptedOrigin::start(|_| {
        vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), Step::Hold]
    })
    .await;
    let proxy = start(&[origin.address()], "[timeouts]\nbody = \"200ms\"\n").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    assert_eq!(client.read_head().await.status(), 200);
    assert_eq!(client.read_to_end().await, (b"abc".to_vec(), End::Closed));
    origin.until_ended(1).await;
}

/// Server-sent events may be silent for as long as they like. The proof needs no clock: a body that began later is cut
/// first.
#[tokio::test]
async fn a_silent_event_stream_outlives_a_silent_body() {
    let origin = Origin::bind().await;
    let proxy = start(&[origin.address()], "[timeouts]\nbody = \"200ms\"\n").await;
    let head = |content_type: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n")
    };
    let mut events = RawConnection::connect(proxy.address()).await;
    events.send(GET).await;
    let mut events_node = origin.accept().await;
    events_node.read_head().await;
    events_node.send(head("text/event-stream; charset=utf-8")).await;
    events.read_head().await;
    let mut body = RawConnection::connect(proxy.address()).await;
    body.send(GET).await;
    let mut body_node = origin.accept().await;
    body_node.read_head().await;
    body_node.send(head("text/plain")).await;
    body.read_head().await;
    assert_eq!(body.read_to_end().await, (Vec::new(), End::Closed));
    events_node.send("3\r\nabc\r\n").await;
    assert_eq!(events.read_exactly(8).await, b"3\r\nabc\r\n");
}

#[tokio::test]
async fn a_route_has_times_of_its_own() {
    let hanging = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\ntimeouts = {{ answer = \"200ms\" }}\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n[upstream.nodes.timeouts]\nanswer = \"1h\"\n",
        hanging.address()
    );
    let proxy = testkit::tidelock::Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
    assert_eq!(ask(&proxy, POST).await.status(), 504);
}

#[tokio::test]
async fn a_node_that_hangs_is_a_504_and_a_get_goes_on_to_the_next() {
    let hanging = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let proxy = start(&[hanging.address()], "[timeouts]\nanswer = \"200ms\"\n").await;
    let answer = ask(&proxy, POST).await;
    assert_eq!((answer.status(), answer.text().as_str()), (504, "504 Gateway Timeout\n"));
    hanging.until_ended(1).await;
    let answer = ask(&proxy, HANDSHAKE).await;
    assert_eq!(answer.status(), 504);
    assert_eq!(answer.text(), r#"{"code":3,"message":"Gateway Timeout"}"#);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://page.example"));
    let origin = answering().await;
    let proxy = start(&[hanging.address(), origin.address()], "[timeouts]\nanswer = \"200ms\"\n").await;
    for _ in 0..2 {
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    assert!(hanging.requests().len() > 2, "it was asked before the other");
}

/// An answer that has begun is in time, however long the rest of it takes.
#[tokio::test]
async fn an_answer_that_began_in_time_is_not_a_504() {
    let origin = Origin::bind().await;
    let proxy = start(&[origin.address()], "[timeouts]\nanswer = \"200ms\"\n").await;
    let mut slow = RawConnection::connect(proxy.address()).await;
    slow.send(GET).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na").await;
    slow.read_head().await;
    let mut hanging = RawConnection::connect(proxy.address()).await;
    hanging.send(POST).await;
    let _hanging_node = origin.accept().await;
    assert_eq!(hanging.read_message().await.status(), 504);
    node.send("bc").await;
    assert_eq!(slow.read_exactly(3).await, b"abc");
}

#[tokio::test]
async fn an_idle_client_is_let_go() {
    let origin = ScriptedOrigin::answering(OK).await;
    let proxy = start(&[origin.address()], "[timeouts]\nidle = \"200ms\"\n").await;
    let mut fresh = RawConnection::connect(proxy.address()).await;
    assert_eq!(
        fresh.read_to_end().await,
        (Vec::new(), End::Closed),
        "without a word of an answer to nothing"
    );
    let mut used = RawConnection::connect(proxy.address()).await;
    used.send(GET).await;
    assert_eq!(used.read_message().await.status(), 200);
    assert_eq!(used.read_to_end().await, (Vec::new(), End::Closed));
}

/// Whoever connects and says nothing has as long as for a head, however long a connection may rest that has asked.
#[tokio::test]
async fn a_client_that_says_nothing_is_let_go() {
    let origin = answering().await;
    let proxy = start(&[origin.address()], "[timeouts]\nhead = \"200ms\"\nidle = \"1h\"\n").await;
    let mut silent = RawConnection::connect(proxy.address()).await;
    assert_eq!(silent.read_to_end().await, (Vec::new(), End::Closed));
}

/// Each byte comes in time, and the whole never.
#[tokio::test]
async fn a_body_that_is_dripped_gets_a_408() {
    // The one by its rate, the other by the time of the whole request.
    for more in [
        "[limits]\nbody_bytes_per_second_min = 100000\n[timeouts]\nbody = \"300ms\"\n",
        "[limits]\nbody_bytes_per_second_min = 0\n[timeouts]\nrequest = \"1s\"\n",
    ] {
        for framing in ["Content-Length: 1000000", "Transfer-Encoding: chunked"] {
            let origin = answering().await;
            let proxy = start(&[origin.address()], more).await;
            let mut client = RawConnection::connect(proxy.address()).await;
            client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")).await;
            let piece = if framing.starts_with('C') { "x" } else { "1\r\nx\r\n" };
            let mut pace = interval(Duration::from_millis(20));
            let mut dripped = 0;
            let answer = loop {
                tokio::select! {
                    answer = client.read_message() => break answer,
                    _ = pace.tick() => dripped += 1,
                }
                client.send(piece).await;
                assert!(dripped < 1000, "it is served for ever: {more}");
            };
            assert_eq!((answer.status(), answer.header("connection")), (408, Some("close")), "{more}");
            origin.until_ended(1).await;
        }
    }
}

/// It takes a little all the time, and never enough.
#[tokio::test]
async fn a_client_that_sips_its_answer_is_cut() {
    for framing in ["Content-Length: 60000000", "X-No-Frame: 1"] {
        let body = "x".repeat(60_000_000);
        let origin = ScriptedOrigin::answering(&format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{body}")).await;
        let more = "[limits]\nanswer_bytes_per_second_min = 1000000000\n[timeouts]\nbody = \"1s\"\n";
        let proxy = start(&[origin.address()], more).await;
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        client.read_head().await;
        let mut pace = interval(Duration::from_millis(20));
        let mut sips = 0;
        let cut = origin.until_ended(1);
        tokio::pin!(cut);
        loop {
            tokio::select! {
                () = &mut cut => break,
                _ = pace.tick() => sips += 1,
            }
            // 128 KiB each time; whatever the kernel has buffered comes first.
            if client.try_read_exactly(128 << 10).await.is_err() {
                break;
            }
            assert!(sips < 450, "it is served until its answer is over: {framing}");
        }
    }
}

/// A connection is not for ever, and its end costs nobody a request: the last answer says so.
#[tokio::test]
async fn a_connection_ends_after_so_many_requests() {
    let origin = answering().await;
    let proxy = start(&[origin.address()], "[limits]\nkeepalive_requests = 3\n").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    for last in [false, false, true] {
        client.send(GET).await;
        let answer = client.read_message().await;
        assert_eq!((answer.status(), answer.header("connection")), (200, last.then_some("close")));
        if !last {
            // A rest is no new beginning.
            proxy.until_parked(1).await;
        }
    }
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
}

#[tokio::test]
async fn a_connection_ends_when_it_is_old() {
    let origin = answering().await;
    let proxy = start(&[origin.address()], "[timeouts]\nkeepalive_age = \"1s\"\n").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    let mut pace = interval(Duration::from_millis(50));
    for answered in 0.. {
        pace.tick().await;
        client.send(GET).await;
        let answer = client.read_message().await;
        assert_eq!(answer.status(), 200);
        if answer.header("connection") == Some("close") {
            assert!(answered > 0, "it was not old then");
            break;
        }
        assert!(answered < 1000, "it lives for ever");
    }
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
}
