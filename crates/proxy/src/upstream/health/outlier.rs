//! Finds the node that is worse than the others: by the share of its requests that fail, and by how long its answers
//! take. Pure; workers count, the control thread sums up and judges.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use config::plan::Outliers;

/// How a node's exchanges went, counted by each worker in a cache line of its own.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Box<[OutcomeCounts; SLOTS]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct OutcomeCounts {
    /// Exchanges that were answered, by how long that took: doubling from one bucket to the next.
    answered: [AtomicU32; BUCKETS],
    /// Exchanges that failed or were answered badly.
    failed: AtomicU32,
}

/// The counts of a node at one moment, or in a period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct OutcomeSum {
    answered: [u32; BUCKETS],
    failed: u32,
}

impl Outcomes {
    /// OutcomeSum an exchange of worker `slot` that went well.
    pub(crate) fn answered(&self, slot: usize, after: Duration) {
        self.0[slot % SLOTS].answered[bucket(after)].fetch_add(1, Relaxed);
    }

    /// Counts one that did not.
    pub(crate) fn failed(&self, slot: usize) {
        self.0[slot % SLOTS].failed.fetch_add(1, Relaxed);
    }

    /// All that was counted until now. Sums wrap; only differences mean something.
    pub(crate) fn sum(&self) -> OutcomeSum {
        let mut sum = OutcomeSum::default();
        for counts in self.0.iter() {
            for (sum, count) in sum.answered.iter_mut().zip(&counts.answered) {
                *sum = sum.wrapping_add(count.load(Relaxed));
            }
            sum.failed = sum.failed.wrapping_add(counts.failed.load(Relaxed));
        }
        sum
    }
}

impl OutcomeSum {
    /// What was counted after `earlier`. Both wrap around.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        Self {
            answered: std::array::from_fn(|at| self.answered[at].wrapping_sub(earlier.answered[at])),
            failed: self.failed.wrapping_sub(earlier.failed),
        }
    }

    fn answers(&self) -> u64 {
        self.answered.iter().map(|&count| u64::from(count)).sum()
    }

    fn requests(&self) -> u64 {
        self.answers() + u64::from(self.failed)
    }

    /// The time that half of the answers took at most, in microseconds; between the borders of a bucket its answers
    /// are taken for evenly spread.
    fn median_us(&self) -> Option<u64> {
        let answers = self.answers();
        let mut left = answers.div_ceil(2);
        for (at, &count) in self.answered.iter().enumerate() {
            let count = u64::from(count);
            if count > 0 && left <= count {
                let (low, high) = (if at == 0 { 0 } else { border_us(at - 1) }, border_us(at));
                return Some(low + (high - low) * left / count);
            }
            left -= count;
        }
        None
    }
}

/// Why each node is far off its pool, if it is: one verdict for each of `counts`, in their order.
pub(crate) fn judge(counts: &[OutcomeSum], rules: &Outliers) -> Vec<Option<&'static str>> {
    let enough = |counts: &OutcomeSum| counts.requests() >= u64::from(rules.requests_min);
    let fails = |counts: &OutcomeSum| {
        rules.error_percent > 0
            && u64::from(counts.failed) * 100 >= u64::from(rules.error_percent) * counts.requests()
    };
    let is_late = |at: usize| {
        let factor = u64::from(rules.latency_factor);
        let medians = |others: &[OutcomeSum]| -> Vec<u64> {
            others.iter().filter(|counts| enough(counts)).filter_map(OutcomeSum::median_us).collect()
        };
        let mut others = medians(&[&counts[..at], &counts[at + 1..]].concat());
        others.sort_unstable();
        // With no other node to compare it with, nothing is late.
        let (Some(&pool), Some(own)) = (others.get(others.len() / 2), counts[at].median_us()) else {
            return false;
        };
        factor > 0 && own >= pool.saturating_mul(factor) && own >= pool + LATE_US_MIN
    };
    (0..counts.len())
        .map(|at| match &counts[at] {
            counts if !enough(counts) => None,
            counts if fails(counts) => Some("too many of its requests fail"),
            _ if is_late(at) => Some("its answers take far longer than the others'"),
            _ => None,
        })
        .collect()
}

fn bucket(after: Duration) -> usize {
    let us = u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
    (0..BUCKETS - 1).find(|&at| us < border_us(at)).unwrap_or(BUCKETS - 1)
}

/// Where a bucket ends, in microseconds: at half a millisecond, and each at twice the one before it, up to 16 s.
fn border_us(bucket: usize) -> u64 {
    500 << bucket
}

/// Workers beyond so many share cache lines.
const SLOTS: usize = 16;
const BUCKETS: usize = 16;
/// Less than so much later is nothing that a client would feel.
const LATE_US_MIN: u64 = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Outliers {
        Outliers {
            failures: 3,
            errors: 0,
            error_percent: 50,
            latency_factor: 4,
            period: Duration::from_secs(10),
            requests_min: 20,
            ejection: Duration::from_secs(10),
            ejection_max: Duration::from_secs(300),
            ejected_percent_max: 50,
        }
    }

    /// `answers` of `ms` each, and `failed` others.
    fn counts(answers: u32, ms: u64, failed: u32) -> OutcomeSum {
        let outcomes = Outcomes::default();
        (0..answers).for_each(|turn| outcomes.answered(turn as usize, Duration::from_millis(ms)));
        (0..failed).for_each(|turn| outcomes.failed(turn as usize));
        outcomes.sum()
    }

    fn verdicts(pool: &[(u32, u64, u32)]) -> Vec<bool> {
        let counts: Vec<_> = pool.iter().map(|&(answers, ms, failed)| counts(answers, ms, failed)).collect();
        judge(&counts, &rules()).iter().map(Option::is_some).collect()
    }

    #[test]
    fn a_node_is_judged_by_the_others() {
        assert_eq!(verdicts(&[(100, 5, 0), (100, 5, 0), (100, 5, 0)]), [false; 3]);
        assert_eq!(verdicts(&[(100, 5, 0), (100, 200, 0), (100, 5, 0)]), [false, true, false]);
        // All of them slow is the app, not a node.
        assert_eq!(verdicts(&[(100, 900, 0), (100, 1000, 0), (100, 800, 0)]), [false; 3]);
        // Several times nearly nothing is still nearly nothing.
        assert_eq!(verdicts(&[(100, 0, 0), (100, 6, 0)]), [false; 2]);
        assert_eq!(verdicts(&[(100, 200, 0)]), [false], "there is nothing to compare it with");
    }

    #[test]
    fn a_node_whose_requests_fail_is_told_from_one_that_has_few() {
        assert_eq!(verdicts(&[(50, 5, 50), (100, 5, 1)]), [true, false]);
        assert_eq!(verdicts(&[(51, 5, 49), (100, 5, 0)]), [false, false]);
        assert_eq!(verdicts(&[(0, 5, 19), (100, 5, 0)]), [false, false], "19 are too few");
    }

    #[test]
    fn the_median_lies_in_its_bucket() {
        for ms in [1, 3, 10, 100, 1000, 5000] {
            let median = counts(99, ms, 0).median_us().expect("answers");
            assert!((ms * 500..=ms * 2000).contains(&median), "{ms} ms: {median} us");
        }
    }
}
