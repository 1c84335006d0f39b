//! A file that says something else.

use std::num::NonZeroU32;
use std::time::Duration;

use config::app::Instances;
use supervisor::Verb;

use crate::stand::{done, node, on_stand, pids};

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn only_what_has_changed_is_touched() {
    on_stand(&[node("api", 1, ""), node("chat", 1, "")], async |stand| {
        let [api, chat] = [stand.until_ready("api", 1).await, stand.until_ready("chat", 1).await];
        // The one is gone, a new one is there, and the other is looked after otherwise.
        let mut watched = node("chat", 1, "");
        watched.restart.pause_min = Duration::from_secs(1);
        watched.logs.files_max = 9;
        let [new, mut more] = [node("new", 1, ""), watched.clone()];
        done(stand.apply(&[watched, new]).await);
        let all = stand.supervisor.status().await;
        assert_eq!(all.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["chat", "new"]);
        assert_eq!(pids(&stand.until_ready("chat", 1).await), pids(&chat));
        assert!(!std::path::Path::new(&format!("/proc/{}", api[0].pid.unwrap())).exists());
        assert!(stand.journal().iter().any(|line| line.starts_with("empty")), "what is removed is emptied");
        // Another number is no other app.
        more.instances = Instances::Count(NonZeroU32::new(2).unwrap());
        let new = stand.until_ready("new", 1).await;
        done(stand.apply(&[more.clone(), node("new", 1, "")]).await);
        assert_eq!(pids(&stand.until_ready("chat", 2).await)[..1], pids(&chat));
        assert_eq!(pids(&stand.until_ready("new", 1).await), pids(&new));
        // Another environment is.
        more.env.insert("VERSION".to_owned(), "2".to_owned());
        done(stand.apply(&[more, node("new", 1, "")]).await);
        assert!(!pids(&stand.until_ready("chat", 2).await).contains(&chat[0].pid.unwrap()));
    });
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn what_was_stopped_stays_stopped_and_starts_as_what_the_file_says_then() {
    on_stand(&[node("chat", 1, "")], async |stand| {
        stand.until_ready("chat", 1).await;
        done(stand.tell("chat", Verb::Stop).await);
        let mut changed = node("chat", 2, "");
        changed.env.insert("VERSION".to_owned(), "2".to_owned());
        done(stand.apply(&[changed]).await);
        assert!(pids(&stand.status("chat").await.instances).is_empty());
        assert_eq!(done(stand.tell("chat", Verb::Start).await), "chat: 2 instances ready");
    });
}
