//! Requests that kill. A request that may be sent again survives the death of one process; if the next one dies of it too,
//! it is the request, and for a while its like is not sent to another one.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use wire::request::RequestHead;

use crate::upstream::connect::{open, says_refused};
use crate::upstream::node::Node;

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

    /// Whether its like has killed lately.
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

/// Whether all of these have just died: the system refuses for a process that is gone. One that closes a connection closes
/// what it listens on a moment later.
pub(crate) async fn have_died(nodes: &[Arc<Node>]) -> bool {
    for node in nodes {
        let mut looks = 0;
        while !node.is_gone() {
            match timeout(LOOK_PATIENCE, open(node.address())).await {
                Ok(Err(error)) if says_refused(&error) => break,
                Ok(Ok(_)) if looks < LOOKS_MAX => looks += 1,
                _ => return false,
            }
            sleep(LOOK_AGAIN).await;
        }
    }
    true
}

/// More than an app has ways to die.
const KNOWN_MAX: usize = 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(60);
const LOOKS_MAX: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const LOOK_PATIENCE: Duration = Duration::from_millis(500);
