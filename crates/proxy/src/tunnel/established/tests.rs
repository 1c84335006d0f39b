//! A tunnel between two pairs of sockets, by a paused clock.

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use bytes::BytesMut;
use config::roster::RosterNode;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::net::clock::by_clock;
use crate::net::memory::Memory;
use crate::net::places::{ClientKey, Places};
use crate::net::stream::{Io, Stream};
use crate::observe::counters::Counters;
use crate::observe::lifecycle::{Live, Lives};
use crate::request::upgrade::OriginEnd;
use crate::upstream::node::Node;
use crate::upstream::route_number::RouteNumber;

/// The proxy's end of a connection, and the other one.
async fn ends() -> (Stream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (Stream::Plain(listener.accept().await.unwrap().0), other)
}

fn node() -> Arc<Node> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let written = address.to_string();
    let bounds = config::plan::NodeBounds::default();
    let roster = RosterNode {
        written,
        address: address.into(),
        tls_name: None,
        instance: None,
        weight: 1,
        backup: false,
        bounds,
    };
    Arc::new(Node::new("nodes", &roster))
}

/// A tunnel that may be idle for an hour, its client and its node.
async fn tunnel(clock: &Rc<Clock>) -> (Tunnel, TcpStream, TcpStream) {
    let ((client, far_client), (origin, far_origin)) = (ends().await, ends().await);
    let origin = OriginEnd {
        io: Io::new(origin),
        early: BytesMut::new(),
        node: node(),
        session: None,
        silence: None,
        idle: Duration::from_hours(1),
        client: Ipv4Addr::LOCALHOST.into(),
        is_pinned: false,
        route: RouteNumber::NONE,
        is_logged: true,
        guarded: None,
    };
    let limits = config::parse(FILE, std::path::Path::new("file")).unwrap().plan.limits;
    let place = Places::new(1).try_take().unwrap().give(ClientKey::NOBODY, &limits).unwrap();
    let live = Live::new(Arc::<Counters>::default(), place);
    let upgraded = Upgraded {
        client: Io::new(client),
        client_early: BytesMut::new(),
        origin,
        limits,
        live: Lives::Alone(live),
    };
    (Tunnel::new(upgraded, false, clock).unwrap(), far_client, far_origin)
}

const FILE: &str = "[[listen]]\naddress = \":1\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"127.0.0.1:1\"]";

/// Who ended it, and after how long.
async fn run_to_its_end(mut tunnel: Tunnel, clock: Rc<Clock>) -> (EndedBy, Duration) {
    let (buffers, begun) = (Buffers::new(16 << 10, Memory::new()), Instant::now());
    let running = Box::pin(async move { poll_fn(|cx| tunnel.poll(cx, &buffers)).await });
    let ended_by = by_clock(clock, running).await;
    (ended_by, begun.elapsed())
}

/// Has as little room as a socket can have.
fn make_small(socket: std::os::fd::BorrowedFd<'_>) {
    let socket = socket2::SockRef::from(&socket);
    socket.set_send_buffer_size(1).unwrap();
    socket.set_recv_buffer_size(1).unwrap();
}

/// Each end in its turn says more than the other takes, and leaves: with its end behind what was not read of it, which
/// nobody sees therefore, or with room for that.
#[tokio::test(start_paused = true)]
async fn who_leaves_is_missed_while_the_other_reads_nothing() {
    let cases = [(true, 64, 20), (false, 64, 20), (true, 1 << 16, 70), (false, 1 << 16, 70)];
    for (is_client, kib, seconds_max) in cases {
        let clock = Rc::new(Clock::new());
        let (tunnel, client, node) = tunnel(&clock).await;
        let (mut leaves, stays, sink) =
            if is_client { (client, node, &tunnel.origin) } else { (node, client, &tunnel.client) };
        make_small(stays.as_fd());
        make_small(sink.socket().unwrap());
        let leaving = tokio::spawn(async move {
            let said = [&[0x82, 127, 0, 0, 0, 0, 4, 0, 0, 0][..], &vec![0; kib << 10]].concat();
            // Until nothing moves any more.
            let _ = tokio::time::timeout(Duration::from_secs(1), leaves.write_all(&said)).await;
        });
        let (_, lasted) = run_to_its_end(tunnel, clock).await;
        assert!(lasted < Duration::from_secs(seconds_max), "{lasted:?} (client: {is_client}, {kib} KiB)");
        leaving.await.unwrap();
        drop(stays);
    }
}

/// A node that is lost while a drain empties it does not give its clients more time than the drain does.
#[tokio::test(start_paused = true)]
async fn a_lost_node_does_not_move_the_deadline_of_a_drain() {
    let clock = Rc::new(Clock::new());
    let (mut tunnel, _silent_client, node) = tunnel(&clock).await;
    let now = Instant::now();
    tunnel.say_close_at_turn(CloseOrder {
        at: now,
        until: now + Duration::from_secs(2),
        reason: CloseReason::Restart,
    });
    drop(node);
    let (_, lasted) = run_to_its_end(tunnel, clock).await;
    assert!(lasted <= Duration::from_millis(2100), "{lasted:?}");
}

