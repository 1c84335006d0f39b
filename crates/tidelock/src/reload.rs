//! Reads the file, at the start and again whenever somebody asks or it changes, and applies it: one reload after the
//! other, and each of them whole or not at all.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use acme::Certificates;
use admin::{Applied, Collectors, ReloadWanted, UpgradeWanted, Ups};
use config::diff::Diff;
use config::plan::{AdminSocket, Plan};
use config::problem::Report;
use config::{Inspected, Loaded, inspect};
use proxy::{Proxy, StartProblem, TlsProblem};
use supervisor::Supervisor;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::admin_file::{AdminFile, AdminPlace};
use crate::automatic;
use crate::bridge::follow;
use crate::colour;
use crate::log::say;
use crate::privileges;
use crate::secret;
use crate::systemd;
use crate::upgrade::{self, HandedOver};
use crate::watch::Folder;

/// The file, and what it said when it was last read.
#[derive(Debug)]
pub(crate) struct Source {
    /// None if the plan was made of the command line.
    file: Option<PathBuf>,
    /// Where verbs come in if the file does not say, for one that runs in the background.
    socket: Option<PathBuf>,
    read: Option<Vec<u8>>,
    /// What it said when it was last applied.
    in_force: Option<Vec<u8>>,
}

impl Source {
    pub(crate) fn new(file: PathBuf) -> Self {
        Self { file: Some(file), socket: None, read: None, in_force: None }
    }

    /// There is no file.
    pub(crate) fn none() -> Self {
        Self { file: None, socket: None, read: None, in_force: None }
    }

    /// Of a tidelock in the background.
    pub(crate) fn background(file: PathBuf, socket: PathBuf) -> Self {
        Self { file: Some(file), socket: Some(socket), read: None, in_force: None }
    }

    pub(crate) fn file(&self) -> Option<PathBuf> {
        let file = self.file.as_ref()?;
        Some(std::path::absolute(file).unwrap_or_else(|_| file.clone()))
    }

    /// The socket of one in the background.
    pub(crate) fn socket(&self) -> Option<&Path> {
        self.socket.as_deref()
    }

    /// Reads it, good or broken.
    pub(crate) fn load(&mut self) -> Result<Loaded, Report> {
        let loaded = self.inspect().into_loaded();
        if loaded.is_ok() {
            self.in_force.clone_from(&self.read);
        }
        loaded
    }

    fn inspect(&mut self) -> Inspected {
        let file = self.file.as_deref().unwrap_or(Path::new(""));
        // Read before it is loaded: what changes between the two is then found to be new, and not lost.
        self.read = config::read_regular(file).ok();
        let mut inspected = inspect(file);
        if let (Some(plan), Some(socket)) = (&mut inspected.plan, &self.socket)
            && plan.admin.socket == AdminSocket::Default
        {
            plan.admin.socket = AdminSocket::Path(socket.clone());
        }
        inspected
    }

    /// Whether the file says something else now. One that is not there says nothing: an editor or a deployment that
    /// first removes it is not done yet.
    fn has_changed(&self) -> bool {
        self.file
            .as_ref()
            .and_then(|file| config::read_regular(file).ok())
            .is_some_and(|now| self.read.as_ref() != Some(&now))
    }
}

/// Applies the file to the running proxy.
#[derive(Debug)]
pub(crate) struct Reloader {
    pub(crate) source: Source,
    pub(crate) proxy: Proxy,
    pub(crate) supervisor: Supervisor,
    pub(crate) certificates: Rc<Certificates>,
    /// The plan in force, for everybody who wants to know.
    pub(crate) plan: watch::Sender<Arc<Plan>>,
    /// The socket of the verbs once more, when there is one.
    pub(crate) admin: AdminPlace,
    /// Where what is counted is collected from, if it is.
    pub(crate) collectors: Option<Rc<Collectors>>,
    pub(crate) ups: Rc<Ups>,
    pub(crate) is_service: bool,
}

/// What the one task that changes everything is asked.
#[derive(Debug)]
pub(crate) struct Wishes {
    pub(crate) reloads: mpsc::Receiver<ReloadWanted>,
    pub(crate) upgrades: mpsc::Receiver<UpgradeWanted>,
    /// Gets the tidelock that goes on in the place of this one.
    pub(crate) handed_over: mpsc::Sender<HandedOver>,
}

impl Reloader {
    /// Reloads whenever it is `wanted`, and when the file changes if the file itself wants that. Dropped while it
    /// reloads, it has applied all of the file or nothing of it.
    pub(crate) async fn run(mut self, mut wishes: Wishes) {
        let mut folder = None;
        let mut following = JoinSet::new();
        loop {
            folder = self.follow(folder);
            tokio::select! {
                wanted = wishes.reloads.recv() => {
                    let Some(ReloadWanted { answer }) = wanted else { return };
                    let applied = self.reload().await;
                    // Whoever asked may be gone; it is in the log too.
                    if let Err(Ok(Applied { apps: Some(progress), .. })) = answer.send(applied) {
                        following.spawn_local(follow(progress));
                    }
                }
                Some(wanted) = wishes.upgrades.recv() => {
                    if let Some(successor) = self.upgrade(wanted).await {
                        // Nothing is read or applied here any more.
                        let _ = wishes.handed_over.send(successor).await;
                        return;
                    }
                }
                () = settled(folder.as_ref()) => {
                    if self.source.has_changed() {
                        tracing::info!("the file has changed");
                        if let Ok(Applied { apps: Some(progress), .. }) = self.reload().await {
                            following.spawn_local(follow(progress));
                        }
                    }
                }
                Some(_) = following.join_next() => {}
            }
        }
    }

