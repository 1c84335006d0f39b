//! One node: where it is, how much it carries, and whether it is up. Its state changes in [`Node::observe`] and
//! nowhere else.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use config::roster::{NodeAddress, RosterNode};
use tokio::time::Instant;
use wire::rendezvous;
use wire::tag::Tag;

use crate::balance::{Begins, Latency};
use crate::bell::Bells;

/// A running backend of an upstream.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) upstream: String,
    pub(crate) roster: RosterNode,
    /// Its part of a line of the access log, printed by the first line.
    pub(crate) in_log: OnceLock<Box<[u8]>>,
    pub(crate) tag: Tag,
    /// A [`State`], in one word so that reading it costs a request nothing.
    state: AtomicU32,
    in_flight: AtomicUsize,
    sessions: AtomicUsize,
    /// Why its health is what it is, and since when.
    cause: Mutex<(&'static str, Instant)>,
    /// The tunnels to it, each of which can be told to close.
    pub(crate) tunnels: Bells,
    /// `pingInterval + pingTimeout` that its last handshake told, in milliseconds; 0 before the first.
    silence_ms: AtomicU64,
    /// What it is to rendezvous hashing.
    pub(crate) seed: u64,
    /// How long it takes to answer.
    pub(crate) latency: Latency,
    /// How far it is in its slow start, in [`RAMP_STEPS`]s.
    ramp: AtomicU32,
}

/// What is known of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) health: Health,
    /// It is leaving: its sessions go on, nothing new comes.
    pub(crate) is_draining: bool,
    /// It is a process of an app that will be replaced; new sessions prefer the others up to their even share.
    pub(crate) is_outdated: bool,
    /// It was a process of an app, and is no more.
    pub(crate) is_gone: bool,
}

/// Whether a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    /// It does; so many failures in a row are held against it.
    Up { failures: u32 },
    /// It does not, until a probe reaches it.
    Down,
}

/// What an exchange or a probe has seen of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observed {
    /// It answered, whatever it said.
    Answered,
    /// A probe connected.
    Reached,
    /// The wire said that nobody listens there.
    Refused,
    /// No connection, no answer, or no answer in time.
    Failed(&'static str),
    /// Somebody wants it to leave.
    ToldToDrain,
    /// Somebody wants it to stay after all.
    ToldToStay,
    /// It runs what its app is now, or does not.
    Published { is_current: bool },
    /// Its process is gone, says whoever started it.
    Gone,
}

impl Node {
    pub(crate) fn new(upstream: &str, roster: RosterNode, tag: Tag) -> Self {
        Self {
            upstream: upstream.to_owned(),
            tag,
            state: AtomicU32::new(State::FRESH.to_word()),
            seed: seed_of(&roster),
            latency: Latency::new(Instant::now()),
            ramp: AtomicU32::new(RAMP_STEPS),
            in_log: OnceLock::new(),
            cause: Mutex::new(("no failure yet", Instant::now())),
            tunnels: Bells::default(),
            in_flight: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            silence_ms: AtomicU64::new(0),
            roster,
        }
    }

