//! The handle of the apps, for whoever holds the control thread.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use config::app::App;
use config::plan::Drain;
use tokio::sync::mpsc;

use crate::status::AppStatus;
use crate::wish::Wish;

/// The apps that run here. A cheap handle: clones are the same. It lives on one thread, that of the tokio `LocalRuntime`
/// it was started on.
#[derive(Debug, Clone)]
pub struct Supervisor {
    orders: mpsc::Sender<Order>,
}

/// What the file does not say app by app.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How instances are emptied unless a verb says otherwise: `[drain]` of the file.
    pub drain: Drain,
    /// Whether what the apps say also goes to tidelock's own standard output and error.
    pub echo: bool,
}

/// What can be asked of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Runs what was stopped or given up, and starts at once what waits for its next start. Done when all is ready.
    Start,
    /// Empties every instance, all at the same time, and stops it. Done when the last one is gone. It stays stopped,
    /// over reloads too, until `Start`.
    Stop,
    /// The blunt one: every instance is told to end at once, without being emptied first, and started again when it is
    /// gone. Nobody serves meanwhile. Done when all is ready.
    Restart,
    /// Replaces the instances one after the other, as of `instances`-many plus one: a new one is started; when it is
    /// ready the old one is emptied and stopped. If a new one does not get ready the roll ends there, and the old ones
    /// stay.
    Roll {
        /// The budget of the whole roll: sessions are spread over so long, divided among the instances. `None` gives
        /// each instance the window of [`Options::drain`].
        window: Option<Duration>,
    },
    /// So many instances, from 1 to 1,024, until the next `Scale` or until the file says another number. New ones take
    /// the next slots; the highest are emptied and stopped.
    Scale(u32),
}

/// How far a verb has got. Steps may be left out if they are not read in time; the end never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It goes on: a line for people, such as `chat/0: ready`.
    Step(String),
    /// It is done: what was done, in a line. Nothing follows.
    Done(String),
    /// It was not done, or not to its end: why, in lines. Nothing follows.
    Failed(String),
}

/// What the task of the supervisor is told.
#[derive(Debug)]
enum Order {}

impl Supervisor {
    /// Starts the apps. Nothing is waited for: what the data plane has to know comes out as wishes, an app's instances
    /// as each of them becomes ready. Must be called within a tokio `LocalRuntime`.
    pub fn start(apps: &[Arc<App>], options: Options) -> io::Result<(Self, mpsc::Receiver<Wish>)> {
        let _ = (apps, options);
        Err(io::Error::other("apps are not run yet"))
    }

    /// Puts these apps in the place of those that run: an app that is new is started, one that is missing is emptied
    /// and stopped, one whose processes would be started otherwise is rolled; another number of `instances` alone
    /// scales it, and all that concerns the supervisor alone is taken over without touching a process. The order does
    /// not have to be followed; it goes on when the receiver is dropped.
    pub fn apply(&self, apps: &[Arc<App>], drain: Drain) -> mpsc::Receiver<Progress> {
        let _ = (apps, drain);
        self.failed("apps are not run yet")
    }

    /// Tells an app, or all of them if it is `all` and no app is called so. `Restart` and `Roll` also take one slot of
    /// an app, `APP/SLOT`. What is told goes on when the receiver is dropped. A later verb for the same app that
    /// contradicts an earlier one ends it: the earlier one then fails and says so.
    pub fn tell(&self, app: &str, verb: Verb) -> mpsc::Receiver<Progress> {
        let _ = (app, verb, &self.orders);
        self.failed("apps are not run yet")
    }

    /// The apps in the order of their names. Cancel-safe.
    pub async fn status(&self) -> Vec<AppStatus> {
        Vec::new()
    }

    /// tidelock leaves: from now on nothing is started, no roll goes on, and what ends is not started again. What runs
    /// keeps running, so that the proxy can let its sessions leave.
    pub fn leave(&self) {}

    /// Ends every process, without emptying it first: by its stop signal and, at its stop timeout, by SIGKILL; or
    /// `at_once` by SIGKILL alone. Resolves when none is left. Cancel-safe, and may be called again to lose patience.
    pub async fn end(&self, at_once: bool) {
        let _ = at_once;
    }

    fn failed(&self, why: &str) -> mpsc::Receiver<Progress> {
        let (progress, following) = mpsc::channel(1);
        // There is room for one, and the receiver is in hand.
        let _ = progress.try_send(Progress::Failed(why.to_owned()));
        following
    }
}
