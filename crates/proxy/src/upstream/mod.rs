//! A pool of nodes as it is now: the plan's upstream with the nodes that its names resolved to.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use config::plan;
use config::roster::{AppInstance, InstanceId, Roster, RosterNode};
use tokio::time::Instant;
use wire::tag::{Tag, Tagger};

use crate::balance::{self, Ask, Begins, Cursor, Load, Policy, Turns, Unpicked};
use crate::gate::{Claim, Gate, Overrun, Patience};
use crate::registry::Registry;
use crate::sticky::Wish;
use crate::upstream::budget::Budget;
use crate::upstream::node::{InSession, Node, Ward};

pub(crate) mod budget;
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
    /// The name of the cookie that names a node, where the plan has one.
    pub(crate) cookie: Option<Arc<str>>,
    /// Its number among the upstreams, by which workers know their cursor in it.
    pub(crate) number: usize,
    turns: Arc<Turns>,
    /// Choosing a node for a session and counting the session are one step for all workers, so that a burst of
    /// handshakes spreads evenly.
    choosing: Arc<Mutex<Cursor>>,
    /// Where new sessions wait for a node's turn.
    gate: Arc<Gate>,
    /// The nodes as those who may be out at the same time.
    ward: Arc<Ward>,
    /// How many requests may be tried a second time.
    pub(crate) budget: Arc<Budget>,
}

/// A turn of a node that takes so many sessions a second.
#[derive(Debug, Clone, Copy)]
struct Turn {
    rate: NonZeroU32,
    has_waited: bool,
}

/// What a node is chosen by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) wish: Wish,
    /// Nodes that have failed this request already.
    pub(crate) tried: &'a [usize],
    pub(crate) now: Instant,
}

impl Upstream {
    pub(crate) fn new(plan: Arc<plan::Upstream>, number: usize, sessions_max: usize) -> Self {
        Self {
            cookie: cookie_name(&plan),
            number,
            turns: Arc::default(),
            plan,
            nodes: Vec::new(),
            removed: Vec::new(),
            by_tag: HashMap::new(),
            registry: Arc::new(Registry::new(sessions_max)),
            choosing: Arc::new(Mutex::new(Cursor::default())),
            gate: Arc::default(),
            ward: Arc::default(),
            budget: Arc::default(),
        }
    }

    /// The same upstream as another plan has it, which `new` was made from.
    pub(crate) fn replanned(&self, new: &Self) -> Self {
        let Self { plan, number, cookie, .. } = new.clone();
        Self { plan, number, cookie, ..self.clone() }
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
            node.put_under(&self.plan, &self.ward);
            if !self.nodes.is_empty() && is_newcomer(entry, known()) {
                node.begin_slow_start(Instant::now());
            }
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
        self.ward.admit(&nodes);
        let turns = if self.turns.are_of(&nodes) { self.turns.clone() } else { Arc::new(Turns::new(&nodes)) };
        Self { nodes, removed, by_tag, turns, ..self.clone() }
    }

