//! A pool of nodes as it is now: the plan's upstream with the nodes that its names resolved to.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::plan;
use config::roster::{InstanceId, Roster, RosterNode};
use tokio::time::Instant;
use wire::pin_names::PinNames;
use wire::tag::{Key, Pin, Tag};

use crate::net::node_tls::ClientTls;
use crate::upstream::admission::{Admission, Claim, NotAdmitted, QueueTimeout, Ticket};
use crate::upstream::balance::{Ask, Cursor, Load, Policy, Preference, Turns, Unpicked};
use crate::upstream::budget::Budget;
use crate::upstream::member::{Begins, Member};
use crate::upstream::node::counted::InSession;
use crate::upstream::node::{Node, Observed, PoolGuard};
use crate::upstream::oddities::Oddities;
use crate::upstream::poison::Poison;
use crate::upstream::seals::Seals;
use crate::upstream::sessions::SessionTable;

pub(crate) mod sessions;
pub(crate) mod close_signal;
pub(crate) mod admission;
pub(crate) mod balance;
pub(crate) mod names;
pub(crate) mod cookie_names;
pub(crate) mod budget;
pub(crate) mod connect;
pub(crate) mod health;
pub(crate) mod death;
mod inquiry;
pub(crate) mod answers;
pub(crate) mod gone;
mod latency;
pub(crate) mod member;
pub(crate) mod node;
pub(crate) mod route_number;
mod oddities;
mod seals;
pub(crate) mod poison;
pub(crate) mod pool;
mod surplus;

/// An upstream in a snapshot. A new roster or plan makes a new one that shares nodes, session table and cursor with the
/// last.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pub(crate) plan: Arc<plan::Upstream>,
    /// Those that get new sessions and requests.
    pub(crate) members: Vec<Member>,
    /// Nodes that no member uses any more, and that had something on them when this was made.
    pub(crate) removed: Vec<Removed>,
    /// What every key makes for every node, the removed ones too: sessions outlive their node's place in the file.
    seals: Arc<Seals>,
    pub(crate) session_table: Arc<SessionTable>,
    /// What the cookie that pins a client to a node is called, where there is one.
    pub(crate) pin_names: Option<Arc<PinNames>>,
    /// What its nodes that speak TLS are trusted by and shown.
    pub(crate) tls: Option<Arc<ClientTls>>,
    /// Its clients can come to others than its nodes of this moment: its app has several instances, or a route has several
    /// upstreams.
    has_others: bool,
    /// Its app is stopped or given up, so that no instance comes by itself.
    pub(crate) is_stopped: bool,
    /// Its number among the upstreams, by which workers know their cursor in it.
    pub(crate) number: usize,
    turns: Arc<Turns>,
    /// Choosing a node for a session and counting the session are one step for all workers, so that a burst of
    /// handshakes spreads evenly.
    choosing: Arc<Mutex<Cursor>>,
    /// Where new sessions wait for a node's turn.
    admission: Arc<Admission>,
    /// The nodes as those who may be out at the same time.
    pool_guard: Arc<PoolGuard>,
    /// How many requests may be tried a second time.
    pub(crate) budget: Arc<Budget>,
    pub(crate) oddities: Arc<Oddities>,
    pub(crate) poison: Arc<Poison>,
}

/// A node that was taken out, and what was said of it last.
#[derive(Debug, Clone)]
pub(crate) struct Removed {
    pub(crate) node: Arc<Node>,
    pub(crate) entry: RosterNode,
}

/// How fast the nodes of an upstream may be given sessions, and whether this one has waited for its turn.
#[derive(Debug, Clone, Copy)]
struct Pacing {
    rate: NonZeroU32,
    has_waited: bool,
}

/// What a node is chosen by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NodeQuery<'a> {
    pub(crate) preference: Preference,
    /// Nodes that have failed this request already.
    pub(crate) tried: &'a [usize],
    pub(crate) now: Instant,
}

impl Upstream {
    pub(crate) fn new(plan: Arc<plan::Upstream>, number: usize, sessions_max: usize) -> Self {
        Self {
            pin_names: None,
            tls: None,
            has_others: false,
            is_stopped: false,
            number,
            turns: Arc::default(),
            plan,
            members: Vec::new(),
            removed: Vec::new(),
            seals: Arc::default(),
            session_table: Arc::new(SessionTable::new(sessions_max)),
            choosing: Arc::new(Mutex::new(Cursor::default())),
            admission: Arc::default(),
            pool_guard: Arc::default(),
            budget: Arc::default(),
            oddities: Arc::default(),
            poison: Arc::default(),
        }
    }

    /// The same with these names for its cookie. `has_others` if its clients can come to others than its nodes of now: its app
    /// has several instances, or a route shares its clients with another upstream.
    pub(crate) fn pinning_by(self, names: Option<PinNames>, has_others: bool) -> Self {
        Self { pin_names: names.map(Arc::new), has_others, ..self }
    }

