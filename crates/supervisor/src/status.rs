//! What there is to see of the apps, at one moment.

use std::time::Duration;

use config::roster::{InstanceAddress, InstanceId};

/// An app and its instances.
#[derive(Debug, Clone, PartialEq)]
pub struct AppStatus {
    /// Its name.
    pub name: String,
    /// What is being done with it.
    pub state: AppState,
    /// How many instances there are to be: of the file, or of the last `scale`. They are kept while it is stopped.
    pub wanted: u32,
    /// How the last roll ended, if it failed; empty otherwise.
    pub last_failure: String,
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
    /// One word, in lower case.
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
    /// Which. The generation of a place that waits for its next start is that of the last one.
    pub id: InstanceId,
    /// What it is doing.
    pub state: InstanceState,
    /// Whether it runs what the app is now; the others are being replaced.
    pub is_current: bool,
    /// The leader of its process group, while it runs.
    pub pid: Option<u32>,
    /// Since its process was started; zero while there is none.
    pub uptime: Duration,
    /// How often this slot was started again after an end that nobody asked for.
    pub restarts: u32,
    /// Of one core, since the last look: 100 is one whole core. `None` before the second look.
    pub cpu_percent: Option<f32>,
    /// Resident memory of the process and its descendants, in bytes. `None` while there is none.
    pub memory: Option<u64>,
    /// Where it listens, as soon as that is decided.
    pub address: Option<InstanceAddress>,
    /// Until the next start, of one that waits for it.
    pub next_start: Option<Duration>,
    /// Why it is in its state, in words; may be empty.
    pub cause: String,
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// It runs, and is not ready yet.
    Starting,
    /// It takes part.
    Ready,
    /// It gets nothing new, and its sessions leave.
    Emptying,
    /// It was told to end.
    Stopping,
    /// It has ended by itself, and is started again after a pause.
    Waiting,
    /// The same, and it was not the first time in a row.
    CrashLoop,
    /// It has ended so often that it is not started again until somebody says so.
    GivenUp,
    /// It has ended because it was told to.
    Stopped,
}

impl InstanceState {
    /// One or two words, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Emptying => "emptying",
            Self::Stopping => "stopping",
            Self::Waiting => "waiting",
            Self::CrashLoop => "crash loop",
            Self::GivenUp => "given up",
            Self::Stopped => "stopped",
        }
    }
}
