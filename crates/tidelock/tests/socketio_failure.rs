//! Goal: what dies or leaves, a node or a client, costs nobody else anything, and is not counted any longer.
//! Method: real nodes killed under real clients and a steady load of plain requests; clients by hand that leave in the
//! middle of a poll.

use std::time::Duration;

use testkit::TIMEOUT;
use testkit::certificates::Authority;
use testkit::clients::{ClientPlan, Clients, Mode, Report};
use testkit::engineio::{PollingSession, sid};
use testkit::load::Load;
use testkit::node::{Node, NodePlan, three};
use testkit::process::tells;
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock, directory};
use tokio::time::{interval, timeout};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_killed_node_loses_its_sessions_to_the_others_and_no_request() {
    let mut nodes = three(NodePlan::js).await;
    // The node that returns is to get every new session, and not only twice its share.
    let config = FilePlan::to(&nodes).upstream("health = { slow_start = \"0s\" }").text();
    let mut tidelock = Tidelock::start(TIDELOCK, &config).await;
    let url = tidelock.url();
    let plan = |version, mode| ClientPlan { count: 20, version, mode, hold: true, ..ClientPlan::to(&url) };
    let mut all = Vec::new();
    for (version, mode) in [(4, Mode::Polling), (4, Mode::Default), (2, Mode::Polling)] {
        let clients = Clients::start(&plan(version, mode)).await;
        let on_b = clients.ready().await.nodes["b"];
        all.push((clients, on_b));
    }
    let load = Load::start(tidelock.address());
    load.until_answered(20).await;

    nodes[1].kill().await;
    for (clients, on_b) in &mut all {
        clients.until_connects(20 + *on_b).await;
        let answers = clients.who().await;
        let lost = answers.iter().filter(|who| who.as_ref().is_none_or(|who| who.node == "b")).count();
        assert_eq!((answers.len(), lost), (20, 0), "{answers:#?}");
        let report = clients.report().await;
        assert_eq!(report.connect_errors, [""; 0], "each came back at its first attempt");
        assert_eq!(report.disconnects.len(), *on_b, "nobody else lost anything: {report:#?}");
    }
    load.until_answered(50).await;
    let seen = load.stop().await;
    assert_eq!(
        seen.failures, [""; 0],
        "{} GETs, {} HEADs, {} handshakes",
        seen.gets, seen.heads, seen.handshakes
    );

    nodes[1].restart().await;
    let is_up = |line: &str| tells(line, "node_up") && line.contains(&nodes[1].address().to_string());
    tidelock.process().wait_for_line(is_up).await;
    // It has no session and the others have thirty each, so that all new ones are its own.
    let new = Clients::start(&plan(4, Mode::Polling)).await;
    let report = new.ready().await;
    assert_eq!((report.nodes.get("b"), report.connect_errors.len()), (Some(&20), 0), "{report:#?}");
}

