//! What each event changes. What follows from it is found by the step.

use config::plan::Drain;
use config::roster::InstanceId;
use tokio::time::Instant;

use super::aims::{Goal, Kind};
use super::slot::{Place, Run, RunState, Slot, pause_before};
use super::{Action, Crew, Event, Mode, Told, Turn};

impl Crew {
    pub(super) fn take(&mut self, event: Event, turn: &mut Turn) {
        match event {
            Event::Told { ticket, wish } => self.told(ticket, wish, turn),
            Event::Drain(drain) => self.drain = drain,
            Event::Leave => {
                self.mode = Mode::Leaving;
                self.fail_roll("tidelock is leaving", turn);
                self.drop_successors(turn);
            }
            Event::End { at_once } => self.end(at_once, turn),
            Event::Started { id, pid, address } => {
                if let Some(run) = self.run_mut(id) {
                    run.became(pid, address, turn.now);
                    turn.say(format!("{}: started, pid {pid}", self.called(id)));
                }
            }
            Event::Ready(id) => self.ready(id, turn),
            Event::NotStarted { id, why } => self.gone(id, format!("it cannot be started: {why}"), turn),
            Event::NotReady { id, why } => self.not_ready(id, why, turn),
            Event::Ended { id, how } => {
                let is_ready =
                    self.run_mut(id).is_some_and(|run| !matches!(run.state, RunState::Starting { .. }));
                let before = if is_ready { "" } else { " before it was ready" };
                self.gone(id, format!("it {how}{before}"), turn);
            }
            Event::Emptied { id, left } => {
                if self.run_mut(id).is_some_and(|run| matches!(run.state, RunState::Emptying { .. })) {
                    if let Some(left) = left {
                        turn.warn(format!("{}: {left} left at the deadline, stopping it", self.called(id)));
                    }
                    self.stop(id, turn);
                }
            }
            Event::Sampled { id, memory } => self.sampled(id, memory),
            Event::Tick => {}
        }
    }

    fn told(&mut self, ticket: u64, wish: Told, turn: &mut Turn) {
        if self.mode == Mode::Leaving {
            self.pursue(Goal { ticket, kind: Kind::Impossible("tidelock is leaving") }, turn);
            return;
        }
        let after = self.generation_last;
        let kind = match wish {
            Told::Change(app) => self.change(app, turn),
            Told::Start
            | Told::Stop
            | Told::Restart(_)
            | Told::Roll { .. }
            | Told::Replace(_)
            | Told::Scale(_)
                if self.mode == Mode::Removed =>
            {
                Kind::Impossible("it is in the file no more")
            }
            Told::Start => {
                self.mode = Mode::On;
                self.slots.values_mut().for_each(Slot::forgive);
                Kind::Up { after: 0, only: None }
            }
            Told::Stop => {
                self.stop_all(Mode::Stopped, "stopped meanwhile", turn);
                Kind::Down
            }
            Told::Remove => {
                self.stop_all(Mode::Removed, "taken out of the file meanwhile", turn);
                Kind::Down
            }
            Told::Restart(Some(_)) if self.mode != Mode::On => Kind::Impossible(STOPPED),
            Told::Restart(only) => {
                self.restart(only, turn);
                Kind::Up { after, only }
            }
            Told::Scale(wanted) => {
                self.scale(wanted, turn);
                Kind::Scaled
            }
            Told::Replace(slot) => self.told_to_replace(slot, after),
            Told::Roll { .. } if self.mode != Mode::On => Kind::Impossible(STOPPED),
            Told::Roll { window } => {
                Kind::Rolled { revision: self.begin_roll(self.spec.app.clone(), window, turn) }
            }
        };
        self.pursue(Goal { ticket, kind }, turn);
    }

    fn told_to_replace(&mut self, slot: u32, after: u64) -> Kind {
        match self.slots.get_mut(&slot) {
            Some(place) if self.mode == Mode::On && place.occupant.is_some() => {
                place.worn.get_or_insert_with(|| "asked for".to_owned());
                place.replace_after = None;
                // The successor that is on its way already is the one.
                let after = place.successor.as_ref().map_or(after, |run| run.id.generation - 1);
                Kind::Up { after, only: Some(slot) }
            }
            Some(_) | None => Kind::Impossible("nothing runs there that could be replaced"),
        }
    }

