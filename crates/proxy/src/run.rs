//! Starts the data plane and ends it: the workers' threads, and the control thread's tasks, which accept, resolve,
//! probe and sweep.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::plan::Plan;
use config::roster::Roster;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::access;
use crate::drain::Drain;
use crate::listener::{self, Workers};
use crate::record::{Counters, Counts};
use crate::shared::{Shared, Snapshot};
use crate::tls::TlsProblem;
use crate::upstream::health::{Fallen, probe_fallen};
use crate::upstream::resolve::{self, resolve};
use crate::worker;

/// A running data plane. Lives on the control thread, inside a local runtime.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    log: access::Writer,
    acceptors: JoinSet<()>,
    workers: Vec<JoinHandle<()>>,
    housekeeping: JoinSet<()>,
}

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartProblem {
    /// Certificates or keys that cannot be used, all of them.
    #[error("{}", join_lines(.0))]
    Tls(Vec<TlsProblem>),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {error}{}", listen_hint(.error))]
    Listen {
        /// As in the plan.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log: {0}")]
    Log(io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

fn join_lines(problems: &[TlsProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it (`ss -ltnp` shows which)",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has it",
        _ => "",
    }
}

impl Proxy {
    /// Starts to serve `plan`. Everything that can fail does so before the first connection is accepted. Must be
    /// called inside a tokio `LocalRuntime`, whose thread becomes the control thread.
    pub async fn start(plan: Arc<Plan>) -> Result<Self, StartProblem> {
        let snapshot = Snapshot::new(plan.clone()).map_err(StartProblem::Tls)?;
        let log = access::Writer::start(&plan.log).map_err(StartProblem::Log)?;
        let bound = plan.listens.iter().map(|listen| {
            listener::bind(listen).map_err(|error| StartProblem::Listen { address: listen.address, error })
        });
        let bound: Vec<_> = bound.collect::<Result<_, _>>()?;
        let (fallen, to_probe) = Fallen::channel();
        let counters: Vec<_> =
            (0..worker_count(plan.workers)).map(|_| Arc::new(Counters::default())).collect();
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(snapshot),
            fallen,
            drain: Drain::new(),
            counters,
        });
        let is_complete = publish_rosters(&shared).await;
        let (doors, workers) = start_workers(&shared, &log).map_err(StartProblem::Thread)?;
        let mut housekeeping = JoinSet::new();
        housekeeping.spawn_local(probe_fallen(to_probe));
        housekeeping.spawn_local(sweep_registries(shared.clone()));
        if !is_complete {
            housekeeping.spawn_local(resolve_the_rest(shared.clone()));
        }
        let permits = Arc::new(Semaphore::new(connections_max(plan.limits.connections_max)));
        let workers_for_accept = Workers { doors, permits };
        let mut acceptors = JoinSet::new();
        for bound in bound {
            acceptors.spawn_local(listener::accept(bound, workers_for_accept.clone(), shared.drain.listen()));
        }
        tracing::info!(workers = workers.len(), "ready");
        Ok(Self { shared, log, acceptors, workers, housekeeping })
    }

    /// What each worker has counted, in their order.
    pub fn counts(&self) -> Vec<Counts> {
        self.shared.counters.iter().map(|counters| counters.read()).collect()
    }

    /// Opens the access log again at its path.
    pub fn reopen_log(&self) {
        self.log.reopen();
    }

    /// Accepts no more. What was accepted is answered, what runs may finish within `patience`.
    pub fn leave(&self, patience: Duration) {
        self.shared.drain.leave(Instant::now() + patience);
    }

    /// A handle that can move the deadline while [`Proxy::ended`] waits for it.
    pub fn hurry(&self) -> Hurry {
        Hurry(self.shared.clone())
    }

    /// Waits, after [`Proxy::leave`], until everything has ended.
    pub async fn ended(mut self) {
        while self.acceptors.join_next().await.is_some() {}
        // Its threads end by themselves, in time; waiting for them must not hold up the control thread's tasks.
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                if worker.join().is_err() {
                    tracing::error!("a worker panicked");
                }
            }
        });
        let _ = joined.await;
        self.housekeeping.shutdown().await;
        self.log.finish();
    }
}

