//! Where connections of clients are between two requests: what nginx calls keepalive. What a runtime holds for each, its
//! registration and its task, is more than the connection itself, so that one that has waited for its next request for a while
//! leaves the runtime. It is parked: a socket in the worker's own epoll, and what cannot be made again.
//!
//! When a client speaks, when it has been silent for too long, and when the proxy has waited for it long enough on its
//! way out, its connection goes on where it stood, and finds out by itself which of these it was.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::net::RecvFlags;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::net::epoll::{EpollSet, Happened, KEY_BITS, Owner};
use crate::net::seats::Seated;
use crate::observe::counters::Counters;
use crate::observe::lifecycle::Live;
use crate::state::local::Local;

/// An idle connection, reduced to what cannot be made again when its client speaks. It is always plain TCP: the state of a TLS
/// session alone is bigger than all that parking saves.
#[derive(Debug)]
pub(crate) struct IdleConnection {
    pub(crate) tcp: TcpStream,
    pub(crate) peer: IpAddr,
    pub(crate) is_trusted: bool,
    /// The port of the listener that took it, for X-Forwarded-Port.
    pub(crate) port: u16,
    /// The port that it is sent to with everything that it asks.
    pub(crate) redirects: Option<NonZeroU16>,
    /// The second in which it was born, by which its greatest age is kept ([`Age`](crate::net::pace::Age)).
    pub(crate) born_s: u32,
    pub(crate) requests: u16,
    pub(crate) live: Live,
}

impl IdleConnection {
    /// Whether its client has not sent a request yet; such a connection is closed last when memory or places are
    /// wanted.
    pub(crate) fn is_silent(&self) -> bool {
        self.requests == 0
    }
}

/// The parked connections of one worker. Their number is bounded by `limits.connections_max`, since each keeps its place.
#[derive(Debug)]
pub(crate) struct IdleSet {
    set: Rc<EpollSet>,
    /// In the order in which they have to leave. Not a slab with a list through it: this is a few tens of bytes more for
    /// each and nothing of it is ours.
    parked: RefCell<Parked>,
    /// The instant from which the deadlines in keys are counted.
    start: Instant,
    /// Set once the proxy leaves.
    all_leave_at: Cell<Option<Instant>>,
    /// Notified when another one than before is the first that has to leave.
    first_changed: Notify,
    counters: Arc<Counters>,
}

/// Apart, because those that rest go first when their places are wanted.
#[derive(Debug, Default)]
struct Parked {
    resting: BTreeMap<IdleKey, IdleConnection>,
    silent: BTreeMap<IdleKey, IdleConnection>,
}

impl Parked {
    fn insert(&mut self, key: IdleKey, resting: IdleConnection) {
        match resting.is_silent() {
            true => self.silent.insert(key, resting),
            false => self.resting.insert(key, resting),
        };
    }

    fn remove(&mut self, key: IdleKey) -> Option<IdleConnection> {
        self.resting.remove(&key).or_else(|| self.silent.remove(&key))
    }

    /// The first that has to leave.
    fn first(&self) -> Option<IdleKey> {
        let firsts = [&self.resting, &self.silent].map(|parked| Some(*parked.first_key_value()?.0));
        firsts.into_iter().flatten().min()
    }

    fn len(&self) -> usize {
        self.resting.len() + self.silent.len()
    }
}

/// What epoll knows a connection by: when it has to leave, in milliseconds, and the number of its file, which is nobody
/// else's as long as it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct IdleKey(u64);

impl IdleKey {
    /// `None` if either number is too big.
    fn new(until_ms: u64, file: u64) -> Option<Self> {
        (until_ms >> (KEY_BITS - FILE_BITS) == 0 && file >> FILE_BITS == 0)
            .then_some(Self(until_ms << FILE_BITS | file))
    }

    fn until(self, start: Instant) -> Instant {
        start + Duration::from_millis(self.0 >> FILE_BITS)
    }
}

impl IdleSet {
    /// For the worker with this set and these counters.
    pub(crate) fn new(set: Rc<EpollSet>, counters: Arc<Counters>) -> Self {
        Self {
            set,
            parked: RefCell::default(),
            start: Instant::now(),
            all_leave_at: Cell::new(None),
            first_changed: Notify::new(),
            counters,
        }
    }

    /// Parks a connection until its client speaks, and until then at most; or gives it back, if the system will watch no
    /// more files.
    pub(crate) fn park(&self, resting: IdleConnection, until: Instant) -> Result<(), IdleConnection> {
        // A millisecond that has begun counts, as it does for tokio's timers.
        let until_ms = until.duration_since(self.start).as_nanos().div_ceil(1_000_000);
        let file = u64::try_from(resting.tcp.as_raw_fd()).ok();
        let key = file.zip(u64::try_from(until_ms).ok()).and_then(|(file, ms)| IdleKey::new(ms, file));
        let Some(key) = key.filter(|_| self.set.is_attended()) else { return Err(resting) };
        // What has come since the runtime let go of it is reported at once: epoll tells what is, not what happens.
        let watched = EventFlags::IN | EventFlags::RDHUP;
        if self.set.add(&resting.tcp, Owner::Idle, key.0, watched).is_err() {
            return Err(resting);
        }
        let mut parked = self.parked.borrow_mut();
        parked.insert(key, resting);
        self.count(&parked);
        if parked.first() == Some(key) {
            self.first_changed.notify_one();
        }
        Ok(())
    }

