//! Where connections are that rest. What a runtime holds for each, its registration and its task, is more than the
//! connection itself, so that one that has waited for its next request for a while leaves the runtime. It is parked: a
//! socket in an epoll of the worker's own, and what cannot be made again. One task attends to all of them.
//!
//! When a client speaks, when it has been silent for too long, and when the proxy has waited for it long enough on its
//! way out, its connection goes on where it stood, and finds out by itself which of these it was.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::net::RecvFlags;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::net::epoll::watch;
use crate::net::seats::Seated;
use crate::observe::lifecycle::Live;
use crate::observe::record::Counters;
use crate::state::local::Local;

/// A connection between two requests, without what can be made again. Always plain TCP: what TLS keeps is more than all
/// that could be spared.
#[derive(Debug)]
pub(crate) struct IdleConnection {
    pub(crate) tcp: TcpStream,
    pub(crate) peer: IpAddr,
    pub(crate) is_trusted: bool,
    /// Of the listen it came in on.
    pub(crate) port: u16,
    /// The port that it is sent to with everything that it asks.
    pub(crate) redirects: Option<NonZeroU16>,
    /// How old it is ([`Age`](crate::net::pace::Age)).
    pub(crate) born_s: u32,
    pub(crate) requests: u16,
    pub(crate) live: Live,
}

impl IdleConnection {
    /// Whether it has not asked for anything yet.
    pub(crate) fn is_silent(&self) -> bool {
        self.requests == 0
    }
}

/// A worker's parked connections. As many as connections may live, at most.
#[derive(Debug)]
pub(crate) struct IdleSet {
    epoll: OwnedFd,
    /// In the order in which they have to leave. Not a slab with a list through it: this is a few tens of bytes more for
    /// each and nothing of it is ours.
    parked: RefCell<Parked>,
    /// From which keys count.
    start: Instant,
    /// Set once the proxy leaves.
    all_leave_at: Cell<Option<Instant>>,
    is_attended: Cell<bool>,
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
        (until_ms >> (u64::BITS - FILE_BITS) == 0 && file >> FILE_BITS == 0)
            .then_some(Self(until_ms << FILE_BITS | file))
    }

    fn until(self, start: Instant) -> Instant {
        start + Duration::from_millis(self.0 >> FILE_BITS)
    }
}

impl IdleSet {
    /// For the worker with these counters. An error is a want of files.
    pub(crate) fn new(counters: Arc<Counters>) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            parked: RefCell::default(),
            start: Instant::now(),
            all_leave_at: Cell::new(None),
            is_attended: Cell::new(false),
            first_changed: Notify::new(),
            counters,
        })
    }

    /// Parks a connection until its client speaks, and until then at most; or gives it back, if the system will watch no
    /// more files.
    pub(crate) fn park(&self, resting: IdleConnection, until: Instant) -> Result<(), IdleConnection> {
        // A millisecond that has begun counts, as it does for tokio's timers.
        let until_ms = until.duration_since(self.start).as_nanos().div_ceil(1_000_000);
        let file = u64::try_from(resting.tcp.as_raw_fd()).ok();
        let key = file.zip(u64::try_from(until_ms).ok()).and_then(|(file, ms)| IdleKey::new(ms, file));
        let Some(key) = key.filter(|_| self.is_attended.get()) else { return Err(resting) };
        // What has come since the runtime let go of it is reported at once: epoll tells what is, not what happens.
        let watched = EventFlags::IN | EventFlags::RDHUP;
        if epoll::add(&self.epoll, &resting.tcp, EventData::new_u64(key.0), watched).is_err() {
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
        // The runtime watches it from now on. Closing it would not do here: a child on its way to its program holds
        // all our files for a moment, and epoll would go on telling of what nobody knows any more.
        let _ = epoll::delete(&self.epoll, &resting.tcp);
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

    /// When the first has to leave.
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

    /// Those whose clients have said something or have left, some of them at least. Whether there may be more.
    fn take_woken(
        &self,
        events: &mut Vec<Event>,
        mut with: impl FnMut(IdleConnection, Instant),
    ) -> io::Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(events), Some(&at_once))?;
        let is_full = events.len() == events.capacity();
        for event in events.drain(..) {
            let (flags, key) = (event.flags, IdleKey(event.data.u64()));
            let Some(resting) = self.take(key) else { continue };
            let may_be_gone = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
            // Whoever left without another word needs no task to be let go.
            if !(may_be_gone && is_gone(&resting.tcp)) {
                with(resting, key.until(self.start));
            }
        }
        Ok(is_full)
    }

    fn count(&self, parked: &Parked) {
        self.counters.set_parked(parked.len() as u64);
    }
}

/// Whether the client has closed, and there is nothing left to read.
fn is_gone(tcp: &TcpStream) -> bool {
    match rustix::net::recv(tcp, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((0, _)) => true,
        Ok(_) | Err(rustix::io::Errno::AGAIN) => false,
        Err(_) => true,
    }
}

/// Attends to the parked connections of a worker, for its life. `back` goes on with one.
pub(crate) async fn attend(idle_set: Rc<IdleSet>, worker: Rc<Local>, back: impl Fn(IdleConnection, Instant)) {
    // Nobody parks once the proxy leaves: if that was said before now, there is nobody to tell.
    let mut leaving = pin!(worker.leaving());
    let epoll = match watch(idle_set.epoll.as_fd()) {
        Ok(epoll) => epoll,
        Err(error) => return tracing::warn!(%error, "connections that rest will take more memory"),
    };
    idle_set.is_attended.set(true);
    let mut events = Vec::with_capacity(AT_ONCE_MAX);
    loop {
        let due = idle_set.first_due();
        tokio::select! {
            Ok(mut ready) = epoll.readable() => {
                match idle_set.take_woken(&mut events, &back) {
                    // Those that were woken come first.
                    Ok(true) => yield_now().await,
                    // What comes from now on is told anew.
                    Ok(false) | Err(_) => ready.clear_ready(),
                }
            }
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

/// So long a connection waits for its next request in the runtime, before it is parked.
pub(crate) const PARKS_AFTER: Duration = Duration::from_millis(500);
/// The same for one that was parked and came back. A client that asks every second is better left where it is: to park
/// and to come back costs a good part of a request.
pub(crate) const PARKS_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A client's request may cross our leaving on its way; Node.js' agents reuse a connection for as long.
pub(crate) const IDLE_WHILE_LEAVING: Duration = Duration::from_secs(5);
/// Of a key, for the number of a file; Linux' own bound on that is 2^20 unless somebody raises it. What is left holds
/// 34 years.
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
        for (until_ms, file) in [(0, 3), (1, 1 << 20), (75_000, 9), ((1 << 40) - 1, (1 << 24) - 1)] {
            assert_eq!(key(until_ms, file).until(start), start + Duration::from_millis(until_ms));
        }
        for (until_ms, file) in [(1 << 40, 3), (0, 1 << 24), (u64::MAX, u64::MAX)] {
            assert_eq!(IdleKey::new(until_ms, file), None, "{until_ms} {file}");
        }
    }
}
