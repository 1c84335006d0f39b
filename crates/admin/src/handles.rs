//! What the socket looks at, and whom it tells.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use acme::Certificates;
use config::plan::Plan;
use proxy::Proxy;
use supervisor::{Progress, Supervisor};
use tokio::sync::{mpsc, oneshot, watch};

/// All that verbs look at and act on, handed over by the binary at the start.
#[derive(Debug)]
pub struct Handles {
    /// The data plane.
    pub proxy: Proxy,
    /// The apps.
    pub supervisor: Supervisor,
    /// The certificates that tidelock gets by itself.
    pub certificates: Rc<Certificates>,
    /// The plan in force; it changes with each reload.
    pub plan: watch::Receiver<Arc<Plan>>,
    /// The file that is served, if there is one.
    pub file: Option<PathBuf>,
    /// Whether it runs in the background, so that no terminal shows what it says.
    pub is_background: bool,
    /// To the one task that reads the file and applies it, one wish after the other.
    pub reload: mpsc::Sender<ReloadWanted>,
    /// To the same task: another tidelock is to go on in the place of this one.
    pub upgrade: mpsc::Sender<UpgradeWanted>,
    /// Whether another one does, so that no more verbs are taken here.
    pub is_handed_over: watch::Receiver<bool>,
    /// What has become of reloads and upgrades.
    pub ups: Rc<Ups>,
    /// How many lines of tidelock's own log are lost, because nobody has read them.
    pub own_log_lines_lost: fn() -> u64,
}

/// How often the plan and the process were replaced, or were to be.
#[derive(Debug, Default)]
pub struct Ups {
    /// Files that were applied.
    pub reloads: Cell<u64>,
    /// Files that were not.
    pub failed_reloads: Cell<u64>,
    /// The last one was not applied.
    pub is_outdated: Cell<bool>,
    /// Times that another tidelock was to go on, and did not.
    pub failed_upgrades: Cell<u64>,
    /// This one goes on in the place of another.
    pub is_successor: Cell<bool>,
}

/// Somebody wants the file to be read again and applied.
#[derive(Debug)]
pub struct ReloadWanted {
    /// What was done, or all that is wrong with the file, in lines.
    pub answer: oneshot::Sender<Result<Applied, String>>,
}

/// Somebody wants another tidelock to go on in the place of this one.
#[derive(Debug)]
pub struct UpgradeWanted {
    /// Its program; without one, what this one was started from.
    pub binary: Option<PathBuf>,
    /// It has to be ready within this time.
    pub timeout: Duration,
    /// Which process goes on, or why none does.
    pub answer: oneshot::Sender<Result<String, String>>,
}

/// A file that was applied.
#[derive(Debug)]
pub struct Applied {
    /// What was done, in lines.
    pub message: String,
    /// How far its apps are, if they have changed: that goes on.
    pub apps: Option<mpsc::Receiver<Progress>>,
}
