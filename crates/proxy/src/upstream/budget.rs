//! How many requests may be tried a second time: a share of what there was lately, so that nodes in trouble are not
//! asked twice as much. Workers count requests in cache lines of their own; the rest happens only at second tries.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The budget of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    requests: Box<[PerWorker; SLOTS]>,
    window: Mutex<Window>,
}

#[derive(Debug, Default)]
#[repr(align(128))]
struct PerWorker(AtomicU64);

impl Budget {
    /// Mark a request of worker `slot`.
    pub(crate) fn count(&self, slot: usize) {
        self.requests[slot % SLOTS].0.fetch_add(1, Relaxed);
    }

    /// Takes one more attempt from the budget, if `percent` of the requests of late allow it. Whether they do.
    pub(crate) fn allows(&self, percent: u32) -> bool {
        let requests = self.requests();
        self.window.lock().unwrap_or_else(PoisonError::into_inner).allows(requests, percent)
    }

    /// Lets go of what is long ago. Called once a second.
    pub(crate) fn mark(&self, now: Instant) {
        let requests = self.requests();
        self.window.lock().unwrap_or_else(PoisonError::into_inner).mark(requests, now);
    }

    fn requests(&self) -> u64 {
        self.requests.iter().map(|slot| slot.0.load(Relaxed)).sum()
    }
}

/// What there was, and when. Pure.
#[derive(Debug, Default)]
struct Window {
    retries: u64,
    /// How it stood before the period.
    before: Mark,
    /// How it stood since, the oldest first.
    marks: VecDeque<(Instant, Mark)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    requests: u64,
    retries: u64,
}

impl Window {
    fn allows(&mut self, requests: u64, percent: u32) -> bool {
        let lately = requests.saturating_sub(self.before.requests);
        let allowed = lately.saturating_mul(u64::from(percent)) / 100 + RETRIES_ALWAYS;
        let is_allowed = self.retries - self.before.retries < allowed;
        self.retries += u64::from(is_allowed);
        is_allowed
    }

    fn mark(&mut self, requests: u64, now: Instant) {
        self.marks.push_back((now, Mark { requests, retries: self.retries }));
        while let Some((_, counts)) = self.marks.pop_front_if(|(at, _)| now.duration_since(*at) >= PERIOD) {
            self.before = counts;
        }
    }
}

/// Workers beyond so many share cache lines.
const SLOTS: usize = 16;
const PERIOD: Duration = Duration::from_secs(10);
/// Where there are few requests, a share of them would be none.
const RETRIES_ALWAYS: u64 = 10;

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    #[test]
    fn second_tries_are_a_share_of_the_requests_in_any_period() {
        let mut dice = Rng::with_seed(7);
        let start = Instant::now();
        let mut window = Window::default();
        let (mut requests, mut history) = (0_u64, Vec::new());
        for second in 0..120_u64 {
            let now = start + Duration::from_secs(second);
            window.mark(requests, now);
            // Storms in which everything fails, and quiet times.
            for _ in 0..dice.u64(0..400) {
                requests += 1;
                let tries = dice.u64(0..3);
                let allowed = (0..tries).filter(|_| window.allows(requests, 20)).count();
                history.push((second, allowed as u64));
            }
        }
        for from in 0..110 {
            let within = |(second, _): &&(u64, u64)| (from..from + 10).contains(second);
            let requests = history.iter().filter(within).count() as u64;
            // What was counted in the second before it may be used up in it.
            let before = history.iter().filter(|(second, _)| *second + 1 == from).count() as u64;
            let retries: u64 = history.iter().filter(within).map(|(_, retries)| retries).sum();
            assert!(retries <= (requests + before) / 5 + RETRIES_ALWAYS, "{from}: {retries} of {requests}");
        }
    }

    #[test]
    fn a_few_are_always_allowed_and_the_past_is_let_go() {
        let start = Instant::now();
        let mut window = Window::default();
        let used = |window: &mut Window| (0..100).filter(|_| window.allows(0, 20)).count() as u64;
        assert_eq!(used(&mut window), RETRIES_ALWAYS);
        for second in 0..=10 {
            window.mark(0, start + Duration::from_secs(second));
            let want = if second < 10 { 0 } else { RETRIES_ALWAYS };
            assert_eq!(used(&mut window), want, "second {second}");
        }
    }
}
