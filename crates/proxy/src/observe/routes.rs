//! What happens on each route, as one worker counts it, and the numbers by which routes are counted. A route keeps its number
//! over reloads by what it is called, for as long as the process lives.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use config::plan::Plan;

use crate::net::took::{Durations, Tooks, add};
use crate::observe::record::Record;
use crate::upstream::route_number::RouteNumber;

/// A route as it is counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RouteName {
    /// Its host and path as the file has them.
    pub route: String,
    /// Whose nodes answer; empty if none do.
    pub upstream: String,
}

/// All routes that were counted since the start, by their numbers.
#[derive(Debug)]
pub(crate) struct RouteNames(Mutex<Known>);

#[derive(Debug)]
struct Known {
    names: Vec<RouteName>,
    numbers: HashMap<RouteName, RouteNumber>,
}

impl RouteNames {
    /// Returns the number of each route of a plan, in its order.
    pub(crate) fn numbers(&self, plan: &Plan) -> Arc<[RouteNumber]> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen: HashMap<String, usize> = HashMap::new();
        let numbers = plan.routes.iter().map(|route| {
            let mut called = route.called();
            let alike = seen.entry(called.clone()).or_default();
            *alike += 1;
            // Such as hold for other methods, header lines or listens.
            if *alike > 1 {
                called += &format!(" #{alike}");
            }
            let upstream = route.action.upstream().map(|upstream| plan.upstreams[upstream.0].name.clone());
            known.number(RouteName { route: called, upstream: upstream.unwrap_or_default() })
        });
        numbers.collect()
    }

    /// Returns what was counted by any of these, route by route.
    pub(crate) fn read(&self, counted: &[&RouteCounters]) -> Vec<(RouteName, RouteCounts)> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner).names.clone();
        let mut all: Vec<_> = names.into_iter().map(|name| (name, RouteCounts::default())).collect();
        for counted in counted {
            for ((_, sum), counts) in all.iter_mut().zip(&*counted.0) {
                counts.get().into_iter().for_each(|counts| sum.add(&counts.read()));
            }
        }
        all.retain(|(_, counts)| *counts != RouteCounts::default());
        all
    }
}

impl Default for RouteNames {
    fn default() -> Self {
        let [none, others] =
            ["none", "others"].map(|route| RouteName { route: route.to_owned(), upstream: String::new() });
        Self(Mutex::new(Known { names: vec![none, others], numbers: HashMap::new() }))
    }
}

impl Known {
    fn number(&mut self, name: RouteName) -> RouteNumber {
        if let Some(&number) = self.numbers.get(&name) {
            return number;
        }
        if self.names.len() >= ROUTES_MAX {
            return RouteNumber::OTHERS;
        }
        let number = RouteNumber::new(self.names.len());
        self.names.push(name.clone());
        self.numbers.insert(name, number);
        number
    }
}

/// One worker's counts of all routes, which only it writes.
#[derive(Debug)]
pub(crate) struct RouteCounters(Box<[OnceLock<Box<OfRoute>>; ROUTES_MAX]>);

/// The same of one route.
#[derive(Debug, Default)]
struct OfRoute {
    /// By the first digit of the status; 0 for those without an answer.
    took: [Tooks; CLASSES],
    /// Requests of Engine.IO sessions that poll, by the same: how long they take is what they have waited for.
    polls: [AtomicU64; CLASSES],
    /// Those of requests, and those of polls.
    bytes_in: [AtomicU64; KINDS],
    bytes_out: [AtomicU64; KINDS],
    retries: AtomicU64,
    /// Of those that had to wait for a turn.
    queued: Tooks,
    to_origin: Moved,
    to_client: Moved,
    /// Tunnels that have ended, by how long they lasted.
    tunnels: [AtomicU64; LIFETIMES],
    tunnel_seconds: AtomicU64,
}

/// What went through tunnels in one direction.
#[derive(Debug, Default)]
struct Moved {
    bytes: AtomicU64,
    messages: AtomicU64,
}

/// What a tunnel has moved, or all of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Bytes of frames, with their heads.
    pub bytes: u64,
    /// Messages that have ended.
    pub messages: u64,
}

/// What was counted of a route since the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteCounts {
    /// How long exchanges took from the first byte of the request to the last of the answer, by the first digit of their status;
    /// 0 are those that ended without an answer. Polls are not among them.
    pub took: [Durations; CLASSES],
    /// Requests of Engine.IO sessions that poll, by the same.
    pub polls: [u64; CLASSES],
    /// Content of requests that are no polls, and of polls.
    pub bytes_in: [u64; KINDS],
    /// Sent to clients for both, heads included.
    pub bytes_out: [u64; KINDS],
    /// Attempts beside the first one of each request.
    pub retries: u64,
    /// How long those waited that had to wait for a turn.
    pub queued: Durations,
    /// What tunnels have moved towards nodes.
    pub to_origin: Passed,
    /// And towards clients.
    pub to_client: Passed,
    /// Tunnels that have ended, by the seconds that they lasted: [`LIFETIME_SECONDS`] each at most, and last those beyond.
    pub tunnels: [u64; LIFETIMES],
    /// All of these together, in seconds.
    pub tunnel_seconds: u64,
}

