//! What a node has said that nobody asked for: bytes behind an answer, on a connection that would carry the next request.
//! Read there they would be the answer to that one. So such a node's connections are used once, for a while, and ever
//! after only when the kernel has said that nothing is unread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::node::Node;

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
}

impl Node {
    /// Bytes have come behind one of its answers.
    pub(crate) fn sent_surplus(&self, now: Instant) {
        *self.surplus.keeps_none_until() = Some(now + KEEPS_NONE_FOR);
        if self.surplus.times.fetch_add(1, Relaxed) == 0 {
            let (upstream, node, address) = (&self.upstream, self.written(), self.address());
            tracing::warn!(
                upstream,
                node,
                %address,
                "a node sends more than its answer, as an app does that writes a body to HEAD, 204 or 304, or another length than it says; its connections are used once, for {KEEPS_NONE_FOR:?} after each time"
            );
        }
    }

    /// Whether it has ever done so.
    pub(crate) fn has_sent_surplus(&self) -> bool {
        self.surplus.times.load(Relaxed) > 0
    }

    /// How often it has done so.
    pub(crate) fn surplus_count(&self) -> u64 {
        self.surplus.times.load(Relaxed)
    }

    /// Whether its connections may carry another request.
    pub(crate) fn may_keep(&self, now: Instant) -> bool {
        !self.has_sent_surplus() || self.surplus.keeps_none_until().is_none_or(|until| now >= until)
    }
}

/// Then it is tried again, for an app may have been replaced.
const KEEPS_NONE_FOR: Duration = Duration::from_secs(60);
