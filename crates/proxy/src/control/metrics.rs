//! What is counted, as plain values at one moment.

use std::collections::BTreeMap;

use crate::control::proxy::Proxy;
use crate::control::status::Status;
use crate::net::scheduled::Scheduled;
use crate::observe::routes::{RouteCounts, RouteName};
use crate::upstream::Upstream;
use crate::upstream::gone::NodeCounts;
use crate::upstream::node::Node;

/// What was counted since the start, and what there is to see beside it.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// How everything is at the moment.
    pub status: Status,
    /// Routes that have taken a request.
    pub routes: Vec<(RouteName, RouteCounts)>,
    /// The nodes of the plan in force, and those that were removed and still have sessions.
    pub nodes: Vec<NodeMetrics>,
    /// The thread of each worker, in the order of `status.workers`, where the kernel tells of it.
    pub threads: Vec<Option<Scheduled>>,
}

/// What one place of an upstream has counted. The instances of an app that follow each other in a slot are one.
#[derive(Debug, Clone, Default)]
pub struct NodeMetrics {
    /// The name of its upstream.
    pub upstream: String,
    /// As written in the file; `app/slot` for an instance.
    pub node: String,
    /// Where it is reached; empty for an instance, which listens somewhere else after each start.
    pub address: String,
    /// It is up, and no drain empties it.
    pub takes_part: bool,
    /// Engine.IO sessions and other tunnels.
    pub sessions: usize,
    /// Tunnels, those of sessions included.
    pub tunnels: usize,
    /// Requests under way.
    pub in_flight: usize,
    /// What was counted since the start.
    pub counts: NodeCounts,
}

impl NodeMetrics {
    fn add(&mut self, node: &Node) {
        self.takes_part |= node.is_up() && !node.is_draining();
        self.sessions += node.sessions();
        self.tunnels += node.tunnels.count();
        self.in_flight += node.in_flight();
    }
}

impl Proxy {
    /// Everything that is counted, at this moment; `None` if the plan has no `admin.listen`, so that nobody counts. Workers are not
    /// stopped for it.
    pub fn metrics(&self) -> Option<Metrics> {
        let shared = &self.inner.shared;
        let counted: Vec<_> =
            shared.counters.iter().map(|counters| counters.routes.as_ref()).collect::<Option<_>>()?;
        let snapshot = shared.snapshot.load();
        let mut nodes: BTreeMap<(String, String, String), (NodeMetrics, NodeCounts)> = BTreeMap::new();
        for node in snapshot.upstreams.iter().flat_map(Upstream::nodes) {
            let address = if node.instance.is_some() { String::new() } else { node.address().to_string() };
            let key = (node.upstream.clone(), node.written(), address);
            let (now, counts) = nodes.entry(key).or_default();
            now.add(node);
            counts.add(&node.counts());
        }
        let mut gone = shared.gone();
        let with_those_before =
            |((upstream, node, address), (now, mut counts)): (_, (NodeMetrics, NodeCounts))| {
                let (upstream, node, address): (String, String, String) = (upstream, node, address);
                if address.is_empty() {
                    counts.add(&gone.of(&upstream, &node));
                }
                NodeMetrics { upstream, node, address, counts, ..now }
            };
        let nodes = nodes.into_iter().map(with_those_before).collect();
        Some(Metrics {
            status: self.status(),
            routes: shared.route_names.read(&counted),
            nodes,
            threads: shared.counters.iter().map(|counters| counters.scheduled()).collect(),
        })
    }
}
