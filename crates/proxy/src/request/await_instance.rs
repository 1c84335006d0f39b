//! A request that comes before the first instance of its app is ready waits for it, for a while.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::request::RequestHead;

use crate::observe::record::Record;
use crate::request::sides;
use crate::state::local::{Current, Local};
use crate::upstream::Upstream;

/// The snapshot in which the upstream of `head` has an instance that can answer. The start of an app's process, or of
/// the only one after a crash, takes a moment, and a request that waits for it is better than one that fails; but it
/// waits only so long, and not while the proxy leaves. Nobody waits beside as many others as there may be. `None` if
/// `gone` is ready first: the client has left.
pub(crate) async fn awaited(
    head: &RequestHead,
    port: u16,
    worker: &Local,
    record: &mut Record,
    gone: impl Future<Output = ()>,
) -> Option<Current> {
    let until = Instant::now() + START_TIMEOUT;
    let waiting = Waiting::begin(worker);
    let mut gone = pin!(gone);
    loop {
        let snapshot = worker.snapshot();
        let route =
            snapshot.route(head, port).ok().map(|found| sides::chosen(&snapshot, found, head, record));
        let upstream = route.and_then(|route| snapshot.upstream_of(route));
        let is_awaited = upstream.is_some_and(Upstream::awaits_instance);
        if !is_awaited || waiting.is_none() || worker.is_leaving() || Instant::now() >= until {
            return Some(snapshot);
        }
        drop(snapshot);
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = gone.as_mut() => return None,
        }
    }
}

/// One of those that wait, of a worker.
struct Waiting<'w>(&'w Cell<usize>);

impl<'w> Waiting<'w> {
    /// `None` if there are too many.
    fn begin(worker: &'w Local) -> Option<Self> {
        let waiting = &worker.await_instances;
        (waiting.get() < WAITING_MAX).then(|| {
            waiting.set(waiting.get() + 1);
            Self(waiting)
        })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(25);
/// Longer than Node.js takes to load an app, and shorter than clients wait for an answer.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Of one worker at once. Each looks so often whether there is something for it.
const WAITING_MAX: usize = 512;
