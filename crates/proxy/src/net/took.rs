//! How durations are put into buckets, for counts of how long things take. The borders are powers of two of a second, so that
//! a bucket is found by the place of a bit, and 250 ms, 500 ms and 1 s are borders.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// A count for each span of time, of one writer.
#[derive(Debug)]
pub(crate) struct Tooks {
    counts: [AtomicU64; BUCKETS],
    nanos: AtomicU64,
}

/// So many durations, by how long they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Durations {
    /// Those of at most [`DURATIONS`] each, and last those that were longer.
    pub counts: [u64; BUCKETS],
    /// All of them together, in nanoseconds.
    pub nanos: u64,
}

impl Tooks {
    pub(crate) fn count(&self, took: Duration) {
        add(&self.counts[bucket(took)], 1);
        add(&self.nanos, nanos(took));
    }

    pub(crate) fn read(&self) -> Durations {
        Durations {
            counts: std::array::from_fn(|bucket| self.counts[bucket].load(Relaxed)),
            nanos: self.nanos.load(Relaxed),
        }
    }
}

impl Default for Tooks {
    fn default() -> Self {
        Self { counts: std::array::from_fn(|_| AtomicU64::new(0)), nanos: AtomicU64::new(0) }
    }
}

impl Durations {
    /// Adds what somebody else has counted.
    pub fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self.nanos += other.nanos;
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// In units of 2⁻³² s, so that the place of its first bit is its bucket.
pub(crate) fn fixed(took: Duration) -> u64 {
    let seconds = took.as_secs().min(SECONDS_MAX);
    seconds << 32 | (u64::from(took.subsec_nanos()) * FIXED_A_NANO) >> 32
}

pub(crate) fn nanos(took: Duration) -> u64 {
    took.as_secs().min(SECONDS_MAX) * 1_000_000_000 + u64::from(took.subsec_nanos())
}

fn bucket(took: Duration) -> usize {
    ((fixed(took) | 1 << (FIRST_BIT - 1)).ilog2() - (FIRST_BIT - 1)).min(BUCKETS as u32 - 1) as usize
}

/// Only one thread writes what this adds to, so that it needs no bus lock.
pub(crate) fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed) + more, Relaxed);
}

/// The upper borders of the buckets but the last, in seconds: 2⁻¹⁰, about a millisecond, to 64.
pub const DURATIONS: [f64; BUCKETS - 1] = {
    let mut borders = [0.0; BUCKETS - 1];
    let mut at = 0;
    while at < borders.len() {
        borders[at] = (1_u64 << at) as f64 / (1_u64 << (32 - FIRST_BIT)) as f64;
        at += 1;
    }
    borders
};

/// From 2⁻¹⁰ s on there is a bucket for each doubling.
pub(crate) const FIRST_BIT: u32 = 22;
/// The last one takes what is longer than 64 s.
pub(crate) const BUCKETS: usize = 18;
/// 2⁶⁴ through the nanoseconds of a second: with 32 of its bits gone it makes 2⁻³² s of nanoseconds.
const FIXED_A_NANO: u64 = 18_446_744_073;
/// Beyond any time that is measured, and so that no sum overflows soon.
const SECONDS_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_counted_below_its_border() {
        assert_eq!(
            (DURATIONS[0], DURATIONS[8], DURATIONS[10], DURATIONS[16]),
            (1.0 / 1024.0, 0.25, 1.0, 64.0)
        );
        for micros in (0..2_000).chain((2_000..100_000_000).step_by(9_973)).chain([u64::MAX / 2]) {
            let took = Duration::from_micros(micros);
            let bucket = bucket(took);
            let seconds = took.as_secs_f64();
            assert!(bucket == BUCKETS - 1 || seconds < DURATIONS[bucket] + 1e-6, "{micros} {bucket}");
            assert!(bucket == 0 || seconds > DURATIONS[bucket - 1] - 1e-6, "{micros} {bucket}");
        }
    }

    #[test]
    fn sums_are_exact() {
        let tooks = Tooks::default();
        [0, 1, 999_999_999, 64_000_000_001].into_iter().for_each(|ns| tooks.count(Duration::from_nanos(ns)));
        let mut read = tooks.read();
        assert_eq!((read.count(), read.nanos), (4, 65_000_000_001));
        read.add(&read.clone());
        assert_eq!((read.count(), read.nanos), (8, 130_000_000_002));
    }
}
