//! One worker: a thread with a runtime of its own, its connections, its pool of idle origin connections and its
//! buffers. Nothing here is shared with another worker but what `Shared` holds.

pub(crate) mod listener;
mod accept_queue;
pub(crate) mod connection;
mod answer;
mod greeting;
mod tls_handshake;
mod http2;
mod linger;
pub(crate) mod idle;

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::coop::unconstrained;
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, sleep, sleep_until};

use crate::net::clock::by_clock;
use crate::net::epoll::{self, EpollSet, Owner};
use crate::net::memory::Pressure;
use crate::net::seats::Seated;
use crate::observe::access::FLUSH_EVERY;
use crate::observe::counters::Counters;
use crate::observe::lifecycle::Phase;
use crate::request::mirror;
use crate::request::upgrade::Upgraded;
use crate::state::local::Local;
use crate::state::shared::Shared;
use crate::tunnel::{self, Reactor};
use crate::worker::connection::{ClientConnection, Ended, serve_requests};
use crate::worker::greeting::{Greeted, Greeter};
use crate::worker::http2::Http2Client;
use crate::worker::idle::{IdleConnection, IdleSet};
use crate::worker::linger::linger;
use crate::worker::listener::{Acceptor, Incoming, WorkerMessage};

/// The state of one worker thread: what its requests share, and the connections and tunnels that wait without a task of
/// their own.
#[derive(Debug)]
pub(crate) struct Worker {
    local: Rc<Local>,
    epoll_set: Rc<EpollSet>,
    idle_set: Rc<IdleSet>,
    reactor: Rc<Reactor>,
    greeter: Rc<Greeter>,
}

impl Worker {
    fn new(shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        let epoll_set = Rc::new(EpollSet::new().expect(EPOLLS_WERE_THERE));
        let idle_set = Rc::new(IdleSet::new(epoll_set.clone(), counters.clone()));
        let local = Rc::new(Local::new(shared, counters));
        Self {
            idle_set,
            reactor: Rc::new(Reactor::new(epoll_set.clone())),
            greeter: Greeter::new(local.clone()),
            local,
            epoll_set,
        }
    }

    /// Has somebody go whose place is wanted: who rests longest, or else who has not said a byte for longest. Whether there
    /// was anybody.
    fn make_room(&self) -> bool {
        [Seated::Resting, Seated::Silent].into_iter().any(|who| self.close_one(who))
    }

    /// Closes the one of its kind that has waited longest. Whether there was one.
    fn close_one(&self, who: Seated) -> bool {
        let is_gone = self.idle_set.clear_one(who) || self.local.seats.clear_one(who);
        if is_gone {
            self.local.counters.count_displaced(who);
        }
        is_gone
    }
}

/// Runs a worker on this thread until its connections have ended, or until the proxy's time is up.
pub(crate) fn run(shared: Arc<Shared>, counters: Arc<Counters>, messages: mpsc::Receiver<WorkerMessage>) {
    counters.is_in_this_thread();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect(EPOLLS_WERE_THERE);
    let phase = shared.drain.listen();
    let worker = Rc::new(Worker::new(shared, counters.clone()));
    runtime.block_on(async {
        // The housekeeping ends with the runtime, which owns it.
        spawn_local(housekeeping(worker.local.clone()));
        spawn_local(tell_leaving(worker.local.clone(), phase.clone()));
        spawn_local(save_memory(worker.clone()));
        spawn_local(mirror::attend(worker.local.clone()));
        let back = {
            let worker = worker.clone();
            move |resting, until| resume(resting, until, &worker)
        };
        spawn_local(idle::attend(worker.idle_set.clone(), worker.local.clone(), back));
        // They divide their time by themselves.
        spawn_local(unconstrained(tunnel::attend(worker.reactor.clone(), worker.local.clone())));
        spawn_local(unconstrained(attend_to_sockets(worker.clone())));
        run_messages(&worker, messages).await;
        wait_for_connections(&counters, phase).await;
    });
    // What is still running is dropped here, and its sockets are closed.
    worker.reactor.clear();
    drop(runtime);
    worker.local.lines.flush();
}

/// Goes on with the parked connections and the tunnels to whose sockets something has happened.
fn attend_to_sockets(worker: Rc<Worker>) -> impl Future<Output = ()> {
    epoll::attend(worker.epoll_set.clone(), move |all| {
        worker.local.clock.tick();
        for happened in all {
            match happened.owner {
                Owner::Tunnels => worker.reactor.wake(happened, &worker.local),
                Owner::Idle => {
                    if let Some((resting, until)) = worker.idle_set.take_woken(happened) {
                        resume(resting, until, &worker);
                    }
                }
            }
        }
    })
}

/// Until nobody can come in any more: the control thread has let go of the mailboxes, and every acceptor of every worker has
/// ended, for each of them holds them all.
async fn run_messages(worker: &Rc<Worker>, mut messages: mpsc::Receiver<WorkerMessage>) {
    while let Some(message) = messages.recv().await {
        match message {
            WorkerMessage::Accept(acceptor) => accept(acceptor, worker),
            WorkerMessage::Serve(incoming) => greet(incoming, worker),
            WorkerMessage::MakeRoom => drop(worker.make_room()),
        }
    }
}

