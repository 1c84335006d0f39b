//! Where tunnels between two plain sockets are. To wake a task for each message took the runtime twice as many instructions
//! as the message itself takes, and its task and two registrations were nearly half of a tunnel's memory. So their sockets
//! are in the worker's own epoll, edge-triggered, and whoever attends to that goes on with the tunnels that it tells of, one
//! after the other.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use slab::Slab;
use tokio::sync::Notify;
use tokio::task::yield_now;

use crate::net::epoll::{EpollSet, Happened, Owner};
use crate::state::local::Local;
use crate::tunnel::end::{End, Side};
use crate::tunnel::established::Tunnel;

/// A worker's tunnels.
#[derive(Debug)]
pub(crate) struct Reactor {
    set: Rc<EpollSet>,
    slots: RefCell<Slab<Box<TunnelEntry>>>,
    calls: Arc<Calls>,
}

/// A tunnel, and how it is called for something that its sockets do not tell: a signal or an alarm.
#[derive(Debug)]
pub(crate) struct TunnelEntry {
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

/// What epoll knows a socket by: its tunnel's slot, and its side there. A socket that is closed while a child on
/// its way to its program holds all our files may be told of once more, for a slot that is empty or another's: who
/// is told in vain finds nothing to read.
fn key_of(slot: usize, side: Side) -> u64 {
    (slot as u64) << 1 | u64::from(side == Side::Origin)
}

fn slot_and_side(key: u64) -> (usize, Side) {
    let side = if key & 1 == 0 { Side::Client } else { Side::Origin };
    (usize::try_from(key >> 1).unwrap_or(usize::MAX), side)
}

impl Reactor {
    /// For the worker with this set.
    pub(crate) fn new(set: Rc<EpollSet>) -> Self {
        Self { set, slots: RefCell::default(), calls: Arc::default() }
    }

    /// Whether somebody waits on the epoll. Until then nobody would be told what happens to a tunnel in it.
    pub(super) fn is_attended(&self) -> bool {
        self.set.is_attended()
    }

    /// Looks after a tunnel, both ends of which are bare, until it ends.
    pub(super) fn take_in(&self, tunnel: Tunnel, worker: &Local) {
        let key = self.slots.borrow().vacant_key();
        let watch = |side, end: &End| {
            let socket = end.socket().ok_or(Errno::BADF)?;
            self.set.add(socket, Owner::Tunnels, key_of(key, side), WATCHED)
        };
        let watched = watch(Side::Client, &tunnel.client).and_then(|()| watch(Side::Origin, &tunnel.origin));
        if let Err(error) = watched {
            return tracing::error!(%error, "a tunnel is closed, for the system watches no more sockets");
        }
        let waker = Waker::from(Arc::new(Caller { key, calls: self.calls.clone() }));
        self.slots.borrow_mut().insert(Box::new(TunnelEntry { tunnel, waker }));
        // What each end has sent early is here already.
        self.go_on(key, worker, |_| {});
    }

    /// Drops all tunnels.
    pub(crate) fn clear(&self) {
        self.slots.borrow_mut().clear();
    }

    /// Goes on with the tunnel that epoll has told of, at a time to which the worker's clock is set.
    pub(crate) fn wake(&self, happened: Happened, worker: &Local) {
        let (slot, side) = slot_and_side(happened.key);
        self.go_on(slot, worker, |tunnel| tunnel.note(side, happened.flags));
    }

    /// Those that were called.
    fn take_calls(&self) -> Vec<usize> {
        std::mem::take(&mut *self.calls.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes on with a tunnel, which is told something first.
    fn go_on(&self, key: usize, worker: &Local, tell: impl FnOnce(&mut Tunnel)) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(key) else { return };
        let TunnelEntry { tunnel, waker } = &mut **slot;
        tell(tunnel);
        // As in a task of its own, a panic ends one tunnel and not the others.
        let polled =
            catch_unwind(AssertUnwindSafe(|| tunnel.poll_counted(&mut Context::from_waker(waker), worker)));
        match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(ended_by)) => worker.lines.tunnel(&tunnel.record(ended_by)),
            // Its message is in the log already.
            Err(_) => {}
        }
        slots.remove(key);
    }
}

/// Goes on with the tunnels of a worker that are called, for its life.
pub(crate) async fn attend(reactor: Rc<Reactor>, worker: Rc<Local>) {
    loop {
        reactor.calls.came.notified().await;
        for keys in reactor.take_calls().chunks(AT_ONCE_MAX) {
            worker.clock.tick();
            keys.iter().for_each(|&key| reactor.go_on(key, &worker, |_| {}));
            yield_now().await;
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
    fn a_key_tells_the_slot_and_the_side() {
        for slot in [0, 1, 9_999, (1 << 62) - 1] {
            for side in [Side::Client, Side::Origin] {
                assert_eq!(slot_and_side(key_of(slot, side)), (slot, side));
            }
        }
    }
}
