//! Goal: people can chat through tidelock with a browser as it is.
//! Method: two tabs of headless Chromium on the chat page of one Rust node, which has no fan-out to others yet.

use testkit::browser::Tabs;
use testkit::node::{Node, NodePlan};
use testkit::tidelock::{FilePlan, Tidelock};

#[tokio::test]
async fn a_message_of_one_tab_is_seen_in_both() {
    let node = Node::start(NodePlan::chat("node-1", env!("CARGO_BIN_EXE_tidelock"))).await;
    let tidelock = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &FilePlan::to([&node]).text()).await;
    let Tabs { tabs, errors } = Tabs::say(&tidelock.url(), "hello through the proxy").await;
    assert_eq!(errors, [""; 0]);
    for tab in tabs {
        assert_eq!(tab.texts, ["hello through the proxy"]);
        assert_eq!(tab.message_nodes, ["node-1"]);
        assert_eq!(tab.node, "node-1");
        assert_eq!(tab.members, ["Ada", "Grace"]);
        // Both transports were in use, one after the other, and the page says so.
        assert_eq!(tab.transports, ["–", "polling", "polling → websocket…", "polling → websocket"]);
    }
    // Closed tabs leave no sessions behind.
    node.until_sessions(0).await;
}
