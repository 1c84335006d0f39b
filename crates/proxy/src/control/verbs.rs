//! What people ask of a running proxy: to show what there is, to empty a node, to let it take part again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use config::plan;
use config::roster::RosterNode;
use tokio::sync::oneshot;

use crate::control::drain::node::{Pace, empty};
use crate::control::proxy::{Emptying, Proxy};
use crate::control::status::{NodeHandle, NodeStatus, Status, UnknownNode, UpstreamStatus};
use crate::net::tls::CertificateNow;
use crate::state::shared::Snapshot;
use crate::upstream::close_signal::CloseReason;
use crate::upstream::member::Member;
use crate::upstream::node::{Node, Observed};
use crate::upstream::sessions::SessionTable;
use crate::upstream::{Removed, Upstream};

/// A node, and the session table of its upstream.
type Found = (Arc<Node>, Arc<SessionTable>);

impl Proxy {
    /// Everything there is to see, at this moment.
    pub fn status(&self) -> Status {
        let snapshot = self.inner.shared.snapshot.load();
        let of = |upstream: &Upstream| UpstreamStatus {
            name: upstream.plan.name.clone(),
            nodes: nodes_of(upstream),
            unverifiable: upstream.oddities.unverifiable_count(),
            has_foreign: upstream.oddities.has_foreign(),
            is_stopped: upstream.is_stopped,
        };
        let (memory, memory_max) = self.inner.shared.memory.taken_of();
        Status {
            overload: self.overload(),
            memory,
            memory_max,
            access_lines_lost: self.inner.shared.log_unwritten.load(Relaxed),
            is_leaving: self.inner.shared.drain.is_leaving(),
            upstreams: snapshot.upstreams.iter().map(of).collect(),
            workers: self.inner.shared.counters.iter().map(|counters| counters.read()).collect(),
            certificates: certificates_of(&snapshot),
            redis: self.inner.shared.shared_rates.now(),
        }
    }

    /// For each worker a number that grows about twice a second, as long as the worker gets on.
    pub fn beats(&self) -> Vec<u64> {
        self.inner.shared.counters.iter().map(|counters| counters.beats.load(Relaxed)).collect()
    }

    /// What there is too little of, in a sentence with what follows from it; `None` where there is enough.
    fn overload(&self) -> Option<String> {
        let (memory, places) = (&self.inner.shared.memory, &self.inner.places);
        let short = memory.is_short().then(|| {
            let follows = match memory.is_out() {
                true => "requests get 503",
                false => "new connections come in slowly, and those that rest are closed",
            };
            let (taken, budget) = memory.taken_of();
            format!("{} of {} MiB of memory are taken: {follows}", taken >> 20, budget >> 20)
        });
        let full = places.are_all_taken().then(|| {
            let all = places.all();
            format!(
                "all {all} places for connections are taken: what rests is closed for new ones, or they wait"
            )
        });
        let causes: Vec<String> = [short, full].into_iter().flatten().collect();
        (!causes.is_empty()).then(|| causes.join("; "))
    }

    /// Gives a node, or every node of an upstream, nothing new, and its sessions a turn each to leave. It stays so
    /// until [`Proxy::undrain`]. `what` is a node as written, its address, `upstream/node`, or an upstream's name.
    ///
    /// # Errors
    /// If no node of the plan in force, and none that still empties, is called `what`.
    pub fn drain(&self, what: &str) -> Result<Vec<NodeHandle>, UnknownNode> {
        let found = self.find(what)?;
        for (node, session_table) in &found {
            self.empty(node, session_table);
        }
        Ok(found.into_iter().map(|(node, _)| NodeHandle(node)).collect())
    }

    /// Lets a node take part again. Its sessions whose turn has not come stay.
    ///
    /// # Errors
    /// If no node is called `what`, as for [`Proxy::drain`].
    pub fn undrain(&self, what: &str) -> Result<Vec<NodeHandle>, UnknownNode> {
        let found = self.find(what)?;
        for (node, _) in &found {
            node.observe(Observed::ToldToStay);
        }
        self.call_off_drains();
        Ok(found.into_iter().map(|(node, _)| NodeHandle(node)).collect())
    }

    /// Begins to empty a node at the plan's own pace.
    pub(crate) fn empty(&self, node: &Arc<Node>, session_table: &Arc<SessionTable>) {
        let plan::Drain { window, deadline, announce: _ } = self.inner.shared.snapshot.load().plan.drain;
        self.empty_at(
            node,
            session_table,
            Pace { window, deadline, reason: CloseReason::Restart, is_stopped: false },
        );
    }

    /// The same at a pace of its own. Of two words about a node the later one counts: a drain that is under way ends, and
    /// the sessions that it has not told yet are told by this one.
    pub(crate) fn empty_at(&self, node: &Arc<Node>, session_table: &Arc<SessionTable>, pace: Pace) {
        node.observe(Observed::ToldToDrain);
        let (owner, called_off) = oneshot::channel();
        let mut drains = self.inner.emptying.borrow_mut();
        drains.retain(|emptied| !Arc::ptr_eq(&emptied.node, node) && !emptied.owner.is_closed());
        drains.push(Emptying { node: node.clone(), owner });
        drop(drains);
        self.spawn_housekeeping(empty(node.clone(), session_table.clone(), pace, called_off));
    }

    /// Ends the drains of nodes that take part again.
    pub(crate) fn call_off_drains(&self) {
        self.inner.emptying.borrow_mut().retain(|emptied| emptied.node.is_draining());
    }

    fn find(&self, what: &str) -> Result<Vec<Found>, UnknownNode> {
        let snapshot = self.inner.shared.snapshot.load();
        let mut found = Vec::new();
        let mut known = Vec::new();
        for upstream in &snapshot.upstreams {
            let name = &upstream.plan.name;
            known.push(name.clone());
            // Of a removed node's sessions somebody may still want to know when they are gone.
            let removed = upstream.removed.iter().map(|Removed { node, entry }| (node, entry));
            let members = upstream.members.iter().map(|Member { node, entry, .. }| (node, entry));
            for (node, RosterNode { written, .. }) in members.chain(removed) {
                let address = node.address().to_string();
                let is_meant = [name, written, &address].contains(&&what.to_owned())
                    || what.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('/'))
                        == Some(written);
                if is_meant {
                    found.push((node.clone(), upstream.session_table.clone()));
                }
                known.push(written.clone());
            }
        }
        if found.is_empty() { Err(UnknownNode { asked: what.to_owned(), known }) } else { Ok(found) }
    }
}

/// Several listens may serve one.
fn certificates_of(snapshot: &Snapshot) -> Vec<CertificateNow> {
    let mut all: Vec<CertificateNow> = Vec::new();
    for certificate in snapshot.certificates().flat_map(|store| store.now()) {
        if all.iter().all(|known| known.file != certificate.file) {
            all.push(certificate);
        }
    }
    all
}

fn nodes_of(upstream: &Upstream) -> Vec<NodeStatus> {
    let members = upstream.members.iter().map(|Member { node, .. }| NodeStatus::of(node, false));
    let removed = upstream.removed.iter().filter(|removed| removed.node.sessions() > 0);
    members.chain(removed.map(|removed| NodeStatus::of(&removed.node, true))).collect()
}
