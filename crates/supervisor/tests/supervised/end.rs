//! tidelock's own end.

use supervisor::{InstanceState, Verb};

use crate::stand::{failure, in_time, kill, node, nothing_is_left, on_stand};

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn while_tidelock_leaves_nothing_is_started_and_what_runs_goes_on() {
    on_stand(&[node("chat", 2, "")], async |stand| {
        let before = stand.until_ready("chat", 2).await;
        stand.supervisor.leave();
        kill(before[0].pid.unwrap());
        let is_down = |status: &supervisor::AppStatus| status.instances[0].state == InstanceState::Stopped;
        let status = stand.until("chat", "down", is_down).await;
        assert_eq!(status.instances[1].pid, before[1].pid);
        assert_eq!(failure(stand.tell("chat", Verb::Start).await), "tidelock is leaving");
        in_time("the end", stand.supervisor.end(false)).await;
        assert!(stand.supervisor.status().await.is_empty());
        assert_eq!(failure(stand.tell("chat", Verb::Start).await), "tidelock is leaving");
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn a_second_word_ends_at_once_what_does_not_listen() {
    on_stand(&[node("chat", 2, "process.on('SIGTERM', () => {})")], async |stand| {
        stand.until_ready("chat", 2).await;
        let ending = stand.supervisor.end(false);
        tokio::pin!(ending);
        let is_stopping = |status: &supervisor::AppStatus| {
            status.instances.iter().all(|instance| instance.state == InstanceState::Stopping)
        };
        tokio::select! {
            () = &mut ending => panic!("it does not listen"),
            _ = stand.until("chat", "stopping", is_stopping) => {}
        }
        in_time("the end", stand.supervisor.end(true)).await;
        in_time("the end", ending).await;
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn in_the_midst_of_a_start_or_a_roll_nothing_is_left_either() {
    on_stand(&[node("chat", 3, "")], async |stand| {
        // Nothing has been started yet: the first of it happens while this waits.
        in_time("the end", stand.supervisor.end(false)).await;
    });
    on_stand(&[node("chat", 2, "")], async |stand| {
        stand.until_ready("chat", 2).await;
        let mut roll = stand.supervisor.tell("chat", Verb::Roll { window: None });
        in_time("the first step", roll.recv()).await;
        in_time("the end", stand.supervisor.end(true)).await;
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn without_a_handle_nothing_runs() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    let folder = testkit::tidelock::directory();
    runtime.block_on(async {
        let plan = supervisor::host::HostPlan {
            under: Some(folder.path().join("run")),
            keeper: Some(env!("CARGO_BIN_EXE_tidelock-keeper").into()),
            echo: None,
        };
        let host = supervisor::host::Host::with(plan).unwrap();
        let apps = [std::sync::Arc::new(node("chat", 2, ""))];
        let (handle, mut requests) = supervisor::Supervisor::start_on(host, &apps, crate::stand::DRAIN);
        in_time("an instance", requests.recv()).await.unwrap();
        drop(handle);
        nothing_is_left(folder.path()).await;
    });
}
