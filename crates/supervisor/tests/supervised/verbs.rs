//! What people tell apps.

use supervisor::{AppState, InstanceState, Verb};

use crate::stand::{done, failure, node, on_stand, pids};

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn scaling_up_takes_the_next_slots_and_scaling_down_empties_the_highest() {
    on_stand(&[node("chat", 2, "")], async |stand| {
        let before = stand.until_ready("chat", 2).await;
        assert_eq!(done(stand.tell("chat", Verb::Scale(4)).await), "chat: 4 instances ready");
        let more = stand.until_ready("chat", 4).await;
        assert_eq!(pids(&more)[..2], pids(&before));
        let written = stand.journal().len();
        assert_eq!(done(stand.tell("chat", Verb::Scale(1)).await), "chat: 1 instance ready");
        let fewer = stand.until_ready("chat", 1).await;
        assert_eq!(fewer[0].pid, before[0].pid);
        let mut emptied = stand.journal().split_off(written);
        emptied.retain(|line| line.starts_with("empty"));
        assert_eq!(emptied, ["empty 3.4", "empty 2.3", "empty 1.2"]);
        assert!(failure(stand.tell("chat", Verb::Scale(0)).await).contains("1 to 1024"));
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn what_is_stopped_was_emptied_stays_stopped_and_starts_again() {
    on_stand(&[node("chat", 2, "")], async |stand| {
        stand.until_ready("chat", 2).await;
        assert_eq!(done(stand.tell("chat", Verb::Stop).await), "chat: stopped, nothing is left of it");
        let stopped = stand.status("chat").await;
        assert_eq!(stopped.state, AppState::Stopped);
        assert!(stopped.instances.iter().all(|one| one.state == InstanceState::Stopped && one.pid.is_none()));
        assert_eq!(stand.reachable("chat"), 0);
        let journal = stand.journal();
        assert!(
            ["empty 0.1", "empty 1.2"].iter().all(|line| journal.contains(&(*line).to_owned())),
            "{journal:?}"
        );
        let why = failure(stand.tell("chat", Verb::Roll { window: None }).await);
        assert_eq!(why, "chat: it is stopped: `tidelock start` runs it");
        assert_eq!(done(stand.tell("chat", Verb::Start).await), "chat: 2 instances ready");
        assert_eq!(stand.reachable("chat"), 2);
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn a_restart_replaces_all_at_once_without_emptying_any() {
    on_stand(&[node("chat", 2, "")], async |stand| {
        let before = stand.until_ready("chat", 2).await;
        assert_eq!(done(stand.tell("chat", Verb::Restart).await), "chat: 2 instances ready");
        let after = stand.until_ready("chat", 2).await;
        assert!(pids(&after).iter().all(|pid| !pids(&before).contains(pid)));
        let journal = stand.journal();
        assert!(!journal.iter().any(|line| line.starts_with("empty")), "{journal:?}");
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn all_apps_are_told_at_once_and_unknown_ones_are_named() {
    on_stand(&[node("api", 1, ""), node("chat", 1, "")], async |stand| {
        stand.until_ready("api", 1).await;
        stand.until_ready("chat", 1).await;
        let both = done(stand.tell("all", Verb::Restart).await);
        let mut lines: Vec<&str> = both.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["api: 1 instance ready", "chat: 1 instance ready"]);
        assert_eq!(
            failure(stand.tell("chta", Verb::Stop).await),
            "there is no app `chta`; there are: api, chat"
        );
        assert_eq!(failure(stand.tell("chat/7", Verb::Restart).await), "chat has no instance 7");
        assert!(failure(stand.tell("chat/0", Verb::Stop).await).contains("as a whole"));
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn status_shows_what_an_instance_takes() {
    on_stand(
        &[node(
            "chat",
            1,
            "setInterval(() => { const end = Date.now() + 20; while (Date.now() < end); }, 25)",
        )],
        async |stand| {
            stand.until_ready("chat", 1).await;
            let is_busy = |status: &supervisor::AppStatus| {
                status.instances[0].cpu_percent.is_some_and(|percent| percent > 10.0)
            };
            let status = stand.until("chat", "busy", is_busy).await;
            let memory = status.instances[0].memory.unwrap();
            assert!((10 << 20..500 << 20).contains(&memory), "{memory}");
            assert!(status.instances[0].address.is_some() && !status.instances[0].uptime.is_zero());
        },
    );
}
