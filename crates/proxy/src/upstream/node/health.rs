//! What is known of a node's health, and the one place where it changes. Picks read it from one word, so that asking costs
//! them nothing; whoever changes it takes the lock.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;

use tokio::time::Instant;

use super::{ColdState, Guarded, Node};
use crate::upstream::health::state::{Change, Observed, SHARE_FULL, Spare};
use crate::upstream::health::word::{self, DOWN, DRAINING, GONE, OUTDATED, SUSPECTED, UNCLEAR};

impl Node {
    /// Whether its health is no reason to think twice: it is up and stays. So are nearly all nodes at nearly all
    /// times.
    pub(crate) fn is_ready(&self) -> bool {
        self.hot.state.load(Relaxed) & !(UNCLEAR | OUTDATED) == 0
    }

    /// Whether it has all of its share and will not be replaced soon.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_outdated() && !self.is_starting_slowly()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.hot.state.load(Relaxed) & DOWN == 0
    }

    /// Whether it is known to be there: it is up, and has answered.
    pub(crate) fn is_proven(&self) -> bool {
        self.is_up() && self.hot.has_answered.load(Relaxed)
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.hot.state.load(Relaxed) & DRAINING != 0
    }

    pub(crate) fn is_outdated(&self) -> bool {
        self.hot.state.load(Relaxed) & OUTDATED != 0
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.hot.state.load(Relaxed) & GONE != 0
    }

    /// Whether lately somebody got no answer from it, and no probe has settled yet what that means.
    pub(crate) fn is_suspected(&self) -> bool {
        self.hot.state.load(Relaxed) & SUSPECTED != 0
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
        if observed == Observed::Answered && self.hot.state.load(Relaxed) & (DOWN | UNCLEAR) == 0 {
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
        self.hot.state.store(word::of(health), Relaxed);
        let label = self.label();
        let (node, upstream, address, cause) = (&label.written, &self.upstream, self.address(), health.cause);
        match change {
            Change::Fell => {
                self.falls.fetch_add(1, Relaxed);
                let out_for = health.out_until().map(|until| until.duration_since(now)).unwrap_or_default();
                tracing::warn!(event = "node_down", upstream, node, %address, cause, at_least = ?out_for, "node down");
            }
            Change::Rose => tracing::info!(event = "node_up", upstream, node, %address, cause, "node up"),
            Change::BeganToLeave => {
                tracing::info!(event = "node_draining", upstream, node, %address, sessions = self.sessions(), "node draining");
            }
            Change::Stays => {
                tracing::info!(event = "node_kept", upstream, node, %address, "node takes part again");
            }
            Change::Nothing | Change::Suspected => {}
        }
        change
    }

    /// What the pool can do without this node: it itself, if another serves; and one more that is far off the
    /// others, if no more than `percent_max` of them are out then.
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

    /// Why its health is what it is, in words for the status, and since when.
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
        let cause = match self.tls.load().as_ref().and_then(|tls| tls.trouble()) {
            // The only node of all stays up, for whoever asks may have more luck.
            Some(trouble) if self.is_up() => trouble,
            Some(trouble) => format!("{cause}: {trouble}"),
            None => cause,
        };
        (cause, health.since)
    }

    /// Until when a probe of it would tell nothing; `None` where it is worth one at once.
    pub(crate) fn worth_probing_at(&self) -> Option<Instant> {
        let ColdState { health, .. } = &*self.cold();
        health.out_until().filter(|_| health.is_out_for_its_answers())
    }

    /// Counts an attempt that it has failed.
    #[cold]
    pub(crate) fn has_failed(&self, why: &'static str) {
        *self.failures.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
    }

    /// Attempts that it has failed, by why.
    pub(crate) fn failures(&self) -> BTreeMap<&'static str, u64> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Since when it is as it is.
    pub(crate) fn since(&self) -> Instant {
        self.cold().health.since
    }

    /// True for one caller until it gives the claim back: nobody else probes the node meanwhile.
    pub(crate) fn claim_probe(&self) -> bool {
        !self.is_claimed.swap(true, Relaxed)
    }

    pub(crate) fn release_probe(&self) {
        self.is_claimed.store(false, Relaxed);
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
}
