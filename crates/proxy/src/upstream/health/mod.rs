//! What is known of a node's health: `probe` asks it, `outlier` compares it with the others, `state` decides. The control
//! thread looks after all of them.

pub(crate) mod outlier;
pub(crate) mod probe;
pub(crate) mod state;
pub(crate) mod word;

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::upstream::health::state::Observed;
use crate::upstream::node::Node;

/// Where workers tell which nodes want looking after.
#[derive(Debug, Clone)]
pub(crate) struct ProbeQueue(mpsc::Sender<Arc<Node>>);

impl ProbeQueue {
    /// The sending end, and what whoever looks after them receives from.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Arc<Node>>) {
        let (sender, receiver) = mpsc::channel(FALLEN_MAX);
        (Self(sender), receiver)
    }

    /// Has `node` probed until it is back, or until a suspicion is settled; one probe at a time runs for it.
    pub(crate) fn push(&self, node: &Arc<Node>) {
        if !node.claim_probe() {
            return;
        }
        if self.0.try_send(node.clone()).is_err() {
            node.observe(Observed::Settled);
            node.release_probe();
            // More nodes fell at once than anyone has. It is up again when a request finds it so.
            tracing::warn!(node = node.written(), "too many nodes down to probe this one");
        }
    }
}

/// More fall at once only where more nodes are than anyone has.
const FALLEN_MAX: usize = 1024;