    pub(crate) fn address(&self) -> &NodeAddress {
        &self.roster.address
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state().health, Health::Up { .. })
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state().is_draining
    }

    pub(crate) fn is_outdated(&self) -> bool {
        self.state().is_outdated
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state().is_gone
    }

    pub(crate) fn state(&self) -> State {
        State::from_word(self.state.load(Relaxed))
    }

    /// The one place where a node goes down, comes back, or begins to leave. `true` if it just went down and wants
    /// probing.
    pub(crate) fn observe(&self, observed: Observed) -> bool {
        // Nearly every exchange ends here, and must not write to what the other workers read.
        if observed == Observed::Answered && self.state().health == State::FRESH.health {
            return false;
        }
        let change = |word| Some(State::from_word(word).after(observed).to_word());
        let before = match self.state.fetch_update(Relaxed, Relaxed, change) {
            Ok(word) | Err(word) => State::from_word(word),
        };
        let after = before.after(observed);
        let (node, upstream, address, cause) =
            (&self.roster.written, &self.upstream, self.address(), observed.cause());
        match (before.is_draining, after.is_draining) {
            (false, true) => {
                tracing::info!(upstream, node, %address, sessions = self.sessions(), "node draining");
            }
            (true, false) => tracing::info!(upstream, node, %address, "node takes part again"),
            (false, false) | (true, true) => {}
        }
        if matches!(before.health, Health::Down) != matches!(after.health, Health::Down) {
            *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = (cause, Instant::now());
        }
        match (before.health, after.health) {
            // Whoever started the process knows why it has ended, and says so.
            (Health::Up { .. }, Health::Down) if observed == Observed::Gone => false,
            (Health::Up { .. }, Health::Down) => {
                tracing::warn!(upstream, node, %address, cause, "node down");
                true
            }
            (Health::Down, Health::Up { .. }) => {
                tracing::info!(upstream, node, %address, cause, "node up");
                false
            }
            (Health::Up { .. }, Health::Up { .. }) | (Health::Down, Health::Down) => false,
        }
    }

    /// Why its health is what it is, and since when.
    pub(crate) fn cause(&self) -> (&'static str, Instant) {
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions.load(Relaxed)
    }

    /// Connections in use: requests under way and tunnels.
    pub(crate) fn connections(&self) -> usize {
        self.in_flight() + self.tunnels.count()
    }

    /// Whether it carries as much as it may, so that this would be too much.
    pub(crate) fn is_full(&self, begins: Begins) -> bool {
        let bounds = &self.roster.bounds;
        bounds.connections_max.is_some_and(|max| self.connections() >= max)
            || (begins == Begins::Session && bounds.sessions_max.is_some_and(|max| self.sessions() >= max))
    }

    /// Its share of the load, as far as it is in its slow start.
    pub(crate) fn weight(&self) -> f64 {
        f64::from(self.roster.weight) * self.ramp()
    }

    /// How far it is in its slow start: more than 0, and 1 at its end and wherever there is none. Picks respect it.
    pub(crate) fn ramp(&self) -> f64 {
        f64::from(self.ramp.load(Relaxed)) / f64::from(RAMP_STEPS)
    }

    /// Says how far it is in its slow start.
    #[cfg(test)]
    pub(crate) fn set_ramp(&self, ramp: f64) {
        let steps = (ramp * f64::from(RAMP_STEPS)) as u32;
        self.ramp.store(steps.clamp(1, RAMP_STEPS), Relaxed);
    }

    /// Remembers what a handshake told; sessions that are first met by their tag are given the same patience.
    pub(crate) fn learn_silence(&self, silence_ms: u64) {
        self.silence_ms.store(silence_ms, Relaxed);
    }

    pub(crate) fn silence_ms(&self) -> Option<u64> {
        Some(self.silence_ms.load(Relaxed)).filter(|&silence_ms| silence_ms > 0)
    }
}

impl State {
    const FRESH: Self =
        Self { health: Health::Up { failures: 0 }, is_draining: false, is_outdated: false, is_gone: false };

    fn after(self, observed: Observed) -> Self {
        let health = match (self.health, observed) {
            (_, Observed::Answered | Observed::Reached) => Health::Up { failures: 0 },
            // The system refuses for a process that is gone; waiting for a second opinion would cost a request.
            (Health::Up { .. }, Observed::Refused) => Health::Down,
            (Health::Up { failures }, Observed::Failed(_)) if failures + 1 >= FAILURES_MAX => Health::Down,
            (Health::Up { failures }, Observed::Failed(_)) => Health::Up { failures: failures + 1 },
            (Health::Down, Observed::Refused | Observed::Failed(_)) => Health::Down,
            (_, Observed::Gone) => Health::Down,
            (health, Observed::ToldToDrain | Observed::ToldToStay | Observed::Published { .. }) => health,
        };
        let is_draining = match observed {
            Observed::ToldToDrain => true,
            Observed::ToldToStay => false,
            _ => self.is_draining,
        };
        let is_outdated = match observed {
            Observed::Published { is_current } => !is_current,
            _ => self.is_outdated,
        };
        let is_gone = self.is_gone || observed == Observed::Gone;
        Self { health, is_draining, is_outdated, is_gone }
    }

    fn to_word(self) -> u32 {
        let health = match self.health {
            Health::Up { failures } => failures,
            Health::Down => WORD_DOWN,
        };
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        health
            | flag(self.is_draining, WORD_DRAINING)
            | flag(self.is_outdated, WORD_OUTDATED)
            | flag(self.is_gone, WORD_GONE)
    }

