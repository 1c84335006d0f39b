//! How much keys have had of what is limited, in a table of a size that never changes. A key is a number; whose it is nobody
//! here knows.
//!
//! Rates are counted by GCRA (ITU-T I.371): one number for each key, the moment at which it would be even with its rate. The
//! table is cut into shards, each with a lock of its own, and those into sets of a few entries. A key that comes into a full
//! set takes the place of the one that has asked for least, so that somebody with a million addresses cannot make the table
//! forget those who ask for much. An entry that counts something under way is never given away.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The table.
#[derive(Debug)]
pub(crate) struct Rates {
    /// From which times count.
    start: Instant,
    /// Keyed anew in each process, so that nobody can choose what falls on the same entry.
    hasher: RandomState,
    /// Made when the first key comes: most proxies limit nothing.
    shards: [OnceLock<Mutex<Shard>>; SHARDS],
}

/// A key, hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateKey(u64);

/// How often is too often.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    /// Between two that come evenly.
    pub(crate) interval: Duration,
    /// So many more may come at once.
    pub(crate) burst: u32,
}

/// One that is under way. It is not any more when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    rates: Arc<Rates>,
    key: RateKey,
}

#[derive(Debug)]
struct Shard {
    sets: Box<[Set]>,
    /// The latest moment at which something was counted here. Each worker reads the time when it wakes up, and one that has done so
    /// before another must not find a key further ahead than it is.
    now: u64,
}

type Set = [Entry; WAYS];

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    /// 0 is nobody's.
    key: u64,
    /// In nanoseconds since the start.
    even_at: u64,
    under_way: u32,
}

impl Rates {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| OnceLock::new()),
        })
    }

    pub(crate) fn key(&self, of: impl Hash) -> RateKey {
        RateKey(self.hasher.hash_one(of).max(1))
    }

    /// Counts one more, and returns how far ahead of its rate the key is with it.
    ///
    /// # Errors
    /// After what time it may come again. It is not counted then.
    pub(crate) fn take(
        &self,
        key: RateKey,
        allowance: &Allowance,
        now: Instant,
    ) -> Result<Duration, Duration> {
        let interval = nanoseconds(allowance.interval);
        let most = interval.saturating_mul(allowance.burst.into());
        let now = nanoseconds(now.saturating_duration_since(self.start));
        let mut shard = self.shard(key);
        let now = now.max(shard.now);
        shard.now = now;
        // Where all are under way, one more is not looked after.
        let Some(entry) = entry(&mut shard.sets, key) else { return Ok(Duration::ZERO) };
        let ahead = entry.even_at.saturating_sub(now);
        if ahead > most {
            return Err(Duration::from_nanos(ahead - most));
        }
        entry.even_at = now + ahead + interval;
        Ok(Duration::from_nanos(ahead))
    }

    /// Takes back one that was counted.
    pub(crate) fn give_back(&self, key: RateKey, allowance: &Allowance) {
        let mut shard = self.shard(key);
        if let Some(entry) = set(&mut shard.sets, key).iter_mut().find(|entry| entry.key == key.0) {
            entry.even_at = entry.even_at.saturating_sub(nanoseconds(allowance.interval));
        }
    }

    /// Holds one of `most` that may be under way at once, if one is free.
    pub(crate) fn hold(self: &Arc<Self>, key: RateKey, most: u32) -> Option<Held> {
        let mut shard = self.shard(key);
        match entry(&mut shard.sets, key) {
            Some(entry) if entry.under_way >= most => return None,
            Some(entry) => entry.under_way += 1,
            // As above; that it is dropped without an entry does no harm.
            None => {}
        }
        drop(shard);
        Some(Held { rates: self.clone(), key })
    }

    fn shard(&self, RateKey(key): RateKey) -> MutexGuard<'_, Shard> {
        let sets = || vec![Set::default(); SETS].into_boxed_slice();
        let new = || Mutex::new(Shard { sets: sets(), now: 0 });
        let shard = self.shards[(key >> (u64::BITS - SHARDS.ilog2())) as usize].get_or_init(new);
        // Nothing in there is left half done by a panic.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut shard = self.rates.shard(self.key);
        if let Some(entry) = set(&mut shard.sets, self.key).iter_mut().find(|entry| entry.key == self.key.0) {
            entry.under_way = entry.under_way.saturating_sub(1);
        }
    }
}

