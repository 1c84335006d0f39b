//! The task that runs one process of an app: it carries out commands, and sends an event for each thing that happens to the
//! process. It decides nothing.

use std::sync::Arc;

use config::app::{App, Stop};
use config::roster::InstanceId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::bus::Counts;
use crate::handover::HoldRequest;
use crate::host::Host;
use crate::machine::Event;
use crate::process::{Ending, Launch, Process};
use crate::ready::{Found, until_better, until_ready};

/// A command to the task of one process.
#[derive(Debug)]
pub(crate) enum ProcessCommand {
    Stop(Stop),
    Kill,
    /// Another tidelock may take it over.
    Hold(HoldRequest),
}

/// An event of one app, for the task that holds them all.
#[derive(Debug)]
pub(crate) struct InstanceEvent {
    pub(crate) app: String,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Happened(Event),
    /// By which its usage is read, and what it has lost.
    Keeper {
        id: InstanceId,
        keeper: i32,
        counts: Arc<Counts>,
    },
    /// It has said something of its rooms.
    Rooms,
    /// Nothing more comes of this one.
    Left(InstanceId),
    /// The app is to be rolled, and why.
    Due {
        why: String,
        is_urgent: bool,
    },
}

/// Sends the events of one app. The receiver never waits for a sender, so that this cannot block for ever.
#[derive(Debug, Clone)]
pub(crate) struct EventSender {
    app: String,
    sender: mpsc::Sender<InstanceEvent>,
}

impl EventSender {
    pub(crate) fn new(app: &str, sender: mpsc::Sender<InstanceEvent>) -> Self {
        Self { app: app.to_owned(), sender }
    }

    pub(crate) async fn send(&self, what: What) {
        // Without a receiver everything has ended.
        let _ = self.sender.send(InstanceEvent { app: self.app.clone(), what }).await;
    }
}

/// Starts a process and runs it until everything of it is gone. When `commands` is closed the process is killed.
pub(crate) async fn run_instance(
    host: Host,
    app: Arc<App>,
    id: InstanceId,
    mut commands: mpsc::Receiver<ProcessCommand>,
    events: EventSender,
) {
    match Process::start(&host, Launch { app: app.clone(), id }).await {
        Ok(process) => {
            let address = process.address().clone();
            events.send(keeper(&process)).await;
            events.send(What::Happened(Event::Started { id, pid: process.pid(), address })).await;
            until_gone(&process, &app, false, &mut commands, &events).await;
        }
        Err(problem) => events.send(What::Happened(Event::NotStarted { id, why: problem.to_string() })).await,
    }
    events.send(What::Left(id)).await;
}

/// Goes on with a process that another tidelock has started; `is_ready` if it was.
pub(crate) async fn go_on(
    process: Process,
    is_ready: bool,
    mut commands: mpsc::Receiver<ProcessCommand>,
    events: EventSender,
) {
    let app = process.launch().app.clone();
    let id = process.launch().id;
    events.send(keeper(&process)).await;
    until_gone(&process, &app, is_ready, &mut commands, &events).await;
    events.send(What::Left(id)).await;
}

fn keeper(process: &Process) -> What {
    let id = process.launch().id;
    What::Keeper { id, keeper: process.keeper(), counts: process.counts().clone() }
}

async fn until_gone(
    process: &Process,
    app: &App,
    is_ready: bool,
    commands: &mut mpsc::Receiver<ProcessCommand>,
    events: &EventSender,
) {
    let id = process.launch().id;
    let mut ready = Box::pin(until_ready(process, &app.ready.when, Instant::now() + app.ready.deadline));
    let may_move_until = Instant::now() + app.ready.deadline;
    let mut found: Option<Found> = None;
    let mut rooms = process.counts().rooms();
    let mut is_asked = !is_ready;
    let mut is_wanted = true;
    loop {
        tokio::select! {
            // One that has ended was not ready, even if it was for a moment.
            biased;
            ending = process.ended() => {
                let is_done = matches!(ending, Ending::Code(code) if app.restart.is_done(code));
                events.send(What::Happened(Event::Ended { id, how: ending.to_string(), is_done })).await;
                return;
            }
            command = commands.recv(), if is_wanted => {
                match command {
                    Some(ProcessCommand::Stop(how)) => process.stop(&how),
                    Some(ProcessCommand::Kill) => process.kill(),
                    Some(ProcessCommand::Hold(request)) => {
                        process.hold(request);
                        continue;
                    }
                    None => {
                        is_wanted = false;
                        process.kill();
                    }
                }
                // Nobody asks whether it is ready to end.
                is_asked = false;
                found = None;
            }
            answer = &mut ready, if is_asked => {
                is_asked = false;
                let event = match answer {
                    Ok(at) => {
                        events.send(What::Happened(Event::Found { id, address: at.address.clone() })).await;
                        found = Some(at);
                        Event::Ready(id)
                    }
                    Err(why) => Event::NotReady { id, why: without_name(&why.to_string(), process.launch()) },
                };
                events.send(What::Happened(event)).await;
            }
            Ok(()) = rooms.changed() => events.send(What::Rooms).await,
            better = elsewhere(process, app, found.as_ref(), may_move_until) => {
                if let Some(better) = &better {
                    events.send(What::Happened(Event::Found { id, address: better.address.clone() })).await;
                }
                found = better;
            }
        }
    }
}

/// Until the app turns out to be elsewhere than was `found`; `None` once that is not looked for any more.
async fn elsewhere(process: &Process, app: &App, found: Option<&Found>, until: Instant) -> Option<Found> {
    match found {
        Some(found) => until_better(process, &app.ready.when, found, until).await,
        None => std::future::pending().await,
    }
}

/// The sentence begins with the instance, which is said before it anyway.
fn without_name(why: &str, launch: &Launch) -> String {
    match why.strip_prefix(&format!("{launch} ")) {
        Some(rest) => format!("it {rest}"),
        None => why.to_owned(),
    }
}
