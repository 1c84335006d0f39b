//! Picks a node for one request. Pure: no clock, no socket, no lock; it reads loads and moves its cursor. Health
//! changes a node's state, never this folder.

mod turns;
mod least;
mod two;
pub(crate) mod hash;
mod latency;

use std::cell::{Cell, RefCell};

use fastrand::Rng;
use tokio::time::Instant;

pub(crate) use self::latency::Latency;
pub(crate) use self::turns::Turns;
use crate::upstream::member::{Begins, Member};

/// Who is asked for, and among whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) members: &'a [Member],
    pub(crate) turns: &'a Turns,
    /// Nodes that have failed this request already.
    pub(crate) tried: &'a [usize],
    pub(crate) begins: Begins,
    /// Whether a node that is full is passed over. A request that has its place is not turned away from it.
    pub(crate) heeds_bounds: bool,
}

/// What decides between nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Policy {
    /// Whoever carries the least of it for its weight.
    Least(Load),
    /// One after the other.
    InTurn,
    /// Of two drawn by weight, the one with fewer connections in use for its weight.
    RandomTwo,
    /// Of two drawn by weight, the one that would answer sooner as far as is known at this moment.
    PeakEwma(Instant),
    /// The same node for the same key.
    Hash(u64),
}

/// What a node carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Sessions, and handshakes on their way to become some.
    Sessions,
    /// Requests under way.
    InFlight,
    /// Requests under way and tunnels.
    Connections,
}

/// Why a pick came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unpicked {
    /// Nodes are up, and each of them carries as much as it may: one may have room in a moment.
    AllFull,
    /// There is no node, or each was tried or is leaving.
    Nobody,
}

/// What a node is to a pick, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Ready,
    /// It would be, but others come first: it has just come back and has had its share, or it will be replaced soon.
    Second,
    /// Stands in for those that are down or full.
    Backup,
    /// It is up, and carries as much as it may.
    Full,
    /// It is down. Asked only when no other is up: what is known of it is old, and the last node is never taken out by
    /// a failure.
    Down,
    /// Not to be had.
    Out,
}

/// Where a worker, or the choice of sessions, is in an upstream: the only thing that a pick changes.
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Whose turn is next. Without it every tie would go to the first node of the file.
    at: Cell<usize>,
    dice: RefCell<Rng>,
}

/// A worker's cursors, one for each upstream.
#[derive(Debug)]
pub(crate) struct Cursors([Cursor; LANES]);

/// Picks a node, and says its index.
pub(crate) fn pick(ask: &Ask<'_>, policy: Policy, cursor: &Cursor) -> Result<usize, Unpicked> {
    match policy {
        Policy::Hash(key) => hash::pick(ask, key),
        Policy::Least(Load::Sessions) => least::sessions(ask, cursor),
        // While processes of an app are being replaced, what is placed on an old one has to move again.
        _ if ask.begins == Begins::Session && ask.members.iter().any(|member| member.node.is_outdated()) => {
            least::sessions(ask, cursor)
        }
        Policy::Least(load @ (Load::InFlight | Load::Connections)) => least::requests(ask, load, cursor),
        Policy::InTurn => turns::pick(ask, cursor),
        Policy::RandomTwo => two::less_busy(ask, cursor),
        Policy::PeakEwma(now) => two::sooner(ask, now, cursor),
    }
}

impl Load {
    fn of(self, member: &Member) -> usize {
        match self {
            Self::Sessions => member.node.sessions(),
            Self::InFlight => member.node.in_flight(),
            Self::Connections => member.node.connections(),
        }
    }
}

