//! What a table cannot hold: both ends move in turns, and each waits for what the other has really got.

use testkit::origin::Origin;
use testkit::raw::{End, RawConnection, get};
use testkit::tidelock::{Tidelock, config_for};

async fn ends() -> (Origin, Tidelock, RawConnection) {
    let origin = Origin::bind().await;
    let config = format!("workers = 1\n{}", config_for(&[origin.address()]));
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    let client = RawConnection::connect(proxy.address()).await;
    (origin, proxy, client)
}

const UPLOAD: &str = "POST /up HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n";

#[tokio::test]
async fn a_100_goes_from_end_to_end_before_the_body_does() {
    let (origin, _proxy, mut client) = ends().await;
    client.send(UPLOAD).await;
    let mut node = origin.accept().await;
    assert_eq!(node.read_head().await.header("expect"), Some("100-continue"));
    node.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.read_head().await.raw, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.send_pieces(["abc", "def"]).await;
    assert_eq!(node.read_exactly(6).await, b"abcdef");
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.read_message().await.raw, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    // Both connections go on.
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(node.read_head().await.start, "GET /next HTTP/1.1");
}

#[tokio::test]
async fn a_client_that_does_not_wait_for_a_100_is_served_too() {
    let (origin, _proxy, mut client) = ends().await;
    client.send(format!("{UPLOAD}abcdef")).await;
    let mut node = origin.accept().await;
    assert_eq!(node.read_message().await.body, b"abcdef");
    node.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.read_head().await.status(), 100);
    assert_eq!(client.read_head().await.raw, b"HTTP/1.1 204 No Content\r\n\r\n");
    client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(node.read_head().await.start, "GET /next HTTP/1.1");
}

/// 0.CL: if the client's connection went on, the body that it may still send would be read as a request.
#[tokio::test]
async fn a_final_answer_instead_of_a_100_ends_both_connections() {
    let (origin, proxy, mut client) = ends().await;
    client.send(UPLOAD).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno").await;
    let answer = client.read_message().await;
    assert_eq!((answer.status(), answer.header("connection")), (417, Some("close")));
    client.send("GET /x").await;
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
    assert_eq!(node.read_to_end().await, (Vec::new(), End::Closed), "the node saw no byte of a body");
    let next = async {
        let mut node = origin.accept().await;
        assert_eq!(node.read_head().await.start, "GET /next HTTP/1.1");
        node.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    };
    assert_eq!(tokio::join!(get(proxy.address(), "/next"), next).0.status(), 200);
}

/// The node may reset what it does not want to read; its answer must get through all the same.
#[tokio::test]
async fn an_answer_to_half_an_upload_gets_through() {
    for resets in [false, true] {
        let (origin, _proxy, mut client) = ends().await;
        client.send("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n").await;
        let mut node = origin.accept().await;
        node.read_head().await;
        client.send(vec![b'x'; 200_000]).await;
        node.read_exactly(1000).await;
        node.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno").await;
        // With bytes of the upload unread, a close is a reset.
        let kept = if resets {
            drop(node);
            None
        } else {
            Some(node)
        };
        let answer = client.read_message().await;
        assert_eq!((answer.status(), answer.text().as_str()), (413, "no"));
        assert_eq!(answer.header("connection"), Some("close"));
        let _ = client.try_send(vec![b'x'; 100_000]).await;
        assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
        drop(kept);
    }
}

/// A node that refuses a request before it has read it is gone before the request is sent, or in the midst of it.
#[tokio::test]
async fn an_answer_that_is_there_before_the_request_gets_through() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("127.0.0.1 has a free port");
    let config = format!("workers = 1\n{}", config_for(&[listener.local_addr().expect("an address")]));
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    // A thread of its own, because it has to be faster than the proxy.
    let refusing = std::thread::spawn(move || {
        for stream in listener.incoming().take(REFUSALS) {
            // Without Connection: close the next request may go where this one did, before the end of it has come.
            let answer =
                b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
            let _ = stream.and_then(|mut stream| std::io::Write::write_all(&mut stream, answer));
        }
    });
    let request =
        format!("POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{}", "x".repeat(60_000));
    for turn in 0..REFUSALS {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(&request).await;
        let answer = client.read_message().await;
        assert_eq!((answer.status(), answer.text().as_str()), (413, "no"), "turn {turn}");
    }
    refusing.join().expect("it ends");
}

/// Some of them meet every moment there is.
const REFUSALS: usize = 200;

