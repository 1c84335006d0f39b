//! From a plan to a running proxy, and from a signal to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use acme::Certificates;
use admin::{Collectors, Handles, ReloadWanted, SocketProblem, UpgradeWanted, Ups};
use config::Loaded;
use config::app::App;
use config::plan::{AccessLog, Plan};
use config::problem::Report;
use proxy::{FirstRead, Proxy, StartProblem};
use supervisor::{Options, Progress, Supervisor, Verb};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::admin_file::AdminPlace;
use crate::automatic;
use crate::bridge::Bridge;
use crate::collectors::{self, NoCollectors};
use crate::colour;
use crate::entrance::Entrance;
use crate::lock;
use crate::log;
use crate::output::{self, tell};
use crate::privileges;
use crate::reload::{Reloader, Source, Wishes};
use crate::secret;
use crate::signals::{Signal, Signals};
use crate::systemd::{self, Sockets};
use crate::upgrade::{self, Predecessor};
use crate::urls;

/// What a plan comes down to, in a line.
pub(crate) fn summary(plan: &Plan) -> String {
    let nodes: usize = plan.upstreams.iter().map(|upstream| upstream.nodes.len()).sum();
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}, {}",
        count(plan.listens.len(), "listen"),
        count(plan.routes.iter().filter(|route| !route.is_side).count(), "route"),
        count(plan.upstreams.len(), "upstream"),
        count(nodes, "node"),
    ) + &if plan.apps.is_empty() { String::new() } else { format!(", {}", count(plan.apps.len(), "app")) }
}

