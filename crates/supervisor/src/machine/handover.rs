//! The state of an app on its way to the next tidelock, and back into a machine there.

use std::sync::Arc;
use std::time::Duration;

use config::app::{App, ReadyWhen};
use config::plan::Drain;
use config::roster::InstanceId;
use tokio::time::Instant;

use super::slot::{Run, RunState, Slot};
use super::{AppMachine, Mode};
use crate::handover::{AppHandover, InstanceHandover, Place, SlotHandover};

impl AppMachine {
    /// What the next tidelock has to know, but for the keepers, whom the task knows.
    ///
    /// # Errors
    /// If something is under way that cannot be gone on with there, and what that is.
    pub(crate) fn handover(&self, now: Instant) -> Result<AppHandover, String> {
        let name = &self.spec.app.name;
        if self.roll.is_some() {
            return Err(format!("{name} is being rolled"));
        }
        match self.mode {
            Mode::On | Mode::Stopped => {}
            Mode::Removed => return Err(format!("{name} is being removed")),
            Mode::Leaving => return Err("tidelock is leaving".to_owned()),
        }
        let slots = self.slots.iter().map(|(number, slot)| self.slot_handover(*number, slot, now));
        Ok(AppHandover {
            name: name.clone(),
            wanted: self.wanted,
            is_stopped: self.mode == Mode::Stopped,
            generation: self.generation_last,
            slots: slots.collect::<Result<_, _>>()?,
        })
    }

    fn slot_handover(&self, number: u32, slot: &Slot, now: Instant) -> Result<SlotHandover, String> {
        let called = format!("{}/{number}", self.spec.app.name);
        if slot.successor.is_some() {
            return Err(format!("{called} is being replaced"));
        }
        if !slot.leaving.is_empty() {
            return Err(format!("{called} is being stopped"));
        }
        let instance = slot.current.as_ref().map(|run| run_handover(run, now));
        Ok(SlotHandover {
            slot: number,
            failures: slot.failures,
            restarts: slot.restarts,
            start_in_ms: slot.next_start.map(|at| millis(at.saturating_duration_since(now))),
            is_given_up: slot.is_given_up,
            is_finished: slot.is_finished,
            cause: slot.cause.clone(),
            instance: instance.transpose().map_err(|()| format!("{called} is being started"))?,
        })
    }

    /// The machine of an app that the tidelock before was running as `app`.
    pub(crate) fn go_on(app: Arc<App>, drain: Drain, cores: u32, handed: &AppHandover, now: Instant) -> Self {
        let mut machine = Self::new(app, drain, cores);
        machine.mode = if handed.is_stopped { Mode::Stopped } else { Mode::On };
        machine.generation_last = handed.generation;
        machine.slots.clear();
        machine.want(handed.wanted);
        for handed in &handed.slots {
            let spec = machine.spec.clone();
            let slot = machine.slots.entry(handed.slot).or_insert_with(|| Slot::new(spec.clone()));
            slot.failures = handed.failures;
            slot.restarts = handed.restarts;
            slot.next_start = handed.start_in_ms.map(|ms| now + Duration::from_millis(ms));
            slot.is_given_up = handed.is_given_up;
            slot.is_finished = handed.is_finished;
            slot.cause.clone_from(&handed.cause);
            if let Some(instance) = &handed.instance {
                let id = InstanceId { slot: handed.slot, generation: instance.generation };
                let mut run = Run::new(id, spec, now);
                run.became(instance.pid, instance.address(), now);
                run.started = ago(now, instance.started_ms);
                if let Some(ms) = instance.ready_ms {
                    run.state = RunState::Ready { since: ago(now, ms) };
                }
                slot.last = Some(id);
                slot.current = Some(run);
            }
        }
        machine
    }
}

fn run_handover(run: &Run, now: Instant) -> Result<InstanceHandover, ()> {
    let ready_ms = match run.state {
        RunState::Ready { since } => Some(millis(now.saturating_duration_since(since))),
        // What it says over its channel would be read by either.
        RunState::Starting { .. } if run.spec.app.ready.when == ReadyWhen::Message => return Err(()),
        RunState::Starting { .. } => None,
        RunState::Emptying { .. } | RunState::Stopping { .. } | RunState::Killed { .. } => return Err(()),
    };
    Ok(InstanceHandover {
        generation: run.id.generation,
        pid: run.pid.ok_or(())?,
        keeper: 0,
        at: Place::from(run.address.as_ref().ok_or(())?),
        started_ms: millis(now.saturating_duration_since(run.started)),
        ready_ms,
    })
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A machine may have been booted later than that on its clock, which changes nothing that matters.
fn ago(now: Instant, ms: u64) -> Instant {
    now.checked_sub(Duration::from_millis(ms)).unwrap_or(now)
}
