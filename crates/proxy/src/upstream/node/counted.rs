//! What is on a node: each lives as long as it is, and is counted by that, so that none is ever forgotten.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Node;

impl Node {
    /// One of its polls is overdue, for as long as this lives.
    pub(crate) fn overdue(self: &Arc<Self>) -> Overdue {
        self.overdue.fetch_add(1, Relaxed);
        Overdue(self.clone())
    }

    /// Whether a poll to it is overdue, so that each looks whether it is the one. One load, for all that nearly
    /// always are not.
    pub(crate) fn has_overdue(&self) -> bool {
        self.overdue.load(Relaxed) > 0
    }
}

/// One request on its way to a node. Load is the number of these that live, so that none is ever forgotten.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Node>);

impl InFlight {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        node.hot.in_flight.fetch_add(1, Relaxed);
        Self(node)
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.hot.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A poll that its node should have ended.
#[derive(Debug)]
pub(crate) struct Overdue(Arc<Node>);

impl Drop for Overdue {
    fn drop(&mut self) {
        self.0.overdue.fetch_sub(1, Relaxed);
    }
}

/// One session on a node, or a handshake on its way to become one.
#[derive(Debug)]
pub(crate) struct InSession(Arc<Node>);

impl InSession {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        node.hot.sessions.fetch_add(1, Relaxed);
        Self(node)
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for InSession {
    fn drop(&mut self) {
        self.0.hot.sessions.fetch_sub(1, Relaxed);
    }
}
