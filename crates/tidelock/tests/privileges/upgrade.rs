//! The tidelock that takes over from one that has given up root's rights has the same, and no more.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;
use testkit::origin::ScriptedOrigin;
use testkit::process::{Mark, Signal};
use testkit::raw::RawConnection;
use testkit::tidelock::config_for;

use crate::service::{Rights, Service, TIDELOCK, account, app, folder, is_root, until_gone};
use crate::{ANSWER, GET, NET_BIND_SERVICE};

/// A program that nobody but root can change, in a folder that is gone with the guard.
fn roots_program() -> (TempDir, PathBuf) {
    // Whatever is below /tmp, everybody could move away.
    let folder = tempfile::Builder::new().prefix("tidelock-").tempdir_in("/var/lib").expect("root has it");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let program = folder.path().join("tidelock");
    fs::copy(TIDELOCK, &program).expect("it fits");
    (folder, program)
}

/// Kills a process that is no child of the test.
struct Ended(u32);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0).ok().and_then(rustix::process::Pid::from_raw);
        pid.map(|pid| rustix::process::kill_process(pid, Signal::KILL));
    }
}

#[tokio::test]
async fn an_upgrade_goes_on_as_the_user_with_what_it_has() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let config = format!("user = \"nobody\"\n{}{}", config_for(&[origin.address()]), app("worker", ""));
    let (mut service, address) = Service::serving(folder(), &config).await;
    let worker = service.said(Mark::default(), "worker-is ").await;
    let keeper = Rights::of_process(worker).parent();
    let before = service.process.pid();

    let everybodys = service.path("everybodys");
    fs::copy(TIDELOCK, &everybodys).expect("it fits");
    let refused = service.verb(&["upgrade", &everybodys.display().to_string()]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("others than root can change"), "{why}");

    let (_folder, program) = roots_program();
    let upgraded = service.verb(&["upgrade", &program.display().to_string()]).await;
    assert!(upgraded.status.success(), "{upgraded:?}");
    assert!(service.process.exit().await.success());
    let status = service.verb(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let next = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process id");
    let _ended = Ended(next);
    assert_ne!(next, before);
    for thread in Rights::of_threads(next) {
        thread.assert_user(account("nobody"));
        // The allocator's was there before the rights were laid down that it was started with; it runs nothing of ours.
        if !thread.0["Name"].starts_with("jemalloc") {
            thread.assert_bounded(NET_BIND_SERVICE);
            assert_eq!(thread.capabilities("CapInh"), NET_BIND_SERVICE);
        }
    }
    let of_app = Rights::of_process(worker);
    assert_eq!(of_app.parent(), keeper, "the app's process goes on, with its keeper");
    of_app.assert_bounded(0);
    let answer = RawConnection::connect(address).await.try_ask(GET).await.expect("an answer");
    assert!(answer.start.contains("200 OK"), "{}", answer.start);

    // It can do what the one before could: bind a low port, and hand that on in its turn.
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut tried: Vec<u16> = (600..1000).collect();
    fastrand::shuffle(&mut tried);
    let port = tried.into_iter().find(free).expect("one is free");
    let more = format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[route]]");
    fs::write(service.path("tidelock.toml"), config.replacen("[[route]]", &more, 1)).expect("written");
    let reloaded = service.verb(&["reload"]).await;
    assert!(reloaded.status.success(), "{reloaded:?}");
    let upgraded = service.verb(&["upgrade", &program.display().to_string()]).await;
    assert!(upgraded.status.success(), "{upgraded:?}");
    until_gone(next).await;
    let low = RawConnection::connect((Ipv4Addr::LOCALHOST, port).into()).await.try_ask(GET).await;
    assert!(low.expect("an answer").start.contains("200 OK"));
    let killed = service.verb(&["kill"]).await;
    assert!(killed.status.success(), "{killed:?}");
    until_gone(worker).await;
}
