//! From a message of a handle to the commands of each app.

use std::sync::Arc;

use config::app::App;
use config::plan::Drain;

use super::{Held, SupervisorTask, TaskMessage};
use crate::machine::{AppCommand, AppMachine, Event};
use crate::progress::{Following, Progress};
use crate::triggers::Triggers;
use crate::usage::Usages;
use crate::verb::{ShutdownStage, Verb};

impl SupervisorTask {
    pub(super) fn take(&mut self, message: TaskMessage) {
        match message {
            TaskMessage::Look { answer } => self.lookers.push(answer),
            TaskMessage::HandOver { .. } => unreachable!("the loop takes it itself, which waits meanwhile"),
            TaskMessage::Tell { follow, .. } | TaskMessage::Apply { follow, .. }
                if self.leaving > ShutdownStage::No =>
            {
                follow.end(Progress::Failed("tidelock is leaving".to_owned()));
            }
            TaskMessage::Tell { app, verb, follow } => match self.meant(&app, verb) {
                Ok(meant) => self.pass_on(meant, follow),
                Err(why) => follow.end(Progress::Failed(why)),
            },
            TaskMessage::Apply { apps, drain, follow } => self.apply(&apps, drain, follow),
        }
    }

    /// The apps that are meant, and the command of each.
    fn meant(&self, name: &str, verb: Verb) -> Result<Vec<(String, AppCommand)>, String> {
        let command = match verb {
            Verb::Start => AppCommand::Start,
            Verb::Stop => AppCommand::Stop,
            Verb::Restart => AppCommand::Restart(None),
            Verb::Roll { window } => AppCommand::Roll { window },
            Verb::Scale(wanted @ 1..=INSTANCES_MAX) => AppCommand::Scale(wanted),
            Verb::Scale(_) => return Err(format!("an app has 1 to {INSTANCES_MAX} instances")),
        };
        if self.apps.contains_key(name) {
            return Ok(vec![(name.to_owned(), command)]);
        }
        if name == ALL && !self.apps.is_empty() {
            return Ok(self.apps.keys().map(|app| (app.clone(), command.clone())).collect());
        }
        let one = name.rsplit_once('/').and_then(|(app, slot)| Some((app, slot.parse::<u32>().ok()?)));
        let Some((app, slot)) = one.filter(|(app, _)| self.apps.contains_key(*app)) else {
            return Err(self.unknown(name));
        };
        if !self.apps[app].machine.has_slot(slot) {
            return Err(format!("{app} has no instance {slot}"));
        }
        match verb {
            Verb::Restart => Ok(vec![(app.to_owned(), AppCommand::Restart(Some(slot)))]),
            Verb::Roll { .. } => Ok(vec![(app.to_owned(), AppCommand::Replace(slot))]),
            Verb::Start | Verb::Stop | Verb::Scale(_) => {
                Err(format!("that can be told to {app} as a whole; one instance can be restarted, or rolled"))
            }
        }
    }

    fn unknown(&self, name: &str) -> String {
        if self.apps.is_empty() {
            return format!("there is no app `{name}`: tidelock runs none, for the file has no [app.NAME]");
        }
        let known: Vec<&str> = self.apps.keys().map(String::as_str).collect();
        format!("there is no app `{name}`; there are: {}", known.join(", "))
    }

    /// Puts these apps in the place of those that there are.
    pub(crate) fn apply(&mut self, apps: &[Arc<App>], drain: Drain, follow: Following) {
        self.drain = drain;
        self.happens_everywhere(&Event::Drain(drain));
        let mut commands = Vec::new();
        for (name, held) in &self.apps {
            if !held.machine.is_removed() && apps.iter().all(|app| app.name != *name) {
                commands.push((name.clone(), AppCommand::Remove));
            }
        }
        for app in apps {
            match self.apps.get(&app.name) {
                Some(held) if held.machine.app() == app && !held.machine.is_removed() => {}
                Some(_) => commands.push((app.name.clone(), AppCommand::Change(app.clone()))),
                None => {
                    let held = Held {
                        machine: AppMachine::new(app.clone(), drain, self.cores),
                        attended: std::collections::BTreeMap::new(),
                        usages: Usages::default(),
                        triggers: Triggers::default(),
                        rooms: String::new(),
                    };
                    self.apps.insert(app.name.clone(), held);
                    commands.push((app.name.clone(), AppCommand::Start));
                }
            }
        }
        self.pass_on(commands, follow);
    }

    /// Tells the apps, with somebody who follows until the last of them is done.
    fn pass_on(&mut self, commands: Vec<(String, AppCommand)>, mut follow: Following) {
        if commands.is_empty() {
            follow.end(Progress::Done("nothing to do for the apps".to_owned()));
            return;
        }
        let first = self.ticket_last + 1;
        for ((app, _), ticket) in commands.iter().zip(first..) {
            follow.wait_for(app, ticket);
            self.ticket_last = ticket;
        }
        self.followers.push(follow);
        for ((app, command), ticket) in commands.into_iter().zip(first..) {
            self.happens(&app, Event::Command { ticket, command });
        }
    }

    /// Nobody has asked for it but the app's own settings, and nobody follows.
    pub(super) fn roll_by_itself(&mut self, app: &str, why: &str, is_urgent: bool) {
        tracing::info!("{app}: rolled, because {why}");
        self.ticket_last += 1;
        let window = is_urgent.then_some(std::time::Duration::ZERO);
        self.happens(app, Event::Command { ticket: self.ticket_last, command: AppCommand::Roll { window } });
    }
}

/// What all apps are called together.
const ALL: &str = "all";
/// As in the file.
const INSTANCES_MAX: u32 = 1024;
