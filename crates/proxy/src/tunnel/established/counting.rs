//! What a tunnel has moved, turn by turn, where that is collected.

use std::task::{Context, Poll};

use crate::net::buffers::Buffers;
use crate::observe::record::EndedBy;
use crate::observe::routes::{Passed, RouteCounters};
use crate::state::local::Local;
use crate::tunnel::established::Tunnel;

impl Tunnel {
    /// One turn, whose messages and bytes are counted. Where nobody collects that it costs one branch.
    pub(in crate::tunnel) fn poll_counted(&mut self, cx: &mut Context<'_>, worker: &Local) -> Poll<EndedBy> {
        match &worker.counters.routes {
            None => self.poll(cx, &worker.buffers),
            Some(routes) => self.poll_for_routes(cx, &worker.buffers, routes),
        }
    }

    /// Counts the messages that came in one packet with the handshake or its answer: they are here before anything moves.
    pub(in crate::tunnel) fn count_early(&self, routes: &RouteCounters) {
        let (to_origin, to_client) = self.passed();
        routes.count_moved(self.signal.whose().route, to_origin, to_client);
    }

    #[inline(never)]
    fn poll_for_routes(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
        routes: &RouteCounters,
    ) -> Poll<EndedBy> {
        let before = self.passed();
        let ended_by = self.poll(cx, buffers);
        let now = self.passed();
        routes.count_moved(self.signal.whose().route, now.0.since(before.0), now.1.since(before.1));
        ended_by
    }

    /// Towards the node, and towards the client.
    fn passed(&self) -> (Passed, Passed) {
        (self.to_origin.passed(), self.to_client.passed())
    }
}
