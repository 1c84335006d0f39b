//! A world for the machine to run in: processes that do what a test says, a clock that stands still, and eyes on every
//! action. What must never happen, in whatever order things do, is asserted here and nowhere else.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use config::app::{App, Instances, LogFormat, Logs, Port, Ready, ReadyWhen, Restart, Socket, Stop};
use config::plan::Drain;
use config::roster::{Instance, InstanceAddress, InstanceId};
use tokio::time::Instant;

use super::slot::RunState;
use super::{Action, AppCommand, AppMachine, Event};

pub(super) const DRAIN: Drain =
    Drain { window: Duration::from_secs(10), deadline: Duration::from_secs(30), announce: Duration::ZERO };
pub(super) const CORES: u32 = 3;

/// An app for tests.
pub(crate) fn example() -> App {
    app(1)
}

pub(super) fn app(instances: u32) -> App {
    App {
        name: "chat".to_owned(),
        command: vec!["node".to_owned(), "index.js".to_owned()],
        args: Vec::new(),
        shown: "node index.js".to_owned(),
        cwd: PathBuf::from("/srv/chat"),
        env: BTreeMap::new(),
        env_file: None,
        user: None,
        group: None,
        no_new_privs: false,
        instances: NonZeroU32::new(instances).map_or(Instances::Max, Instances::Count),
        fanout: false,
        port: Port::Env,
        ports: None,
        socket: Socket::Tcp,
        ready: Ready { when: ReadyWhen::Port, deadline: Duration::from_secs(30) },
        stop: Stop { signal: 15, timeout: Duration::from_secs(30), tell: false },
        restart: Restart {
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(15),
            stable: Duration::from_secs(30),
            max: None,
            stop_exit_codes: config::app::ExitCodes::NONE,
        },
        memory_max: Some(MEMORY_MAX),
        cron: None,
        watch: None,
        logs: Logs {
            folder: None,
            file_bytes_max: 1,
            files_max: 1,
            ring_lines_max: 1,
            format: LogFormat::Text,
            time: false,
        },
    }
}

pub(super) const MEMORY_MAX: u64 = 100 << 20;

pub(super) struct World {
    pub(super) machine: AppMachine,
    pub(super) now: Instant,
    dice: fastrand::Rng,
    pub(super) live: BTreeMap<InstanceId, Process>,
    pub(super) published: Vec<Instance>,
    /// How what was told ended, by its ticket.
    pub(super) ended: BTreeMap<u64, Result<String, String>>,
    pub(super) tickets: u64,
    /// Everything that happened, for people who read a failure.
    pub(super) history: Vec<String>,
    /// When a slot's instance fell and how many did in a row, as far as nobody told it anything since.
    falls: BTreeMap<u32, (Instant, u32)>,
}

#[derive(Debug, Clone)]
pub(super) struct Process {
    pub(super) app: Arc<App>,
    pub(super) has_pid: bool,
    pub(super) ready_since: Option<Instant>,
    /// Emptying, until then.
    pub(super) emptying: Option<Instant>,
    pub(super) is_empty: bool,
    pub(super) stopped: Option<Instant>,
    is_killed: bool,
    /// It may be stopped as it is, because somebody has asked for exactly that.
    is_excused: bool,
}

impl World {
    /// The app is started, and nothing has come of it yet.
    pub(super) fn new(app: App, seed: u64) -> Self {
        let mut world = Self {
            machine: AppMachine::new(Arc::new(app), DRAIN, CORES),
            now: Instant::now(),
            dice: fastrand::Rng::with_seed(seed),
            live: BTreeMap::new(),
            published: Vec::new(),
            ended: BTreeMap::new(),
            tickets: 0,
            history: Vec::new(),
            falls: BTreeMap::new(),
        };
        world.tell(AppCommand::Start);
        world
    }

    pub(super) fn tell(&mut self, command: AppCommand) -> u64 {
        self.tickets += 1;
        match command {
            AppCommand::Roll { .. } | AppCommand::Replace(_) => {}
            _ => self.falls.clear(),
        }
        if let AppCommand::Restart(only) = command {
            self.excuse(only);
        }
        self.step(Event::Command { ticket: self.tickets, command });
        self.tickets
    }

