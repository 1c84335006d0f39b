//! SIGTERM: nobody who was let in is sent away without an answer.

use testkit::origin::{Origin, ScriptedOrigin, Step};
use testkit::process::{Signal, tells};
use testkit::raw::{End, RawConnection};
use testkit::tidelock::{Tidelock, config_for};

use crate::{GET, OK, answering, start};

async fn until_leaving(proxy: &mut Tidelock) {
    proxy.process().wait_for_line(|line| tells(line, "leaving")).await;
}

#[tokio::test]
async fn what_runs_is_finished_and_the_end_is_a_good_one() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let origin = ScriptedOrigin::start(|_| vec![Step::Hold, Step::send(OK)]).await;
        let mut proxy = start(&[origin.address()], "").await;
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        origin.until_requests(1).await;
        proxy.process().signal(signal);
        until_leaving(&mut proxy).await;
        origin.release();
        let answer = client.read_message().await;
        assert_eq!((answer.text().as_str(), answer.header("connection")), ("ok", Some("close")));
        assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
        drop(client);
        assert_eq!(proxy.process().exit().await.code(), Some(0), "{}", proxy.process().output());
    }
}

/// A body on its way is finished, to its last byte.
#[tokio::test]
async fn a_body_on_its_way_is_finished() {
    let origin = Origin::bind().await;
    let mut proxy = start(&[origin.address()], "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc").await;
    client.read_until("abc").await;
    proxy.process().signal(Signal::TERM);
    until_leaving(&mut proxy).await;
    node.send("def").await;
    assert_eq!(client.read_exactly(3).await, b"def");
    drop(client);
    assert_eq!(proxy.process().exit().await.code(), Some(0));
}

/// A request that crosses the end on its way is answered, and the answer says that it was the last.
#[tokio::test]
async fn an_idle_connection_gets_one_more_answer() {
    let origin = answering().await;
    let mut proxy = start(&[origin.address()], "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    assert_eq!(client.read_message().await.header("connection"), None);
    proxy.process().signal(Signal::TERM);
    until_leaving(&mut proxy).await;
    client.send(GET).await;
    let answer = client.read_message().await;
    assert_eq!((answer.status(), answer.header("connection")), (200, Some("close")));
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
    drop(client);
    assert_eq!(proxy.process().exit().await.code(), Some(0));
}

/// The kernel has let them in, so that they are answered. A stopped process accepts nothing, and meets its signal and
/// its full queues at once when it goes on.
#[tokio::test]
async fn who_waits_in_an_accept_queue_is_answered() {
    for workers in [1, 4] {
        who_waits_is_answered(workers).await;
    }
}

async fn who_waits_is_answered(workers: usize) {
    let origin = answering().await;
    let config = format!("workers = {workers}\n{}", config_for(&[origin.address()]));
    let mut proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    proxy.process().signal(Signal::STOP);
    // Whoever has given up in the meantime is no reason to send away the others.
    RawConnection::connect(proxy.address()).await.reset();
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        clients.push(client);
    }
    proxy.process().signal(Signal::TERM);
    proxy.process().signal(Signal::CONT);
    for mut client in clients {
        assert_eq!(client.read_message().await.status(), 200);
    }
    assert_eq!(proxy.process().exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let mut proxy = start(&[origin.address()], "[drain]\ndeadline = \"1h\"\n").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    origin.until_requests(1).await;
    proxy.process().signal(Signal::TERM);
    until_leaving(&mut proxy).await;
    proxy.process().signal(Signal::TERM);
    proxy.process().exit().await;
    origin.until_ended(1).await;
    assert_eq!(client.read_to_end().await.0, b"");
}

#[tokio::test]
async fn the_deadline_ends_what_does_not_end() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let mut proxy = start(&[origin.address()], "[drain]\ndeadline = \"200ms\"\n").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    origin.until_requests(1).await;
    proxy.process().signal(Signal::TERM);
    assert_eq!(proxy.process().exit().await.code(), Some(0));
    assert_eq!(client.read_to_end().await.0, b"");
}
