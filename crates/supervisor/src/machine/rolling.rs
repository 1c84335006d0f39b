//! Replacing instances while the app serves. One at a time over all slots of the app: a successor is started in the
//! slot beside its current instance; when it is ready it takes the place, the old one is emptied and stopped, and only when that
//! is gone comes the next. So there is one instance more than wanted, and a session that leaves an old instance finds
//! new ones that stay: it moves once.
//!
//! The successor has the slot of the current instance, and so its NODE_APP_INSTANCE: an app that runs its timers on instance 0
//! alone runs them after a roll too. While both are there, both are instance 0; they are told apart by the generation.

use std::sync::Arc;
use std::time::Duration;

use config::app::App;
use config::plan::Drain;
use config::roster::InstanceId;
use tokio::time::Instant;

use super::aims::Roll;
use super::slot::{Run, Slot, Spec, pause_before};
use super::{AppMachine, Mode, StepOutput};

impl AppMachine {
    /// Begins a roll; one that is under way ends, and what it has replaced is replaced again.
    pub(super) fn begin_roll(
        &mut self,
        app: Arc<App>,
        window: Option<Duration>,
        output: &mut StepOutput,
    ) -> u64 {
        let before = match self.roll.take() {
            Some(roll) => {
                output.rolls.push((roll.revision, Err("a newer roll has taken its place".to_owned())));
                if roll.is_proven { self.spec.clone() } else { roll.before }
            }
            None => self.spec.clone(),
        };
        // What is not ready yet would be replaced as soon as it is.
        self.drop_successors(output);
        self.revision_last += 1;
        let revision = self.revision_last;
        self.spec = Spec { revision, app };
        self.last_failure.clear();
        self.roll = Some(Roll {
            revision,
            before,
            is_proven: false,
            until: window.map(|window| output.now + window),
        });
        revision
    }

    /// The roll ends where it is: what was replaced stays, and so does what was not. If nothing was, the app is again
    /// what it was.
    pub(super) fn fail_roll(&mut self, why: &str, output: &mut StepOutput) {
        let Some(roll) = self.roll.take() else { return };
        self.drop_successors(output);
        let (all, new) = (self.wanted, self.wanted - self.count_unrolled(roll.revision));
        let why = if roll.is_proven {
            format!("{why}; new instances: {new} of {all}, the others stay as they were")
        } else {
            self.spec = roll.before;
            for slot in self.slots.values_mut().filter(|slot| slot.spec.revision == roll.revision) {
                slot.spec = self.spec.clone();
            }
            format!("{why}; the old instances stay")
        };
        output.warn(format!("{}: the roll has failed: {why}", self.spec.app.name));
        self.last_failure.clone_from(&why);
        output.rolls.push((roll.revision, Err(why)));
    }

    /// Nobody waits for the roll any more, for everything is to be started anew, as what the roll wanted.
    pub(super) fn abandon_roll(&mut self, why: &str, output: &mut StepOutput) {
        if let Some(roll) = self.roll.take() {
            output.rolls.push((roll.revision, Err(why.to_owned())));
        }
        for slot in self.slots.values_mut() {
            slot.spec = self.spec.clone();
        }
    }

    /// Goes on with a roll, or with replacing what is replace_reason.
    pub(super) fn replace(&mut self, output: &mut StepOutput) {
        if self.mode != Mode::On || self.is_replacing() {
            return;
        }
        if let Some(revision) = self.roll.as_ref().map(|roll| roll.revision) {
            let is_waiting = self
                .wanted_slots()
                .any(|(_, slot)| slot.spec.revision >= revision && !slot.is_ready() && !slot.is_finished);
            let next = self.wanted_slots().find(|(_, slot)| slot.spec.revision < revision).map(|(at, _)| at);
            match next {
                _ if is_waiting => return,
                Some(slot) => return self.begin_successor(slot, self.spec.clone(), output),
                None => {
                    self.roll = None;
                    output.rolls.push((revision, Ok(())));
                }
            }
        }
        let replace_reason = self.wanted_slots().find_map(|(at, slot)| {
            let is_due = slot.is_ready() && slot.replace_after.is_none_or(|at| at <= output.now);
            Some((at, slot.spec.clone(), slot.replace_reason.clone().filter(|_| is_due)?))
        });
        if let Some((slot, spec, why)) = replace_reason {
            output.say(format!("{}/{slot}: is replaced: {why}", self.spec.app.name));
            self.begin_successor(slot, spec, output);
        }
    }