    /// Another tidelock goes on, whose file has `app`.
    pub(super) fn upgrade(&mut self, app: App) -> Result<(), String> {
        let said = serde_json::to_string(&self.machine.handover(self.now)?).expect("it is plain data");
        let heard = serde_json::from_str(&said).expect("it is what was said");
        self.machine = AppMachine::go_on(self.machine.app().clone(), DRAIN, CORES, &heard, self.now);
        self.tell(AppCommand::Change(Arc::new(app)));
        Ok(())
    }

    /// tidelock's own end.
    pub(super) fn end(&mut self, at_once: bool) {
        self.excuse(None);
        self.step(Event::End { at_once });
    }

    fn excuse(&mut self, only: Option<u32>) {
        for (_, process) in self.live.iter_mut().filter(|(id, _)| only.is_none_or(|only| only == id.slot)) {
            process.is_excused = true;
        }
    }

    pub(super) fn step(&mut self, event: Event) {
        self.history.push(format!("{event:?}"));
        self.note(&event);
        for action in self.machine.step(event, self.now, &mut self.dice) {
            self.obey(action);
        }
        let mut known: Vec<InstanceId> = self.machine.runs().map(|run| run.id).collect();
        known.sort();
        assert_eq!(
            known,
            self.live.keys().copied().collect::<Vec<_>>(),
            "an instance is lost\n{}",
            self.told()
        );
        let published: Vec<InstanceId> = self.published.iter().map(|instance| instance.id).collect();
        let ready = self.live.iter().filter(|(_, process)| process.ready_since.is_some()).map(|(id, _)| *id);
        assert_eq!(published, ready.collect::<Vec<_>>(), "published\n{}", self.told());
    }

