//! Whether a node is dead: asked once for all of its tunnels that end in the same moment without a word. Dead is what the
//! supervisor knows has ended, or what refuses a connection; a node that lives has ended them because it wanted to.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::spawn_local;
use tokio::time::{Instant, sleep, timeout};

use crate::upstream::connect::{reach, says_refused};
use crate::upstream::inquiry::State;
use crate::upstream::node::Node;

impl Node {
    /// Whether it is dead, ready once that is known. The task is woken then. What was found out lately still holds.
    /// To be called inside a worker's runtime.
    pub(crate) fn poll_dead(self: &Arc<Self>, cx: &Context<'_>, now: Instant) -> Poll<bool> {
        if self.is_gone() {
            return Poll::Ready(true);
        }
        let mut state = self.inquiry.state();
        match &mut *state {
            State::Known { is_dead, since } if now.saturating_duration_since(*since) < HOLDS_FOR => {
                return Poll::Ready(*is_dead);
            }
            State::Asked(wakers) => wakers.push(cx.waker().clone()),
            State::Unasked | State::Known { .. } => {
                *state = State::Asked(vec![cx.waker().clone()]);
                drop(spawn_local(ask(self.clone())));
            }
        }
        Poll::Pending
    }
}

/// Finds out, and tells all who want to know, whatever becomes of this task.
async fn ask(node: Arc<Node>) {
    struct Tells(Arc<Node>, bool);
    impl Drop for Tells {
        fn drop(&mut self) {
            let known = State::Known { is_dead: self.1, since: Instant::now() };
            if let State::Asked(wakers) = std::mem::replace(&mut *self.0.inquiry.state(), known) {
                wakers.into_iter().for_each(Waker::wake);
            }
        }
    }
    let mut tells = Tells(node.clone(), false);
    tells.1 = have_died(&[node]).await;
}

/// Whether all of these have just died: the system refuses for a process that is gone. One that closes a connection
/// closes what it listens on a moment later.
pub(crate) async fn have_died(nodes: &[Arc<Node>]) -> bool {
    for node in nodes {
        let mut looks = 0;
        while !node.is_gone() {
            match timeout(LOOK_TIMEOUT, reach(node.address())).await {
                Ok(Err(error)) if says_refused(&error) => break,
                Ok(Ok(_)) if looks < LOOKS_MAX => looks += 1,
                _ => return false,
            }
            sleep(LOOK_AGAIN).await;
        }
    }
    true
}

/// A process that is started again takes longer.
const HOLDS_FOR: Duration = Duration::from_millis(200);
const LOOKS_MAX: u32 = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const LOOK_TIMEOUT: Duration = Duration::from_millis(500);
