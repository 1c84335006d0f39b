//! The one task that holds the state of all apps: it takes events to the [`AppMachine`]s and carries out their actions. It decides
//! nothing itself and never blocks: each wait is a task of its own, which ends in an event here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use config::app::App;
use config::plan::Drain;
use config::roster::{Instance, InstanceId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};

use crate::bus::{Counts, Rooms};
use crate::handover::HandingOver;
use crate::host::Host;
use crate::machine::{Action, AppMachine, Event, Line};
use crate::progress::Following;
use crate::requests::DataPlaneRequest;
use crate::run_instance::{EventSender, InstanceEvent, ProcessCommand, What, run_instance};
use crate::status::{AppState, AppStatus, InstanceState};
use crate::triggers::{self, Triggers};
use crate::usage::{Counted, Counting, Usages};
use crate::verb::{ShutdownStage, Verb};

mod handover;
mod messages;

/// A message to the task, from a handle.
#[derive(Debug)]
pub(crate) enum TaskMessage {
    Tell {
        app: String,
        verb: Verb,
        follow: Following,
    },
    Apply {
        apps: Vec<Arc<App>>,
        drain: Drain,
        follow: Following,
    },
    Look {
        answer: oneshot::Sender<Vec<AppStatus>>,
    },
    /// Another tidelock is about to go on with everything.
    HandOver {
        answer: oneshot::Sender<Result<HandingOver, String>>,
    },
}

/// See the head of the file.
#[derive(Debug)]
pub(crate) struct SupervisorTask {
    host: Host,
    drain: Drain,
    /// What `instances = "max"` comes to.
    cores: u32,
    apps: BTreeMap<String, Held>,
    /// Those of the processes, and all that wait for somebody on behalf of an app.
    tasks: JoinSet<()>,
    /// Those that run an instance.
    running: HashMap<Id, (String, InstanceId)>,
    event_sender: mpsc::Sender<InstanceEvent>,
    event_receiver: mpsc::Receiver<InstanceEvent>,
    requests: mpsc::Sender<DataPlaneRequest>,
    /// Requests for which there was no room yet: of each app one list, and what is being emptied.
    outbox: VecDeque<DataPlaneRequest>,
    followers: Vec<Following>,
    ticket_last: u64,
    dice: fastrand::Rng,
    leaving: ShutdownStage,
    /// Those who wait for a status, which waits for a process table.
    lookers: Vec<oneshot::Sender<Vec<AppStatus>>>,
}

/// An app, with what belongs to its processes.
#[derive(Debug)]
struct Held {
    machine: AppMachine,
    attended: BTreeMap<InstanceId, Attended>,
    usages: Usages,
    triggers: Triggers,
    /// What was said of its rooms last.
    rooms: String,
}

/// The task that runs an instance, and how it is reached.
#[derive(Debug)]
struct Attended {
    commands: mpsc::Sender<ProcessCommand>,
    keeper: Option<i32>,
    counts: Option<Arc<Counts>>,
}

impl Held {
    /// What becomes of its rooms, if it has several instances. Of its newest one alone if that is what is asked.
    fn rooms(&self, now: Instant, of_newest: bool) -> Option<String> {
        let status = self.machine.look(now);
        let newest = self.attended.keys().map(|id| id.generation).max().filter(|_| of_newest);
        let ready = |id: &InstanceId| {
            status.instances.iter().any(|one| one.id == *id && one.state == InstanceState::Ready)
        };
        let said: Vec<_> = self
            .attended
            .iter()
            .filter_map(|(id, attended)| Some((id, attended.counts.as_ref()?.rooms().borrow().clone())))
            .filter(|(id, said)| said.is_some() || ready(id))
            .filter(|(id, _)| newest.is_none_or(|newest| id.generation == newest))
            .map(|(_, said)| said)
            .collect();
        let has_fanout = self.machine.app().fanout && !said.is_empty();
        (status.wanted > 1).then(|| Rooms::of_all(said.iter().map(Option::as_ref), has_fanout)).flatten()
    }
}

impl SupervisorTask {
    pub(crate) fn new(host: Host, drain: Drain, requests: mpsc::Sender<DataPlaneRequest>) -> Self {
        let (event_sender, event_receiver) = mpsc::channel(EVENTS_MAX);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            host,
            drain,
            cores: u32::try_from(cores).unwrap_or(1),
            apps: BTreeMap::new(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            event_sender,
            event_receiver,
            requests,
            outbox: VecDeque::new(),
            followers: Vec::new(),
            ticket_last: 0,
            dice: fastrand::Rng::new(),
            leaving: ShutdownStage::No,
            lookers: Vec::new(),
        }
    }

