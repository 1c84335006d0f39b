//! Which nodes exist now: what names resolved to, and which processes of an app run.
//! The control thread writes it, the data plane reads it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use crate::plan::values::NodeBounds;

/// One node that exists.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RosterNode {
    /// The entry of the upstream that it comes from, as written; for a process of an app `APP/SLOT`.
    pub written: String,
    /// Where it is reached.
    pub address: NodeAddress,
    /// The name that its certificate has to have, where it speaks TLS.
    pub tls_name: Option<String>,
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
    /// On this machine, on a port of 127.0.0.1 or of ::1: a name means both, and the app listens on one of them.
    Loopback(u16),
    /// On this machine, on a Unix socket (`socket = "unix"` of an app).
    Unix(PathBuf),
}

impl NodeAddress {
    /// Both are the same place: a port on loopback is each of the addresses that [`Self::loopbacks`] names.
    pub fn is_where(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Loopback(port), Self::Tcp(address)) | (Self::Tcp(address), Self::Loopback(port)) => {
                Self::loopbacks(*port).contains(address)
            }
            _ => self == other,
        }
    }

    /// The addresses that [`Self::Loopback`] stands for, in the order in which they are asked.
    pub fn loopbacks(port: u16) -> [SocketAddr; 2] {
        [(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
    }
}

/// Why no node can be at an address, in words that follow it in a sentence; `None` if one can. What "0.0.0.0" is to
/// a listener it is not to whoever connects.
pub fn why_no_node(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) if address.is_broadcast() => Some("is the broadcast address"),
        address if address.is_unspecified() => Some("means all addresses of a machine, and is none"),
        address if address.is_multicast() => Some("is a multicast address"),
        _ => None,
    }
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
            Self::Loopback(port) => write!(f, "localhost:{port}"),
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
    /// Every node that can be reached now, and those that are being emptied.
    pub nodes: Vec<RosterNode>,
    /// It is fed by an app that is stopped or given up: nothing of it runs again by itself.
    pub is_stopped: bool,
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
    /// Its slot, and which start of that slot it is.
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
    /// On a port of loopback.
    Tcp(SocketAddr),
    /// On a Unix socket (`socket = "unix"`).
    Unix(PathBuf),
}

impl From<InstanceAddress> for NodeAddress {
    fn from(address: InstanceAddress) -> Self {
        match address {
            InstanceAddress::Tcp(address) => Self::Tcp(address),
            InstanceAddress::Unix(path) => Self::Unix(path),
        }
    }
}

impl fmt::Display for InstanceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NodeAddress::from(self.clone()).fmt(f)
    }
}