    /// What an event says about processes.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Started { id, .. } => self.process(*id).has_pid = true,
            Event::Ready(id) => {
                let now = self.now;
                let is_starting = self.is_starting(*id);
                if is_starting {
                    self.process(*id).ready_since = Some(now);
                    if !self.is_current_run(*id) {
                        self.falls.remove(&id.slot);
                    }
                }
            }
            Event::NotReady { id, .. } if self.is_starting(*id) => self.note_fall(*id),
            Event::Ended { id, is_done: true, .. } => {
                self.falls.remove(&id.slot);
                self.live.remove(id);
            }
            Event::NotStarted { id, .. } | Event::Ended { id, .. } => {
                self.note_fall(*id);
                self.live.remove(id);
            }
            _ => {}
        }
    }

    fn note_fall(&mut self, id: InstanceId) {
        if !self.is_current_run(id) {
            return;
        }
        let (now, process) = (self.now, &self.live[&id]);
        let was_stable = process.ready_since.is_some_and(|since| now - since >= process.app.restart.stable);
        let fallen = self.falls.get(&id.slot).map_or(0, |(_, fallen)| *fallen);
        self.falls.insert(id.slot, (now, if was_stable { 1 } else { fallen + 1 }));
    }

    fn process(&mut self, id: InstanceId) -> &mut Process {
        self.live.get_mut(&id).expect("a test speaks of what is there")
    }

    fn is_current_run(&self, id: InstanceId) -> bool {
        self.machine
            .slots
            .get(&id.slot)
            .is_some_and(|slot| slot.current.as_ref().is_some_and(|run| run.id == id))
    }

    fn is_starting(&self, id: InstanceId) -> bool {
        self.machine.runs().any(|run| run.id == id && matches!(run.state, RunState::Starting { .. }))
    }

    fn obey(&mut self, action: Action) {
        self.history.push(format!("    {}", short(&action)));
        match action {
            Action::Publish { instances, .. } => self.published = instances,
            Action::Start { id, app } => self.start(id, app),
            Action::Empty { id, pace } => {
                assert!(self.published.iter().any(|instance| instance.id == id), "{id:?}\n{}", self.told());
                let until = self.now + pace.deadline;
                let process = self.process(id);
                assert!(process.ready_since.is_some() && process.emptying.is_none());
                process.emptying = Some(until);
            }
            Action::Stop { id, .. } => {
                let now = self.now;
                let process = self.process(id);
                let may_stop = process.ready_since.is_none()
                    || process.is_empty
                    || process.is_excused
                    || process.emptying.is_some_and(|until| until <= now);
                let is_second = process.stopped.replace(now).is_some();
                assert!(may_stop, "{id:?} is stopped without its drain\n{}", self.told());
                assert!(!is_second, "stopped twice\n{}", self.told());
            }
            Action::Kill(id) => {
                let now = self.now;
                let process = self.process(id);
                let timeout = process.app.stop.timeout;
                let may_kill = process.is_excused || process.stopped.is_some_and(|at| now - at >= timeout);
                let is_second = std::mem::replace(&mut process.is_killed, true);
                assert!(may_kill && !is_second, "{id:?} is killed\n{}", self.told());
            }
            Action::End { ticket, outcome } => {
                assert!(self.ended.insert(ticket, outcome).is_none(), "ended twice\n{}", self.told());
            }
            Action::Say(_) => {}
        }
    }

    fn start(&mut self, id: InstanceId, app: Arc<App>) {
        let many = |world: &Self, slot: u32| world.live.keys().filter(|id| id.slot == slot).count();
        assert!(many(self, id.slot) <= 1, "slot {} has three\n{}", id.slot, self.told());
        if let Some((fell, streak)) = self.falls.get(&id.slot).filter(|_| self.is_current_run(id)) {
            let pause = app.restart.pause_min * 2_u32.pow(streak - 1);
            let pause = pause.min(app.restart.pause_max) / 2;
            assert!(
                self.now - *fell >= pause,
                "started {:?} after a fall\n{}",
                self.now - *fell,
                self.told()
            );
        }
        let process = Process {
            app,
            has_pid: false,
            ready_since: None,
            emptying: None,
            is_empty: false,
            stopped: None,
            is_killed: false,
            is_excused: false,
        };
        assert!(self.live.insert(id, process).is_none());
        let doubled = (0..1024).filter(|slot| many(self, *slot) > 1).count();
        assert!(doubled <= 1, "more than one surge\n{}", self.told());
    }

    pub(super) fn started(&mut self, id: InstanceId) {
        if !self.process(id).has_pid {
            let port = u16::try_from(10_000 + id.generation).unwrap_or(1);
            let address = InstanceAddress::Tcp(([127, 0, 0, 1], port).into());
            self.step(Event::Started { id, pid: 100, address });
        }
    }

    pub(super) fn ready(&mut self, id: InstanceId) {
        self.started(id);
        self.step(Event::Ready(id));
    }

    /// A job that does its work.
    pub(super) fn finishes(&mut self, id: InstanceId) {
        self.step(Event::Ended { id, how: "ended with code 0".to_owned(), is_done: true });
    }

    pub(super) fn dies(&mut self, id: InstanceId) {
        self.started(id);
        self.step(Event::Ended { id, how: "was ended by SIGKILL".to_owned(), is_done: false });
    }

    pub(super) fn emptied(&mut self, id: InstanceId) {
        if self.process(id).emptying.is_some() {
            self.process(id).is_empty = true;
            self.step(Event::Emptied { id, left: None });
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step(Event::Tick);
    }

    pub(super) fn pass_to_deadline(&mut self) -> bool {
        let Some(at) = self.machine.next_deadline() else { return false };
        self.now = self.now.max(at);
        self.step(Event::Tick);
        true
    }

    /// The one live process of a slot.
    pub(super) fn only(&self, slot: u32) -> InstanceId {
        let of: Vec<InstanceId> = self.live.keys().copied().filter(|id| id.slot == slot).collect();
        assert_eq!(of.len(), 1, "slot {slot}: {of:?}\n{}", self.told());
        of[0]
    }

    /// Everything does at once what it is asked to do, until there is nothing left to do.
    pub(super) fn calm_down(&mut self) {
        for _ in 0..10_000 {
            let next = self.live.iter().find_map(|(id, process)| {
                let busy = !process.has_pid || process.stopped.is_some() || process.emptying.is_some();
                (busy || process.ready_since.is_none()).then(|| (*id, process.clone()))
            });
            match next {
                Some((id, process)) if process.stopped.is_some() => self.dies(id),
                Some((id, process)) if process.emptying.is_some() => self.emptied(id),
                Some((id, _)) => self.ready(id),
                None if self.pass_to_deadline() => {}
                None => return,
            }
        }
        panic!("it never comes to rest\n{}", self.told());
    }

    pub(super) fn told(&self) -> String {
        self.history.join("\n")
    }
}

fn short(action: &Action) -> String {
    match action {
        Action::Start { id, .. } => format!("Start {id:?}"),
        Action::Say(line) => format!("\"{}\"", line.text),
        other => format!("{other:?}"),
    }
}
