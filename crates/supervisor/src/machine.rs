//! What is to become of one app's instances. Pure: a state, an event and the time give the next state and what has to be
//! done; no process, no socket, no clock. `task` obeys.
//!
//! The state says what is wanted (which slots, of which revision of the app), events say what happened, and after
//! each of them [`AppMachine::step`] looks at what is missing. A verb that comes while another is under way needs no rule
//! of its own: it changes what is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use config::app::{App, Stop};
use config::plan::Drain;
use config::roster::{Instance, InstanceAddress, InstanceId};
use tokio::time::Instant;

mod aims;
mod change;
mod events;
mod goal;
mod handover;
mod look;
mod rolling;
mod slot;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;

use aims::{Goal, Roll};
use slot::{Run, RunState, Slot, Spec};
#[cfg(test)]
pub(crate) use world::example;

/// The instances of one app.
#[derive(Debug)]
pub(crate) struct AppMachine {
    /// What the app is now.
    spec: Spec,
    /// How many slots there are to be.
    wanted: u32,
    mode: Mode,
    slots: BTreeMap<u32, Slot>,
    generation_last: u64,
    revision_last: u64,
    drain: Drain,
    /// What `instances = "max"` comes to.
    cores: u32,
    /// The roll under way.
    roll: Option<Roll>,
    goals: Vec<Goal>,
    published: (Vec<Instance>, bool),
    last_failure: String,
}

/// What is wanted of the app as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    On,
    Stopped,
    /// In the file no more.
    Removed,
    /// tidelock itself leaves: what runs may run, and nothing is started.
    Leaving,
}

/// What happened.
#[derive(Debug, Clone)]
pub(crate) enum Event {
    /// A command has come. [`Action::End`] with the same ticket says how it ended.
    Command { ticket: u64, command: AppCommand },
    /// Instances are emptied so from now on.
    Drain(Drain),
    /// tidelock leaves.
    Leave,
    /// Everything has to end, without being emptied.
    End { at_once: bool },
    /// There is a process.
    Started { id: InstanceId, pid: u32, address: InstanceAddress },
    /// It listens there, and not where it was told to.
    Found { id: InstanceId, address: InstanceAddress },
    /// It has become ready.
    Ready(InstanceId),
    /// There is none, and why.
    NotStarted { id: InstanceId, why: String },
    /// It runs and did not become ready in time, and why. A whole sentence.
    NotReady { id: InstanceId, why: String },
    /// The process is gone, and all that came of it: "it" did what `how` says. Where `is_done` it has done its work.
    Ended { id: InstanceId, how: String, is_done: bool },
    /// The data plane has let its sessions go, all but so many.
    Emptied { id: InstanceId, left: Option<String> },
    /// It holds so much memory, in bytes.
    Sampled { id: InstanceId, memory: u64 },
    /// Time has passed.
    Tick,
}

/// A command to one app, of a verb or of the changed file.
#[derive(Debug, Clone)]
pub(crate) enum AppCommand {
    Start,
    Stop,
    /// All slots or one.
    Restart(Option<u32>),
    Roll {
        window: Option<std::time::Duration>,
    },
    /// Replaces one slot's instance as a roll does, by one of the same revision.
    Replace(u32),
    Scale(u32),
    /// The file says something else about the app.
    Change(Arc<App>),
    /// The file has nothing to say about it.
    Remove,
}

/// What has to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Tells the data plane which instances can be reached, and whether more come by themselves.
    Publish {
        instances: Vec<Instance>,
        is_stopped: bool,
    },
    Start {
        id: InstanceId,
        app: Arc<App>,
    },
    /// Asks the data plane to empty it; [`Event::Emptied`] answers.
    Empty {
        id: InstanceId,
        pace: Drain,
    },
    /// Its stop signal, to its process group.
    Stop {
        id: InstanceId,
        how: Stop,
    },
    /// SIGKILL.
    Kill(InstanceId),
    /// For people: whoever follows a verb, and the log.
    Say(Line),
    /// What was told with the ticket has ended.
    End {
        ticket: u64,
        outcome: Result<String, String>,
    },
}

