//! One node: where it is, how much it carries, and whether it is up. It lives for as long as anything is on it, whatever
//! the file says of it meanwhile: that is a [`Member`]'s, which each snapshot has anew. Its state changes in
//! [`Node::observe`] and nowhere else; what changes it, and how, is in `health::state`.
//!
//! [`Member`]: crate::upstream::member::Member

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwap;
use config::plan;
use config::roster::{AppInstance, NodeAddress, RosterNode};
use tokio::time::Instant;

use crate::upstream::admission::Pace;
use crate::upstream::close_signal::{
    CloseOrder, CloseReason, CloseSignals, EventStream, LongAnswer, Signalled, Tunnel,
};
use crate::upstream::health::outlier::Tallies;
pub(crate) use crate::upstream::health::state::Observed;
use crate::upstream::health::state::{Change, HealthState, Rules, SHARE_FULL, Spare};
use crate::upstream::inquiry::Inquiry;
use crate::upstream::latency::Latency;
use crate::upstream::surplus::Surplus;

/// A running backend of an upstream.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) upstream: String,
    pub(crate) number: NodeNumber,
    address: NodeAddress,
    /// The process that it is, if tidelock runs it.
    pub(crate) instance: Option<AppInstance>,
    /// As people know it, which a reload can change.
    label: ArcSwap<Label>,
    hot: HotState,
    cold: Mutex<ColdState>,
    /// Whether the control thread is at it.
    is_claimed: AtomicBool,
    /// How its exchanges went.
    pub(crate) tallies: Tallies,
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
    /// Polls that it should have ended and has not.
    overdue: AtomicUsize,
    /// `pingInterval + pingTimeout` that its last handshake told, in milliseconds; 0 before the first.
    silence_ms: AtomicU64,
    /// Where it was first asked for a session.
    engine_io_path: OnceLock<Box<[u8]>>,
    /// How long it takes to answer.
    pub(crate) latency: Latency,
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
            state: AtomicU32::new(word_of(&health)),
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
            inquiry: Inquiry::default(),
            surplus: Surplus::default(),
            overdue: AtomicUsize::new(0),
            address: entry.address.clone(),
            instance: entry.instance.clone(),
            label: ArcSwap::from_pointee(Label::new(&entry.written)),
            hot,
            cold: Mutex::new(cold),
            is_claimed: AtomicBool::new(false),
            tallies: Tallies::default(),
            pace: Mutex::default(),
            latency: Latency::new(Instant::now()),
            tunnels: CloseSignals::default(),
            event_streams: CloseSignals::default(),
            long_answers: CloseSignals::default(),
            cuts_answers: AtomicBool::new(false),
            silence_ms: AtomicU64::new(0),
            engine_io_path: OnceLock::new(),
        }
    }

    /// Whether `entry` speaks of this node. An address is one process after another, and all of them are the node; a
    /// process that tidelock runs is a node of its own, wherever it listens.
    pub(crate) fn is_at(&self, entry: &RosterNode) -> bool {
        match (&self.instance, &entry.instance) {
            (None, None) => self.address == entry.address || self.is_respelt(&entry.address),
            (Some(own), Some(other)) => own == other && self.address == entry.address,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether `address` is another word for this machine, where this node is known to be reached because something is on
    /// it, or was told to leave. One that never was is looked for anew, wherever the other word says.
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

    /// What people call it now.
    pub(crate) fn label(&self) -> arc_swap::Guard<Arc<Label>> {
        self.label.load()
    }

    /// As written in the file.
    pub(crate) fn written(&self) -> String {
        self.label().written.clone()
    }

    /// The upstream as the plan has it now.
    pub(crate) fn plan(&self) -> Option<Arc<plan::Upstream>> {
        self.cold().plan.clone()
    }

    pub(crate) fn address(&self) -> &NodeAddress {
        &self.address
    }

    /// Whether its health is no reason to think twice: it is up and stays. So are nearly all nodes at nearly all times.
    pub(crate) fn is_ready(&self) -> bool {
        self.hot.state.load(Relaxed) & !(WORD_UNCLEAR | WORD_OUTDATED) == 0
    }

    /// Whether it has all of its share and will not be replaced soon.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_outdated() && !self.is_starting_slowly()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.hot.state.load(Relaxed) & WORD_DOWN == 0
    }

    /// Whether it is known to be there: it is up, and has answered.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_up() && self.hot.has_answered.load(Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.hot.state.load(Relaxed) & WORD_DRAINING != 0
    }

    pub(crate) fn is_outdated(&self) -> bool {
        self.hot.state.load(Relaxed) & WORD_OUTDATED != 0
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.hot.state.load(Relaxed) & WORD_GONE != 0
    }

    /// Whether lately somebody got no answer from it, and no probe has settled yet what that means.
    pub(crate) fn is_suspected(&self) -> bool {
        self.hot.state.load(Relaxed) & WORD_SUSPECTED != 0
    }

    pub(crate) fn is_starting_slowly(&self) -> bool {
        self.hot.share.load(Relaxed) < SHARE_FULL
    }

    /// It has just appeared beside others, and is not given more at once than they.
    pub(crate) fn begin_slow_start(&self, now: Instant) {
        self.cold().health.begin_slow_start(now);
        self.step_share(now);
    }

    /// Moves its share on. `true` until it has all of it. Called now and then, so that no request asks for the time.
    pub(crate) fn step_share(&self, now: Instant) -> bool {
        let mut cold = self.cold();
        let rules = cold.rules;
        let share = cold.health.share(&rules, now);
        self.hot.share.store(share, Relaxed);
        share < SHARE_FULL
    }

    /// The one place where a node goes down, comes back, or begins to leave.
    pub(crate) fn observe(&self, observed: Observed) -> Change {
        if matches!(observed, Observed::Answered | Observed::Reached) && !self.hot.has_answered.load(Relaxed)
        {
            self.hot.has_answered.store(true, Relaxed);
        }
        // Nearly every exchange ends here, and must not write to what the other workers read.
        if observed == Observed::Answered && self.hot.state.load(Relaxed) & (WORD_DOWN | WORD_UNCLEAR) == 0 {
            return Change::Nothing;
        }
        let pool_guard = self.cold().pool_guard.clone();
        // Taken before the cold state and held to the end: of two nodes that fall at once, the second must see the first.
        let pool = pool_guard.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cold = self.cold();
        let now = Instant::now();
        let rules = cold.rules;
        let percent_max = cold.plan.as_ref().map_or(100, |plan| plan.outliers.ejected_percent_max);
        let change = cold.health.note(observed, &rules, || self.spare(&pool, percent_max), now);
        let health = &mut cold.health;
        self.hot.share.store(health.share(&rules, now), Relaxed);
        self.hot.state.store(word_of(health), Relaxed);
        let label = self.label();
        let (node, upstream, address, cause) = (&label.written, &self.upstream, self.address(), health.cause);
        match change {
            Change::Fell => {
                let out_for = health.out_until().map(|until| until.duration_since(now)).unwrap_or_default();
                tracing::warn!(upstream, node, %address, cause, at_least = ?out_for, "node down");
            }
            Change::Rose => tracing::info!(upstream, node, %address, cause, "node up"),
            Change::BeganToLeave => {
                tracing::info!(upstream, node, %address, sessions = self.sessions(), "node draining");
            }
            Change::Stays => tracing::info!(upstream, node, %address, "node takes part again"),
            Change::Nothing | Change::Suspected => {}
        }
        change
    }

    /// What the pool can do without this node.
    fn spare(&self, pool: &[Guarded], percent_max: u32) -> Spare {
        let is_self = |guarded: &&Guarded| std::ptr::eq(guarded.node.as_ptr(), self);
        // One that was removed is none of them any more.
        let is_backup = pool.iter().find(is_self).is_some_and(|guarded| guarded.is_backup);
        let alike: Vec<_> = pool
            .iter()
            .filter(|guarded| guarded.is_backup == is_backup)
            .filter_map(|guarded| guarded.node.upgrade())
            .collect();
        let serves = |node: &Self| node.is_up() && !node.is_draining();
        let others = alike.iter().filter(|node| node.address() != self.address() && serves(node)).count();
        let out = alike.len() - alike.iter().filter(|node| node.is_up()).count();
        let one = others > 0;
        Spare { one, outlier: one && (out + 1) * 100 <= percent_max as usize * alike.len() }
    }

    /// Why its health is what it is, in words, and since when.
    pub(crate) fn cause(&self, now: Instant) -> (String, Instant) {
        let ColdState { health, .. } = &*self.cold();
        let cause = health.cause;
        let cause = match health.out_until() {
            Some(until) if until > now => {
                format!("{cause}; out for {} s more", until.duration_since(now).as_secs() + 1)
            }
            None if self.is_starting_slowly() => {
                format!("{cause}; slow start, {} %", self.hot.share.load(Relaxed) / 10)
            }
            Some(_) | None => cause.to_owned(),
        };
        (cause, health.since)
    }

    /// When there is a point in probing it, if not at once.
    pub(crate) fn worth_probing_at(&self) -> Option<Instant> {
        let ColdState { health, .. } = &*self.cold();
        health.out_until().filter(|_| health.is_out_for_its_answers())
    }

    /// Since when it is as it is.
    pub(crate) fn since(&self) -> Instant {
        self.cold().health.since
    }

    /// Whether whoever calls is the one to tend it from now on.
    pub(crate) fn claim_probe(&self) -> bool {
        !self.is_claimed.swap(true, Relaxed)
    }

    pub(crate) fn release_probe(&self) {
        self.is_claimed.store(false, Relaxed);
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

    /// Whether nothing is on it.
    pub(crate) fn is_empty(&self) -> bool {
        self.sessions() == 0 && self.in_flight() == 0
    }

    /// Its share of what it would get, in thousandths.
    pub(crate) fn share(&self) -> u32 {
        self.hot.share.load(Relaxed)
    }

    /// How far it is in its slow start: more than 0, and 1 at its end and wherever there is none. Picks respect it.
    pub(crate) fn ramp(&self) -> f64 {
        f64::from(self.hot.share.load(Relaxed)) / f64::from(SHARE_FULL)
    }

    /// Says how far it is in its slow start.
    #[cfg(test)]
    pub(crate) fn set_ramp(&self, ramp: f64) {
        let share = (ramp * f64::from(SHARE_FULL)) as u32;
        self.hot.share.store(share.clamp(1, SHARE_FULL), Relaxed);
    }

    /// It leaves, and keeps the plain requests of clients that are pinned to it until then.
    pub(crate) fn keep_pinned(&self, until: Instant) {
        *self.keeps_pinned_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    /// Whether it does so still.
    pub(crate) fn keeps_pinned(&self, now: Instant) -> bool {
        let until = self.keeps_pinned_until.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_draining() && until.is_some_and(|until| now < until)
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

    /// One of its polls is overdue, for as long as this lives.
    pub(crate) fn overdue(self: &Arc<Self>) -> Overdue {
        self.overdue.fetch_add(1, Relaxed);
        Overdue(self.clone())
    }

    /// Whether a poll to it is overdue, so that each looks whether it is the one.
    pub(crate) fn has_overdue(&self) -> bool {
        self.overdue.load(Relaxed) > 0
    }

    /// Remembers what a handshake told; sessions that are first met by their tag are given the same patience.
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

/// One request on its way to a node. Load is the number of these that live, so that none is ever forgotten.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Node>);

impl InFlight {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        node.hot.in_flight.fetch_add(1, Relaxed);
        Self(node)
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.hot.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A poll that its node should have ended.
#[derive(Debug)]
pub(crate) struct Overdue(Arc<Node>);

impl Drop for Overdue {
    fn drop(&mut self) {
        self.0.overdue.fetch_sub(1, Relaxed);
    }
}

/// One session on a node, or a handshake on its way to become one.
#[derive(Debug)]
pub(crate) struct InSession(Arc<Node>);

impl InSession {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        node.hot.sessions.fetch_add(1, Relaxed);
        Self(node)
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0
    }
}

impl Drop for InSession {
    fn drop(&mut self) {
        self.0.hot.sessions.fetch_sub(1, Relaxed);
    }
}

impl Label {
    fn new(written: &str) -> Self {
        Self { written: written.to_owned(), in_log: OnceLock::new() }
    }
}

/// What requests need to know of all that.
fn word_of(health: &HealthState) -> u32 {
    let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
    flag(!health.is_up(), WORD_DOWN)
        | flag(health.is_draining, WORD_DRAINING)
        | flag(!health.is_clear(), WORD_UNCLEAR)
        | flag(health.is_outdated, WORD_OUTDATED)
        | flag(health.is_gone, WORD_GONE)
        | flag(health.is_suspected, WORD_SUSPECTED)
}

/// It is leaving.
const WORD_DRAINING: u32 = 1;
/// It is down.
const WORD_DOWN: u32 = 1 << 1;
/// Something is held against it, which an answer may change.
const WORD_UNCLEAR: u32 = 1 << 2;
/// It will be replaced.
const WORD_OUTDATED: u32 = 1 << 3;
/// It is no more.
const WORD_GONE: u32 = 1 << 4;
/// Others come first, until a probe has found out.
const WORD_SUSPECTED: u32 = 1 << 5;

#[cfg(test)]
mod tests;