#[tokio::test]
async fn a_session_that_its_node_does_not_know_is_over_however_the_node_says_so() {
    let said = r#"{"code":1,"message":"Session ID unknown"}"#;
    for is_chunked in [false, true] {
        let (origin, proxy, mut client) = ends().await;
        client.send("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut node = origin.accept().await;
        node.read_head().await;
        let open =
            r#"0{"sid":"abcdefghijklmnopqrst","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
        node.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{open}", open.len())).await;
        let opened = client.read_message().await.text();
        let sid = opened.split('"').nth(3).expect("an open packet");
        assert_eq!(proxy.status().await["upstreams"][0]["nodes"][0]["sessions"], 1);
        client
            .send(format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        node.read_head().await;
        let (framing, pieces) = match is_chunked {
            true => (
                "Transfer-Encoding: chunked".to_owned(),
                [&said[..4], &said[4..]].map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())),
            ),
            false => (format!("Content-Length: {}", said.len()), [&said[..4], &said[4..]].map(str::to_owned)),
        };
        node.send(format!("HTTP/1.1 400 Bad Request\r\n{framing}\r\n\r\n")).await;
        assert_eq!(client.read_head().await.status(), 400);
        // Each piece has been read before the next is sent.
        for piece in pieces {
            node.send(&piece).await;
            assert_eq!(client.read_exactly(piece.len()).await, piece.as_bytes());
        }
        assert_eq!(proxy.status().await["upstreams"][0]["nodes"][0]["sessions"], 0, "chunked: {is_chunked}");
    }
}

#[tokio::test]
async fn bodies_flow_both_ways_at_once() {
    let (origin, _proxy, mut client) = ends().await;
    client.send("POST /both HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    let mut node = origin.accept().await;
    node.read_until("abc\r\n").await;
    node.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nABC\r\n").await;
    let head = client.read_head().await;
    assert_eq!((head.status(), head.header("connection")), (200, Some("close")));
    assert_eq!(client.read_exactly(8).await, b"3\r\nABC\r\n");
    client.send("3\r\ndef\r\n").await;
    assert_eq!(node.read_exactly(8).await, b"3\r\ndef\r\n");
    node.send("3\r\nDEF\r\n").await;
    assert_eq!(client.read_exactly(8).await, b"3\r\nDEF\r\n");
    client.send("0\r\n\r\n").await;
    assert_eq!(node.read_exactly(5).await, b"0\r\n\r\n");
    node.send("0\r\n\r\n").await;
    assert_eq!(client.read_to_end().await, (b"0\r\n\r\n".to_vec(), End::Closed));
}

/// An answer is passed on as it comes, not when it is whole or when a buffer is full.
#[tokio::test]
async fn nothing_of_an_answer_is_held_back() {
    let (origin, _proxy, mut client) = ends().await;
    for (head, pieces) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", ["a", "bc", "def"]),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ["1\r\na\r\n", "3\r\n", "bcd\r\n0\r\n\r\n"],
        ),
    ] {
        client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut node = origin.accept().await;
        node.read_head().await;
        node.send(head).await;
        assert_eq!(client.read_head().await.raw, head.as_bytes());
        for piece in pieces {
            node.send(piece).await;
            assert_eq!(client.read_exactly(piece.len()).await, piece.as_bytes());
        }
        // The next round wants a connection of its own.
        node.reset();
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_one_by_one_and_in_order() {
    let (origin, _proxy, mut client) = ends().await;
    client
        .send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nxGET /3 HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let mut node = origin.accept().await;
    for (number, start) in [(1, "GET /1 HTTP/1.1"), (2, "POST /2 HTTP/1.1"), (3, "GET /3 HTTP/1.1")] {
        assert_eq!(node.read_message().await.start, start);
        node.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}")).await;
    }
    for number in ["1", "2", "3"] {
        assert_eq!(client.read_message().await.text(), number);
    }
}

/// What comes on an idle connection answers nothing. The next request must not find it there.
#[tokio::test]
async fn bytes_on_an_idle_connection_are_nobodys_answer() {
    let (origin, _proxy, mut client) = ends().await;
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut first = origin.accept().await;
    first.read_head().await;
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1").await;
    assert_eq!(client.read_message().await.text(), "1");
    first.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison").await;
    client.send("GET /2 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut second = origin.accept().await;
    assert_eq!(second.read_head().await.start, "GET /2 HTTP/1.1");
    second.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").await;
    assert_eq!(client.read_message().await.text(), "2");
}

#[tokio::test]
async fn a_node_that_dies_behind_an_interim_answer_is_a_502() {
    let (origin, _proxy, mut client) = ends().await;
    client.send("GET /1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n").await;
    assert_eq!(client.read_head().await.status(), 103);
    drop(node);
    assert_eq!(client.read_message().await.status(), 502);
}

/// Valid, and the usual way of a node that speaks HTTP/1.0. Without its session being known, its client would be told
/// `Session ID unknown` ever after.
#[tokio::test]
async fn a_handshake_answered_until_the_close_is_a_session() {
    let (origin, _proxy, mut client) = ends().await;
    client.send("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut node = origin.accept().await;
    node.read_head().await;
    let open = r#"0{"sid":"abcdefghijklmnopqrst","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
    node.send(format!("HTTP/1.0 200 OK\r\n\r\n{open}")).await;
    drop(node);
    let opened = client.read_message().await.text();
    let sid = opened.split('"').nth(3).expect("an open packet");
    client
        .send(format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .await;
    let mut node = origin.accept().await;
    assert_eq!(
        node.read_head().await.start,
        "GET /socket.io/?EIO=4&transport=polling&sid=abcdefghijklmnopqrst HTTP/1.1"
    );
}
