//! Starts the data plane and ends it: the workers' threads, and the control thread's tasks, which resolve, probe and
//! sweep.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use config::plan::{Listen, Plan};
use config::roster::Roster;
use fastrand::Rng;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::control::certificates::{FirstRead, load_all};
use crate::control::drain::node::{Pace, empty, signal_streams};
use crate::control::drain::rebalance;
use crate::control::drain::schedule::Schedule;
use crate::control::health::{ask_all, run_health};
use crate::control::instances;
use crate::control::listen_sockets::ListenSockets;
use crate::control::proxy::{Inner, Listening, Proxy, StartProblem};
use crate::net::file_limit::{files_max, raise_file_limit};
use crate::net::memory::{Memory, watch_memory};
use crate::net::passwords::Verifier;
use crate::net::places::Places;
use crate::net::rates::Rates;
use crate::net::shared_rates::SharedRates;
use crate::net::splice::{FILES_A_PIPE, pipes_max};
use crate::observe::access;
use crate::observe::counters::Counters;
use crate::observe::lifecycle::Drain;
use crate::observe::routes::RouteNames;
use crate::state::open_files::kept_max;
use crate::state::shared::{ListenId, ListenNow, Shared, Sides, Snapshot};
use crate::upstream::Upstream;
use crate::upstream::close_signal::{CloseOrder, CloseReason};
use crate::upstream::health::ProbeQueue;
use crate::upstream::names::Names;
use crate::upstream::node::{Node, NodeNumber};
use crate::worker;
use crate::worker::listener::{self, Bound, WorkerMessage, Workers};

type Mailboxes = Vec<(mpsc::Sender<WorkerMessage>, Arc<Counters>)>;

