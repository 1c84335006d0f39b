//! A pool of nodes as it is now: the plan's upstream with the nodes that its names resolved to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use config::plan;
use config::roster::Roster;
use wire::tag::{Tag, Tagger};

use crate::balance::{self, Cursor, Load};
use crate::registry::Registry;
use crate::upstream::node::{InSession, Node};

pub(crate) mod connect;
pub(crate) mod health;
pub(crate) mod node;
pub(crate) mod pool;
pub(crate) mod resolve;

/// An upstream in a snapshot. A new roster makes a new one that shares nodes, registry and cursor with the last.
#[derive(Debug)]
pub(crate) struct Upstream {
    pub(crate) plan: Arc<plan::Upstream>,
    pub(crate) nodes: Vec<Arc<Node>>,
    by_tag: HashMap<Tag, usize>,
    pub(crate) registry: Arc<Registry>,
    /// Choosing a node for a session and counting the session are one step for all workers, so that a burst of
    /// handshakes spreads evenly.
    choosing: Arc<Mutex<Cursor>>,
}

impl Upstream {
    pub(crate) fn new(plan: Arc<plan::Upstream>, sessions_max: usize) -> Self {
        Self {
            plan,
            nodes: Vec::new(),
            by_tag: HashMap::new(),
            registry: Arc::new(Registry::new(sessions_max)),
            choosing: Arc::new(Mutex::new(Cursor::default())),
        }
    }

    /// The same upstream with the nodes of `roster`; nodes that were there before keep what they carry.
    pub(crate) fn with_roster(&self, roster: &Roster, tagger: &Tagger) -> Self {
        let name = &self.plan.name;
        let nodes: Vec<_> = roster
            .nodes
            .iter()
            .map(|entry| match self.nodes.iter().find(|node| node.roster == *entry) {
                Some(node) => node.clone(),
                None => {
                    Arc::new(Node::new(name, entry.clone(), tagger.tag(name, &entry.written, entry.address)))
                }
            })
            .collect();
        let by_tag: HashMap<_, _> = nodes.iter().enumerate().map(|(index, node)| (node.tag, index)).collect();
        if by_tag.len() < nodes.len() {
            tracing::error!(upstream = name, "two nodes have the same tag; change sticky_secret");
        }
        Self {
            plan: self.plan.clone(),
            nodes,
            by_tag,
            registry: self.registry.clone(),
            choosing: self.choosing.clone(),
        }
    }

    /// The node that `tag` names, if it is in the pool.
    pub(crate) fn by_tag(&self, tag: &Tag) -> Option<&Arc<Node>> {
        self.by_tag.get(tag).map(|&index| &self.nodes[index])
    }

    /// Chooses a node for a new session, which counts from now on.
    pub(crate) fn claim_session(&self, tried: &[usize]) -> Option<(usize, InSession)> {
        let cursor = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = balance::pick(&self.nodes, tried, Load::Sessions, &cursor)?;
        Some((index, InSession::new(self.nodes[index].clone())))
    }
}
