//! How many answers a node has given lately and how long they took, for people who look. Each worker writes counts of its own,
//! so that no cache line is fought over, and nothing has to tick: counts know of what time they are, and old ones are passed
//! over.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

/// What a node answers.
#[derive(Debug)]
pub(crate) struct Answers {
    /// For each worker; made when the first answer comes.
    of_workers: OnceLock<Box<[OnceLock<Box<WorkerAnswers>>]>>,
    born: Instant,
}

/// One worker's counts, which only it writes.
#[derive(Debug)]
#[repr(align(128))]
struct WorkerAnswers {
    /// The span that is under way, and the one before it.
    spans: [Span; 2],
}

/// What came in one span of time.
#[derive(Debug)]
struct Span {
    /// Which it is, from the start of the process on.
    number: AtomicU32,
    /// Answers to polls, which wait for news and not for the node.
    waits: AtomicU32,
    /// Other answers, by how long they took.
    took: [AtomicU32; BUCKETS],
}

/// What nodes have answered in the last seconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Lately {
    /// Answers in a second.
    pub per_second: f64,
    /// Those that were timed, by how long they took; empty if there was none.
    took: Vec<u32>,
}

/// Which worker has something to say, among how many, and in which span of time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerSlot {
    pub(crate) slot: usize,
    pub(crate) of: usize,
    pub(crate) span: u32,
}

/// A worker's own look at which span of time it is, and until when: to count the seconds at each answer costs more than all else
/// here.
#[derive(Debug)]
pub(crate) struct SpanClock(Cell<(u32, Instant)>);

impl SpanClock {
    pub(crate) fn new(now: Instant) -> Self {
        Self(Cell::new((NEVER, now)))
    }

    pub(crate) fn at(&self, now: Instant) -> u32 {
        let (number, until) = self.0.get();
        if now < until { number } else { self.step(now) }
    }

    #[cold]
    fn step(&self, now: Instant) -> u32 {
        let number = span_at(now);
        self.0.set((number, begin_of(number + 1)));
        number
    }
}

fn span_at(now: Instant) -> u32 {
    (now.saturating_duration_since(*EPOCH).as_secs() / SPAN_S) as u32
}

fn begin_of(span: u32) -> Instant {
    *EPOCH + SPAN * span
}

impl Answers {
    pub(crate) fn new(now: Instant) -> Self {
        Self { of_workers: OnceLock::new(), born: now }
    }

    /// The head of an answer came, `taken` after its request was sent, or after whatever a poll has waited for.
    pub(crate) fn count(&self, worker: WorkerSlot, taken: Option<Duration>) {
        let known =
            self.of_workers.get().and_then(|workers| workers.get(worker.slot)?.get()).map(|own| &**own);
        let Some(own) = known.or_else(|| self.counts_of(worker)) else { return };
        let span = &own.spans[worker.span as usize % 2];
        if span.number.load(Relaxed) != worker.span {
            span.begin(worker.span);
        }
        add_one(taken.map_or(&span.waits, |taken| &span.took[bucket(taken)]));
    }

    #[cold]
    fn counts_of(&self, worker: WorkerSlot) -> Option<&WorkerAnswers> {
        let workers = self.of_workers.get_or_init(|| (0..worker.of).map(|_| OnceLock::new()).collect());
        Some(workers.get(worker.slot)?.get_or_init(Box::default))
    }

    /// Returns what there was in this span of time and the one before.
    pub(crate) fn lately(&self, now: Instant) -> Lately {
        let number = span_at(now);
        let workers = self.of_workers.get().into_iter().flatten().filter_map(OnceLock::get);
        let is_recent = |span: &&Span| number.wrapping_sub(span.number.load(Relaxed)) <= 1;
        let (mut count, mut took) = (0, [0_u32; BUCKETS]);
        for span in workers.flat_map(|counts| &counts.spans).filter(is_recent) {
            count += u64::from(span.waits.load(Relaxed));
            for (all, of_span) in took.iter_mut().zip(&span.took) {
                *all = all.saturating_add(of_span.load(Relaxed));
            }
        }
        let timed: u64 = took.iter().copied().map(u64::from).sum();
        let passed = now.saturating_duration_since(self.born.max(begin_of(number.saturating_sub(1))));
        // One answer in the first moment is no flood.
        let per_second = (count + timed) as f64 / passed.as_secs_f64().max(1.0);
        Lately { per_second, took: if timed > 0 { took.to_vec() } else { Vec::new() } }
    }
}

impl Default for WorkerAnswers {
    fn default() -> Self {
        Self { spans: std::array::from_fn(|_| Span::default()) }
    }
}

impl Default for Span {
    fn default() -> Self {
        let took = std::array::from_fn(|_| AtomicU32::new(0));
        Self { number: AtomicU32::new(NEVER), waits: AtomicU32::new(0), took }
    }
}

impl Span {
    /// Whoever reads meanwhile sees a part of it, once.
    #[cold]
    fn begin(&self, number: u32) {
        self.waits.store(0, Relaxed);
        self.took.iter().for_each(|count| count.store(0, Relaxed));
        self.number.store(number, Relaxed);
    }
}

impl Lately {
    /// Adds what other nodes have answered.
    pub fn add(&mut self, other: &Self) {
        self.per_second += other.per_second;
        if self.took.is_empty() {
            self.took.clone_from(&other.took);
            return;
        }
        for (count, more) in self.took.iter_mut().zip(&other.took) {
            *count = count.saturating_add(*more);
        }
    }