/// A line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// Somebody should look at it.
    pub(crate) is_bad: bool,
}

/// What one step has come to: what has to be done, and what is told when it is over.
struct StepOutput<'a> {
    now: Instant,
    dice: &'a mut fastrand::Rng,
    actions: Vec<Action>,
    /// Which instances have failed in this step, and how.
    fallen: Vec<(InstanceId, String)>,
    /// Which rolls have ended in this step, by their revision.
    rolls: Vec<(u64, Result<(), String>)>,
}

impl StepOutput<'_> {
    fn say(&mut self, text: String) {
        self.actions.push(Action::Say(Line { text, is_bad: false }));
    }

    fn warn(&mut self, text: String) {
        self.actions.push(Action::Say(Line { text, is_bad: true }));
    }
}

impl AppMachine {
    /// An app of which nothing runs yet; the first step starts it. `cores` is what `instances = "max"` comes to.
    pub(crate) fn new(app: Arc<App>, drain: Drain, cores: u32) -> Self {
        let mut machine = Self {
            wanted: 0,
            spec: Spec { revision: 1, app },
            mode: Mode::Stopped,
            slots: BTreeMap::new(),
            generation_last: 0,
            revision_last: 1,
            drain,
            cores,
            roll: None,
            goals: Vec::new(),
            published: (Vec::new(), false),
            last_failure: String::new(),
        };
        machine.want(machine.written(&machine.spec.app));
        machine
    }

    /// The next state, and what has to be done.
    pub(crate) fn step(&mut self, event: Event, now: Instant, dice: &mut fastrand::Rng) -> Vec<Action> {
        let mut output = StepOutput { now, dice, actions: Vec::new(), fallen: Vec::new(), rolls: Vec::new() };
        self.take(event, &mut output);
        self.look_at_clock(&mut output);
        self.replace(&mut output);
        self.fill(&mut output);
        self.forget_surplus();
        self.settle(&mut output);
        let next = (self.reachable(), self.is_stopped());
        if next != self.published {
            self.published.clone_from(&next);
            let (instances, is_stopped) = next;
            // First of all: what is to be emptied now has to find its successor there.
            output.actions.insert(0, Action::Publish { instances, is_stopped });
        }
        output.actions
    }