/// Moves the deadline of a proxy that leaves.
#[derive(Debug)]
pub struct Hurry(Arc<Shared>);

impl Hurry {
    /// What runs may finish within `patience` from now, whatever was said before.
    pub fn leave(&self, patience: Duration) {
        self.0.drain.leave(Instant::now() + patience);
    }
}

/// Reads the certificates and keys that `plan` names, and tells all that is wrong with them.
pub fn check_certificates(plan: &Plan) -> Result<(), Vec<TlsProblem>> {
    crate::tls::load_all(&plan.listens).map(drop)
}

type Doors = Vec<(mpsc::Sender<worker::Incoming>, Arc<Counters>)>;

fn start_workers(shared: &Arc<Shared>, log: &access::Writer) -> io::Result<(Doors, Vec<JoinHandle<()>>)> {
    let mut doors = Vec::new();
    let mut threads = Vec::new();
    for (index, counters) in shared.counters.iter().enumerate() {
        let (door, incoming) = mpsc::channel(INCOMING_MAX);
        let (shared, counters) = (shared.clone(), counters.clone());
        let lines = log.lines(counters.clone());
        doors.push((door, counters.clone()));
        let thread = std::thread::Builder::new().name(format!("worker-{index}"));
        threads.push(thread.spawn(move || worker::run(shared, lines, counters, incoming))?);
    }
    Ok((doors, threads))
}

/// Looks up every name and publishes the nodes. `false` if a name has no address yet.
async fn publish_rosters(shared: &Shared) -> bool {
    let snapshot = shared.snapshot.load_full();
    let mut rosters: Vec<Roster> = Vec::new();
    let mut is_complete = true;
    for upstream in &snapshot.upstreams {
        let resolved = resolve(&upstream.plan.nodes).await;
        is_complete &= resolved.is_complete;
        rosters.push(resolved.roster);
    }
    let is_news = snapshot.upstreams.iter().zip(&rosters).any(|(upstream, roster)| {
        upstream.nodes.len() != roster.nodes.len()
            || upstream.nodes.iter().zip(&roster.nodes).any(|(node, entry)| node.roster != *entry)
    });
    if is_news {
        shared.snapshot.store(Arc::new(snapshot.with_rosters(&rosters)));
    }
    is_complete
}

async fn resolve_the_rest(shared: Arc<Shared>) {
    loop {
        sleep(resolve::AGAIN).await;
        if publish_rosters(&shared).await {
            return;
        }
    }
}

async fn sweep_registries(shared: Arc<Shared>) {
    let mut tick = interval(SWEEP_EVERY);
    loop {
        let now = tick.tick().await;
        for upstream in &shared.snapshot.load_full().upstreams {
            upstream.registry.sweep(now);
        }
    }
}

/// One for each core that this process may use: affinity and the cgroup's quota are respected.
fn worker_count(workers: Option<NonZeroUsize>) -> usize {
    workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

/// Each connection needs a file, and its tunnel or exchange another one; some are left for everything else.
fn connections_max(limit: usize) -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    let affordable = usize::try_from(files.saturating_sub(FILES_RESERVED) / 2).unwrap_or(usize::MAX).max(1);
    let connections = if limit == 0 { affordable } else { limit.min(affordable) };
    if limit > affordable {
        tracing::warn!(limit, affordable, "connections_max is more than the open-file limit allows");
    }
    connections.min(Semaphore::MAX_PERMITS)
}

/// Connections on their way to one worker.
const INCOMING_MAX: usize = 1024;
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Listens, logs, certificates, epolls, and probes.
const FILES_RESERVED: u64 = 64;
