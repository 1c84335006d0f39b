//! Bodies that are longer than any buffer. Between plain sockets the proxy never sees most of their bytes, so that
//! here every one of them is compared.

use testkit::origin::{Origin, ScriptedOrigin, Step};
use testkit::raw::{End, RawConnection, get};
use testkit::tidelock::{Tidelock, config_for};

/// Bytes that are nowhere the same for long, and differ by `kind`.
fn body(kind: u32, bytes: usize) -> Vec<u8> {
    let mut state = kind.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..bytes).map(|_| next()).collect()
}

fn answer(body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

async fn start(node: std::net::SocketAddr) -> Tidelock {
    let config = format!("workers = 1\n{}", config_for(&[node]));
    Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await
}

#[tokio::test]
async fn long_bodies_arrive_as_they_were_sent_both_ways() {
    // Around what is poured and what is copied, and far beyond.
    let sizes = [65_535, 65_536, 65_537, 131_072, 200_001, 3_000_000];
    let origin = ScriptedOrigin::start(|request| {
        let size = request.start.split(['/', ' ']).nth(2).and_then(|size| size.parse().ok()).unwrap();
        assert!(request.body == body(1, size), "another body of {size} bytes came to the node");
        vec![Step::Send(answer(&body(2, size)))]
    })
    .await;
    let proxy = start(origin.address()).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    for size in sizes {
        client.send(format!("PUT /{size} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n")).await;
        client.send(body(1, size)).await;
        let got = client.read_message().await;
        assert!(got.status() == 200 && got.body == body(2, size), "{size}: {:?}", got.start);
    }
    assert_eq!(origin.connections(), 1, "both connections go on behind a long body");
}

#[tokio::test]
async fn a_long_answer_that_is_cut_looks_cut_and_leaves_nothing_behind() {
    let origin = Origin::bind().await;
    let proxy = start(origin.address()).await;
    for resets in [false, true] {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut node = origin.accept().await;
        node.read_head().await;
        let whole = answer(&body(3, 1_000_000));
        node.send(&whole[..500_000]).await;
        // All of it has come, so that not even a reset may take it back.
        assert!(client.read_exactly(500_000).await == whole[..500_000]);
        if resets {
            node.reset();
        } else {
            drop(node);
        }
        let (rest, end) = client.read_to_end().await;
        assert_eq!((rest.len(), end), (0, End::Closed));
        let next = async {
            let mut node = origin.accept().await;
            node.read_head().await;
            node.send(answer(&body(4, 300_000))).await;
        };
        let (got, ()) = tokio::join!(get(proxy.address(), "/next"), next);
        assert!(got.body == body(4, 300_000), "somebody else's bytes");
    }
}

#[tokio::test]
async fn what_comes_behind_a_long_answer_is_for_nobody() {
    let origin = Origin::bind().await;
    let proxy = start(origin.address()).await;
    for bytes in [70_000, 200_000, 1_000_000] {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let mut node = origin.accept().await;
        node.read_head().await;
        node.send([answer(&body(5, bytes)), answer(b"poison")].concat()).await;
        assert!(client.read_message().await.body == body(5, bytes));
        client.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let next = async {
            let mut fresh = origin.accept().await;
            assert_eq!(fresh.read_head().await.start, "GET /next HTTP/1.1");
            fresh.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok").await;
        };
        assert_eq!(tokio::join!(client.read_message(), next).0.text(), "ok", "{bytes}");
        drop(node);
    }
}

/// What is under way to somebody who has left comes to nobody else.
#[tokio::test]
async fn clients_that_leave_or_do_not_read_hold_up_nobody() {
    let size = 4_000_000;
    let origin = ScriptedOrigin::start(move |request| {
        let kind = request.start.split(['/', ' ']).nth(2).and_then(|kind| kind.parse().ok()).unwrap();
        vec![Step::Send(answer(&body(kind, size)))]
    })
    .await;
    let proxy = start(origin.address()).await;
    // More than there may be pipes.
    let mut idle = Vec::new();
    for kind in 0..40 {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(format!("GET /{kind} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        client.read_head().await;
        idle.push(client);
    }
    for (kind, client) in (0..).zip(idle.drain(..20)) {
        if kind % 2 == 0 { client.reset() } else { drop(client) }
    }
    assert!(get(proxy.address(), "/77").await.body == body(77, size), "somebody else's bytes");
    for (kind, mut client) in (20..).zip(idle) {
        assert!(client.read_exactly(size).await == body(kind, size), "{kind}: somebody else's bytes");
    }
}
