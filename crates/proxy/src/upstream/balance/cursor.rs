//! Where picks stand, which is all that they change.

use std::cell::{Cell, RefCell};

use fastrand::Rng;

/// Where a worker, or the choice of sessions, is in an upstream: the only thing that a pick changes.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Whose turn is next. Without it every tie would go to the first node of the file.
    at: Cell<usize>,
    dice: RefCell<Rng>,
}

/// A worker's cursors, one for each upstream.
#[derive(Debug)]
pub(crate) struct Cursors([Cursor; LANES]);

impl Cursor {
    pub(crate) fn new(dice: Rng) -> Self {
        Self { at: Cell::new(0), dice: RefCell::new(dice) }
    }

    /// Whose turn it is, and then the next one's.
    pub(super) fn advance(&self) -> usize {
        let at = self.at.get();
        self.at.set(at.wrapping_add(1));
        at
    }

    /// Goes on with anybody's turn among `count` nodes. Clients that all ask in one rhythm, a page and then its login, would
    /// else log in at every second node, or every third. So pins spread by chance, of 10,000 within a hundredth or two. By sessions
    /// they would spread no better: nobody knows which request will log in, one that finds no session yet leaves none, and
    /// whoever asks while nothing is under way, all pages then, would go to the node with the fewest, one after the other.
    pub(crate) fn scatter(&self, count: usize) {
        self.at.set(self.at.get().wrapping_add(self.below(count.max(1))));
    }

    pub(super) fn below(&self, bound: usize) -> usize {
        self.dice.borrow_mut().usize(..bound)
    }

    /// True in `share` of all cases, which may be more than all.
    pub(super) fn falls_in(&self, share: f64) -> bool {
        share >= 1.0 || self.dice.borrow_mut().f64() < share
    }
}

impl Default for Cursor {
    fn default() -> Self {
        Self::new(Rng::new())
    }
}

impl Cursors {
    /// Of the upstream with this number. Two upstreams of one number share a cursor, which only makes their ties
    /// rotate less evenly.
    pub(crate) fn of(&self, upstream: usize) -> &Cursor {
        &self.0[upstream % LANES]
    }
}

impl Default for Cursors {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cursor::default()))
    }
}

const LANES: usize = 64;
