//! One process of an app, with everything that comes of it: started under a keeper, signalled, watched until all of it
//! is gone. Knows nothing of why it is started or stopped.

mod child;
pub(crate) mod launch;
pub(crate) mod start;
mod attended;
mod reservation;
mod resume;
mod orphans;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::app::Stop;
use config::roster::InstanceAddress;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::bus::Counts;
use crate::handover::HoldRequest;
use crate::ipc::Channel;
use crate::keeper::order::Command;
use crate::process_table::{ProcessTable, Usage};

use attended::Asked;
pub use launch::{Ending, Launch, StartProblem};

/// A process that was started, and its descendants. Dropping it kills them all; whoever wants to know when they are
/// gone asks [`Self::ended`] before.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    address: InstanceAddress,
    folder: PathBuf,
    pid: i32,
    keeper: i32,
    commands: mpsc::Sender<Asked>,
    ending: watch::Receiver<Option<Ending>>,
    channel: Option<Channel>,
    counts: Arc<Counts>,
}

impl Process {
    /// Its process id, which is also that of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// The app and the instance that it was started for.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The address that it was given to listen on. No other instance gets the same while this lives.
    #[must_use]
    pub fn address(&self) -> &InstanceAddress {
        &self.address
    }

    /// What it has lost of what the others say.
    pub(crate) fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Its private folder, in which its processes say where they listen.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Asks it to end: the signal to its process group, and PM2's `shutdown` if `stop` says so. The time that it has
    /// is the caller's to measure.
    pub fn stop(&self, stop: &Stop) {
        if stop.tell {
            self.tell_shutdown();
        }
        self.signal(stop.signal);
    }

    /// Waits until the app has said `process.send('ready')`; for ever if it has no channel or closed it.
    ///
    /// # Cancel safety
    /// Cancel-safe: a message that has come stays known.
    pub async fn told_ready(&self) {
        match &self.channel {
            Some(channel) => channel.told_ready().await,
            None => std::future::pending().await,
        }
    }

    /// Sends the message `shutdown`, as PM2 does with `shutdown_with_message`. Nothing happens if the app has no channel.
    pub fn tell_shutdown(&self) {
        if let Some(channel) = &self.channel {
            channel.tell_shutdown();
        }
    }

    /// Sends a signal to its process group, once it is stopped on purpose: from now on descendants may outlive its own
    /// process.
    pub fn signal(&self, signal: i32) {
        // The last place is for a kill; a keeper that does not even take so many signals is not helped by one more.
        if self.commands.capacity() > 1 {
            let _ = self.commands.try_send(Asked::Command(Command::Signal(signal)));
        }
    }

    /// Kills (SIGKILL) it and everything that came of it.
    pub fn kill(&self) {
        // If there is no place there is a kill among those that wait.
        let _ = self.commands.try_send(Asked::Command(Command::Kill));
    }

    /// Gives its files away, and does nothing more for it until it is known whose it is.
    pub(crate) fn hold(&self, request: HoldRequest) {
        // Without a place the request is dropped, which whoever asks takes for a no.
        let _ = self.commands.try_send(Asked::Hold(request));
    }

    /// Waits until it and everything that came of it is gone. May be called again, and then gives the same.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn ended(&self) -> Ending {
        let mut ending = self.ending.clone();
        match ending.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(Ending::KeeperLost),
            // Only the end of the whole runtime takes that task away.
            Err(_) => std::future::pending().await,
        }
    }

    /// The memory and CPU time that it takes now, its descendants included and its keeper not; zero once it has ended.
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing changes by it.
    pub async fn usage(&self) -> Usage {
        let keeper = self.keeper;
        // Whoever asks while the runtime ends gets nothing.
        spawn_blocking(move || ProcessTable::take().usage(keeper)).await.unwrap_or_default()
    }

    /// The process id of its keeper: what the usage of many processes is read by from one [`ProcessTable`].
    #[must_use]
    pub fn keeper(&self) -> i32 {
        self.keeper
    }
}
