//! Empties one node: each of its sessions gets a turn; tunnels are told theirs, polling sessions are closed through
//! the node when theirs has come. Runs on the control thread, and works for the node's own sessions alone: all of them
//! once, and then those that come.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};

use crate::control::drain::polling::{Closed, Closer, TALKS_WITHIN};
use crate::control::drain::schedule::Schedule;
use crate::control::status::Remains;
use crate::upstream::close_signal::{CloseOrder, CloseReason};
use crate::upstream::node::Node;
use crate::upstream::sessions::SessionTable;

/// How a node is emptied.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) window: Duration,
    pub(crate) deadline: Duration,
    /// What its tunnels are told.
    pub(crate) reason: CloseReason,
    /// Whether it is stopped at the deadline, so that what it still answers is cut then.
    pub(crate) is_stopped: bool,
}

/// A node that is being emptied.
struct Emptying {
    node: Arc<Node>,
    session_table: Arc<SessionTable>,
    closer: Rc<Closer>,
    schedule: Schedule,
    /// Until then the first sessions are waited for that have a turn sooner than one can be waited for.
    talks_until: Instant,
    until: Instant,
    reason: CloseReason,
    is_stopped: bool,
    /// Polling sessions, the one that is looked at next first.
    turns: BinaryHeap<Reverse<DrainSlot>>,
    closing: JoinSet<(Box<[u8]>, Closed)>,
    /// Sessions that are closed, and by when the poll of each should have ended.
    closed: VecDeque<(Instant, Box<[u8]>)>,
    /// Tunnels from this number on have not been told yet.
    next_tunnel: u64,
    /// The same of the streams of EventSources.
    next_stream: u64,
    /// By which it follows the sessions that come.
    follower: u64,
}

/// When a session that polls is closed.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct DrainSlot {
    /// When it is looked at next: a while before its turn, because a client that talks is best closed right behind an answer.
    looks_at: Instant,
    at: Instant,
    sid: Box<[u8]>,
}

/// Empties `node`, which takes nothing new any more, until its owner lets go of it or its deadline has come. What
/// is left then is in the log.
pub(crate) async fn empty(
    node: Arc<Node>,
    session_table: Arc<SessionTable>,
    pace: Pace,
    mut owner: oneshot::Receiver<Infallible>,
) {
    let mut emptying = Emptying::new(node, session_table, pace);
    emptying.tell_all().await;
    let left = loop {
        let now = Instant::now();
        emptying.tell_newcomers(now).await;
        emptying.step(now);
        if emptying.is_done(now) || now >= emptying.until {
            break Some(Remains::on([&*emptying.node]));
        }
        tokio::select! {
            _ = &mut owner => break None,
            () = sleep_until(emptying.wakes_at(now)) => {}
            Some(closed) = emptying.closing.join_next() => {
                if let Ok((sid, closed)) = closed {
                    emptying.note(sid, closed, Instant::now());
                }
            }
        }
    };
    if let Some(left) = left {
        emptying.say(&left);
        if emptying.is_stopped {
            emptying.node.cut_answers(Instant::now());
        }
    }
    emptying.end().await;
}

impl Emptying {
    fn new(node: Arc<Node>, session_table: Arc<SessionTable>, pace: Pace) -> Self {
        let begun = Instant::now();
        let until = begun + pace.deadline;
        node.keep_pinned(begun + pace.window);
        node.lets_answers_end();
        Self {
            closer: Closer::new(node.clone(), session_table.clone(), until),
            schedule: Schedule::new(begun, pace.window, Rng::new()),
            talks_until: begun + TALKS_WITHIN.min(pace.window),
            until,
            reason: pace.reason,
            is_stopped: pace.is_stopped,
            turns: BinaryHeap::new(),
            closing: JoinSet::new(),
            closed: VecDeque::new(),
            next_tunnel: 0,
            next_stream: 0,
            // Who comes from now on is a newcomer.
            follower: node.follow_newcomers(),
            node,
            session_table,
        }
    }

    /// Whether nothing is on the node, and nothing comes any more. Pages of clients that are pinned to it may come
    /// until the window is over; one that is stopped then cannot keep them, and lets them go as soon as none is
    /// under way.
    fn is_done(&self, now: Instant) -> bool {
        let is_empty = self.node.is_empty();
        if !self.node.keeps_pages(now) {
            return is_empty;
        }
        if is_empty && self.is_stopped {
            // One may have been let through in this moment: the next look is the last.
            self.node.keep_pinned(now);
        }
        false
    }

    /// Gives a turn to everybody who is there. A hundred thousand are found in many steps, so that nothing else on this
    /// thread has to wait for all of them.
    async fn tell_all(&mut self) {
        let mut polling = Vec::new();
        for some in self.session_table.schedule_polling(&self.node) {
            polling.extend(some);
            yield_now().await;
        }
        self.tell(polling, Instant::now()).await;
    }

    async fn tell_newcomers(&mut self, now: Instant) {
        let mut polling = self.node.take_newcomers(self.follower);
        polling.retain(|sid| self.session_table.schedule(sid));
        self.tell(polling, now).await;
    }

