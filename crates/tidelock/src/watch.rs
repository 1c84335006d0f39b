//! Notices that something has happened to the file. Whether it says something else is for others to find out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The folder of the file, watched until this is dropped. Not the file itself: an editor puts another one in its
/// place, and Kubernetes another link to another folder.
#[derive(Debug)]
pub(crate) struct Folder {
    changes: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Folder {
    pub(crate) fn of(file: &Path) -> notify::Result<Self> {
        let folder = match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        let changes = Arc::new(Notify::new());
        // Once for what came between the last reading and this watch.
        changes.notify_one();
        let (noticed, name) = (changes.clone(), file.file_name().map(ToOwned::to_owned));
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let matters = match &event {
                Ok(event) => is_about(event, name.as_deref().map(Path::new)),
                // Events were lost; this may have been among them.
                Err(_) => true,
            };
            if matters {
                noticed.notify_one();
            }
        })?;
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(Self { changes, _watcher: watcher })
    }

    /// Waits for something to happen, and then for a moment in which nothing does: a change is often several events,
    /// and a file that is being written is not read by halves. Cancel-safe for whoever reads the file instead.
    pub(crate) async fn settled(&self) {
        self.changes.notified().await;
        let at_last = Instant::now() + AT_LAST;
        loop {
            let quiet = (Instant::now() + QUIET).min(at_last);
            if timeout_at(quiet, self.changes.notified()).await.is_err() {
                return;
            }
        }
    }
}

/// A name that comes or goes beside the file may be the link that it is reached through; a file beside it that only
/// grows, such as a log, is none of ours.
fn is_about(event: &Event, name: Option<&Path>) -> bool {
    match event.kind {
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Modify(ModifyKind::Data(_)) => {
            event.paths.iter().any(|path| path.file_name().map(Path::new) == name)
        }
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

/// So long nothing must have happened.
const QUIET: Duration = Duration::from_millis(200);
/// But no longer than this is waited for it, in a folder where something happens all the time.
const AT_LAST: Duration = Duration::from_secs(2);
