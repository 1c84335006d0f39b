//! Which nodes exist now: what names resolved to, and later which processes of an app run.
//! The control thread writes it, the data plane reads it.

use std::net::SocketAddr;

/// One node that exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RosterNode {
    /// The entry of the upstream that it comes from, as written.
    pub written: String,
    /// Where it is reached.
    pub address: SocketAddr,
    /// See [`crate::plan::NodeSpec::weight`].
    pub weight: u32,
    /// See [`crate::plan::NodeSpec::backup`].
    pub backup: bool,
}

/// The nodes of one upstream, in the order of the file and then of their addresses; none twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// The nodes.
    pub nodes: Vec<RosterNode>,
}
