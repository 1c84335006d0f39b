//! Clients that leave, and answers that must not wait.

use testkit::origin::{Origin, ScriptedOrigin, Step};
use testkit::raw::RawConnection;

use crate::{GET, HANDSHAKE, opened, sid_of, start};

/// A closed tab must end its poll at the node at once, or its session lives on for a ping timeout.
#[tokio::test]
async fn a_client_that_leaves_ends_its_poll() {
    let origin = ScriptedOrigin::start(|request| {
        vec![if request.start.contains("sid=") { Step::Hold } else { opened("abcdefghijklmnopqrst") }]
    })
    .await;
    let proxy = start(&[origin.address()], "").await;
    for (round, resets) in [true, false].into_iter().enumerate() {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(HANDSHAKE).await;
        let sid = sid_of(&client.read_message().await);
        client.send(HANDSHAKE.replace("polling ", &format!("polling&sid={sid} "))).await;
        origin.until_requests(2 * (round + 1)).await;
        if resets {
            client.reset();
        } else {
            drop(client);
        }
        origin.until_ended(round + 1).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_upload_and_its_download() {
    let origin = Origin::bind().await;
    let proxy = start(&[origin.address()], "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na").await;
    let mut node = origin.accept().await;
    node.read_until("a").await;
    node.read_until("\r\n\r\na").await;
    drop(client);
    assert_eq!(node.read_to_end().await.0, b"");

    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na").await;
    client.read_until("\r\n\r\na").await;
    drop(client);
    assert_eq!(node.read_to_end().await.0, b"");
}

#[tokio::test]
async fn an_event_arrives_before_the_next_is_written() {
    let origin = Origin::bind().await;
    let proxy = start(&[origin.address()], "").await;
    // A stream without a frame is the usual one, and gets one on the way.
    for chunked in [true, false] {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        let mut node = origin.accept().await;
        node.read_head().await;
        let frame = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        node.send(format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{frame}\r\n")).await;
        assert_eq!(client.read_head().await.header("transfer-encoding"), Some("chunked"));
        for event in ["data: 0\n\n", "data: 1\n\n", "data: 2\n\n"] {
            node.send(if chunked { format!("9\r\n{event}\r\n") } else { event.to_owned() }).await;
            assert_eq!(client.read_exactly(14).await, format!("9\r\n{event}\r\n").as_bytes());
        }
        node.reset();
    }
}
