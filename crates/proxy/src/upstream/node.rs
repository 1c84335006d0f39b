//! One node: where it is, how much it carries, and whether it is up. It lives for as long as anything is on it, whatever
//! the file says of it meanwhile: that is a [`Member`]'s, which each snapshot has anew. Its state changes in
//! [`Node::observe`] and nowhere else; what changes it, and how, is in `health::state`.
//!
//! [`Member`]: crate::upstream::member::Member

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};
use config::plan;
use config::roster::{AppInstance, NodeAddress, RosterNode};
use tokio::time::Instant;

use crate::net::node_tls::{ClientTls, NodeTls};
use crate::net::stream::Io;
use crate::upstream::admission::Pace;
use crate::upstream::answers::Answers;
use crate::upstream::close_signal::{
    CloseOrder, CloseReason, CloseSignals, EventStream, LongAnswer, Signalled, Tunnel,
};
use crate::upstream::health::outlier::Outcomes;
pub(crate) use crate::upstream::health::state::Observed;
use crate::upstream::health::state::{HealthState, Rules, SHARE_FULL};
use crate::upstream::health::word;
use crate::upstream::inquiry::Inquiry;
use crate::upstream::latency::Latency;
use crate::upstream::surplus::Surplus;

pub(crate) mod counted;
mod health;

/// A running backend of an upstream.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) upstream: String,
    pub(crate) number: NodeNumber,
    address: NodeAddress,
    /// The host that it is to TLS, if it speaks that.
    tls_name: Option<String>,
    /// How it is spoken with then, as its plan has it now.
    tls: ArcSwapOption<NodeTls>,
    /// The process that it is, if tidelock runs it.
    pub(crate) instance: Option<AppInstance>,
    /// As people know it, which a reload can change.
    label: ArcSwap<Label>,
    hot: HotState,
    cold: Mutex<ColdState>,
    /// Whether the control thread is at it.
    is_claimed: AtomicBool,
    /// How its exchanges went.
    pub(crate) outcomes: Outcomes,
    /// When it takes its next new session, where there is a rate.
    pub(crate) pace: Mutex<Pace>,
    /// The tunnels to it, each of which can be told to close.
    pub(crate) tunnels: CloseSignals<Tunnel>,
    /// The streams of EventSources from it, each of which can be told to end.
    pub(crate) event_streams: CloseSignals<EventStream>,
    /// Its other answers that last.
    pub(crate) long_answers: CloseSignals<LongAnswer>,
    /// Whoever empties it has waited for long enough, and its process is stopped.
    cuts_answers: AtomicBool,
    /// Sessions that have come, or begin to poll again, while it leaves.
    newcomers: Mutex<Option<Newcomers>>,
    /// Whether it is dead, while somebody wants to know.
    pub(crate) inquiry: Inquiry,
    /// What it has sent behind its answers.
    pub(crate) surplus: Surplus,
    /// Until when it keeps the plain requests of clients that are pinned to it, while it leaves.
    keeps_pinned_until: Mutex<Option<Instant>>,
    /// Whether there is such a client, as far as is known here.
    has_pinned: AtomicBool,
    /// Polls that it should have ended and has not.
    overdue: AtomicUsize,
    /// `pingInterval + pingTimeout` that its last handshake told, in milliseconds; 0 before the first.
    silence_ms: AtomicU64,
    /// Where it was first asked for a session.
    engine_io_path: OnceLock<Box<[u8]>>,
    /// How long it takes to answer.
    pub(crate) latency: Latency,
    /// What people see of that.
    pub(crate) answers: Answers,
    /// How often it went down.
    pub(crate) falls: AtomicU64,
    /// Attempts that it has failed, by why.
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

/// Polling sessions that have come since somebody last looked.
#[derive(Debug)]
struct Newcomers {
    follower: u64,
    sids: Vec<Box<[u8]>>,
}

/// Which node, among all that ever were in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NodeNumber(u64);

/// What people call a node.
#[derive(Debug)]
pub(crate) struct Label {
    /// The entry of its upstream that it comes from.
    pub(crate) written: String,
    /// Its part of a line of the access log, printed by the first line.
    pub(crate) in_log: OnceLock<Box<[u8]>>,
}

