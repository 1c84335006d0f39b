//! How many answers a node has given lately and how long they took, for people who look. Each worker writes counts of its own,
//! so that no cache line is fought over, and nothing has to tick: counts know of what time they are, and old ones are passed
//! over.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::took::{self, Durations, add};

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
    /// Which span of time is under way, from the start of the process on.
    span: AtomicU32,
    /// How many answers there had been when it began, and when the one before it did.
    before: [Before; 2],
    /// Answers to polls, which wait for news and not for the node.
    waits: AtomicU64,
    /// Other answers, by how long they took.
    took: [AtomicU64; BUCKETS],
    /// All of these together.
    nanos: AtomicU64,
    /// Answers of both kinds, by the first digit of their status.
    classes: [AtomicU64; CLASSES],
}

/// How many answers there had been when a span of time began. The numbers wrap around: differences count.
#[derive(Debug)]
struct Before {
    /// Which it is.
    span: AtomicU32,
    waits: AtomicU32,
    took: [AtomicU32; BUCKETS],
}

/// What a node has answered since it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answered {
    /// How long it took from the request to the head of the answer, polls of Engine.IO left out.
    pub took: Durations,
    /// All answers by the first digit of their status; index 0 is unused.
    pub by_class: [u64; CLASSES],
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
    /// What it counts is collected, beside what people see of the last seconds.
    pub(crate) is_collected: bool,
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

    /// The head of an answer came with `status`, `taken` after its request was sent, or after whatever a poll has waited for.
    pub(crate) fn count(&self, worker: WorkerSlot, status: u16, taken: Option<Duration>) {
        let known =
            self.of_workers.get().and_then(|workers| workers.get(worker.slot)?.get()).map(|own| &**own);
        let Some(own) = known.or_else(|| self.counts_of(worker)) else { return };
        if own.span.load(Relaxed) != worker.span {
            own.begin(worker.span);
        }
        match taken {
            Some(taken) => add(&own.took[bucket(taken)], 1),
            None => add(&own.waits, 1),
        }
        if worker.is_collected {
            own.collect(status, taken);
        }
    }

    #[cold]
    fn counts_of(&self, worker: WorkerSlot) -> Option<&WorkerAnswers> {
        let workers = self.of_workers.get_or_init(|| (0..worker.of).map(|_| OnceLock::new()).collect());
        Some(workers.get(worker.slot)?.get_or_init(Box::default))
    }

    /// How many answers there were in this span of time and the one before, and how long they took.
    pub(crate) fn lately(&self, now: Instant) -> Lately {
        let number = span_at(now);
        let (mut count, mut took) = (0, [0_u32; BUCKETS]);
        for (worker, before) in self.workers().filter_map(|worker| Some((worker, worker.before(number)?))) {
            let since = |now: &AtomicU64, before: &AtomicU32| {
                (now.load(Relaxed) as u32).wrapping_sub(before.load(Relaxed))
            };
            count += u64::from(since(&worker.waits, &before.waits));
            for (all, (now, before)) in took.iter_mut().zip(worker.took.iter().zip(&before.took)) {
                *all = all.saturating_add(since(now, before));
            }
        }
        let timed: u64 = took.iter().copied().map(u64::from).sum();
        let passed = now.saturating_duration_since(self.born.max(begin_of(number.saturating_sub(1))));
        // One answer in the first moment is no flood.
        let per_second = (count + timed) as f64 / passed.as_secs_f64().max(1.0);
        Lately { per_second, took: if timed > 0 { took.to_vec() } else { Vec::new() } }
    }

    /// All answers since the start, of all workers.
    pub(crate) fn all(&self) -> Answered {
        let mut all = Answered::default();
        for worker in self.workers() {
            for (bucket, count) in worker.took.iter().enumerate() {
                all.took.counts[coarse(bucket)] += count.load(Relaxed);
            }
            all.took.nanos += worker.nanos.load(Relaxed);
            for (sum, count) in all.by_class.iter_mut().zip(&worker.classes) {
                *sum += count.load(Relaxed);
            }
        }
        all
    }

    fn workers(&self) -> impl Iterator<Item = &WorkerAnswers> {
        self.of_workers.get().into_iter().flatten().filter_map(|worker| worker.get().map(|own| &**own))
    }
}

impl Answered {
    /// Adds what another node has answered.
    pub fn add(&mut self, other: &Self) {
        self.took.add(&other.took);
        self.by_class.iter_mut().zip(other.by_class).for_each(|(sum, more)| *sum += more);
    }
}

