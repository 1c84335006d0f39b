//! One worker: a thread with a runtime of its own, its connections, its pool of idle origin connections and its
//! buffers. Nothing here is shared with another worker but what `Shared` holds.

pub(crate) mod listener;
pub(crate) mod conversation;
pub(crate) mod park;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use config::plan::Scheme;
use tokio::net::TcpStream;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::coop::unconstrained;
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use wire::forward::ClientEnd;

use crate::net::buffers::Buffers;
use crate::net::clock::{Clock, by_clock};
use crate::net::files::files_max;
use crate::net::pace::{Lived, Pace};
use crate::net::pour::{Pipes, pipes_max};
use crate::net::seats::{Seated, Seats};
use crate::net::stream::Stream;
use crate::net::stream::quickness::Quickness;
use crate::net::tls::ServerTls;
use crate::observe::access::{FLUSH_EVERY, Lines};
use crate::observe::lifecycle::{Live, Phase};
use crate::observe::record::Counters;
use crate::request::reply::Redirect;
use crate::state::shared::{ListenId, Shared, Snapshot};
use crate::tunnel::{self, Reactor, Upgraded};
use crate::upstream::balance::Cursors;
use crate::upstream::pool::Pool;
use crate::worker::conversation::{Client, Ended, PLAIN_SCHEME, converse, linger};
use crate::worker::listener::Acceptor;
use crate::worker::park::{Lot, Resting};

/// A snapshot as a request holds it: counted by the worker alone, whatever other workers do.
pub(crate) type Current = Rc<Arc<Snapshot>>;

/// The worker's own handle on the newest snapshot, so that a request takes it without touching another core's memory.
#[derive(Debug)]
struct Newest {
    /// Knows by a look at one pointer whether there is another one.
    cache: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    current: Current,
}

/// What a worker's connections share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) clock: Rc<Clock>,
    pub(crate) buffers: Buffers,
    pub(crate) pipes: Pipes,
    pub(crate) pool: Pool,
    pub(crate) cursors: Cursors,
    pub(crate) lines: Lines,
    pub(crate) lot: Lot,
    pub(crate) seats: Seats,
    counters: Arc<Counters>,
    pub(crate) reactor: Reactor,
    /// Its place among the workers.
    pub(crate) slot: usize,
    newest: RefCell<Newest>,
    /// So many requests wait for the first instance of an app.
    pub(crate) await_instances: Cell<usize>,
    /// So many wait for a node that can be reached.
    pub(crate) await_nodes: Cell<u32>,
    leaving: Notify,
    /// How slow clients may be, by the plan in force.
    pub(crate) pace: Cell<Pace>,
    pub(crate) lived: Lived,
    quickness: Quickness,
}

/// What comes in through a worker's door.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Accept on another listen, until told to stop.
    Accept(Acceptor),
    /// Serve a connection that another worker has accepted.
    Serve(Incoming),
    /// All places are taken, and the worker that needs one has nobody who could go.
    MakeRoom,
}

/// A connection that was just accepted.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) tcp: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    /// The listen it came in on, and its port.
    pub(crate) listen: ListenId,
    pub(crate) port: u16,
    pub(crate) live: Live,
}

impl Worker {
    fn new(shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        let mut cache = Cache::new(shared.snapshot.clone());
        let current = Rc::new(cache.load().clone());
        let limits = current.plan.limits;
        let pace = Pace::of(&limits, &current.plan.timeouts);
        let slot = shared.counters.iter().position(|known| Arc::ptr_eq(known, &counters)).unwrap_or_default();
        let clock = Rc::new(Clock::new());
        Self {
            slot,
            clock: clock.clone(),
            buffers: Buffers::new(limits.buffer_bytes),
            pipes: Pipes::new(pipes_max(files_max(), shared.counters.len())),
            lot: Lot::new(counters.clone()).expect(EPOLLS_WERE_THERE),
            seats: Seats::default(),
            counters: counters.clone(),
            reactor: Reactor::new().expect(EPOLLS_WERE_THERE),
            pool: Pool::new(limits.origin_idle_max),
            cursors: Cursors::default(),
            lines: Lines::new(shared.log.clone(), counters, clock),
            shared,
            newest: RefCell::new(Newest { cache, current }),
            await_instances: Cell::new(0),
            await_nodes: Cell::new(0),
            leaving: Notify::new(),
            pace: Cell::new(pace),
            lived: Lived::since(Instant::now()),
            quickness: Quickness::default(),
        }
    }