    /// Whether an app feeds it and has nothing running at this moment that could answer.
    pub(crate) fn awaits_instance(&self) -> bool {
        self.plan.app.is_some() && !self.nodes.iter().any(|node| node.is_up() && !node.is_draining())
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

    /// Whether a node is up besides `index` and those that were tried.
    pub(crate) fn has_another(&self, index: usize, tried: &[usize]) -> bool {
        let is_other = |at: usize| at != index && !tried.contains(&at);
        let serves = |node: &Node| node.is_up() && !node.is_draining();
        self.nodes.iter().enumerate().any(|(at, node)| is_other(at) && serves(node))
    }

    /// Chooses a node for a request that begins no session. `cursor` is its worker's.
    pub(crate) fn choose(&self, asked: Asked<'_>, cursor: &Cursor) -> Result<usize, Unpicked> {
        self.pick(asked, Begins::Request, cursor)
    }

    /// Chooses a node for a new session, which counts from now on.
    pub(crate) fn claim_session(&self, asked: Asked<'_>) -> Result<(usize, InSession), Unpicked> {
        let cursor = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.pick(asked, Begins::Session, &cursor)?;
        Ok((index, InSession::new(self.nodes[index].clone())))
    }

    /// The same where nodes take no more than `rate` sessions a second: waits for a node whose turn it is. Cancel-safe.
    pub(crate) async fn claim_in_turn(
        &self,
        asked: Asked<'_>,
        rate: NonZeroU32,
    ) -> Result<Result<(usize, InSession), Unpicked>, Overrun> {
        let serving = self.nodes.iter().filter(|node| node.is_up() && !node.is_draining()).count();
        let serving = u32::try_from(serving.max(1)).unwrap_or(u32::MAX);
        let spacing = Duration::from_secs(1) / rate.get().saturating_mul(serving);
        let patience = Patience { wait: self.plan.admission.handshake_wait, spacing };
        self.gate
            .enter(patience, |has_waited| {
                let turn = Turn { rate, has_waited };
                self.claim_now(Asked { now: Instant::now(), ..asked }, turn)
            })
            .await
    }

    /// The node that would be chosen, or the next best one whose turn it is.
    fn claim_now(&self, asked: Asked<'_>, turn: Turn) -> Claim<Result<(usize, InSession), Unpicked>> {
        let cursor = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut passed = asked.tried.to_vec();
        let mut soonest: Option<Instant> = None;
        loop {
            let index = match self.pick(Asked { tried: &passed, ..asked }, Begins::Session, &cursor) {
                Ok(index) => index,
                Err(unpicked) => return soonest.map_or(Claim::Now(Err(unpicked)), Claim::At),
            };
            let node = &self.nodes[index];
            if let Some(at) = soonest.filter(|_| !node.is_up() || node.roster.backup) {
                // It stands in for nodes that fail, not for nodes that are asked in turn.
                return Claim::At(at);
            }
            let mut pace = node.pace.lock().unwrap_or_else(PoisonError::into_inner);
            match pace.take(turn.rate, turn.has_waited, asked.now) {
                Ok(()) => return Claim::Now(Ok((index, InSession::new(node.clone())))),
                // Who belongs there waits for it, rather than for anybody.
                Err(at) if asked.wish.is_sticky() => return Claim::At(at),
                Err(at) => soonest = Some(soonest.map_or(at, |soonest| soonest.min(at))),
            }
            passed.push(index);
        }
    }

    fn pick(&self, asked: Asked<'_>, begins: Begins, cursor: &Cursor) -> Result<usize, Unpicked> {
        let Asked { wish, tried, now } = asked;
        // What a client has on a node is out of its reach anywhere else; a session that is yet to begin is not.
        let heeds_bounds = begins == Begins::Session || !wish.is_sticky();
        let ask = Ask { nodes: &self.nodes, turns: &self.turns, tried, begins, heeds_bounds };
        match wish {
            Wish::Node(index) if ask.admits(index) => Ok(index),
            Wish::Key { key, .. } => balance::pick(&ask, Policy::Hash(key), cursor),
            Wish::Node(_) => {
                let ask = Ask { heeds_bounds: true, ..ask };
                balance::pick(&ask, self.policy(begins, now), cursor)
            }
            Wish::None => balance::pick(&ask, self.policy(begins, now), cursor),
        }
    }

    fn policy(&self, begins: Begins, now: Instant) -> Policy {
        match (&self.plan.balance, begins) {
            (plan::Balance::RoundRobin, _) => Policy::InTurn,
            (plan::Balance::LeastRequests, _) => Policy::Least(Load::Connections),
            (plan::Balance::RandomTwo, _) => Policy::RandomTwo,
            (plan::Balance::PeakEwma, _) => Policy::PeakEwma(now),
            // A request that does not say what is hashed goes where there is room.
            (plan::Balance::LeastSessions | plan::Balance::Hash(_), Begins::Session) => {
                Policy::Least(Load::Sessions)
            }
            (plan::Balance::LeastSessions | plan::Balance::Hash(_), Begins::Request) => {
                Policy::Least(Load::InFlight)
            }
        }
    }
}

fn cookie_name(plan: &plan::Upstream) -> Option<Arc<str>> {
    match &plan.sticky {
        plan::Sticky::Cookie(Some(name)) => Some(name.as_str().into()),
        // Upstreams that share a host must not take each other's cookies for their own.
        plan::Sticky::Cookie(None) => Some(format!("tidelock-{}", plan.name).into()),
        plan::Sticky::EngineIo
        | plan::Sticky::EngineIoLearned
        | plan::Sticky::Key(_)
        | plan::Sticky::None => None,
    }
}

/// Whether a node is new beside those that are `known`. One that is only written otherwise is still the same process;
/// and the processes of an app come when they are ready, in the place of others.
fn is_newcomer<'n>(entry: &RosterNode, mut known: impl Iterator<Item = &'n Arc<Node>>) -> bool {
    entry.instance.is_none() && known.all(|node| *node.address() != entry.address)
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
