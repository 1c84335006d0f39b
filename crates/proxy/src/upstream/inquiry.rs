//! What is known of a node's death, and who wants to know.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::time::Instant;

/// What is known of a node's death.
#[derive(Debug, Default)]
pub(crate) struct Inquiry(Mutex<State>);

#[derive(Debug, Default)]
pub(super) enum State {
    #[default]
    Unasked,
    /// Somebody asks; these want to know.
    Asked(Vec<Waker>),
    Known {
        is_dead: bool,
        since: Instant,
    },
}

impl Inquiry {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
