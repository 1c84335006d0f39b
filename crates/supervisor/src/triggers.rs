//! What rolls an app without anybody asking: a time of the day, and in development a file that changes.

use std::sync::Arc;

use config::app::App;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::attend::{Heard, Voice};

mod cron;
mod watch;

/// The tasks that wait for it. They end with this.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    of: Option<Arc<App>>,
    tasks: JoinSet<()>,
}

impl Triggers {
    /// Waits for what this version of the app is to be rolled by.
    pub(crate) fn follow(&mut self, app: &Arc<App>, heard: &mpsc::Sender<Heard>) {
        if self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, app)) {
            return;
        }
        let is_same = self.of.as_ref().is_some_and(|of| {
            (&of.cron, &of.watch, &of.logs.folder) == (&app.cron, &app.watch, &app.logs.folder)
        });
        self.of = Some(app.clone());
        if is_same {
            return;
        }
        self.tasks = JoinSet::new();
        if app.cron.is_some() {
            self.tasks.spawn_local(cron::wait(app.clone(), Voice::new(&app.name, heard.clone())));
        }
        if app.watch.is_some() {
            self.tasks.spawn_local(watch::wait(app.clone(), Voice::new(&app.name, heard.clone())));
        }
    }
}