    /// Everything is emptied at the same time, and stopped.
    fn stop_all(&mut self, mode: Mode, why: &str, turn: &mut Turn) {
        self.mode = mode;
        self.abandon_roll(why, turn);
        self.drop_successors(turn);
        let pace = self.drain;
        for slot in self.slots.keys().copied().collect::<Vec<_>>() {
            self.empty_occupant(slot, pace, turn);
            if let Some(slot) = self.slots.get_mut(&slot) {
                slot.forgive();
                // Nobody will come back as what was before it.
                slot.leaving.iter_mut().for_each(|run| run.is_replaced = false);
            }
        }
    }

    /// Nothing is emptied: what runs gets its signal, and its slot is filled again when it is gone.
    fn restart(&mut self, only: Option<u32>, turn: &mut Turn) {
        self.mode = Mode::On;
        if only.is_none() {
            self.abandon_roll("restarted meanwhile", turn);
        }
        for slot in self
            .slots
            .keys()
            .copied()
            .filter(|slot| only.is_none_or(|only| only == *slot))
            .collect::<Vec<_>>()
        {
            self.signal_all(slot, turn);
            if let Some(slot) = self.slots.get_mut(&slot) {
                slot.forgive();
                slot.worn = None;
            }
        }
    }

    /// The highest slots go first; all that are too many go at the same time.
    pub(super) fn scale(&mut self, wanted: u32, turn: &mut Turn) {
        self.want(wanted);
        let pace = self.drain;
        for slot in self.slots.keys().rev().copied().filter(|slot| *slot >= wanted).collect::<Vec<_>>() {
            self.drop_successor(slot, turn);
            self.empty_occupant(slot, pace, turn);
            if let Some(slot) = self.slots.get_mut(&slot) {
                slot.forgive();
            }
        }
    }

    fn end(&mut self, at_once: bool, turn: &mut Turn) {
        self.mode = Mode::Leaving;
        self.fail_roll("tidelock is leaving", turn);
        for slot in self.slots.keys().copied().collect::<Vec<_>>() {
            self.signal_all(slot, turn);
        }
        if at_once {
            for run in self.slots.values_mut().flat_map(Slot::runs_mut) {
                if !matches!(run.state, RunState::Killed { .. }) {
                    run.state = RunState::Killed { was_ready: run.is_reachable() };
                    turn.actions.push(Action::Kill(run.id));
                }
            }
        }
    }

    fn ready(&mut self, id: InstanceId, turn: &mut Turn) {
        let now = turn.now;
        let Some(run) = self.run_mut(id) else { return };
        if !matches!(run.state, RunState::Starting { .. }) {
            return;
        }
        run.state = RunState::Ready { since: now };
        let (took, revision) = (now.duration_since(run.started), run.spec.revision);
        if let Some(roll) = self.roll.as_mut().filter(|roll| roll.revision == revision) {
            roll.is_proven = true;
        }
        turn.say(format!("{}: ready after {took:.0?}", self.called(id)));
        let Some(slot) = self.slots.get_mut(&id.slot) else { return };
        slot.cause.clear();
        if slot.successor.as_ref().is_some_and(|run| run.id == id) {
            self.succeed(id.slot, took, turn);
        }
    }

    /// It runs, and is of no use. It has no sessions to let go.
    pub(super) fn not_ready(&mut self, id: InstanceId, why: String, turn: &mut Turn) {
        if self.run_mut(id).is_none_or(|run| !matches!(run.state, RunState::Starting { .. })) {
            return;
        }
        let Some((mut run, place)) = self.slots.get_mut(&id.slot).and_then(|slot| slot.take(id)) else {
            return;
        };
        self.fell(&run, place, why, turn);
        // Where it was a successor, whoever is there now does not wait for its end.
        run.is_replaced = place == Place::Successor;
        self.leave(run, None, turn);
    }

    /// Nothing of it is there any more.
    fn gone(&mut self, id: InstanceId, why: String, turn: &mut Turn) {
        match self.slots.get_mut(&id.slot).and_then(|slot| slot.take(id)) {
            Some((_, Place::Leaving)) => turn.say(format!("{}: gone, {why}", self.called(id))),
            Some((run, place)) => self.fell(&run, place, why, turn),
            None => {}
        }
    }

