//! Sixty real Socket.IO clients of each kind behind each guard, of which one node is drained.

use serde_json::json;
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::node::{Node, NodePlan, three};
use testkit::tidelock::{Tidelock, directory};
use tokio::process::Command;

use super::asked::asked;
use super::passwords::{USERS, basic};
use super::{TIDELOCK, counted};

const COUNT: usize = 60;

/// Three nodes behind a route with these keys.
async fn start(nodes: &[Node; 3], guard: &str) -> Tidelock {
    let addresses: Vec<String> = nodes.iter().map(|node| node.address().to_string()).collect();
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\n{guard}\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = {addresses:?}\n"
    );
    let folder = directory();
    std::fs::write(folder.path().join("users"), USERS).expect("a writable folder");
    Tidelock::start_in(folder, TIDELOCK, &file).await
}

/// Connects crowds that upgrade, that poll, and that never do, drains a node, and looks that each of its clients has moved once.
async fn stays_up(proxy: &Tidelock, nodes: &[Node; 3], options: serde_json::Value) {
    let plan = |mode| ClientPlan {
        count: COUNT,
        mode,
        echoes: 2,
        hold: true,
        options: options.clone(),
        ..ClientPlan::to(proxy.url())
    };
    let mut crowds = Vec::new();
    for mode in [Mode::Default, Mode::Polling, Mode::Websocket] {
        crowds.push(Clients::start(&plan(mode)).await);
    }
    let mut on_b = [0; 3];
    for (clients, on_b) in crowds.iter_mut().zip(&mut on_b) {
        let report = clients.ready().await;
        assert_eq!((report.connected, report.echoes_failed), (COUNT, 0), "{report:#?}");
        assert_eq!(report.connect_errors, [""; 0]);
        *on_b = report.nodes["b"];
    }
    let mut drain = Command::new(TIDELOCK);
    drain.args(["drain", &nodes[1].address().to_string()]).env("XDG_RUNTIME_DIR", proxy.directory());
    let drained = drain.output().await.expect("tidelock runs");
    assert!(drained.status.success(), "{drained:?}");
    for (mut clients, on_b) in crowds.into_iter().zip(on_b) {
        clients.until_connects(COUNT + on_b).await;
        let report = clients.report().await;
        assert_eq!(report.connected, COUNT, "{report:#?}");
        assert_eq!(report.connect_errors, [""; 0]);
        assert_eq!(report.disconnects.len(), on_b, "{report:#?}");
        assert_eq!(report.nodes.get("b"), None, "{report:#?}");
        clients.end().await;
    }
}

/// No request of a session counts, which 1 an hour shows, and handshakes only for those that count them.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn behind_limits() {
    let nodes = three(NodePlan::js).await;
    let guard = "limit = [{ rate = \"1/h\", of = \"requests\" }, { rate = \"1/h\", burst = 300, of = \"handshakes\" }, \
                 { connections = 1000 }]";
    let proxy = start(&nodes, guard).await;
    stays_up(&proxy, &nodes, json!({})).await;
    assert_eq!(counted(&proxy, "faults", "too many requests").await, 0);
    assert_eq!(counted(&proxy, "faults", "too many requests at once").await, 0);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn behind_passwords() {
    let nodes = three(NodePlan::js).await;
    let proxy = start(&nodes, "auth = { users = \"users\" }").await;
    let right = basic("bcrypt", "secret");
    let authorization = right.trim_end().split_once(": ").expect("a header line").1;
    stays_up(&proxy, &nodes, json!({ "extraHeaders": { "Authorization": authorization } })).await;
    assert_eq!(counted(&proxy, "faults", "no password, or a wrong one").await, 0);
    // Without one nobody gets in, and each attempt is counted.
    let plan = ClientPlan {
        count: COUNT,
        mode: Mode::Polling,
        options: json!({ "reconnection": false }),
        ..ClientPlan::to(proxy.url())
    };
    let report = Clients::start(&plan).await.ready().await;
    assert_eq!((report.connected, report.connect_errors.len()), (0, COUNT), "{report:#?}");
    assert_eq!(counted(&proxy, "faults", "no password, or a wrong one").await, COUNT as u64);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn behind_somebody_elses_word() {
    let (nodes, asked) = (three(NodePlan::js).await, asked().await);
    let guard = format!("auth = {{ ask = \"http://{}/verify\", copy = [\"X-User\"] }}", asked.address());
    let proxy = start(&nodes, &guard).await;
    stays_up(&proxy, &nodes, json!({ "extraHeaders": { "Cookie": "who=ann" } })).await;
    assert_eq!(counted(&proxy, "faults", "nobody has said whether the client may").await, 0);
}

/// Whom a limit refuses comes back by itself, and all are up in the end.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_crowd_beyond_the_limit_comes_in_by_and_by() {
    let nodes = three(NodePlan::js).await;
    let proxy = start(&nodes, "limit = { rate = \"100/s\", burst = 19, of = \"handshakes\" }").await;
    let plan = ClientPlan {
        count: COUNT,
        mode: Mode::Polling,
        hold: true,
        options: json!({ "reconnectionDelay": 200, "reconnectionDelayMax": 400 }),
        ..ClientPlan::to(proxy.url())
    };
    let clients = Clients::start(&plan).await;
    clients.until_connects(COUNT).await;
    let report = clients.end().await;
    // What they were told is what was counted.
    let refused = counted(&proxy, "faults", "too many requests").await;
    assert_eq!(report.connect_errors.len() as u64, refused, "{report:#?}");
}