    fn take(&self, key: IdleKey) -> Option<IdleConnection> {
        let mut parked = self.parked.borrow_mut();
        let resting = parked.remove(key)?;
        self.count(&parked);
        self.set.remove(&resting.tcp);
        Some(resting)
    }

    /// Closes the one that has been here longest, by the deadlines of its kind. Whether there was one.
    pub(crate) fn clear_one(&self, who: Seated) -> bool {
        let first = {
            let parked = self.parked.borrow();
            let parked = match who {
                Seated::Resting => &parked.resting,
                Seated::Silent => &parked.silent,
            };
            parked.first_key_value().map(|(key, _)| *key)
        };
        first.and_then(|key| self.take(key)).is_some()
    }

    /// The deadline of the connection that has to leave first, the proxy's own leaving included.
    fn first_due(&self) -> Option<Instant> {
        let until = self.parked.borrow().first()?.until(self.start);
        Some(self.all_leave_at.get().map_or(until, |all| all.min(until)))
    }

    /// The first, if it has to leave by now, and when it had to.
    fn take_due(&self, now: Instant) -> Option<(IdleConnection, Instant)> {
        let due = self.first_due().filter(|due| *due <= now)?;
        let first = self.parked.borrow().first()?;
        Some((self.take(first)?, due))
    }

    /// The connection whose client has said something, and until when it waits; `None` if it has left.
    pub(crate) fn take_woken(&self, happened: Happened) -> Option<(IdleConnection, Instant)> {
        let key = IdleKey(happened.key);
        let resting = self.take(key)?;
        let may_be_gone = happened.flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        // Whoever left without another word needs no task to be let go.
        let is_gone = may_be_gone && is_gone(&resting.tcp);
        (!is_gone).then(|| (resting, key.until(self.start)))
    }

    fn count(&self, parked: &Parked) {
        self.counters.set_parked(parked.len() as u64);
    }
}

/// Tells a client that has closed from one that has spoken before it closed: bytes that are left would be a request.
fn is_gone(tcp: &TcpStream) -> bool {
    match rustix::net::recv(tcp, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((0, _)) => true,
        Ok(_) | Err(rustix::io::Errno::AGAIN) => false,
        Err(_) => true,
    }
}

/// Has the parked connections of a worker leave in time, for its life. `back` goes on with one.
pub(crate) async fn attend(idle_set: Rc<IdleSet>, worker: Rc<Local>, back: impl Fn(IdleConnection, Instant)) {
    // Nobody parks once the proxy leaves: if that was said before now, there is nobody to tell.
    let mut leaving = pin!(worker.leaving());
    loop {
        let due = idle_set.first_due();
        tokio::select! {
            () = sleep_until(due.unwrap_or(idle_set.start)), if due.is_some() => {
                let now = Instant::now();
                let all_due = std::iter::from_fn(|| idle_set.take_due(now));
                for (resting, due) in all_due.take(AT_ONCE_MAX) {
                    back(resting, due);
                }
                yield_now().await;
            }
            () = idle_set.first_changed.notified() => {}
            () = leaving.as_mut(), if idle_set.all_leave_at.get().is_none() => {
                idle_set.all_leave_at.set(Some(Instant::now() + IDLE_WHILE_LEAVING));
            }
        }
    }
}

/// How long a connection waits for its next request as a task of the runtime, before it is parked.
pub(crate) const PARKS_AFTER: Duration = Duration::from_millis(500);
/// The same for one that was parked and came back. A client that asks every second is better left where it is: to park
/// and to come back costs a good part of a request.
pub(crate) const PARKS_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A client's request may cross our leaving on its way; Node.js' agents reuse a connection for as long.
pub(crate) const IDLE_WHILE_LEAVING: Duration = Duration::from_secs(5);
/// How many bits of a key hold the number of a file; Linux' own bound on that is 2^20 unless somebody raises it. What is left holds
/// 17 years.
const FILE_BITS: u32 = 24;
/// Given back before others have their turn.
const AT_ONCE_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_in_the_order_in_which_connections_leave() {
        let start = Instant::now();
        let key = |until_ms, file| IdleKey::new(until_ms, file).expect("both fit");
        let sorted = [key(0, 0), key(0, 7), key(1, 3), key(75_000, 1 << 20), key(75_001, 3)];
        assert!(sorted.is_sorted());
        for (until_ms, file) in [(0, 3), (1, 1 << 20), (75_000, 9), ((1 << 39) - 1, (1 << 24) - 1)] {
            assert_eq!(key(until_ms, file).until(start), start + Duration::from_millis(until_ms));
        }
        for (until_ms, file) in [(1 << 39, 3), (0, 1 << 24), (u64::MAX, u64::MAX)] {
            assert_eq!(IdleKey::new(until_ms, file), None, "{until_ms} {file}");
        }
    }
}
