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
    /// Session ids and cookies of the right form that no key has signed, and that nobody knows.
    pub unverifiable: u64,
    /// Lately there were so many of them that another tidelock must have signed them, with another secret.
    pub has_foreign: bool,
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
    /// How often it has sent bytes behind an answer, so that its connections were not used again for a minute.
    pub surplus: u64,
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
            surplus: node.surplus_count(),
        }
    }
}

/// What is on a node, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// WebSockets.
    pub tunnels: usize,
    /// Engine.IO sessions that poll.
    pub polling: usize,
    /// Requests under way, pending polls among them.
    pub requests: usize,
}

impl Left {
    /// All of it.
    pub fn sum(self) -> usize {
        self.tunnels + self.polling + self.requests
    }
}

impl std::ops::Add for Left {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tunnels: self.tunnels + other.tunnels,
            polling: self.polling + other.polling,
            requests: self.requests + other.requests,
        }
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = [
            (self.tunnels, "WebSocket"),
            (self.polling, "polling session"),
            (self.requests, "request under way"),
        ];
        let said = kinds.iter().filter(|(count, _)| *count > 0).map(|(count, what)| match (*count, *what) {
            (1, what) => format!("1 {what}"),
            (count, "request under way") => format!("{count} requests under way"),
            (count, what) => format!("{count} {what}s"),
        });
        let said: Vec<String> = said.collect();
        f.write_str(if said.is_empty() { "nothing" } else { return f.write_str(&said.join(", ")) })
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

    /// What is still on it.
    pub fn left(&self) -> Left {
        let tunnels = self.0.tunnels.count();
        Left { tunnels, polling: self.0.sessions().saturating_sub(tunnels), requests: self.0.in_flight() }
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
