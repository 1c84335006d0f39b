//! What is odd about the requests of an upstream, counted, and said in the log when it is more than chance.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// Counts of one upstream. They outlive its snapshots.
#[derive(Debug)]
pub(crate) struct Oddities {
    born: Instant,
    /// Tags and pins of the right form that no key verifies, of sessions that nobody knows.
    unverifiable: AtomicU64,
    /// The minute that is counted, since `born`, in the upper half; how many in the lower.
    minute: AtomicU64,
    /// When so many came in one minute that it cannot be chance, in seconds since `born` and one more.
    foreign_at: AtomicU64,
    has_said_too_long: AtomicBool,
    has_said_cookies: AtomicBool,
}

impl Default for Oddities {
    fn default() -> Self {
        Self {
            born: Instant::now(),
            unverifiable: AtomicU64::new(0),
            minute: AtomicU64::new(0),
            foreign_at: AtomicU64::new(0),
            has_said_too_long: AtomicBool::new(false),
            has_said_cookies: AtomicBool::new(false),
        }
    }
}

impl Oddities {
    /// A tag or a pin proves nothing.
    pub(crate) fn unverifiable(&self, upstream: &str) {
        self.unverifiable.fetch_add(1, Relaxed);
        let seconds = self.born.elapsed().as_secs();
        let minute = seconds / 60;
        let count = |word: u64| if word >> 32 == minute { word as u32 as u64 + 1 } else { 1 };
        let before = self.minute.fetch_update(Relaxed, Relaxed, |word| Some(minute << 32 | count(word)));
        if count(before.unwrap_or_default()) == FOREIGN_IN_A_MINUTE {
            self.foreign_at.store(seconds + 1, Relaxed);
            tracing::warn!(
                upstream,
                "session ids or cookies that another secret has signed: do several tidelocks in front of these nodes have one `sticky_secret`?"
            );
        }
    }

    /// A pin under a key of ours, of a node that is gone. After a roll all browsers have one, which is nobody's mistake.
    pub(crate) fn outlived(&self) {
        self.unverifiable.fetch_add(1, Relaxed);
    }

    /// A session id that is not looked at.
    pub(crate) fn sid_too_long(&self, upstream: &str) {
        if !self.has_said_too_long.swap(true, Relaxed) {
            let bytes_max = wire::engineio::SID_BYTES_MAX;
            tracing::warn!(
                upstream,
                bytes_max,
                "a session id is too long to be read; such sessions are not kept on their node"
            );
        }
    }

    /// The app sets cookies of its own, so that its browsers are pinned.
    pub(crate) fn sets_cookies(&self, upstream: &str) {
        // Looked at before it is written: all workers would else fight over it.
        if !self.has_said_cookies.load(Relaxed) && !self.has_said_cookies.swap(true, Relaxed) {
            tracing::info!(
                upstream,
                "the app sets cookies; its browsers are kept on their node by a cookie of ours, for logins in memory (`sticky = \"engineio\"` if its sessions are in a shared store)"
            );
        }
    }

    /// Tags and pins that proved nothing.
    pub(crate) fn unverifiable_count(&self) -> u64 {
        self.unverifiable.load(Relaxed)
    }

    /// Whether lately so many came that another tidelock must have signed them: the two have different secrets.
    pub(crate) fn has_foreign(&self) -> bool {
        let at = self.foreign_at.load(Relaxed);
        at > 0 && self.born.elapsed() < Duration::from_secs(at) + SAID_FOR
    }
}

const FOREIGN_IN_A_MINUTE: u64 = 10;
/// The status says so for so long after the last minute of that kind.
const SAID_FOR: Duration = Duration::from_mins(10);
