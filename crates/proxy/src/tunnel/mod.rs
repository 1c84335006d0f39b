//! What a WebSocket becomes after its 101. Where neither end speaks TLS, `reactor` goes on with it; otherwise it is a small
//! task of the runtime.

mod established;
mod direction;
mod end;
mod rate;
mod reactor;
pub(crate) mod bench;

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, ready};

use tokio::task::spawn_local;

use crate::net::clock::by_clock;
use crate::request::upgrade::Upgraded;
use crate::state::local::Local;
use crate::tunnel::established::Tunnel;
#[cfg(test)]
pub(crate) use crate::tunnel::reactor::TunnelEntry;
pub(crate) use crate::tunnel::reactor::{Reactor, attend};

/// Opens a tunnel, which moves bytes until it ends, and is recorded then.
pub(crate) fn open(upgraded: Upgraded, reactor: &Reactor, worker: &Rc<Local>) {
    let is_plain = upgraded.client.is_plain() && upgraded.origin.io.is_plain();
    let is_bare = is_plain && reactor.is_attended();
    let Some(tunnel) = Tunnel::new(upgraded, is_bare, &worker.clock) else { return };
    if let Some(routes) = &worker.counters.routes {
        tunnel.count_early(routes);
    }
    if is_bare {
        reactor.take_in(tunnel, worker);
    } else {
        spawn_local(by_clock(worker.clock.clone(), Box::pin(run(tunnel, worker.clone()))));
    }
}

/// Moves the bytes of one that the runtime looks after. Not an async function, because those keep what they were called
/// with for life, and thousands of these live for hours.
pub(crate) fn run(mut tunnel: Tunnel, worker: Rc<Local>) -> impl Future<Output = ()> {
    poll_fn(move |cx| {
        let ended_by = ready!(tunnel.poll_counted(cx, &worker));
        worker.lines.tunnel(&tunnel.record(ended_by));
        Poll::Ready(())
    })
}