    /// Until everything has ended, which `told_to_leave` begins, or the end of the last handle.
    pub(crate) async fn run(
        mut self,
        mut messages: mpsc::Receiver<TaskMessage>,
        mut told_to_leave: watch::Receiver<ShutdownStage>,
    ) {
        let requests = self.requests.clone();
        let mut counting = Counting::new();
        let mut has_handles = true;
        while self.leaving < ShutdownStage::Now || self.apps.values().any(|held| !held.attended.is_empty()) {
            let due = self.apps.values().filter_map(|held| held.machine.next_deadline()).min();
            counting.is_periodic = self.apps.values().any(|held| held.machine.app().memory_max.is_some());
            counting.is_asked = !self.lookers.is_empty();
            tokio::select! {
                message = messages.recv(), if has_handles => match message {
                    Some(TaskMessage::HandOver { answer }) => {
                        if self.hand_over(answer).await {
                            return;
                        }
                    }
                    Some(message) => self.take(message),
                    None => {
                        has_handles = false;
                        self.leave(ShutdownStage::AtOnce);
                    }
                },
                Ok(()) = told_to_leave.changed() => {
                    let leaving = *told_to_leave.borrow_and_update();
                    self.leave(leaving);
                }
                Some(event) = self.event_receiver.recv() => self.on_event(event),
                Some(ended) = self.tasks.join_next_with_id() => self.note_end_of_task(ended),
                room = requests.reserve(), if !self.outbox.is_empty() => match room {
                    Ok(room) => drop(self.outbox.pop_front().map(|request| room.send(request))),
                    // There is no data plane, and so nothing to be emptied of.
                    Err(_) => self.outbox.clear(),
                },
                counted = counting.next() => self.count(&counted),
                () = until(due) => self.happens_everywhere(&Event::Tick),
            }
        }
    }

    /// It goes only further.
    fn leave(&mut self, leaving: ShutdownStage) {
        if leaving <= self.leaving {
            return;
        }
        self.leaving = leaving;
        match leaving {
            ShutdownStage::No => {}
            ShutdownStage::Soon => self.happens_everywhere(&Event::Leave),
            ShutdownStage::Now => self.happens_everywhere(&Event::End { at_once: false }),
            ShutdownStage::AtOnce => self.happens_everywhere(&Event::End { at_once: true }),
        }
    }

    fn on_event(&mut self, InstanceEvent { app, what }: InstanceEvent) {
        match what {
            What::Happened(event) => self.happens(&app, event),
            What::Keeper { id, keeper, counts } => {
                let attended = self.apps.get_mut(&app).and_then(|held| held.attended.get_mut(&id));
                if let Some(attended) = attended {
                    attended.keeper = Some(keeper);
                    attended.counts = Some(counts);
                }
            }
            What::Rooms => self.say_rooms(&app),
            What::Left(id) => {
                if let Some(held) = self.apps.get_mut(&app) {
                    held.attended.remove(&id);
                    held.usages.forget(id);
                }
                self.forget_if_removed(&app);
            }
            What::Due { why, is_urgent } => self.roll_by_itself(&app, &why, is_urgent),
        }
    }

    fn happens_everywhere(&mut self, event: &Event) {
        for app in self.apps.keys().cloned().collect::<Vec<_>>() {
            self.happens(&app, event.clone());
        }
    }

    fn happens(&mut self, app: &str, event: Event) {
        let Some(held) = self.apps.get_mut(app) else { return };
        for action in held.machine.step(event, Instant::now(), &mut self.dice) {
            self.obey(app, action);
        }
        if let Some(held) = self.apps.get_mut(app) {
            held.triggers.follow(held.machine.app(), &self.event_sender);
        }
        self.forget_if_removed(app);
    }

    fn obey(&mut self, app: &str, action: Action) {
        match action {
            Action::Publish { instances, is_stopped } => self.publish(app, instances, is_stopped),
            Action::Start { id, app: as_is } => self.start(app, id, as_is),
            Action::Empty { id, pace } => self.empty(app, id, pace),
            Action::Stop { id, how } => self.command(app, id, ProcessCommand::Stop(how)),
            Action::Kill(id) => self.command(app, id, ProcessCommand::Kill),
            Action::Say(line) => self.say(app, &line),
            Action::End { ticket, outcome } => self.end(ticket, outcome),
        }
    }

    fn start(&mut self, app: &str, id: InstanceId, as_is: Arc<App>) {
        let Some(held) = self.apps.get_mut(app) else { return };
        let (commands, obeyed) = mpsc::channel(COMMANDS_MAX);
        held.attended.insert(id, Attended { commands, keeper: None, counts: None });
        let events = EventSender::new(app, self.event_sender.clone());
        let task = self.tasks.spawn_local(run_instance(self.host.clone(), as_is, id, obeyed, events));
        self.running.insert(task.id(), (app.to_owned(), id));
    }

    /// One that has panicked has taken its process along, and said nothing of it.
    fn note_end_of_task(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (task, is_lost) = match ended {
            Ok((task, ())) => (task, false),
            Err(error) => (error.id(), true),
        };
        if let (Some((app, id)), true) = (self.running.remove(&task), is_lost) {
            self.happens(
                &app,
                Event::Ended {
                    id,
                    how: "was killed, because tidelock lost sight of it".to_owned(),
                    is_done: false,
                },
            );
            self.on_event(InstanceEvent { app, what: What::Left(id) });
        }
    }

