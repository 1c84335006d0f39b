//! What balancers in front are told.

use testkit::process::{Signal, tells};
use testkit::raw::get;
use testkit::tidelock::Tidelock;

use crate::{ADMIN, TIDELOCK, origin_that_says, verb};

const PROBES: &str = "[[route]]\nexact = \"/health\"\nrespond = \"health\"\n\
                      [[route]]\nexact = \"/ready\"\nrespond = \"ready\"\n";

async fn said(proxy: &Tidelock, path: &str) -> (u16, String) {
    let answer = get(proxy.address(), path).await;
    (answer.status(), answer.text())
}

#[tokio::test]
async fn it_is_ready_while_a_node_takes_clients() {
    let origin = origin_that_says("a").await;
    let proxy =
        Tidelock::start(TIDELOCK, &crate::file(&[origin.address()], &format!("{PROBES}{ADMIN}"))).await;
    assert_eq!(said(&proxy, "/ready").await, (200, "ready\n".to_owned()));
    assert_eq!(said(&proxy, "/health").await, (200, "ok\n".to_owned()));

    assert_eq!(verb(&proxy, &["drain", "nodes"]).await.code, 0);
    assert_eq!(said(&proxy, "/ready").await, (503, "not ready: no node takes clients\n".to_owned()));
    assert_eq!(said(&proxy, "/health").await, (200, "ok\n".to_owned()), "that is no fault of its own");
    let answer = get(proxy.address(), "/ready").await;
    assert_eq!(answer.header("cache-control"), Some("no-store"), "nobody keeps it");

    let node = origin.address().to_string();
    assert_eq!(verb(&proxy, &["undrain", &node]).await.code, 0);
    assert_eq!(said(&proxy, "/ready").await, (200, "ready\n".to_owned()));
}

#[tokio::test]
async fn it_is_not_ready_before_it_ends_and_serves_on() {
    let origin = origin_that_says("a").await;
    let config = crate::file(&[origin.address()], &format!("{PROBES}[drain]\nannounce = \"1h\"\n{ADMIN}"));
    let mut proxy = Tidelock::start(TIDELOCK, &config).await;
    assert_eq!(said(&proxy, "/ready").await.0, 200);
    proxy.process().signal(Signal::TERM);
    proxy.process().wait_for_line(|line| tells(line, "announced")).await;
    assert_eq!(said(&proxy, "/ready").await, (503, "not ready: it is about to end\n".to_owned()));
    assert_eq!(said(&proxy, "/").await.0, 200, "new connections are served");
    assert_eq!(said(&proxy, "/health").await.0, 200);
    // Whoever tells it again does not want to wait.
    proxy.process().signal(Signal::TERM);
    assert!(proxy.process().exit().await.success());
}
