//! Goal: started as root with `user`, tidelock goes on without root's rights, and what it keeps reaches no app. Method: what
//! /proc says of each of its threads, of keepers and of apps; reloads that need what root could do. Only root can show it:
//! for anybody else these tests have nothing to look at, but for the one that needs no root.

mod service;

mod apps;
mod files;
mod upgrade;

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;

use testkit::origin::ScriptedOrigin;
use testkit::process::{Mark, tells};
use testkit::raw::RawConnection;
use testkit::tidelock::config_for;

use crate::service::{Rights, Service, account, app, check, folder, is_root};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// Bits of capabilities(7).
const KILL: u64 = 1 << 5;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const NET_BIND_SERVICE: u64 = 1 << 10;

#[tokio::test]
async fn it_goes_on_as_the_user_and_keeps_low_ports() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let config = format!("user = \"nobody\"\n{}{}", config_for(&[origin.address()]), app("worker", ""));
    let (service, address) = Service::serving(folder(), &config).await;
    let nobody = account("nobody");
    let worker = service.said(Mark::default(), "worker-is ").await;
    let answer = RawConnection::connect(address).await.try_ask(GET).await.expect("an answer");
    assert!(answer.start.contains("200 OK"), "{}", answer.start);
    let threads = Rights::of_threads(service.process.pid());
    assert!(threads.len() > 2, "workers run");
    for thread in &threads {
        thread.assert_user(nobody);
        if thread.is_allocators() {
            continue;
        }
        thread.assert_bounded(NET_BIND_SERVICE);
        // What the next tidelock of an upgrade is lent, and nobody else gets by it: see below.
        assert_eq!(thread.capabilities("CapInh"), NET_BIND_SERVICE);
    }
    let of_app = Rights::of_process(worker);
    for rights in [&of_app, &Rights::of_process(of_app.parent())] {
        rights.assert_user(nobody);
        rights.assert_bounded(0);
        assert_eq!(rights.capabilities("CapInh"), 0);
    }
    let home = service.process.wait_for_line(|line| line.contains("home-of-worker")).await;
    assert!(!home.contains("/root"), "root's home is nothing to it: {home}");
    // Its own, and root's by what root may: nobody else talks to it.
    let socket = fs::metadata(service.path("run/admin.sock")).expect("it is there");
    assert_eq!((socket.uid(), socket.mode() & 0o777), (nobody.0, 0o600));
    assert!(service.verb(&["status"]).await.status.success());
    assert_eq!(fs::metadata(service.path("state/sticky_secret")).expect("kept").uid(), nobody.0);
}

#[tokio::test]
async fn a_low_port_is_bound_at_a_reload() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let config = format!("user = \"nobody\"\n{}", config_for(&[origin.address()]));
    let (service, _) = Service::serving(folder(), &config).await;
    // Other tests of this machine may want one, too.
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut tried: Vec<u16> = (600..1000).collect();
    fastrand::shuffle(&mut tried);
    let port = tried.into_iter().find(free).expect("one is free");
    let more = format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[route]]");
    service.reload(&config.replacen("[[route]]", &more, 1), "reloaded").await;
    let answer = RawConnection::connect((Ipv4Addr::LOCALHOST, port).into())
        .await
        .try_ask(GET)
        .await
        .expect("an answer");
    assert!(answer.start.contains("200 OK"), "{}", answer.start);
}

#[tokio::test]
async fn a_user_that_is_not_there_is_said() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let config = format!("user = \"no-such-user\"\n{}", config_for(&[origin.address()]));
    let mut service = Service::start(folder(), &config);
    service.process.wait_for_line(|line| line.contains("there is no user `no-such-user`")).await;
    assert!(!service.process.exit().await.success());
    let checked = check(service.folder.path());
    assert!(!checked.status.success());
    assert!(String::from_utf8_lossy(&checked.stdout).contains("there is no user `no-such-user`"));
}

#[tokio::test]
async fn without_a_user_root_is_told_how_to_be_less() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let (service, _) = Service::serving(folder(), &config_for(&[origin.address()])).await;
    let line = service.process.wait_for_line(|line| tells(line, "runs_as_root")).await;
    assert!(line.contains("user = "), "{line}");
}
