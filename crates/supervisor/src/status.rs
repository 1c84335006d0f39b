//! What there is to see of the apps, at one moment.

use std::time::Duration;

use config::roster::{InstanceAddress, InstanceId};

/// An app and its instances.
#[derive(Debug, Clone, PartialEq)]
pub struct AppStatus {
    /// The NAME of its `[app.NAME]`.
    pub name: String,
    /// What the supervisor does with its instances now.
    pub state: AppState,
    /// How many instances there are to be: of the file, or of the last `scale`. They are kept while it is stopped.
    pub wanted: u32,
    /// How the last roll ended, if it failed; empty otherwise.
    pub last_failure: String,
    /// Whether the rooms of its Socket.IO reach over all instances, in words that begin with `shared` or `split`; `None` where there is
    /// nothing to say.
    pub rooms: Option<String>,
    /// By slot, then by generation: while a slot's instance is replaced there are two of it, and one that is only
    /// waiting for its next start is there without a pid.
    pub instances: Vec<InstanceStatus>,
}

/// What is being done with an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppState {
    /// Its instances are kept running.
    Running,
    /// They are being replaced, one after the other.
    Rolling,
    /// It is stopped, or its last instances are leaving, until it is told to start.
    Stopped,
    /// It is in the file no more, and its last instances are leaving.
    Removed,
}

impl AppState {
    /// The word that people read for it, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Rolling => "rolling",
            Self::Stopped => "stopped",
            Self::Removed => "removed",
        }
    }
}

/// One instance of an app, or its empty place.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceStatus {
    /// Its slot, and which start of that slot it is. The generation of a slot that waits for its next start is that of the last one.
    pub id: InstanceId,
    /// How far its process is between its start and its end.
    pub state: InstanceState,
    /// True if it runs the app as the file has it now; the others are being replaced.
    pub is_current: bool,
    /// The leader of its process group, while it runs.
    pub pid: Option<u32>,
    /// The time since its process was started; zero while there is none.
    pub uptime: Duration,
    /// How often this slot was started again after an end that nobody asked for.
    pub restarts: u32,
    /// CPU time since the status before, in percent: 100 is one whole core. `None` before the second look.
    pub cpu_percent: Option<f32>,
    /// Resident memory of the process and its descendants, in bytes. `None` while there is none.
    pub memory: Option<u64>,
    /// The address that it was given to listen on; `None` until that is decided.
    pub address: Option<InstanceAddress>,
    /// The time until its next start, if it waits for one.
    pub next_start: Option<Duration>,
    /// Messages of the app's other instances that it did not read in time, and that were lost for it.
    pub messages_lost: u64,
    /// Why it is in its state, in words; may be empty.
    pub cause: String,
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It runs, and is not ready yet.
    Starting,
    /// It is a node of its upstreams.
    Ready,
    /// It gets nothing new, and its sessions leave.
    Emptying,
    /// It was told to end.
    Stopping,
    /// It has ended by itself, and is started again after a pause.
    Waiting,
    /// The same, and it was not the first time in a row.
    CrashLoop,
    /// It has done its work: `cron`, a reload or a start runs it again.
    Finished,
    /// It has ended so often that it is not started again until somebody says so.
    GivenUp,
    /// It has ended because it was told to.
    Stopped,
}

impl InstanceState {
    /// The words that people read for it, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Emptying => "emptying",
            Self::Stopping => "stopping",
            Self::Waiting => "waiting",
            Self::CrashLoop => "crash loop",
            Self::Finished => "finished",
            Self::GivenUp => "given up",
            Self::Stopped => "stopped",
        }
    }
}
