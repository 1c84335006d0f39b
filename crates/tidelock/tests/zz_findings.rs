//! Goal: what is known to be wrong stays seen until it is mended; then its test moves to the file of its theme.
//! Method: one test for each, named for what should be.

use testkit::origin::ScriptedOrigin;
use testkit::raw::RawConnection;
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
