//! What the streams of a client's HTTP/2 connection have in common.

use std::cell::Cell;
use std::rc::Rc;

use tokio::time::Instant;

use crate::net::clock::Clock;
use crate::net::stream::tls::TlsWords;

/// A connection, as its streams know it.
#[derive(Debug)]
pub(crate) struct Http2Connection {
    /// The host that its TLS handshake was for.
    pub(super) server_name: Option<Box<str>>,
    /// What that has agreed on.
    pub(super) tls: Option<TlsWords>,
    /// What has been moved of content.
    moved: Rc<Cell<u64>>,
    resets: Resets,
    clock: Rc<Clock>,
}

impl Http2Connection {
    pub(crate) fn new(
        server_name: Option<Box<str>>,
        tls: Option<TlsWords>,
        moved: Rc<Cell<u64>>,
        clock: Rc<Clock>,
    ) -> Self {
        Self { server_name, tls, moved, resets: Resets::default(), clock }
    }

    pub(super) fn note_moved(&self, bytes: usize) {
        self.moved.set(self.moved.get() + bytes as u64);
    }

    /// The client has reset a stream whose answer it has not got.
    pub(super) fn count_reset(&self) {
        self.resets.count(self.clock.now());
    }

    pub(crate) fn are_resets_too_many(&self) -> bool {
        self.resets.are_too_many()
    }
}

/// How fast a client may reset streams whose answers it has not got: some at once, and then some each second. A page that is left
/// resets all that it was waiting for; who opens and resets streams all the time has nodes work for nothing (CVE-2023-44487).
#[derive(Debug, Default)]
struct Resets {
    /// How many are used up, as of then.
    used: Cell<(u32, Option<Instant>)>,
}

impl Resets {
    fn count(&self, now: Instant) {
        let (used, since) = self.used.get();
        let passed = since.map_or(0, |since| now.saturating_duration_since(since).as_millis());
        let regained = u32::try_from(passed * u128::from(RESETS_PER_SECOND) / 1000).unwrap_or(u32::MAX);
        // Rounded down, what is left of the time counts the next time.
        let since = if regained > 0 { Some(now) } else { since.or(Some(now)) };
        self.used.set((used.saturating_sub(regained) + 1, since));
    }

    fn are_too_many(&self) -> bool {
        self.used.get().0 > RESETS_AT_ONCE
    }
}

const RESETS_AT_ONCE: u32 = 300;
const RESETS_PER_SECOND: u32 = 50;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn resets_are_regained() {
        let (resets, begun) = (Resets::default(), Instant::now());
        for _ in 0..RESETS_AT_ONCE {
            resets.count(begun);
        }
        assert!(!resets.are_too_many());
        // As fast as it regains them it may go on for ever.
        for step in 1..1000 {
            resets.count(begun + Duration::from_millis(20) * step);
            assert!(!resets.are_too_many(), "after {step}");
        }
        resets.count(begun + Duration::from_secs(20));
        resets.count(begun + Duration::from_secs(20));
        assert!(resets.are_too_many());
    }
}
