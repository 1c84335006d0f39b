//! From a plan to a running proxy, and from a signal to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use acme::Certificates;
use admin::{Handles, ReloadWanted, Socket, SocketProblem};
use config::Loaded;
use config::plan::{AccessLog, AdminSocket, Plan};
use config::problem::Report;
use proxy::{FirstRead, Proxy, StartProblem};
use supervisor::{Options, Progress, Supervisor, Verb};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::automatic;
use crate::bridge::bridge;
use crate::colour;
use crate::log;
use crate::output::{self, tell};
use crate::privileges;
use crate::reload::{Reloader, Source};
use crate::secret;
use crate::signals::{Signal, Signals};
use crate::urls;

/// Returns what a plan comes down to, in a line.
pub(crate) fn summary(plan: &Plan) -> String {
    let nodes: usize = plan.upstreams.iter().map(|upstream| upstream.nodes.len()).sum();
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}, {}",
        count(plan.listens.len(), "listen"),
        count(plan.routes.len(), "route"),
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
}

/// Serves what was loaded of `source`, until a signal says that it is enough. What is wrong is said on standard error, which
/// in the background is the file `rotated`.
pub(crate) fn loaded(loaded: Result<Loaded, Report>, source: Source, rotated: Option<PathBuf>) -> ExitCode {
    let colour = colour::is_wanted(&io::stderr());
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(report) => {
            output::err(format_args!("{}", report.render(colour)));
            return ExitCode::FAILURE;
        }
    };
    // It has one thread so far; the log is the second.
    let laid_down =
        match privileges::lay_down(&loaded.plan, source.file().as_deref(), source.socket().is_some()) {
            Ok(laid_down) => laid_down,
            Err(problem) => {
                tell!("cannot start: {problem}");
                return ExitCode::FAILURE;
            }
        };
    if let Err(error) = log::start(colour, rotated) {
        tell!("cannot start a thread for the log: {error}");
        return ExitCode::FAILURE;
    }
    log::say(&loaded.warnings.render(colour));
    laid_down.say();
    let code = match until_told(loaded.plan, source, laid_down.certificates) {
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
/// where it came from, and `first` what was read of it as root.
fn until_told(mut plan: Plan, source: Source, first: FirstRead) -> Result<(), ServeProblem> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    secret::fill_in(&mut plan);
    automatic::prepare(&mut plan).map_err(ServeProblem::Certificates)?;
    let served = runtime.block_on(serve(Arc::new(plan), source, first));
    // What still runs beside it, if anything does, is not worth waiting for.
    runtime.shutdown_background();
    served
}