/// Here no poll tells tidelock of the death before a plain request meets it, alive on its connection or refused.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn nodes_that_die_and_return_fail_no_plain_request() {
    let mut nodes = three(NodePlan::js).await;
    let mut tidelock = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    let load = Load::start(tidelock.address());
    load.until_answered(20).await;
    for round in 0..6 {
        let node = &mut nodes[round % 3];
        let mark = tidelock.process().mark();
        node.kill().await;
        load.until_answered(20).await;
        node.restart().await;
        let is_up = |line: &str| tells(line, "node_up") && line.contains(&node.address().to_string());
        tidelock.process().wait_for_lines_since(mark, 1, is_up).await;
        load.until_answered(20).await;
    }
    let seen = load.stop().await;
    assert_eq!(
        seen.failures, [""; 0],
        "of {} GETs, {} HEADs, {} handshakes",
        seen.gets, seen.heads, seen.handshakes
    );
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_client_that_leaves_in_a_pending_poll_is_gone_at_once() {
    // With pings this rare nobody finds out by silence in the life of the test.
    let rare = NodePlan::js("a").env("PING_INTERVAL", "3600000").env("PING_TIMEOUT", "3600000");
    let node = Node::start(rare.env("LOG_POLLS", "1")).await;
    let authority = Authority::new("failure");
    let directory = directory();
    let files = authority.issue(&["localhost"]).write(directory.path(), "leaf");
    let plan = FilePlan::to([&node]).top("sticky_secret = \"a secret of 32 bytes, or of some more\"");
    let plain = Tidelock::start(TIDELOCK, &plan.text()).await;
    let tls = Tidelock::start_in(directory, TIDELOCK, &plan.tls(&files).text()).await;
    let mut closed = 0;
    for leaving in [Leaving::Close, Leaving::Reset, Leaving::Tls] {
        let session = PollingSession::open(plain.address(), "EIO=4").await;
        assert_eq!(session.post("40").await.text(), "ok");
        assert!(session.poll().await.text().starts_with("40{"));
        let node_sid = &session.sid[..NODE_SID_BYTES];
        let mut connection = match leaving {
            Leaving::Close | Leaving::Reset => RawConnection::connect(plain.address()).await,
            Leaving::Tls => {
                let config = authority.client(&["http/1.1"]);
                RawConnection::connect_tls(tls.address(), "localhost", config).await.expect("it is trusted")
            }
        };
        // The poll before was the first; this one is the second.
        node.until_polled(node_sid, 1).await;
        session.begin_poll(&mut connection).await;
        node.until_polled(node_sid, 2).await;
        match leaving {
            Leaving::Close | Leaving::Tls => drop(connection),
            Leaving::Reset => connection.reset(),
        }
        closed += 1;
        node.until_sessions_closed(closed).await;
        let sessions = node.sessions().await;
        let last = sessions.closed.last().expect("one was closed");
        assert_eq!((last.sid.as_str(), last.reason.as_str()), (node_sid, "transport error"), "{leaving:?}");
        // The session is over for tidelock too: by its tag it still finds the node, which knows nothing of it.
        assert_eq!(session.poll().await.status(), 400, "{leaving:?}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_client_that_leaves_its_websocket_is_gone_at_once() {
    let rare = NodePlan::js("a").env("PING_INTERVAL", "3600000").env("PING_TIMEOUT", "3600000");
    let node = Node::start(rare).await;
    let tidelock = Tidelock::start(TIDELOCK, &FilePlan::to([&node]).text()).await;
    for (index, leaving) in [Leaving::Close, Leaving::Reset].into_iter().enumerate() {
        let mut client = RawConnection::connect(tidelock.address()).await;
        client.send(WEBSOCKET).await;
        assert_eq!(client.read_head().await.status(), 101);
        // The open packet is the first frame, and shows that the node has made a session.
        let open = String::from_utf8_lossy(&client.read_until("}").await).into_owned();
        let node_sid = sid(&open).expect("an open packet tells the id");
        match leaving {
            Leaving::Reset => client.reset(),
            Leaving::Close | Leaving::Tls => drop(client),
        }
        node.until_sessions_closed(index + 1).await;
        let sessions = node.sessions().await;
        let last = sessions.closed.last().expect("one was closed");
        assert_eq!((last.sid.as_str(), last.reason.as_str()), (node_sid.as_str(), "transport close"));
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sessions_on_polling_count_until_they_are_over() {
    assert_counted_until_over(4, Mode::Polling).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sessions_on_websocket_count_until_they_are_over() {
    assert_counted_until_over(4, Mode::Websocket).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sessions_that_upgraded_count_until_they_are_over() {
    assert_counted_until_over(4, Mode::Default).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sessions_of_eio_3_on_polling_count_until_they_are_over() {
    assert_counted_until_over(2, Mode::Polling).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sessions_of_eio_3_that_upgraded_count_until_they_are_over() {
    assert_counted_until_over(2, Mode::Default).await;
}

/// The next sixty would spread evenly even if nobody had been forgotten, as long as the first sixty had. So the first
/// leave unevenly: those who come next must fill exactly the gap.
async fn assert_counted_until_over(version: u8, mode: Mode) {
    let nodes = three(NodePlan::js).await;
    let tidelock = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    let plan = |count| ClientPlan { count, version, mode, hold: true, ..ClientPlan::to(tidelock.url()) };
    let mut first = Clients::start(&plan(60)).await;
    assert_even(&first.ready().await);
    let left = first.leave("a").await;
    nodes[0].until_sessions_closed(left).await;
    until_counted(&tidelock, 60 - left as u64).await;
    let second = Clients::start(&plan(left)).await;
    let report = second.ready().await;
    assert_eq!(report.nodes.get("a"), Some(&left), "{report:#?}");

    first.end().await;
    second.end().await;
    for node in &nodes {
        let opened = node.sessions().await.opened;
        node.until_sessions_closed(opened).await;
    }
    until_counted(&tidelock, 0).await;
    let third = Clients::start(&plan(60)).await;
    assert_even(&third.ready().await);
}

/// What a node has closed, tidelock hears of a moment later.
async fn until_counted(tidelock: &Tidelock, sessions: u64) {
    let mut counted = None;
    let counting = async {
        let mut turn = interval(Duration::from_millis(10));
        while counted != Some(sessions) {
            turn.tick().await;
            let status = tidelock.status().await;
            let nodes = status["upstreams"][0]["nodes"].as_array().expect("nodes").iter();
            counted = nodes.map(|node| node["sessions"].as_u64()).sum();
        }
    };
    let is_counted = timeout(TIMEOUT, counting).await.is_ok();
    assert!(is_counted, "{counted:?} sessions are counted, and {sessions} are there");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_close_packet_ends_a_session_in_every_dialect_of_polling() {
    for (query, close) in [("EIO=4", "1"), ("EIO=4&j=0", "1"), ("EIO=3", "1:1"), ("EIO=3&j=0", "1:1")] {
        let nodes = three(NodePlan::js).await;
        let file = FilePlan::to(&nodes).text();
        let tidelock = Tidelock::start(TIDELOCK, &file).await;
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(PollingSession::open(tidelock.address(), query).await);
        }
        // One on each node. Whichever closes, the next to come must be where it was; by chance it rarely is.
        for round in 0..9 {
            let closing = sessions.remove(round % 2);
            assert_eq!(closing.post(close).await.text(), "ok", "{query}");
            sessions.push(PollingSession::open(tidelock.address(), query).await);
            let mut counts = Vec::new();
            for node in &nodes {
                counts.push(node.sessions().await.sessions);
            }
            assert_eq!(counts, [1, 1, 1], "{query}, round {round}");
        }
    }
}

fn assert_even(report: &Report) {
    assert_eq!((report.connected, report.connect_errors.len()), (60, 0), "{report:#?}");
    assert!(report.is_even(3), "{report:#?}");
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// With a FIN.
    Close,
    /// With a reset.
    Reset,
    /// With a FIN under TLS, without a word of TLS.
    Tls,
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const NODE_SID_BYTES: usize = 20;
const WEBSOCKET: &str = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
