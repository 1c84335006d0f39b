//! Where picks stand, which is all that they change.

use std::cell::{Cell, RefCell};

use fastrand::Rng;

/// Where a worker, or the choice of sessions, is in an upstream: the only thing that a pick changes.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Whose turn is next. Without it every tie would go to the first node of the file.
    at: Cell<usize>,
    /// Whose turn it was after the last pin.
    after_pin: Cell<usize>,
    dice: RefCell<Rng>,
}

/// A worker's cursors, one for each upstream.
#[derive(Debug)]
pub(crate) struct Cursors([Cursor; LANES]);

impl Cursor {
    pub(crate) fn new(dice: Rng) -> Self {
        Self { at: Cell::new(0), after_pin: Cell::new(0), dice: RefCell::new(dice) }
    }

    /// The turn it stands at. The next call gets the one after it, without an end: whoever asks takes it modulo the turns there are.
    pub(super) fn advance(&self) -> usize {
        let at = self.at.get();
        self.at.set(at.wrapping_add(1));
        at
    }

    /// A client has been pinned to its node. Whatever its requests did to the turns, the next client begins one node further
    /// than this one did: clients that all ask in one rhythm, a page and then its login, would else log in at every second
    /// node, or every third. The fewest sessions could not decide instead: nobody knows which request will log in, and while
    /// nothing is under way all pages would go to one node.
    pub(crate) fn pinned(&self) {
        let next = self.after_pin.get().wrapping_add(1);
        self.after_pin.set(next);
        self.at.set(next);
    }

    pub(super) fn below(&self, bound: usize) -> usize {
        self.dice.borrow_mut().usize(..bound)
    }

    /// True in `share` of all cases, which may be more than all.
    pub(super) fn falls_in(&self, share: f64) -> bool {
        share >= 1.0 || self.dice.borrow_mut().f64() < share
    }
}

/// The first turn is that of the first node. Pins begin anywhere: all workers' first would else be the same node's.
impl Default for Cursor {
    fn default() -> Self {
        let mut dice = Rng::new();
        let after_pin = Cell::new(dice.usize(..LANES));
        Self { after_pin, ..Self::new(dice) }
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
