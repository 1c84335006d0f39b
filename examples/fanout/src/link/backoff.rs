//! Pauses between attempts to reconnect.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use tokio::time::Instant;

/// Doubles from a sixteenth of `max` up to it, but stops at an eighth for the time that a failover takes. Each pause is drawn
/// from its upper half: nodes that lost Redis in the same moment should not all come back in the same moment.
pub(crate) struct Backoff {
    max: Duration,
    doublings: u32,
    began: Option<Instant>,
    seed: RandomState,
}

/// How long Redis may be away before it is asked less often. The Redis clients of Node.js publish what has waited as soon as
/// they are connected, and whoever subscribes later than that misses all of it.
const FAILOVER: Duration = Duration::from_secs(10);

impl Backoff {
    /// `max` is held to a second, so that the promise of an attempt each second holds.
    pub(crate) fn new(max: Duration) -> Self {
        Self { max: max.min(Duration::from_secs(1)), doublings: 0, began: None, seed: RandomState::new() }
    }

    pub(crate) fn reset(&mut self) {
        (self.doublings, self.began) = (0, None);
    }

    pub(crate) fn pause(&mut self, now: Instant) -> Duration {
        let began = *self.began.get_or_insert(now);
        let doublings_max = if now.duration_since(began) < FAILOVER { 1 } else { 4 };
        let ceiling = self.max * (1 << self.doublings.min(doublings_max)) / 16;
        self.doublings = (self.doublings + 1).min(doublings_max);
        // Seeded by the system for each instance; good enough dice for this, and no dependency.
        let die = self.seed.hash_one((self.doublings, now.duration_since(began))) as u32;
        ceiling / 2 + (ceiling / 2).mul_f64(f64::from(die) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn pauses_grow_and_never_exceed_a_second() {
        let mut backoff = Backoff::new(Duration::from_secs(30));
        let mut now = Instant::now();
        let mut pauses = |backoff: &mut Backoff, count: usize| -> Vec<u128> {
            let next = |_| {
                let pause = backoff.pause(now);
                now += pause;
                pause.as_millis()
            };
            (0..count).map(next).collect()
        };
        let first = pauses(&mut backoff, 80);
        assert!((31..=63).contains(&first[0]), "{first:?}");
        assert!(first[1..].iter().all(|ms| (62..=125).contains(ms)), "a failover: {first:?}");
        pauses(&mut backoff, 90);
        let late = pauses(&mut backoff, 50);
        assert!(late.iter().all(|ms| (500..=1000).contains(ms)), "{late:?}");
        assert!(late.iter().any(|ms| *ms != late[0]), "no jitter: {late:?}");
        backoff.reset();
        assert!(pauses(&mut backoff, 1)[0] <= 63);
    }
}
