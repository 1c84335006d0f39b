//! Processes that are replaced: a roll moves each session once and fails no request.

use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::load::Load;
use testkit::process::Signal;
use testkit::tidelock::Tidelock;

use crate::{TIDELOCK, app, file_of, node, pid, ready, until, until_nothing_is_left_of, verb};

const WEBSOCKET: usize = 200;
const POLLING: usize = 50;

/// Four processes under clients of both kinds and a load of requests.
struct Crowd {
    tidelock: Tidelock,
    websocket: Clients,
    polling: Clients,
    load: Load,
}

impl Crowd {
    async fn gather() -> Self {
        let tidelock = Tidelock::start(TIDELOCK, &file_of(&node(), "instances = 4")).await;
        ready(&tidelock, 4).await;
        let plan = |mode, count| ClientPlan { count, mode, hold: true, ..ClientPlan::to(tidelock.url()) };
        let websocket = Clients::start(&plan(Mode::Websocket, WEBSOCKET)).await;
        let polling = Clients::start(&plan(Mode::Polling, POLLING)).await;
        assert_eq!(websocket.ready().await.connected, WEBSOCKET);
        assert_eq!(polling.ready().await.connected, POLLING);
        let load = Load::start(tidelock.address());
        load.until_answered(20).await;
        Self { tidelock, websocket, polling, load }
    }

    /// Every client has come back exactly once, at its first attempt, and no request has failed.
    async fn has_moved_once(mut self) {
        self.websocket.until_connects(2 * WEBSOCKET).await;
        self.polling.until_connects(2 * POLLING).await;
        self.load.until_answered(20).await;
        let report = self.websocket.report().await;
        assert_eq!((report.connected, report.connect_errors.len()), (WEBSOCKET, 0), "{report:#?}");
        assert_eq!(report.disconnects, vec!["transport close"; WEBSOCKET]);
        assert_eq!(report.close_codes, vec![1012; WEBSOCKET]);
        let report = self.polling.report().await;
        assert_eq!((report.connected, report.connect_errors.len()), (POLLING, 0), "{report:#?}");
        // A poll that is cut is a "transport error".
        assert_eq!(report.disconnects, vec!["transport close"; POLLING]);
        let seen = self.load.stop().await;
        assert_eq!(seen.failures, [""; 0], "{seen:#?}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_roll_moves_each_session_once_and_fails_no_request() {
    let crowd = Crowd::gather().await;
    let before: Vec<_> = ready(&crowd.tidelock, 4).await.iter().map(pid).collect();
    let said = verb(&crowd.tidelock, &["reload", "chat", "--window", "8s"]).await;
    assert!(said.success, "{}", said.text);
    let after: Vec<_> = ready(&crowd.tidelock, 4).await.iter().map(pid).collect();
    assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
    crowd.has_moved_once().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_changed_app_is_rolled_by_a_reload_of_the_file() {
    let crowd = Crowd::gather().await;
    let before: Vec<_> = ready(&crowd.tidelock, 4).await.iter().map(pid).collect();
    crowd.tidelock.rewrite(&file_of(&node(), "instances = 4\nenv = { NODE_NAME = \"new\" }"));
    let said = verb(&crowd.tidelock, &["reload"]).await;
    assert!(said.success && said.text.contains("app chat: other env"), "{}", said.text);
    let after: Vec<_> = ready(&crowd.tidelock, 4).await.iter().map(pid).collect();
    assert!(after.iter().all(|pid| !before.contains(pid)), "{before:?} {after:?}");
    crowd.has_moved_once().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_version_that_does_not_get_ready_ends_the_roll() {
    let tidelock = Tidelock::start(TIDELOCK, &file_of(&node(), "instances = 2")).await;
    let before: Vec<_> = ready(&tidelock, 2).await.iter().map(pid).collect();
    let plan = ClientPlan { count: 20, hold: true, ..ClientPlan::to(tidelock.url()) };
    let mut clients = Clients::start(&plan).await;
    clients.ready().await;
    let load = Load::start(tidelock.address());
    load.until_answered(10).await;

    // It listens nowhere.
    let broken = r#"["node", "-e", "setInterval(() => {}, 1000)"]"#;
    let keys = "instances = 2\nready = { when = \"port\", deadline = \"1s\" }";
    tidelock.rewrite(&file_of(broken, keys));
    let said = verb(&tidelock, &["reload"]).await;
    assert!(!said.success, "{}", said.text);
    assert!(said.text.contains("chat/0"), "it says which and why: {}", said.text);

    let left = until(&tidelock, |all| {
        all.iter().filter(|one| one["state"] == "ready").count() == 2 && all.len() == 2
    });
    let after: Vec<_> = left.await.iter().map(pid).collect();
    assert_eq!(before, after, "the old ones stay");
    assert_ne!(app(&tidelock).await["last_failure"], "");
    load.until_answered(10).await;
    let report = clients.report().await;
    assert_eq!((report.connected, report.disconnects.len()), (20, 0), "{report:#?}");
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn killed_in_the_middle_of_a_roll_it_leaves_nothing_behind() {
    // A shell between, as with `npm start`.
    let script = format!("node {:?} & wait", crate::repository("crates/testkit/js/node.mjs"));
    let command = format!("[\"sh\", \"-c\", {script:?}]");
    let mut tidelock = Tidelock::start(TIDELOCK, &file_of(&command, "instances = 3")).await;
    let before = ready(&tidelock, 3).await;
    let plan = ClientPlan { count: 30, mode: Mode::Websocket, hold: true, ..ClientPlan::to(tidelock.url()) };
    let clients = Clients::start(&plan).await;
    clients.ready().await;
    let mut rolling = tokio::process::Command::new(TIDELOCK);
    rolling.args(["reload", "chat", "--window", "60s"]).env("XDG_RUNTIME_DIR", tidelock.directory());
    let mut rolling =
        rolling.stdin(std::process::Stdio::null()).kill_on_drop(true).spawn().expect("it can be run");
    // One is new, and one is being emptied.
    let during = until(&tidelock, |all| {
        all.iter().any(|one| one["state"] == "emptying") && all.iter().any(|one| one["current"] == true)
    });
    let during = during.await;
    assert!(during.len() > before.len(), "{during:#?}");

    tidelock.process().signal(Signal::KILL);
    tidelock.process().exit().await;
    rolling.wait().await.expect("the verb ends too");
    // A port listens for as long as a process has it; a connect would only tell whether anybody has it by now.
    until_nothing_is_left_of(tidelock.directory()).await;
}
