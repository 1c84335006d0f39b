//! The state as people see it.

use std::time::Duration;

use config::roster::InstanceId;
use tokio::time::Instant;

use super::slot::{Run, RunState, Slot};
use super::{AppMachine, Mode};
use crate::status::{AppState, AppStatus, InstanceState, InstanceStatus};

impl AppMachine {
    /// What there is to see now; memory and processor time are somebody else's to add.
    pub(crate) fn look(&self, now: Instant) -> AppStatus {
        AppStatus {
            name: self.spec.app.name.clone(),
            state: match self.mode {
                Mode::Removed => AppState::Removed,
                Mode::Stopped => AppState::Stopped,
                Mode::On | Mode::Leaving if self.roll.is_some() => AppState::Rolling,
                Mode::On | Mode::Leaving => AppState::Running,
            },
            wanted: self.wanted,
            last_failure: self.last_failure.clone(),
            rooms: None,
            instances: self.slots.iter().flat_map(|(at, slot)| self.look_at(*at, slot, now)).collect(),
        }
    }

    /// Since the process of an instance was started.
    pub(crate) fn uptime(&self, id: InstanceId, now: Instant) -> Duration {
        self.runs().find(|run| run.id == id).map_or(Duration::ZERO, |run| now.duration_since(run.started))
    }

    fn look_at(&self, at: u32, slot: &Slot, now: Instant) -> Vec<InstanceStatus> {
        let mut seen: Vec<InstanceStatus> = slot.runs().map(|run| self.look_at_run(slot, run, now)).collect();
        if slot.current.is_none() && slot.successor.is_none() && seen.is_empty() {
            seen.push(self.look_at_place(at, slot, now));
        }
        seen.sort_by_key(|instance| instance.id);
        seen
    }

    fn look_at_run(&self, slot: &Slot, run: &Run, now: Instant) -> InstanceStatus {
        InstanceStatus {
            id: run.id,
            state: match run.state {
                RunState::Starting { .. } => InstanceState::Starting,
                RunState::Ready { .. } => InstanceState::Ready,
                RunState::Emptying { .. } => InstanceState::Emptying,
                RunState::Stopping { .. } | RunState::Killed { .. } => InstanceState::Stopping,
            },
            is_current: run.spec.revision >= self.revision_proven(),
            pid: run.pid,
            uptime: now.duration_since(run.started),
            restarts: slot.restarts,
            cpu_percent: None,
            memory: None,
            messages_lost: 0,
            address: run.address.clone(),
            next_start: None,
            cause: slot.replace_reason.clone().unwrap_or_else(|| slot.cause.clone()),
        }
    }

    /// A slot that nothing runs in.
    fn look_at_place(&self, at: u32, slot: &Slot, now: Instant) -> InstanceStatus {
        InstanceStatus {
            id: slot.last.unwrap_or(InstanceId { slot: at, generation: 0 }),
            state: match self.mode {
                Mode::On if slot.is_finished => InstanceState::Finished,
                Mode::On if slot.is_given_up => InstanceState::GivenUp,
                Mode::On if slot.failures >= LOOP => InstanceState::CrashLoop,
                Mode::On => InstanceState::Waiting,
                Mode::Stopped | Mode::Removed | Mode::Leaving => InstanceState::Stopped,
            },
            is_current: slot.spec.revision >= self.revision_proven(),
            pid: None,
            uptime: Duration::ZERO,
            restarts: slot.restarts,
            cpu_percent: None,
            memory: None,
            messages_lost: 0,
            address: None,
            next_start: slot.next_start.map(|at| at.saturating_duration_since(now)),
            cause: slot.cause.clone(),
        }
    }
}

/// Ends in a row from which on they are called a loop.
const LOOP: u32 = 3;
