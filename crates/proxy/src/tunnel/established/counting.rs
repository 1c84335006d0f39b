//! What a tunnel has moved, turn by turn, where that is collected. None of it is inlined, so that a turn of which nothing is
//! collected pays for one branch.

use crate::observe::routes::{Passed, RouteCounters};
use crate::tunnel::established::Tunnel;

/// By direction.
#[derive(Debug)]
pub(super) struct PassedBoth {
    to_origin: Passed,
    to_client: Passed,
}

impl Tunnel {
    /// Counts the messages that came in one packet with the handshake or its answer: they are here before anything moves.
    pub(in crate::tunnel) fn count_early(&self, routes: &RouteCounters) {
        routes.count_moved(self.signal.whose().route, self.to_origin.passed(), self.to_client.passed());
    }

    #[inline(never)]
    pub(super) fn passed(&self) -> PassedBoth {
        PassedBoth { to_origin: self.to_origin.passed(), to_client: self.to_client.passed() }
    }

    #[inline(never)]
    pub(super) fn count_since(&self, before: &PassedBoth, routes: &RouteCounters) {
        let now = self.passed();
        let (to_origin, to_client) =
            (now.to_origin.since(before.to_origin), now.to_client.since(before.to_client));
        routes.count_moved(self.signal.whose().route, to_origin, to_client);
    }
}