impl Proxy {
    /// Makes ready to serve `plan`, with what was read `first` of it, on sockets that are `inherited` where there are any for a
    /// listen. Everything that can fail does so here; connections wait in the kernel's queue until [`Prepared::accept`]. Must be
    /// called inside a tokio `LocalRuntime`, whose thread becomes the control thread.
    ///
    /// # Errors
    /// If a certificate, the access log, an address or a thread cannot be had; the problem names which, and why.
    ///
    /// # Cancel safety
    /// Not cancel-safe: workers that have been started go on.
    pub async fn prepare(
        plan: Arc<Plan>,
        first: &FirstRead,
        mut inherited: ListenSockets,
    ) -> Result<Prepared, StartProblem> {
        let tls = load_all(&plan, &first.0).map_err(StartProblem::Tls)?;
        let log_unwritten = access::Unwritten::default();
        let log = access::Writer::start(&plan.log, &log_unwritten).map_err(StartProblem::Log)?;
        let count = worker_count(plan.workers);
        let bind = |listen: &Listen| {
            let bound = match inherited.take(listen) {
                Some(sockets) => listener::take(listen, sockets),
                None => listener::bind(listen, listen.reuse_port, count)
                    .and_then(|bound| bound.listen().map(|()| bound)),
            };
            bound.map_err(|error| StartProblem::Listen { address: listen.address, error })
        };
        let bound: Vec<_> = plan.listens.iter().map(bind).collect::<Result<_, _>>()?;
        let listens: Vec<_> = (0..)
            .zip(&plan.listens)
            .zip(tls.listens)
            .map(|((id, listen), tls)| ListenNow::new(ListenId(id), listen, tls))
            .collect();
        raise_file_limit();
        let (probe_queue, to_probe) = ProbeQueue::channel();
        let shared = Arc::new(Shared {
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::new(
                plan.clone(),
                Sides { listens: listens.clone(), nodes: tls.nodes },
            ))),
            log: Arc::new(ArcSwap::from_pointee(log.sink())),
            log_unwritten,
            probe_queue,
            drain: Drain::new(),
            memory: Memory::new(),
            instances: Mutex::default(),
            rates: Rates::new(),
            shared_rates: SharedRates::default(),
            verifier: Verifier::new(),
            counters: (0..count).map(|_| Arc::new(Counters::new(plan.admin.listen.is_some()))).collect(),
            route_names: RouteNames::default(),
            gone: Mutex::default(),
        });
        let names = Names::new(plan.resolver.clone());
        names.learn(&plan).await;
        let rosters = names.rosters(&plan.upstreams);
        let first = shared.snapshot.load().with_rosters(&rosters);
        shared.publish(first);
        let (mailboxes, threads) = start_workers(&shared).map_err(StartProblem::Thread)?;
        let places = Places::new(connections_max(plan.limits.connections_max, count));
        let proxy = Self {
            inner: Rc::new(Inner {
                shared,
                log: RefCell::new(Some(log)),
                listening: RefCell::default(),
                next_listen: Cell::new(listens.len() as u64),
                handing_over: RefCell::default(),
                places: places.clone(),
                workers: RefCell::new(Some(Workers::new(mailboxes, places))),
                threads: RefCell::new(threads),
                emptying: RefCell::default(),
                names,
                housekeeping: RefCell::default(),
            }),
        };
        proxy.inner.shared.share_rates(&plan, tls.redis);
        let sharing = proxy.inner.shared.clone();
        proxy.spawn_housekeeping(async move { sharing.shared_rates.look_after().await });
        proxy.spawn_housekeeping(run_health(proxy.inner.shared.clone(), to_probe));
        let planned = proxy.inner.shared.clone();
        proxy.spawn_housekeeping(watch_memory(planned.memory.clone(), move || {
            planned.snapshot.load().plan.limits.memory
        }));
        proxy.spawn_housekeeping(sweep_registries(proxy.inner.shared.clone()));
        proxy.spawn_housekeeping(rebalance::run(proxy.inner.shared.clone()));
        proxy.spawn_housekeeping(watch_certificates(proxy.inner.shared.clone()));
        proxy.spawn_housekeeping(follow_names(proxy.clone()));
        let bound = listens.iter().map(|listen| listen.id).zip(bound).collect();
        Ok(Prepared { proxy, bound })
    }

    /// Opens the access log again at its path.
    pub fn reopen_log(&self) {
        if let Some(log) = &*self.inner.log.borrow() {
            log.reopen();
        }
    }

    /// Says to those who ask that it is not ready any more, and serves on: balancers in front take it out before it ends.
    pub fn announce(&self) {
        self.inner.shared.drain.announce();
    }

    /// Accepts no more. What was accepted is answered, tunnels get a turn each, and what runs may finish within
    /// `timeout`; said again, it moves the deadline.
    pub fn leave(&self, timeout: Duration) {
        if let Some((window, closed_by)) = self.begin_to_leave(timeout) {
            self.close_sessions_of_apps(window, closed_by);
        }
    }

    /// The same for a proxy whose sockets and apps another one has taken over: sessions that poll go on there, those of the
    /// apps too.
    pub fn leave_to_successor(&self, timeout: Duration) {
        self.begin_to_leave(timeout);
    }

    /// Within what time tunnels are told to go, and when what polls is closed at the latest; `None` where it has
    /// begun before, and only the deadline moves.
    fn begin_to_leave(&self, timeout: Duration) -> Option<(Duration, Instant)> {
        let until = Instant::now() + timeout;
        let was_leaving = self.inner.shared.drain.is_leaving();
        self.inner.shared.drain.leave(until);
        if was_leaving {
            return None;
        }
        for Listening { stop, .. } in self.inner.listening.take() {
            stop.send_replace(true);
        }
        let window =
            self.inner.shared.snapshot.load().plan.drain.window.min(timeout.mul_f64(WINDOW_SHARE_MAX));
        let closed_by = until - timeout.mul_f64(CLOSE_SHARE).min(CLOSE_MAX);
        self.spawn_housekeeping(send_tunnels_away(self.inner.shared.clone(), window, closed_by));
        Some((window, closed_by))
    }

    /// The polling sessions of our own apps end with us, unlike those of other nodes, which whoever takes over finds by
    /// their tags: they are closed at their turns. The apps answer whoever is here until the end, so that they are not told
    /// to drain.
    fn close_sessions_of_apps(&self, window: Duration, until: Instant) {
        let snapshot = self.inner.shared.snapshot.load_full();
        let deadline = until.saturating_duration_since(Instant::now());
        for upstream in &snapshot.upstreams {
            for node in upstream.nodes().filter(|node| node.instance.is_some()) {
                let (node, session_table) = (node.clone(), upstream.session_table.clone());
                let pace = Pace { window, deadline, reason: CloseReason::GoingAway, is_stopped: false };
                self.spawn_housekeeping(async move {
                    // Nothing calls it off.
                    let (_owner, called_off) = oneshot::channel();
                    empty(node, session_table, pace, called_off).await;
                });
            }
        }
    }

    /// Waits, after [`Proxy::leave`], until everything has ended.
    ///
    /// # Cancel safety
    /// Not to be called again once it was dropped: it has taken the threads that it waited for.
    pub async fn ended(&self) {
        self.inner.handing_over.take().join_all().await;
        drop(self.inner.workers.take());
        // The threads end by themselves, in time; waiting for them must not hold up the control thread's tasks.
        let threads = self.inner.threads.take();
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker panicked");
                }
            }
        });
        // It is cancelled only with the runtime, and then nobody waits for it.
        let _ = joined.await;
        self.inner.housekeeping.take().shutdown().await;
        self.inner.shared.log.store(Arc::new(access::Writer::nothing()));
        let log = self.inner.log.take();
        if let Some(log) = log {
            log.finish(LOG_TIMEOUT).await;
        }
    }

    /// Publishes the nodes that names resolve to now, if they are others; those that are gone are emptied.
    fn publish_rosters(&self) {
        let shared = &self.inner.shared;
        let before = shared.snapshot.load_full();
        let mut rosters = self.inner.names.rosters(&before.plan.upstreams);
        instances::fill_in(&mut rosters, &before.plan.upstreams, &shared.instances());
        let mut pairs = before.upstreams.iter().zip(&rosters);
        let is_same = |(upstream, roster): (&Upstream, &Roster)| {
            upstream.members.iter().map(|member| &member.entry).eq(&roster.nodes)
        };
        if pairs.all(is_same) {
            return;
        }
        let before = shared.publish(before.with_rosters(&rosters));
        self.drain_removed(&before);
    }

    /// Looks whether the nodes that names mean now are there, so that those that they meant before can go. Whether any can.
    async fn prove_newcomers(&self) -> bool {
        let (names, snapshot) = (&self.inner.names, self.inner.shared.snapshot.load_full());
        let mut is_news = false;
        for (question, addresses) in names.unproven(&snapshot.plan.upstreams) {
            let nodes = snapshot.upstreams.iter().flat_map(|upstream| &upstream.members);
            let nodes: Vec<_> =
                nodes.map(|member| &member.node).filter(|node| addresses.contains(node.address())).collect();
            if !nodes.iter().any(|node| node.is_proven()) {
                ask_all(nodes.iter().take(PROVED_AT_ONCE).copied(), &self.inner.shared).await;
            }
            if nodes.iter().any(|node| node.is_proven()) {
                names.trust(&question);
                is_news = true;
            }
        }
        is_news
    }
}

