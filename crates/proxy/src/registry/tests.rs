//! Goal: what is known of a session is true from its handshake to its end, and says when it can be closed politely.
//! Method: what requests and drains do to it, one after the other, by a clock that only the tests move.

use std::net::SocketAddr;

use config::roster::RosterNode;

use super::*;

fn node() -> Arc<Node> {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let (written, at) = ("a:1".into(), address.into());
    let roster = RosterNode {
        written,
        address: at,
        instance: None,
        weight: 1,
        backup: false,
        bounds: Default::default(),
    };
    Arc::new(Node::new("nodes", &roster))
}

const SILENCE: Duration = Duration::from_secs(10);

fn sweep_all(registry: &Registry) {
    for _ in 0..SHARDS / SWEPT_AT_ONCE {
        registry.sweep(Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_counts_from_its_handshake_until_it_falls_silent() {
    let (registry, node) = (Registry::new(10), node());
    registry.open(b"sid", InSession::new(node.clone()), SILENCE, Instant::now());
    assert_eq!(node.sessions(), 1);
    registry.begin(b"sid", &node, Use::Poll, Instant::now());
    tokio::time::advance(SILENCE * 9).await;
    sweep_all(&registry);
    assert_eq!(node.sessions(), 1, "a pending poll is no silence");
    registry.end(b"sid", Use::Poll, Instant::now());
    tokio::time::advance(SILENCE).await;
    sweep_all(&registry);
    assert_eq!(node.sessions(), 1, "the slack holds");
    tokio::time::advance(Duration::from_millis(SLACK_MS)).await;
    sweep_all(&registry);
    assert_eq!(node.sessions(), 0);
    assert!(registry.find(b"sid").is_none());
}

#[tokio::test(start_paused = true)]
async fn a_session_and_its_tunnel_count_once_and_end_together() {
    let (registry, node) = (Registry::new(10), node());
    let now = Instant::now();
    registry.open(b"sid", InSession::new(node.clone()), SILENCE, now);
    registry.begin(b"sid", &node, Use::Tunnel, now);
    assert_eq!(node.sessions(), 1);
    registry.end(b"sid", Use::Tunnel, now);
    assert_eq!(node.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_leaves_a_polling_session() {
    let (registry, node) = (Registry::new(10), node());
    let now = Instant::now();
    registry.open(b"sid", InSession::new(node.clone()), SILENCE, now);
    registry.begin(b"sid", &node, Use::Poll, now);
    registry.begin(b"sid", &node, Use::Tunnel, now);
    registry.end(b"sid", Use::Tunnel, now);
    assert!(registry.find(b"sid").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_session_is_closed_between_two_posts_and_told_by_its_polls() {
    let (registry, node) = (Registry::new(10), node());
    let now = Instant::now();
    let address = Address { path: (*b"/socket.io/").into(), host: (*b"a").into(), revision: Revision::V4 };
    registry.open(b"sid", InSession::new(node.clone()), SILENCE, now);
    assert!(registry.schedule_polling(&node).is_empty(), "nobody knows yet how to address it");
    registry.begin(b"sid", &node, Use::Post, now);
    registry.learn_address(b"sid", &address.path, &address.host, address.revision);
    assert_eq!(registry.schedule_polling(&node).len(), 1);
    assert!(registry.schedule_polling(&node).is_empty(), "one slot each");
    assert_eq!(registry.begin_close(b"sid"), Closing::Busy);
    registry.end(b"sid", Use::Post, now);
    registry.begin(b"sid", &node, Use::Poll, now);
    assert_eq!(registry.begin_close(b"sid"), Closing::Now(Arc::new(address)));
    assert_eq!(registry.begin_close(b"sid"), Closing::Never);
    assert!(registry.is_leaving(b"sid"));
    assert_eq!(registry.begin(b"sid", &node, Use::Post, now), Begun::Leaving);
    registry.closed_there(b"sid");
    assert_eq!(node.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_session_has_the_address_of_its_own_requests() {
    // Several in each shard, where those of one address share it.
    let (registry, node) = (Registry::new(1000), node());
    let sids = (0..1000_u16).map(u16::to_be_bytes);
    let address = |sid: [u8; 2]| match sid[1] % 3 {
        0 => (b"/a/", b"a.example", Revision::V4),
        1 => (b"/a/", b"b.example", Revision::V4),
        _ => (b"/a/", b"b.example", Revision::V3),
    };
    for sid in sids.clone() {
        let (path, host, revision) = address(sid);
        registry.begin(&sid, &node, Use::Poll, Instant::now());
        registry.learn_address(&sid, path, host, revision);
        registry.learn_address(&sid, b"/told", b"twice", revision);
    }
    assert_eq!(registry.schedule_polling(&node).len(), 1000);
    for sid in sids {
        let (path, host, revision) = address(sid);
        let expected = Address { path: (*path).into(), host: (*host).into(), revision };
        assert_eq!(registry.begin_close(&sid), Closing::Now(Arc::new(expected)));
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_node_that_is_gone_are_forgotten() {
    let (registry, lost, other) = (Registry::new(2), node(), node());
    let now = Instant::now();
    registry.begin(b"one", &lost, Use::Poll, now);
    registry.begin(b"two", &other, Use::Poll, now);
    registry.forget(&lost);
    assert!(registry.find(b"one").is_none() && registry.find(b"two").is_some());
    assert_eq!((lost.sessions(), other.sessions()), (0, 1));
    registry.begin(b"three", &other, Use::Poll, now);
    assert!(registry.find(b"three").is_some(), "there is room again");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_a_node_that_poll_are_scheduled_first() {
    let (registry, here, there) = (Registry::new(100), node(), node());
    for number in 0..40_u8 {
        let node = if number % 4 == 0 { &there } else { &here };
        registry.begin(&[number], node, Use::Poll, Instant::now());
        registry.learn_address(&[number], b"/", b"a", Revision::V4);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    registry.begin(&[1], &here, Use::Tunnel, Instant::now());
    let sids = |scheduled: Vec<Box<[u8]>>| scheduled.iter().map(|sid| sid[0]).collect::<Vec<_>>();
    assert_eq!(sids(registry.schedule_oldest_polling(&here, 4)), [2, 3, 5, 6]);
    assert_eq!(sids(registry.schedule_oldest_polling(&here, 2)), [7, 9]);
    assert_eq!(registry.schedule_oldest_polling(&here, 0), []);
    assert_eq!(registry.schedule_oldest_polling(&here, 100).len(), 40 - 10 - 1 - 6);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_bound_sessions_are_served_but_not_remembered() {
    let (registry, node) = (Registry::new(1), node());
    let now = Instant::now();
    registry.begin(b"one", &node, Use::Poll, now);
    registry.begin(b"two", &node, Use::Poll, now);
    assert_eq!(node.sessions(), 1);
    registry.close(b"one");
    registry.close(b"one");
    registry.begin(b"two", &node, Use::Poll, now);
    assert!(registry.find(b"two").is_some());
}
