//! Goal: an app on several nodes, in two languages, is one app to the people who use it through tidelock.
//! Method: two chat nodes in Rust and two in Node.js, as they come, share their rooms through a real Redis or through the
//! embedded broker; eighty real clients, and two tabs of a browser, come through tidelock.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use testkit::node::{Node, NodePlan};
use testkit::page::{PagePlan, meet};
use testkit::process::Process;
use testkit::tidelock::{FilePlan, Tidelock, directory};
use tokio::process::Command;

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Redis: `cargo xtask test`")]
async fn everyone_hears_everything_once_through_redis() {
    everyone_hears_everything_once(Between::redis().await).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Redis: `cargo xtask test`")]
async fn everyone_hears_everything_once_through_the_embedded_broker() {
    everyone_hears_everything_once(Between::broker().await).await;
}

async fn everyone_hears_everything_once(between: Between) {
    let fleet = Fleet::start(between, 2).await;
    let report = fleet.people().await;
    for trouble in ["lost", "doubled", "strays", "spoilt", "wrong_members"] {
        assert_eq!(report[trouble], json!([]), "{trouble}");
    }
    assert_eq!(report["nodes"], json!({ "js-1": 20, "js-2": 20, "rust-1": 20, "rust-2": 20 }));
    assert_eq!(report["transports"], json!({ "polling": 27, "websocket": 53 }));
    for kind in ["text", "picture"] {
        for from in NODES {
            for to in NODES {
                let way = format!("{kind} {from} {to}");
                assert!(report["messages"][&way].is_number(), "no {way} in {:#}", report["messages"]);
            }
        }
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Redis: `cargo xtask test`")]
async fn tabs_on_a_rust_node_and_a_node_js_node_see_each_other() {
    let fleet = Fleet::start(Between::broker().await, 1).await;
    let meeting = meet(&PagePlan::at(fleet.tidelock.url())).await;
    assert_eq!(meeting.errors, [""; 0]);
    let [ada, grace] = &meeting.tabs[..] else { panic!("two tabs: {meeting:#?}") };
    let mut nodes = [ada.node.as_str(), grace.node.as_str()];
    // Each message shows the node that its sender is on, and the one that delivered it if that is another.
    assert_eq!(ada.message_nodes, [nodes[0]]);
    assert_eq!(grace.message_nodes, nodes);
    nodes.sort_unstable();
    assert_eq!(nodes, ["js-1", "rust-1"]);
    for tab in &meeting.tabs {
        assert_eq!(tab.texts, ["hello from the first tab"]);
        assert_eq!(tab.members, ["Ada", "Grace"]);
    }
}

/// Nodes of both languages behind one tidelock. Fields end in this order: nodes before what they connect to.
struct Fleet {
    tidelock: Tidelock,
    _rust: Vec<Node>,
    _js: Vec<Process>,
    _between: Between,
}

impl Fleet {
    /// `count` nodes in each language.
    async fn start(between: Between, count: usize) -> Self {
        let (mut rust, mut js, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for number in 1..=count {
            let plan = NodePlan::chat(&format!("rust-{number}"), TIDELOCK).env("REDIS_URL", &between.url);
            let node = Node::start(plan).await;
            addresses.push(node.address());
            rust.push(node);
            let (node, address) = node_chat(&format!("js-{number}"), &between.url).await;
            addresses.push(address);
            js.push(node);
        }
        let tidelock = Tidelock::start(TIDELOCK, &FilePlan::to_addresses(addresses).text()).await;
        Self { tidelock, _rust: rust, _js: js, _between: between }
    }

    /// Eighty people talk. What they say in the end is in the head of the script.
    async fn people(&self) -> Json {
        let mut command = node("examples/chat/tests/people.mjs");
        command.arg(format!("{{\"url\":\"{}\"}}", self.tidelock.url()));
        let people = Process::spawn("people", command);
        // One at a time: each step has a time-out of its own.
        for step in ["connected", "joined", "members", "heard", "last words", "half have left"] {
            let done = format!("done: {step}");
            people.wait_for_line(|line| line == done).await;
        }
        let line = people.wait_for_line(|line| line.starts_with('{')).await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }
}

/// What the nodes share their rooms through.
struct Between {
    url: String,
    _process: Process,
}

impl Between {
    /// A real redis-server. A port that is free now may be taken a moment later, so that this tries again.
    async fn redis() -> Self {
        for _ in 0..20 {
            let port = testkit::port::free();
            let directory = directory();
            let mut command = Command::new("redis-server");
            command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
            command.current_dir(directory.path());
            let process = Process::spawn("redis-server", command);
            let ready = |line: &str| line.contains("Ready to accept connections");
            let line = process.wait_for_line(|line| ready(line) || line.contains("Failed listening")).await;
            if ready(&line) {
                return Self { url: format!("redis://127.0.0.1:{port}"), _process: process };
            }
        }
        panic!("redis-server finds no port");
    }

    /// The embedded broker, in a process that is not a node.
    async fn broker() -> Self {
        let program = Path::new(TIDELOCK).with_file_name("broker");
        assert!(program.is_file(), "{program:?} is not there: run `cargo build -p tidelock-chat --bins`");
        let mut command = Command::new(program);
        command.env("PORT", "0");
        let process = Process::spawn("broker", command);
        let line = process.wait_for_line(|line| line.starts_with(LISTENING)).await;
        Self { url: line[LISTENING.len()..].to_owned(), _process: process }
    }
}

/// The chat as it is in Node.js.
async fn node_chat(name: &str, redis_url: &str) -> (Process, SocketAddr) {
    let mut command = node("examples/node-chat/index.js");
    command.env("NODE_NAME", name).env("REDIS_URL", redis_url).env("HOST", "127.0.0.1");
    command.env("PORT", "0");
    let process = Process::spawn(name, command);
    let line = process.wait_for_line(|line| line.starts_with(LISTENING)).await;
    let address = line[LISTENING.len()..].parse().unwrap_or_else(|_| panic!("no address in {line:?}"));
    (process, address)
}

/// A script of the repository in Node.js.
fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(script));
    command
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const NODES: [&str; 4] = ["js-1", "js-2", "rust-1", "rust-2"];
const LISTENING: &str = "listening on ";
