//! Instances that end by themselves, or should not go on as they are.

use std::time::Duration;

use config::app::Stop;
use supervisor::{InstanceState, Progress, Verb};

use crate::stand::{done, failure, kill, node, on_stand, pids, sh};

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn one_that_is_killed_comes_back_in_its_slot_and_the_others_stay() {
    on_stand(&[node("chat", 3, "")], async |stand| {
        let before = stand.until_ready("chat", 3).await;
        kill(before[1].pid.unwrap());
        let is_back = |status: &supervisor::AppStatus| status.instances[1].id.generation == 4;
        stand.until("chat", "back", is_back).await;
        let after = stand.until_ready("chat", 3).await;
        assert_eq!((after[0].pid, after[2].pid), (before[0].pid, before[2].pid));
        assert_ne!(after[1].pid, before[1].pid);
        assert_eq!((after[1].id.slot, after[1].restarts), (1, 1));
        // Clients were kept from the dead one until the new one was ready, and it was not emptied.
        let journal = stand.journal().join(" ");
        assert!(journal.ends_with("-1.2 +1.4"), "{journal}");
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn a_command_that_ends_at_once_is_a_crash_loop_and_other_apps_do_not_care() {
    on_stand(&[sh("bad", 1, "exit 3"), node("good", 1, "")], async |stand| {
        let good = stand.until_ready("good", 1).await;
        let is_loop = |status: &supervisor::AppStatus| status.instances[0].state == InstanceState::CrashLoop;
        let bad = stand.until("bad", "a loop", is_loop).await;
        assert_eq!(bad.instances[0].cause, "it ended with code 3 before it was ready");
        assert!(bad.instances[0].next_start.is_some() && bad.instances[0].restarts >= 2);
        assert_eq!(pids(&stand.until_ready("good", 1).await), pids(&good));
        assert_eq!(stand.reachable("bad"), 0);
        assert!(failure(stand.tell("bad", Verb::Restart).await).contains("ended with code 3"));
    });
}

#[test]
fn what_cannot_be_started_says_why() {
    on_stand(&[], async |stand| {
        let mut app = sh("bad", 1, "");
        app.command = vec!["/no/such/program".to_owned()];
        let why = failure(stand.apply(&[app]).await);
        assert!(
            why.starts_with("bad: instance 0: it cannot be started: there is no /no/such/program"),
            "{why}"
        );
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn one_that_grows_is_replaced_without_being_cut() {
    // The first one takes 300 MB, the next ones do not.
    let grow = "const fs = require('fs'), flag = process.env.FLAG; \
        if (!fs.existsSync(flag)) { fs.writeFileSync(flag, ''); global.hoard = Buffer.alloc(300 << 20, 1) }";
    on_stand(&[], async |stand| {
        let mut app = node("chat", 1, grow);
        app.memory_max = Some(200 << 20);
        app.env.insert("FLAG".to_owned(), stand.folder.path().join("grown").display().to_string());
        done(stand.apply(&[app]).await);
        let is_replaced =
            |status: &supervisor::AppStatus| status.instances.iter().all(|one| one.id.generation == 2);
        let after = stand.until("chat", "replaced", is_replaced).await;
        assert_eq!(after.instances[0].restarts, 0, "nothing has fallen");
        assert!(after.instances[0].memory.unwrap() < 200 << 20);
        assert_eq!(stand.journal(), ["+0.1", "+0.2", "empty 0.1", "-0.1"]);
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn one_that_does_not_listen_to_its_signal_is_killed_at_the_stop_timeout() {
    let mut app = node("chat", 1, "process.on('SIGTERM', () => {})");
    app.stop = Stop { signal: 15, timeout: Duration::from_millis(50), tell: false };
    on_stand(&[app], async |stand| {
        stand.until_ready("chat", 1).await;
        let mut progress = stand.supervisor.tell("chat", Verb::Stop);
        let mut steps = Vec::new();
        while let Some(step) = progress.recv().await {
            steps.push(step);
        }
        let killed = Progress::Step("chat/0: did not stop, killing it".to_owned());
        assert!(steps.contains(&killed), "{steps:?}");
        assert_eq!(steps.pop(), Some(Progress::Done("chat: stopped, nothing is left of it".to_owned())));
    });
}
