//! `[upstream.NAME.rebalance]`.

use std::time::Duration;

use crate::file::declare::declare;
use crate::file::kinds::{Count, Time};

declare! {
    /// How sessions are moved from nodes that have more than their even share, the oldest first, to those that have less.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Rebalance in REBALANCE = "rebalance", One:
        "Moves sessions to nodes that have fewer, the oldest of a node first, as a drain moves them: after a node was added, or has come back. Never while a node is down, draining or new. Only with \"least-sessions\", and \"auto\", \"engineio\", \"engineio-learned\" or \"none\".";
    keys {
        /// So many percent of the sessions of a node that has too many are moved in each `every`, and never more than make the
        /// pool even; 0 is off.
        PERCENT percent: u32 = 0, Count { least: 0, most: 100 };
        /// The time in which so many are moved, one after the other.
        EVERY every: Duration = Duration::from_mins(1),
            Time { least: Duration::from_secs(1), most: Duration::from_hours(1) };
        /// Nothing is moved until every node has been up for so long.
        SETTLE settle: Duration = Duration::from_mins(1),
            Time { least: Duration::ZERO, most: Duration::from_hours(1) };
    }
}
