//! Requests that kill. A request that may be sent again survives the death of one process; if the next one dies of it too,
//! it is the request, and for a while its like is not sent to another one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use wire::request::RequestHead;

/// What has killed lately, in one upstream.
#[derive(Debug, Default)]
pub(crate) struct Poison {
    /// By a digest of method and path, until when.
    known: Mutex<HashMap<u64, Instant>>,
    hasher: RandomState,
}

impl Poison {
    /// Two processes have died of it.
    pub(crate) fn note(&self, head: &RequestHead, now: Instant) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.retain(|_, until| *until > now);
        }
        if known.len() < KNOWN_MAX {
            known.insert(self.digest(head), now + REMEMBERED_FOR);
        }
    }

    /// Two processes have died of a request with the same method and path within the last minute.
    pub(crate) fn knows(&self, head: &RequestHead, now: Instant) -> bool {
        self.known().get(&self.digest(head)).is_some_and(|until| *until > now)
    }

    fn digest(&self, head: &RequestHead) -> u64 {
        self.hasher.hash_one((head.method_bytes(), head.path_bytes()))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Instant>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More than an app has ways to die.
const KNOWN_MAX: usize = 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