async fn serve(plan: Arc<Plan>, source: Source, first: FirstRead) -> Result<(), ServeProblem> {
    let mut signals = Signals::new()?;
    let entrance = Entrance::open(&plan.admin.socket).await?;
    // It listens before an app is started: a port that is taken costs no process.
    let proxy = Proxy::start(plan.clone(), &first).await?;
    drop(first);
    // What is in the background outlives the login's folders. Other users have to pass root's.
    let beside = source.socket().and_then(Path::parent).filter(|_| !rustix::process::geteuid().is_root());
    let under = match source.socket() {
        Some(_) => beside.map(|folder| folder.join("apps")),
        None => admin::places::apps_folder(),
    };
    let (file, is_background) = (source.file(), source.socket().is_some());
    // Their lines are in files then, and `tidelock logs` shows them.
    let is_apart = plan.log.access == AccessLog::Stdout;
    let options = Options { drain: plan.drain, echo: !is_background, is_apart, under };
    let (supervisor, requests) = Supervisor::start(&plan.apps, options).map_err(ServeProblem::Supervisor)?;
    let mut serving = JoinSet::new();
    serving.spawn_local(bridge(proxy.clone(), requests));
    if plan.apps.is_empty() {
        tracing::info!(event = "serving", "serving{}", at(&plan));
    } else {
        serving.spawn_local(say_when_ready(supervisor.clone(), plan.clone()));
    }
    // It listens before an authority is asked: one that looks whose a name is finds somebody.
    let certificates = Rc::new(Certificates::default());
    certificates.want(&plan)?;
    let (plan, in_force) = watch::channel(plan);
    let (reload, wanted) = mpsc::channel(RELOADS_MAX);
    let mut reloading = JoinSet::new();
    let (of_reloader, supervised) = (certificates.clone(), supervisor.clone());
    let reloader =
        Reloader { source, proxy: proxy.clone(), supervisor: supervised, certificates: of_reloader, plan };
    reloading.spawn_local(reloader.run(wanted));
    let seen = Handles {
        proxy: proxy.clone(),
        supervisor: supervisor.clone(),
        certificates,
        plan: in_force.clone(),
        file,
        is_background,
        reload: reload.clone(),
        own_log_lines_lost: log::lost,
    };
    let mut answering = JoinSet::new();
    answering.spawn_local(entrance.answer(seen));
    loop {
        match signals.next().await {
            Signal::Leave => break,
            Signal::Reopen => proxy.reopen_log(),
            // If so many wait already, one of them reads what is there now.
            Signal::Reload => drop(reload.try_send(ReloadWanted { answer: oneshot::channel().0 })),
        }
    }
    // A reload that is under way would listen again behind our back.
    reloading.shutdown().await;
    let deadline = in_force.borrow().drain.deadline;
    supervisor.leave();
    proxy.leave(deadline);
    tracing::info!(event = "leaving", ?deadline, "leaving: no new connections, what runs may finish");
    leave(&proxy, &supervisor, signals).await;
    answering.shutdown().await;
    serving.shutdown().await;
    Ok(())
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
                Signal::Reopen | Signal::Reload => {}
            }
        }
    }
    tracing::info!(event = "ended", "ended");
}

/// Where verbs come in.
#[derive(Debug)]
enum Entrance {
    Open(Socket),
    /// Another tidelock has the place that nobody chose; when it ends, this one takes it.
    Waiting(PathBuf),
    None,
}

impl Entrance {
    /// A socket that somebody asked for is there or tidelock does not start; one that nobody asked for is no reason
    /// not to serve.
    async fn open(place: &AdminSocket) -> Result<Self, SocketProblem> {
        match place {
            AdminSocket::Off => Ok(Self::None),
            AdminSocket::Path(path) => Socket::bind(path).await.map(Self::Open),
            AdminSocket::Default => Ok(Self::open_default().await),
        }
    }

    async fn open_default() -> Self {
        let Some(path) = admin::places::default_path() else {
            tracing::warn!(
                event = "admin_absent",
                "no verb can reach this tidelock: set $XDG_RUNTIME_DIR, or `admin.socket` in the file"
            );
            return Self::None;
        };
        match Socket::bind(&path).await {
            Ok(socket) => Self::Open(socket),
            Err(problem @ SocketProblem::Taken { .. }) => {
                tracing::warn!(
                    event = "admin_waits",
                    "no verb can reach this tidelock until the other one ends: {problem}"
                );
                Self::Waiting(path)
            }
            Err(problem) => {
                tracing::warn!(event = "admin_absent", "no verb can reach this tidelock: {problem}");
                Self::None
            }
        }
    }

    /// Lets verbs in for as long as this is polled.
    async fn answer(self, seen: Handles) {
        let socket = match self {
            Self::Open(socket) => socket,
            Self::Waiting(path) => until_free(&path).await,
            Self::None => return,
        };
        tracing::info!(event = "admin_listening", socket = %socket.path().display(), "verbs are taken");
        admin::serve(socket, seen).await;
    }
}

async fn until_free(path: &Path) -> Socket {
    loop {
        sleep(LOOK_AGAIN).await;
        if let Ok(socket) = Socket::bind(path).await {
            return socket;
        }
    }
}

/// Reloads that wait for the one that runs.
const RELOADS_MAX: usize = 8;
/// Whether the other tidelock has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// At the end, for the last lines of the log.
const LOG_TIMEOUT: Duration = Duration::from_secs(1);
