//! Goal: a drain says to a node only what the session's own client would say, and waits for nobody longer than it must.
//! Method: a scripted node that writes down the closes, and answers them well, badly, or not at all.

use testkit::engineio::PollingSession;
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use crate::stand::{SECRET, SWITCHED, TIDELOCK, file_of, open_packet, verb};

/// What a node does with the close of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// As Engine.IO does in Node.js, which also ends the poll; this one never does, as python-engineio's asyncio server.
    Well,
    /// It refuses it.
    Badly,
    /// It refuses whatever is more than a close, as engineioxide does.
    Alone,
    /// It hangs.
    Never,
}

async fn node(takes: Takes) -> ScriptedOrigin {
    let mut sessions = 0;
    ScriptedOrigin::start(move |request: &Message| {
        let ok = |body: &str| {
            Step::send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
        };
        if !request.start.contains("sid=") {
            sessions += 1;
            return vec![ok(&open_packet(&format!("session-{sessions:08}"), &request.start))];
        }
        match (request.start.starts_with("POST"), takes) {
            (false, _) | (true, Takes::Never) => vec![Step::Hold],
            (true, Takes::Well) => vec![ok("ok")],
            (true, Takes::Alone) if request.text().contains('5') => vec![Step::send(REFUSED)],
            (true, Takes::Alone) => vec![ok("ok")],
            (true, Takes::Badly) => vec![Step::send("HTTP/1.1 500 Sorry\r\nContent-Length: 0\r\n\r\n")],
        }
    })
    .await
}

const REFUSED: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";

/// Whatever becomes of the close, a poll that its node does not end is ended by us, with a close packet of its form.
#[tokio::test]
async fn a_poll_that_the_node_does_not_end_is_answered() {
    for takes in [Takes::Well, Takes::Badly, Takes::Alone, Takes::Never] {
        let node = node(takes).await;
        let address = node.address();
        let proxy = Tidelock::start(TIDELOCK, &file_of(&[&format!("\"{address}\"")], SECRET, "")).await;
        let mut polls = Vec::new();
        for (query, close) in [
            ("EIO=4", "1"),
            ("EIO=3", "1:1"),
            ("EIO=4&j=0", "___eio[0](\"1\");"),
            ("EIO=3&j=7", "___eio[7](\"1:1\");"),
        ] {
            let session = PollingSession::open(proxy.address(), query).await;
            let mut poll = RawConnection::connect(proxy.address()).await;
            session.begin_poll(&mut poll).await;
            polls.push((poll, close));
        }
        node.until_requests(2 * polls.len()).await;
        let (code, said) = verb(proxy.directory(), &["drain", &address.to_string()]).await;
        assert!(code == 0 && said.contains("empty"), "{takes:?}: {said}");
        for (mut poll, close) in polls {
            let answer = poll.read_message().await;
            assert_eq!((answer.status(), answer.text().as_str()), (200, close), "{takes:?}");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                Some("http://page.example"),
                "{takes:?}"
            );
        }
    }
}

/// To the path where sessions are opened, in the client's name, with the Host that a request would get.
#[tokio::test]
async fn a_close_says_what_the_clients_own_session_would_say() {
    for (more, host) in [("", "chat.example.com"), ("host = \"app.internal\"\n", "app.internal")] {
        let node = node(Takes::Well).await;
        let address = node.address();
        let trusting = format!("trusted_proxies = [\"127.0.0.1\"]\n{SECRET}");
        let proxy = Tidelock::start(TIDELOCK, &file_of(&[&format!("\"{address}\"")], &trusting, more)).await;
        let mut client = RawConnection::connect(proxy.address()).await;
        let front =
            "Host: chat.example.com\r\nX-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\r\n";
        let open = format!("GET /chat/?EIO=4&transport=polling HTTP/1.1\r\n{front}");
        let handshake = client.try_ask(&open).await.expect("an answer").text();
        let sid = testkit::engineio::sid(&handshake).expect("a session");
        // It goes on at a path that does something else, with a Host that is somebody else's.
        let post = format!(
            "POST /evil/delete-everything?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: internal.example\r\n\
             Content-Length: 2\r\n\r\n40"
        );
        assert_eq!(client.try_ask(&post).await.expect("an answer").status(), 200);
        let (code, said) = verb(proxy.directory(), &["drain", &address.to_string()]).await;
        assert_eq!(code, 0, "{said}");
        let close = node.requests().pop().expect("a close");
        assert_eq!(close.start, "POST /chat/?EIO=4&transport=polling&sid=session-00000001 HTTP/1.1");
        assert_eq!((close.header("host"), close.text().as_str()), (Some(host), "5\u{1e}1"));
        assert_eq!(close.header("x-forwarded-for"), Some("198.51.100.7"));
        assert_eq!(close.header("x-real-ip"), Some("198.51.100.7"));
        assert_eq!(close.header("x-forwarded-proto"), Some("https"));
        assert_eq!(close.header("user-agent"), Some("tidelock"));
    }
}

