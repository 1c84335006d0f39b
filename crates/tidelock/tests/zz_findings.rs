//! Goal: what is known to be wrong stays seen until it is mended; then its test moves to the file of its theme.
//! Method: one test for each, named for what should be.

use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::{End, RawConnection};
use testkit::tidelock::{Tidelock, config_for};

async fn proxy_for(origin: &ScriptedOrigin) -> Tidelock {
    Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config_for(&[origin.address()])).await
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

/// U+009B begins a terminal's command just as an escape does (CVE-2009-4487).
#[tokio::test]
async fn json_holds_no_control_character_of_a_client() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut proxy = proxy_for(&origin).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET /\u{9b}2J HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_message().await;
    let line = proxy.process().wait_for_line(|line| line.contains("\"target\"")).await;
    assert!(!line.contains(char::is_control), "{}", line.as_bytes().escape_ascii());
}

/// A shell and systemd give a soft limit of 1024 and a hard one far above it, which is ours to use.
#[tokio::test]
async fn the_soft_limit_of_files_is_raised_to_the_hard_one() {
    let directory = testkit::tidelock::directory();
    let wrapped = directory.path().join("wrapped");
    let script = format!("#!/bin/sh\nulimit -S -n 256\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_tidelock"));
    std::fs::write(&wrapped, script).unwrap();
    std::fs::set_permissions(&wrapped, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = Tidelock::start(&wrapped, &config_for(&[origin.address()])).await;
    let mut clients = Vec::new();
    for _ in 0..150 {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_message().await.status(), 200);
        clients.push(client);
    }
}

/// RFC 9112 section 4: the space behind the status code is not optional, the reason is.
#[tokio::test]
async fn a_status_line_without_a_reason_keeps_its_space() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = proxy_for(&origin).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.read_message().await.start, "HTTP/1.1 200 ");
}

/// Small devices send 22 characters and `==` that are the base64 of nothing; `ws` and nginx take them.
#[tokio::test]
async fn a_key_with_odd_last_bits_is_a_key() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let proxy = proxy_for(&origin).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Key: abcdefghijklmnopqrstuv==\r\n\r\n",
        )
        .await;
    assert_eq!(client.read_message().await.status(), 200);
}

/// An answer to a handshake that ends with the connection is a valid one; without a registered or tagged session
/// its client is told `Session ID unknown` ever after.
#[tokio::test]
async fn a_handshake_answered_until_the_close_is_a_session() {
    let origin = ScriptedOrigin::start(|request| {
        if request.start.contains("sid=") {
            return vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n6")];
        }
        let open =
            r#"0{"sid":"abcdefghijklmnopqrst","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;
        vec![Step::send(&format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{open}")), Step::Close]
    })
    .await;
    let proxy = proxy_for(&origin).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let opened = client.read_message().await.text();
    let sid = opened.split('"').nth(3).expect("an open packet").to_owned();
    client
        .send(format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\n\r\n"))
        .await;
    assert_eq!(client.read_message().await.text(), "6");
}
