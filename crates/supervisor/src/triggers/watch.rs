//! A roll when a file changes, for development.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::app::App;
use notify::event::{EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::run_instance::{EventSender, What};

/// Says each time that something has changed, for ever.
pub(super) async fn wait(app: Arc<App>, events: EventSender) {
    let seen = Arc::new(Seen::default());
    let watcher = {
        let (seen, app) = (seen.clone(), app.clone());
        notify::recommended_watcher(move |event: notify::Result<notify::Event>| seen.note(&app, event))
    };
    let mut watcher = match watcher {
        Ok(watcher) => watcher,
        Err(why) => {
            tracing::error!("{}: its files cannot be watched: {why}", app.name);
            return;
        }
    };
    loop {
        let covered = {
            let app = app.clone();
            // There may be thousands of folders.
            spawn_blocking(move || cover(&app, &mut watcher).map(|()| watcher)).await
        };
        watcher = match covered {
            Ok(Ok(watcher)) => watcher,
            Ok(Err(why)) => {
                tracing::error!("{}: its files are watched no more: {why}", app.name);
                return;
            }
            Err(_) => return,
        };
        let path = seen.settled().await;
        events.send(What::Due { why: format!("{} has changed", path.display()), is_urgent: true }).await;
    }
}

/// What has changed last.
#[derive(Debug, Default)]
struct Seen {
    path: Mutex<PathBuf>,
    changes: Notify,
}

impl Seen {
    /// Called on the watcher's thread.
    fn note(&self, app: &App, event: notify::Result<notify::Event>) {
        let path = match event {
            Ok(event) if is_change(event.kind) => event.paths.into_iter().find(|path| counts(app, path)),
            Ok(_) => None,
            // Events were lost; one of ours may have been among them.
            Err(_) => Some(PathBuf::from("something")),
        };
        if let Some(path) = path {
            *self.path.lock().unwrap_or_else(PoisonError::into_inner) = path;
            self.changes.notify_one();
        }
    }

    /// Waits for a change, and then for a moment without one: a save is several events, a checkout is hundreds.
    async fn settled(&self) -> PathBuf {
        self.changes.notified().await;
        let at_last = Instant::now() + AT_LAST;
        while timeout_at((Instant::now() + QUIET).min(at_last), self.changes.notified()).await.is_ok() {}
        self.path.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Watches every folder that counts, one by one: the thousands below node_modules would use up what the system has
/// (fs.inotify.max_user_watches). Those that are watched already stay so.
fn cover(app: &App, watcher: &mut RecommendedWatcher) -> Result<(), String> {
    let Some(watch) = &app.watch else { return Ok(()) };
    let mut folders = 0;
    let mut found: Vec<PathBuf> = watch.paths.iter().map(|path| app.cwd.join(path)).collect();
    while let Some(path) = found.pop() {
        folders += 1;
        if folders > FOLDERS_MAX {
            return Err(format!("there are more than {FOLDERS_MAX} folders in `watch`; `ignore` some"));
        }
        if let Err(error) = watcher.watch(&path, RecursiveMode::NonRecursive) {
            // A folder that is gone again is no reason to see no other.
            if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) {
                return Err("the system has no more watches (fs.inotify.max_user_watches)".to_owned());
            }
            tracing::debug!("{} is not watched: {error}", path.display());
        }
        let inside = fs::read_dir(&path).into_iter().flatten().flatten();
        let folders = inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        found.extend(folders.map(|entry| entry.path()).filter(|path| counts(app, path)));
    }
    Ok(())
}

fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// Whether something is of those that roll the app. The names above the watched folder are not looked at.
fn counts(app: &App, path: &Path) -> bool {
    let Some(watch) = &app.watch else { return false };
    // What the app writes because it is rolled must not roll it.
    if app.logs.folder.as_ref().is_some_and(|logs| path.starts_with(logs)) {
        return false;
    }
    let is_ignored = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with('.')
            || name == "node_modules"
            || watch.ignore.iter().any(|ignored| *ignored == *name)
    };
    watch.paths.iter().any(|watched| {
        let inside = path.strip_prefix(app.cwd.join(watched));
        inside.is_ok_and(|inside| !inside.iter().any(is_ignored))
    })
}

/// So long nothing must have happened.
const QUIET: Duration = Duration::from_millis(200);
/// But no longer than this is waited for it.
const AT_LAST: Duration = Duration::from_secs(2);
const FOLDERS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use config::app::Watch;

    use super::*;

    #[test]
    fn names_that_do_not_count_are_passed_over_at_any_depth() {
        let mut app = crate::machine::example();
        app.cwd = "/home/.me/chat".into();
        app.logs.folder = Some("/home/.me/chat/src/logs".into());
        let watch =
            Watch { paths: vec!["src".into(), "/etc/chat.json".into()], ignore: vec!["dist".to_owned()] };
        app.watch = Some(watch);
        let check =
            |path: &str, expected: bool| assert_eq!(counts(&app, Path::new(path)), expected, "{path}");
        check("/home/.me/chat/src/index.js", true);
        check("/home/.me/chat/src/a/b/c.js", true);
        check("/etc/chat.json", true);
        check("/home/.me/chat/other/index.js", false);
        check("/home/.me/chat/src/.git/HEAD", false);
        check("/home/.me/chat/src/node_modules/x/index.js", false);
        check("/home/.me/chat/src/a/dist/b.js", false);
        check("/home/.me/chat/src/distant.js", true);
        check("/home/.me/chat/src/logs/chat-0.out.log", false);
    }
}
