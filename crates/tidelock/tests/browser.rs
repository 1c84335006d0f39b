//! Goal: people can chat through tidelock with a browser as it is.
//! Method: two tabs of headless Chromium on the chat page of one Rust node. `fleet` does the same with several.

use testkit::certificates::Authority;
use testkit::node::{Node, NodePlan};
use testkit::page::{PagePlan, meet};
use testkit::tidelock::{FilePlan, Tidelock, directory};

#[tokio::test]
async fn a_message_of_one_tab_is_seen_in_both() {
    let node = Node::start(NodePlan::chat("node-1", TIDELOCK)).await;
    let tidelock = Tidelock::start(TIDELOCK, &FilePlan::to([&node]).text()).await;
    assert_they_meet(&PagePlan::at(tidelock.url()), &node).await;
}

#[tokio::test]
async fn a_message_of_one_tab_is_seen_in_both_over_tls() {
    let node = Node::start(NodePlan::chat("node-1", TIDELOCK)).await;
    let directory = directory();
    let files = Authority::new("browser").issue(&["localhost"]).write(directory.path(), "leaf");
    let file = FilePlan::to([&node]).tls(&files).text();
    let tidelock = Tidelock::start_in(directory, TIDELOCK, &file).await;
    let url = format!("https://localhost:{}", tidelock.address().port());
    assert_they_meet(&PagePlan { insecure: true, ..PagePlan::at(url) }, &node).await;
}

async fn assert_they_meet(plan: &PagePlan, node: &Node) {
    let meeting = meet(plan).await;
    assert_eq!(meeting.errors, [""; 0]);
    assert_eq!(meeting.tabs.len(), 2);
    for tab in meeting.tabs {
        assert_eq!(tab.texts, [plan.text.as_str()]);
        assert_eq!(tab.message_nodes, ["node-1"]);
        assert_eq!(tab.node, "node-1");
        assert_eq!(tab.members, ["Ada", "Grace"]);
        // Both transports were in use, one after the other, and the page says so.
        assert_eq!(tab.transports, ["–", "polling", "polling → websocket…", "polling → websocket"]);
    }
    // Closed tabs leave no sessions behind.
    node.until_sessions(0).await;
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
