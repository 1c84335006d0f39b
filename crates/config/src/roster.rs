//! Which nodes exist now: what names resolved to, and later which processes of an app run.
//! The control thread writes it, the data plane reads it.

use std::net::SocketAddr;

use crate::plan::NodeBounds;
use std::path::PathBuf;

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
    /// See [`crate::plan::NodeSpec::bounds`].
    pub bounds: NodeBounds,
}

/// The nodes of one upstream, in the order of the file and then of their addresses; none twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    /// The nodes.
    pub nodes: Vec<RosterNode>,
}

/// Which process of an app: its slot is its number among the others and stays, its generation grows with every start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    /// From 0; NODE_APP_INSTANCE and INSTANCE_ID tell it to the process.
    pub slot: u32,
    /// From 1, over all slots of the app.
    pub generation: u64,
}

/// A process of an app that can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Instance {
    /// Which.
    pub id: InstanceId,
    /// Where it listens.
    pub address: InstanceAddress,
    /// Whether it runs what the app is now. Others are being replaced: new sessions prefer those that are current up
    /// to their even share, plain requests do not care.
    pub is_current: bool,
}

/// Where an instance listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum InstanceAddress {
    /// On loopback.
    Tcp(SocketAddr),
    /// On a Unix socket (`socket = "unix"`).
    Unix(PathBuf),
}
