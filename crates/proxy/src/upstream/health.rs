//! Brings nodes back. A node that went down is probed with a TCP connect, on the control thread, until it answers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::upstream::connect::open;
use crate::upstream::node::{Node, Observed};

/// Where workers tell which nodes went down.
#[derive(Debug, Clone)]
pub(crate) struct Fallen(mpsc::Sender<Arc<Node>>);

impl Fallen {
    /// The sending end, and what [`probe_fallen`] receives from.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Arc<Node>>) {
        let (sender, receiver) = mpsc::channel(FALLEN_MAX);
        (Self(sender), receiver)
    }

    /// Has `node` probed until it is back. Each fall is told once, so that one probe runs for a node.
    pub(crate) fn tell(&self, node: &Arc<Node>) {
        if self.0.try_send(node.clone()).is_err() {
            // More nodes fell at once than anyone has. It is up again when a request finds it so.
            tracing::warn!(node = node.roster.written, "too many nodes down to probe this one");
        }
    }
}

/// Probes nodes that fell, each in a task of its own, until the data plane is gone.
pub(crate) async fn probe_fallen(mut fallen: mpsc::Receiver<Arc<Node>>) {
    let mut probes = JoinSet::new();
    loop {
        tokio::select! {
            node = fallen.recv() => match node {
                Some(node) => drop(probes.spawn_local(probe(Arc::downgrade(&node)))),
                None => return,
            },
            Some(_) = probes.join_next() => {}
        }
    }
}

/// Tries more and more rarely, but at least twice a second, so that a node is back within a second of its return.
async fn probe(fallen: Weak<Node>) {
    let mut pause = PAUSE_MIN;
    loop {
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
        // A reload may have taken it out for good; nobody else holds it then.
        let Some(node) = fallen.upgrade() else { return };
        // A request may bring it back first: when none of a pool is up, its nodes are asked all the same.
        if node.is_up() || node.is_gone() {
            return;
        }
        if let Ok(Ok(_)) = timeout(CONNECT_PATIENCE, open(node.address())).await {
            node.observe(Observed::Reached);
        }
    }
}

const FALLEN_MAX: usize = 1024;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(500);
const CONNECT_PATIENCE: Duration = Duration::from_millis(400);
