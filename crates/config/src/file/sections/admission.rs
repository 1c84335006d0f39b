//! The keys of an upstream about crowds. They stand in `[upstream.NAME]` itself.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::file::declare::declare;
use crate::file::kinds::probe::Rate;
use crate::file::kinds::{Count, OrNone, Time};

declare! {
    /// How a crowd is kept from overrunning the nodes.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Admission in ADMISSION = "admission", One: "How a crowd is kept from overrunning the nodes.";
    keys {
        /// Second tries of requests that may have reached a node, in percent of the requests of the last 10 s, and 10 more. Beyond
        /// it the first fault is the answer.
        RETRY_PERCENT retry_percent: u32 = 20, Count { least: 0, most: 1_000 };
        /// New sessions a second for each node, or "none" for no bound. More of them wait for their turn, first come, first served;
        /// what belongs to a session never waits.
        HANDSHAKE_RATE handshake_rate: Option<NonZeroU32> = None, OrNone<Rate>(Rate { least: 1, most: 1_000_000 });
        /// How long a new session waits for its turn; those who could not have it by then get 503 at once. Clients of Socket.IO
        /// give up after 20 s.
        HANDSHAKE_WAIT handshake_wait: Duration = Duration::from_secs(15),
            Time { least: Duration::ZERO, most: Duration::from_secs(60) };
        /// How long a request waits while every node is full, before it gets 503.
        FULL_WAIT full_wait: Duration = Duration::from_secs(1),
            Time { least: Duration::ZERO, most: Duration::from_secs(60) };
        /// How long a request waits while no node can be reached, before it gets 503: nodes that are restarted are mostly back by
        /// then. A POST waits if nothing of it has reached a node; what may be asked twice also otherwise, within `retry_percent`.
        DOWN_WAIT down_wait: Duration = Duration::from_secs(2),
            Time { least: Duration::ZERO, most: Duration::from_secs(60) };
    }
}
