//! Goal: the chat node behaves as a Socket.IO node in Node.js does, to clients of both versions and to a browser.
//! Method: real clients and a real page, pointed at it directly.

use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::node::{Node, NodePlan};
use testkit::page::{PagePlan, meet};
use testkit::process::{Process, Signal};
use testkit::raw::get;

async fn chat_node() -> Node {
    Node::start(NodePlan::binary("node-1", env!("CARGO_BIN_EXE_node"))).await
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn echoes_are_exact_in_every_mode() {
    let node = chat_node().await;
    for version in [4, 2] {
        for mode in [Mode::Polling, Mode::Websocket, Mode::Default] {
            // engineioxide 0.17.9 leaves the packet type out of binary answers to EIO=3 polls: `bAAEC` for `b4AAEC`.
            let binary_bytes = if (version, mode) == (2, Mode::Polling) { 0 } else { 700_000 };
            let one =
                ClientPlan { version, mode, echoes: 1, text_bytes: 900_000, ..ClientPlan::to(node.url()) };
            let report = Clients::start(&ClientPlan { count: 2, binary_bytes, ..one }).await.result().await;
            assert_eq!(report.connected, 2, "version {version}, {mode:?}: {report:#?}");
            assert_eq!(report.echoes_failed, 0, "version {version}, {mode:?}: {report:#?}");
            assert_eq!(report.nodes.get("node-1"), Some(&2));
        }
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn it_answers_who_watches_it() {
    let node = chat_node().await;
    assert_eq!(get(node.address(), "/health").await.text(), "ok");
    let clients = Clients::start(&ClientPlan { count: 2, hold: true, ..ClientPlan::to(node.url()) }).await;
    clients.ready().await;
    assert_eq!(node.sessions().await.sessions, 2);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sigterm_tells_the_clients_and_ends_it() {
    let mut node = chat_node().await;
    let clients = Clients::start(&ClientPlan { count: 2, hold: true, ..ClientPlan::to(node.url()) }).await;
    clients.ready().await;
    node.process().signal(Signal::TERM);
    clients.until_disconnects(2).await;
    assert!(node.process().exit().await.success());
}

#[tokio::test]
async fn a_closed_lifeline_ends_it() {
    let mut node = chat_node().await;
    node.process().close_stdin();
    assert!(node.process().exit().await.success());
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn two_tabs_of_a_browser_meet_in_a_room() {
    assert_they_meet(&chat_node().await).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn without_redis_it_says_so_and_its_own_clients_meet() {
    let nobody = format!("redis://{NOBODY}");
    let plan = NodePlan::binary("node-1", env!("CARGO_BIN_EXE_node")).env("REDIS_URL", &nobody);
    let mut node = Node::start(plan).await;
    node.process().wait_for_line(|line| line.contains("the other nodes are out of reach")).await;
    assert_they_meet(&node).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_redis_url_that_cannot_work_ends_it_with_a_clear_error() {
    for url in ["redis+sentinel://127.0.0.1:26379", "http://127.0.0.1:6379", "localhost", "redis://h:port"] {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_node"));
        command.env("PORT", "0").env("REDIS_URL", url);
        let mut node = Process::spawn("node", command);
        assert_eq!(node.exit().await.code(), Some(1), "{url}");
        node.wait_for_line(|line| line.starts_with("REDIS_URL: ") && line.contains("redis://HOST:PORT"))
            .await;
    }
}

async fn assert_they_meet(node: &Node) {
    let meeting = meet(&PagePlan::at(node.url())).await;
    assert_eq!(meeting.errors, [] as [String; 0]);
    assert_eq!(meeting.violations, [] as [String; 0]);
    for tab in meeting.tabs {
        assert_eq!((tab.node.as_str(), tab.transport.as_str()), ("node-1", "polling → websocket"));
        assert_eq!(tab.texts, ["hello from the first tab"]);
        assert_eq!(tab.members, ["Ada", "Grace"]);
    }
}

/// tcpmux, which no machine serves any longer: a connection is refused at once.
const NOBODY: &str = "127.0.0.1:1";