/// What picks read of a node, on one cache line: some picks look at every node of a pool.
#[derive(Debug)]
#[repr(align(64))]
struct HotState {
    /// What requests need to know of its health, in one word, so that reading it costs them nothing. 0 for a node that
    /// can have whatever comes.
    state: AtomicU32,
    /// Its share of what it would get, in thousandths; less than all while it starts slowly.
    share: AtomicU32,
    in_flight: AtomicUsize,
    sessions: AtomicUsize,
    /// It has answered a request or a probe since it is known.
    has_answered: AtomicBool,
}

/// What only those read who change something.
#[derive(Debug)]
struct ColdState {
    health: HealthState,
    rules: Rules,
    /// `None` for a node that belongs to no plan, which only tests have.
    plan: Option<Arc<plan::Upstream>>,
    pool_guard: Arc<PoolGuard>,
}

/// The nodes of one pool, which decide together how many of them may be out.
#[derive(Debug, Default)]
pub(crate) struct PoolGuard(Mutex<Vec<Guarded>>);

/// One of them.
#[derive(Debug)]
struct Guarded {
    node: Weak<Node>,
    /// Backups stand in for the others, not beside them.
    is_backup: bool,
}

impl PoolGuard {
    /// From now on these are the pool, each with whether it is a backup.
    pub(crate) fn admit<'n>(&self, nodes: impl Iterator<Item = (&'n Arc<Node>, bool)>) {
        let guarded = nodes.map(|(node, is_backup)| Guarded { node: Arc::downgrade(node), is_backup });
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = guarded.collect();
    }
}

