//! Goal: one tidelock can take over from another, for an upgrade of the binary or of the machine, and no polling
//! session notices.
//! Method: both behind a relay of bytes. New connections go to the second from the moment the first is told to leave;
//! the first finishes what it has, pending polls above all: a node closes a session whose poll is cut.

use testkit::clients::{ClientPlan, Clients, Mode, Who};
use testkit::load::Load;
use testkit::node::{NodePlan, three};
use testkit::process::Signal;
use testkit::relay::Relay;
use testkit::tidelock::{FilePlan, Tidelock};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn polling_sessions_go_on_under_another_tidelock() {
    take_over(false).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn polling_sessions_on_kept_connections_go_on_too() {
    take_over(true).await;
}

async fn take_over(keep_alive: bool) {
    // A poll ends with the node's next ping at the latest, and the first tidelock with the last poll.
    let nodes = three(|name| NodePlan::js(name).env("PING_INTERVAL", "1000")).await;
    let file = FilePlan::to(&nodes).top("sticky_secret = \"a secret of 32 bytes, or of some more\"").text();
    let mut first = Tidelock::start(TIDELOCK, &file).await;
    let relay = Relay::to(first.address()).await;
    let plan = ClientPlan {
        count: CLIENTS,
        mode: Mode::Polling,
        keep_alive,
        hold: true,
        ..ClientPlan::to(relay.url())
    };
    let mut clients = Clients::start(&plan).await;
    let report = clients.ready().await;
    assert_eq!((report.connected, report.connect_errors.len()), (CLIENTS, 0), "{report:#?}");
    let before = sessions(clients.who().await);
    let load = Load::start(relay.address());
    load.until_answered(20).await;

    let mut second = Tidelock::start(TIDELOCK, &file).await;
    relay.switch(second.address());
    first.process().signal(Signal::TERM);
    let status = first.process().exit().await;
    assert!(status.success(), "{status}: {}", first.process().output());

    // Everything is the second's now: each session answers, on its node and under its old id.
    load.until_answered(20).await;
    assert_eq!(sessions(clients.who().await), before);
    let by_tag = |line: &str| line.contains("\"sticky\":\"tag\"");
    second.process().wait_for_lines_since(testkit::process::Mark::default(), CLIENTS, by_tag).await;
    let report = clients.end().await;
    assert_eq!(report.disconnects, [""; 0]);
    assert_eq!(report.connect_errors, [""; 0]);
    assert_eq!(report.connected, CLIENTS);
    assert_eq!(load.stop().await.failures, [""; 0]);
}

/// Who is where: the node's name and the session's id at both ends.
fn sessions(answers: Vec<Option<Who>>) -> Vec<(String, String, String)> {
    let answers = answers.into_iter().map(|who| who.expect("it is connected"));
    answers.map(|who| (who.node, who.sid, who.client_sid)).collect()
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const CLIENTS: usize = 60;
