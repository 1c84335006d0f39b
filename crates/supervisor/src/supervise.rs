//! The handle of the apps, for whoever holds the control thread.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use config::app::{App, LogFormat};
use config::plan::Drain;
use tokio::sync::{mpsc, oneshot, watch};

use crate::handover::{HandingOver, Handover};
use crate::host::{Host, HostPlan};
use crate::logs::{Echo, Logs};
use crate::progress::{Following, Progress, following};
use crate::requests::DataPlaneRequest;
use crate::status::AppStatus;
use crate::task::{SupervisorTask, TaskMessage};
use crate::verb::{ShutdownStage, Verb};

/// The apps that run here. A cheap handle: clones are the same. It lives on one thread, that of the tokio `LocalRuntime`
/// it was started on. When the last one is dropped, everything that runs is killed.
#[derive(Debug, Clone)]
pub struct Supervisor {
    messages: mpsc::Sender<TaskMessage>,
    leaving: Arc<watch::Sender<ShutdownStage>>,
    /// Closed when nothing is left.
    gone: watch::Receiver<()>,
    logs: Logs,
}

/// What the file does not say app by app.
#[derive(Debug, Clone)]
pub struct Options {
    /// How instances are emptied unless a verb says otherwise: `[drain]` of the file.
    pub drain: Drain,
    /// Whether what the apps say also goes to tidelock's own standard output and error.
    pub echo: bool,
    /// Whether standard output is somebody else's: then it goes to standard error alone.
    pub is_apart: bool,
    /// Where the private folder is made, if not in the usual place.
    pub under: Option<PathBuf>,
}

impl Supervisor {
    /// Starts the apps. Nothing is waited for: what the data plane has to know comes out as requests, an app's instances
    /// as each of them becomes ready. Must be called within a tokio `LocalRuntime`.
    ///
    /// # Errors
    /// If there is no place for the private folder, or no thread for the logs.
    pub fn start(
        apps: &[Arc<App>],
        options: Options,
    ) -> io::Result<(Self, mpsc::Receiver<DataPlaneRequest>)> {
        let drain = options.drain;
        let host = Host::with(options.host())?;
        Ok(Self::start_on(host, apps, drain))
    }

    /// Goes on with what `handover` has of the tidelock before, as soon as it `is_ours`, and puts `apps` in its place as
    /// [`Self::apply`] does. `before` says what the apps were there. If `is_ours` ends without a word, nothing was touched.
    ///
    /// # Errors
    /// If there is no thread for the logs, or no file for an instance.
    pub fn go_on(
        handover: Handover,
        before: &BTreeMap<String, Arc<App>>,
        apps: &[Arc<App>],
        options: Options,
        is_ours: watch::Receiver<bool>,
    ) -> io::Result<(Self, mpsc::Receiver<DataPlaneRequest>)> {
        let Handover { folder, alive, apps: handed, files } = handover;
        let drain = options.drain;
        let host = Host::take_over(options.host(), folder, alive)?;
        let mut going_on = Ok(());
        let ours = is_ours.clone();
        let started = Self::start_with(host.clone(), apps, drain, |task| {
            going_on = task.go_on(handed, files, before, &is_ours);
        });
        going_on?;
        tokio::task::spawn_local(claim(host, ours));
        Ok(started)
    }

    /// The same with a host that was prepared by the caller.
    #[must_use]
    pub fn start_on(host: Host, apps: &[Arc<App>], drain: Drain) -> (Self, mpsc::Receiver<DataPlaneRequest>) {
        Self::start_with(host, apps, drain, |_| {})
    }

    fn start_with(
        host: Host,
        apps: &[Arc<App>],
        drain: Drain,
        first: impl FnOnce(&mut SupervisorTask),
    ) -> (Self, mpsc::Receiver<DataPlaneRequest>) {
        let (messages, taken) = mpsc::channel(MESSAGES_MAX);
        let (leaving, told_to_leave) = watch::channel(ShutdownStage::No);
        let (requests, requested) = mpsc::channel(REQUESTS_MAX);
        let (is_there, gone) = watch::channel(());
        let logs = host.logs().clone();
        let mut task = SupervisorTask::new(host, drain, requests);
        first(&mut task);
        // Nobody follows the first start; what comes of it is in the log, and in `status`.
        let (follow, _) = following();
        task.apply(apps, drain, follow);
        tokio::task::spawn_local(async move {
            task.run(taken, told_to_leave).await;
            drop(is_there);
        });
        (Self { messages, leaving: Arc::new(leaving), gone, logs }, requested)
    }

