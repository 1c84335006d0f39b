//! What each event changes. What follows from it is found by the step.

use config::plan::Drain;
use config::roster::InstanceId;
use tokio::time::Instant;

use super::aims::{Goal, Kind};
use super::slot::{Role, Run, RunState, Slot, pause_before};
use super::{Action, AppCommand, AppMachine, Event, Mode, StepOutput};

impl AppMachine {
    pub(super) fn take(&mut self, event: Event, output: &mut StepOutput) {
        match event {
            Event::Command { ticket, command } => self.on_command(ticket, command, output),
            Event::Drain(drain) => self.drain = drain,
            Event::Leave => {
                self.mode = Mode::Leaving;
                self.fail_roll("tidelock is leaving", output);
                self.drop_successors(output);
            }
            Event::End { at_once } => self.end(at_once, output),
            Event::Started { id, pid, address } => {
                if let Some(run) = self.run_mut(id) {
                    run.became(pid, address, output.now);
                    output.say(format!("{}: started, pid {pid}", self.called(id)));
                }
            }
            Event::Found { id, address } => {
                if let Some(run) = self.run_mut(id) {
                    run.address = Some(address);
                }
            }
            Event::Ready(id) => self.ready(id, output),
            Event::NotStarted { id, why } => self.gone(id, format!("it cannot be started: {why}"), output),
            Event::NotReady { id, why } => self.not_ready(id, why, output),
            Event::Ended { id, how, is_done: true } if self.finished(id, &how, output) => {}
            Event::Ended { id, how, .. } => {
                let is_ready =
                    self.run_mut(id).is_some_and(|run| !matches!(run.state, RunState::Starting { .. }));
                let before = if is_ready { "" } else { " before it was ready" };
                self.gone(id, format!("it {how}{before}"), output);
            }
            Event::Emptied { id, left } => {
                if self.run_mut(id).is_some_and(|run| matches!(run.state, RunState::Emptying { .. })) {
                    if let Some(left) = left {
                        output.warn(format!("{}: {left} left at the deadline, stopping it", self.called(id)));
                    }
                    self.stop(id, output);
                }
            }
            Event::Sampled { id, memory } => self.sampled(id, memory),
            Event::Tick => {}
        }
    }

    fn on_command(&mut self, ticket: u64, command: AppCommand, output: &mut StepOutput) {
        if self.mode == Mode::Leaving {
            self.pursue(Goal { ticket, kind: Kind::Impossible("tidelock is leaving") }, output);
            return;
        }
        let after = self.generation_last;
        let kind = match command {
            AppCommand::Change(app) => self.change(app, output),
            AppCommand::Start
            | AppCommand::Stop
            | AppCommand::Restart(_)
            | AppCommand::Roll { .. }
            | AppCommand::Replace(_)
            | AppCommand::Scale(_)
                if self.mode == Mode::Removed =>
            {
                Kind::Impossible("it is in the file no more")
            }
            AppCommand::Start => {
                self.mode = Mode::On;
                self.slots.values_mut().for_each(Slot::reset_backoff);
                Kind::Up { after: 0, only: None }
            }
            AppCommand::Stop => {
                self.stop_all(Mode::Stopped, "stopped meanwhile", output);
                Kind::Down
            }
            AppCommand::Remove => {
                self.stop_all(Mode::Removed, "taken out of the file meanwhile", output);
                Kind::Down
            }
            AppCommand::Restart(Some(_)) if self.mode != Mode::On => Kind::Impossible(STOPPED),
            AppCommand::Restart(only) => {
                self.restart(only, output);
                Kind::Up { after, only }
            }
            AppCommand::Scale(wanted) => {
                self.scale(wanted, output);
                Kind::Scaled
            }
            AppCommand::Replace(slot) => self.on_replace(slot, after),
            AppCommand::Roll { .. } if self.mode != Mode::On => Kind::Impossible(STOPPED),
            AppCommand::Roll { window } => {
                Kind::Rolled { revision: self.begin_roll(self.spec.app.clone(), window, output) }
            }
        };
        self.pursue(Goal { ticket, kind }, output);
    }

    fn on_replace(&mut self, slot: u32, after: u64) -> Kind {
        match self.slots.get_mut(&slot) {
            Some(place) if self.mode == Mode::On && place.current.is_some() => {
                place.replace_reason.get_or_insert_with(|| "asked for".to_owned());
                place.replace_after = None;
                // The successor that is on its way already is the one.
                let after = place.successor.as_ref().map_or(after, |run| run.id.generation - 1);
                Kind::Up { after, only: Some(slot) }
            }
            Some(_) | None => Kind::Impossible("nothing runs there that could be replaced"),
        }
    }

