//! A worker's own part of the state: what each of its requests takes from and gives back to, without a lock.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::net::buffers::Buffers;
use crate::net::clock::Clock;
use crate::net::encoder::EncoderPlaces;
use crate::net::file_limit::files_max;
use crate::net::pace::{Lived, Pace};
use crate::net::seats::Seats;
use crate::net::shared_rates;
use crate::net::splice::{SplicePipes, pipes_max};
use crate::observe::access::Lines;
use crate::observe::counters::Counters;
use crate::state::copies::Copies;
use crate::state::open_files::{OpenFiles, kept_max};
use crate::state::shared::{Shared, Snapshot};
use crate::upstream::answers::{SpanClock, WorkerSlot};
use crate::upstream::balance::Cursors;
use crate::upstream::pool::Pool;

/// A snapshot as a request holds it: counted by the worker alone, whatever other workers do.
pub(crate) type Current = Rc<Arc<Snapshot>>;

/// The worker's own handle on the newest snapshot, so that a request takes it without touching another core's memory.
#[derive(Debug)]
struct Newest {
    /// Knows by a look at one pointer whether there is another one.
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    current: Current,
}

/// What a worker has for the requests that it serves, and for its tunnels: nothing in it is shared with another worker but
/// what [`Shared`] holds.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) buffers: Buffers,
    pub(crate) pipes: SplicePipes,
    pub(crate) encoders: EncoderPlaces,
    pub(crate) files: OpenFiles,
    pub(crate) pool: Pool,
    pub(crate) cursors: Cursors,
    pub(crate) lines: Lines,
    pub(crate) seats: Seats,
    /// Its connection to the Redis of limits that are shared.
    pub(crate) redis: shared_rates::Own,
    pub(crate) counters: Arc<Counters>,
    pub(crate) copies: Rc<Copies>,
    /// Its place among the workers.
    pub(crate) slot: usize,
    spans: SpanClock,
    newest: RefCell<Newest>,
    /// So many requests wait for the first instance of an app.
    pub(crate) await_instances: Cell<usize>,
    /// So many wait for a node that can be reached.
    pub(crate) await_nodes: Cell<u32>,
    leaving: Notify,
    /// How slow clients may be, by the plan in force.
    pub(crate) pace: Cell<Pace>,
    pub(crate) lived: Lived,
}

impl Local {
    pub(crate) fn new(shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        let mut cache = Cache::new(shared.snapshot.clone());
        let current = Rc::new(cache.load().clone());
        let limits = current.plan.limits;
        let pace = Pace::of(&limits, &current.plan.timeouts);
        let slot = shared.counters.iter().position(|known| Arc::ptr_eq(known, &counters)).unwrap_or_default();
        let clock = Rc::new(Clock::new());
        Self {
            slot,
            spans: SpanClock::new(Instant::now()),
            clock: clock.clone(),
            buffers: Buffers::new(limits.buffer_bytes, shared.memory.clone()),
            pipes: SplicePipes::new(pipes_max(files_max(), shared.counters.len())),
            encoders: EncoderPlaces::default(),
            seats: Seats::default(),
            redis: shared_rates::Own::default(),
            counters: counters.clone(),
            copies: Rc::new(Copies::new(counters.clone())),
            files: OpenFiles::new(kept_max(files_max(), shared.counters.len())),
            pool: Pool::new(limits.origin_idle_max),
            cursors: Cursors::default(),
            lines: Lines::new(shared.log.clone(), counters, clock),
            shared,
            newest: RefCell::new(Newest { cache, current }),
            await_instances: Cell::new(0),
            await_nodes: Cell::new(0),
            leaving: Notify::new(),
            pace: Cell::new(pace),
            lived: Lived::since(Instant::now()),
        }
    }

    /// Which of the workers it is, and the span of time that `now` is in, for whoever counts something of a node.
    pub(crate) fn as_one_of(&self, now: Instant) -> WorkerSlot {
        let (of, is_collected) = (self.shared.counters.len(), self.counters.routes.is_some());
        WorkerSlot { slot: self.slot, of, span: self.spans.at(now), is_collected }
    }

    /// Everything as it is now. A request asks once.
    pub(crate) fn snapshot(&self) -> Current {
        let Newest { cache, current } = &mut *self.newest.borrow_mut();
        let newest = cache.load();
        if !Arc::ptr_eq(current, newest) {
            self.buffers.resize(newest.plan.limits.buffer_bytes);
            self.pool.resize(newest.plan.limits.origin_idle_max);
            self.pace.set(Pace::of(&newest.plan.limits, &newest.plan.timeouts));
            *current = Rc::new(newest.clone());
        }
        current.clone()
    }

    pub(crate) fn is_newest(&self, snapshot: &Current) -> bool {
        Rc::ptr_eq(snapshot, &self.snapshot())
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.drain.is_leaving()
    }

    /// Ready, and its task woken, when the proxy begins to leave.
    pub(crate) fn leaving(&self) -> Notified<'_> {
        self.leaving.notified()
    }

    /// For answers of ours, which no upstream has a timeout for.
    pub(crate) fn body_timeout(&self) -> Duration {
        self.snapshot().plan.timeouts.body
    }

    /// Wakes all who wait for [`Local::leaving`].
    pub(crate) fn tell_leaving(&self) {
        self.leaving.notify_waiters();
    }
}
