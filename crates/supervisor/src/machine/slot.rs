//! A slot of an app, and the processes that are in it: one, two while it is replaced, none while it waits.

use std::sync::Arc;
use std::time::Duration;

use config::app::{App, Restart};
use config::roster::{InstanceAddress, InstanceId};
use tokio::time::Instant;

/// What an instance was, or is to be, started with. A revision is a version of the app: each roll makes a new one, also
/// if only files changed that tidelock does not know of.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) revision: u64,
    pub(super) app: Arc<App>,
}

/// A place for an instance.
#[derive(Debug)]
pub(super) struct Slot {
    /// What its next start by itself runs.
    pub(super) spec: Spec,
    /// The instance of this slot.
    pub(super) current: Option<Run>,
    /// Takes the place of the current instance when it is ready. In one slot of an app at a time.
    pub(super) successor: Option<Run>,
    /// Told to go, and not gone yet.
    pub(super) leaving: Vec<Run>,
    /// Ends in a row without a stable time.
    pub(super) failures: u32,
    /// Starts after an end that nobody asked for.
    pub(super) restarts: u32,
    /// It is started again then.
    pub(super) next_start: Option<Instant>,
    pub(super) is_given_up: bool,
    /// Its instance has done its work, and is started again only if somebody says so.
    pub(super) is_finished: bool,
    /// Its instance has to be replaced, for this reason.
    pub(super) replace_reason: Option<String>,
    /// But not before then, for the last try has failed.
    pub(super) replace_after: Option<Instant>,
    /// Tries to replace it that have failed in a row.
    pub(super) replace_failures: u32,
    /// The last that was in it.
    pub(super) last: Option<InstanceId>,
    /// Why it is as it is.
    pub(super) cause: String,
}

impl Slot {
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            spec,
            current: None,
            successor: None,
            leaving: Vec::new(),
            failures: 0,
            restarts: 0,
            next_start: None,
            is_given_up: false,
            is_finished: false,
            replace_reason: None,
            replace_after: None,
            replace_failures: 0,
            last: None,
            cause: String::new(),
        }
    }

    pub(super) fn runs(&self) -> impl Iterator<Item = &Run> {
        self.leaving.iter().chain(&self.current).chain(&self.successor)
    }

    pub(super) fn runs_mut(&mut self) -> impl Iterator<Item = &mut Run> {
        self.leaving.iter_mut().chain(&mut self.current).chain(&mut self.successor)
    }

    /// Takes a run out of its place.
    pub(super) fn take(&mut self, id: InstanceId) -> Option<(Run, Role)> {
        if let Some(at) = self.leaving.iter().position(|run| run.id == id) {
            return Some((self.leaving.remove(at), Role::Leaving));
        }
        let successor = self.successor.take_if(|run| run.id == id).map(|run| (run, Role::Successor));
        successor.or_else(|| self.current.take_if(|run| run.id == id).map(|run| (run, Role::Current)))
    }

    /// Whatever went wrong before does not count: somebody wants it to run.
    pub(super) fn reset_backoff(&mut self) {
        self.failures = 0;
        self.next_start = None;
        self.is_given_up = false;
        self.is_finished = false;
        self.cause.clear();
        self.replace_after = None;
        self.replace_failures = 0;
    }

    pub(super) fn is_ready(&self) -> bool {
        self.current.as_ref().is_some_and(Run::is_ready)
    }
}

/// Where in its slot a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Current,
    Successor,
    Leaving,
}

/// One process, from the order to start it until it is gone.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) id: InstanceId,
    pub(super) spec: Spec,
    pub(super) pid: Option<u32>,
    pub(super) address: Option<InstanceAddress>,
    pub(super) started: Instant,
    pub(super) state: RunState,
    /// Samples in a row that were over the app's `memory_max`.
    pub(super) over: u32,
    /// It leaves because a successor has taken its place, so that nobody has to wait for its end.
    pub(super) is_replaced: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunState {
    /// It has to be ready at the deadline.
    Starting {
        deadline: Instant,
    },
    Ready {
        since: Instant,
    },
    /// Until the data plane says that it is empty, or until this moment: the data plane keeps its deadlines itself.
    Emptying {
        until: Instant,
    },
    /// It has got its signal.
    Stopping {
        kill_at: Instant,
        was_ready: bool,
    },
    /// It has got SIGKILL; only the system can keep it now.
    Killed {
        was_ready: bool,
    },
}

impl Run {
    pub(super) fn new(id: InstanceId, spec: Spec, now: Instant) -> Self {
        let deadline = now + spec.app.ready.deadline + STARTED + EXPLAINED;
        Self {
            id,
            spec,
            pid: None,
            address: None,
            started: now,
            state: RunState::Starting { deadline },
            over: 0,
            is_replaced: false,
        }
    }

    /// There is a process, from now on.
    pub(super) fn became(&mut self, pid: u32, address: InstanceAddress, now: Instant) {
        (self.pid, self.address) = (Some(pid), Some(address));
        if let RunState::Starting { deadline } = &mut self.state {
            // The time that it has is its own.
            *deadline = now + self.spec.app.ready.deadline + EXPLAINED;
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, RunState::Ready { .. })
    }

    pub(super) fn is_reachable(&self) -> bool {
        match self.state {
            RunState::Ready { .. } | RunState::Emptying { .. } => true,
            RunState::Stopping { was_ready, .. } | RunState::Killed { was_ready } => was_ready,
            RunState::Starting { .. } => false,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            RunState::Starting { deadline } => Some(deadline),
            RunState::Emptying { until } => Some(until),
            RunState::Stopping { kill_at, .. } => Some(kill_at),
            RunState::Ready { .. } | RunState::Killed { .. } => None,
        }
    }

    pub(super) fn was_stable(&self, now: Instant) -> bool {
        match self.state {
            RunState::Ready { since } => now.duration_since(since) >= self.spec.app.restart.stable,
            _ => false,
        }
    }
}

/// Starting a process takes a few milliseconds, or a machine that swaps some seconds; whoever starts it says when it
/// takes too long, and this is if nobody does.
const STARTED: Duration = Duration::from_secs(15);
/// Whoever waits for it to become ready finds out at the deadline why it is not, and says so; this is if nobody does.
const EXPLAINED: Duration = Duration::from_secs(5);

/// The pause before the start that follows so many ends in a row (from 1): the first is `pause_min`, each is twice the one
/// before up to `pause_max`, and the dice take up to half of it away, so that what fell together does not rise together.
pub(super) fn pause_before(restart: &Restart, failures: u32, dice: &mut fastrand::Rng) -> Duration {
    let doubled = restart.pause_min.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(restart.pause_max).mul_f64(1.0 - dice.f64() / 2.0)
}
