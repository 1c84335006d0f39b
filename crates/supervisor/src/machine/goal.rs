//! When what somebody asked for is done, or cannot be done any more. Looked at after every step: goals see the state and
//! change nothing.

use super::aims::{Goal, Kind};
use super::slot::Slot;
use super::{Action, AppMachine, Mode, StepOutput};

impl AppMachine {
    pub(super) fn pursue(&mut self, goal: Goal, output: &mut StepOutput) {
        if self.goals.len() < GOALS_MAX {
            self.goals.push(goal);
        } else {
            let outcome =
                Err(format!("done, but {GOALS_MAX} others wait for {} already", self.spec.app.name));
            output.actions.push(Action::End { ticket: goal.ticket, outcome });
        }
    }

    /// Tells those whose goal has been reached, or is out of reach.
    pub(super) fn settle(&mut self, output: &mut StepOutput) {
        let goals = std::mem::take(&mut self.goals);
        for goal in goals {
            match self.outcome(goal.kind, output) {
                Some(outcome) => {
                    let name = &self.spec.app.name;
                    let outcome =
                        outcome.map(|done| format!("{name}: {done}")).map_err(|why| format!("{name}: {why}"));
                    output.actions.push(Action::End { ticket: goal.ticket, outcome });
                }
                None => self.goals.push(goal),
            }
        }
    }

    fn outcome(&self, kind: Kind, output: &StepOutput) -> Option<Result<String, String>> {
        match kind {
            Kind::Done => Some(Ok("nothing to do".to_owned())),
            Kind::Impossible(why) => Some(Err(why.to_owned())),
            Kind::Up { after, only } => self.up(after, only, output),
            Kind::Down => match self.mode {
                Mode::On => Some(Err("started meanwhile".to_owned())),
                Mode::Stopped | Mode::Removed | Mode::Leaving => {
                    self.is_gone().then(|| Ok("stopped, nothing is left of it".to_owned()))
                }
            },
            Kind::Scaled if self.mode == Mode::Leaving => Some(Err("tidelock is leaving".to_owned())),
            Kind::Scaled if self.mode != Mode::On => {
                Some(Ok(format!("{} when it is started", self.so_many(None))))
            }
            Kind::Scaled if self.has_surplus() => None,
            Kind::Scaled => self.up(0, None, output),
            Kind::Rolled { revision } => {
                let ended = output.rolls.iter().find(|(ended, _)| *ended == revision);
                if let Some((_, Err(why))) = ended {
                    return Some(Err(why.clone()));
                }
                // One that is waited for longer than it took has ended well, and only its surplus has not left yet.
                let is_rolling = self.roll.as_ref().is_some_and(|roll| roll.revision == revision);
                let is_done = !is_rolling && !self.has_surplus();
                is_done.then(|| Ok(format!("{} replaced and ready", self.so_many(None))))
            }
        }
    }

    fn up(&self, after: u64, only: Option<u32>, output: &StepOutput) -> Option<Result<String, String>> {
        match self.mode {
            Mode::On => {}
            Mode::Stopped => return Some(Err("stopped meanwhile".to_owned())),
            Mode::Removed => return Some(Err("taken out of the file meanwhile".to_owned())),
            Mode::Leaving => return Some(Err("tidelock is leaving".to_owned())),
        }
        let concerns = |slot: u32| only.is_none_or(|only| only == slot);
        let mut fallen = output.fallen.iter().filter(|(id, _)| concerns(id.slot) && id.generation > after);
        if let Some((id, why)) = fallen.next() {
            return Some(Err(format!("instance {}: {why}", id.slot)));
        }
        let mut given_up = self.slots.iter().filter(|(at, slot)| concerns(**at) && slot.is_given_up);
        if let Some((at, slot)) = given_up.next() {
            return Some(Err(format!("instance {at} was given up: {}", slot.cause)));
        }
        let is_up = |slot: &Slot| {
            if slot.is_finished {
                return slot.last.is_some_and(|last| last.generation > after);
            }
            slot.current.as_ref().is_some_and(|run| run.is_ready() && run.id.generation > after)
                && (only.is_none() || slot.leaving.is_empty())
        };
        let mut slots = self.slots.iter().filter(|(at, _)| **at < self.wanted && concerns(**at));
        slots.all(|(_, slot)| is_up(slot)).then(|| Ok(format!("{} ready", self.so_many(only))))
    }

    fn has_surplus(&self) -> bool {
        self.slots.keys().any(|slot| *slot >= self.wanted)
    }

    fn so_many(&self, only: Option<u32>) -> String {
        match (only, self.wanted) {
            (Some(slot), _) => format!("instance {slot}"),
            (None, 1) => "1 instance".to_owned(),
            (None, many) => format!("{many} instances"),
        }
    }
}

/// Those that wait for one app at the same time.
const GOALS_MAX: usize = 64;
