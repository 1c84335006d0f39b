//! Connections that rest leave the runtime after a while. Nobody may notice: not their clients, not who waits for a
//! place, and not whoever ends or reloads the proxy.

use std::net::SocketAddr;

use testkit::process::{Signal, tells};
use testkit::raw::{End, RawConnection};
use testkit::tidelock::{Tidelock, config_for};

use crate::{GET, answering, start};

/// Some that have asked once and rest.
async fn parked(proxy: &Tidelock, count: u64) -> Vec<RawConnection> {
    parked_at(proxy, proxy.address(), count).await
}

/// The same of another listen.
async fn parked_at(proxy: &Tidelock, address: SocketAddr, count: u64) -> Vec<RawConnection> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = RawConnection::connect(address).await;
        client.send(GET).await;
        assert_eq!(client.read_message().await.text(), "ok");
        clients.push(client);
    }
    proxy.until_parked(count).await;
    clients
}

#[tokio::test]
async fn the_next_request_is_answered_as_if_there_had_been_no_rest() {
    let origin = answering().await;
    let proxy = start(&[origin.address()], "").await;
    let [mut client, mut other] = parked(&proxy, 2).await.try_into().expect("two");
    // Who comes back once is parked a second time.
    for round in 1..3 {
        let (method, body) = if round == 1 { ("POST", "ab") } else { ("PUT", "") };
        let length = body.len();
        let request =
            format!("{method} /{round} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        // Byte by byte, and then several at once with a piece of one more.
        client.send_pieces(request.as_bytes().chunks(1)).await;
        assert_eq!(client.read_message().await.text(), "ok");
        client.send(format!("{GET}{GET}{}", &GET[..9])).await;
        for _ in 0..2 {
            assert_eq!(client.read_message().await.text(), "ok");
        }
        client.send(&GET[9..]).await;
        assert_eq!(client.read_message().await.text(), "ok");
        proxy.until_parked(2).await;
    }
    other.send(GET).await;
    assert_eq!(other.read_message().await.text(), "ok");
    let seen = origin.requests();
    assert_eq!(seen.len(), 2 + 2 * 4 + 1);
    // What nodes are told about the client is made anew, and must say the same.
    let told = ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-port", "x-forwarded-host"];
    for request in &seen {
        let told = told.map(|name| request.header(name).unwrap_or("nothing"));
        assert_eq!(told, ["127.0.0.1", "127.0.0.1", "http", "80", "a"], "{}", request.start);
    }
}

/// What a proxy in front of us says is still believed after a rest.
#[tokio::test]
async fn a_trusted_peer_stays_trusted() {
    let origin = answering().await;
    let config = format!("trusted_proxies = [\"127.0.0.1\"]\n{}", config_for(&[origin.address()]));
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    let [mut client] = parked(&proxy, 1).await.try_into().expect("one");
    client.send(GET.replace("\r\n\r\n", "\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")).await;
    assert_eq!(client.read_message().await.text(), "ok");
    assert_eq!(origin.requests()[1].header("x-forwarded-for"), Some("192.0.2.7, 127.0.0.1"));
}

#[tokio::test]
async fn who_has_not_asked_yet_is_parked_too_and_those_who_leave_are_forgotten() {
    let origin = answering().await;
    let proxy = start(&[origin.address()], "").await;
    let mut silent = RawConnection::connect(proxy.address()).await;
    let closed = RawConnection::connect(proxy.address()).await;
    let reset = RawConnection::connect(proxy.address()).await;
    let workers = proxy.until_parked(3).await;
    assert_eq!((&workers[0]["live"], &workers[0]["connections"]), (&3.into(), &3.into()));
    silent.send(GET).await;
    assert_eq!(silent.read_message().await.text(), "ok");
    drop(closed);
    reset.reset();
    let workers = proxy.until_parked(1).await;
    assert_eq!((&workers[0]["live"], &workers[0]["connections"]), (&1.into(), &3.into()));
}

/// A client may say its last words and its end in one breath.
#[tokio::test]
async fn a_last_request_with_the_clients_end_behind_it_is_answered() {
    let origin = answering().await;
    let proxy = start(&[origin.address()], "").await;
    let [mut client] = parked(&proxy, 1).await.try_into().expect("one");
    client.send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    client.half_close().await;
    assert_eq!(origin.until_requests(2).await.len(), 2);
}

#[tokio::test]
async fn the_idle_timeout_ends_them_each_by_the_file_of_its_time() {
    let origin = answering().await;
    let idle = |idle: &str| format!("[timeouts]\nidle = \"{idle}\"\n");
    let mut proxy = start(&[origin.address()], &idle("1h")).await;
    let [mut waiting] = parked(&proxy, 1).await.try_into().expect("one");
    proxy.rewrite(&format!("workers = 1\n{}{}", config_for(&[origin.address()]), idle("1s")));
    let mark = proxy.process().mark();
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    // Their waits began under different files.
    let mut hasty = RawConnection::connect(proxy.address()).await;
    hasty.send(GET).await;
    assert_eq!(hasty.read_message().await.text(), "ok");
    proxy.until_parked(2).await;
    assert_eq!(hasty.read_to_end().await, (Vec::new(), End::Closed), "without a word");
    proxy.until_parked(1).await;
    waiting.send(GET).await;
    assert_eq!(waiting.read_message().await.text(), "ok");
    // Its next one is begun under the new file.
    assert_eq!(waiting.read_to_end().await, (Vec::new(), End::Closed));
}

#[tokio::test]
async fn a_listen_that_a_reload_took_away_keeps_those_who_came_in_by_it() {
    let origin = answering().await;
    let config = config_for(&[origin.address()]);
    let second = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
    let mut proxy = start(&[origin.address()], second).await;
    let gone = proxy.addresses()[1];
    let [mut client] = parked_at(&proxy, gone, 1).await.try_into().expect("one");
    proxy.rewrite(&format!("workers = 1\n{config}"));
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_line(|line| tells(line, "listen_closed")).await;
    assert!(RawConnection::try_connect(gone).await.is_err(), "nobody else comes in by it");
    client.send(GET).await;
    assert_eq!(client.read_message().await.text(), "ok");
    let port = origin.requests()[1].header("x-forwarded-port").map(str::to_owned);
    assert_eq!(port.as_deref(), Some("80"));
}

#[tokio::test]
async fn when_the_proxy_leaves_they_have_one_more_answer_or_a_polite_end() {
    let origin = answering().await;
    let mut proxy = start(&[origin.address()], "").await;
    let [mut asking, mut silent] = parked(&proxy, 2).await.try_into().expect("two");
    proxy.process().signal(Signal::TERM);
    proxy.process().wait_for_line(|line| tells(line, "leaving")).await;
    asking.send(GET).await;
    let answer = asking.read_message().await;
    assert_eq!((answer.text().as_str(), answer.header("connection")), ("ok", Some("close")));
    assert_eq!(asking.read_to_end().await, (Vec::new(), End::Closed));
    drop(asking);
    assert_eq!(silent.read_to_end().await, (Vec::new(), End::Closed));
    drop(silent);
    let output = proxy.process().output();
    assert_eq!(proxy.process().exit().await.code(), Some(0), "{output}");
    assert!(!proxy.process().output().contains("time is up"), "{output}");
}

/// Whoever has said that the proxy has no time means the parked ones too.
#[tokio::test]
async fn when_the_time_is_up_they_are_closed() {
    let origin = answering().await;
    let mut proxy = start(&[origin.address()], "[drain]\ndeadline = \"100ms\"\n").await;
    let [mut client] = parked(&proxy, 1).await.try_into().expect("one");
    proxy.process().signal(Signal::TERM);
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
    assert_eq!(proxy.process().exit().await.code(), Some(0));
    assert!(proxy.process().output().contains("time is up"), "{}", proxy.process().output());
}