    /// Everything as it is now. A request asks once.
    pub(crate) fn snapshot(&self) -> Current {
        let Newest { cache, current } = &mut *self.newest.borrow_mut();
        let newest = cache.load();
        if !Arc::ptr_eq(current, newest) {
            self.buffers.resize(newest.plan.limits.buffer_bytes);
            self.pool.resize(newest.plan.limits.origin_idle_max);
            self.pace.set(Pace::of(&newest.plan.limits, &newest.plan.timeouts));
            *current = Rc::new(newest.clone());
        }
        current.clone()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.drain.is_leaving()
    }

    /// Ready, and its task woken, when the proxy begins to leave.
    pub(crate) fn leaving(&self) -> Notified<'_> {
        self.leaving.notified()
    }

    /// Has somebody go whose place is wanted: who rests longest, or else who has not said a byte for longest. Whether there
    /// was anybody.
    pub(crate) fn make_room(&self) -> bool {
        let gone = [Seated::Resting, Seated::Silent]
            .into_iter()
            .find(|&who| self.lot.clear_one(who) || self.seats.clear_one(who));
        if let Some(who) = gone {
            self.counters.count_displaced(who);
        }
        gone.is_some()
    }

    /// How long an answer of ours may take to be taken.
    pub(crate) fn body_patience(&self) -> Duration {
        self.snapshot().plan.timeouts.body
    }
}

/// Runs a worker on this thread until its connections have ended, or until the proxy's time is up.
pub(crate) fn run(shared: Arc<Shared>, counters: Arc<Counters>, errands: mpsc::Receiver<Errand>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect(EPOLLS_WERE_THERE);
    let phase = shared.drain.listen();
    let worker = Rc::new(Worker::new(shared, counters.clone()));
    runtime.block_on(async {
        // The housekeeping ends with the runtime, which owns it.
        spawn_local(keep_house(worker.clone()));
        spawn_local(tell_leaving(worker.clone(), phase.clone()));
        spawn_local(park::attend(worker.clone()));
        // It divides its time by itself.
        spawn_local(unconstrained(tunnel::attend(worker.clone())));
        run_errands(&worker, errands).await;
        see_out(&counters, phase).await;
    });
    // What is still running is dropped here, and its sockets are closed.
    worker.reactor.clear();
    drop(runtime);
    worker.lines.flush();
}

/// Until nobody can come in any more: the control thread has let go of the doors, and every acceptor of every worker has
/// ended, for each of them holds them all.
async fn run_errands(worker: &Rc<Worker>, mut errands: mpsc::Receiver<Errand>) {
    while let Some(errand) = errands.recv().await {
        match errand {
            Errand::Accept(acceptor) => drop(spawn_local(acceptor.run(worker.clone()))),
            Errand::Serve(incoming) => take_in(incoming, worker),
            Errand::MakeRoom => drop(worker.make_room()),
        }
    }
}

/// Serves a connection that was just accepted.
pub(crate) fn take_in(incoming: Incoming, worker: &Rc<Worker>) {
    let Incoming { tcp, peer, listen, port, live } = incoming;
    let snapshot = worker.snapshot();
    // Unless two reloads went by while this waited for its worker.
    let Some(listen) = snapshot.listen(listen) else { return };
    let redirects = match listen.scheme {
        Scheme::RedirectToHttps { port } => Some(Redirect { port }),
        Scheme::Plain | Scheme::Tls(_) => None,
    };
    let is_trusted = snapshot.is_trusted(peer.ip());
    let client_on = move |stream, scheme, worker: &Rc<Worker>| {
        Client::new(stream, ClientEnd::new(peer.ip(), scheme, port, is_trusted), redirects, worker)
    };
    let Some(tls) = &listen.tls else {
        let Some((stream, said)) = worker.quickness.hear(tcp, &worker.buffers) else { return };
        let mut client = client_on(stream, PLAIN_SCHEME, worker);
        client.inbound = said;
        return begin((client, live), worker);
    };
    let (place, limits) = (live.place(), &snapshot.plan.limits);
    if let Err(refused) = place.places().may_shake_hands(place.client(), limits) {
        return worker.counters.count_refused(refused);
    }
    let Ok(tcp) = TcpStream::from_std(tcp) else { return };
    let handshake = handshake(tcp, tls.clone(), peer.ip(), snapshot.plan.timeouts.head);
    // A task of its own, because a TLS handshake is big and short.
    let (worker, clock) = (worker.clone(), worker.clock.clone());
    let handshake = Box::pin(async move {
        let seat = worker.seats.take(Seated::Silent);
        let shaken = tokio::select! {
            biased;
            shaken = handshake => shaken,
            () = poll_fn(|cx| seat.poll_wanted(cx)) => None,
        };
        drop(seat);
        if let Some(stream) = shaken {
            begin((client_on(stream, "https", &worker), live), &worker);
        }
    });
    spawn_local(by_clock(clock, handshake));
}

