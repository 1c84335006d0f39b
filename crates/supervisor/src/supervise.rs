//! The handle of the apps, for whoever holds the control thread.

use std::io;
use std::sync::Arc;

use config::app::{App, LogFormat};
use config::plan::Drain;
use tokio::sync::{mpsc, oneshot, watch};

use crate::ground::{Ground, GroundPlan};
use crate::logs::{Echo, Logs};
use crate::progress::{Following, Progress, following};
use crate::shell::{Order, Shell};
use crate::status::AppStatus;
use crate::verb::{Leaving, Verb};
use crate::wish::Wish;

/// The apps that run here. A cheap handle: clones are the same. It lives on one thread, that of the tokio `LocalRuntime`
/// it was started on. When the last one is dropped, everything that runs is killed.
#[derive(Debug, Clone)]
pub struct Supervisor {
    orders: mpsc::Sender<Order>,
    leaving: Arc<watch::Sender<Leaving>>,
    /// Closed when nothing is left.
    gone: watch::Receiver<()>,
    logs: Logs,
}

/// What the file does not say app by app.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How instances are emptied unless a verb says otherwise: `[drain]` of the file.
    pub drain: Drain,
    /// Whether what the apps say also goes to tidelock's own standard output and error.
    pub echo: bool,
}

impl Supervisor {
    /// Starts the apps. Nothing is waited for: what the data plane has to know comes out as wishes, an app's instances
    /// as each of them becomes ready. Must be called within a tokio `LocalRuntime`.
    ///
    /// # Errors
    /// If there is no place for the private folder, or no thread for the logs.
    pub fn start(apps: &[Arc<App>], options: Options) -> io::Result<(Self, mpsc::Receiver<Wish>)> {
        let colour = std::io::IsTerminal::is_terminal(&io::stdout());
        let echo = options.echo.then_some(Echo { format: LogFormat::Text, colour });
        let ground = Ground::with(GroundPlan { echo, ..GroundPlan::default() })?;
        Ok(Self::start_on(ground, apps, options.drain))
    }

    /// The same on a ground that was prepared otherwise.
    #[must_use]
    pub fn start_on(ground: Ground, apps: &[Arc<App>], drain: Drain) -> (Self, mpsc::Receiver<Wish>) {
        let (orders, taken) = mpsc::channel(ORDERS_MAX);
        let (leaving, told_to_leave) = watch::channel(Leaving::No);
        let (wishes, granted) = mpsc::channel(WISHES_MAX);
        let (is_there, gone) = watch::channel(());
        let logs = ground.logs().clone();
        let mut shell = Shell::new(ground, drain, wishes);
        // Nobody follows the first start; what comes of it is in the log, and in `status`.
        let (first, _) = following();
        shell.apply(apps, drain, first);
        tokio::task::spawn_local(async move {
            shell.run(taken, told_to_leave).await;
            drop(is_there);
        });
        (Self { orders, leaving: Arc::new(leaving), gone, logs }, granted)
    }

    /// Puts these apps in the place of those that run: an app that is new is started, one that is missing is emptied
    /// and stopped, one whose processes would be started otherwise is rolled; another number of `instances` alone
    /// scales it, and all that concerns the supervisor alone is taken over without touching a process. The order does
    /// not have to be followed; it goes on when the receiver is dropped.
    #[must_use = "the order goes on when this is dropped, but then say so"]
    pub fn apply(&self, apps: &[Arc<App>], drain: Drain) -> mpsc::Receiver<Progress> {
        self.order(|follow| Order::Apply { apps: apps.to_vec(), drain, follow })
    }

    /// Tells an app, or all of them if it is `all` and no app is called so. `Restart` and `Roll` also take one slot of
    /// an app, `APP/SLOT`. What is told goes on when the receiver is dropped. A later verb for the same app that
    /// contradicts an earlier one ends it: the earlier one then fails and says so.
    #[must_use = "the order goes on when this is dropped, but then say so"]
    pub fn tell(&self, app: &str, verb: Verb) -> mpsc::Receiver<Progress> {
        self.order(|follow| Order::Tell { app: app.to_owned(), verb, follow })
    }

    /// The apps in the order of their names. Cancel-safe.
    pub async fn status(&self) -> Vec<AppStatus> {
        let (answer, answered) = oneshot::channel();
        // Once everything has ended there is nothing to see.
        if self.orders.send(Order::Look { answer }).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// What the apps wrote.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// tidelock leaves: from now on nothing is started, no roll goes on, and what ends is not started again. What runs
    /// keeps running, so that the proxy can let its sessions leave.
    pub fn leave(&self) {
        self.get_further(Leaving::Soon);
    }

    /// Ends every process, without emptying it first: by its stop signal and, at its stop timeout, by SIGKILL; or
    /// `at_once` by SIGKILL alone. Resolves when none is left. Cancel-safe, and may be called again to lose patience.
    pub async fn end(&self, at_once: bool) {
        self.get_further(if at_once { Leaving::AtOnce } else { Leaving::Now });
        // It never changes; an error is its end.
        while self.gone.clone().changed().await.is_ok() {}
    }

    fn get_further(&self, to: Leaving) {
        self.leaving.send_if_modified(|leaving| {
            let is_further = to > *leaving;
            *leaving = to.max(*leaving);
            is_further
        });
    }

    fn order(&self, order: impl FnOnce(Following) -> Order) -> mpsc::Receiver<Progress> {
        let (follow, progress) = following();
        if let Err(refused) = self.orders.try_send(order(follow)) {
            let (why, order) = match refused {
                mpsc::error::TrySendError::Full(order) => {
                    ("too many orders wait for the apps already", order)
                }
                mpsc::error::TrySendError::Closed(order) => ("tidelock is leaving", order),
            };
            if let Order::Apply { follow, .. } | Order::Tell { follow, .. } = order {
                follow.end(Progress::Failed(why.to_owned()));
            }
        }
        progress
    }
}

/// Orders that the task has not come to. It never waits for anybody.
const ORDERS_MAX: usize = 64;
/// Wishes that the data plane has not come to; the task keeps more of them itself, one list and one emptying an
/// instance.
const WISHES_MAX: usize = 64;
