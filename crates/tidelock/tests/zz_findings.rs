//! Goal: what is known to be wrong stays seen until it is mended; then its test moves to the file of its theme.
//! Method: one test for each, named for what should be.

use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::{End, RawConnection};
use testkit::tidelock::{Tidelock, config_for};

async fn proxy_for(origin: &ScriptedOrigin) -> Tidelock {
    Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config_for(&[origin.address()])).await
}

/// RFC 9112 section 3.2: what we send is HTTP/1.1, and a client that sends absolute-form in HTTP/1.0 needs no Host.
#[tokio::test]
async fn an_absolute_target_in_http_10_gives_the_node_its_host() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = proxy_for(&origin).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET http://a.example/x HTTP/1.0\r\n\r\n").await;
    client.read_message().await;
    assert_eq!(origin.requests()[0].all("host"), ["a.example"]);
}

/// A session id opens the session to whoever reads the log, escaped or given twice as well.
#[tokio::test]
async fn an_odd_sid_is_not_logged_whole() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut proxy = proxy_for(&origin).await;
    for query in [
        "sid=%61bcdefghijklmnopqrst",
        "sid=abcdefghijklmnopqrst&sid=abcdefghijklmnopqrst",
        "s%69d=abcdefghijklmnopqrst",
    ] {
        let mut client = RawConnection::connect(proxy.address()).await;
        let mark = proxy.process().mark();
        client
            .send(format!("GET /socket.io/?EIO=4&transport=polling&{query} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .await;
        client.read_message().await;
        let line = proxy.process().wait_for_lines_since(mark, 1, |line| line.contains("\"target\"")).await;
        assert!(!line[0].contains("bcdefghijklmnopqrst"), "{query}: {line:?}");
    }
}

/// A body without a frame ends with the connection, and only a reset tells a cut from an end (RFC 9112 section 8).
#[tokio::test]
async fn a_cut_answer_without_a_frame_is_reset() {
    let cut = vec![Step::send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"), Step::Close];
    let origin = ScriptedOrigin::start(move |_| cut.clone()).await;
    let proxy = proxy_for(&origin).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_head().await.status(), 200);
    assert_eq!(client.read_to_end().await.1, End::Reset);
}

/// RFC 9110 section 7.8: there is no Upgrade in HTTP/1.0.
#[tokio::test]
async fn a_101_in_http_10_opens_no_tunnel() {
    let origin = ScriptedOrigin::answering(
        "HTTP/1.0 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
    .await;
    let proxy = proxy_for(&origin).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!(client.read_message().await.status(), 502);
}
