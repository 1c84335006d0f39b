//! The tidelock before this one, as far as requests have to know of it: while it finishes what it has begun, it tells of sessions that
//! begin there.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Whether there is one, and word of its sessions.
#[derive(Debug, Default)]
pub(crate) struct Predecessor {
    is_there: AtomicBool,
    has_told: Notify,
}

impl Predecessor {
    pub(crate) fn is_there(&self) -> bool {
        self.is_there.load(Relaxed)
    }

    /// Set before the first connection is accepted, and taken back with its end, when those who wait need not any more.
    pub(crate) fn set(&self, is_there: bool) {
        self.is_there.store(is_there, Relaxed);
        self.tells();
    }

    /// It has told of sessions, which are in the table by now.
    pub(crate) fn tells(&self) {
        self.has_told.notify_waiters();
    }

    /// Ready once it tells of more, from this call on.
    pub(crate) fn told(&self) -> Notified<'_> {
        self.has_told.notified()
    }
}
