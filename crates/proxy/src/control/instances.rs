//! The nodes that are processes of an app: which there are is told by whoever runs them, and one of them is emptied when
//! it asks. Everything here happens on the control thread.

use std::sync::Arc;
use std::time::Duration;

use config::plan::{self, NodeBounds};
use config::roster::{AppInstance, Instance, InstanceId, Roster, RosterNode};
use tokio::time::{Instant, sleep};

use crate::control::drain::node::Pace;
use crate::control::proxy::Proxy;
use crate::control::status::Remains;
use crate::state::shared::{Instances, Running};
use crate::upstream::Upstream;
use crate::upstream::close_signal::{CloseOrder, CloseReason};
use crate::upstream::node::{Node, Observed};
use crate::upstream::sessions::SessionTable;

impl Proxy {
    /// These instances of `app` can be reached now, and no others; if it `is_stopped`, no more come by themselves. One that is missing is gone: its tunnels are told at
    /// once, and its sessions are forgotten, so that their clients begin new ones.
    pub fn publish(&self, app: &str, instances: &[Instance], is_stopped: bool) {
        let shared = &self.inner.shared;
        let before = shared.snapshot.load_full();
        let mut lost = Vec::new();
        for upstream in &before.upstreams {
            for (node, id) in upstream.instances_of(app) {
                if instances.iter().all(|instance| instance.id != id) {
                    node.observe(Observed::Gone);
                    lost.push((node.clone(), upstream.session_table.clone()));
                }
            }
        }
        shared.instances().insert(app.to_owned(), Running { instances: instances.to_vec(), is_stopped });
        let mut rosters = before.rosters();
        fill_in(&mut rosters, &before.plan.upstreams, &shared.instances());
        shared.publish(before.with_rosters(&rosters));
        for (node, session_table) in lost {
            let now = Instant::now();
            node.tunnels.signal_from(0, || CloseOrder {
                at: now,
                until: now + CLOSE_WITHIN,
                reason: CloseReason::NodeLost,
            });
            session_table.forget(&node);
        }
    }

    /// Gives an instance nothing new, and its sessions a turn each to leave within `window`. Resolves to what was left
    /// at `deadline`, in words, or to nothing once it is empty. `None` if there is no such instance. It is being emptied from
    /// the call on, whether or not the future is polled.
    pub fn empty_instance(
        &self,
        app: &str,
        id: InstanceId,
        window: Duration,
        deadline: Duration,
    ) -> impl Future<Output = Option<Option<String>>> + use<> {
        let found = self.find_instance(app, id);
        for (node, session_table) in &found {
            self.empty_at(
                node,
                session_table,
                Pace { window, deadline, reason: CloseReason::Restart, is_stopped: true },
            );
        }
        let until = Instant::now() + deadline;
        async move {
            let nodes = || found.iter().map(|(node, _)| &**node);
            let mut cut = None;
            loop {
                let now = Instant::now();
                let is_empty = nodes().all(|node| node.is_empty() && !node.keeps_pages(now));
                // At the deadline answers are cut, and are told of as they were before.
                if now < until {
                    let answers =
                        nodes().any(|node| node.event_streams.count() + node.long_answers.count() > 0);
                    cut = answers.then(|| Remains::on(nodes()).to_string());
                }
                // One that is gone has taken what it had with it.
                if is_empty || now >= until + SLACK || nodes().all(Node::is_gone) {
                    let left = (!is_empty).then(|| Remains::on(nodes()).to_string());
                    return (!found.is_empty()).then_some(cut.filter(|_| now >= until).or(left));
                }
                sleep(LOOK_EVERY.min(until.saturating_duration_since(now)).max(LOOK_AT_MOST_EVERY)).await;
            }
        }
    }

    /// One in each upstream that the app feeds, or has fed.
    fn find_instance(&self, app: &str, id: InstanceId) -> Vec<(Arc<Node>, Arc<SessionTable>)> {
        let snapshot = self.inner.shared.snapshot.load();
        let of = |upstream: &Upstream| {
            let nodes = upstream.instances_of(app).filter(|(_, found)| *found == id);
            nodes.map(|(node, _)| (node.clone(), upstream.session_table.clone())).collect::<Vec<_>>()
        };
        snapshot.upstreams.iter().flat_map(of).collect()
    }
}

/// Gives each upstream that an app feeds the app's instances for nodes.
pub(crate) fn fill_in(rosters: &mut [Roster], upstreams: &[Arc<plan::Upstream>], instances: &Instances) {
    for (roster, upstream) in rosters.iter_mut().zip(upstreams) {
        let Some(app) = &upstream.app else { continue };
        let running = instances.get(app);
        let reachable = running.map_or(&[][..], |running| &running.instances);
        roster.nodes = reachable.iter().map(|instance| node_of(app, instance)).collect();
        roster.is_stopped = running.is_some_and(|running| running.is_stopped);
    }
}

fn node_of(app: &str, instance: &Instance) -> RosterNode {
    RosterNode {
        written: format!("{app}/{}", instance.id.slot),
        address: instance.address.clone().into(),
        bounds: NodeBounds::default(),
        tls_name: None,
        instance: Some(AppInstance { app: app.to_owned(), id: instance.id }),
        weight: 1,
        backup: false,
    }
}

/// So long a tunnel whose node is gone may take to say so.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(25);
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(5);
/// At the deadline what is left is ended, which takes a moment.
const SLACK: Duration = Duration::from_millis(500);
