//! What the socket looks at, and whom it tells.

use std::sync::Arc;

use config::plan::Plan;
use proxy::Proxy;
use supervisor::{Progress, Supervisor};
use tokio::sync::{mpsc, oneshot, watch};

/// What there is to look at, and whom to tell.
#[derive(Debug)]
pub struct Seen {
    /// The data plane.
    pub proxy: Proxy,
    /// The apps.
    pub supervisor: Supervisor,
    /// The plan in force.
    pub plan: watch::Receiver<Arc<Plan>>,
    /// Where the file is applied.
    pub reload: mpsc::Sender<ReloadWanted>,
    /// How many lines of tidelock's own log are lost, because nobody has read them.
    pub own_log_lines_lost: fn() -> u64,
}

/// Somebody wants the file to be read again and applied.
#[derive(Debug)]
pub struct ReloadWanted {
    /// What was done, or all that is wrong with the file, in lines.
    pub answer: oneshot::Sender<Result<Applied, String>>,
}

/// A file that was applied.
#[derive(Debug)]
pub struct Applied {
    /// What was done, in lines.
    pub message: String,
    /// How far its apps are, if they have changed: that goes on.
    pub apps: Option<mpsc::Receiver<Progress>>,
}