impl Ask<'_> {
    /// Whether a client that is pinned to a node is let through to it. A node that drains keeps its clients' plain requests
    /// for a while, or a page would lose its login between two clicks; what goes on for long leaves at once. A backup keeps
    /// them while it serves.
    pub(crate) fn admits_pinned(&self, index: usize, leaves_at_once: bool, now: Instant) -> bool {
        match self.fit(index) {
            Fit::Ready | Fit::Second => true,
            Fit::Backup => self.level(0) == Ok(Fit::Backup),
            Fit::Out => {
                let node = &self.members[index].node;
                let is_page = self.begins == Begins::Request && !leaves_at_once;
                is_page && !self.tried.contains(&index) && node.is_up() && node.keeps_pinned(now)
            }
            Fit::Full | Fit::Down => false,
        }
    }

    fn fit(&self, index: usize) -> Fit {
        self.fit_of(index, &self.members[index])
    }

    fn fit_of(&self, index: usize, member: &Member) -> Fit {
        if self.tried.contains(&index) {
            return Fit::Out;
        }
        if member.is_plain() {
            return Fit::Ready;
        }
        if member.node.is_draining() {
            return Fit::Out;
        }
        match (member.node.is_up(), self.heeds_bounds && member.is_full(self.begins)) {
            (true, true) => Fit::Full,
            (true, false) if member.entry.backup => Fit::Backup,
            (true, false) => Fit::Ready,
            (false, true) => Fit::Out,
            (false, false) => Fit::Down,
        }
    }

    /// The best that is to be had. Ends at the first node that is ready, from `start` on.
    fn level(&self, start: usize) -> Result<Fit, Unpicked> {
        let mut best = Fit::Out;
        for index in self.from(start) {
            best = best.min(self.fit(index));
            if best == Fit::Ready {
                break;
            }
        }
        match best {
            Fit::Ready | Fit::Second | Fit::Backup | Fit::Down => Ok(best),
            Fit::Full => Err(Unpicked::AllFull),
            Fit::Out => Err(Unpicked::Nobody),
        }
    }

    /// The one whose score beats all others' among the best that is to be had; the first of equals, from `start` on.
    /// `judge` says what a node is to this pick, and its score.
    fn best<S: Copy>(
        &self,
        start: usize,
        judge: impl Fn(usize, &Member) -> (Fit, S),
        beats: impl Fn(S, S) -> bool,
    ) -> Result<usize, Unpicked> {
        self.best_until(start, judge, beats, |_| false)
    }

    /// The same among those up to the first that is ready and, by its score, `enough`.
    fn best_until<S: Copy>(
        &self,
        start: usize,
        judge: impl Fn(usize, &Member) -> (Fit, S),
        beats: impl Fn(S, S) -> bool,
        mut enough: impl FnMut(S) -> bool,
    ) -> Result<usize, Unpicked> {
        let mut best: Option<(Fit, S, usize)> = None;
        // Two slices instead of one chain of indexes: with a thousand nodes that is a fifth of what a pick costs.
        let (before, after) = self.members.split_at(start.min(self.members.len()));
        'search: for (first, nodes) in [(before.len(), after), (0, before)] {
            for (index, node) in (first..).zip(nodes) {
                let (fit, score) = judge(index, node);
                if best.is_none_or(|(best_fit, best_score, _)| {
                    fit < best_fit || (fit == best_fit && beats(score, best_score))
                }) {
                    best = Some((fit, score, index));
                }
                if fit == Fit::Ready && enough(score) {
                    break 'search;
                }
            }
        }
        match best {
            Some((Fit::Ready | Fit::Second | Fit::Backup | Fit::Down, _, index)) => Ok(index),
            Some((Fit::Full, ..)) => Err(Unpicked::AllFull),
            Some((Fit::Out, ..)) | None => Err(Unpicked::Nobody),
        }
    }

    /// Every index once.
    fn from(&self, start: usize) -> impl Iterator<Item = usize> + use<> {
        (start..self.members.len()).chain(0..start.min(self.members.len()))
    }
}

impl Cursor {
    pub(crate) fn new(dice: Rng) -> Self {
        Self { at: Cell::new(0), dice: RefCell::new(dice) }
    }

    /// Whose turn it is, and then the next one's.
    fn advance(&self) -> usize {
        let at = self.at.get();
        self.at.set(at.wrapping_add(1));
        at
    }

    /// Goes on with anybody's turn among `count` nodes. Clients that all ask in one rhythm, a page and then its login, would
    /// else log in at every second node, or every third.
    pub(crate) fn scatter(&self, count: usize) {
        self.at.set(self.at.get().wrapping_add(self.below(count.max(1))));
    }

    fn below(&self, bound: usize) -> usize {
        self.dice.borrow_mut().usize(..bound)
    }

    /// True in `share` of all cases, which may be more than all.
    fn falls_in(&self, share: f64) -> bool {
        share >= 1.0 || self.dice.borrow_mut().f64() < share
    }
}

impl Default for Cursor {
    fn default() -> Self {
        Self::new(Rng::new())
    }
}

impl Cursors {
    /// Of the upstream with this number. Two upstreams of one number share a cursor, which only makes their ties
    /// rotate less evenly.
    pub(crate) fn of(&self, upstream: usize) -> &Cursor {
        &self.0[upstream % LANES]
    }
}

impl Default for Cursors {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Cursor::default()))
    }
}

const LANES: usize = 64;

#[cfg(test)]
mod tests;