    /// One turn each, for these sessions and for the tunnels and streams that have not been told.
    async fn tell(&mut self, polling: Vec<Box<[u8]>>, now: Instant) {
        let tunnels = self.node.tunnels.count_from(self.next_tunnel);
        let streams = self.node.event_streams.count_from(self.next_stream);
        let mut turns = self.schedule.turns(polling.len() + tunnels + streams, now);
        let streams_turns = turns.split_off(turns.len() - streams);
        let mut turns = turns.into_iter();
        let mut polling = polling.into_iter();
        while polling.len() > 0 {
            let some = polling.by_ref().take(AT_ONCE).zip(&mut turns);
            self.turns.extend(some.map(|(sid, at)| {
                let looks_at = at.checked_sub(TALKS_WITHIN).unwrap_or(now).max(now);
                Reverse(DrainSlot { looks_at, at, sid })
            }));
            yield_now().await;
        }
        // A tunnel that has come since they were counted has no turn of its own.
        self.next_tunnel = self.node.tunnels.signal_from(self.next_tunnel, || CloseOrder {
            at: turns.next().unwrap_or(now),
            until: self.until,
            reason: self.reason,
        });
        self.next_stream = signal_streams(&self.node, self.next_stream, streams_turns, |at| CloseOrder {
            at: at.unwrap_or(now),
            until: self.until,
            reason: self.reason,
        });
    }

    /// How it has ended.
    fn say(&self, remains: &Remains) {
        let (upstream, node, left) = (&self.node.upstream, self.node.written(), remains.left.sum());
        if left == 0 {
            tracing::info!(event = "node_drained", upstream, node, left, "node drained");
        } else {
            let next = if self.is_stopped { "cut now" } else { "waited for until the node is stopped" };
            tracing::warn!(event = "node_drained", upstream, node, left, still = %remains, next, "node drained");
        }
    }

    /// Does what is due.
    fn step(&mut self, now: Instant) {
        while self.closing.len() < CLOSING_MAX
            && self.turns.peek().is_some_and(|Reverse(turn)| turn.looks_at <= now)
        {
            let Some(Reverse(DrainSlot { at, sid, .. })) = self.turns.pop() else { break };
            let waits_until = at.max(self.talks_until);
            // Where many have their turns at once, few of them are waited for.
            if waits_until > now && self.closing.len() < AWAITED_MAX && self.closer.talks(&sid) {
                self.closing.spawn_local(self.closer.clone().close(sid, waits_until));
            } else if at <= now {
                self.closing.spawn_local(self.closer.clone().close(sid, now));
            } else {
                self.turns.push(Reverse(DrainSlot { looks_at: at, at, sid }));
            }
        }
        while let Some((_, sid)) = self.closed.pop_front_if(|(at, _)| *at <= now) {
            self.session_table.poll_is_overdue(&sid);
        }
    }

    fn note(&mut self, sid: Box<[u8]>, closed: Closed, now: Instant) {
        match closed {
            Closed::Politely => self.closed.push_back((now + POLL_ENDS_WITHIN, sid)),
            Closed::Failed => {
                tracing::debug!(node = self.node.written(), "a polling session could not be closed politely");
                self.closed.push_back((now + POLL_ENDS_WITHIN, sid));
            }
            Closed::ByItself | Closed::NotYet => {}
        }
    }

    fn wakes_at(&self, now: Instant) -> Instant {
        let turn = self.turns.peek().map(|Reverse(turn)| turn.looks_at);
        let overdue = self.closed.front().map(|(at, _)| *at);
        let soonest = [turn, overdue].into_iter().flatten().min().unwrap_or(self.until);
        soonest.min(now + LOOK_EVERY).max(now + LOOK_AT_MOST_EVERY).min(self.until)
    }

    /// Whoever had no turn can be given another one, by another drain. What has begun to close a session finishes, or the
    /// client would be told and the node not.
    async fn end(mut self) {
        self.closer.call_off();
        self.node.unfollow_newcomers(self.follower);
        for some in std::mem::take(&mut self.turns).into_vec().chunks(AT_ONCE) {
            for Reverse(turn) in some {
                self.session_table.unschedule(&turn.sid);
            }
            yield_now().await;
        }
        while let Some(closed) = self.closing.join_next().await {
            if let Ok((sid, closed)) = closed {
                self.note(sid, closed, Instant::now());
            }
        }
        while let Some((at, sid)) = self.closed.pop_front() {
            sleep_until(at).await;
            self.session_table.poll_is_overdue(&sid);
        }
    }
}

/// Tells the event streams from number `from` on, the oldest first: the youngest may have come from a node that was emptied
/// just now. Returns the number of the next one to come.
pub(crate) fn signal_streams(
    node: &Node,
    from: u64,
    mut turns: Vec<Instant>,
    order: impl Fn(Option<Instant>) -> CloseOrder,
) -> u64 {
    turns.sort_unstable();
    let mut turns = turns.into_iter();
    node.event_streams.signal_from(from, || order(turns.next()))
}

/// Requests to the node under way to close polling sessions.
const CLOSING_MAX: usize = 64;
/// So many of them may wait for a good moment: a few hundred clients that talk in a window of ten seconds.
const AWAITED_MAX: usize = 32;
/// A node that has taken the close ends the session's poll at once. One that does not has nothing in its queue, so that
/// nothing is lost with that poll.
pub(crate) const POLL_ENDS_WITHIN: Duration = Duration::from_millis(500);
/// Sessions that are looked at before something else on this thread has its turn: a matter of a few milliseconds.
const AT_ONCE: usize = 4096;
/// What is left on the node is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(5);