    /// Lets another tidelock go on, and gives it back if it does.
    async fn upgrade(&mut self, wanted: UpgradeWanted) -> Option<HandedOver> {
        let plan = self.plan.borrow().clone();
        let admin = self.admin.borrow().as_ref().map(AdminFile::once_more);
        let here = upgrade::Here {
            proxy: &self.proxy,
            supervisor: &self.supervisor,
            file: self.source.in_force.as_deref(),
            admin: admin.and_then(Result::ok),
            collectors: self.collectors.as_deref(),
            is_service: self.is_service,
        };
        let handed = upgrade::hand_over(here, &wanted).await;
        // Whoever asked may be gone; it is in the log too.
        match handed {
            Ok(successor) => {
                let message = format!(
                    "process {} serves; what process {} has begun ends within {:?}",
                    successor.pid,
                    std::process::id(),
                    plan.drain.deadline
                );
                let _ = wanted.answer.send(Ok(message));
                Some(successor)
            }
            Err(why) => {
                add_one(&self.ups.failed_upgrades);
                tracing::error!(event = "upgrade_failed", "no upgrade, this tidelock goes on: {why}");
                let _ = wanted.answer.send(Err(why));
                None
            }
        }
    }

    /// Watches the folder if the plan in force says so.
    fn follow(&self, folder: Option<Folder>) -> Option<Folder> {
        let file = self.source.file.as_ref().filter(|_| self.plan.borrow().admin.watch)?;
        let watched = folder.map_or_else(|| Folder::of(file), Ok);
        watched
            .inspect_err(|error| {
                tracing::warn!(%error, "the file cannot be watched; `tidelock reload` applies it");
            })
            .ok()
    }

    /// Reads the file and applies it, and counts that; systemd is told that it goes on. The error is all that is
    /// wrong, in lines.
    async fn reload(&mut self) -> Result<Applied, String> {
        systemd::reloading();
        let reloaded = self.try_reload().await;
        add_one(if reloaded.is_ok() { &self.ups.reloads } else { &self.ups.failed_reloads });
        self.ups.is_outdated.set(reloaded.is_err());
        systemd::ready();
        reloaded
    }

    async fn try_reload(&mut self) -> Result<Applied, String> {
        if self.source.file.is_none() {
            return Err(NO_FILE.to_owned());
        }
        let colour = colour::is_wanted(&std::io::stderr());
        let mut inspected = self.source.inspect();
        let Some(mut plan) = inspected.good_plan() else {
            let report = inspected.report;
            return Err(not_applied(&report.render(colour), &report.render(false)));
        };
        let warnings = inspected.report.render(false);
        secret::fill_in(&mut plan);
        if let Err(problem) = automatic::prepare(&mut plan) {
            let problem = format!("error: {problem}\n");
            return Err(not_applied(&(inspected.report.render(colour) + &problem), &(warnings + &problem)));
        }
        let plan = Arc::new(plan);
        match self.proxy.apply(plan.clone()).await {
            Ok(change) => {
                self.source.in_force.clone_from(&self.source.read);
                say(&inspected.report.render(colour));
                if let Err(error) = self.certificates.want(&plan) {
                    tracing::error!(%error, "no certificates are kept");
                }
                // The drain is how instances are emptied, too.
                let apps = (!change.apps.is_empty() || change.drain)
                    .then(|| self.supervisor.apply(&plan.apps, plan.drain));
                self.plan.send_replace(plan);
                let apps = apps.filter(|_| !change.apps.is_empty());
                Ok(Applied { message: warnings + &self.applied(&change), apps })
            }
            // As `check` says it.
            Err(StartProblem::Tls(problems)) => {
                tell_certificates(&problems, &mut inspected);
                Err(not_applied(&inspected.report.render(colour), &inspected.report.render(false)))
            }
            Err(problem) => {
                let problem = format!("error: {problem}\n");
                Err(not_applied(&(inspected.report.render(colour) + &problem), &(warnings + &problem)))
            }
        }
    }

    fn applied(&self, change: &Diff) -> String {
        let (file, lines) =
            (self.source.file.as_deref().unwrap_or(Path::new("")).display(), change.to_string());
        if change.is_empty() {
            tracing::info!(
                event = "reloaded",
                %file,
                "reloaded: nothing changed; certificates were read again"
            );
            return format!("{file}: nothing changed; certificates were read again");
        }
        for line in lines.lines() {
            tracing::info!("reloading: {line}");
        }
        tracing::info!(event = "reloaded", %file, "reloaded");
        format!("{file}: applied\n{lines}")
    }
}

fn add_one(count: &Cell<u64>) {
    count.set(count.get() + 1);
}

/// Tells each where the file names it.
pub(crate) fn tell_certificates(problems: &[TlsProblem], inspected: &mut Inspected) {
    for problem in problems {
        let why =
            privileges::why_unreadable(&problem.file).map_or_else(String::new, |why| format!("; {why}"));
        inspected.tell_of(problem.section, &problem.file, format!("{problem}{why}"));
    }
}

async fn settled(folder: Option<&Folder>) {
    match folder {
        Some(folder) => folder.settled().await,
        None => std::future::pending().await,
    }
}

/// Says on standard error, and to whoever asked, that nothing was changed.
fn not_applied(aloud: &str, answer: &str) -> String {
    say(aloud);
    tracing::error!(event = "reload_failed", "{NOT_APPLIED}");
    format!("{answer}{NOT_APPLIED}")
}

const NO_FILE: &str = "this tidelock was started without a file, so that there is nothing to read again; `tidelock reload APP` rolls its app";
const NOT_APPLIED: &str = "the file was not applied; tidelock goes on with what it had";
