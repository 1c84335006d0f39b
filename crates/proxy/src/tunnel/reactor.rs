//! Where tunnels between two plain sockets are. To wake a task for each message took the runtime twice as many instructions
//! as the message itself takes, and its task and two registrations were nearly half of a tunnel's memory. So here is an
//! epoll of the worker's own, edge-triggered, and one task that goes on with the tunnels that it tells of, one after the
//! other.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use slab::Slab;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::net::epoll::watch;
use crate::state::local::Local;
use crate::tunnel::end::{End, Side};
use crate::tunnel::established::Tunnel;

/// A worker's tunnels.
#[derive(Debug)]
pub(crate) struct Reactor {
    epoll: OwnedFd,
    slots: RefCell<Slab<Box<Slot>>>,
    calls: Arc<Calls>,
    is_attended: Cell<bool>,
}

/// A tunnel, and how it is called for something that its sockets do not tell: a signal or an alarm.
#[derive(Debug)]
pub(crate) struct Slot {
    tunnel: Tunnel,
    waker: Waker,
}

/// Which tunnels were called, from whatever thread.
#[derive(Debug, Default)]
struct Calls {
    keys: Mutex<Vec<usize>>,
    came: Notify,
}

/// Calls one tunnel, or whoever has its slot by then, which does no harm.
#[derive(Debug)]
struct Caller {
    key: usize,
    calls: Arc<Calls>,
}

impl Wake for Caller {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.calls.keys.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        self.calls.came.notify_one();
    }
}

/// What epoll knows a socket by: its tunnel's slot, and its side there. A socket that is closed while a child on its way to
/// its program holds all our files may be told of once more, for a slot that is empty or another's: who is told in vain
/// finds nothing to read.
fn event_data(key: usize, side: Side) -> EventData {
    EventData::new_u64((key as u64) << 1 | u64::from(side == Side::Origin))
}

fn key_and_side(data: EventData) -> (usize, Side) {
    let data = data.u64();
    let side = if data & 1 == 0 { Side::Client } else { Side::Origin };
    (usize::try_from(data >> 1).unwrap_or(usize::MAX), side)
}

impl Reactor {
    /// An error is a want of files.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            slots: RefCell::default(),
            calls: Arc::default(),
            is_attended: Cell::new(false),
        })
    }

    pub(super) fn is_attended(&self) -> bool {
        self.is_attended.get()
    }

    /// Looks after a tunnel, both ends of which are bare, until it ends.
    pub(super) fn take_in(&self, tunnel: Tunnel, worker: &Local) {
        let key = self.slots.borrow().vacant_key();
        let watch = |side, end: &End| {
            let socket = end.socket().ok_or(Errno::BADF)?;
            epoll::add(&self.epoll, socket, event_data(key, side), WATCHED)
        };
        let watched = watch(Side::Client, &tunnel.client).and_then(|()| watch(Side::Origin, &tunnel.origin));
        if let Err(error) = watched {
            return tracing::error!(%error, "a tunnel is closed, for the system watches no more sockets");
        }
        let waker = Waker::from(Arc::new(Caller { key, calls: self.calls.clone() }));
        self.slots.borrow_mut().insert(Box::new(Slot { tunnel, waker }));
        // What each end has sent early is here already.
        self.go_on(key, worker, |_| {});
    }

    /// Drops all tunnels.
    pub(crate) fn clear(&self) {
        self.slots.borrow_mut().clear();
    }

    /// Goes on with the tunnels that epoll tells of, some of them at least. Whether there may be more.
    fn turn(&self, events: &mut Vec<Event>, worker: &Local) -> io::Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(events), Some(&at_once))?;
        let is_full = events.len() == events.capacity();
        worker.clock.tick();
        for event in events.drain(..) {
            let (flags, (key, side)) = (event.flags, key_and_side(event.data));
            self.go_on(key, worker, |tunnel| tunnel.note(side, flags));
        }
        Ok(is_full)
    }

    /// Those that were called.
    fn take_calls(&self) -> Vec<usize> {
        std::mem::take(&mut *self.calls.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with a tunnel, which is told something first.
    fn go_on(&self, key: usize, worker: &Local, tell: impl FnOnce(&mut Tunnel)) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(key) else { return };
        let Slot { tunnel, waker } = &mut **slot;
        tell(tunnel);
        // As in a task of its own, a panic ends one tunnel and not the others.
        let polled =
            catch_unwind(AssertUnwindSafe(|| tunnel.poll(&mut Context::from_waker(waker), &worker.buffers)));
        match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(ended_by)) => worker.lines.tunnel(&tunnel.record(ended_by)),
            // Its message is in the log already.
            Err(_) => {}
        }
        slots.remove(key);
    }
}

/// Looks after the tunnels of a worker, for its life.
pub(crate) async fn attend(reactor: Rc<Reactor>, worker: Rc<Local>) {
    let epoll = match watch(reactor.epoll.as_fd()) {
        Ok(epoll) => epoll,
        Err(error) => return tracing::warn!(%error, "tunnels will take more time and memory"),
    };
    reactor.is_attended.set(true);
    let mut events = Vec::with_capacity(AT_ONCE_MAX);
    loop {
        tokio::select! {
            Ok(mut ready) = epoll.readable() => {
                match reactor.turn(&mut events, &worker) {
                    // The runtime has others, too.
                    Ok(true) => yield_now().await,
                    // What comes from now on is told anew.
                    Ok(false) | Err(_) => ready.clear_ready(),
                }
            }
            () = reactor.calls.came.notified() => {
                for keys in reactor.take_calls().chunks(AT_ONCE_MAX) {
                    worker.clock.tick();
                    keys.iter().for_each(|&key| reactor.go_on(key, &worker, |_| {}));
                    yield_now().await;
                }
            }
        }
    }
}

const WATCHED: EventFlags =
    EventFlags::IN.union(EventFlags::OUT).union(EventFlags::RDHUP).union(EventFlags::ET);
/// Gone on with before others of the runtime have their turn.
const AT_ONCE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_gives_back_what_it_was_given() {
        for key in [0, 1, 9_999, (1 << 62) - 1] {
            for side in [Side::Client, Side::Origin] {
                assert_eq!(key_and_side(event_data(key, side)), (key, side));
            }
        }
    }
}
