//! What the keeper is for: that nothing of an app outlives tidelock, whoever is killed.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use supervisor::process::Ending;
use testkit::process::Process as Child;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{Stand, in_time, listens, node, port, processes_with, sh, until_none_with};

const FAMILY: &str = "setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; echo up; sleep 1000";

#[tokio::test]
async fn if_the_keeper_is_killed_tidelock_kills_what_it_kept() {
    let stand = Stand::new();
    let process = stand.start(sh(FAMILY)).await;
    stand.line_with("up").await;
    kill_process(Pid::from_raw(process.keeper()).unwrap(), Signal::KILL).unwrap();
    assert_eq!(in_time("its end", process.ended()).await, Ending::KeeperLost);
    stand.is_empty().await;
}

#[tokio::test]
async fn a_keeper_outlives_signals_that_are_meant_for_others() {
    let stand = Stand::new();
    let process = stand.start(sh("trap 'echo heard' HUP; echo up; while :; do sleep 0.01; done")).await;
    stand.line_with("up").await;
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        kill_process(Pid::from_raw(process.keeper()).unwrap(), signal).unwrap();
    }
    process.signal(Signal::HUP.as_raw());
    stand.line_with("heard").await;
    process.kill();
    assert_eq!(in_time("its end", process.ended()).await, Ending::Signal(9));
    stand.is_empty().await;
}

/// Not a test of its own: what the next one kills. It keeps an app until then.
#[tokio::test]
async fn parent() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let stand = Stand::under(Path::new(&folder));
    let family = stand.start(sh(FAMILY)).await;
    let listening = stand.start_at(node(&listens("a.listen(process.env.PORT)")), 1).await.unwrap();
    stand.line_with("listens").await;
    stand.line_with("up").await;
    println!("\nPORT {} {}", port(&listening), family.pid());
    std::future::pending::<()>().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn if_tidelock_is_killed_nothing_is_left() {
    let stand = Stand::new();
    let folder = stand.folder.path();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "keep::parent", "--nocapture"]).env(FOLDER, folder);
    let mut parent = Child::spawn("the parent", command);
    let line = parent.wait_for_line(|line| line.starts_with("PORT ")).await;
    let port: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_ok());
    assert!(processes_with(folder).len() > 8, "{:?}", processes_with(folder));
    parent.kill().await;
    until_none_with(folder).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

const FOLDER: &str = "TIDELOCK_TEST_PARENT";
