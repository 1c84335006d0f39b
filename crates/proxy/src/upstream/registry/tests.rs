//! Goal: what is known of a session is true from its handshake to its end, and says when it can be closed politely.
//! Method: what requests and drains do to it, one after the other, by a clock that only the tests move.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use config::roster::RosterNode;
use wire::engineio::Revision;

use super::session::SLACK_MS;
use super::*;

fn node() -> Arc<Node> {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let (written, at) = ("a:1".into(), address.into());
    let entry = RosterNode {
        written,
        address: at,
        instance: None,
        weight: 1,
        backup: false,
        bounds: Default::default(),
    };
    Arc::new(Node::new("nodes", &entry))
}

const SILENCE: Duration = Duration::from_secs(10);
const AT: AddressedAs<'static> =
    AddressedAs { path: b"/socket.io/", host: Some(b"a"), revision: Revision::V4, jsonp: false };

fn entering<'a>(registry: &Registry, sid: &'a [u8], at: AddressedAs<'_>) -> Entering<'a> {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let contact = Contact { address: registry.addressed(at), client, is_https: false, is_pinned: false };
    Entering { sid, silence: Some(SILENCE), contact }
}

/// A handshake on `node` has been answered.
fn open(registry: &Registry, sid: &[u8], node: &Arc<Node>) {
    registry.open(entering(registry, sid, AT), InSession::new(node.clone()), Instant::now());
}

fn begin(registry: &Registry, sid: &[u8], how: Use) -> Begun {
    registry.begin(registry.hashed(sid), how, None, Instant::now())
}

fn scheduled(registry: &Registry, node: &Node) -> usize {
    registry.schedule_polling(node).map(|sids| sids.len()).sum()
}

