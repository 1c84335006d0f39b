//! What a node has said that nobody asked for: bytes behind an answer, on a connection that would carry the next request.
//! Read there they would be the answer to that one. So such a node's connections are used once, for a while, and ever
//! after only when the kernel has said that nothing is unread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often a node has done so, and until when nothing of it is kept.
#[derive(Debug, Default)]
pub(crate) struct Surplus {
    times: AtomicU64,
    keeps_none_until: Mutex<Option<Instant>>,
}

impl Surplus {
    fn keeps_none_until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.keeps_none_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has done so now. Whether that was the first time.
    pub(super) fn came(&self, now: Instant) -> bool {
        *self.keeps_none_until() = Some(now + KEEPS_NONE_FOR);
        self.times.fetch_add(1, Relaxed) == 0
    }

    pub(super) fn ever_came(&self) -> bool {
        self.times.load(Relaxed) > 0
    }

    pub(crate) fn count(&self) -> u64 {
        self.times.load(Relaxed)
    }

    /// Whether its connections may carry another request. Not for a while after bytes that nobody asked for: the
    /// next client would get them as its answer.
    pub(super) fn may_keep(&self, now: Instant) -> bool {
        !self.ever_came() || self.keeps_none_until().is_none_or(|until| now >= until)
    }
}

/// Then it is tried again, for an app may have been replaced.
pub(super) const KEEPS_NONE_FOR: Duration = Duration::from_secs(60);
