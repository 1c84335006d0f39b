//! How long a node takes to answer: a mean over the last seconds that rises to a slow answer at once and forgets it
//! slowly (the "peak EWMA" of Finagle). One word, so that workers write and read it without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// A node's latency.
#[derive(Debug)]
pub(crate) struct Latency {
    /// A [`Known`], or 0 before the first answer.
    word: AtomicU64,
    born: Instant,
}

/// What is known, and since when.
#[derive(Clone, Copy)]
struct Known {
    mean_us: f32,
    /// Since `born`; wraps around after 49 days, when a mean may look younger than it is, once.
    at_ms: u32,
}

impl Latency {
    pub(crate) fn new(now: Instant) -> Self {
        Self { word: AtomicU64::new(0), born: now }
    }

    /// The head of an answer came `taken` after its request was sent.
    pub(crate) fn observe(&self, taken: Duration, now: Instant) {
        let (at_ms, taken_us) = (self.millis(now), taken.as_secs_f32() * 1e6);
        let after = |word: u64| {
            let mean_us = match Known::from_word(word) {
                Some(known) if taken_us < known.mean_us => {
                    let kept = known.kept(at_ms);
                    known.mean_us * kept + taken_us * (1.0 - kept)
                }
                Some(_) | None => taken_us,
            };
            Some(Known { mean_us: mean_us.max(FLOOR_US), at_ms }.to_word())
        };
        // It always gives a word, so that there is always a change.
        let _ = self.word.fetch_update(Relaxed, Relaxed, after);
    }

    /// What is to be expected now; `None` before the first answer. It fades, so that a node that was slow is tried
    /// again.
    pub(crate) fn at(&self, now: Instant) -> Option<Duration> {
        let known = Known::from_word(self.word.load(Relaxed))?;
        let mean_us = (known.mean_us * known.kept(self.millis(now))).max(FLOOR_US);
        Some(Duration::from_secs_f32(mean_us / 1e6))
    }

    fn millis(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.born).as_millis() as u32
    }
}

impl Known {
    /// The share of it that time has left.
    fn kept(self, now_ms: u32) -> f32 {
        // Two workers may tell their answers in another order than they read the clock.
        let passed_ms = now_ms.wrapping_sub(self.at_ms).cast_signed().max(0);
        (-(passed_ms as f32) / MEMORY_MS).exp()
    }

    fn to_word(self) -> u64 {
        u64::from(self.mean_us.to_bits()) << 32 | u64::from(self.at_ms)
    }

    fn from_word(word: u64) -> Option<Self> {
        (word != 0).then(|| Self { mean_us: f32::from_bits((word >> 32) as u32), at_ms: word as u32 })
    }
}

/// After so long a third of what was known is left; Finagle's own.
const MEMORY_MS: f32 = 10_000.0;
/// Differences below it are the network's.
const FLOOR_US: f32 = 50.0;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn it_rises_at_once_and_falls_with_time() {
        let latency = Latency::new(Instant::now());
        assert_eq!(latency.at(Instant::now()), None);
        latency.observe(MS * 10, Instant::now());
        latency.observe(MS * 100, Instant::now());
        let known_ms = || latency.at(Instant::now()).map(|latency| latency.as_millis());
        assert_eq!(known_ms(), Some(100));
        latency.observe(MS * 10, Instant::now());
        assert_eq!(known_ms(), Some(100), "no time has passed");
        tokio::time::advance(Duration::from_secs(10)).await;
        latency.observe(MS * 10, Instant::now());
        // 100 ms * e^-1 + 10 ms * (1 - e^-1)
        let now = latency.at(Instant::now()).unwrap();
        assert!((43.0..43.2).contains(&(now.as_secs_f64() * 1e3)), "{now:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_fades_but_is_not_forgotten() {
        let latency = Latency::new(Instant::now());
        latency.observe(Duration::from_secs(1), Instant::now());
        tokio::time::advance(Duration::from_secs(10)).await;
        let now = latency.at(Instant::now()).unwrap();
        assert!((367.0..369.0).contains(&(now.as_secs_f64() * 1e3)), "{now:?}");
        tokio::time::advance(Duration::from_secs(10_000)).await;
        assert_eq!(latency.at(Instant::now()), Some(Duration::from_micros(50)));
    }

    #[tokio::test(start_paused = true)]
    async fn it_outlives_the_word() {
        let latency = Latency::new(Instant::now());
        tokio::time::advance(Duration::from_millis(u64::from(u32::MAX) - 4_999)).await;
        latency.observe(Duration::from_secs(1), Instant::now());
        tokio::time::advance(Duration::from_secs(10)).await;
        let now = latency.at(Instant::now()).unwrap();
        assert!((367.0..369.0).contains(&(now.as_secs_f64() * 1e3)), "{now:?}");
    }
}
