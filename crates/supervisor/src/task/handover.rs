//! All apps on their way to the next tidelock, and from the one before.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::sync::Arc;

use config::app::App;
use config::roster::InstanceId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::{Attended, COMMANDS_MAX, Held, SupervisorTask};
use crate::handover::{AppHandover, HandingOver, Handover, HoldRequest, InstanceFiles};
use crate::machine::AppMachine;
use crate::process::{Launch, Process};
use crate::run_instance::{EventSender, ProcessCommand, go_on};
use crate::triggers::Triggers;
use crate::usage::Usages;

/// How everything is handed over, as far as it has come.
type Answer = oneshot::Sender<Result<HandingOver, String>>;
/// One for each process that is held.
type Taken = oneshot::Sender<mpsc::Sender<()>>;

impl SupervisorTask {
    /// Holds everything as it is until somebody has taken it. Returns whether that was so: nothing is here any more then.
    pub(super) async fn hand_over(&mut self, answer: Answer) -> bool {
        let (taken, is_taken) = oneshot::channel();
        let (handover, held) = match self.hold().await {
            Ok(held) => held,
            // Whoever asked may be gone.
            Err(why) => {
                let _ = answer.send(Err(why));
                return false;
            }
        };
        if answer.send(Ok(HandingOver { handover, taken })).is_err() {
            return false;
        }
        let Ok(last) = is_taken.await else { return false };
        for held in held {
            let _ = held.send(last.clone());
        }
        self.host.is_ours_now(false);
        true
    }

    /// Stops the task of each process for as long as what is given back lives.
    async fn hold(&self) -> Result<(Handover, Vec<Taken>), String> {
        let now = Instant::now();
        let mut apps: Vec<AppHandover> =
            self.apps.values().map(|held| held.machine.handover(now)).collect::<Result<_, _>>()?;
        let mut files = Vec::new();
        let mut taken = Vec::new();
        for app in &mut apps {
            let name = app.name.clone();
            let Some(held) = self.apps.get(&name) else { continue };
            for (slot, instance) in
                app.slots.iter_mut().filter_map(|slot| Some((slot.slot, slot.instance.as_mut()?)))
            {
                let id = InstanceId { slot, generation: instance.generation };
                let gone = || format!("{name}/{slot} is about to end");
                let attended = held.attended.get(&id).ok_or_else(gone)?;
                instance.keeper = attended.keeper.ok_or_else(gone)?;
                let (given, theirs) = oneshot::channel();
                let (is_taken, taking) = oneshot::channel();
                let request = ProcessCommand::Hold(HoldRequest { files: given, taken: taking });
                attended.commands.try_send(request).map_err(|_| gone())?;
                // Its task may wait to tell this one of something, and is asked again the next time.
                let theirs = timeout(FILES_TIMEOUT, theirs).await.map_err(|_| gone())?;
                files.push((name.clone(), id, theirs.map_err(|_| gone())?));
                taken.push(is_taken);
            }
        }
        let folder = self.host.folder.hand_over();
        let (folder, alive) = folder.map_err(|error| format!("the apps' folder: {error}"))?;
        Ok((Handover { folder, alive, apps, files }, taken))
    }

    /// Goes on with what the tidelock before had, as soon as it `is_ours`. `before` says what its apps were.
    pub(crate) fn go_on(
        &mut self,
        apps: Vec<AppHandover>,
        files: Vec<(String, InstanceId, InstanceFiles)>,
        before: &BTreeMap<String, Arc<App>>,
        is_ours: &watch::Receiver<bool>,
    ) -> io::Result<()> {
        let mut files: HashMap<_, _> = files.into_iter().map(|(app, id, files)| ((app, id), files)).collect();
        for handed in apps {
            // One that nobody knows any more is ended by its keeper.
            let Some(app) = before.get(&handed.name) else {
                tracing::warn!(app = handed.name, "an app is ended that this tidelock does not know");
                continue;
            };
            let machine = AppMachine::go_on(app.clone(), self.drain, self.cores, &handed, Instant::now());
            let (usages, triggers) = (Usages::default(), Triggers::default());
            let mut held =
                Held { machine, attended: BTreeMap::new(), usages, triggers, rooms: String::new() };
            let instances = handed.slots.iter().filter_map(|slot| Some((slot.slot, slot.instance.as_ref()?)));
            for (slot, instance) in instances {
                let id = InstanceId { slot, generation: instance.generation };
                let missing = || io::Error::other(format!("{}/{slot} came without its files", handed.name));
                let theirs = files.remove(&(handed.name.clone(), id)).ok_or_else(missing)?;
                let launch = Launch { app: app.clone(), id };
                let process = Process::resume(&self.host, launch, instance, theirs, is_ours.clone())?;
                let (commands, obeyed) = mpsc::channel(COMMANDS_MAX);
                held.attended.insert(id, Attended { commands, keeper: Some(instance.keeper), counts: None });
                let events = EventSender::new(&handed.name, self.event_sender.clone());
                let is_ready = instance.ready_ms.is_some();
                let task = self.tasks.spawn_local(go_on(process, is_ready, obeyed, events));
                self.running.insert(task.id(), (handed.name.clone(), id));
            }
            self.apps.insert(handed.name.clone(), held);
        }
        Ok(())
    }
}

/// A task that is not busy answers at once.
const FILES_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(500);