/// A proxy that does not accept yet. Dropping it closes its sockets.
#[derive(Debug)]
pub struct Prepared {
    proxy: Proxy,
    bound: Vec<(ListenId, Bound)>,
}

impl Prepared {
    /// The proxy, for what has to be known before the first connection.
    pub fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    /// Accepts connections from now on.
    pub fn accept(self) -> Proxy {
        let Self { proxy, bound } = self;
        let listening = bound.into_iter().map(|(id, bound)| proxy.accept_on(bound, id)).collect();
        proxy.inner.listening.replace(listening);
        let (workers, connections_max) = (proxy.inner.shared.counters.len(), proxy.inner.places.all());
        tracing::info!(event = "ready", workers, connections_max, "ready");
        proxy
    }
}

fn start_workers(shared: &Arc<Shared>) -> io::Result<(Mailboxes, Vec<JoinHandle<()>>)> {
    let mut mailboxes = Vec::new();
    let mut threads = Vec::new();
    for (index, counters) in shared.counters.iter().enumerate() {
        let (mailbox, messages) = mpsc::channel(MESSAGES_MAX);
        let (shared, counters) = (shared.clone(), counters.clone());
        mailboxes.push((mailbox, counters.clone()));
        let thread = std::thread::Builder::new().name(format!("worker-{index}"));
        threads.push(thread.spawn(move || worker::run(shared, counters, messages))?);
    }
    Ok((mailboxes, threads))
}

