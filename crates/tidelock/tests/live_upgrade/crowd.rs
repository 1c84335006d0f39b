//! An upgrade under many clients.

use testkit::clients::{ClientPlan, Clients, Mode, Who};
use testkit::load::Load;
use testkit::node::{NodePlan, three};
use testkit::process::Signal;
use testkit::tidelock::{FilePlan, Tidelock};

use crate::{TIDELOCK, app_file, pids, until_ended, until_told, upgrade};

/// Who is where: the node's name and the session's id at both ends.
fn sessions(answers: Vec<Option<Who>>) -> Vec<(String, String, String)> {
    let answers = answers.into_iter().map(|who| who.expect("it is connected"));
    answers.map(|who| (who.node, who.sid, who.client_sid)).collect()
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn nobody_notices_an_upgrade_but_websockets_that_come_back_once() {
    const WEBSOCKET: usize = 300;
    const POLLING: usize = 60;
    // A poll ends with the node's next ping at the latest, and the first tidelock with the last poll.
    let mut tidelock = Tidelock::start(TIDELOCK, &app_file(4, "env = { PING_INTERVAL = \"2000\" }")).await;
    let before = pids(&tidelock, 4).await;
    let plan = |mode, count| ClientPlan { count, mode, hold: true, ..ClientPlan::to(tidelock.url()) };
    let mut websocket = Clients::start(&plan(Mode::Websocket, WEBSOCKET)).await;
    let mut polling = Clients::start(&plan(Mode::Polling, POLLING)).await;
    assert_eq!(websocket.ready().await.connected, WEBSOCKET);
    assert_eq!(polling.ready().await.connected, POLLING);
    let at = sessions(polling.who().await);
    let load = Load::start(tidelock.address());
    load.until_answered(20).await;

    let successor = upgrade(&tidelock).await;
    load.until_answered(20).await;
    until_ended(tidelock.process()).await;
    load.until_answered(20).await;

    // Each WebSocket was asked to go at a moment of its own, and has come back at its first attempt.
    websocket.until_connects(2 * WEBSOCKET).await;
    let report = websocket.report().await;
    assert_eq!((report.connected, report.connect_errors.len()), (WEBSOCKET, 0), "{report:#?}");
    assert_eq!(report.disconnects, vec!["transport close"; WEBSOCKET]);
    assert_eq!(report.close_codes, vec![1001; WEBSOCKET]);
    // No polling session has moved.
    let report = polling.report().await;
    assert_eq!((&report.disconnects[..], &report.connect_errors[..]), (&[][..], &[][..]));
    assert!(sessions(polling.who().await) == at, "sessions are others, or elsewhere");
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
    assert_eq!(pids(&tidelock, 4).await, before, "the processes are the same");

    // The new one ends the processes, which are its own now.
    drop((websocket, polling));
    successor.signal(Signal::TERM);
    until_told(tidelock.process(), "leaving").await;
    successor.until_gone().await;
    for pid in before {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the instance {pid} is left behind");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sessions_that_are_only_known_by_the_table_go_on() {
    const COUNT: usize = 30;
    let nodes = three(|name| NodePlan::js(name).env("PING_INTERVAL", "1000")).await;
    let file = FilePlan::to(&nodes).upstream("sticky = \"engineio-learned\"").text();
    let mut tidelock = Tidelock::start(TIDELOCK, &file).await;
    let plan = |version, mode| ClientPlan {
        count: COUNT,
        version,
        mode,
        hold: true,
        ..ClientPlan::to(tidelock.url())
    };
    let mut old = Clients::start(&plan(2, Mode::Polling)).await;
    let mut new = Clients::start(&plan(4, Mode::Polling)).await;
    assert_eq!(old.ready().await.connected, COUNT);
    assert_eq!(new.ready().await.connected, COUNT);
    let at = (sessions(old.who().await), sessions(new.who().await));

    let _successor = upgrade(&tidelock).await;
    until_ended(tidelock.process()).await;

    assert_eq!((sessions(old.who().await), sessions(new.who().await)), at);
    for clients in [old, new] {
        let report = clients.end().await;
        assert_eq!((report.disconnects.len(), report.connect_errors.len()), (0, 0), "{report:#?}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn one_upgrade_after_another_fails_no_request() {
    let tidelock = Tidelock::start(TIDELOCK, &app_file(2, "")).await;
    let before = pids(&tidelock, 2).await;
    let load = Load::start(tidelock.address());
    load.until_answered(10).await;
    let first = upgrade(&tidelock).await;
    load.until_answered(10).await;
    // SIGUSR2 does the same.
    first.signal(Signal::USR2);
    first.until_gone().await;
    let second = crate::Successor::of(&tidelock).await;
    assert_ne!(second.0, first.0);
    load.until_answered(10).await;
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
    assert_eq!(pids(&tidelock, 2).await, before);
    second.signal(Signal::TERM);
    second.until_gone().await;
}