    /// Everything is emptied at the same time, and stopped.
    fn stop_all(&mut self, mode: Mode, why: &str, output: &mut StepOutput) {
        self.mode = mode;
        self.abandon_roll(why, output);
        self.drop_successors(output);
        let pace = self.drain;
        for slot in self.slots.keys().copied().collect::<Vec<_>>() {
            self.empty_current(slot, pace, output);
            if let Some(slot) = self.slots.get_mut(&slot) {
                slot.reset_backoff();
                // Nobody will come back as what was before it.
                slot.leaving.iter_mut().for_each(|run| run.is_replaced = false);
            }
        }
    }

    /// Nothing is emptied: what runs gets its signal, and its slot is filled again when it is gone.
    fn restart(&mut self, only: Option<u32>, output: &mut StepOutput) {
        self.mode = Mode::On;
        if only.is_none() {
            self.abandon_roll("restarted meanwhile", output);
        }
        for slot in self
            .slots
            .keys()
            .copied()
            .filter(|slot| only.is_none_or(|only| only == *slot))
            .collect::<Vec<_>>()
        {
            self.signal_all(slot, output);
            if let Some(slot) = self.slots.get_mut(&slot) {
                slot.reset_backoff();
                slot.replace_reason = None;
            }
        }
    }

    /// The highest slots go first; all that are too many go at the same time.
    pub(super) fn scale(&mut self, wanted: u32, output: &mut StepOutput) {
        self.want(wanted);
        let pace = self.drain;
        for slot in self.slots.keys().rev().copied().filter(|slot| *slot >= wanted).collect::<Vec<_>>() {
            self.drop_successor(slot, output);
            self.empty_current(slot, pace, output);
            if let Some(slot) = self.slots.get_mut(&slot) {
                slot.reset_backoff();
            }
        }
    }

    fn end(&mut self, at_once: bool, output: &mut StepOutput) {
        self.mode = Mode::Leaving;
        self.fail_roll("tidelock is leaving", output);
        for slot in self.slots.keys().copied().collect::<Vec<_>>() {
            self.signal_all(slot, output);
        }
        if at_once {
            for run in self.slots.values_mut().flat_map(Slot::runs_mut) {
                if !matches!(run.state, RunState::Killed { .. }) {
                    run.state = RunState::Killed { was_ready: run.is_reachable() };
                    output.actions.push(Action::Kill(run.id));
                }
            }
        }
    }

    fn ready(&mut self, id: InstanceId, output: &mut StepOutput) {
        let now = output.now;
        let Some(run) = self.run_mut(id) else { return };
        if !matches!(run.state, RunState::Starting { .. }) {
            return;
        }
        run.state = RunState::Ready { since: now };
        let (took, revision) = (now.duration_since(run.started), run.spec.revision);
        if let Some(roll) = self.roll.as_mut().filter(|roll| roll.revision == revision) {
            roll.is_proven = true;
        }
        output.say(format!("{}: ready after {took:.0?}", self.called(id)));
        let Some(slot) = self.slots.get_mut(&id.slot) else { return };
        slot.cause.clear();
        if slot.successor.as_ref().is_some_and(|run| run.id == id) {
            self.succeed(id.slot, took, output);
        }
    }

    /// It runs, and is of no use. It has no sessions to let go.
    pub(super) fn not_ready(&mut self, id: InstanceId, why: String, output: &mut StepOutput) {
        if self.run_mut(id).is_none_or(|run| !matches!(run.state, RunState::Starting { .. })) {
            return;
        }
        let Some((mut run, role)) = self.slots.get_mut(&id.slot).and_then(|slot| slot.take(id)) else {
            return;
        };
        self.failed(&run, role, why, output);
        // Where it was a successor, whoever is there now does not wait for its end.
        run.is_replaced = role == Role::Successor;
        self.leave(run, None, output);
    }

    /// A process has done its work, and its slot is empty until somebody wants it done again. `false` if it was told to
    /// go anyway.
    fn finished(&mut self, id: InstanceId, how: &str, output: &mut StepOutput) -> bool {
        let (called, pace) = (self.called(id), self.drain);
        let Some(slot) = self.slots.get_mut(&id.slot) else { return false };
        if slot.leaving.iter().any(|run| run.id == id) {
            return false;
        }
        let Some((run, _)) = slot.take(id) else { return false };
        slot.spec = run.spec.clone();
        slot.reset_backoff();
        slot.replace_reason = None;
        slot.is_finished = true;
        slot.cause = format!("it {how}");
        // One that was to take the place of another has done so, and has left it again.
        let old = slot.current.take();
        output.say(format!("{called}: finished, it {how}"));
        if let Some(roll) = self.roll.as_mut().filter(|roll| roll.revision == run.spec.revision) {
            roll.is_proven = true;
        }
        if let Some(mut old) = old {
            old.is_replaced = true;
            self.leave(old, Some(pace), output);
        }
        true
    }

    /// Nothing of it is there any more.
    fn gone(&mut self, id: InstanceId, why: String, output: &mut StepOutput) {
        match self.slots.get_mut(&id.slot).and_then(|slot| slot.take(id)) {
            Some((_, Role::Leaving)) => output.say(format!("{}: gone, {why}", self.called(id))),
            Some((run, role)) => self.failed(&run, role, why, output),
            None => {}
        }
    }