/// Tells every tunnel and every event stream its turn, also those that are opened by what still runs.
async fn send_tunnels_away(shared: Arc<Shared>, window: Duration, until: Instant) {
    let mut schedule = Schedule::new(Instant::now(), window, Rng::new());
    let mut next: HashMap<NodeNumber, u64> = HashMap::new();
    let mut next_streams: HashMap<NodeNumber, u64> = HashMap::new();
    loop {
        let now = Instant::now();
        let snapshot = shared.snapshot.load_full();
        let nodes = || snapshot.upstreams.iter().flat_map(Upstream::nodes);
        let from = |node: &Node, next: &HashMap<_, _>| next.get(&node.number).copied().unwrap_or(0);
        let count = nodes().map(|node| node.tunnels.count_from(from(node, &next))).sum();
        let mut turns = schedule.turns(count, now).into_iter();
        let mut told = 0;
        for node in nodes() {
            let order = || {
                told += 1;
                CloseOrder { at: turns.next().unwrap_or(now), until, reason: CloseReason::GoingAway }
            };
            next.insert(node.number, node.tunnels.signal_from(from(node, &next), order));
        }
        for node in nodes() {
            let from = from(node, &next_streams);
            let turns = schedule.turns(node.event_streams.count_from(from), now);
            let order = |at: Option<Instant>| CloseOrder {
                at: at.unwrap_or(now),
                until,
                reason: CloseReason::GoingAway,
            };
            next_streams.insert(node.number, signal_streams(node, from, turns, order));
        }
        if told > 0 {
            tracing::info!(event = "tunnels_told", tunnels = told, ?window, "told tunnels when to go");
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Looks whether certificates were renewed, and once a day warns of those that were not.
async fn watch_certificates(shared: Arc<Shared>) {
    let mut tick = interval(CERTIFICATES_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut warned_at = Instant::now();
    loop {
        let now = tick.tick().await;
        let stores: Vec<_> = shared.snapshot.load().certificates().cloned().collect();
        if stores.is_empty() {
            continue;
        }
        let is_day_over = now - warned_at >= DAY;
        if is_day_over {
            warned_at = now;
        }
        let look = move || {
            for store in stores {
                store.look_again();
                if is_day_over {
                    store.warn();
                }
            }
        };
        // A disk may be slow, or a network away.
        if tokio::task::spawn_blocking(look).await.is_err() {
            tracing::error!("looking at the certificates has failed");
        }
    }
}

/// Cancelled with the housekeeping, which ends before the names do.
async fn follow_names(proxy: Proxy) {
    let mut news = proxy.inner.names.news();
    // What came before this began is published too.
    news.mark_changed();
    loop {
        let changed = match proxy.inner.names.keeps_some() {
            true => timeout(PROVE_EVERY, news.changed()).await.unwrap_or(Ok(())),
            false => news.changed().await,
        };
        if changed.is_err() {
            return;
        }
        proxy.publish_rosters();
        if proxy.prove_newcomers().await {
            proxy.publish_rosters();
        }
    }
}

async fn sweep_registries(shared: Arc<Shared>) {
    let mut tick = interval(SWEEP_EVERY);
    loop {
        let now = tick.tick().await;
        for upstream in &shared.snapshot.load_full().upstreams {
            upstream.session_table.sweep(now);
        }
    }
}

/// One for each core that this process may use: affinity and the cgroup's quota are respected.
fn worker_count(workers: Option<NonZeroUsize>) -> usize {
    workers.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

/// Each connection needs a file, and its tunnel or exchange another one; some are left for everything else.
pub(crate) fn connections_max(limit: usize, workers: usize) -> usize {
    let files = files_max();
    let pipes = workers * pipes_max(files, workers) * FILES_A_PIPE;
    let kept = workers * kept_max(files, workers);
    let reserved = FILES_RESERVED.saturating_add(2 * workers as u64).saturating_add((pipes + kept) as u64);
    let affordable = usize::try_from(files.saturating_sub(reserved) / 2).unwrap_or(usize::MAX).max(1);
    let connections = if limit == 0 { affordable } else { limit.min(affordable) };
    if limit > affordable {
        tracing::warn!(limit, affordable, "connections_max is more than the open-file limit allows");
    }
    connections.min(Semaphore::MAX_PERMITS)
}

/// On their way to one worker, nearly all of them connections.
const MESSAGES_MAX: usize = 1024;
/// While nodes that a name meant before are kept.
const PROVE_EVERY: Duration = Duration::from_millis(500);
/// Nodes of one name; the others are proved by what they are sent.
const PROVED_AT_ONCE: usize = 16;
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// What was renewed is served within two seconds, though it takes two looks where one came between two writes.
const CERTIFICATES_EVERY: Duration = Duration::from_millis(700);
const DAY: Duration = Duration::from_secs(86_400);
/// Listens, logs, certificates, epolls, probes, verbs and the file. The epoll of parked connections and tunnels, one a
/// worker, and the pipes that bodies are spliced through are counted beside it.
const FILES_RESERVED: u64 = 64;
/// The end of that time belongs to the Closes of those who have not answered theirs.
const CLOSE_SHARE: f64 = 0.1;
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// At the end, for the last lines of the access log.
const LOG_TIMEOUT: Duration = Duration::from_secs(2);
/// While the proxy leaves, tunnels that are opened late are found so soon.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Of the time there is to leave, tunnels' turns take at most so much: the last one must be able to say Close.
const WINDOW_SHARE_MAX: f64 = 0.8;
