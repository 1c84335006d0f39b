//! What is known of a node's health, and how whatever is seen of the node changes it. Pure: the clock is an argument,
//! and what the pool can spare is asked of the caller. Only [`crate::upstream::node::Node::observe`] uses it.

use std::time::Duration;

use config::plan;
use tokio::time::Instant;

/// What an exchange, a probe or a person has to say of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observed {
    /// It answered, whatever it said.
    Answered,
    /// It answered with a status of 500 or more, where such answers count.
    AnsweredBadly,
    /// A probe was answered as it should be.
    Reached,
    /// A probe was not.
    Missed(&'static str),
    /// The wire said that nobody listens there.
    Refused,
    /// No connection, no answer, or no answer in time.
    Failed(&'static str),
    /// Whoever looked into a suspicion is done with it.
    Settled,
    /// It is worse than the others of its pool by far.
    Outlier(&'static str),
    /// Somebody wants it to leave.
    ToldToDrain,
    /// Somebody wants it to stay after all.
    ToldToStay,
    /// It runs what its app is now, or does not.
    Published { is_current: bool },
    /// Its process is gone, says whoever started it.
    Gone,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Nothing,
    /// It did not answer once; a probe should find out.
    Suspected,
    /// It is out, and wants probing until it is back.
    Fell,
    Rose,
    BeganToLeave,
    Stays,
}

/// What the pool can spare at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spare {
    /// There is another node that takes requests.
    pub(crate) one: bool,
    /// No more are out than may be, for what they answer.
    pub(crate) outlier: bool,
}

/// The upstream's rules, as far as one node is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whether it is probed all the time.
    is_probed: bool,
    /// Between two probes.
    interval: Duration,
    rise: u32,
    fall: u32,
    failures: u32,
    errors: u32,
    ejection: Duration,
    ejection_max: Duration,
    slow_start: Duration,
}

/// A node's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HealthState {
    state: State,
    /// It is leaving: its sessions go on, nothing new comes.
    pub(crate) is_draining: bool,
    /// It is a process of an app that will be replaced; new sessions prefer the others up to their even share.
    pub(crate) is_outdated: bool,
    /// It was a process of an app, and is no more.
    pub(crate) is_gone: bool,
    /// It is up, and lately somebody got no answer: others come first until a probe has settled that.
    pub(crate) is_suspected: bool,
    /// Why it is up or down.
    pub(crate) cause: &'static str,
    pub(crate) since: Instant,
    /// Whether it has changed since it was first seen.
    has_changed: bool,
    /// How often it was put out, in a row.
    relapses: u32,
    /// When it came back or appeared, until it has its full share.
    ramp: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up {
        /// Requests in a row without an answer.
        failures: u32,
        /// Bad answers in a row.
        errors: u32,
        /// Probes in a row that failed.
        missed: u32,
    },
    Down {
        by: By,
        /// It is not back before then.
        until: Instant,
        /// Probes in a row that were answered.
        reached: u32,
    },
}

/// Who took a node out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Its machine. The process is gone, and whatever answers there is a new one.
    Refusal,
    /// It did not answer.
    Silence,
    /// It did not answer probes as it should, whatever else it answers.
    Probes,
    /// Its answers are bad, or late.
    Answers,
}

impl Rules {
    pub(crate) fn of(upstream: &plan::Upstream) -> Self {
        let plan::Upstream { health, outliers, .. } = upstream;
        Self {
            is_probed: health.probe.is_some(),
            interval: if health.probe.is_some() { health.interval } else { PASSIVE_INTERVAL },
            // Without probes of its own choice, any answer to ours will do.
            rise: if health.probe.is_some() { health.rise } else { 1 },
            fall: health.fall,
            failures: outliers.failures,
            errors: outliers.errors,
            ejection: outliers.ejection,
            ejection_max: outliers.ejection_max,
            slow_start: health.slow_start,
        }
    }

    /// A node's state changes at most once in so long, unless the wire says that it is gone.
    fn dwell(&self) -> Duration {
        self.interval * 2
    }
}

impl Default for Rules {
    /// Those of an upstream that says nothing.
    fn default() -> Self {
        Self {
            is_probed: false,
            interval: PASSIVE_INTERVAL,
            rise: 1,
            fall: 3,
            failures: 3,
            errors: 0,
            ejection: Duration::from_secs(10),
            ejection_max: Duration::from_secs(300),
            slow_start: Duration::from_secs(10),
        }
    }
}