/// Has an acceptor give its connections to this worker.
fn accept(acceptor: Acceptor, worker: &Rc<Worker>) {
    let (serving, clearing) = (worker.clone(), worker.clone());
    let serve = move |incoming| greet(incoming, &serving);
    let make_room = move || clearing.make_room();
    spawn_local(acceptor.run(worker.local.clone(), serve, make_room));
}

/// Serves a connection that was just accepted.
fn greet(incoming: Incoming, worker: &Rc<Worker>) {
    let serving = worker.clone();
    worker.greeter.greet(incoming, move |client| match client {
        Greeted::Http1(client) => spawn_serve(client, &serving),
        Greeted::Http2(client) => spawn_http2(client, &serving),
    });
}

/// Goes on with a connection that was parked and waits for its next request until then.
fn resume(resting: IdleConnection, until: Instant, worker: &Rc<Worker>) {
    if let Some(client) = ClientConnection::back(resting, until, &worker.local) {
        spawn_serve(client, worker);
    }
}

fn spawn_serve(client: ClientConnection, worker: &Rc<Worker>) {
    let serving = Box::pin(serve(client, worker.clone()));
    spawn_local(by_clock(worker.local.clock.clone(), serving));
}

fn spawn_http2(client: Box<Http2Client>, worker: &Rc<Worker>) {
    let serving = worker.clone();
    let serve = move |stream| spawn_serve(stream, &serving);
    let running = Box::pin(http2::run(client, worker.local.clone(), serve));
    spawn_local(by_clock(worker.local.clock.clone(), running));
}

/// Waits until the last connection has ended, or until the time is up.
async fn wait_for_connections(counters: &Counters, mut phase: watch::Receiver<Phase>) {
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

async fn tell_leaving(worker: Rc<Local>, mut phase: watch::Receiver<Phase>) {
    while phase.changed().await.is_ok() {
        worker.tell_leaving();
    }
}

async fn housekeeping(worker: Rc<Local>) {
    let mut tick = interval(FLUSH_EVERY);
    loop {
        let due = tick.tick().await;
        worker.pool.sweep(due);
        worker.lines.flush();
        worker.counters.beat(due.elapsed());
    }
}

/// Lets go of what rests, for as long as memory is short.
async fn save_memory(worker: Rc<Worker>) {
    let mut pressure = worker.local.shared.memory.listen();
    loop {
        // Its sender lives as long as the workers do.
        if pressure.wait_for(|pressure| *pressure > Pressure::None).await.is_err() {
            return;
        }
        worker.local.buffers.forget();
        let mut rest = (0..CLOSED_AT_ONCE).take_while(|_| worker.close_one(Seated::Resting)).count();
        if worker.local.shared.memory.is_out() {
            worker.local.pool.forget_all();
            rest += (0..CLOSED_AT_ONCE).take_while(|_| worker.close_one(Seated::Silent)).count();
        }
        if rest > 0 {
            tracing::debug!(connections = rest, "closed, for want of memory");
        }
        sleep(SAVE_EVERY).await;
    }
}

/// Serves one connection to its end: from the end of its TLS handshake or of its accept on, or from when it was parked.
#[expect(clippy::manual_async_fn, reason = "those keep what they were called with for life")]
pub(crate) fn serve(mut client: ClientConnection, worker: Rc<Worker>) -> impl Future<Output = ()> {
    async move {
        match serve_requests(&mut client, &worker.local).await {
            Ended::Lingering => linger(&client, &worker.local).await,
            Ended::Immediate | Ended::Reset => {}
            Ended::Upgraded(origin) => {
                let ClientConnection { stream, inbound, live, .. } = client;
                let limits = worker.local.snapshot().plan.limits;
                let upgraded =
                    Upgraded { client: stream.io, client_early: inbound, origin: *origin, limits, live };
                tunnel::open(upgraded, &worker.reactor, &worker.local);
            }
            Ended::Rests => {
                let Some((resting, until)) = client.into_idle() else { return };
                if let Err(resting) = worker.idle_set.park(resting, until) {
                    resume(resting, until, &worker);
                }
            }
        }
    }
}

/// While memory is short, what rests goes so often, and so many connections each time.
const SAVE_EVERY: Duration = Duration::from_millis(20);
const CLOSED_AT_ONCE: usize = 256;
/// Why a worker may panic when it begins: it has no epoll, which no plan can foresee.
const EPOLLS_WERE_THERE: &str =
    "a runtime needs an epoll and an event file, which were there for its siblings";

#[cfg(test)]
pub(crate) mod stand;
// Never both: what is fuzzed is no test.
#[cfg(fuzzing)]
#[expect(dead_code, reason = "the tables are for tests alone")]
pub(crate) mod stand;