    /// Puts these apps in the place of those that run: an app that is new is started, one that is missing is emptied
    /// and stopped, one whose processes would be started otherwise is rolled; another number of `instances` alone
    /// scales it, and all that concerns the supervisor alone is taken over without touching a process. The order does
    /// not have to be followed; it goes on when the receiver is dropped.
    #[must_use = "the order goes on when this is dropped, but then say so"]
    pub fn apply(&self, apps: &[Arc<App>], drain: Drain) -> mpsc::Receiver<Progress> {
        self.send(|follow| TaskMessage::Apply { apps: apps.to_vec(), drain, follow })
    }

    /// Tells an app, or all of them if it is `all` and no app is called so. `Restart` and `Roll` also take one slot of
    /// an app, `APP/SLOT`. What is told goes on when the receiver is dropped. A later verb for the same app that
    /// contradicts an earlier one ends it: the earlier one then fails and says so.
    #[must_use = "the order goes on when this is dropped, but then say so"]
    pub fn tell(&self, app: &str, verb: Verb) -> mpsc::Receiver<Progress> {
        self.send(|follow| TaskMessage::Tell { app: app.to_owned(), verb, follow })
    }

    /// The state of every app, in the order of their names; empty once everything has ended.
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing changes by it.
    pub async fn status(&self) -> Vec<AppStatus> {
        let (answer, answered) = oneshot::channel();
        // Once everything has ended there is nothing to see.
        if self.messages.send(TaskMessage::Look { answer }).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }

    /// Holds the apps as they are, so that another tidelock can go on with them. Their verbs wait until it is known whose they
    /// are.
    ///
    /// # Errors
    /// If something is under way that has to end before, and what that is.
    ///
    /// # Cancel safety
    /// Cancel-safe: everything stays as it was.
    pub async fn hand_over(&self) -> Result<HandingOver, String> {
        let (answer, answered) = oneshot::channel();
        let leaving = || "tidelock is leaving".to_owned();
        self.messages.send(TaskMessage::HandOver { answer }).await.map_err(|_| leaving())?;
        answered.await.map_err(|_| leaving())?
    }

    /// The lines that the apps wrote, those in memory and those to come.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }

    /// tidelock leaves: from now on nothing is started, no roll goes on, and what ends is not started again. What runs
    /// keeps running, so that the proxy can let its sessions leave.
    pub fn leave(&self) {
        self.get_further(ShutdownStage::Soon);
    }

    /// Ends every process, without emptying it first: by its stop signal and, at its stop timeout, by SIGKILL; or
    /// `at_once` by SIGKILL alone. Resolves when none is left.
    ///
    /// # Cancel safety
    /// Cancel-safe: the processes end all the same. May be called again with `at_once`, so as not to wait any longer.
    pub async fn end(&self, at_once: bool) {
        self.get_further(if at_once { ShutdownStage::AtOnce } else { ShutdownStage::Now });
        // It never changes; an error is its end.
        while self.gone.clone().changed().await.is_ok() {}
    }

    fn get_further(&self, to: ShutdownStage) {
        self.leaving.send_if_modified(|leaving| {
            let is_further = to > *leaving;
            *leaving = to.max(*leaving);
            is_further
        });
    }

    fn send(&self, message: impl FnOnce(Following) -> TaskMessage) -> mpsc::Receiver<Progress> {
        let (follow, progress) = following();
        if let Err(refused) = self.messages.try_send(message(follow)) {
            let (why, message) = match refused {
                mpsc::error::TrySendError::Full(message) => {
                    ("too many orders wait for the apps already", message)
                }
                mpsc::error::TrySendError::Closed(message) => ("tidelock is leaving", message),
            };
            if let TaskMessage::Apply { follow, .. } | TaskMessage::Tell { follow, .. } = message {
                follow.end(Progress::Failed(why.to_owned()));
            }
        }
        progress
    }
}

impl Options {
    fn host(self) -> HostPlan {
        let is_apart = self.is_apart;
        let colour = match is_apart {
            true => std::io::IsTerminal::is_terminal(&io::stderr()),
            false => std::io::IsTerminal::is_terminal(&io::stdout()),
        };
        let echo = self.echo.then_some(Echo { format: LogFormat::Text, colour, is_apart });
        HostPlan { under: self.under, keeper: None, echo }
    }
}

/// The private folder is this tidelock's to remove once everything is.
async fn claim(host: Host, mut is_ours: watch::Receiver<bool>) {
    if is_ours.wait_for(|&is_ours| is_ours).await.is_ok() {
        host.is_ours_now(true);
    }
}

/// Messages that the task has not come to. It never blocks.
const MESSAGES_MAX: usize = 64;
/// Requests that the data plane has not come to; the task keeps more of them itself, one list and one emptying an
/// instance.
const REQUESTS_MAX: usize = 64;
