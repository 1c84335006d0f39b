//! When each session of what leaves has its turn. Pure: no clock, no socket; the dice are given.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

/// Spreads turns over a window, so that ten thousand clients do not come back in the same second.
#[derive(Debug)]
pub(crate) struct Schedule {
    end: Instant,
    dice: Rng,
}

impl Schedule {
    /// A window from `now` on.
    pub(crate) fn new(now: Instant, window: Duration, dice: Rng) -> Self {
        Self { end: now + window, dice }
    }

    /// A turn for each of `count` sessions, in random order: the k-th of n equal slots of what is left of the window,
    /// at a random place inside it. Sessions that are found later share what is left then; after the window there is
    /// no waiting any more.
    pub(crate) fn turns(&mut self, count: usize, now: Instant) -> Vec<Instant> {
        let left = self.end.saturating_duration_since(now);
        let mut turns: Vec<_> = (0..count)
            .map(|slot| now + left.mul_f64((slot as f64 + self.dice.f64()) / count as f64))
            .collect();
        self.dice.shuffle(&mut turns);
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn one_turn_in_each_slot() {
        for seed in 0..100 {
            let now = Instant::now();
            let mut turns = Schedule::new(now, WINDOW, Rng::with_seed(seed)).turns(1000, now);
            turns.sort_unstable();
            for (slot, turn) in turns.iter().enumerate() {
                let slot_begins = now + WINDOW.mul_f64(slot as f64 / 1000.0);
                let slot_ends = now + WINDOW.mul_f64((slot + 1) as f64 / 1000.0);
                assert!((slot_begins..=slot_ends).contains(turn), "seed {seed}, slot {slot}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_order_is_not_that_of_arrival() {
        let now = Instant::now();
        let turns = Schedule::new(now, WINDOW, Rng::with_seed(7)).turns(1000, now);
        assert!(!turns.is_sorted());
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_late_shares_what_is_left() {
        let now = Instant::now();
        let mut schedule = Schedule::new(now, WINDOW, Rng::with_seed(1));
        tokio::time::advance(WINDOW.mul_f64(0.9)).await;
        let late = Instant::now();
        assert!(schedule.turns(50, late).iter().all(|&turn| turn >= late && turn <= now + WINDOW));
        tokio::time::advance(WINDOW).await;
        let too_late = Instant::now();
        assert!(schedule.turns(50, too_late).iter().all(|&turn| turn == too_late));
    }

    #[tokio::test(start_paused = true)]
    async fn no_window_is_no_wait() {
        let now = Instant::now();
        assert_eq!(Schedule::new(now, Duration::ZERO, Rng::with_seed(1)).turns(2, now), [now, now]);
        assert!(Schedule::new(now, WINDOW, Rng::with_seed(1)).turns(0, now).is_empty());
    }
}