fn sweep_all(registry: &Registry) {
    for _ in 0..SHARDS / SWEPT_AT_ONCE {
        registry.sweep(Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_counts_from_its_handshake_until_it_falls_silent() {
    let (registry, node) = (Registry::new(10), node());
    open(&registry, b"sid", &node);
    assert_eq!(node.sessions(), 1);
    begin(&registry, b"sid", Use::Poll);
    tokio::time::advance(SILENCE * 9).await;
    sweep_all(&registry);
    assert_eq!(node.sessions(), 1, "a pending poll is no silence");
    registry.end(registry.hashed(b"sid"), Use::Poll, Instant::now());
    tokio::time::advance(SILENCE).await;
    sweep_all(&registry);
    assert_eq!(node.sessions(), 1, "the slack holds");
    tokio::time::advance(Duration::from_millis(SLACK_MS)).await;
    sweep_all(&registry);
    assert_eq!(node.sessions(), 0);
    assert!(registry.find(b"sid").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_alone_enters_nothing() {
    let (registry, node) = (Registry::new(10), node());
    for number in 0..100_u8 {
        assert_eq!(begin(&registry, &[number], Use::Poll), Begun::Unknown);
        registry.end(registry.hashed(&[number]), Use::Poll, Instant::now());
    }
    assert_eq!(node.sessions(), 0);
    // Its node has answered it.
    registry.enter(entering(&registry, b"sid", AT), &node, Use::Poll, Instant::now());
    assert_eq!(node.sessions(), 1);
    assert_eq!(begin(&registry, b"sid", Use::Post), Begun::Open { silence: Some(SILENCE), is_pinned: false });
}

#[tokio::test(start_paused = true)]
async fn a_session_and_its_tunnel_count_once_and_end_together() {
    let (registry, node) = (Registry::new(10), node());
    open(&registry, b"sid", &node);
    begin(&registry, b"sid", Use::Tunnel);
    assert_eq!(node.sessions(), 1);
    registry.came_over(registry.hashed(b"sid"));
    registry.end(registry.hashed(b"sid"), Use::Tunnel, Instant::now());
    assert_eq!(node.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_leaves_a_polling_session() {
    let (registry, node) = (Registry::new(10), node());
    open(&registry, b"sid", &node);
    begin(&registry, b"sid", Use::Poll);
    begin(&registry, b"sid", Use::Tunnel);
    // A drain looks while the tunnel is there, and is told when it is no more.
    let follower = node.follow_newcomers();
    node.observe(crate::upstream::node::Observed::ToldToDrain);
    assert_eq!(scheduled(&registry, &node), 0);
    registry.end(registry.hashed(b"sid"), Use::Tunnel, Instant::now());
    assert!(registry.find(b"sid").is_some());
    assert_eq!(node.take_newcomers(follower), [(*b"sid").into()]);
    assert!(registry.schedule(b"sid"));
}

/// It goes on polling: a drain that ended without it would leave its client on a node that is about to be stopped.
#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_between_two_polls_leaves_its_session() {
    let (registry, node) = (Registry::new(10), node());
    open(&registry, b"sid", &node);
    begin(&registry, b"sid", Use::Tunnel);
    let follower = node.follow_newcomers();
    node.observe(crate::upstream::node::Observed::ToldToDrain);
    registry.end(registry.hashed(b"sid"), Use::Tunnel, Instant::now());
    assert_eq!(node.sessions(), 1);
    assert_eq!(node.take_newcomers(follower), [(*b"sid").into()]);
    assert!(registry.schedule(b"sid"));
    // A client that does not poll again either is forgotten as any other that has fallen silent.
    tokio::time::advance(SILENCE + Duration::from_millis(SLACK_MS)).await;
    sweep_all(&registry);
    assert_eq!(node.sessions(), 0);
}

/// A client that is told between two polls, and whose probe comes too late, hears of the end with its next poll.
#[tokio::test(start_paused = true)]
async fn a_probe_that_comes_too_late_leaves_its_session_to_the_next_poll() {
    let (registry, node) = (Registry::new(10), node());
    open(&registry, b"sid", &node);
    assert_eq!(scheduled(&registry, &node), 1);
    assert!(matches!(registry.begin_close(b"sid", Instant::now()), Closing::Now(_)));
    registry.closed_there(b"sid");
    assert_eq!(begin(&registry, b"sid", Use::Tunnel), Begun::Leaving);
    registry.end(registry.hashed(b"sid"), Use::Tunnel, Instant::now());
    assert_eq!(begin(&registry, b"sid", Use::Poll), Begun::Leaving);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_closed_between_two_posts_and_told_by_its_polls() {
    let (registry, node) = (Registry::new(10), node());
    open(&registry, b"sid", &node);
    begin(&registry, b"sid", Use::Post);
    assert_eq!(scheduled(&registry, &node), 1);
    assert_eq!(scheduled(&registry, &node), 0, "one slot each");
    assert!(matches!(registry.begin_close(b"sid", Instant::now()), Closing::Busy));
    registry.end(registry.hashed(b"sid"), Use::Post, Instant::now());
    begin(&registry, b"sid", Use::Poll);
    let Closing::Now(contact) = registry.begin_close(b"sid", Instant::now()) else {
        panic!("it can be closed")
    };
    assert_eq!(contact.address, registry.addressed(AT));
    assert!(matches!(registry.begin_close(b"sid", Instant::now()), Closing::Never));
    assert!(registry.is_leaving(b"sid"));
    assert_eq!(begin(&registry, b"sid", Use::Post), Begun::Leaving);
    registry.closed_there(b"sid");
    assert_eq!(node.sessions(), 0);
}

/// The answer to what a client has just asked comes with a poll, a little later than its POST has ended.
#[tokio::test(start_paused = true)]
async fn a_session_is_not_closed_right_behind_a_post() {
    let (registry, node) = (Registry::new(10), node());
    open(&registry, b"sid", &node);
    tokio::time::advance(Duration::from_secs(1)).await;
    begin(&registry, b"sid", Use::Post);
    registry.end(registry.hashed(b"sid"), Use::Post, Instant::now());
    assert_eq!(scheduled(&registry, &node), 1);
    let quiet_since = || Instant::now() - Duration::from_millis(100);
    assert!(matches!(registry.begin_close(b"sid", quiet_since()), Closing::Busy));
    tokio::time::advance(Duration::from_millis(90)).await;
    assert!(matches!(registry.begin_close(b"sid", quiet_since()), Closing::Busy));
    tokio::time::advance(Duration::from_millis(10)).await;
    assert!(matches!(registry.begin_close(b"sid", quiet_since()), Closing::Now(_)));
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_overdue_until_it_has_ended() {
    let (registry, node) = (Registry::new(10), node());
    open(&registry, b"sid", &node);
    registry.poll_is_overdue(b"sid");
    assert!(!node.has_overdue(), "nothing is under way");
    begin(&registry, b"sid", Use::Poll);
    registry.poll_is_overdue(b"sid");
    assert!(!node.has_overdue(), "it was not closed");
    assert_eq!(scheduled(&registry, &node), 1);
    assert!(matches!(registry.begin_close(b"sid", Instant::now()), Closing::Now(_)));
    registry.poll_is_overdue(b"sid");
    assert!(node.has_overdue() && registry.is_overdue(b"sid"));
    registry.end(registry.hashed(b"sid"), Use::Poll, Instant::now());
    assert!(!node.has_overdue());
}

#[tokio::test(start_paused = true)]
async fn only_where_sessions_are_opened_is_one_closed() {
    let (registry, node) = (Registry::new(10), node());
    let evil = AddressedAs { path: b"/evil/delete-everything", ..AT };
    registry.enter(entering(&registry, b"evil", evil), &node, Use::Post, Instant::now());
    registry.end(registry.hashed(b"evil"), Use::Post, Instant::now());
    registry.enter(entering(&registry, b"good", AT), &node, Use::Post, Instant::now());
    registry.end(registry.hashed(b"good"), Use::Post, Instant::now());
    assert_eq!(scheduled(&registry, &node), 2);
    assert!(
        matches!(registry.begin_close(b"good", Instant::now()), Closing::Never),
        "nobody knows yet that it is opened there"
    );
    open(&registry, b"other", &node);
    assert!(matches!(registry.begin_close(b"evil", Instant::now()), Closing::Never));
    assert!(matches!(registry.begin_close(b"good", Instant::now()), Closing::Now(_)));
}

#[tokio::test(start_paused = true)]
async fn each_session_has_the_address_of_its_own_requests() {
    let (registry, node) = (Registry::new(1000), node());
    let sids = (0..1000_u16).map(u16::to_be_bytes);
    let at = |sid: [u8; 2]| match sid[1] % 3 {
        0 => AT,
        1 => AddressedAs { host: Some(b"b.example"), ..AT },
        _ => AddressedAs { revision: Revision::V3, ..AT },
    };
    for sid in sids.clone() {
        registry.open(entering(&registry, &sid, at(sid)), InSession::new(node.clone()), Instant::now());
    }
    assert_eq!(scheduled(&registry, &node), 1000);
    for sid in sids {
        let Closing::Now(contact) = registry.begin_close(&sid, Instant::now()) else {
            panic!("it can be closed")
        };
        assert_eq!(contact.address, registry.addressed(at(sid)));
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_node_that_is_gone_are_forgotten() {
    let (registry, lost, other) = (Registry::new(1000), node(), node());
    for number in 0..500_u16 {
        open(&registry, &number.to_be_bytes(), if number % 2 == 0 { &lost } else { &other });
    }
    registry.forget(&lost);
    assert_eq!((lost.sessions(), other.sessions()), (0, 250));
    assert!(registry.find(&0_u16.to_be_bytes()).is_none() && registry.find(&1_u16.to_be_bytes()).is_some());
    // Their places are given to others, and each node still finds its own.
    for number in 500..750_u16 {
        open(&registry, &number.to_be_bytes(), &lost);
    }
    assert_eq!((scheduled(&registry, &lost), scheduled(&registry, &other)), (250, 250));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_a_node_that_poll_are_scheduled_first() {
    let (registry, here, there) = (Registry::new(100), node(), node());
    for number in 0..40_u8 {
        open(&registry, &[number], if number % 4 == 0 { &there } else { &here });
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    begin(&registry, &[1], Use::Tunnel);
    let sids = |scheduled: Vec<Box<[u8]>>| scheduled.iter().map(|sid| sid[0]).collect::<Vec<_>>();
    assert_eq!(sids(registry.schedule_oldest_polling(&here, 4)), [2, 3, 5, 6]);
    assert_eq!(sids(registry.schedule_oldest_polling(&here, 2)), [7, 9]);
    assert_eq!(registry.schedule_oldest_polling(&here, 0), []);
    assert_eq!(registry.schedule_oldest_polling(&here, 100).len(), 40 - 10 - 1 - 6);
}

/// Whatever comes and goes, in any order, each session is found by its id and by its node.
#[tokio::test(start_paused = true)]
async fn every_session_is_found_both_ways() {
    let mut dice = fastrand::Rng::with_seed(1);
    let registry = Registry::new(100_000);
    let nodes = [node(), node(), node()];
    let mut there: HashMap<u16, usize> = HashMap::new();
    for _ in 0..20_000 {
        let number = dice.u16(..2_000);
        match there.remove(&number) {
            Some(_) => registry.close(&number.to_be_bytes()),
            None => {
                let at = dice.usize(..nodes.len());
                open(&registry, &number.to_be_bytes(), &nodes[at]);
                there.insert(number, at);
            }
        }
    }
    for (at, node) in nodes.iter().enumerate() {
        let count = there.values().filter(|&&found| found == at).count();
        assert_eq!((node.sessions(), scheduled(&registry, node)), (count, count));
    }
    for (number, &at) in &there {
        assert!(Arc::ptr_eq(&registry.find(&number.to_be_bytes()).expect("known"), &nodes[at]));
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_those_go_that_were_never_used_and_then_the_silent() {
    let (registry, node) = (Registry::new(1000), node());
    for number in 0..1000_u16 {
        open(&registry, &number.to_be_bytes(), &node);
        if number % 10 == 0 {
            begin(&registry, &number.to_be_bytes(), Use::Poll);
        }
    }
    for number in 1000..1500_u16 {
        open(&registry, &number.to_be_bytes(), &node);
    }
    // A shard with nobody to spare takes one more all the same.
    assert!((1000..1100).contains(&node.sessions()), "{}", node.sessions());
    assert!(registry.find(&1499_u16.to_be_bytes()).is_some(), "new sessions begin");
    for number in (0..1000_u16).step_by(10) {
        assert!(registry.find(&number.to_be_bytes()).is_some(), "a pending poll keeps {number}");
    }
}

/// A thousand hosts are more than are remembered, and each session has an address all the same.
#[tokio::test(start_paused = true)]
async fn what_is_kept_of_a_session_is_bounded() {
    let (registry, node) = (Registry::new(1000), node());
    for number in 0..1000_u16 {
        let host = format!("{number}.example");
        let at = AddressedAs { host: Some(host.as_bytes()), ..AT };
        registry.open(
            entering(&registry, &number.to_be_bytes(), at),
            InSession::new(node.clone()),
            Instant::now(),
        );
    }
    assert_eq!(scheduled(&registry, &node), 1000, "each can be closed politely");
    // What stands in configs/full.toml: 200 bytes of its own, and its id.
    let own = size_of::<Session>() + size_of::<u32>() * 2;
    assert!(own <= 200, "{own}");
}
