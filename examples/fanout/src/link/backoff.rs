//! Pauses between attempts to reconnect.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// Doubles from a sixteenth of `max` up to it. Each pause is drawn from its upper half: nodes that lost
/// Redis in the same moment should not all come back in the same moment.
pub(crate) struct Backoff {
    max: Duration,
    doublings: u32,
    seed: RandomState,
}

impl Backoff {
    /// `max` is held to a second, so that the promise of an attempt each second holds.
    pub(crate) fn new(max: Duration) -> Self {
        Self { max: max.min(Duration::from_secs(1)), doublings: 0, seed: RandomState::new() }
    }

    pub(crate) fn reset(&mut self) {
        self.doublings = 0;
    }

    pub(crate) fn pause(&mut self) -> Duration {
        let ceiling = self.max * (1 << self.doublings.min(4)) / 16;
        self.doublings += 1;
        // Seeded by the system for each instance; good enough dice for this, and no dependency.
        let die = self.seed.hash_one(self.doublings) as u32;
        ceiling / 2 + (ceiling / 2).mul_f64(f64::from(die) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;

    #[test]
    fn pauses_grow_and_never_exceed_a_second() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        let pauses: Vec<_> = (0..50).map(|_| backoff.pause().as_millis()).collect();
        assert!((31..=63).contains(&pauses[0]), "{pauses:?}");
        assert!(pauses[5..].iter().all(|ms| (500..=1000).contains(ms)), "{pauses:?}");
        assert!(pauses[5..].iter().any(|ms| *ms != pauses[5]), "no jitter: {pauses:?}");
        backoff.reset();
        assert!(backoff.pause() <= Duration::from_millis(63));
    }
}
