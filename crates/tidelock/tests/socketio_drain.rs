//! Goal: whoever drains a node, takes it out of the file, or ends a tidelock moves each of its sessions once, cuts no
//! poll, and fails no request.
//! Method: real clients on both transports over real nodes, a steady load of plain requests beside them, and the verbs
//! that a person would type. What is counted is counted by the clients and by the nodes.

use std::net::SocketAddr;
use std::process::Stdio;

use testkit::clients::{ClientPlan, Clients, Mode, Report};
use testkit::load::Load;
use testkit::node::{Node, NodePlan, three};
use testkit::process::Signal;
use testkit::relay::Relay;
use testkit::tidelock::{FilePlan, Tidelock};
use tokio::process::Command;

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_drained_node_in_node_js_hands_its_sessions_over() {
    let nodes = three(NodePlan::js).await;
    let tidelock = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    let load = Load::start(tidelock.address());
    hand_over(&tidelock, &nodes, load).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_drained_node_in_rust_hands_its_sessions_over() {
    let nodes = three(|name| NodePlan::chat(name, TIDELOCK)).await;
    let tidelock = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    let load = Load::asking(tidelock.address(), "/health");
    hand_over(&tidelock, &nodes, load).await;
}

/// Drains the second of three nodes under clients of both kinds and a load of requests.
async fn hand_over(tidelock: &Tidelock, nodes: &[Node; 3], load: Load) {
    const WEBSOCKET: usize = 300;
    const POLLING: usize = 60;
    load.until_answered(20).await;
    let plan = |mode, count| ClientPlan { count, mode, hold: true, ..ClientPlan::to(tidelock.url()) };
    let mut websocket = Clients::start(&plan(Mode::Default, WEBSOCKET)).await;
    let on_b = websocket.ready().await.nodes["b"];
    let mut polling = Clients::start(&plan(Mode::Polling, POLLING)).await;
    let polling_on_b = polling.ready().await.nodes["b"];

    let drained = verb(tidelock, &["drain", &nodes[1].address().to_string()]).await;
    assert!(drained.0, "{}", drained.1);
    websocket.until_connects(WEBSOCKET + on_b).await;
    polling.until_connects(POLLING + polling_on_b).await;
    assert_eq!(nodes[1].sessions().await.sessions, 0, "none is left, as the node counts them");

    let report = moved(&mut websocket, WEBSOCKET, on_b, tidelock).await;
    assert_eq!(report.close_codes, vec![1012; on_b]);
    moved(&mut polling, POLLING, polling_on_b, tidelock).await;

    // It stays empty until it is let in again, and then it is the emptiest.
    let back = verb(tidelock, &["undrain", &nodes[1].address().to_string()]).await;
    assert!(back.0, "{}", back.1);
    let new = Clients::start(&plan(Mode::Websocket, 20)).await;
    assert_eq!(new.ready().await.nodes.get("b"), Some(&20));
    load.until_answered(20).await;
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
}

/// Every client of the drained node has moved once, the others not at all, and each came back at its first attempt.
async fn moved(clients: &mut Clients, count: usize, on_b: usize, tidelock: &Tidelock) -> Report {
    let report = clients.report().await;
    assert_eq!(report.connected, count, "{report:#?}");
    assert_eq!(report.connect_errors, [""; 0], "{}", tidelock.faults());
    assert_eq!(report.disconnects, vec!["transport close"; on_b]);
    assert_eq!(report.nodes.get("b"), None, "{report:#?}");
    report
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn websockets_move_to_another_tidelock_behind_the_same_relay() {
    let nodes = three(NodePlan::js).await;
    let file = leaving_soon(&nodes);
    let first = Tidelock::start(TIDELOCK, &file).await;
    let relay = Relay::to(first.address()).await;
    let second = Tidelock::start(TIDELOCK, &file);
    take_over(first, relay.address(), second, |second| relay.switch(second.address())).await;
}

/// Nothing stands in front of both: they listen on the same port.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn websockets_move_to_another_tidelock_on_the_same_address() {
    let nodes = three(NodePlan::js).await;
    let file = leaving_soon(&nodes).replace("[[listen]]\n", "[[listen]]\nreuse_port = true\n");
    let first = Tidelock::start(TIDELOCK, &file).await;
    let address = first.address();
    let file = file.replace("127.0.0.1:0", &address.to_string());
    take_over(first, address, Tidelock::start(TIDELOCK, &file), |_| ()).await;
}

fn leaving_soon(nodes: &[Node; 3]) -> String {
    let secret = "sticky_secret = \"a secret of 32 bytes, or of some more\"";
    format!("{}[drain]\nwindow = \"2s\"\n", FilePlan::to(nodes).top(secret).text())
}

/// `first` ends under websockets and requests, and `second` is there by then.
async fn take_over(
    mut first: Tidelock,
    address: SocketAddr,
    second: impl Future<Output = Tidelock>,
    switch: impl FnOnce(&Tidelock),
) {
    const CLIENTS: usize = 60;
    let url = format!("http://{address}");
    let plan = ClientPlan { count: CLIENTS, mode: Mode::Websocket, hold: true, ..ClientPlan::to(url) };
    let mut clients = Clients::start(&plan).await;
    clients.ready().await;
    let load = Load::start(address);
    load.until_answered(20).await;

    let second = second.await;
    switch(&second);
    first.process().signal(Signal::TERM);
    assert!(first.process().exit().await.success());
    clients.until_connects(2 * CLIENTS).await;
    load.until_answered(20).await;

    let report = clients.report().await;
    assert_eq!((report.connected, report.connect_errors.len()), (CLIENTS, 0), "{report:#?}");
    let moved = report.close_codes.len();
    assert_eq!(report.close_codes, vec![1001; moved]);
    assert!(moved >= CLIENTS, "each was told at least once: {moved}");
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
}

/// Runs a verb against `tidelock`: whether it succeeded, and what it said.
async fn verb(tidelock: &Tidelock, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", tidelock.directory()).stdin(Stdio::null());
    let output = command.output().await.expect("the binary can be run");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
