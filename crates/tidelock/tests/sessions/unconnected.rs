//! A session's request for which no connection comes to be: nothing was sent, so that it can be made once more.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use testkit::TIMEOUT;
use testkit::engineio::PollingSession;
use testkit::tidelock::Tidelock;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::stand::TIDELOCK;

#[tokio::test]
async fn a_connection_attempt_that_is_lost_costs_no_session() {
    let node = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    node.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    node.listen(128).expect("it listens");
    let listener: TcpListener = node.try_clone().expect("its socket").into();
    let address = listener.local_addr().expect("its address");
    let proxy = Tidelock::start(
        TIDELOCK,
        &format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"{address}\"]\n\
             [upstream.nodes.timeouts]\nconnect = \"500ms\"\n"
        ),
    )
    .await;
    let answering = spawn_blocking(move || {
        answer(listener.accept().expect("tidelock connects").0, OPEN);
        listener
    });
    let session = PollingSession::open(proxy.address(), "EIO=4").await;
    let listener = answering.await.expect("the session is open");

    // With one connection that nobody takes there is no room, and the kernel drops whoever wants to connect.
    node.listen(0).expect("it listens");
    let filling = TcpStream::connect(address).expect("there is room for one");
    let posting = tokio::spawn(async move { session.post("4hello").await });
    let dropped = async {
        while !is_connecting(address) {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(TIMEOUT, dropped).await.expect("tidelock wants to connect");
    node.listen(128).expect("it listens");
    // A probe may come beside it, and says nothing.
    std::thread::spawn(move || {
        drop(filling);
        while let Ok((connection, _)) = listener.accept() {
            std::thread::spawn(|| answer(connection, "ok"));
        }
    });
    let posted = posting.await.expect("there is an answer");
    assert_eq!((posted.status(), posted.text()), (200, "ok".to_owned()));
}

/// Answers, once something is asked, and ends the connection.
fn answer(mut connection: TcpStream, body: &str) {
    if !matches!(connection.read(&mut [0; 4096]), Ok(1..)) {
        return;
    }
    let length = body.len();
    // A probe that has waited for too long is gone.
    let _ =
        write!(connection, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
}

/// Whether a connection to `address` is half open, as the kernel lists it.
fn is_connecting(address: SocketAddr) -> bool {
    const SYN_SENT: &str = "02";
    let remote = format!("0100007F:{:04X}", address.port());
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux lists connections");
    table.lines().any(|line| {
        let mut columns = line.split_whitespace().skip(2);
        columns.next() == Some(remote.as_str()) && columns.next() == Some(SYN_SENT)
    })
}

const OPEN: &str = "0{\"sid\":\"AAAAAAAAAAAAAAAAAAAA\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";
