//! What rolls an app without anybody asking: a time of the day, and in development a file that changes.

use std::sync::Arc;

use config::app::App;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::run_instance::{EventSender, InstanceEvent};
use crate::status::{AppStatus, InstanceState};

mod cron;
mod watch;

/// Puts to what has finished when it is run again.
pub(crate) fn say_next(app: &App, status: &mut AppStatus) {
    let mut finished =
        status.instances.iter_mut().filter(|one| one.state == InstanceState::Finished).peekable();
    if finished.peek().is_none() {
        return;
    }
    if let Some(next) = cron::next_of(app) {
        finished.for_each(|one| one.cause.clone_from(&next));
    }
}

/// The tasks that wait for it. They end with this.
#[derive(Debug, Default)]
pub(crate) struct Triggers {
    of: Option<Arc<App>>,
    tasks: JoinSet<()>,
}

impl Triggers {
    /// Waits for what this version of the app is to be rolled by.
    pub(crate) fn follow(&mut self, app: &Arc<App>, event_sender: &mpsc::Sender<InstanceEvent>) {
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
            self.tasks
                .spawn_local(cron::wait(app.clone(), EventSender::new(&app.name, event_sender.clone())));
        }
        if app.watch.is_some() {
            self.tasks
                .spawn_local(watch::wait(app.clone(), EventSender::new(&app.name, event_sender.clone())));
        }
    }
}