    /// The same whose nodes speak TLS like this.
    pub(crate) fn speaking(self, tls: Option<Arc<ClientTls>>) -> Self {
        Self { tls, ..self }
    }

    /// Whether a client can come to another node than the one that it was on, so that it has to be pinned.
    pub(crate) fn has_several(&self) -> bool {
        self.has_others || self.members.len() > 1
    }

    /// The same upstream as another plan has it, which `new` was made from.
    pub(crate) fn replanned(&self, new: &Self) -> Self {
        let Self { plan, number, pin_names, tls, has_others, .. } = new.clone();
        let tls = tls.map(|tls| tls.or_same(self.tls.as_ref()));
        Self { plan, number, pin_names, tls, has_others, ..self.clone() }
    }

    /// The same upstream with the nodes of `roster`. Whatever is said of a node that was there before, it stays the one
    /// that it was, with all that it carries. Changes no node: see [`Upstream::take_effect`]. `keys` is never empty; the
    /// first one signs.
    pub(crate) fn with_roster(&self, roster: &Roster, keys: &[Key]) -> Self {
        let members: Vec<Member> = roster
            .nodes
            .iter()
            .map(|entry| {
                let known = self.nodes().find(|node| node.is_at(entry)).cloned();
                let node = known.unwrap_or_else(|| Arc::new(Node::new(&self.plan.name, entry)));
                Member::new(node, entry.clone(), &keys[0])
            })
            .collect();
        let is_here = |node: &Arc<Node>| members.iter().any(|member| Arc::ptr_eq(&member.node, node));
        // What is under way may be of a session that is met with its answer.
        let has_left = |node: &Arc<Node>| !is_here(node) && !node.is_empty() && !node.is_gone();
        let leaving = self.members.iter().map(|Member { node, entry, .. }| (node, entry));
        let gone_before = self.removed.iter().map(|Removed { node, entry }| (node, entry));
        let removed: Vec<Removed> = leaving
            .chain(gone_before)
            .filter(|(node, _)| has_left(node))
            .map(|(node, entry)| Removed { node: node.clone(), entry: entry.clone() })
            .collect();
        let leaving = removed.iter().map(|Removed { node, entry }| (node, entry));
        let entries = members.iter().map(|Member { node, entry, .. }| (node, entry)).chain(leaving);
        let seals = Arc::new(Seals::new(entries, keys));
        let turns =
            if self.turns.are_of(&members) { self.turns.clone() } else { Arc::new(Turns::new(&members)) };
        Self { members, removed, seals, turns, is_stopped: roster.is_stopped, ..self.clone() }
    }

    /// From now on its nodes are what its members say. `before` is the same upstream in the snapshot that ends, if it
    /// was there. To be called once, before the snapshot is published: a node that is back may be the only one there is.
    pub(crate) fn take_effect(&self, before: Option<&Self>) {
        for Member { node, entry, .. } in &self.members {
            node.put_under(&self.plan, &self.pool_guard, &entry.written);
            node.speak_by(self.tls.as_ref(), entry);
        }
        self.pool_guard.admit(self.members.iter().map(|member| (&member.node, member.entry.backup)));
        let Some(before) = before.filter(|before| !before.members.is_empty()) else { return };
        for Member { node, entry, .. } in &self.members {
            if before.removed.iter().any(|removed| Arc::ptr_eq(&removed.node, node)) {
                node.observe(Observed::ToldToStay);
            } else if entry.instance.is_none() && before.nodes().all(|known| !Arc::ptr_eq(known, node)) {
                // The processes of an app come when they are ready, in the place of others; any other newcomer is not
                // given more at once than those that are there.
                node.begin_slow_start(Instant::now());
            }
        }
    }