impl Passed {
    /// Returns what has gone by since then, of one direction whose messages are counted in 32 bits.
    pub(crate) fn since(self, before: Self) -> Self {
        let messages = (self.messages as u32).wrapping_sub(before.messages as u32);
        Self { bytes: self.bytes - before.bytes, messages: messages.into() }
    }
}

impl RouteCounters {
    #[inline]
    fn of(&self, number: RouteNumber) -> &OfRoute {
        // `RouteNames` gives none beyond.
        let counts = &self.0[number.index() % ROUTES_MAX];
        match counts.get() {
            Some(counts) => counts,
            None => of_new(counts),
        }
    }

    #[inline]
    pub(crate) fn count(&self, record: &Record, is_poll: bool, took: Duration) {
        let counts = self.of(record.route);
        let class = usize::from(record.status / 100).min(CLASSES - 1);
        if is_poll {
            add(&counts.polls[class], 1);
        } else {
            counts.took[class].count(took);
        }
        let kind = usize::from(is_poll);
        add(&counts.bytes_in[kind], record.bytes_in);
        add(&counts.bytes_out[kind], record.bytes_out);
        if record.attempts > 1 {
            add(&counts.retries, u64::from(record.attempts) - 1);
        }
    }

    pub(crate) fn count_queued(&self, route: RouteNumber, waited: Duration) {
        self.of(route).queued.count(waited);
    }

    pub(crate) fn count_moved(&self, route: RouteNumber, to_origin: Passed, to_client: Passed) {
        let counts = self.of(route);
        for (moved, passed) in [(&counts.to_origin, to_origin), (&counts.to_client, to_client)] {
            add(&moved.bytes, passed.bytes);
            add(&moved.messages, passed.messages);
        }
    }

    pub(crate) fn count_tunnel(&self, route: RouteNumber, lasted: Duration) {
        let counts = self.of(route);
        let seconds = lasted.as_secs();
        let bucket = LIFETIME_SECONDS.partition_point(|&border| border < seconds);
        add(&counts.tunnels[bucket], 1);
        add(&counts.tunnel_seconds, seconds);
    }
}

#[cold]
#[inline(never)]
fn of_new(counts: &OnceLock<Box<OfRoute>>) -> &OfRoute {
    counts.get_or_init(Box::default)
}

impl Default for RouteCounters {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| OnceLock::new())))
    }
}

impl OfRoute {
    fn read(&self) -> RouteCounts {
        let passed = |moved: &Moved| Passed {
            bytes: moved.bytes.load(Relaxed),
            messages: moved.messages.load(Relaxed),
        };
        RouteCounts {
            took: std::array::from_fn(|class| self.took[class].read()),
            polls: std::array::from_fn(|class| self.polls[class].load(Relaxed)),
            bytes_in: std::array::from_fn(|kind| self.bytes_in[kind].load(Relaxed)),
            bytes_out: std::array::from_fn(|kind| self.bytes_out[kind].load(Relaxed)),
            retries: self.retries.load(Relaxed),
            queued: self.queued.read(),
            to_origin: passed(&self.to_origin),
            to_client: passed(&self.to_client),
            tunnels: std::array::from_fn(|bucket| self.tunnels[bucket].load(Relaxed)),
            tunnel_seconds: self.tunnel_seconds.load(Relaxed),
        }
    }
}

impl RouteCounts {
    fn add(&mut self, other: &Self) {
        self.took.iter_mut().zip(&other.took).for_each(|(sum, more)| sum.add(more));
        self.polls.iter_mut().zip(other.polls).for_each(|(sum, more)| *sum += more);
        self.bytes_in.iter_mut().zip(other.bytes_in).for_each(|(sum, more)| *sum += more);
        self.bytes_out.iter_mut().zip(other.bytes_out).for_each(|(sum, more)| *sum += more);
        self.retries += other.retries;
        self.queued.add(&other.queued);
        for (sum, more) in [(&mut self.to_origin, other.to_origin), (&mut self.to_client, other.to_client)] {
            sum.bytes += more.bytes;
            sum.messages += more.messages;
        }
        self.tunnels.iter_mut().zip(other.tunnels).for_each(|(sum, more)| *sum += more);
        self.tunnel_seconds += other.tunnel_seconds;
    }
}

/// Routes that are counted one by one in the life of a process; those that a reload brings beyond are counted together.
const ROUTES_MAX: usize = 2048;
/// Requests, and those of them that are polls of Engine.IO sessions.
const KINDS: usize = 2;
/// By the first digit of a status.
pub(crate) const CLASSES: usize = 6;
/// Tunnels live for seconds or for days: a bucket for each fourfold.
pub const LIFETIME_SECONDS: [u64; LIFETIMES - 1] = [1, 4, 15, 60, 300, 1_200, 3_600, 14_400, 86_400];
const LIFETIMES: usize = 10;
