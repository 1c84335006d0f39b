//! Copies of requests that a worker has to send, for upstreams whose answers nobody gets.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;

use crate::observe::counters::Counters;

/// The copies that a worker has to send.
#[derive(Debug)]
pub(crate) struct Copies {
    whole: RefCell<VecDeque<Copied>>,
    has_more: Notify,
    /// So many are made or sent.
    places_taken: Cell<usize>,
    counters: Arc<Counters>,
}

/// One of [`COPIES_MAX`] copies, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Rc<Copies>);

/// A request as a node of another upstream gets it.
#[derive(Debug)]
pub(crate) struct Copied {
    pub(crate) upstream: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_head: bool,
    pub(crate) is_repeatable: bool,
    pub(crate) place: Place,
}

/// A copy whose body is still coming. Dropped before that is whole, it is sent to nobody.
#[derive(Debug)]
pub(crate) struct BodyCopy {
    copied: Copied,
    /// So much of the body may still come.
    left_max: u64,
}

impl Copies {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { whole: RefCell::default(), has_more: Notify::new(), places_taken: Cell::new(0), counters }
    }

    pub(crate) fn place(self: &Rc<Self>) -> Option<Place> {
        let taken = self.places_taken.get();
        if taken == COPIES_MAX {
            self.counters.count_beside(NO_ROOM);
            return None;
        }
        self.places_taken.set(taken + 1);
        Some(Place(self.clone()))
    }

    pub(crate) fn send(&self, copied: Copied) {
        self.whole.borrow_mut().push_back(copied);
        self.has_more.notify_one();
    }

    /// Waits for one that is whole. There is one task that does.
    pub(crate) async fn next(&self) -> Copied {
        loop {
            if let Some(copied) = self.whole.borrow_mut().pop_front() {
                return copied;
            }
            self.has_more.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.places_taken.set(self.0.places_taken.get() - 1);
    }
}

impl BodyCopy {
    pub(crate) fn new(copied: Copied, left_max: u64) -> Self {
        Self { copied, left_max }
    }

    /// Takes more of the body, framed as it is for nodes, and gives it on once it is whole. `None` when no more of it is wanted.
    pub(crate) fn taken(mut self: Box<Self>, framed: &[u8], is_end: bool) -> Option<Box<Self>> {
        let Some(left_max) = self.left_max.checked_sub(framed.len() as u64) else {
            self.copied.place.0.counters.count_beside(TOO_LONG);
            return None;
        };
        self.left_max = left_max;
        self.copied.bytes.extend_from_slice(framed);
        if is_end {
            let copies = self.copied.place.0.clone();
            copies.send(self.copied);
            return None;
        }
        Some(self)
    }
}

/// Of one worker, at once. What an upstream that answers slowly, or not at all, costs is bounded by it.
const COPIES_MAX: usize = 128;
/// Under what those are counted that are not made.
const NO_ROOM: &str = "requests not copied to a mirror that is too slow";
pub(crate) const TOO_LONG: &str = "requests not copied to a mirror for their length";