/// The word about a lost node is tried again at each wake while the client takes nothing. A client that wakes the tunnel
/// by all that it sends gets no more time by it.
#[tokio::test(start_paused = true)]
async fn a_wake_does_not_put_off_the_end_after_a_lost_node() {
    let set = tokio::task::LocalSet::new();
    let clock = Rc::new(Clock::new());
    set.run_until(async {
        let (mut tunnel, _client, node) = tunnel(&clock).await;
        drop(node);
        let mut ends = async || {
            poll_fn(|cx| tunnel.end_of_origin(cx)).await;
            tunnel.wakes_at()
        };
        let first = ends().await;
        for _ in 0..10 {
            tokio::time::advance(Duration::from_millis(400)).await;
            clock.tick();
            assert_eq!(ends().await, first);
        }
    })
    .await;
}

/// The client says pong to one ping and no more. The node pings on, and gives up.
#[tokio::test(start_paused = true)]
async fn a_client_that_vanishes_without_a_word_is_named() {
    let clock = Rc::new(Clock::new());
    let (mut tunnel, mut client, mut node) = tunnel(&clock).await;
    tunnel.has_pings = true;
    tunnel.idle_ms = in_ms(Duration::from_secs(45) + SLACK);
    let playing = tokio::spawn(async move {
        node.write_all(&[0x81, 1, b'2']).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        client.write_all(&[0x81, 0x81, 0, 0, 0, 0, b'3']).await.unwrap();
        tokio::time::sleep(Duration::from_secs(24)).await;
        node.write_all(&[0x81, 1, b'2']).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        drop(node);
        // Long after.
        tokio::time::sleep(Duration::from_secs(120)).await;
    });
    let (ended_by, _) = run_to_its_end(tunnel, clock).await;
    assert_eq!(ended_by, EndedBy::ClientSilent);
    playing.abort();
}

/// Of two ends that have to speak, the one is silent that has not spoken last; where neither has to, neither is.
#[tokio::test(start_paused = true)]
async fn who_is_silent_is_named() {
    let cases = [
        (true, "node", EndedBy::ClientSilent),
        (true, "client", EndedBy::OriginSilent),
        (false, "node", EndedBy::Idle),
        (false, "client", EndedBy::Idle),
    ];
    for (has_pings, last, want) in cases {
        let clock = Rc::new(Clock::new());
        let (mut tunnel, mut client, mut node) = tunnel(&clock).await;
        tunnel.has_pings = has_pings;
        let (first, then) = match last {
            "node" => ((&mut client, &[0x81_u8, 0x80, 0, 0, 0, 0][..]), (&mut node, &[0x81_u8, 0][..])),
            _ => ((&mut node, &[0x81, 0][..]), (&mut client, &[0x81, 0x80, 0, 0, 0, 0][..])),
        };
        let speaking = async {
            first.0.write_all(first.1).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            then.0.write_all(then.1).await.unwrap();
        };
        let ((), (ended_by, _)) = tokio::join!(speaking, run_to_its_end(tunnel, clock));
        assert_eq!(ended_by, want, "{last} spoke last, pings: {has_pings}");
    }
}

/// Who has left, while the other one stays for as long as it may.
#[tokio::test(start_paused = true)]
async fn who_left_is_named_however_long_the_other_stays() {
    for (is_client, want) in [(true, EndedBy::Client), (false, EndedBy::Origin)] {
        let clock = Rc::new(Clock::new());
        let (tunnel, mut client, mut node) = tunnel(&clock).await;
        // The node is not listening; nothing is asked of it when it has said Close.
        node.write_all(if is_client { &[] } else { &[0x88, 0] }).await.unwrap();
        let leaves = if is_client { &mut client } else { &mut node };
        leaves.shutdown().await.unwrap();
        let (ended_by, _) = run_to_its_end(tunnel, clock).await;
        assert_eq!(ended_by, want);
    }
}

/// What an end takes nothing of for a minute, it is silent about.
#[tokio::test(start_paused = true)]
async fn who_takes_nothing_is_named() {
    for (is_client, want) in [(true, EndedBy::ClientSilent), (false, EndedBy::OriginSilent)] {
        let clock = Rc::new(Clock::new());
        let (tunnel, client, node) = tunnel(&clock).await;
        let (silent, mut speaks, sink) = match is_client {
            true => (client, node, &tunnel.client),
            false => (node, client, &tunnel.origin),
        };
        make_small(silent.as_fd());
        make_small(sink.socket().unwrap());
        let speaking = tokio::spawn(async move {
            let said = [&[0x82, 127, 0, 0, 0, 0, 4, 0, 0, 0][..], &vec![0; 1 << 26]].concat();
            let _ = speaks.write_all(&said).await;
        });
        let (ended_by, _) = run_to_its_end(tunnel, clock).await;
        assert_eq!(ended_by, want);
        speaking.abort();
        drop(silent);
    }
}