fn set(sets: &mut [Set], RateKey(key): RateKey) -> &mut Set {
    &mut sets[key as usize % SETS]
}

/// The entry of a key, new where it had none; `None` where there is no room for one.
fn entry(sets: &mut [Set], key: RateKey) -> Option<&mut Entry> {
    let set = set(sets, key);
    let known = set.iter().position(|entry| entry.key == key.0);
    let at = known.or_else(|| {
        let free = set.iter().enumerate().filter(|(_, entry)| entry.under_way == 0);
        let (at, _) = free.min_by_key(|(_, entry)| entry.even_at)?;
        set[at] = Entry { key: key.0, ..Entry::default() };
        Some(at)
    })?;
    Some(&mut set[at])
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

/// So that workers seldom wait for each other.
const SHARDS: usize = 64;
/// Of a shard. With all of them a quarter of a million keys are known at once, in 6 MiB.
const SETS: usize = 512;
const WAYS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const TEN_A_SECOND: Allowance = Allowance { interval: Duration::from_millis(100), burst: 5 };

    /// How many of `tries` are let pass.
    fn passed(rates: &Rates, key: RateKey, allowance: &Allowance, tries: usize) -> usize {
        (0..tries).filter(|_| rates.take(key, allowance, Instant::now()).is_ok()).count()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_comes_at_once_and_the_others_with_the_rate() {
        let rates = Rates::new();
        let key = rates.key("a");
        assert_eq!(passed(&rates, key, &TEN_A_SECOND, 50), 6);
        assert_eq!(rates.take(key, &TEN_A_SECOND, Instant::now()), Err(Duration::from_millis(100)));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(passed(&rates, key, &TEN_A_SECOND, 50), 2);
        assert_eq!(rates.take(key, &TEN_A_SECOND, Instant::now()), Err(Duration::from_millis(50)));
        assert_eq!(passed(&rates, rates.key("b"), &TEN_A_SECOND, 50), 6);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(passed(&rates, key, &TEN_A_SECOND, 50), 6);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_has_read_the_time_earlier_refuses_no_burst() {
        let (rates, earlier) = (Rates::new(), Instant::now());
        let key = rates.key("a");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(passed(&rates, key, &TEN_A_SECOND, 5), 5);
        assert!(rates.take(key, &TEN_A_SECOND, earlier).is_ok());
        assert_eq!(rates.take(key, &TEN_A_SECOND, earlier), Err(Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn how_far_ahead_one_is_says_how_long_it_would_wait() {
        let rates = Rates::new();
        let key = rates.key("a");
        for ahead in 0..=5 {
            assert_eq!(
                rates.take(key, &TEN_A_SECOND, Instant::now()),
                Ok(Duration::from_millis(100) * ahead)
            );
        }
        rates.give_back(key, &TEN_A_SECOND);
        assert_eq!(passed(&rates, key, &TEN_A_SECOND, 50), 1);
    }

    #[test]
    fn what_is_under_way_is_bounded_until_it_ends() {
        let rates = Rates::new();
        let key = rates.key("a");
        let one = rates.hold(key, 2).unwrap();
        let two = rates.hold(key, 2).unwrap();
        assert!(rates.hold(key, 2).is_none());
        assert!(rates.hold(rates.key("b"), 2).is_some());
        drop(one);
        let three = rates.hold(key, 2).unwrap();
        assert!(rates.hold(key, 2).is_none());
        drop((two, three));
        assert!(rates.hold(key, 1).is_some());
    }

    /// A million keys come by, and neither who asks for too much nor what is under way is forgotten.
    #[tokio::test(start_paused = true)]
    async fn a_million_keys_push_nobody_out_who_asks_for_much() {
        let rates = Rates::new();
        let much = rates.key("much");
        assert_eq!(passed(&rates, much, &TEN_A_SECOND, 50), 6);
        let held = rates.hold(rates.key("held"), 1).unwrap();
        for number in 0..1_000_000_u32 {
            assert!(rates.take(rates.key(number), &TEN_A_SECOND, Instant::now()).is_ok());
        }
        assert_eq!(passed(&rates, much, &TEN_A_SECOND, 50), 0);
        assert!(rates.hold(rates.key("held"), 1).is_none());
        drop(held);
        assert!(rates.hold(rates.key("held"), 1).is_some());
        let bytes: usize = rates.shards.iter().map(|_| SETS * size_of::<Set>()).sum();
        assert_eq!(bytes, 6 << 20);
    }
}