/// Why nothing is served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeProblem {
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
    #[error(transparent)]
    Proxy(#[from] StartProblem),
    #[error("{0}")]
    Certificates(#[source] io::Error),
    #[error("the apps cannot be run: {0}")]
    Supervisor(#[source] io::Error),
    #[error(transparent)]
    Admin(#[from] SocketProblem),
    #[error(transparent)]
    Collectors(#[from] NoCollectors),
}

/// Serves what was loaded of `source`, until a signal says that it is enough. What is wrong is said on standard error, which
/// in the background is the file `rotated`.
pub(crate) fn loaded(loaded: Result<Loaded, Report>, source: Source, rotated: Option<PathBuf>) -> ExitCode {
    let colour = colour::is_wanted(&io::stderr());
    let predecessor = upgrade::predecessor();
    // Before there is a second thread, which could change the environment.
    let sockets = match systemd::sockets() {
        Ok(sockets) => sockets,
        Err(error) => {
            tell!("cannot start: a socket that systemd gives is none that listens: {error}");
            return ExitCode::FAILURE;
        }
    };
    let refuse = |why: &str| predecessor.iter().for_each(|predecessor| predecessor.refuse(why));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(report) => {
            output::err(format_args!("{}", report.render(colour)));
            refuse(&report.render(false));
            return ExitCode::FAILURE;
        }
    };
    // It has one thread so far; the log is the second.
    let is_background = source.socket().is_some();
    let was_root = predecessor.as_ref().is_some_and(|predecessor| predecessor.is_service);
    let laid_down = privileges::lay_down(&loaded.plan, source.file().as_deref(), is_background, was_root);
    let laid_down = match laid_down {
        Ok(laid_down) => laid_down,
        Err(problem) => {
            tell!("cannot start: {problem}");
            refuse(&problem.to_string());
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = log::start(colour, rotated) {
        tell!("cannot start a thread for the log: {error}");
        return ExitCode::FAILURE;
    }
    log::say(&loaded.warnings.render(colour));
    laid_down.say();
    let inherited = predecessor.map_or(Inherited::OfSystemd(sockets), Inherited::OfPredecessor);
    let code = match until_told(loaded.plan, source, laid_down.certificates, inherited) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!("{problem}");
            ExitCode::FAILURE
        }
    };
    log::finish(LOG_TIMEOUT);
    code
}

/// Serves `plan` on this thread, which becomes the control thread, until a signal says that it is enough. `source` is
/// where it came from, `first` what was read of it as root, and `inherited` what is there already.
fn until_told(
    mut plan: Plan,
    source: Source,
    first: FirstRead,
    mut inherited: Inherited,
) -> Result<(), ServeProblem> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    if let Inherited::OfPredecessor(predecessor) = &mut inherited {
        predecessor.secret.take().into_iter().for_each(secret::go_on_with);
    }
    secret::fill_in(&mut plan);
    let prepared = automatic::prepare(&mut plan).map_err(ServeProblem::Certificates);
    prepared.inspect_err(|problem| {
        if let Inherited::OfPredecessor(predecessor) = &inherited {
            predecessor.refuse(&problem.to_string());
        }
    })?;
    let served = runtime.block_on(serve(Arc::new(plan), source, first, inherited));
    // What still runs beside it, if anything does, is not worth waiting for.
    runtime.shutdown_background();
    served
}

/// What is there already.
#[derive(Debug)]
enum Inherited {
    /// Nothing at all, unless it gives some.
    OfSystemd(Sockets),
    OfPredecessor(Predecessor),
}

async fn serve(
    plan: Arc<Plan>,
    source: Source,
    first: FirstRead,
    inherited: Inherited,
) -> Result<(), ServeProblem> {
    let mut signals = Signals::new()?;
    let (file, is_background) = (source.file(), source.socket().is_some());
    let begun = begin(&plan, &source, first, inherited).await?;
    let Begun { proxy, supervisor, bridge, entrance, collectors, predecessor_ended } = begun;
    let ups = Rc::new(Ups::default());
    ups.is_successor.set(predecessor_ended.is_some());
    let mut serving = JoinSet::new();
    serving.spawn_local(bridge.run());
    if plan.apps.is_empty() {
        tracing::info!(event = "serving", "serving{}", at(&plan));
    } else if predecessor_ended.is_none() {
        // It asks them to start, which one that was stopped for the tidelock before is not to do.
        serving.spawn_local(say_when_ready(supervisor.clone(), plan.clone()));
    }
    // It listens before an authority is asked: one that looks whose a name is finds somebody.
    let certificates = Rc::new(Certificates::default());
    certificates.want(&plan)?;
    let (plan, in_force) = watch::channel(plan);
    let (reload, reloads) = mpsc::channel(RELOADS_MAX);
    let (upgrade, upgrades) = mpsc::channel(RELOADS_MAX);
    let (handed_over, mut is_handed_over) = mpsc::channel(1);
    let mut reloading = JoinSet::new();
    let admin = AdminPlace::default();
    let reloader = Reloader {
        source,
        proxy: proxy.clone(),
        supervisor: supervisor.clone(),
        certificates: certificates.clone(),
        plan,
        admin: admin.clone(),
        collectors: collectors.clone(),
        ups: ups.clone(),
        is_service: privileges::is_service(),
    };
    reloading.spawn_local(reloader.run(Wishes { reloads, upgrades, handed_over }));
    let verbs_are_anothers = watch::Sender::new(false);
    let seen = Handles {
        proxy: proxy.clone(),
        supervisor: supervisor.clone(),
        certificates: certificates.clone(),
        plan: in_force.clone(),
        file,
        is_background,
        reload: reload.clone(),
        upgrade: upgrade.clone(),
        is_handed_over: verbs_are_anothers.subscribe(),
        ups,
        own_log_lines_lost: log::lost,
    };
    let seen = Rc::new(seen);
    let mut answering = JoinSet::new();
    if let Some(collectors) = collectors {
        answering.spawn_local(admin::collect(collectors, seen.clone()));
    }
    answering.spawn_local(entrance.answer(seen, admin.clone()));
    systemd::ready();
    serving.spawn_local(systemd::report(proxy.clone()));
    let mut announced_until = None;
    let (successor, is_hurried) = loop {
        tokio::select! {
            signal = signals.next() => match signal {
                // Whoever says it twice does not want to wait.
                Signal::Leave if announced_until.is_some() => break (None, true),
                Signal::Leave => {
                    let announce = in_force.borrow().drain.announce;
                    if announce.is_zero() {
                        break (None, false);
                    }
                    proxy.announce();
                    announced_until = Some(Instant::now() + announce);
                    tracing::info!(event = "announced", ?announce, "about to end: not ready any more, and served as before");
                }
                Signal::Reopen => proxy.reopen_log(),
                // If so many wait already, one of them reads what is there now.
                Signal::Reload => drop(reload.try_send(ReloadWanted { answer: oneshot::channel().0 })),
                Signal::Upgrade => drop(upgrade.try_send(UpgradeWanted {
                    binary: None,
                    timeout: admin::UPGRADE_TIMEOUT,
                    answer: oneshot::channel().0,
                })),
            },
            Some(successor) = is_handed_over.recv() => break (Some(successor), false),
            () = sleep_until(announced_until.unwrap_or_else(Instant::now)), if announced_until.is_some() => {
                break (None, false);
            }
        }
    };
    // A reload that is under way would listen again behind our back.
    reloading.shutdown().await;
    let deadline = if is_hurried { Duration::ZERO } else { in_force.borrow().drain.deadline };
    admin.take();
    let has_successor = successor.is_some();
    match successor {
        Some(successor) => {
            let pid = successor.pid;
            serving.spawn_local(successor.tell_of_newcomers());
            verbs_are_anothers.send_replace(true);
            certificates.rest();
            proxy.leave_to_successor(deadline);
            tracing::info!(
                event = "upgraded",
                pid,
                ?deadline,
                "another tidelock goes on; what runs here may finish"
            );
        }
        None => {
            systemd::stopping();
            supervisor.leave();
            proxy.leave(deadline);
            tracing::info!(event = "leaving", ?deadline, "leaving: no new connections, what runs may finish");
        }
    }
    leave(&proxy, &supervisor, signals).await;
    if has_successor {
        // Whoever has said the verb is told.
        let _ = timeout(ANSWERS_TIMEOUT, answering.join_next()).await;
    }
    answering.shutdown().await;
    serving.shutdown().await;
    if let Some(ended) = predecessor_ended {
        // It has its own deadline, which began before ours.
        let _ = ended.await;
    }
    Ok(())
}

/// All that serves.
struct Begun {
    proxy: Proxy,
    supervisor: Supervisor,
    bridge: Bridge,
    entrance: Entrance,
    /// Where what is counted is collected from, if it is.
    collectors: Option<Rc<Collectors>>,
    /// Ends with the tidelock before, if there was one.
    predecessor_ended: Option<JoinHandle<()>>,
}

async fn begin(
    plan: &Arc<Plan>,
    source: &Source,
    first: FirstRead,
    inherited: Inherited,
) -> Result<Begun, ServeProblem> {
    // What is in the background outlives the login's folders. Other users have to pass root's.
    let beside = source.socket().and_then(Path::parent).filter(|_| !rustix::process::geteuid().is_root());
    let under = match source.socket() {
        Some(_) => beside.map(|folder| folder.join("apps")),
        None => admin::places::apps_folder(),
    };
    // Their lines are in files then, and `tidelock logs` shows them.
    let (is_background, is_apart) = (source.socket().is_some(), plan.log.access == AccessLog::Stdout);
    let options = Options { drain: plan.drain, echo: !is_background, is_apart, under };
    let predecessor = match inherited {
        Inherited::OfPredecessor(predecessor) => predecessor,
        Inherited::OfSystemd(mut sockets) => {
            let entrance = Entrance::take_over(&plan.admin.socket, sockets.admin.take()).await?;
            let collectors = collectors::of(plan, None)?;
            // It listens before an app is started: a port that is taken costs no process.
            let prepared = Proxy::prepare(plan.clone(), &first, sockets.listens(plan)).await?;
            let proxy = prepared.accept();
            let (supervisor, requests) =
                Supervisor::start(&plan.apps, options).map_err(ServeProblem::Supervisor)?;
            let bridge = Bridge::new(proxy.clone(), requests);
            let predecessor_ended = None;
            return Ok(Begun { proxy, supervisor, bridge, entrance, collectors, predecessor_ended });
        }
    };
    take_over(plan, source, options, &first, predecessor).await
}

/// Goes on in the place of the tidelock before. Until it says so, nothing of it is touched.
async fn take_over(
    plan: &Arc<Plan>,
    source: &Source,
    options: Options,
    first: &FirstRead,
    mut predecessor: Predecessor,
) -> Result<Begun, ServeProblem> {
    let (pid, held) = (predecessor.pid, predecessor.lock.take());
    let before = apps_before(plan, source, predecessor.file.as_deref());
    let (admin, mut listens) = (predecessor.admin.take(), std::mem::take(&mut predecessor.listens));
    let made = async {
        let entrance = Entrance::take_over(&plan.admin.socket, admin).await?;
        let collectors = collectors::of(plan, Some(&mut listens))?;
        let prepared = Proxy::prepare(plan.clone(), first, listens).await?;
        Ok::<_, ServeProblem>((entrance, collectors, prepared))
    };
    let (mut entrance, collectors, prepared) =
        made.await.inspect_err(|problem| predecessor.refuse(&problem.to_string()))?;
    let mut going = predecessor.prepared().await?;
    let handover = going.handover()?;
    let known: BTreeSet<String> = handover.apps.iter().map(|app| app.name.clone()).collect();
    let known = known.into_iter().filter(|app| before.contains_key(app)).collect();
    let is_ours = watch::Sender::new(false);
    let started = Supervisor::go_on(handover, &before, &plan.apps, options, is_ours.subscribe());
    let (supervisor, requests) = started
        .map_err(ServeProblem::Supervisor)
        .inspect_err(|problem| going.refuse(&problem.to_string()))?;
    let mut bridge = Bridge::new(prepared.proxy().clone(), requests);
    bridge.until_known(known).await;
    prepared.proxy().enter_sessions(&going.sessions);
    for node in &going.drained {
        // It may be in the file no more.
        let _ = prepared.proxy().drain(node);
    }
    let proxy = prepared.accept();
    let (ended, mut newcomers) = going.serving().await?;
    let entered = proxy.clone();
    tokio::task::spawn_local(async move {
        while let Some(sessions) = newcomers.recv().await {
            entered.enter_sessions(&sessions);
        }
    });
    is_ours.send_replace(true);
    if let Entrance::Open(socket) = &mut entrance {
        socket.is_ours_now();
    }
    held.into_iter().for_each(lock::go_on_with);
    tracing::info!(event = "took_over", from = pid, "goes on in the place of the tidelock before");
    Ok(Begun { proxy, supervisor, bridge, entrance, collectors, predecessor_ended: Some(ended) })
}

/// The apps as they were in force for the tidelock before, so that those are rolled that have changed. Where its file means nothing
/// to this version they are taken for what they are now.
fn apps_before(plan: &Plan, source: &Source, file: Option<&str>) -> BTreeMap<String, Arc<App>> {
    let now = plan.apps.iter().map(|app| (app.name.clone(), app.clone()));
    let mut all: BTreeMap<_, _> = now.collect();
    let origin = source.file().unwrap_or_default();
    if let Some(Ok(before)) = file.map(|text| config::parse(text, &origin)) {
        all.extend(before.plan.apps.into_iter().map(|app| (app.name.clone(), app)));
    }
    all
}

/// Says in the log that all apps are ready, and where clients connect. What keeps one from it is said elsewhere.
async fn say_when_ready(supervisor: Supervisor, plan: Arc<Plan>) {
    // They are being started already, and this waits for that.
    let mut progress = supervisor.tell("all", Verb::Start);
    while let Some(said) = progress.recv().await {
        match said {
            Progress::Step(_) => {}
            Progress::Failed(_) => return,
            Progress::Done(_) => {
                tracing::info!(event = "apps_ready", "the apps are ready{}", at(&plan));
                return;
            }
        }
    }
}

/// Where a browser finds what is served, as the end of a sentence.
fn at(plan: &Plan) -> String {
    let urls = urls::of(plan);
    if urls.is_empty() { String::new() } else { format!(" at {}", urls.join(" and ")) }
}

/// Waits for the end, of the proxy first: the apps have to answer until then. A second signal asks for it at once.
async fn leave(proxy: &Proxy, supervisor: &Supervisor, mut signals: Signals) {
    let ending = async {
        proxy.ended().await;
        supervisor.end(false).await;
    };
    let mut ending = std::pin::pin!(ending);
    loop {
        tokio::select! {
            () = &mut ending => break,
            signal = signals.next() => match signal {
                Signal::Leave => {
                    tracing::warn!("told again: ending at once");
                    proxy.leave(Duration::ZERO);
                    supervisor.end(true).await;
                }
                Signal::Reopen | Signal::Reload | Signal::Upgrade => {}
            }
        }
    }
    tracing::info!(event = "ended", "ended");
}

/// Reloads that wait for the one that runs.
const RELOADS_MAX: usize = 8;
/// Verbs that were said before another tidelock went on.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);
/// At the end, for the last lines of the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);