impl HealthState {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: CLEAR,
            is_draining: false,
            is_outdated: false,
            is_gone: false,
            is_suspected: false,
            cause: "no failure yet",
            since: now,
            has_changed: false,
            relapses: 0,
            ramp: None,
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// Whether nothing is held against it, so that an answer changes nothing.
    pub(crate) fn is_clear(&self) -> bool {
        self.state == CLEAR
    }

    /// Until when it is out at least.
    pub(crate) fn out_until(&self) -> Option<Instant> {
        match self.state {
            State::Down { until, .. } => Some(until),
            State::Up { .. } => None,
        }
    }

    /// Whether it is out for what it answers to clients, of which a probe tells nothing: there is no point in one
    /// before its time is up.
    pub(crate) fn is_out_for_its_answers(&self) -> bool {
        matches!(self.state, State::Down { by: By::Answers, .. })
    }

    /// It has just appeared beside others.
    pub(crate) fn begin_slow_start(&mut self, now: Instant) {
        self.ramp = Some(now);
    }

    /// Its share of what it would get, in thousandths, which rises from the first to the last moment of its slow
    /// start; all of it afterwards.
    pub(crate) fn share(&mut self, rules: &Rules, now: Instant) -> u32 {
        let Some(begun) = self.ramp else { return SHARE_FULL };
        let elapsed = now.duration_since(begun);
        if elapsed >= rules.slow_start {
            self.ramp = None;
            return SHARE_FULL;
        }
        let share = elapsed.as_millis() * u128::from(SHARE_FULL) / rules.slow_start.as_millis().max(1);
        u32::try_from(share).unwrap_or(SHARE_FULL).max(SHARE_LEAST)
    }

    /// Takes note of `observed`. `spare` is asked only where it matters.
    pub(crate) fn note(
        &mut self,
        observed: Observed,
        rules: &Rules,
        spare: impl FnOnce() -> Spare,
        now: Instant,
    ) -> Change {
        let seen = Observation { observed, rules, now };
        match observed {
            Observed::ToldToDrain => self.told(true),
            Observed::ToldToStay => self.told(false),
            Observed::Published { is_current } => {
                self.is_outdated = !is_current;
                Change::Nothing
            }
            // Whoever started the process knows why it has ended, and says so; and nobody has to probe it.
            Observed::Gone => {
                self.is_gone = true;
                self.fall(By::Refusal, "its process has ended", rules, now);
                Change::Nothing
            }
            // Nothing that was said before brings the dead back.
            _ if self.is_gone => Change::Nothing,
            _ => match self.state {
                State::Up { failures, errors, missed } => {
                    let held = Held { failures, errors, missed };
                    self.while_up(held, seen, spare)
                }
                State::Down { by, until, reached } => self.while_down(Out { by, until, reached }, seen),
            },
        }
    }

    fn told(&mut self, to_drain: bool) -> Change {
        let was = std::mem::replace(&mut self.is_draining, to_drain);
        match (was, to_drain) {
            (false, true) => Change::BeganToLeave,
            (true, false) => Change::Stays,
            (false, false) | (true, true) => Change::Nothing,
        }
    }

    fn while_up(&mut self, held: Held, seen: Observation<'_>, spare: impl FnOnce() -> Spare) -> Change {
        let Held { failures, errors, missed } = held;
        let Observation { observed, rules, now } = seen;
        let next = match observed {
            Observed::Answered => Held { failures: 0, errors: 0, missed },
            Observed::AnsweredBadly => Held { failures: 0, errors: errors.saturating_add(1), missed },
            Observed::Failed(_) => Held { failures: failures.saturating_add(1), errors, missed },
            // What it answers to a probe is no proof that it serves: that failure count is the requests' own.
            Observed::Reached => Held { failures, errors, missed: 0 },
            Observed::Missed(_) => Held { failures, errors, missed: missed.saturating_add(1) },
            _ => Held { failures, errors, missed },
        };
        let fall = match observed {
            // The system refuses for a process that is gone; waiting for a second opinion would cost a request.
            Observed::Refused => Some((By::Refusal, "connection refused")),
            Observed::Failed(cause) if next.failures >= rules.failures => Some((By::Silence, cause)),
            // A request and a probe are two witnesses, and need no third.
            Observed::Missed(cause) if failures > 0 => Some((By::Silence, cause)),
            Observed::Missed(cause) if next.missed >= rules.fall => Some((By::Probes, cause)),
            Observed::AnsweredBadly if rules.errors > 0 && next.errors >= rules.errors => {
                Some((By::Answers, "errors in a row"))
            }
            Observed::Outlier(cause) => Some((By::Answers, cause)),
            _ => None,
        };
        self.state = State::Up { failures: next.failures, errors: next.errors, missed: next.missed };
        self.is_suspected = match observed {
            // The next probe will settle it; where there is none, this was the one.
            Observed::Missed(_) => rules.is_probed,
            Observed::Answered | Observed::AnsweredBadly | Observed::Reached | Observed::Settled => false,
            _ => self.is_suspected,
        };
        let may_fall = |by: By| match by {
            By::Refusal => true,
            By::Probes => self.may_change(rules, now),
            By::Silence => self.may_change(rules, now) && spare().one,
            By::Answers => self.may_change(rules, now) && spare().outlier,
        };
        match (fall, observed) {
            (Some((by, cause)), _) if may_fall(by) => {
                self.fall(by, cause, rules, now);
                Change::Fell
            }
            (None, Observed::Failed(_)) => {
                self.is_suspected = true;
                Change::Suspected
            }
            (Some(_) | None, _) => Change::Nothing,
        }
    }