    /// When something is due even if nothing happens; then [`Self::step`] wants to be called.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let runs = self.runs().filter_map(Run::deadline).min();
        let starts = self
            .slots
            .iter()
            .filter(|(slot, _)| self.may_start(**slot))
            .filter_map(|(_, slot)| slot.next_start)
            .min();
        [runs, starts, self.next_replacement()].into_iter().flatten().min()
    }

    /// Nothing runs.
    pub(crate) fn is_gone(&self) -> bool {
        self.runs().next().is_none()
    }

    /// It was taken out of the file.
    pub(crate) fn is_removed(&self) -> bool {
        self.mode == Mode::Removed
    }

    pub(crate) fn app(&self) -> &Arc<App> {
        &self.spec.app
    }

    pub(crate) fn has_slot(&self, slot: u32) -> bool {
        slot < self.wanted
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.slots.values().flat_map(Slot::runs)
    }

    /// Every instance that clients may still be on, by slot and then by generation.
    fn reachable(&self) -> Vec<Instance> {
        let mut reachable: Vec<Instance> = self
            .runs()
            .filter(|run| run.is_reachable())
            .filter_map(|run| {
                let is_current = run.spec.revision >= self.revision_proven();
                Some(Instance { id: run.id, address: run.address.clone()?, is_current })
            })
            .collect();
        reachable.sort_by_key(|instance| instance.id);
        reachable
    }

    /// Whether nothing of it runs again unless somebody says so. A tidelock that leaves answers for itself.
    fn is_stopped(&self) -> bool {
        match self.mode {
            Mode::Stopped | Mode::Removed => true,
            Mode::Leaving => false,
            Mode::On => {
                let mut slots = self.slots.values();
                !self.slots.is_empty()
                    && slots
                        .all(|slot| slot.runs().next().is_none() && (slot.is_given_up || slot.is_finished))
            }
        }
    }

    /// Until one instance of a new revision is ready, those of the one before are what the app is.
    fn revision_proven(&self) -> u64 {
        match &self.roll {
            Some(roll) if !roll.is_proven => roll.before.revision,
            Some(_) | None => self.spec.revision,
        }
    }

    /// The instances that the file asks for.
    fn written(&self, app: &App) -> u32 {
        match app.instances {
            config::app::Instances::Max => self.cores,
            config::app::Instances::Count(count) => count.get(),
        }
    }

    fn want(&mut self, wanted: u32) {
        self.wanted = wanted;
        for slot in 0..wanted {
            self.slots.entry(slot).or_insert_with(|| Slot::new(self.spec.clone()));
        }
    }

    /// Deadlines that have passed.
    fn look_at_clock(&mut self, output: &mut StepOutput) {
        let due: Vec<InstanceId> = self
            .runs()
            .filter(|run| run.deadline().is_some_and(|at| at <= output.now))
            .map(|run| run.id)
            .collect();
        for id in due {
            let Some(run) = self.run_mut(id) else { continue };
            match run.state {
                RunState::Starting { .. } => {
                    let why = format!("it was not ready within {:?}", run.spec.app.ready.deadline);
                    self.not_ready(id, why, output);
                }
                RunState::Emptying { .. } => {
                    output.warn(format!("{}: nobody said that it is empty, stopping it", self.called(id)));
                    self.stop(id, output);
                }
                RunState::Stopping { was_ready, .. } => {
                    run.state = RunState::Killed { was_ready };
                    output.actions.push(Action::Kill(id));
                    output.warn(format!("{}: did not stop, killing it", self.called(id)));
                }
                RunState::Ready { .. } | RunState::Killed { .. } => {}
            }
        }
    }

    /// Starts what is missing.
    fn fill(&mut self, output: &mut StepOutput) {
        for slot in 0..self.wanted {
            let is_due =
                self.slots.get(&slot).is_some_and(|slot| slot.next_start.is_none_or(|at| at <= output.now));
            if is_due && self.may_start(slot) {
                let spec = self.slots[&slot].spec.clone();
                let run = self.launch(slot, spec, output);
                if let Some(slot) = self.slots.get_mut(&slot) {
                    slot.restarts += u32::from(slot.next_start.take().is_some());
                    slot.current = Some(run);
                }
            }
        }
    }

    /// Whether a slot is empty and is to be filled, now or later. A predecessor that is still being emptied does
    /// not stand in the way; one that was told to go before another comes does.
    fn may_start(&self, slot: u32) -> bool {
        self.mode == Mode::On
            && slot < self.wanted
            && self.slots.get(&slot).is_some_and(|slot| {
                slot.current.is_none()
                    && slot.successor.is_none()
                    && !slot.is_given_up
                    && !slot.is_finished
                    && slot.leaving.len() <= 1
                    && slot.leaving.iter().all(|run| run.is_replaced)
            })
    }

    fn launch(&mut self, slot: u32, spec: Spec, output: &mut StepOutput) -> Run {
        self.generation_last += 1;
        let id = InstanceId { slot, generation: self.generation_last };
        output.actions.push(Action::Start { id, app: spec.app.clone() });
        if let Some(slot) = self.slots.get_mut(&slot) {
            slot.last = Some(id);
        }
        Run::new(id, spec, output.now)
    }

    /// Slots beyond those that are wanted are forgotten when nothing of them is left.
    fn forget_surplus(&mut self) {
        let wanted = self.wanted;
        self.slots.retain(|slot, what| *slot < wanted || what.runs().next().is_some());
    }

    fn run_mut(&mut self, id: InstanceId) -> Option<&mut Run> {
        self.slots.get_mut(&id.slot)?.runs_mut().find(|run| run.id == id)
    }

    /// `chat/1`: its app and slot.
    fn called(&self, id: InstanceId) -> String {
        format!("{}/{}", self.spec.app.name, id.slot)
    }
}
