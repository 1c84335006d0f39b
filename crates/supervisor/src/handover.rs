//! What one tidelock tells the next of its apps, so that their processes go on under it: what the apps are, where each
//! process is, and the files by which it is held. docs/upgrade.md has it as a format, of which this is a part.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use config::roster::{InstanceAddress, InstanceId};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Everything there is of the apps.
#[derive(Debug)]
pub struct Handover {
    /// The private folder of all instances, which goes on too.
    pub folder: PathBuf,
    /// Its lock.
    pub alive: OwnedFd,
    /// Each app.
    pub apps: Vec<AppHandover>,
    /// The files of each instance that runs.
    pub files: Vec<(String, InstanceId, InstanceFiles)>,
}

/// An app, as far as the file does not say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppHandover {
    /// Its key in the file.
    pub name: String,
    /// How many instances there are to be: `scale` may have said another number than the file.
    pub wanted: u32,
    /// It was stopped, and stays so.
    pub is_stopped: bool,
    /// The last generation that was given out.
    pub generation: u64,
    /// Its slots.
    pub slots: Vec<SlotHandover>,
}

/// A slot of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotHandover {
    /// Its number.
    pub slot: u32,
    /// Ends in a row.
    pub failures: u32,
    /// Starts after an end that nobody asked for.
    pub restarts: u32,
    /// It is started again in so long.
    pub start_in_ms: Option<u64>,
    /// It has failed too often.
    pub is_given_up: bool,
    /// It has done its work.
    pub is_finished: bool,
    /// Why it is as it is.
    pub cause: String,
    /// The process in it.
    pub instance: Option<InstanceHandover>,
}

/// A process of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceHandover {
    /// Which start of its slot it is.
    pub generation: u64,
    /// Its process id.
    pub pid: u32,
    /// That of its keeper.
    pub keeper: i32,
    /// Where it listens.
    pub at: Place,
    /// How long ago it was started.
    pub started_ms: u64,
    /// How long it has been ready; absent if it is not yet.
    pub ready_ms: Option<u64>,
}

/// Where an instance listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// On a port of loopback.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

/// By what a process is held.
#[derive(Debug)]
pub struct InstanceFiles {
    /// The socket to its keeper.
    pub keeper: OwnedFd,
    /// Where its output is read.
    pub stdout: OwnedFd,
    /// Where what it says on standard error is read.
    pub stderr: OwnedFd,
    /// PM2's channel, if it has one.
    pub channel: Option<OwnedFd>,
}

/// The apps on their way to another tidelock. Nothing is done for them meanwhile. Dropped, they are this one's as before.
#[derive(Debug)]
pub struct HandingOver {
    /// What the other one has to know.
    pub handover: Handover,
    pub(crate) taken: oneshot::Sender<mpsc::Sender<()>>,
}

impl HandingOver {
    /// They are the other one's. Waits until nothing of them is read or written here any more.
    ///
    /// # Cancel safety
    /// Not cancel-safe: they are the other one's as soon as this was polled, and something may still be read of them here.
    pub async fn finish(self) {
        let (last, mut all) = mpsc::channel(1);
        // If the task is gone, so is everything.
        let _ = self.taken.send(last);
        while all.recv().await.is_some() {}
    }
}

impl InstanceHandover {
    pub(crate) fn address(&self) -> InstanceAddress {
        match &self.at {
            Place::Tcp(address) => InstanceAddress::Tcp(*address),
            Place::Unix(path) => InstanceAddress::Unix(path.clone()),
        }
    }
}

impl From<&InstanceAddress> for Place {
    fn from(address: &InstanceAddress) -> Self {
        match address {
            InstanceAddress::Tcp(address) => Self::Tcp(*address),
            InstanceAddress::Unix(path) => Self::Unix(path.clone()),
        }
    }
}

/// Asks the task of a process for its files, and keeps it from doing anything until it is known whose it is.
#[derive(Debug)]
pub(crate) struct HoldRequest {
    pub(crate) files: oneshot::Sender<InstanceFiles>,
    /// What comes is dropped once the process is let go of. An error: it stays.
    pub(crate) taken: oneshot::Receiver<mpsc::Sender<()>>,
}
