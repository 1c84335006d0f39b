//! A node as one snapshot uses it: what the file, a name or an app says of it now. Never changed, and made anew whenever
//! one of them says something else; what the node carries and how it is are the [`Node`]'s own.

use std::sync::{Arc, LazyLock};

use config::plan::NodeBounds;
use config::roster::{AppInstance, InstanceId, NodeAddress, RosterNode};
use wire::rendezvous;
use wire::tag::{Key, Seal};

use crate::upstream::node::Node;

/// One node of a pool.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) node: Arc<Node>,
    /// What is said of it.
    pub(crate) entry: RosterNode,
    /// Whether nothing of that is a reason to think twice: it stands in for nobody and has no bounds.
    is_plain: bool,
    /// What it is to rendezvous hashing.
    pub(crate) seed: u64,
    /// What tags and pins of it are made with.
    pub(crate) seal: Seal,
}

/// What a request begins on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// A session, which stays.
    Session,
    /// A request and nothing more.
    Request,
}

impl Member {
    /// `key` is the one that signs.
    pub(crate) fn new(node: Arc<Node>, entry: RosterNode, key: &Key) -> Self {
        let is_plain = !entry.backup && entry.bounds == NodeBounds::default();
        Self { seed: seed_of(&entry), seal: key.seal(&place_of(&entry)), is_plain, node, entry }
    }

    /// Whether it can have whatever comes: there is no bound, no backup and nothing about its health to look at. So
    /// can nearly all nodes at nearly all times.
    pub(crate) fn is_plain(&self) -> bool {
        self.is_plain && self.node.is_ready()
    }

    /// Whether it carries as much as it may, so that this would be too much.
    pub(crate) fn is_full(&self, begins: Begins) -> bool {
        let NodeBounds { connections_max, sessions_max } = self.entry.bounds;
        connections_max.is_some_and(|max| self.node.connections() >= max)
            || (begins == Begins::Session && sessions_max.is_some_and(|max| self.node.sessions() >= max))
    }

    pub(crate) fn serves(&self) -> bool {
        self.node.is_up() && !self.node.is_draining()
    }

    /// Its share of the load, as far as it is in its slow start.
    pub(crate) fn weight(&self) -> f64 {
        f64::from(self.entry.weight) * self.node.ramp()
    }

    /// The same in thousandths.
    pub(crate) fn weight_thousandths(&self) -> u64 {
        u64::from(self.entry.weight) * u64::from(self.node.share())
    }

    /// As the plan has it.
    pub(crate) fn full_weight(&self) -> u64 {
        u64::from(self.entry.weight)
    }
}

/// What a node is to rendezvous hashing. A process of an app has another port with every start; keys belong to its
/// slot.
fn seed_of(entry: &RosterNode) -> u64 {
    match &entry.instance {
        Some(_) => rendezvous::seed(&entry.written, ""),
        None => rendezvous::seed(&entry.written, &entry.address),
    }
}

/// What tells a node from all others, the same on every tidelock, whatever the file calls it: where it listens. A
/// process of an app has another port with every start, and another machine may have the same, so that it is the
/// machine, the app, the slot and the generation there.
pub(crate) fn place_of(entry: &RosterNode) -> String {
    match (&entry.instance, &entry.address) {
        (Some(AppInstance { app, id: InstanceId { slot, generation } }), _) => {
            format!("app:{}/{app}/{slot}/{generation}", *MACHINE)
        }
        (None, NodeAddress::Tcp(address)) => format!("tcp:{address}"),
        // Nearly always, and the file may have called it that before.
        (None, NodeAddress::Loopback(port)) => format!("tcp:127.0.0.1:{port}"),
        (None, NodeAddress::Unix(path)) => format!("unix:{}", path.display()),
    }
}

/// The name of this machine or container, asked once.
static MACHINE: LazyLock<String> =
    LazyLock::new(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
