//! What changes when the file says so: a proxy in front of us that is believed, and a Host of our own.

use testkit::origin::ScriptedOrigin;
use testkit::process::tells;
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, config_for};

/// The headers that a node sees of `sent`, in their order.
async fn check(top: &str, upstream: &str, sent: &str, want: &[(&str, &str)]) {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let config = format!("{top}\n{}{upstream}\n", config_for(&[origin.address()]));
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{sent}\r\n")).await;
    assert_eq!(client.read_message().await.status(), 200);
    let seen = origin.requests().remove(0).headers;
    let seen: Vec<_> = seen.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(seen, want, "{top} {upstream} {sent:?}");
}

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.0/8\", \"192.0.2.0/24\"]";

#[tokio::test]
async fn the_chain_of_a_trusted_proxy_is_kept_and_walked_from_the_right() {
    check(
        TRUSTED,
        "",
        "X-Forwarded-For: 6.6.6.6, 1.2.3.4\r\nX-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 6.6.6.6\r\nX_Real_IP: 6.6.6.6\r\n\
         X-Forwarded-Proto: https\r\nX-Forwarded-Host: b\r\nX-Forwarded-Port: 443\r\nForwarded: for=1.2.3.4\r\n",
        &[
            ("Host", "a"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "b"),
            ("X-Forwarded-Port", "443"),
            ("Forwarded", "for=1.2.3.4, for=127.0.0.1;proto=http"),
            ("X-Forwarded-For", "6.6.6.6, 1.2.3.4, 192.0.2.1, 127.0.0.1"),
            ("X-Real-IP", "1.2.3.4"),
        ],
    )
    .await;
    // What cannot be read cannot be believed, and neither can what stands left of it.
    check(
        TRUSTED,
        "",
        "X-Forwarded-For: 1.2.3.4, unknown, 192.0.2.1\r\n",
        &[
            ("Host", "a"),
            ("X-Forwarded-For", "1.2.3.4, unknown, 192.0.2.1, 127.0.0.1"),
            ("X-Real-IP", "192.0.2.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Host", "a"),
            ("X-Forwarded-Port", "80"),
        ],
    )
    .await;
}

#[tokio::test]
async fn another_proxy_is_not_believed() {
    check(
        "trusted_proxies = [\"192.0.2.0/24\"]",
        "",
        "X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n",
        &[
            ("Host", "a"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Port", "80"),
            ("X-Forwarded-Host", "a"),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_upstream_may_have_a_host_of_its_own() {
    check(
        "",
        "host = \"internal\"",
        "Connection: x-forwarded-host\r\n",
        &[
            ("Host", "internal"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Port", "80"),
            ("X-Forwarded-Host", "a"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_list_of_proxies_is_trusted_by_its_name() {
    check(
        "trusted_proxies = [\"loopback\"]",
        "",
        "Forwarded: for=1.2.3.4;proto=https;host=a.example\r\nCF-Connecting-IP: 1.2.3.4\r\n",
        &[
            ("Host", "a"),
            ("Forwarded", "for=1.2.3.4;proto=https;host=a.example, for=127.0.0.1;proto=http"),
            ("CF-Connecting-IP", "1.2.3.4"),
            ("X-Forwarded-For", "1.2.3.4, 127.0.0.1"),
            ("X-Real-IP", "1.2.3.4"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "a.example"),
            ("X-Forwarded-Port", "443"),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_upstream_may_hear_of_a_stranger_what_it_asks_for() {
    check(
        "",
        "pass_headers = [\"CF-Connecting-IP\", \"X_Client_IP\"]",
        "cf-connecting-ip: 1.2.3.4\r\nX_Client_IP: 1\r\nX-Client-IP: 2\r\n",
        &[
            ("Host", "a"),
            ("cf-connecting-ip", "1.2.3.4"),
            ("X_Client_IP", "1"),
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("X-Forwarded-Port", "80"),
            ("X-Forwarded-Host", "a"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_log_says_once_how_a_front_door_is_believed() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config_for(&[origin.address()])).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    let mut ask = async |lines: &str| {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
        assert_eq!(client.read_message().await.status(), 200);
    };
    // Nobody's evidence, and evidence of nobody who was not believed.
    ask("X-Forwarded-For: 1.2.3.4\r\n").await;
    ask("CF-Ray: 1\r\n").await;
    for _ in 0..2 {
        ask("CF-Connecting-IP: 1.2.3.4\r\nX-Forwarded-For: 1.2.3.4\r\nCF-Ray: 1\r\n").await;
    }
    ask("X-Forwarded-For: 1.2.3.4\r\nX-Amzn-Trace-Id: Root=1\r\n").await;
    let is_hint = |line: &str| tells(line, "front_door_unbelieved");
    proxy.process().wait_for_line(|line| is_hint(line) && line.contains("AWS")).await;
    let said = proxy.process().output();
    let hints: Vec<_> = said.lines().filter(|line| is_hint(line)).collect();
    assert_eq!(hints.len(), 2, "{hints:#?}");
    assert!(hints[0].contains("Cloudflare") && hints[0].contains("[\"private\"]"), "{hints:#?}");
}