/// Goes on with a connection that was parked and waits for its next request until then.
pub(crate) fn take_back(resting: Resting, until: Instant, worker: &Rc<Worker>) {
    if let Some(client) = Client::back(resting, until, worker) {
        begin(client, worker);
    }
}

fn begin(client: (Client, Live), worker: &Rc<Worker>) {
    let serving = Box::pin(serve(client, worker.clone()));
    spawn_local(by_clock(worker.clock.clone(), serving));
}

/// Waits until the last connection has ended, or until the time is up.
async fn see_out(counters: &Counters, mut phase: watch::Receiver<Phase>) {
    while counters.live.load(Relaxed) > 0 {
        let until = match *phase.borrow_and_update() {
            Phase::Leaving { until } => until,
            // The acceptors are gone without a word: there is nothing to wait for but the connections.
            Phase::Serving => Instant::now() + Duration::from_secs(1),
        };
        tokio::select! {
            () = counters.ended.notified() => {}
            _ = phase.changed() => {}
            () = sleep_until(until) => {
                tracing::warn!(connections = counters.live.load(Relaxed), "time is up; closing what is left");
                return;
            }
        }
    }
}

async fn tell_leaving(worker: Rc<Worker>, mut phase: watch::Receiver<Phase>) {
    while phase.changed().await.is_ok() {
        worker.leaving.notify_waiters();
    }
}

async fn keep_house(worker: Rc<Worker>) {
    let mut tick = interval(FLUSH_EVERY);
    loop {
        worker.pool.sweep(tick.tick().await);
        worker.lines.flush();
    }
}

/// One connection, from the moment from which its client speaks HTTP, or from its end of a rest.
#[expect(clippy::manual_async_fn, reason = "those keep what they were called with for life")]
pub(crate) fn serve((mut client, live): (Client, Live), worker: Rc<Worker>) -> impl Future<Output = ()> {
    async move {
        match converse(&mut client, &worker).await {
            Ended::Politely => linger(&client, &worker).await,
            Ended::Mutually | Ended::Abruptly => {}
            Ended::Upgraded(origin) => {
                let Client { io, inbound, .. } = client;
                let limits = worker.snapshot().plan.limits;
                let upgraded = Upgraded {
                    client: io.into_stream(),
                    client_early: inbound,
                    origin: *origin,
                    limits,
                    live,
                };
                tunnel::open(upgraded, &worker);
            }
            Ended::Rests => {
                let Some((resting, until)) = client.into_resting(live) else { return };
                if let Err(resting) = worker.lot.park(resting, until) {
                    take_back(resting, until, &worker);
                }
            }
        }
    }
}

/// The TLS handshake, whole and in time.
async fn handshake(tcp: TcpStream, tls: ServerTls, peer: IpAddr, patience: Duration) -> Option<Stream> {
    match timeout(patience, TlsAcceptor::from(tls.0).accept(tcp)).await {
        Ok(Ok(tls)) => Some(Stream::Tls(Box::new(tls))),
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake timed out");
            None
        }
    }
}

/// Of what a worker cannot begin without.
const EPOLLS_WERE_THERE: &str =
    "a runtime needs an epoll and an event file, which were there for its siblings";