impl Node {
    /// The node at the place that `entry` names. What else it says of the node is a member's.
    pub(crate) fn new(upstream: &str, entry: &RosterNode) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let health = HealthState::new(Instant::now());
        let hot = HotState {
            state: AtomicU32::new(word::of(&health)),
            share: AtomicU32::new(SHARE_FULL),
            in_flight: AtomicUsize::new(0),
            sessions: AtomicUsize::new(0),
            has_answered: AtomicBool::new(false),
        };
        let cold = ColdState { health, rules: Rules::default(), plan: None, pool_guard: Arc::default() };
        Self {
            upstream: upstream.to_owned(),
            number: NodeNumber(NEXT.fetch_add(1, Relaxed)),
            newcomers: Mutex::default(),
            keeps_pinned_until: Mutex::default(),
            has_pinned: AtomicBool::new(false),
            inquiry: Inquiry::default(),
            surplus: Surplus::default(),
            overdue: AtomicUsize::new(0),
            address: entry.address.clone(),
            tls_name: entry.tls_name.clone(),
            tls: ArcSwapOption::default(),
            instance: entry.instance.clone(),
            label: ArcSwap::from_pointee(Label::new(&entry.written)),
            hot,
            cold: Mutex::new(cold),
            is_claimed: AtomicBool::new(false),
            outcomes: Outcomes::default(),
            pace: Mutex::default(),
            latency: Latency::new(Instant::now()),
            answers: Answers::new(Instant::now()),
            falls: AtomicU64::new(0),
            failures: Mutex::default(),
            tunnels: CloseSignals::default(),
            event_streams: CloseSignals::default(),
            long_answers: CloseSignals::default(),
            cuts_answers: AtomicBool::new(false),
            silence_ms: AtomicU64::new(0),
            engine_io_path: OnceLock::new(),
        }
    }

    /// Whether `entry` speaks of this node. An address is one process after another, and all of them are the node;
    /// a process that tidelock runs is a node of its own, wherever it listens. What speaks TLS there is another
    /// node than what does not.
    pub(crate) fn is_at(&self, entry: &RosterNode) -> bool {
        if self.tls_name.is_some() != entry.tls_name.is_some() {
            return false;
        }
        match (&self.instance, &entry.instance) {
            (None, None) => self.address == entry.address || self.is_respelt(&entry.address),
            (Some(own), Some(other)) => own == other && self.address == entry.address,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether `address` is another word for this machine, where this node is known to be reached because something
    /// is on it, or was told to leave. One that never was is looked for anew, wherever the other word says.
    fn is_respelt(&self, address: &NodeAddress) -> bool {
        let is_loopback = match (&self.address, address) {
            (NodeAddress::Tcp(at), NodeAddress::Loopback(port))
            | (NodeAddress::Loopback(port), NodeAddress::Tcp(at)) => {
                at.ip().is_loopback() && at.port() == *port
            }
            _ => false,
        };
        is_loopback && (self.sessions() > 0 || self.connections() > 0 || self.is_draining())
    }

    /// Puts it under the rules of `plan`, in the pool of `pool_guard`, with the name that is written there.
    pub(crate) fn put_under(&self, plan: &Arc<plan::Upstream>, pool_guard: &Arc<PoolGuard>, written: &str) {
        if self.label().written != written {
            self.label.store(Arc::new(Label::new(written)));
        }
        let mut cold = self.cold();
        cold.rules = Rules::of(plan);
        cold.plan = Some(plan.clone());
        cold.pool_guard = pool_guard.clone();
    }

    /// Puts it under what `client` trusts and shows, if it speaks TLS. What it does so already stays as it is, with the
    /// connections that are open.
    pub(crate) fn speak_by(&self, client: Option<&Arc<ClientTls>>, entry: &RosterNode) {
        let (Some(client), Some(name)) = (client, &entry.tls_name) else { return };
        if self.tls.load().as_ref().is_some_and(|tls| tls.is_by(client, name)) {
            return;
        }
        self.tls.store(NodeTls::new(client.clone(), name, &self.upstream, &entry.written).map(Arc::new));
    }

    pub(crate) fn speaks_tls(&self) -> bool {
        self.tls_name.is_some()
    }

    pub(crate) fn tls(&self) -> Option<Arc<NodeTls>> {
        self.tls.load_full()
    }

    /// Whether a connection to it was opened as one would be opened now: by the certificate and trust that the plan
    /// names.
    pub(crate) fn is_spoken_with_by(&self, io: &Io) -> bool {
        !self.speaks_tls() || self.tls.load().as_ref().is_none_or(|tls| !io.is_by_another_than(tls))
    }

    /// What people call it: a reload may spell the same address otherwise.
    pub(crate) fn label(&self) -> arc_swap::Guard<Arc<Label>> {
        self.label.load()
    }

    /// As written in the file.
    pub(crate) fn written(&self) -> String {
        self.label().written.clone()
    }

    /// What stands in Host where nobody says what does: the host and port that are written, without the scheme and
    /// the path of a URL. A Unix socket has none, and is `localhost`.
    pub(crate) fn host(&self) -> String {
        let label = self.label();
        let written = match label.written.split_once("://") {
            Some((_, rest)) => rest.split('/').next().unwrap_or(rest),
            None => &label.written,
        };
        if written.starts_with("unix:") { "localhost".to_owned() } else { written.to_owned() }
    }

    /// The upstream as the plan has it now.
    pub(crate) fn plan(&self) -> Option<Arc<plan::Upstream>> {
        self.cold().plan.clone()
    }

    pub(crate) fn address(&self) -> &NodeAddress {
        &self.address
    }

    fn cold(&self) -> MutexGuard<'_, ColdState> {
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.hot.in_flight.load(Relaxed)
    }

    pub(crate) fn sessions(&self) -> usize {
        self.hot.sessions.load(Relaxed)
    }

    /// Connections in use: requests under way and tunnels.
    pub(crate) fn connections(&self) -> usize {
        self.in_flight() + self.tunnels.count()
    }

    /// No request, no session and no tunnel is on it: its process may end.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions() == 0 && self.in_flight() == 0
    }

    /// It leaves, and keeps the plain requests of clients that are pinned to it until then.
    pub(crate) fn keep_pinned(&self, until: Instant) {
        *self.keeps_pinned_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// It drains, and the time for which it keeps them is not over.
    pub(crate) fn keeps_pinned(&self, now: Instant) -> bool {
        let until = self.keeps_pinned_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_draining() && until.is_some_and(|until| now < until)
    }

    /// A client is pinned to it.
    pub(crate) fn pins(&self) {
        // Workers that write one word fight over it.
        if !self.has_pinned.load(Relaxed) {
            self.has_pinned.store(true, Relaxed);
        }
    }

    /// Whether it may get pages still, however empty it is at this moment.
    pub(crate) fn keeps_pages(&self, now: Instant) -> bool {
        self.has_pinned.load(Relaxed) && self.keeps_pinned(now)
    }

    /// It is emptied anew, and what it answers is waited for.
    pub(crate) fn lets_answers_end(&self) {
        self.cuts_answers.store(false, Relaxed);
    }

    /// Its process is about to be stopped: what it answers is cut, so that nobody takes it for whole.
    pub(crate) fn cut_answers(&self, now: Instant) {
        self.cuts_answers.store(true, Relaxed);
        let order = || CloseOrder { at: now, until: now, reason: CloseReason::Stopped };
        self.event_streams.signal_from(0, order);
        self.long_answers.signal_from(0, order);
    }

    /// Whether an end of its connections may be that of its process, and not of an answer.
    pub(crate) fn cuts_answers(&self) -> bool {
        self.cuts_answers.load(Relaxed)
    }

    /// From now on polling sessions that come are told to whoever has the number that this returns, and to nobody else.
    pub(crate) fn follow_newcomers(&self) -> u64 {
        let mut newcomers = self.newcomers();
        let follower = newcomers.as_ref().map_or(0, |before| before.follower + 1);
        *newcomers = Some(Newcomers { follower, sids: Vec::new() });
        follower
    }

    /// A polling session that a drain does not know of. While nobody follows, nobody wants to know.
    pub(crate) fn has_newcomer(&self, sid: &[u8]) {
        if let Some(newcomers) = &mut *self.newcomers() {
            newcomers.sids.push(sid.into());
        }
    }

    /// Those that have come since the last time.
    pub(crate) fn take_newcomers(&self, follower: u64) -> Vec<Box<[u8]>> {
        let mut newcomers = self.newcomers();
        let own = newcomers.as_mut().filter(|newcomers| newcomers.follower == follower);
        own.map(|newcomers| std::mem::take(&mut newcomers.sids)).unwrap_or_default()
    }

    /// They are followed no more, unless somebody else does by now.
    pub(crate) fn unfollow_newcomers(&self, follower: u64) {
        self.newcomers().take_if(|newcomers| newcomers.follower == follower);
    }

    fn newcomers(&self) -> MutexGuard<'_, Option<Newcomers>> {
        self.newcomers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers what a handshake told; sessions that are first met by their tag are given the same timeout.
    pub(crate) fn learn_silence(&self, silence_ms: u64) {
        self.silence_ms.store(silence_ms, Relaxed);
    }

    pub(crate) fn silence_ms(&self) -> Option<u64> {
        Some(self.silence_ms.load(Relaxed)).filter(|&silence_ms| silence_ms > 0)
    }

    /// Remembers where sessions are opened: at another path the app may answer nothing at all.
    pub(crate) fn learn_engine_io_path(&self, path: &[u8]) {
        self.engine_io_path.get_or_init(|| path.into());
    }

    pub(crate) fn engine_io_path(&self) -> Option<&[u8]> {
        self.engine_io_path.get().map(|path| &**path)
    }
}

impl Signalled for Tunnel {
    type Home = Node;

    fn signals(node: &Node) -> &CloseSignals<Self> {
        &node.tunnels
    }
}

impl Signalled for EventStream {
    type Home = Node;

    fn signals(node: &Node) -> &CloseSignals<Self> {
        &node.event_streams
    }
}

impl Signalled for LongAnswer {
    type Home = Node;

    fn signals(node: &Node) -> &CloseSignals<Self> {
        &node.long_answers
    }
}

impl Label {
    fn new(written: &str) -> Self {
        Self { written: written.to_owned(), in_log: OnceLock::new() }
    }
}

#[cfg(test)]
mod tests;
