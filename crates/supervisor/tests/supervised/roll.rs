//! Rolls: one after the other, in their slots, and back to what was if the new is no good.

use std::time::Duration;

use config::app::Watch;
use supervisor::{AppState, Verb};

use crate::stand::{done, failure, kill, node, on_stand, pids, sh};

const ROLL: Verb = Verb::Roll { window: None };

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn each_new_instance_is_ready_before_an_old_one_is_emptied() {
    on_stand(&[node("chat", 3, "")], async |stand| {
        let before = stand.until_ready("chat", 3).await;
        let first = stand.journal();
        assert_eq!(done(stand.tell("chat", ROLL).await), "chat: 3 instances replaced and ready");
        let after = stand.until_ready("chat", 3).await;
        assert_eq!(
            after.iter().map(|one| (one.id.slot, one.id.generation)).collect::<Vec<_>>(),
            [(0, 4), (1, 5), (2, 6)]
        );
        assert!(pids(&after).iter().all(|pid| !pids(&before).contains(pid)));
        let roll = stand.journal().split_off(first.len());
        let expected =
            [["+0.4", "empty 0.1", "-0.1"], ["+1.5", "empty 1.2", "-1.2"], ["+2.6", "empty 2.3", "-2.3"]];
        assert_eq!(roll, expected.concat());
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn a_new_version_that_does_not_get_ready_ends_the_roll_and_the_old_one_goes_on() {
    on_stand(&[node("chat", 2, "")], async |stand| {
        let before = stand.until_ready("chat", 2).await;
        let mut silent = sh("chat", 2, "exec sleep 600");
        silent.ready.deadline = Duration::from_millis(300);
        for (new, expected) in
            [(silent, "is not ready after"), (sh("chat", 2, "exit 7"), "ended with code 7")]
        {
            let why = failure(stand.apply(&[new]).await);
            assert!(why.starts_with("chat: the new chat/0: it ") && why.contains(expected), "{why}");
            assert!(why.ends_with("the old instances stay"), "{why}");
            let after = stand.until_ready("chat", 2).await;
            assert_eq!(pids(&after), pids(&before));
            assert!(after.iter().all(|instance| instance.is_current));
            let status = stand.status("chat").await;
            assert_eq!(status.state, AppState::Running);
            assert!(status.last_failure.contains(expected));
        }
        // One that dies now comes back as what it was.
        kill(before[0].pid.unwrap());
        stand.until("chat", "back", |status| status.instances[0].restarts == 1).await;
        stand.until_ready("chat", 2).await;
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn one_instance_alone_can_be_replaced_or_restarted() {
    on_stand(&[node("chat", 2, "")], async |stand| {
        let before = stand.until_ready("chat", 2).await;
        assert_eq!(done(stand.tell("chat/1", ROLL).await), "chat: instance 1 ready");
        let rolled = stand.until_ready("chat", 2).await;
        assert_eq!(rolled[0].pid, before[0].pid);
        assert_ne!(rolled[1].pid, before[1].pid);
        assert!(stand.journal().contains(&"empty 1.2".to_owned()));
        assert_eq!(done(stand.tell("chat/0", Verb::Restart).await), "chat: instance 0 ready");
        let restarted = stand.until_ready("chat", 2).await;
        assert_ne!(restarted[0].pid, before[0].pid);
        assert_eq!(restarted[1].pid, rolled[1].pid);
        assert!(!stand.journal().contains(&"empty 0.1".to_owned()));
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn a_file_that_changes_rolls_an_app_that_is_watched() {
    on_stand(&[], async |stand| {
        let source = stand.folder.path().join("source");
        std::fs::create_dir_all(source.join("node_modules")).unwrap();
        let mut app = node("chat", 1, "");
        app.watch = Some(Watch { paths: vec![source.clone()], ignore: vec!["notes".to_owned()] });
        done(stand.apply(&[app]).await);
        // Whether it is watched already cannot be seen from outside, and so it is changed until it is noticed.
        let mut writes = 0;
        while stand.status("chat").await.instances.iter().all(|one| one.id.generation == 1) {
            assert!(writes < 1000, "nobody has noticed");
            std::fs::write(source.join("index.js"), format!("{writes}")).unwrap();
            std::fs::write(source.join("notes"), format!("{writes}")).unwrap();
            writes += 1;
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        stand.until_ready("chat", 1).await;
    });
}
