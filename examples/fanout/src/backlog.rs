//! How much may wait for this node's clients.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::AcqRel},
};

/// How many bytes may wait for clients, of all namespaces together.
pub(crate) struct Budget {
    taken: AtomicUsize,
    pub(crate) max: usize,
}

pub(crate) struct Held {
    pub(crate) bytes: usize,
    budget: Arc<Budget>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    pub(crate) fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let held = Held { bytes, budget: self.clone() };
        // Given back when `held` is dropped, also where it is too much.
        (self.taken.fetch_add(bytes, AcqRel) + bytes <= self.max).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, AcqRel);
    }
}
