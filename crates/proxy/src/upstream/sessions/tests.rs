//! Goal: what is known of a session is true from its handshake to its end, and says when it can be closed politely.
//! Method: what requests and drains do to it, one after the other, by a clock that only the tests move.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use config::roster::RosterNode;
use wire::engineio::Revision;

use super::session::SLACK_MS;
use super::*;
use crate::upstream::close_signal::{CloseListener, CloseOrder, CloseReason, Tunnel};
use crate::upstream::route_number::RouteNumber;

fn node() -> Arc<Node> {
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    let (written, at) = ("a:1".into(), address.into());
    let entry = RosterNode {
        written,
        address: at,
        tls_name: None,
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

fn entering<'a>(session_table: &SessionTable, sid: &'a [u8], at: AddressedAs<'_>) -> Entering<'a> {
    let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let contact = Contact { address: session_table.addressed(at), client, is_https: false, is_pinned: false };
    Entering { sid, silence: Some(SILENCE), contact }
}

/// A handshake on `node` has been answered.
fn open(session_table: &SessionTable, sid: &[u8], node: &Arc<Node>) {
    session_table.open(entering(session_table, sid, AT), InSession::new(node.clone()), Instant::now());
}

fn begin(session_table: &SessionTable, sid: &[u8], how: Use) -> Begun {
    session_table.begin(session_table.hashed(sid), how, None, Instant::now())
}

fn scheduled(session_table: &SessionTable, node: &Node) -> usize {
    session_table.schedule_polling(node).map(|sids| sids.len()).sum()
}

fn sweep_all(session_table: &SessionTable) {
    for _ in 0..SHARDS / SWEPT_AT_ONCE {
        session_table.sweep(Instant::now());
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_counts_from_its_handshake_until_it_falls_silent() {
    let (session_table, node) = (SessionTable::new(10), node());
    open(&session_table, b"sid", &node);
    assert_eq!(node.sessions(), 1);
    begin(&session_table, b"sid", Use::Poll);
    tokio::time::advance(SILENCE * 9).await;
    sweep_all(&session_table);
    assert_eq!(node.sessions(), 1, "a pending poll is no silence");
    session_table.end(session_table.hashed(b"sid"), Use::Poll, Instant::now());
    tokio::time::advance(SILENCE).await;
    sweep_all(&session_table);
    assert_eq!(node.sessions(), 1, "the slack holds");
    tokio::time::advance(Duration::from_millis(SLACK_MS)).await;
    sweep_all(&session_table);
    assert_eq!(node.sessions(), 0);
    assert!(session_table.find(b"sid").is_none());
}

#[tokio::test(start_paused = true)]
async fn what_a_client_says_alone_enters_nothing() {
    let (session_table, node) = (SessionTable::new(10), node());
    for number in 0..100_u8 {
        assert_eq!(begin(&session_table, &[number], Use::Poll), Begun::Unknown);
        session_table.end(session_table.hashed(&[number]), Use::Poll, Instant::now());
    }
    assert_eq!(node.sessions(), 0);
    // Its node has answered it.
    session_table.enter(entering(&session_table, b"sid", AT), &node, Use::Poll, Instant::now());
    assert_eq!(node.sessions(), 1);
    assert_eq!(
        begin(&session_table, b"sid", Use::Post),
        Begun::Open { silence: Some(SILENCE), is_pinned: false }
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_and_its_tunnel_count_once_and_end_together() {
    let (session_table, node) = (SessionTable::new(10), node());
    open(&session_table, b"sid", &node);
    begin(&session_table, b"sid", Use::Tunnel);
    assert_eq!(node.sessions(), 1);
    session_table.came_over(session_table.hashed(b"sid"));
    session_table.end(session_table.hashed(b"sid"), Use::Tunnel, Instant::now());
    assert_eq!(node.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_probe_leaves_a_polling_session() {
    let (session_table, node) = (SessionTable::new(10), node());
    open(&session_table, b"sid", &node);
    begin(&session_table, b"sid", Use::Poll);
    begin(&session_table, b"sid", Use::Tunnel);
    // A drain looks while the tunnel is there, and is told when it is no more.
    let follower = node.follow_newcomers();
    node.observe(crate::upstream::node::Observed::ToldToDrain);
    assert_eq!(scheduled(&session_table, &node), 0);
    session_table.end(session_table.hashed(b"sid"), Use::Tunnel, Instant::now());
    assert!(session_table.find(b"sid").is_some());
    assert_eq!(node.take_newcomers(follower), [(*b"sid").into()]);
    assert!(session_table.schedule(b"sid"));
}

/// It goes on polling: a drain that ended without it would leave its client on a node that is about to be stopped.
#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_between_two_polls_leaves_its_session() {
    let (session_table, node) = (SessionTable::new(10), node());
    open(&session_table, b"sid", &node);
    begin(&session_table, b"sid", Use::Tunnel);
    let follower = node.follow_newcomers();
    node.observe(crate::upstream::node::Observed::ToldToDrain);
    session_table.end(session_table.hashed(b"sid"), Use::Tunnel, Instant::now());
    assert_eq!(node.sessions(), 1);
    assert_eq!(node.take_newcomers(follower), [(*b"sid").into()]);
    assert!(session_table.schedule(b"sid"));
    // A client that does not poll again either is forgotten as any other that has fallen silent.
    tokio::time::advance(SILENCE + Duration::from_millis(SLACK_MS)).await;
    sweep_all(&session_table);
    assert_eq!(node.sessions(), 0);
}

/// A client that is told between two polls, and whose probe comes too late, hears of the end with its next poll.
#[tokio::test(start_paused = true)]
async fn a_probe_that_comes_too_late_leaves_its_session_to_the_next_poll() {
    let (session_table, node) = (SessionTable::new(10), node());
    open(&session_table, b"sid", &node);
    assert_eq!(scheduled(&session_table, &node), 1);
    assert!(matches!(session_table.begin_close(b"sid", Moment::Any, Instant::now()), Closing::Now(_)));
    session_table.closed_there(b"sid");
    assert_eq!(begin(&session_table, b"sid", Use::Tunnel), Begun::Leaving);
    session_table.end(session_table.hashed(b"sid"), Use::Tunnel, Instant::now());
    assert_eq!(begin(&session_table, b"sid", Use::Poll), Begun::Leaving);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_closed_between_two_posts_and_told_by_its_polls() {
    let (session_table, node) = (SessionTable::new(10), node());
    open(&session_table, b"sid", &node);
    begin(&session_table, b"sid", Use::Post);
    assert_eq!(scheduled(&session_table, &node), 1);
    assert_eq!(scheduled(&session_table, &node), 0, "one slot each");
    assert!(matches!(session_table.begin_close(b"sid", Moment::Any, Instant::now()), Closing::Busy));
    session_table.end(session_table.hashed(b"sid"), Use::Post, Instant::now());
    begin(&session_table, b"sid", Use::Poll);
    let Closing::Now(contact) = session_table.begin_close(b"sid", Moment::Any, Instant::now()) else {
        panic!("it can be closed")
    };
    assert_eq!(contact.address, session_table.addressed(AT));
    assert!(matches!(session_table.begin_close(b"sid", Moment::Any, Instant::now()), Closing::Never));
    assert!(session_table.is_leaving(b"sid"));
    assert_eq!(begin(&session_table, b"sid", Use::Post), Begun::Leaving);
    session_table.closed_there(b"sid");
    assert_eq!(node.sessions(), 0);
}

/// A session that was said something of a second ago, and polls, is scheduled.
async fn talking() -> SessionTable {
    let (session_table, node) = (SessionTable::new(10), node());
    open(&session_table, b"sid", &node);
    advance(1000).await;
    begin(&session_table, b"sid", Use::Poll);
    begin(&session_table, b"sid", Use::Post);
    assert_eq!(scheduled(&session_table, &node), 1);
    session_table
}

fn end(session_table: &SessionTable, how: Use) {
    session_table.end(session_table.hashed(b"sid"), how, Instant::now());
}

/// A poll brings an answer, and the next one follows.
fn fetch(session_table: &SessionTable) {
    end(session_table, Use::Poll);
    begin(session_table, b"sid", Use::Poll);
}

async fn advance(ms: u64) {
    tokio::time::advance(Duration::from_millis(ms)).await;
}

/// Whether the session is closed now, as the drain asks every few milliseconds.
fn is_closed(session_table: &SessionTable, moment: Moment) -> bool {
    matches!(session_table.begin_close(b"sid", moment, Instant::now()), Closing::Now(_))
}

/// The answer to what a client has just asked comes with a poll, a little later than its POST has ended.
#[tokio::test(start_paused = true)]
async fn a_session_is_not_closed_right_behind_a_post() {
    let session_table = talking().await;
    assert!(!is_closed(&session_table, Moment::Any), "two POSTs at once are an error");
    end(&session_table, Use::Post);
    for _ in 0..10 {
        assert!(!is_closed(&session_table, Moment::Quiet));
        advance(10).await;
    }
    assert!(is_closed(&session_table, Moment::Quiet));
}

/// What its node has for a client goes to a poll that waits for it, and is lost where none does.
#[tokio::test(start_paused = true)]
async fn a_session_is_not_closed_between_two_polls() {
    let session_table = talking().await;
    end(&session_table, Use::Post);
    end(&session_table, Use::Poll);
    advance(200).await;
    assert!(!is_closed(&session_table, Moment::Quiet) && !is_closed(&session_table, Moment::Answered));
    begin(&session_table, b"sid", Use::Poll);
    assert!(is_closed(&session_table, Moment::Quiet));
}

/// Nobody waits for the poll of a client that is gone.
#[tokio::test(start_paused = true)]
async fn a_session_that_polls_no_more_is_closed() {
    let session_table = talking().await;
    end(&session_table, Use::Post);
    end(&session_table, Use::Poll);
    advance(250).await;
    assert!(is_closed(&session_table, Moment::Quiet));
}

#[tokio::test(start_paused = true)]
async fn a_good_moment_is_behind_an_answer_and_passes() {
    let session_table = talking().await;
    advance(10).await;
    fetch(&session_table);
    end(&session_table, Use::Post);
    advance(260).await;
    assert!(!is_closed(&session_table, Moment::Answered), "the client may say something any time now");
    begin(&session_table, b"sid", Use::Post);
    advance(10).await;
    end(&session_table, Use::Post);
    advance(120).await;
    assert!(!is_closed(&session_table, Moment::Answered), "no poll has brought an answer");
    fetch(&session_table);
    assert!(is_closed(&session_table, Moment::Answered));
}

/// Not everything that is said is answered.
#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_not_waited_for_for_long() {
    let session_table = talking().await;
    end(&session_table, Use::Post);
    for _ in 0..30 {
        assert!(!is_closed(&session_table, Moment::Answered));
        advance(10).await;
    }
    assert!(is_closed(&session_table, Moment::Answered));
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_overdue_until_it_has_ended() {
    let (session_table, node) = (SessionTable::new(10), node());
    open(&session_table, b"sid", &node);
    session_table.poll_is_overdue(b"sid");
    assert!(!node.has_overdue(), "nothing is under way");
    begin(&session_table, b"sid", Use::Poll);
    session_table.poll_is_overdue(b"sid");
    assert!(!node.has_overdue(), "it was not closed");
    assert_eq!(scheduled(&session_table, &node), 1);
    assert!(matches!(session_table.begin_close(b"sid", Moment::Any, Instant::now()), Closing::Now(_)));
    session_table.poll_is_overdue(b"sid");
    assert!(node.has_overdue() && session_table.is_overdue(b"sid"));
    session_table.end(session_table.hashed(b"sid"), Use::Poll, Instant::now());
    assert!(!node.has_overdue());
}

#[tokio::test(start_paused = true)]
async fn only_where_sessions_are_opened_is_one_closed() {
    let (session_table, node) = (SessionTable::new(10), node());
    let evil = AddressedAs { path: b"/evil/delete-everything", ..AT };
    session_table.enter(entering(&session_table, b"evil", evil), &node, Use::Post, Instant::now());
    session_table.end(session_table.hashed(b"evil"), Use::Post, Instant::now());
    session_table.enter(entering(&session_table, b"good", AT), &node, Use::Post, Instant::now());
    session_table.end(session_table.hashed(b"good"), Use::Post, Instant::now());
    assert_eq!(scheduled(&session_table, &node), 2);
    assert!(
        matches!(session_table.begin_close(b"good", Moment::Any, Instant::now()), Closing::Never),
        "nobody knows yet that it is opened there"
    );
    open(&session_table, b"other", &node);
    assert!(matches!(session_table.begin_close(b"evil", Moment::Any, Instant::now()), Closing::Never));
    assert!(matches!(session_table.begin_close(b"good", Moment::Any, Instant::now()), Closing::Now(_)));
}

#[tokio::test(start_paused = true)]
async fn each_session_has_the_address_of_its_own_requests() {
    let (session_table, node) = (SessionTable::new(1000), node());
    let sids = (0..1000_u16).map(u16::to_be_bytes);
    let at = |sid: [u8; 2]| match sid[1] % 3 {
        0 => AT,
        1 => AddressedAs { host: Some(b"b.example"), ..AT },
        _ => AddressedAs { revision: Revision::V3, ..AT },
    };
    for sid in sids.clone() {
        session_table.open(
            entering(&session_table, &sid, at(sid)),
            InSession::new(node.clone()),
            Instant::now(),
        );
    }
    assert_eq!(scheduled(&session_table, &node), 1000);
    for sid in sids {
        let Closing::Now(contact) = session_table.begin_close(&sid, Moment::Any, Instant::now()) else {
            panic!("it can be closed")
        };
        assert_eq!(contact.address, session_table.addressed(at(sid)));
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_of_a_node_that_is_gone_are_forgotten() {
    let (session_table, lost, other) = (SessionTable::new(1000), node(), node());
    for number in 0..500_u16 {
        open(&session_table, &number.to_be_bytes(), if number % 2 == 0 { &lost } else { &other });
    }
    session_table.forget(&lost);
    assert_eq!((lost.sessions(), other.sessions()), (0, 250));
    assert!(
        session_table.find(&0_u16.to_be_bytes()).is_none()
            && session_table.find(&1_u16.to_be_bytes()).is_some()
    );
    // Their places are given to others, and each node still finds its own.
    for number in 500..750_u16 {
        open(&session_table, &number.to_be_bytes(), &lost);
    }
    assert_eq!((scheduled(&session_table, &lost), scheduled(&session_table, &other)), (250, 250));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_of_a_node_that_poll_are_scheduled_first() {
    let (session_table, here, there) = (SessionTable::new(100), node(), node());
    for number in 0..40_u8 {
        open(&session_table, &[number], if number % 4 == 0 { &there } else { &here });
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    begin(&session_table, &[1], Use::Tunnel);
    let sids = |scheduled: Vec<Box<[u8]>>| scheduled.iter().map(|sid| sid[0]).collect::<Vec<_>>();
    assert_eq!(sids(session_table.schedule_oldest_polling(&here, 4)), [2, 3, 5, 6]);
    assert_eq!(sids(session_table.schedule_oldest_polling(&here, 2)), [7, 9]);
    assert_eq!(session_table.schedule_oldest_polling(&here, 0), []);
    assert_eq!(session_table.schedule_oldest_polling(&here, 100).len(), 40 - 10 - 1 - 6);
}

/// Moved for the sake of balance, they would come back for ever.
#[tokio::test(start_paused = true)]
async fn who_is_pinned_is_not_moved() {
    let (session_table, node) = (SessionTable::new(10), node());
    let mut pinned = entering(&session_table, b"pinned", AT);
    pinned.contact.is_pinned = true;
    session_table.open(pinned, InSession::new(node.clone()), Instant::now());
    open(&session_table, b"plain", &node);
    assert_eq!(session_table.schedule_oldest_polling(&node, 2), [(*b"plain").into()]);
    assert_eq!(scheduled(&session_table, &node), 1, "a drain takes both");
    let _tunnels = [true, false].map(|is_pinned| {
        CloseListener::to(node.clone(), Tunnel { is_pinned, is_logged: true, route: RouteNumber::NONE })
    });
    let order = || CloseOrder { at: Instant::now(), until: Instant::now(), reason: CloseReason::Restart };
    assert_eq!(node.tunnels.signal_oldest(2, order), 1);
}

/// Whatever comes and goes, in any order, each session is found by its id and by its node.
#[tokio::test(start_paused = true)]
async fn every_session_is_found_both_ways() {
    let mut dice = fastrand::Rng::with_seed(1);
    let session_table = SessionTable::new(100_000);
    let nodes = [node(), node(), node()];
    let mut there: HashMap<u16, usize> = HashMap::new();
    for _ in 0..20_000 {
        let number = dice.u16(..2_000);
        match there.remove(&number) {
            Some(_) => session_table.close(&number.to_be_bytes()),
            None => {
                let at = dice.usize(..nodes.len());
                open(&session_table, &number.to_be_bytes(), &nodes[at]);
                there.insert(number, at);
            }
        }
    }
    for (at, node) in nodes.iter().enumerate() {
        let count = there.values().filter(|&&found| found == at).count();
        assert_eq!((node.sessions(), scheduled(&session_table, node)), (count, count));
    }
    for (number, &at) in &there {
        assert!(Arc::ptr_eq(&session_table.find(&number.to_be_bytes()).expect("known"), &nodes[at]));
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_bound_those_go_that_were_never_used_and_then_the_silent() {
    let (session_table, node) = (SessionTable::new(1000), node());
    for number in 0..1000_u16 {
        open(&session_table, &number.to_be_bytes(), &node);
        if number % 10 == 0 {
            begin(&session_table, &number.to_be_bytes(), Use::Poll);
        }
    }
    for number in 1000..1500_u16 {
        open(&session_table, &number.to_be_bytes(), &node);
    }
    // A shard with nobody to spare takes one more all the same.
    assert!((1000..1100).contains(&node.sessions()), "{}", node.sessions());
    assert!(session_table.find(&1499_u16.to_be_bytes()).is_some(), "new sessions begin");
    for number in (0..1000_u16).step_by(10) {
        assert!(session_table.find(&number.to_be_bytes()).is_some(), "a pending poll keeps {number}");
    }
}

/// A thousand hosts are more than are remembered, and each session has an address all the same.
#[tokio::test(start_paused = true)]
async fn what_is_kept_of_a_session_is_bounded() {
    let (session_table, node) = (SessionTable::new(1000), node());
    for number in 0..1000_u16 {
        let host = format!("{number}.example");
        let at = AddressedAs { host: Some(host.as_bytes()), ..AT };
        session_table.open(
            entering(&session_table, &number.to_be_bytes(), at),
            InSession::new(node.clone()),
            Instant::now(),
        );
    }
    assert_eq!(scheduled(&session_table, &node), 1000, "each can be closed politely");
    // What stands in configs/full.toml: 200 bytes of its own, and its id.
    let own = size_of::<Session>() + size_of::<u32>() * 2;
    assert!(own <= 200, "{own}");
}
