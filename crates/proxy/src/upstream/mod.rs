//! A pool of nodes as it is now: the plan's upstream with the nodes that its names resolved to.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use config::plan;
use config::roster::{AppInstance, InstanceId, Roster, RosterNode};
use wire::tag::{Tag, Tagger};

use crate::balance::{self, Cursor, Load};
use crate::registry::Registry;
use crate::upstream::node::{InSession, Node};

pub(crate) mod connect;
pub(crate) mod health;
pub(crate) mod node;
pub(crate) mod pool;

/// An upstream in a snapshot. A new roster or plan makes a new one that shares nodes, registry and cursor with the
/// last.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) plan: Arc<plan::Upstream>,
    /// Those that get new sessions and requests.
    pub(crate) nodes: Vec<Arc<Node>>,
    /// Those that were removed and still have sessions.
    pub(crate) removed: Vec<Arc<Node>>,
    /// Also the tags of removed nodes, and of an earlier secret: sessions outlive both.
    by_tag: HashMap<Tag, Arc<Node>>,
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
            removed: Vec::new(),
            by_tag: HashMap::new(),
            registry: Arc::new(Registry::new(sessions_max)),
            choosing: Arc::new(Mutex::new(Cursor::default())),
        }
    }

    /// The same upstream as another plan has it.
    pub(crate) fn with_plan(&self, plan: Arc<plan::Upstream>) -> Self {
        Self { plan, ..self.clone() }
    }

    /// The same upstream with the nodes of `roster`; nodes that were there before keep what they carry.
    pub(crate) fn with_roster(&self, roster: &Roster, tagger: &Tagger) -> Self {
        let name = &self.plan.name;
        let known = || self.nodes.iter().chain(&self.removed);
        let mut nodes = Vec::new();
        let mut by_tag = HashMap::new();
        for entry in &roster.nodes {
            let tag = tag_of(name, entry, tagger);
            let node = match known().find(|node| node.roster == *entry && node.tag == tag) {
                Some(node) => node.clone(),
                None => Arc::new(Node::new(name, entry.clone(), tag)),
            };
            if by_tag.insert(tag, node.clone()).is_some() {
                tracing::error!(
                    upstream = name,
                    node = entry.written,
                    "two nodes have one tag; change sticky_secret"
                );
            }
            nodes.push(node);
        }
        let is_here = |node: &Arc<Node>| nodes.iter().any(|here: &Arc<Node>| Arc::ptr_eq(here, node));
        let has_sessions = |node: &Arc<Node>| node.sessions() > 0 && !node.is_gone();
        let removed: Vec<_> = known().filter(|node| !is_here(node) && has_sessions(node)).cloned().collect();
        for node in &removed {
            by_tag.entry(node.tag).or_insert_with(|| node.clone());
        }
        Self { nodes, removed, by_tag, ..self.clone() }
    }

    /// The nodes that are processes of `app`, those that were removed included.
    pub(crate) fn instances_of<'u>(
        &'u self,
        app: &'u str,
    ) -> impl Iterator<Item = (&'u Arc<Node>, InstanceId)> {
        self.nodes.iter().chain(&self.removed).filter_map(move |node| match &node.roster.instance {
            Some(instance) if instance.app == app => Some((node, instance.id)),
            Some(_) | None => None,
        })
    }

    /// The node that `tag` names, if it is in the pool or was until lately.
    pub(crate) fn by_tag(&self, tag: &Tag) -> Option<&Arc<Node>> {
        self.by_tag.get(tag)
    }

    /// Chooses a node for a new session, which counts from now on.
    pub(crate) fn claim_session(&self, tried: &[usize]) -> Option<(usize, InSession)> {
        let cursor = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = balance::pick(&self.nodes, tried, Load::Sessions, &cursor)?;
        Some((index, InSession::new(self.nodes[index].clone())))
    }
}

/// A process of an app has another port with every start, and another machine may have the same: its tag is that of the
/// machine, the app, the slot and the generation.
fn tag_of(upstream: &str, node: &RosterNode, tagger: &Tagger) -> Tag {
    match &node.instance {
        None => tagger.tag(upstream, &node.written, &node.address),
        Some(AppInstance { app, id: InstanceId { slot, generation } }) => {
            tagger.tag(upstream, &format!("{}/{app}", *MACHINE), format_args!("{slot}/{generation}"))
        }
    }
}

/// The name of this machine or container, asked once.
static MACHINE: LazyLock<String> =
    LazyLock::new(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