    /// When a slot that has a reason to be replaced is looked at again; `None` while others are being replaced.
    pub(super) fn next_replacement(&self) -> Option<Instant> {
        if self.mode != Mode::On || self.roll.is_some() || self.is_replacing() {
            return None;
        }
        let replace_reason =
            self.wanted_slots().filter(|(_, slot)| slot.is_ready() && slot.replace_reason.is_some());
        replace_reason.filter_map(|(_, slot)| slot.replace_after).min()
    }

    /// A successor has become ready, so long after its start: it takes the place.
    pub(super) fn succeed(&mut self, slot: u32, took: Duration, output: &mut StepOutput) {
        let pace = self.pace(took, output.now);
        let Some(place) = self.slots.get_mut(&slot) else { return };
        let Some(successor) = place.successor.take() else { return };
        place.spec = successor.spec.clone();
        place.reset_backoff();
        place.replace_reason = None;
        if let Some(mut old) = place.current.replace(successor) {
            old.is_replaced = true;
            self.leave(old, Some(pace), output);
        }
    }

    /// A successor has failed, and is out of its place.
    pub(super) fn successor_failed(&mut self, id: InstanceId, why: &str, output: &mut StepOutput) {
        let called = self.called(id);
        if self.roll.is_some() {
            self.fail_roll(&format!("the new {called}: {why}"), output);
            return;
        }
        let Some(slot) = self.slots.get_mut(&id.slot) else { return };
        slot.replace_failures = slot.replace_failures.saturating_add(1);
        let pause = pause_before(&slot.spec.app.restart, slot.replace_failures, output.dice);
        slot.replace_after = Some(output.now + pause);
        output.warn(format!(
            "{called}: its successor failed: {why}; the old one stays, another try in {pause:.0?}"
        ));
    }

    /// An instance that is no successor has failed. If it is of the new revision, that is no good.
    pub(super) fn current_failed(&mut self, run: &Run, why: &str, output: &mut StepOutput) {
        if self.roll.as_ref().is_some_and(|roll| roll.revision == run.spec.revision) {
            let called = self.called(run.id);
            self.fail_roll(&format!("the new {called}: {why}"), output);
        }
    }

    /// Nobody waits for successors any more; they never were ready.
    pub(super) fn drop_successors(&mut self, output: &mut StepOutput) {
        for slot in self.slots.keys().copied().collect::<Vec<_>>() {
            self.drop_successor(slot, output);
        }
    }

    pub(super) fn drop_successor(&mut self, slot: u32, output: &mut StepOutput) {
        let Some(place) = self.slots.get_mut(&slot) else { return };
        let Some(mut run) = place.successor.take() else { return };
        // Whoever is there stays, and so does why it was to be replaced.
        let replace_reason = place.replace_reason.clone();
        run.is_replaced = true;
        self.leave(run, None, output);
        if let Some(place) = self.slots.get_mut(&slot) {
            place.replace_reason = replace_reason;
        }
    }

    fn begin_successor(&mut self, slot: u32, spec: Spec, output: &mut StepOutput) {
        let run = self.launch(slot, spec, output);
        if let Some(slot) = self.slots.get_mut(&slot) {
            slot.successor = Some(run);
        }
    }

    /// There is one more than wanted somewhere.
    fn is_replacing(&self) -> bool {
        self.slots.values().any(|slot| slot.successor.is_some() || !slot.leaving.is_empty())
    }

    fn wanted_slots(&self) -> impl Iterator<Item = (u32, &Slot)> {
        self.slots.iter().map(|(at, slot)| (*at, slot)).filter(|(at, _)| *at < self.wanted)
    }

    fn count_unrolled(&self, revision: u64) -> u32 {
        let unrolled = self.wanted_slots().filter(|(_, slot)| slot.spec.revision < revision);
        u32::try_from(unrolled.count()).unwrap_or(u32::MAX)
    }

    /// How the next old instance is emptied. What is left of a budget is divided among the instances that are left,
    /// after the time that each of those behind this one takes to get ready, as far as the last one tells.
    fn pace(&self, took: Duration, now: Instant) -> Drain {
        let Some((until, revision)) = self.roll.as_ref().and_then(|roll| Some((roll.until?, roll.revision)))
        else {
            return self.drain;
        };
        let left = self.count_unrolled(revision).max(1);
        let starting = took.saturating_mul(left - 1);
        let window = until.saturating_duration_since(now).saturating_sub(starting) / left;
        let more = self.drain.deadline.saturating_sub(self.drain.window);
        Drain { window, deadline: window + more, ..self.drain }
    }
}
