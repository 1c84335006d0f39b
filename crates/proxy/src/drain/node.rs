//! Empties one node: each of its sessions gets a turn; tunnels are told theirs, polling sessions are closed through
//! the node when theirs has come. Runs on the control thread.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::bell::{Order, Reason};
use crate::drain::polling::{self, Closed};
use crate::drain::schedule::Schedule;
use crate::registry::Registry;
use crate::upstream::node::Node;

/// How a node is emptied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) window: Duration,
    pub(crate) deadline: Duration,
}

/// Empties `node`, which takes nothing new any more, until its owner lets go of it. Returns how many sessions and
/// requests were left at the deadline; `None` if it was called off.
pub(crate) async fn empty(
    node: Arc<Node>,
    registry: Arc<Registry>,
    pace: Pace,
    mut owner: oneshot::Receiver<Infallible>,
) -> Option<usize> {
    let begun = Instant::now();
    let until = begun + pace.deadline;
    let mut schedule = Schedule::new(begun, pace.window, Rng::new());
    let mut turns: BinaryHeap<Reverse<(Instant, Box<[u8]>)>> = BinaryHeap::new();
    let mut closing = JoinSet::new();
    let left = loop {
        let now = Instant::now();
        let polling = registry.schedule_polling(&node);
        let tunnels = node.tunnels.unrung();
        let mut new_turns = schedule.turns(polling.len() + tunnels, now).into_iter();
        turns.extend(polling.into_iter().zip(&mut new_turns).map(|(sid, turn)| Reverse((turn, sid))));
        // A tunnel that has come since they were counted has no turn of its own.
        node.tunnels.ring_each(|| Order {
            at: new_turns.next().unwrap_or(now),
            until,
            reason: Reason::Restart,
        });
        while turns.peek().is_some_and(|Reverse((turn, _))| *turn <= now) && closing.len() < CLOSING_MAX {
            if let Some(Reverse((_, sid))) = turns.pop() {
                closing.spawn_local(polling::close(sid, node.clone(), registry.clone(), until));
            }
        }
        let left = node.sessions() + node.in_flight();
        if left == 0 || now >= until {
            tracing::info!(upstream = node.upstream, node = node.written(), left, "node drained");
            break Some(left);
        }
        let next = turns.peek().map_or(now + LOOK_EVERY, |Reverse((turn, _))| (*turn).min(now + LOOK_EVERY));
        tokio::select! {
            _ = &mut owner => break None,
            () = sleep_until(next.max(now + LOOK_AT_MOST_EVERY).min(until)) => {}
            Some(closed) = closing.join_next() => {
                if let Ok(Closed::Failed) = closed {
                    tracing::debug!(node = node.written(), "a polling session could not be closed politely");
                }
            }
        }
    };
    // Whoever had no turn can be given another one, by another drain.
    for Reverse((_, sid)) in turns {
        registry.unschedule(&sid);
    }
    // What has begun to close a session finishes, or the client would be told and the node not.
    while closing.join_next().await.is_some() {}
    left
}

/// Requests to the node under way to close polling sessions.
const CLOSING_MAX: usize = 64;
/// New sessions of a draining node, upgrades of its own, are found so soon.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(5);
