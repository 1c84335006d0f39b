//! What keepers and apps have of root's rights: nothing, but what it takes to start an app of another user.

use std::fs;

use testkit::process::{Mark, Process, Signal};

use crate::service::{Rights, Service, account, app, command, folder, is_root, until_gone};
use crate::{KILL, NET_BIND_SERVICE, SETGID, SETUID};

#[tokio::test]
async fn an_app_of_another_user_is_started_and_stopped() {
    if !is_root() {
        return;
    }
    let config = format!("user = \"nobody\"\n{}{}", app("own", ""), app("other", "user = \"daemon\""));
    let service = Service::start(folder(), &config);
    let (own, other) =
        (service.said(Mark::default(), "own-is ").await, service.said(Mark::default(), "other-is ").await);
    for thread in Rights::of_threads(service.process.pid()) {
        // The one that writes an app's log may have the rights of the app's user, to open files.
        if thread.0["Name"] == "logs-files" {
            assert!(!thread.numbers("Uid").contains(&0) && !thread.numbers("Gid").contains(&0));
            continue;
        }
        thread.assert_user(account("nobody"));
        if thread.is_allocators() {
            continue;
        }
        thread.assert_bounded(NET_BIND_SERVICE | SETUID | SETGID | KILL);
    }
    for (pid, of) in [(own, "nobody"), (other, "daemon")] {
        let rights = Rights::of_process(pid);
        rights.assert_user(account(of));
        rights.assert_bounded(0);
        assert_eq!(rights.capabilities("CapInh"), 0, "{of}");
    }
    let keeper = Rights::of_process(Rights::of_process(other).parent());
    keeper.assert_user(account("nobody"));
    keeper.assert_bounded(KILL);
    Rights::of_process(Rights::of_process(own).parent()).assert_bounded(0);
    let stopped = service.verb(&["stop", "other"]).await;
    assert!(stopped.status.success(), "{stopped:?}");
    until_gone(other).await;
    service.process.signal(Signal::TERM);
    until_gone(own).await;
}

#[tokio::test]
async fn an_app_of_another_user_that_a_reload_brings_is_refused_with_the_reason() {
    if !is_root() {
        return;
    }
    let config = format!("user = \"nobody\"\n{}", app("own", ""));
    let service = Service::start(folder(), &config);
    service.said(Mark::default(), "own-is ").await;
    let mark = service.reload(&(config.clone() + &app("other", "user = \"daemon\"")), "reloaded").await;
    let line = service
        .process
        .wait_for_lines_since(mark, 1, |line| line.contains("cannot run as daemon"))
        .await
        .remove(0);
    assert!(line.contains("restart tidelock"), "{line}");
}

/// As systemd starts it with `User=` and `AmbientCapabilities=CAP_NET_BIND_SERVICE`.
#[tokio::test]
async fn ambient_capabilities_of_a_service_reach_no_app() {
    if !is_root() {
        return;
    }
    let folder = folder();
    for name in ["run", "state"] {
        fs::create_dir(folder.path().join(name)).expect("made");
        let (user, group) = account("nobody");
        std::os::unix::fs::chown(folder.path().join(name), Some(user), Some(group)).expect("root may");
    }
    fs::write(folder.path().join("tidelock.toml"), app("worker", "")).expect("written");
    let as_service = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
    let as_service =
        as_service.into_iter().chain(["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]);
    let words: Vec<_> = as_service.collect();
    let process = Process::spawn("tidelock", command(folder.path(), &words));
    let service = Service { process, folder };
    let worker = service.said(Mark::default(), "worker-is ").await;
    assert_eq!(Rights::of_process(service.process.pid()).capabilities("CapEff"), NET_BIND_SERVICE);
    let of_app = Rights::of_process(worker);
    for rights in [&of_app, &Rights::of_process(of_app.parent())] {
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(rights.capabilities(set), 0, "{set} of {}", rights.0["Name"]);
        }
    }
}