    fn from_word(word: u32) -> Self {
        let health = match word & WORD_DOWN {
            WORD_DOWN => Health::Down,
            failures => Health::Up { failures },
        };
        let has = |flag: u32| word & flag != 0;
        Self {
            health,
            is_draining: has(WORD_DRAINING),
            is_outdated: has(WORD_OUTDATED),
            is_gone: has(WORD_GONE),
        }
    }
}

impl Observed {
    fn cause(self) -> &'static str {
        match self {
            Self::Answered => "it answered",
            Self::Reached => "a probe reached it",
            Self::Refused => "connection refused",
            Self::Failed(cause) => cause,
            Self::Gone => "its process has ended",
            Self::ToldToDrain | Self::ToldToStay | Self::Published { .. } => "told so",
        }
    }
}

/// One request on its way to a node. Load is the number of these that live, so that none is ever forgotten.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Node>);

impl InFlight {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        node.in_flight.fetch_add(1, Relaxed);
        Self(node)
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// One session on a node, or a handshake on its way to become one.
#[derive(Debug)]
pub(crate) struct InSession(Arc<Node>);

impl InSession {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        node.sessions.fetch_add(1, Relaxed);
        Self(node)
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for InSession {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Relaxed);
    }
}

/// What a node is to rendezvous hashing. A process of an app has another port with every start; keys belong to its slot.
fn seed_of(node: &RosterNode) -> u64 {
    match &node.instance {
        Some(_) => rendezvous::seed(&node.written, ""),
        None => rendezvous::seed(&node.written, &node.address),
    }
}

const WORD_DRAINING: u32 = 1 << 31;
const WORD_OUTDATED: u32 = 1 << 30;
const WORD_GONE: u32 = 1 << 29;
/// The bits of the health; all of them are set when it is down.
const WORD_DOWN: u32 = WORD_GONE - 1;
/// A slow start goes from 1 to all of them.
const RAMP_STEPS: u32 = 1 << 10;
/// Failures in a row, none of them a refusal, after which a node is left alone.
const FAILURES_MAX: u32 = 3;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn node() -> Node {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let (written, at) = ("a:1".into(), address.into());
        let roster = RosterNode {
            written,
            address: at,
            instance: None,
            weight: 1,
            backup: false,
            bounds: Default::default(),
        };
        Node::new("nodes", roster, wire::tag::Tagger::new(b"x").tag("nodes", "a:1", address))
    }

    #[test]
    fn failures_in_a_row_take_a_node_down_and_a_probe_brings_it_back() {
        let node = node();
        assert!(!node.observe(Observed::Failed("x")));
        assert!(!node.observe(Observed::Failed("x")));
        assert!(!node.observe(Observed::Answered));
        assert!(!node.observe(Observed::Failed("x")));
        assert!(!node.observe(Observed::Failed("x")));
        assert!(node.is_up());
        assert!(node.observe(Observed::Failed("x")));
        assert!(!node.is_up());
        assert!(!node.observe(Observed::Failed("x")));
        node.observe(Observed::Reached);
        assert!(node.is_up());
    }

    #[test]
    fn draining_and_health_do_not_touch_each_other() {
        let node = node();
        node.observe(Observed::ToldToDrain);
        assert!(node.is_draining() && node.is_up());
        node.observe(Observed::Refused);
        node.observe(Observed::Reached);
        assert!(node.is_draining() && node.is_up());
        node.observe(Observed::ToldToStay);
        assert!(!node.is_draining());
    }

    #[test]
    fn what_is_said_of_a_process_touches_nothing_else() {
        let node = node();
        node.observe(Observed::Published { is_current: false });
        node.observe(Observed::ToldToDrain);
        node.observe(Observed::Answered);
        assert!(node.is_outdated() && node.is_draining() && node.is_up() && !node.is_gone());
        node.observe(Observed::Published { is_current: true });
        assert!(!node.is_outdated() && node.is_draining());
        assert!(!node.observe(Observed::Gone), "nobody has to probe it");
        assert!(node.is_gone() && !node.is_up());
    }

    #[test]
    fn a_refusal_is_enough() {
        let node = node();
        assert!(node.observe(Observed::Refused));
        assert!(!node.is_up());
    }
}
