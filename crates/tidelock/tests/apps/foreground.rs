//! `tidelock start FILE`: the article's app, unchanged, on several processes.

use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::process::{Signal, tells};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use crate::{TIDELOCK, ready, repository, until_nothing_is_left_of, verb};

/// Its `server.listen(3000)` is in its code.
async fn the_article() -> Tidelock {
    let index = repository("examples/node-chat/index.js");
    Tidelock::start_app(TIDELOCK, &[&index, "-i", "4", "--listen", "127.0.0.1:0"]).await
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_articles_app_runs_unchanged_on_four_processes() {
    let mut tidelock = the_article().await;
    let instances = ready(&tidelock, 4).await;
    for mode in [Mode::Polling, Mode::Default, Mode::Websocket] {
        let plan = ClientPlan { count: 60, mode, hold: true, ..ClientPlan::to(tidelock.url()) };
        let clients = Clients::start(&plan).await;
        let report = clients.ready().await;
        assert_eq!((report.connected, &report.connect_errors), (60, &vec![]), "{mode:?}: {report:#?}");
        assert_eq!(report.nodes.len(), instances.len(), "{mode:?}: {report:#?}");
        let is_even = report.nodes.values().all(|count| (14..=16).contains(count));
        assert!(is_even, "{mode:?}: {:?}", report.nodes);
        clients.end().await;
    }
    tidelock.process().signal(Signal::TERM);
    assert!(tidelock.process().exit().await.success(), "{}", tidelock.process().output());
    until_nothing_is_left_of(tidelock.directory()).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn clients_that_come_before_the_app_is_ready_wait_for_it() {
    let tidelock = the_article().await;
    // Nobody waits for the app here.
    let plan = ClientPlan { count: 20, hold: true, ..ClientPlan::to(tidelock.url()) };
    let report = Clients::start(&plan).await.ready().await;
    assert_eq!((report.connected, report.connect_errors.len()), (20, 0), "{report:#?}");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_the_app_writes_is_shown() {
    let mut tidelock = the_article().await;
    ready(&tidelock, 4).await;
    for slot in 0..4 {
        let begins = format!("index/{slot} | listening on ");
        tidelock.process().wait_for_line(|line| line.starts_with(&begins)).await;
    }
    let logs = verb(&tidelock, &["logs", "index/2"]).await;
    assert!(logs.success && logs.text.contains(" index/2 | listening on "), "{}", logs.text);
    assert!(!logs.text.contains("index/1"), "{}", logs.text);
    let table = verb(&tidelock, &["status"]).await;
    assert!(table.text.contains("index/3  ready"), "{}", table.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn there_is_no_file_to_read_again() {
    let tidelock = the_article().await;
    let said = verb(&tidelock, &["reload"]).await;
    assert!(!said.success && said.text.contains("was started without a file"), "{}", said.text);
}

/// Its processes end with tidelock, so that nobody takes their polling sessions over: both ends hear of a close.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn when_tidelock_leaves_its_apps_polling_sessions_are_closed() {
    let mut tidelock = the_article().await;
    ready(&tidelock, 4).await;
    let plan = ClientPlan { count: 20, mode: Mode::Polling, hold: true, ..ClientPlan::to(tidelock.url()) };
    let mut clients = Clients::start(&plan).await;
    assert_eq!(clients.ready().await.connected, 20);
    tidelock.process().signal(Signal::TERM);
    clients.until_disconnects(20).await;
    // "transport error" is what a poll says that was cut.
    assert_eq!(clients.report().await.disconnects, ["transport close"; 20]);
}

/// Who is connected already has another answer, from the app, until the end.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn while_tidelock_leaves_its_app_answers() {
    let mut tidelock = the_article().await;
    ready(&tidelock, 4).await;
    let mut connection = RawConnection::connect(tidelock.address()).await;
    let page = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let before = connection.try_ask(page).await.expect("an answer");
    tidelock.process().signal(Signal::TERM);
    tidelock.process().wait_for_line(|line| tells(line, "leaving")).await;
    let after = connection.try_ask(page).await.expect("an answer");
    assert_eq!((after.status(), after.body), (before.status(), before.body));
}
