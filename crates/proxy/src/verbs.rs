//! What people ask of a running proxy: to show what there is, to empty a node, to let it take part again.

use std::sync::Arc;

use config::plan;

use crate::drain::node::{Pace, empty};
use crate::registry::Registry;
use crate::run::Proxy;
use crate::status::{NodeHandle, NodeStatus, Status, UnknownNode, UpstreamStatus};
use crate::upstream::Upstream;
use crate::upstream::node::{Node, Observed};

/// A node, and the registry of its upstream.
type Found = (Arc<Node>, Arc<Registry>);

impl Proxy {
    /// Everything there is to see, at this moment.
    pub fn status(&self) -> Status {
        let snapshot = self.inner.shared.snapshot.load();
        let of = |upstream: &Upstream| UpstreamStatus {
            name: upstream.plan.name.clone(),
            nodes: upstream
                .nodes
                .iter()
                .map(|node| NodeStatus::of(node, false))
                .chain(
                    upstream
                        .removed
                        .iter()
                        .filter(|node| node.sessions() > 0)
                        .map(|node| NodeStatus::of(node, true)),
                )
                .collect(),
        };
        Status {
            is_leaving: self.inner.shared.drain.is_leaving(),
            upstreams: snapshot.upstreams.iter().map(of).collect(),
            workers: self.inner.shared.counters.iter().map(|counters| counters.read()).collect(),
        }
    }

    /// Gives a node, or every node of an upstream, nothing new, and its sessions a turn each to leave. It stays so
    /// until [`Proxy::undrain`]. `what` is a node as written, its address, `upstream/node`, or an upstream's name.
    pub fn drain(&self, what: &str) -> Result<Vec<NodeHandle>, UnknownNode> {
        let found = self.find(what)?;
        for (node, registry) in &found {
            self.empty(node, registry);
        }
        Ok(found.into_iter().map(|(node, _)| NodeHandle(node)).collect())
    }

    /// Lets a node take part again. Its sessions whose turn has not come stay.
    pub fn undrain(&self, what: &str) -> Result<Vec<NodeHandle>, UnknownNode> {
        let found = self.find(what)?;
        for (node, _) in &found {
            node.observe(Observed::ToldToStay);
        }
        Ok(found.into_iter().map(|(node, _)| NodeHandle(node)).collect())
    }

    /// Begins to empty a node at the plan's own pace, unless that is under way.
    pub(crate) fn empty(&self, node: &Arc<Node>, registry: &Arc<Registry>) {
        let plan::Drain { window, deadline } = self.inner.shared.snapshot.load().plan.drain;
        self.empty_at(node, registry, Pace { window, deadline });
    }

    /// The same at a pace of its own.
    pub(crate) fn empty_at(&self, node: &Arc<Node>, registry: &Arc<Registry>, pace: Pace) {
        if self.inner.emptying.borrow().iter().any(|emptied| Arc::ptr_eq(emptied, node)) {
            return;
        }
        node.observe(Observed::ToldToDrain);
        self.inner.emptying.borrow_mut().push(node.clone());
        let (proxy, node, registry) = (self.clone(), node.clone(), registry.clone());
        self.keep_house(async move {
            empty(node.clone(), registry, pace).await;
            proxy.inner.emptying.borrow_mut().retain(|emptied| !Arc::ptr_eq(emptied, &node));
        });
    }

    fn find(&self, what: &str) -> Result<Vec<Found>, UnknownNode> {
        let snapshot = self.inner.shared.snapshot.load();
        let mut found = Vec::new();
        let mut known = Vec::new();
        for upstream in &snapshot.upstreams {
            let name = &upstream.plan.name;
            known.push(name.clone());
            for node in &upstream.nodes {
                let (written, address) = (&node.roster.written, node.address().to_string());
                let is_meant = [name, written, &address].contains(&&what.to_owned())
                    || what.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('/'))
                        == Some(written);
                if is_meant {
                    found.push((node.clone(), upstream.registry.clone()));
                }
                known.push(written.clone());
            }
        }
        if found.is_empty() { Err(UnknownNode { asked: what.to_owned(), known }) } else { Ok(found) }
    }
}
