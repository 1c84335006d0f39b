//! How fast a client may speak through a tunnel. Pure.

use std::time::Duration;

use tokio::time::Instant;
use wire::frame::Kinds;

/// How fast the client may speak.
#[derive(Debug)]
pub(super) struct Rate {
    /// Messages a second.
    max: u32,
    second_begun: Instant,
    before: Kinds,
}

impl Rate {
    pub(super) fn new(max: u32, now: Instant) -> Self {
        Self { max, second_begun: now, before: Kinds::default() }
    }

    /// Returns whether `said`, all there ever was, is too much for the second that this moment is in. A message counts once,
    /// however many frames it has. What is no message has bounds of its own, far above what any library sends.
    pub(super) fn is_exceeded(&mut self, said: Kinds, now: Instant) -> bool {
        if now.duration_since(self.second_begun) >= Duration::from_secs(1) {
            (self.second_begun, self.before) = (now, said);
        }
        let since = |now: u32, before: u32| now.wrapping_sub(before);
        since(said.messages, self.before.messages) > self.max
            || since(said.controls, self.before.controls) > self.max.saturating_mul(10).max(CONTROLS_MIN)
            || since(said.fragments, self.before.fragments) > self.max.saturating_mul(100).max(FRAGMENTS_MIN)
    }
}

/// What may come in a second beside messages, whatever the limit on those is: pings and pongs, and parts of messages.
const CONTROLS_MIN: u32 = 100;
const FRAGMENTS_MIN: u32 = 10_000;
