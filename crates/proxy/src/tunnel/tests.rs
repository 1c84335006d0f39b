//! A tunnel between two pairs of sockets, by a paused clock.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;

use config::roster::RosterNode;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::places::{ClientKey, Places};
use crate::record::Counters;
use crate::upstream::node::Node;

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
    let roster =
        RosterNode { written, address: address.into(), instance: None, weight: 1, backup: false, bounds };
    Arc::new(Node::new("nodes", &roster))
}

/// A tunnel that may be idle for an hour, its client and its node.
async fn tunnel(clock: &Rc<Clock>) -> (Tunnel, TcpStream, TcpStream) {
    let ((client, far_client), (origin, far_origin)) = (ends().await, ends().await);
    let origin = OriginEnd {
        stream: origin,
        early: BytesMut::new(),
        node: node(),
        session: None,
        silence: None,
        idle: Duration::from_hours(1),
        client: Ipv4Addr::LOCALHOST.into(),
        is_pinned: false,
    };
    let limits = config::parse(FILE, std::path::Path::new("file")).unwrap().plan.limits;
    let place = Places::new(1).try_take().unwrap().give(ClientKey::NOBODY, &limits).unwrap();
    let live = Live::new(Arc::<Counters>::default(), place);
    let upgraded = Upgraded { client, client_early: BytesMut::new(), origin, limits, live };
    (Tunnel::new(upgraded, false, clock).unwrap(), far_client, far_origin)
}

const FILE: &str = "[[listen]]\naddress = \":1\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"127.0.0.1:1\"]";

/// Who ended it, and after how long.
async fn run_to_its_end(mut tunnel: Tunnel, clock: Rc<Clock>) -> (EndedBy, Duration) {
    let (buffers, begun) = (Buffers::new(16 << 10), Instant::now());
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
    tunnel.say_goodbye(Order { at: now, until: now + Duration::from_secs(2), reason: Reason::Restart });
    drop(node);
    let (_, lasted) = run_to_its_end(tunnel, clock).await;
    assert!(lasted <= Duration::from_millis(2100), "{lasted:?}");
}