    /// Within what time so many of a hundred were answered, to a fifth; `None` if there was none. Polls of Engine.IO are not
    /// among them.
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let all: u64 = self.took.iter().copied().map(u64::from).sum();
        let rank = ((all as f64 * percent / 100.0).ceil() as u64).max(1);
        let mut before = 0;
        let found = self.took.iter().position(|count| {
            before += u64::from(*count);
            before >= rank
        });
        found.map(middle)
    }
}

/// Only one thread writes what this adds to, so that it needs no bus lock.
fn add_one(count: &AtomicU32) {
    count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
}

/// Four for each doubling: its number is that of the leading bit and of the two behind it.
fn bucket(taken: Duration) -> usize {
    let nanos = taken.as_secs().min(LAST_S) * 1_000_000_000 + u64::from(taken.subsec_nanos());
    let nanos = nanos.max(FIRST_NS);
    let bits = nanos.ilog2();
    let quarter = (nanos >> (bits - 2)) & 3;
    (bits - FIRST_NS.ilog2()) as usize * 4 + quarter as usize
}

/// Of those that are counted there.
fn middle(bucket: usize) -> Duration {
    let bits = FIRST_NS.ilog2() + (bucket / 4) as u32;
    let quarter = (1_u64 << bits) / 4;
    Duration::from_nanos((1 << bits) + quarter * (bucket as u64 % 4) + quarter / 2)
}

/// From here on time has spans.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Somebody who looks sees so long, and up to so long before.
const SPAN_S: u64 = 8;
const SPAN: Duration = Duration::from_secs(SPAN_S);
/// What is faster is counted with this, and what is slower than two minutes with what takes two minutes.
const FIRST_NS: u64 = 1 << 16;
const LAST_S: u64 = 136;
const BUCKETS: usize = (37 - 16) * 4;
/// No span for some thousand years.
const NEVER: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(slot: usize, now: Instant) -> WorkerSlot {
        WorkerSlot { slot, of: 2, span: SpanClock::new(now).at(now) }
    }

    fn ms(lately: &Lately, percent: f64) -> f64 {
        lately.percentile(percent).map_or(-1.0, |taken| taken.as_secs_f64() * 1e3)
    }

    fn is_near(found: f64, wanted: f64) -> bool {
        (found - wanted).abs() <= wanted / 5.0
    }

    #[test]
    fn what_was_answered_lately_is_known_and_forgotten() {
        let born = *EPOCH;
        let answers = Answers::new(born);
        assert_eq!(answers.lately(born), Lately::default());
        let at = |seconds: u64| born + Duration::from_secs(seconds);
        for number in 0..98 {
            answers.count(worker(number % 2, at(1)), Some(Duration::from_millis(3)));
        }
        answers.count(worker(0, at(1)), Some(Duration::from_millis(700)));
        answers.count(worker(1, at(1)), Some(Duration::from_secs(9)));
        answers.count(worker(0, at(1)), None);
        // 101 in two seconds.
        let lately = answers.lately(at(2));
        assert!(is_near(lately.per_second, 50.5), "{lately:?}");
        let seen = [50.0, 98.0, 99.0, 100.0].map(|percent| ms(&lately, percent));
        for (found, wanted) in seen.into_iter().zip([3.0, 3.0, 700.0, 9000.0]) {
            assert!(is_near(found, wanted), "{seen:?}");
        }
        // In the span after it they count, over all that has passed; then no more.
        assert!(is_near(answers.lately(at(15)).per_second, 101.0 / 15.0));
        assert_eq!(answers.lately(at(16)), Lately::default());
        answers.count(worker(0, at(44)), Some(Duration::from_millis(1)));
        let lately = answers.lately(at(44));
        assert!(is_near(lately.per_second, 1.0 / 12.0) && is_near(ms(&lately, 99.0), 1.0), "{lately:?}");
    }

    #[test]
    fn a_worker_knows_which_span_it_is() {
        let clock = SpanClock::new(*EPOCH);
        for seconds in [0, 1, 7, 8, 9, 15, 16, 400, 401] {
            let now = *EPOCH + Duration::from_secs(seconds);
            assert_eq!(u64::from(clock.at(now)), seconds / SPAN_S, "{seconds}");
        }
    }

    #[test]
    fn nodes_are_added_up() {
        let (born, mut all) = (Instant::now(), Lately::default());
        for taken in [1, 40] {
            let answers = Answers::new(born);
            answers.count(worker(0, born), Some(Duration::from_millis(taken)));
            all.add(&answers.lately(born));
        }
        all.add(&Lately::default());
        assert!(is_near(all.per_second, 2.0), "{all:?}");
        assert!(is_near(ms(&all, 50.0), 1.0) && is_near(ms(&all, 99.0), 40.0), "{all:?}");
    }

    #[test]
    fn every_time_has_its_bucket() {
        let mut last = 0;
        for micros in (0..100_000).chain((100_000..200_000_000).step_by(9_973)) {
            let taken = Duration::from_micros(micros);
            let bucket = bucket(taken);
            assert!(bucket < BUCKETS && (bucket == last || bucket == last + 1), "{micros}");
            last = bucket;
            let is_in_range = (66..136_000_000).contains(&micros);
            let found = middle(bucket).as_micros() as f64;
            assert!(!is_in_range || is_near(found, micros as f64), "{micros} {found}");
        }
        assert_eq!(last, BUCKETS - 1);
    }
}
