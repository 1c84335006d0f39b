//! What becomes of counts when processes are replaced: those of an app's slot go on, and a tidelock that takes over begins with none.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::port::free_address;
use testkit::tidelock::Tidelock;
use tokio::task::JoinSet;

use crate::{TIDELOCK, ask, file, node, until, verb};

const WEBSOCKETS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_roll_loses_nothing_and_counts_nothing_twice() {
    let metrics = free_address();
    let node = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/js/node.mjs");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\napp = \"chat\"\n\
         [log]\naccess = \"off\"\n[admin]\nsocket = \"admin.sock\"\nlisten = \"{metrics}\"\n\
         [app.chat]\ncommand = [\"node\", {node:?}]\ninstances = 2\nlogs = {{ folder = \"off\" }}\n"
    );
    let tidelock = Tidelock::start(TIDELOCK, &text).await;
    until(metrics, &[("tidelock_node_takes_part", &[], 2)]).await;
    let (mode, count) = (Mode::Websocket, WEBSOCKETS as usize);
    let clients =
        Clients::start(&ClientPlan { count, mode, hold: true, ..ClientPlan::to(tidelock.url()) }).await;
    clients.ready().await;
    let mut asking = JoinSet::new();
    for _ in 0..2 {
        asking.spawn(ask(tidelock.address(), "/", 500));
    }
    verb(&tidelock, &["reload", "chat", "--window", "2s"]).await;
    clients.until_connects(2 * count).await;
    while asking.join_next().await.is_some() {}
    ask(tidelock.address(), "/", 100).await;
    let opened = 2 * WEBSOCKETS;
    let wanted: &[(&str, &[&str], u32)] = &[
        ("tidelock_requests_total", &["class=\"2xx\""], 1_100),
        ("tidelock_requests_total", &["class=\"1xx\""], opened),
        ("tidelock_requests_total", &[], 1_100 + opened),
        ("tidelock_node_answers_total", &[], 1_100 + opened),
        ("tidelock_node_answer_duration_seconds_count", &[], 1_100 + opened),
        ("tidelock_websocket_closes_total", &["by=\"tidelock\"", "code=\"1012\""], WEBSOCKETS),
        ("tidelock_websocket_closes_total", &[], WEBSOCKETS),
        ("tidelock_websocket_lifetime_seconds_count", &[], WEBSOCKETS),
        ("tidelock_node_websockets", &[], WEBSOCKETS),
        ("tidelock_node_takes_part", &[], 2),
    ];
    until(metrics, wanted).await;
}

/// It is no child of the test. Dropped, it is killed.
struct Successor(Pid);

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tidelock_that_takes_over_answers_at_once_and_counts_what_it_does() {
    let node = node().await;
    let metrics = free_address();
    let text = file(&[node.address()], &format!("listen = \"{metrics}\""), "");
    let mut tidelock = Tidelock::start(TIDELOCK, &text).await;
    ask(tidelock.address(), "/", 50).await;
    until(metrics, &[("tidelock_requests_total", &[], 50), ("tidelock_upgrades_total", &[], 0)]).await;
    verb(&tidelock, &["upgrade"]).await;
    let status: Value = serde_json::from_str(&verb(&tidelock, &["status", "--json"]).await).expect("JSON");
    let pid = status["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
    let _successor = Successor(pid.expect("a process id"));
    assert!(tidelock.process().exit().await.success());
    let succeeded: (&str, &[&str], u32) = ("tidelock_upgrades_total", &["outcome=\"succeeded\""], 1);
    until(metrics, &[succeeded, ("tidelock_requests_total", &[], 0)]).await;
    ask(tidelock.address(), "/", 30).await;
    until(metrics, &[("tidelock_requests_total", &[], 30), ("tidelock_node_answers_total", &[], 30)]).await;
}