/// A node that takes a WebSocket and nothing it says holds up nobody: its client has answered the Close.
#[tokio::test]
async fn a_websocket_whose_node_answers_no_close_is_let_go() {
    let node = ScriptedOrigin::start(|_| vec![Step::send(SWITCHED), Step::Hold]).await;
    let address = node.address();
    let proxy = Tidelock::start(TIDELOCK, &file_of(&[&format!("\"{address}\"")], SECRET, "")).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client
        .send(
            "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!(client.read_head().await.status(), 101);
    let drain = verb(proxy.directory(), &["drain", "nodes"]);
    let ((code, said), ()) = tokio::join!(drain, async {
        let close = client.read_exactly(4).await;
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1012));
        client.send([&[0x88, 0x82, 0, 0, 0, 0], 1012_u16.to_be_bytes().as_slice()].concat()).await;
    });
    assert!(code == 0 && said.contains("empty"), "{said}");
}

/// A node that keeps its connections open holds up nobody, and is not asked for a connection each time.
#[tokio::test]
async fn many_sessions_are_closed_over_few_connections() {
    let node = node(Takes::Well).await;
    let address = node.address();
    let proxy = Tidelock::start(TIDELOCK, &file_of(&[&format!("\"{address}\"")], SECRET, "")).await;
    let mut connection = RawConnection::connect(proxy.address()).await;
    for _ in 0..500 {
        let request = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(connection.try_ask(request).await.expect("an answer").status(), 200);
    }
    let before = node.connections();
    let (code, said) = verb(proxy.directory(), &["drain", &address.to_string()]).await;
    assert!(code == 0 && said.contains("empty"), "{said}");
    let closes = node.requests().iter().filter(|request| request.start.starts_with("POST")).count();
    assert_eq!(closes, 500, "those that have never polled, too");
    assert!(node.connections() - before <= 64, "{} connections", node.connections() - before);
}

/// A POST that is under way until the deadline keeps its session from being closed, and the next drain closes it.
#[tokio::test]
async fn a_session_that_was_busy_to_the_end_of_a_drain_is_closed_by_the_next() {
    let node = node(Takes::Well).await;
    let address = node.address();
    let file = file_of(&[&format!("\"{address}\"")], SECRET, "").replace("20s", "1s");
    let proxy = Tidelock::start(TIDELOCK, &file).await;
    let session = PollingSession::open(proxy.address(), "EIO=4").await;
    // The node waits for the rest of the body, which comes when the first drain is over.
    let mut post = RawConnection::connect(proxy.address()).await;
    let sid = &session.sid;
    let head = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n4"
    );
    post.send(head).await;
    let mut poll = RawConnection::connect(proxy.address()).await;
    session.begin_poll(&mut poll).await;
    node.until_requests(2).await;
    let (code, said) = verb(proxy.directory(), &["drain", &address.to_string()]).await;
    assert_eq!(code, 1, "{said}");
    post.send("2[]").await;
    assert_eq!(post.read_message().await.status(), 200);
    let (code, said) = verb(proxy.directory(), &["drain", &address.to_string()]).await;
    assert!(code == 0 && said.contains("empty"), "{said}");
    assert_eq!(poll.read_message().await.text(), "1");
}

/// A node that takes a close alone is asked once, and told so by each session from then on.
#[tokio::test]
async fn a_node_that_takes_a_close_alone_gets_it_so() {
    let node = node(Takes::Alone).await;
    let address = node.address();
    let proxy = Tidelock::start(TIDELOCK, &file_of(&[&format!("\"{address}\"")], SECRET, "")).await;
    let mut sids = Vec::new();
    for _ in 0..20 {
        sids.push(PollingSession::open(proxy.address(), "EIO=4").await.sid);
    }
    let (code, said) = verb(proxy.directory(), &["drain", &address.to_string()]).await;
    assert!(code == 0 && said.contains("empty"), "{said}");
    let closes = node.requests().into_iter().filter(|request| request.start.starts_with("POST"));
    let alone = closes.filter(|request| request.text() == "1").count();
    assert_eq!(alone, sids.len(), "each session is closed once");
}