    fn while_down(&mut self, Out { by, until, reached }: Out, seen: Observation<'_>) -> Change {
        let Observation { observed, rules, now } = seen;
        let reached = match observed {
            Observed::Reached => reached.saturating_add(1),
            Observed::Missed(_) | Observed::Refused | Observed::Failed(_) => 0,
            _ => reached,
        };
        self.state = State::Down { by, until, reached };
        let cause = match (observed, by) {
            (Observed::Reached, _) if reached >= rules.rise => "it answers probes",
            // Those who asked it all the same have their answer. Where answers or probes spoke against it, that is no
            // news.
            (Observed::Answered, By::Refusal | By::Silence) => "it answered",
            _ => return Change::Nothing,
        };
        if now < until {
            return Change::Nothing;
        }
        self.state = CLEAR;
        self.changed(cause, now);
        self.ramp = (!rules.slow_start.is_zero()).then_some(now);
        Change::Rose
    }

    fn fall(&mut self, by: By, cause: &'static str, rules: &Rules, now: Instant) {
        if now.duration_since(self.since) >= rules.ejection_max {
            self.relapses = 0;
        }
        let doubled = |first: Duration| first.saturating_mul(1 << self.relapses.min(DOUBLINGS_MAX));
        let out_for = match by {
            By::Refusal => PASSIVE_INTERVAL.min(rules.interval) * 2,
            By::Probes => rules.dwell(),
            By::Silence => doubled(rules.dwell()).min(rules.ejection_max.max(rules.dwell())),
            By::Answers => doubled(rules.ejection).min(rules.ejection_max).max(rules.dwell()),
        };
        if matches!(by, By::Silence | By::Answers) {
            self.relapses = self.relapses.saturating_add(1);
        }
        self.state = State::Down { by, until: now + out_for, reached: 0 };
        self.is_suspected = false;
        self.changed(cause, now);
        self.ramp = None;
    }

    fn may_change(&self, rules: &Rules, now: Instant) -> bool {
        !self.has_changed || now.duration_since(self.since) >= rules.dwell()
    }

    fn changed(&mut self, cause: &'static str, now: Instant) {
        self.cause = cause;
        self.since = now;
        self.has_changed = true;
    }
}

/// What is seen of a node, by which rules, and when.
struct Observation<'r> {
    observed: Observed,
    rules: &'r Rules,
    now: Instant,
}

/// What is held against a node that is up.
struct Held {
    failures: u32,
    errors: u32,
    missed: u32,
}

/// How a node is down.
struct Out {
    by: By,
    until: Instant,
    reached: u32,
}

const CLEAR: State = State::Up { failures: 0, errors: 0, missed: 0 };
/// Between two probes of a node that is down, where the upstream says nothing else.
pub(crate) const PASSIVE_INTERVAL: Duration = Duration::from_millis(500);
/// The whole of a share.
pub(crate) const SHARE_FULL: u32 = 1000;
/// A node in its first moments gets something, or its slow start would teach nothing.
const SHARE_LEAST: u32 = 50;
/// Far beyond any bound of `ejection_max`.
const DOUBLINGS_MAX: u32 = 20;

#[cfg(test)]
mod tests;