    fn command(&self, app: &str, id: InstanceId, command: ProcessCommand) {
        let attended = self.apps.get(app).and_then(|held| held.attended.get(&id));
        if let Some(attended) = attended {
            // There is room: each is said once. If the task is gone, so is the process.
            let _ = attended.commands.try_send(command);
        }
    }

    fn publish(&mut self, app: &str, instances: Vec<Instance>, is_stopped: bool) {
        let request = DataPlaneRequest::Publish { app: app.to_owned(), instances, is_stopped };
        // Nobody has seen the last one, and nothing depends on it.
        if matches!(self.outbox.back(), Some(DataPlaneRequest::Publish { app: of, .. }) if of == app) {
            self.outbox.pop_back();
        }
        self.outbox.push_back(request);
    }

    fn empty(&mut self, app: &str, instance: InstanceId, pace: Drain) {
        let (emptied, answered) = oneshot::channel();
        let Drain { window, deadline, announce: _ } = pace;
        self.outbox.push_back(DataPlaneRequest::Empty {
            app: app.to_owned(),
            instance,
            window,
            deadline,
            emptied,
        });
        let events = EventSender::new(app, self.event_sender.clone());
        self.tasks.spawn_local(async move {
            // One that the data plane does not know has no sessions there.
            let left = answered.await.unwrap_or_default();
            events.send(What::Happened(Event::Emptied { id: instance, left })).await;
        });
    }

    fn say(&self, app: &str, line: &Line) {
        if line.is_bad {
            tracing::warn!("{}", line.text);
        } else {
            tracing::info!("{}", line.text);
        }
        for following in &self.followers {
            following.step(app, &line.text);
        }
    }

    /// Says what becomes of an app's rooms, when that is something else than before.
    fn say_rooms(&mut self, app: &str) {
        let Some(held) = self.apps.get_mut(app) else { return };
        let now = Instant::now();
        // What was split before a roll is so until its end, and is about to be something else.
        let is_rolling = held.machine.look(now).state == AppState::Rolling;
        let Some(rooms) = held.rooms(now, is_rolling).filter(|rooms| *rooms != held.rooms) else { return };
        held.rooms.clone_from(&rooms);
        if Rooms::is_bad(&rooms) {
            tracing::warn!(event = "rooms_split", app, "{app}: rooms: {rooms}");
        }
        for following in &self.followers {
            following.step(app, &format!("{app}: rooms: {rooms}"));
        }
    }

    fn end(&mut self, ticket: u64, outcome: Result<String, String>) {
        let Some(at) = self.followers.iter().position(|following| following.waits_for(ticket)) else {
            return;
        };
        self.followers[at].note(ticket, outcome);
        if self.followers[at].waits_for_nothing() {
            self.followers.swap_remove(at).finish();
        }
    }

    /// What the processes take, and for those who asked what there is to see.
    fn count(&mut self, counted: &Counted) {
        let now = Instant::now();
        let mut samples = Vec::new();
        for (app, held) in &mut self.apps {
            for (id, keeper) in
                held.attended.iter().filter_map(|(id, attended)| Some((*id, attended.keeper?)))
            {
                let usage = counted.process_table.usage(keeper);
                held.usages.note(id, usage, held.machine.uptime(id, now), now);
                samples.push((app.clone(), Event::Sampled { id, memory: usage.resident_bytes }));
            }
        }
        let status: Vec<AppStatus> = self
            .apps
            .values()
            .map(|held| {
                let mut status = held.machine.look(now);
                for instance in &mut status.instances {
                    held.usages.add_to(instance);
                    let attended = held.attended.get(&instance.id);
                    let counts = attended.and_then(|attended| attended.counts.as_ref());
                    instance.messages_lost = counts.map_or(0, |counts| counts.lost());
                }
                status.rooms = held.rooms(now, false);
                triggers::say_next(held.machine.app(), &mut status);
                status
            })
            .collect();
        for looker in self.lookers.drain(..) {
            // Who asked may have gone.
            let _ = looker.send(status.clone());
        }
        // Somebody who looks often does not make a peak longer.
        if counted.is_periodic {
            for (app, sample) in samples {
                self.happens(&app, sample);
            }
        }
    }

    /// An app that was taken out of the file is kept until nothing is left of it.
    fn forget_if_removed(&mut self, app: &str) {
        let is_over = self.apps.get(app).is_some_and(|held| {
            held.machine.is_removed() && held.machine.is_gone() && held.attended.is_empty()
        });
        if is_over {
            self.apps.remove(app);
            self.host.logs().forget(app);
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Whoever has something to say waits until there is room.
const EVENTS_MAX: usize = 64;
/// A process is told to stop, and told to be killed.
const COMMANDS_MAX: usize = 4;
