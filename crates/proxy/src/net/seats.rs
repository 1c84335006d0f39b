//! Connections of a worker that wait inside of the runtime and could go if their place is wanted: those that rest between
//! two requests and cannot be parked, and those that have not said a byte. Parked ones are in the worker's `IdleSet`.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A worker's, each kind in the order in which they began to wait.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    resting: RefCell<BTreeMap<u64, Rc<Wanted>>>,
    silent: RefCell<BTreeMap<u64, Rc<Wanted>>>,
    next: Cell<u64>,
}

/// What a connection does that could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seated {
    /// It waits for its next request.
    Resting,
    /// It has not said a byte.
    Silent,
}

/// A connection that could go, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Seat<'s> {
    seats: &'s Seats,
    who: Seated,
    number: u64,
    wanted: Rc<Wanted>,
}

#[derive(Debug, Default)]
struct Wanted {
    is_wanted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Seats {
    /// A seat for one that waits.
    pub(crate) fn take(&self, who: Seated) -> Seat<'_> {
        let number = self.next.replace(self.next.get() + 1);
        let wanted = Rc::<Wanted>::default();
        self.of(who).borrow_mut().insert(number, wanted.clone());
        Seat { seats: self, who, number, wanted }
    }

    /// Has the one go that has waited longest. Whether there was one.
    pub(crate) fn clear_one(&self, who: Seated) -> bool {
        let Some((_, wanted)) = self.of(who).borrow_mut().pop_first() else { return false };
        wanted.is_wanted.set(true);
        wanted.waker.take().into_iter().for_each(Waker::wake);
        true
    }

    fn of(&self, who: Seated) -> &RefCell<BTreeMap<u64, Rc<Wanted>>> {
        match who {
            Seated::Resting => &self.resting,
            Seated::Silent => &self.silent,
        }
    }
}

impl Seat<'_> {
    /// Ready once it has to go.
    pub(crate) fn poll_wanted(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.wanted.is_wanted.get() {
            return Poll::Ready(());
        }
        let mut waker = self.wanted.waker.borrow_mut();
        if waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.seats.of(self.who).borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_longest_goes_first() {
        let seats = Seats::default();
        let (first, second) = (seats.take(Seated::Resting), seats.take(Seated::Resting));
        let silent = seats.take(Seated::Silent);
        let mut cx = Context::from_waker(Waker::noop());
        let mut gone = |seat: &Seat<'_>| seat.poll_wanted(&mut cx).is_ready();
        assert_eq!([&first, &second, &silent].map(&mut gone), [false; 3]);
        assert!(seats.clear_one(Seated::Resting));
        assert_eq!([&first, &second, &silent].map(&mut gone), [true, false, false]);
        drop(second);
        assert!(!seats.clear_one(Seated::Resting), "who has gone by itself is asked no more");
        assert!(seats.clear_one(Seated::Silent));
        assert!(gone(&silent));
    }
}