    /// An instance has failed and is out of its place.
    fn failed(&mut self, run: &Run, role: Role, why: String, output: &mut StepOutput) {
        output.fallen.push((run.id, why.clone()));
        if role == Role::Successor {
            self.successor_failed(run.id, &why, output);
            return;
        }
        let called = self.called(run.id);
        let is_leaving = self.mode == Mode::Leaving;
        let Some(slot) = self.slots.get_mut(&run.id.slot) else { return };
        slot.failures = if run.was_stable(output.now) { 1 } else { slot.failures.saturating_add(1) };
        slot.cause.clone_from(&why);
        slot.replace_reason = None;
        let restart = slot.spec.app.restart;
        if is_leaving {
            output.warn(format!("{called}: {why}"));
        } else if restart.max.is_some_and(|max| slot.failures > max) {
            slot.is_given_up = true;
            output.warn(format!("{called}: {why}; given up after {} in a row", slot.failures));
        } else {
            let pause = pause_before(&restart, slot.failures, output.dice);
            slot.next_start = Some(output.now + pause);
            output.warn(format!("{called}: {why}; starting it again in {pause:.0?}"));
        }
        self.current_failed(run, &why, output);
    }

    fn sampled(&mut self, id: InstanceId, memory: u64) {
        let called = self.called(id);
        let Some(slot) = self.slots.get_mut(&id.slot) else { return };
        let Some(run) = slot.current.as_mut().filter(|run| run.id == id && run.is_ready()) else { return };
        let Some(max) = run.spec.app.memory_max else {
            run.over = 0;
            return;
        };
        run.over = if memory > max { run.over.saturating_add(1) } else { 0 };
        if run.over >= SAMPLES_OVER {
            let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
            slot.replace_reason.get_or_insert_with(|| {
                format!("{called} holds {} MiB of memory, memory_max is {} MiB", mib(memory), mib(max))
            });
        }
    }

    /// What is in a slot leaves: what is ready is emptied first, and what is not has nothing to be emptied of.
    pub(super) fn empty_current(&mut self, slot: u32, pace: Drain, output: &mut StepOutput) {
        let Some(run) = self.slots.get_mut(&slot).and_then(|slot| slot.current.take()) else { return };
        self.leave(run, Some(pace), output);
    }

    /// Puts a run among those that leave.
    pub(super) fn leave(&mut self, mut run: Run, pace: Option<Drain>, output: &mut StepOutput) {
        let (id, called) = (run.id, self.called(run.id));
        let is_emptied = run.is_ready().then_some(pace).flatten();
        if let Some(pace) = is_emptied {
            run.state = RunState::Emptying { until: output.now + pace.deadline + SLACK };
        }
        let Some(slot) = self.slots.get_mut(&id.slot) else { return };
        slot.replace_reason = None;
        slot.leaving.push(run);
        match is_emptied {
            Some(pace) => {
                let over = if pace.window.is_zero() {
                    "at once".to_owned()
                } else {
                    format!("over {:.1?}", pace.window)
                };
                output.say(format!("{called}: its sessions leave, {over}"));
                output.actions.push(Action::Empty { id, pace });
            }
            None => self.stop(id, output),
        }
    }

    /// Everything in a slot gets its signal, also what is being emptied.
    fn signal_all(&mut self, slot: u32, output: &mut StepOutput) {
        let Some(place) = self.slots.get_mut(&slot) else { return };
        let standing: Vec<Run> = place.current.take().into_iter().chain(place.successor.take()).collect();
        let emptying: Vec<InstanceId> = place
            .leaving
            .iter_mut()
            .filter(|run| matches!(run.state, RunState::Emptying { .. }))
            .map(|run| run.id)
            .collect();
        place.leaving.iter_mut().for_each(|run| run.is_replaced = false);
        for run in standing {
            self.leave(run, None, output);
        }
        for id in emptying {
            self.stop(id, output);
        }
    }

    /// The signal, and SIGKILL at the stop timeout. The run is among those that leave.
    pub(super) fn stop(&mut self, id: InstanceId, output: &mut StepOutput) {
        let now: Instant = output.now;
        if let Some(run) = self.run_mut(id) {
            let (was_ready, how) = (run.is_reachable(), run.spec.app.stop);
            run.state = RunState::Stopping { kill_at: now + how.timeout, was_ready };
            output.actions.push(Action::Stop { id, how });
        }
    }
}

const STOPPED: &str = "it is stopped: `tidelock start` runs it";
/// So many samples in a row over its `memory_max`, and an instance is replaced: one may be a garbage collector's.
const SAMPLES_OVER: u32 = 3;
/// The data plane keeps the deadline of an emptying itself; so much later nobody waits for its word.
const SLACK: std::time::Duration = std::time::Duration::from_secs(5);
