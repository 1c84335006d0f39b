//! Picks a node for one request. Pure: no clock, no socket, no lock; it reads loads and moves its cursor. Health
//! changes a node's state, never this folder.

mod ask;
mod cursor;
mod round;
mod turns;
mod least;
mod two;
pub(crate) mod hash;

use tokio::time::Instant;

pub(crate) use self::ask::{Ask, Load, Preference, Unpicked};
pub(crate) use self::cursor::{Cursor, Cursors};
pub(crate) use self::round::Turns;
use crate::upstream::member::Begins;

/// What decides between nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Policy {
    /// Whoever carries the least of it for its weight.
    Least(Load),
    /// One after the other.
    InTurn,
    /// Of two drawn by weight, the one with fewer connections in use for its weight.
    RandomTwo,
    /// Of two drawn by weight, the one that would answer sooner as far as is known at this moment.
    PeakEwma(Instant),
    /// The same node for the same key.
    Hash(u64),
}

/// Picks a node, and says its index.
pub(crate) fn pick(ask: &Ask<'_>, policy: Policy, cursor: &Cursor) -> Result<usize, Unpicked> {
    match policy {
        Policy::Hash(key) => hash::pick(ask, key),
        Policy::Least(Load::Sessions) => least::sessions(ask, cursor),
        // While processes of an app are being replaced, what is placed on an old one has to move again.
        _ if ask.begins == Begins::Session && ask.members.iter().any(|member| member.node.is_outdated()) => {
            least::sessions(ask, cursor)
        }
        Policy::Least(load @ (Load::InFlight | Load::Connections)) => least::requests(ask, load, cursor),
        Policy::InTurn => turns::pick(ask, cursor),
        Policy::RandomTwo => two::less_busy(ask, cursor),
        Policy::PeakEwma(now) => two::sooner(ask, now, cursor),
    }
}

#[cfg(test)]
mod tests;