impl Default for WorkerAnswers {
    fn default() -> Self {
        Self {
            span: AtomicU32::new(NEVER),
            before: std::array::from_fn(|_| Before::default()),
            waits: AtomicU64::new(0),
            took: std::array::from_fn(|_| AtomicU64::new(0)),
            nanos: AtomicU64::new(0),
            classes: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Default for Before {
    fn default() -> Self {
        let took = std::array::from_fn(|_| AtomicU32::new(0));
        Self { span: AtomicU32::new(NEVER), waits: AtomicU32::new(0), took }
    }
}

impl WorkerAnswers {
    /// Apart, because it is for those who collect.
    #[inline(never)]
    fn collect(&self, status: u16, taken: Option<Duration>) {
        add(&self.nanos, taken.map_or(0, took::nanos));
        add(&self.classes[usize::from(status / 100).min(CLASSES - 1)], 1);
    }

    /// Notes where a span of time begins. That of the one before stays, and with it what somebody reads meanwhile.
    #[cold]
    fn begin(&self, span: u32) {
        let before = &self.before[span as usize % 2];
        before.span.store(NEVER, Relaxed);
        before.waits.store(self.waits.load(Relaxed) as u32, Relaxed);
        for (before, now) in before.took.iter().zip(&self.took) {
            before.store(now.load(Relaxed) as u32, Relaxed);
        }
        before.span.store(span, Relaxed);
        self.span.store(span, Relaxed);
    }

    /// What this worker had counted before the first span that counts as lately while `span` is under way, if any
    /// counts.
    fn before(&self, span: u32) -> Option<&Before> {
        [span.wrapping_sub(1), span]
            .into_iter()
            .map(|span| (span, &self.before[span as usize % 2]))
            .find_map(|(span, before)| (before.span.load(Relaxed) == span).then_some(before))
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

/// Four for each doubling: its number is that of the leading bit and of the two behind it.
fn bucket(taken: Duration) -> usize {
    let fixed = took::fixed(taken).clamp(1 << FIRST_BIT, (1 << LAST_BIT) - 1);
    let bits = fixed.ilog2();
    let quarter = (fixed >> (bits - 2)) & 3;
    (bits - FIRST_BIT) as usize * 4 + quarter as usize
}

/// Of those that are counted there.
fn middle(bucket: usize) -> Duration {
    let bits = FIRST_BIT + (bucket / 4) as u32;
    let quarter = (1_u64 << bits) / 4;
    let fixed = (1 << bits) + quarter * (bucket as u64 % 4) + quarter / 2;
    Duration::from_secs_f64(fixed as f64 / (1_u64 << 32) as f64)
}

/// The bucket of [`Durations`] that holds it.
fn coarse(bucket: usize) -> usize {
    (bucket / 4 + 1).saturating_sub((took::FIRST_BIT - FIRST_BIT) as usize).min(took::BUCKETS - 1)
}

/// From here on time has spans.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Somebody who looks sees so long, and up to so long before.
const SPAN_S: u64 = 8;
const SPAN: Duration = Duration::from_secs(SPAN_S);
/// What is faster is counted with this, and what is slower than two minutes with what takes two minutes.
const FIRST_BIT: u32 = 18;
const LAST_BIT: u32 = 39;
const BUCKETS: usize = (LAST_BIT - FIRST_BIT) as usize * 4;
/// By the first digit of a status.
const CLASSES: usize = 6;
/// No span for some thousand years.
const NEVER: u32 = u32::MAX - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn worker(slot: usize, now: Instant) -> WorkerSlot {
        WorkerSlot { slot, of: 2, span: SpanClock::new(now).at(now), is_collected: true }
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
            answers.count(worker(number % 2, at(1)), 200, Some(Duration::from_millis(3)));
        }
        answers.count(worker(0, at(1)), 200, Some(Duration::from_millis(700)));
        answers.count(worker(1, at(1)), 200, Some(Duration::from_secs(9)));
        answers.count(worker(0, at(1)), 200, None);
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
        answers.count(worker(0, at(44)), 503, Some(Duration::from_millis(1)));
        let all = answers.all();
        assert_eq!((all.took.count(), all.by_class), (101, [0, 0, 101, 0, 0, 1]));
        assert_eq!((all.took.counts[2], all.took.counts[10], all.took.counts[14]), (98, 1, 1));
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
            answers.count(worker(0, born), 200, Some(Duration::from_millis(taken)));
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
            let is_in_range = (66..127_000_000).contains(&micros);
            let found = middle(bucket).as_micros() as f64;
            assert!(!is_in_range || is_near(found, micros as f64), "{micros} {found}");
        }
        assert_eq!(last, BUCKETS - 1);
    }
}
