//! From a plan to a running proxy, and from a signal to its end.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin::{ReloadWanted, Seen, Socket, SocketProblem};
use config::plan::{AdminSocket, Plan};
use proxy::{Proxy, StartProblem};
use supervisor::{Options, Supervisor};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::grant::grant;
use crate::log;
use crate::reload::{Reloader, Source};
use crate::secret;
use crate::signals::{Signal, Signals};

/// What a plan comes down to, in a line.
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
    #[error("the apps cannot be run: {0}")]
    Supervisor(#[source] io::Error),
    #[error(transparent)]
    Admin(#[from] SocketProblem),
}

/// Serves `plan` on this thread, which becomes the control thread, until a signal says that it is enough. `source` is
/// where it came from.
pub(crate) fn until_told(mut plan: Plan, source: Source) -> Result<(), ServeProblem> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())?;
    secret::fill_in(&mut plan);
    let served = runtime.block_on(serve(Arc::new(plan), source));
    // What still runs beside it, if anything does, is not worth waiting for.
    runtime.shutdown_background();
    served
}

async fn serve(plan: Arc<Plan>, source: Source) -> Result<(), ServeProblem> {
    let mut signals = Signals::new()?;
    let entrance = Entrance::open(&plan.admin.socket).await?;
    // It listens before an app is started: a port that is taken costs no process.
    let proxy = Proxy::start(plan.clone()).await?;
    let options = Options { drain: plan.drain, echo: true };
    let (supervisor, wishes) = Supervisor::start(&plan.apps, options).map_err(ServeProblem::Supervisor)?;
    let mut granting = JoinSet::new();
    granting.spawn_local(grant(proxy.clone(), wishes));
    let (plan, in_force) = watch::channel(plan);
    let (reload, wanted) = mpsc::channel(RELOADS_MAX);
    let mut reloading = JoinSet::new();
    let reloader = Reloader { source, proxy: proxy.clone(), supervisor: supervisor.clone(), plan };
    reloading.spawn_local(reloader.run(wanted));
    let seen = Seen {
        proxy: proxy.clone(),
        supervisor: supervisor.clone(),
        plan: in_force.clone(),
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
    tracing::info!(?deadline, "leaving: no new connections, what runs may finish");
    leave(&proxy, &supervisor, signals).await;
    answering.shutdown().await;
    granting.shutdown().await;
    Ok(())
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
    tracing::info!("ended");
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
        let Some(path) = admin::default_path() else {
            tracing::warn!(
                "no verb can reach this tidelock: set $XDG_RUNTIME_DIR, or `admin.socket` in the file"
            );
            return Self::None;
        };
        match Socket::bind(&path).await {
            Ok(socket) => Self::Open(socket),
            Err(problem @ SocketProblem::Taken { .. }) => {
                tracing::warn!("no verb can reach this tidelock until the other one ends: {problem}");
                Self::Waiting(path)
            }
            Err(problem) => {
                tracing::warn!("no verb can reach this tidelock: {problem}");
                Self::None
            }
        }
    }

    /// Lets verbs in for as long as this is polled.
    async fn answer(self, seen: Seen) {
        let socket = match self {
            Self::Open(socket) => socket,
            Self::Waiting(path) => until_free(&path).await,
            Self::None => return,
        };
        tracing::info!(socket = %socket.path().display(), "verbs are taken");
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
