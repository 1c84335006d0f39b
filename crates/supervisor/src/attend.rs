//! One process of an app and the task that attends it: obeys, and says what happens to it. Decides nothing.

use std::sync::Arc;

use config::app::{App, Stop};
use config::roster::InstanceId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::crew::Event;
use crate::ground::Ground;
use crate::process::{Launch, Process};
use crate::ready::until_ready;

/// What a process is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Command {
    Stop(Stop),
    Kill,
}

/// What is heard of the processes.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) app: String,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    Happened(Event),
    /// By which its usage is read.
    Keeper {
        id: InstanceId,
        keeper: i32,
    },
    /// Nothing more comes of this one.
    Left(InstanceId),
    /// The app is to be rolled, and why.
    Due {
        why: String,
        is_urgent: bool,
    },
}

/// Where it is heard. The one who hears never waits for whom it hears.
#[derive(Debug, Clone)]
pub(crate) struct Voice {
    app: String,
    heard: mpsc::Sender<Heard>,
}

impl Voice {
    pub(crate) fn new(app: &str, heard: mpsc::Sender<Heard>) -> Self {
        Self { app: app.to_owned(), heard }
    }

    pub(crate) async fn say(&self, what: What) {
        // If nobody listens any more everything has ended.
        let _ = self.heard.send(Heard { app: self.app.clone(), what }).await;
    }
}

/// Starts a process and stays with it until everything of it is gone. When `commands` ends, nobody wants it any more.
pub(crate) async fn attend(
    ground: Ground,
    app: Arc<App>,
    id: InstanceId,
    mut commands: mpsc::Receiver<Command>,
    voice: Voice,
) {
    match Process::start(&ground, Launch { app: app.clone(), id }).await {
        Ok(process) => {
            let address = process.address().clone();
            voice.say(What::Keeper { id, keeper: process.keeper() }).await;
            voice.say(What::Happened(Event::Started { id, pid: process.pid(), address })).await;
            until_gone(&process, &app, &mut commands, &voice).await;
        }
        Err(problem) => voice.say(What::Happened(Event::NotStarted { id, why: problem.to_string() })).await,
    }
    voice.say(What::Left(id)).await;
}

async fn until_gone(process: &Process, app: &App, commands: &mut mpsc::Receiver<Command>, voice: &Voice) {
    let id = process.launch().id;
    let mut ready = Box::pin(until_ready(process, &app.ready.when, Instant::now() + app.ready.deadline));
    let mut is_asked = true;
    let mut is_wanted = true;
    loop {
        tokio::select! {
            // One that has ended was not ready, even if it was for a moment.
            biased;
            ending = process.ended() => {
                voice.say(What::Happened(Event::Ended { id, how: ending.to_string() })).await;
                return;
            }
            command = commands.recv(), if is_wanted => {
                match command {
                    Some(Command::Stop(how)) => process.stop(&how),
                    Some(Command::Kill) => process.kill(),
                    None => {
                        is_wanted = false;
                        process.kill();
                    }
                }
                // Nobody asks whether it is ready to end.
                is_asked = false;
            }
            answer = &mut ready, if is_asked => {
                is_asked = false;
                let event = match answer {
                    Ok(()) => Event::Ready(id),
                    Err(why) => Event::NotReady { id, why: without_name(&why.to_string(), process.launch()) },
                };
                voice.say(What::Happened(event)).await;
            }
        }
    }
}

/// The sentence begins with the instance, which is said before it anyway.
fn without_name(why: &str, launch: &Launch) -> String {
    match why.strip_prefix(&format!("{launch} ")) {
        Some(rest) => format!("it {rest}"),
        None => why.to_owned(),
    }
}