    /// Every node that has something to do with it: those of its members, and those that were removed.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.members.iter().map(|member| &member.node).chain(self.removed.iter().map(|removed| &removed.node))
    }

    /// Whether nothing is on nodes that were removed.
    pub(crate) fn has_none_removed(&self) -> bool {
        self.removed.iter().all(|removed| removed.node.is_empty())
    }

    /// The member that a node is; `None` for one that was removed.
    pub(crate) fn member_of(&self, node: &Node) -> Option<&Member> {
        self.members.iter().find(|member| std::ptr::eq(Arc::as_ptr(&member.node), node))
    }

    /// Whether an app feeds it that has nothing running at this moment that could answer, and will have: a request
    /// may wait.
    pub(crate) fn awaits_instance(&self) -> bool {
        self.plan.app.is_some() && !self.is_stopped && !self.members.iter().any(Member::serves)
    }

    /// The nodes that are processes of `app`, those that were removed included.
    pub(crate) fn instances_of<'u>(
        &'u self,
        app: &'u str,
    ) -> impl Iterator<Item = (&'u Arc<Node>, InstanceId)> {
        self.nodes().filter_map(move |node| match &node.instance {
            Some(instance) if instance.app == app => Some((node, instance.id)),
            Some(_) | None => None,
        })
    }

    /// The node that the session `sid` is on, if `tag` proves it; it is in the pool, or was until lately.
    pub(crate) fn by_tag(&self, sid: &[u8], tag: &Tag) -> Option<&Arc<Node>> {
        self.seals.find(tag.hint(), |seal| seal.proves(sid, tag))
    }

    /// The index of the member that `pin` names, if it proves that.
    pub(crate) fn by_pin(&self, pin: &Pin) -> Option<usize> {
        let found = self.seals.find(pin.hint(), |seal| seal.holds(pin))?;
        self.members.iter().position(|member| Arc::ptr_eq(&member.node, found))
    }

    /// Whether a node is up besides `index` and those that were tried.
    pub(crate) fn has_another(&self, index: usize, tried: &[usize]) -> bool {
        let is_other = |at: usize| at != index && !tried.contains(&at);
        self.members.iter().enumerate().any(|(at, member)| is_other(at) && member.serves())
    }

    /// Chooses a node for a request that begins no session. `cursor` is its worker's.
    pub(crate) fn choose(&self, asked: NodeQuery<'_>, cursor: &Cursor) -> Result<usize, Unpicked> {
        self.pick(asked, Begins::Request, cursor)
    }

    /// Chooses a node for a new session, which counts from now on.
    pub(crate) fn claim_session(&self, asked: NodeQuery<'_>) -> Result<(usize, InSession), Unpicked> {
        let cursor = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.pick(asked, Begins::Session, &cursor)?;
        Ok((index, InSession::new(self.members[index].node.clone())))
    }

    /// The same where nodes take no more than `rate` sessions a second: waits for a node whose turn it is, until
    /// `is_outdated`.
    ///
    /// # Cancel safety
    /// Whoever stops waiting has left the queue, and `ticket` brings it back to its place.
    pub(crate) async fn claim_in_turn(
        &self,
        asked: NodeQuery<'_>,
        rate: NonZeroU32,
        ticket: &mut Option<Box<Ticket>>,
        is_outdated: impl Fn() -> bool,
    ) -> Result<Result<(usize, InSession), Unpicked>, NotAdmitted> {
        let serving = self.members.iter().filter(|member| member.serves()).count();
        let serving = u32::try_from(serving.max(1)).unwrap_or(u32::MAX);
        let spacing = Duration::from_secs(1) / rate.get().saturating_mul(serving);
        let timeout = QueueTimeout { wait: self.plan.admission.handshake_wait, spacing };
        self.admission
            .admit(timeout, ticket, |has_waited| {
                if is_outdated() {
                    return Claim::Outdated;
                }
                let pacing = Pacing { rate, has_waited };
                self.claim_now(NodeQuery { now: Instant::now(), ..asked }, pacing)
            })
            .await
    }

    /// The node that would be chosen, or the next best one whose turn it is.
    fn claim_now(&self, asked: NodeQuery<'_>, pacing: Pacing) -> Claim<Result<(usize, InSession), Unpicked>> {
        let cursor = self.choosing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut passed = asked.tried.to_vec();
        let mut soonest: Option<Instant> = None;
        loop {
            let index = match self.pick(NodeQuery { tried: &passed, ..asked }, Begins::Session, &cursor) {
                Ok(index) => index,
                Err(unpicked) => return soonest.map_or(Claim::Now(Err(unpicked)), Claim::At),
            };
            let Member { node, entry, .. } = &self.members[index];
            if let Some(at) = soonest.filter(|_| !node.is_up() || entry.backup) {
                // It stands in for nodes that fail, not for nodes that are asked in turn.
                return Claim::At(at);
            }
            let mut pace = node.pace.lock().unwrap_or_else(PoisonError::into_inner);
            match pace.take(pacing.rate, pacing.has_waited, asked.now) {
                Ok(()) => return Claim::Now(Ok((index, InSession::new(node.clone())))),
                // Who belongs there waits for it, rather than for anybody.
                Err(at) if asked.preference.is_sticky() => return Claim::At(at),
                Err(at) => soonest = Some(soonest.map_or(at, |soonest| soonest.min(at))),
            }
            passed.push(index);
        }
    }

    fn pick(&self, asked: NodeQuery<'_>, begins: Begins, cursor: &Cursor) -> Result<usize, Unpicked> {
        let NodeQuery { preference, tried, now } = asked;
        // What a key leads to is nowhere else; a pin is passed over while its node is full, and so is a key by a session
        // that is yet to begin.
        let heeds_bounds =
            begins == Begins::Session || !matches!(preference, Preference::Key { is_sticky: true, .. });
        let ask = Ask { members: &self.members, turns: &self.turns, tried, begins, heeds_bounds };
        match preference {
            Preference::Node { index, leaves_at_once } if ask.admits_pinned(index, leaves_at_once, now) => {
                self.members[index].node.pins();
                Ok(index)
            }
            Preference::Key { key, .. } => balance::pick(&ask, Policy::Hash(key), cursor),
            Preference::Node { .. } | Preference::None => {
                balance::pick(&ask, self.policy(begins, now), cursor)
            }
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
