//! Goal: the chat node behaves as a Socket.IO node in Node.js does, to clients of both versions and to a browser.
//! Method: real clients and a real page, pointed at it directly.

use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::node::{Node, NodePlan};
use testkit::page::{PagePlan, meet};
use testkit::process::Signal;
use testkit::raw::get;

async fn chat_node() -> Node {
    Node::start(NodePlan::binary("node-1", env!("CARGO_BIN_EXE_node"))).await
}

#[tokio::test]
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
async fn it_answers_who_watches_it() {
    let node = chat_node().await;
    assert_eq!(get(node.address(), "/health").await.text(), "ok");
    let clients = Clients::start(&ClientPlan { count: 2, hold: true, ..ClientPlan::to(node.url()) }).await;
    clients.ready().await;
    assert_eq!(node.sessions().await.sessions, 2);
}

#[tokio::test]
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
async fn two_tabs_of_a_browser_meet_in_a_room() {
    let node = chat_node().await;
    let meeting = meet(&PagePlan::at(node.url())).await;
    assert_eq!(meeting.errors, [] as [String; 0]);
    for tab in meeting.tabs {
        assert_eq!((tab.node.as_str(), tab.transport.as_str()), ("node-1", "polling → websocket"));
        assert_eq!(tab.texts, ["hello from the first tab"]);
        assert_eq!(tab.members, ["Ada", "Grace"]);
    }
}
