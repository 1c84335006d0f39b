//! The npm package `eventsource`, Chromium's own EventSource, and readers with `fetch`, in front of nodes in Node.js: plain
//! ones, express and graphql-yoga.

use testkit::node::{Node, NodePlan};
use testkit::process::{Mark, Process, tells};

use super::*;

/// `js/streams.mjs`.
struct Readers {
    process: Process,
}

impl Readers {
    /// Of plain nodes, with the npm package.
    async fn start(url: &str, event_sources: usize) -> Self {
        Self::start_on(url, event_sources, &["/ticks"], "node").await
    }

    /// `whose` EventSources, "node" or "chromium", on these paths in turn.
    async fn start_on(url: &str, event_sources: usize, paths: &[&str], whose: &str) -> Self {
        let mut command = Command::new("node");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/js/streams.mjs");
        command.args([script, url, &event_sources.to_string(), &serde_json::json!(paths).to_string(), whose]);
        let readers = Self { process: Process::spawn("readers", command) };
        readers.until("open", event_sources).await;
        readers.until("token", 1).await;
        readers
    }

    async fn until(&self, event: &str, count: usize) -> Vec<Value> {
        let prefix = format!("{{\"event\":\"{event}\"");
        let lines =
            self.process.wait_for_lines_since(Mark::default(), count, |line| line.starts_with(&prefix)).await;
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// What was seen until now.
    async fn report(&mut self) -> Value {
        self.process.write_line("report").await;
        self.until("report", 1).await.remove(0)
    }
}

const STREAMS: usize = 20;

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_drained_node_hands_its_event_sources_over() {
    let nodes = [Node::start(NodePlan::js("a")).await, Node::start(NodePlan::js("b")).await];
    hand_over(&nodes, STREAMS, &["/ticks"], "node").await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_drained_node_of_express_and_graphql_yoga_hands_them_over() {
    hand_over(&streaming().await, STREAMS, &["/ticks", SUBSCRIPTION], "node").await;
}

/// A browser has six connections to one host, of which the fetches need two.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_drained_node_hands_over_the_event_sources_of_chromium() {
    hand_over(&streaming().await, 4, &["/ticks", SUBSCRIPTION], "chromium").await;
}

async fn streaming() -> [Node; 2] {
    [Node::start(NodePlan::streaming("a")).await, Node::start(NodePlan::streaming("b")).await]
}

const SUBSCRIPTION: &str = "/graphql?query=subscription{ticks{node%20number%20length%20text}}";

/// Each EventSource is on the other node afterwards, and has missed no event but those that it was away for; none was cut in
/// two. The tokens come whole.
async fn hand_over(nodes: &[Node; 2], streams: usize, paths: &[&str], whose: &str) {
    let file = FilePlan::to(nodes).text() + "[drain]\nwindow = \"1s\"\ndeadline = \"20s\"\n";
    let proxy = Tidelock::start(TIDELOCK, &file).await;
    let mut readers = Readers::start_on(&proxy.url(), streams, paths, whose).await;
    let (code, said) = verb(&proxy, &["drain", &nodes[0].address().to_string()]).await;
    assert_eq!(code, 0, "{said}");
    let opened = readers.until("open", streams).await;
    let on_a = opened[..streams].iter().filter(|open| open["node"] == "a").count();
    assert!(on_a > 0, "{opened:?}");
    readers.until("open", streams + on_a).await;
    let tokens = readers.until("tokens", 2).await;
    assert!(tokens.iter().all(|end| end["outcome"] == "whole"), "{tokens:?}");
    let report = readers.report().await;
    assert_eq!(
        (&report["broken"], &report["on"]),
        (&0.into(), &serde_json::json!({ "b": streams })),
        "{report:#}"
    );
}

/// A roll moves them too, within its window and without cutting one; a token stream that is still there at the deadline
/// fails, however its answer is framed.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_roll_cuts_long_answers_at_its_deadline() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/js/node.mjs");
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\napp = \"chat\"\n\
         [log]\naccess = \"off\"\n[drain]\nwindow = \"500ms\"\ndeadline = \"1500ms\"\n[app.chat]\ninstances = 2\n\
         env = {{ TOKENS = \"100000\" }}\ncommand = [\"node\", {script:?}]\nlogs = {{ folder = \"off\" }}\n"
    );
    let mut proxy = Tidelock::start(TIDELOCK, &file).await;
    let two_are_ready = |status: &Value| {
        let all = status["apps"][0]["instances"].as_array().expect("instances").clone();
        all.len() == 2 && all.iter().all(|instance| instance["state"] == "ready")
    };
    while !two_are_ready(&proxy.status().await) {}
    let mut readers = Readers::start(&proxy.url(), STREAMS).await;
    let (code, said) = verb(&proxy, &["reload", "chat"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("long answer"), "what was cut is said: {said}");
    readers.until("open", 2 * STREAMS).await;
    let tokens = readers.until("tokens", 2).await;
    assert!(tokens.iter().all(|end| end["outcome"] == "failed"), "{tokens:?}");
    let report = readers.report().await;
    assert_eq!(report["broken"], 0, "{report:#}");
    proxy.process().wait_for_line(|line| tells(line, "node_drained") && line.contains("long answer")).await;
}