    /// An instance has failed and is out of its place.
    fn fell(&mut self, run: &Run, place: Place, why: String, turn: &mut Turn) {
        turn.fallen.push((run.id, why.clone()));
        if place == Place::Successor {
            self.successor_fell(run.id, &why, turn);
            return;
        }
        let called = self.called(run.id);
        let is_leaving = self.mode == Mode::Leaving;
        let Some(slot) = self.slots.get_mut(&run.id.slot) else { return };
        slot.failures = if run.was_stable(turn.now) { 1 } else { slot.failures.saturating_add(1) };
        slot.cause.clone_from(&why);
        slot.worn = None;
        let restart = slot.spec.app.restart;
        if is_leaving {
            turn.warn(format!("{called}: {why}"));
        } else if restart.max.is_some_and(|max| slot.failures > max) {
            slot.is_given_up = true;
            turn.warn(format!("{called}: {why}; given up after {} in a row", slot.failures));
        } else {
            let pause = pause_before(&restart, slot.failures, turn.dice);
            slot.next_start = Some(turn.now + pause);
            turn.warn(format!("{called}: {why}; starting it again in {pause:.0?}"));
        }
        self.occupant_fell(run, &why, turn);
    }

    fn sampled(&mut self, id: InstanceId, memory: u64) {
        let called = self.called(id);
        let Some(slot) = self.slots.get_mut(&id.slot) else { return };
        let Some(run) = slot.occupant.as_mut().filter(|run| run.id == id && run.is_ready()) else { return };
        let Some(max) = run.spec.app.memory_max else {
            run.over = 0;
            return;
        };
        run.over = if memory > max { run.over.saturating_add(1) } else { 0 };
        if run.over >= SAMPLES_OVER {
            let mib = |bytes: u64| bytes.div_ceil(1024 * 1024);
            slot.worn.get_or_insert_with(|| {
                format!("{called} holds {} MiB of memory, memory_max is {} MiB", mib(memory), mib(max))
            });
        }
    }

    /// What is in a slot leaves: what is ready is emptied first, and what is not has nothing to be emptied of.
    pub(super) fn empty_occupant(&mut self, slot: u32, pace: Drain, turn: &mut Turn) {
        let Some(run) = self.slots.get_mut(&slot).and_then(|slot| slot.occupant.take()) else { return };
        self.leave(run, Some(pace), turn);
    }

    /// Puts a run among those that leave.
    pub(super) fn leave(&mut self, mut run: Run, pace: Option<Drain>, turn: &mut Turn) {
        let (id, called) = (run.id, self.called(run.id));
        let is_emptied = run.is_ready().then_some(pace).flatten();
        if let Some(pace) = is_emptied {
            run.state = RunState::Emptying { until: turn.now + pace.deadline + SLACK };
        }
        let Some(slot) = self.slots.get_mut(&id.slot) else { return };
        slot.worn = None;
        slot.leaving.push(run);
        match is_emptied {
            Some(pace) => {
                turn.say(format!("{called}: its sessions leave, over {:.1?}", pace.window));
                turn.actions.push(Action::Empty { id, pace });
            }
            None => self.stop(id, turn),
        }
    }

    /// Everything in a slot gets its signal, also what is being emptied.
    fn signal_all(&mut self, slot: u32, turn: &mut Turn) {
        let Some(place) = self.slots.get_mut(&slot) else { return };
        let standing: Vec<Run> = place.occupant.take().into_iter().chain(place.successor.take()).collect();
        let emptying: Vec<InstanceId> = place
            .leaving
            .iter_mut()
            .filter(|run| matches!(run.state, RunState::Emptying { .. }))
            .map(|run| run.id)
            .collect();
        place.leaving.iter_mut().for_each(|run| run.is_replaced = false);
        for run in standing {
            self.leave(run, None, turn);
        }
        for id in emptying {
            self.stop(id, turn);
        }
    }

    /// The signal, and SIGKILL at the stop timeout. The run is among those that leave.
    pub(super) fn stop(&mut self, id: InstanceId, turn: &mut Turn) {
        let now: Instant = turn.now;
        if let Some(run) = self.run_mut(id) {
            let (was_ready, how) = (run.is_reachable(), run.spec.app.stop);
            run.state = RunState::Stopping { kill_at: now + how.timeout, was_ready };
            turn.actions.push(Action::Stop { id, how });
        }
    }
}

const STOPPED: &str = "it is stopped: `tidelock start` runs it";
/// So many samples in a row over its `memory_max`, and an instance is replaced: one may be a garbage collector's.
const SAMPLES_OVER: u32 = 3;
/// The data plane keeps the deadline of an emptying itself; so much later nobody waits for its word.
const SLACK: std::time::Duration = std::time::Duration::from_secs(5);
