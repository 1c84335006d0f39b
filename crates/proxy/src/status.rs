//! What there is to see from outside: plain values, read at one moment.

use std::sync::Arc;
use std::time::Duration;

use config::roster::{AppInstance, NodeAddress};
use tokio::time::Instant;

use crate::record::Counts;
use crate::upstream::node::Node;

/// The proxy at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// It accepts no more and ends when what runs has ended.
    pub is_leaving: bool,
    /// In the plan's order.
    pub upstreams: Vec<UpstreamStatus>,
    /// What each worker has counted.
    pub workers: Vec<Counts>,
}

/// An upstream at one moment.
#[derive(Debug, Clone)]
pub struct UpstreamStatus {
    /// Its key in the file.
    pub name: String,
    /// Its nodes, then those that were removed and still have sessions.
    pub nodes: Vec<NodeStatus>,
}

/// A node at one moment.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// As written in the file.
    pub node: String,
    /// Where it is reached.
    pub address: NodeAddress,
    /// The process that it is, if tidelock runs it.
    pub instance: Option<AppInstance>,
    /// `up` or `down`.
    pub state: &'static str,
    /// It gets nothing new; its sessions leave it.
    pub draining: bool,
    /// It is no more in the file.
    pub is_removed: bool,
    /// Why it is up or down; also how long it will be out at least, or how far its slow start is.
    pub cause: String,
    /// For how long.
    pub since: Duration,
    /// Engine.IO sessions and other tunnels.
    pub sessions: usize,
    /// Tunnels, those of sessions included.
    pub tunnels: usize,
    /// Requests under way.
    pub in_flight: usize,
}

impl NodeStatus {
    pub(crate) fn of(node: &Node, is_removed: bool) -> Self {
        let (cause, since) = node.cause(Instant::now());
        Self {
            node: node.written(),
            address: node.address().clone(),
            instance: node.instance.clone(),
            state: if node.is_up() { "up" } else { "down" },
            draining: node.is_draining(),
            is_removed,
            cause,
            since: since.elapsed(),
            sessions: node.sessions(),
            tunnels: node.tunnels.count(),
            in_flight: node.in_flight(),
        }
    }
}

/// A node that somebody asked about, for as long as they want to know.
#[derive(Debug, Clone)]
pub struct NodeHandle(pub(crate) Arc<Node>);

impl NodeHandle {
    /// The name of its upstream.
    pub fn upstream(&self) -> &str {
        &self.0.upstream
    }

    /// As written in the file.
    pub fn node(&self) -> String {
        self.0.written()
    }

    /// Where it is reached.
    pub fn address(&self) -> &NodeAddress {
        self.0.address()
    }

    /// Sessions and requests under way.
    pub fn left(&self) -> usize {
        self.0.sessions() + self.0.in_flight()
    }

    /// Whether it is still leaving.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining()
    }
}

/// Nothing has the name that was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no node or upstream is called {asked}; there is {}", known.join(", "))]
pub struct UnknownNode {
    pub(crate) asked: String,
    pub(crate) known: Vec<String>,
}
