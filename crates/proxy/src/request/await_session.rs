//! A request of a session that nobody knows, while the tidelock before this one has not ended: the session may have begun there a
//! moment ago, and the client be here before word of it is.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use wire::request::RequestHead;

use crate::request::await_instance::Waiting;
use crate::request::sticky::{SessionTarget, session_target};
use crate::state::local::Local;
use crate::upstream::Upstream;

/// Where the session is, once that is known. `None` if nobody is there who could tell, or has told in time, or if `gone` is ready
/// first: the client has left.
pub(crate) async fn awaited(
    head: &RequestHead,
    upstream: &Upstream,
    worker: &Local,
    gone: impl Future<Output = ()>,
) -> Option<SessionTarget> {
    let predecessor = &worker.shared.predecessor;
    if !predecessor.is_there() {
        return None;
    }
    let sid = head.sid()?;
    let _waiting = Waiting::begin(&worker.await_sessions)?;
    let mut late = pin!(sleep_until(Instant::now() + TOLD_WITHIN));
    let mut gone = pin!(gone);
    loop {
        // What is told between the look and the wait counts.
        let told = predecessor.told();
        if let Some(target) = session_target(&sid, upstream) {
            return Some(target);
        }
        if !predecessor.is_there() {
            return None;
        }
        tokio::select! {
            () = told => {}
            () = late.as_mut() => return None,
            () = gone.as_mut() => return None,
        }
    }
}

/// Over a socket of this machine; most of it is for a machine that is busy.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
