//! A worker's own epoll inside of the runtime's. Connections that are parked and tunnels without TLS are in it, and not in the
//! runtime: what that holds for a socket, its registration and its task, is more than either of them, and to wake a task
//! takes more time than to pass a message on.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::yield_now;

/// The sockets that one task attends to, whoever has put them in.
#[derive(Debug)]
pub(crate) struct EpollSet {
    epoll: OwnedFd,
    is_attended: Cell<bool>,
}

/// Who has put a socket in, and is told what happens to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Idle,
    Tunnels,
}

/// What has happened to a socket.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Happened {
    pub(crate) owner: Owner,
    /// What its owner knows it by.
    pub(crate) key: u64,
    pub(crate) flags: EventFlags,
}

impl EpollSet {
    /// An error is a want of files.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, is_attended: Cell::new(false) })
    }

    /// A thread waits on it. Without one nothing may be put in, for nobody would be told.
    pub(crate) fn is_attended(&self) -> bool {
        self.is_attended.get()
    }

    /// Watches a socket, which its owner knows by `key`: less than 2^[`KEY_BITS`].
    pub(crate) fn add(
        &self,
        socket: impl AsFd,
        owner: Owner,
        key: u64,
        events: EventFlags,
    ) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, event_data(owner, key), events)
    }

    /// Watches a socket no more. Closing it would not do where somebody goes by its key: a child on its way to its program
    /// holds all our files for a moment, and epoll would go on telling of what nobody knows any more.
    pub(crate) fn remove(&self, socket: impl AsFd) {
        // It is in there, unless that failed before.
        let _ = epoll::delete(&self.epoll, socket);
    }

    /// Gives `tell` what has happened, some of it at least. Whether there may be more.
    fn take(
        &self,
        events: &mut Vec<Event>,
        tell: impl FnOnce(&mut dyn Iterator<Item = Happened>),
    ) -> io::Result<bool> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, spare_capacity(events), Some(&at_once))?;
        let is_full = events.len() == events.capacity();
        tell(&mut events.drain(..).map(|event| {
            let (owner, key) = owner_and_key(event.data);
            Happened { owner, key, flags: event.flags }
        }));
        Ok(is_full)
    }
}

fn event_data(owner: Owner, key: u64) -> EventData {
    debug_assert!(key >> KEY_BITS == 0, "{key}");
    EventData::new_u64(u64::from(owner == Owner::Tunnels) << KEY_BITS | key)
}

fn owner_and_key(data: EventData) -> (Owner, u64) {
    let data = data.u64();
    let owner = if data >> KEY_BITS == 0 { Owner::Idle } else { Owner::Tunnels };
    (owner, data & !(1 << KEY_BITS))
}

/// Attends to the sockets of a worker, for its life. `tell` is given what has happened.
pub(crate) async fn attend(set: Rc<EpollSet>, mut tell: impl FnMut(&mut dyn Iterator<Item = Happened>)) {
    let epoll = match watch(set.epoll.as_fd()) {
        Ok(epoll) => epoll,
        Err(error) => {
            return tracing::warn!(%error, "connections that rest, and tunnels, will take more memory");
        }
    };
    set.is_attended.set(true);
    let mut events = Vec::with_capacity(AT_ONCE_MAX);
    // An epoll of which the runtime tells nothing more is one without a runtime.
    while let Ok(mut ready) = epoll.readable().await {
        match set.take(&mut events, &mut tell) {
            // The runtime has others, too.
            Ok(true) => yield_now().await,
            // What comes from now on is told anew.
            Ok(false) | Err(_) => ready.clear_ready(),
        }
    }
}

/// An epoll is readable when something that it watches is.
#[expect(
    deprecated,
    reason = "unsound for types whose file can change under it, which a BorrowedFd's cannot"
)]
fn watch(epoll: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    AsyncFd::with_interest(epoll, Interest::READABLE)
}

/// Of a key; what is left tells its owner.
pub(crate) const KEY_BITS: u32 = u64::BITS - 1;
/// Told before others of the runtime have their turn.
const AT_ONCE_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoll_gives_back_what_it_was_given() {
        for key in [0, 1, 9_999, (1 << KEY_BITS) - 1] {
            for owner in [Owner::Idle, Owner::Tunnels] {
                assert_eq!(owner_and_key(event_data(owner, key)), (owner, key));
            }
        }
    }
}
