//! Which nodes exist now: what names resolved to, and which processes of an app run.
//! The control thread writes it, the data plane reads it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::plan::NodeBounds;

/// One node that exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RosterNode {
    /// The entry of the upstream that it comes from, as written; for a process of an app `APP/SLOT`.
    pub written: String,
    /// Where it is reached.
    pub address: NodeAddress,
    /// The process that it is, if tidelock runs it.
    pub instance: Option<AppInstance>,
    /// See [`crate::plan::NodeSpec::weight`].
    pub weight: u32,
    /// See [`crate::plan::NodeSpec::backup`].
    pub backup: bool,
    /// See [`crate::plan::NodeSpec::bounds`].
    pub bounds: NodeBounds,
}

/// Where a node listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NodeAddress {
    /// Anywhere, on a port.
    Tcp(SocketAddr),
    /// On this machine, on a Unix socket (`socket = "unix"` of an app).
    Unix(PathBuf),
}

impl From<SocketAddr> for NodeAddress {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One process among those of all apps.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppInstance {
    /// The name of the app.
    pub app: String,
    /// Which of its processes.
    pub id: InstanceId,
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

/// Where an instance listens: on loopback, or on a Unix socket.
pub type InstanceAddress = NodeAddress;
