//! Accepts connections. Each worker does so on its own thread, on a socket of its own, so that a connection crosses no
//! thread on its way in. The kernel chooses the socket by a hash, and tunnels live for hours: a worker that has clearly
//! more of them than another passes new ones on to that one.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use config::plan::{Listen, Scheme};
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use crate::net::listen_socket;
use crate::net::places::{ClientKey, Places, Vacancy};
use crate::observe::counters::Counters;
use crate::observe::lifecycle::Live;
use crate::state::local::Local;
use crate::state::shared::ListenId;
use crate::upstream::connect::is_out_of_files;
use crate::worker::accept_queue::{accept_one, is_anybody_in, is_one_clients, watch_queue};

/// A message to a worker, from the control thread or from another worker.
#[derive(Debug)]
pub(crate) enum WorkerMessage {
    /// Accept on another listen, until told to stop.
    Accept(Acceptor),
    /// Serve a connection that another worker has accepted.
    Serve(Incoming),
    /// All places are taken, and the worker that needs one has nobody who could go.
    MakeRoom,
}

/// A connection on its way from an acceptor to the worker that is to serve it.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) tcp: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    /// The listen it came in on, and its port.
    pub(crate) listen: ListenId,
    pub(crate) port: u16,
    pub(crate) live: Live,
}

/// The sockets of one listen, one for each worker where they were bound here.
#[derive(Debug)]
pub(crate) struct Bound {
    listeners: Vec<Arc<OwnedFd>>,
    address: SocketAddr,
    scheme: &'static str,
    /// Whether nobody else may have them open, as systemd has those that it passes on, nor others at the same address.
    is_ours: bool,
}

impl Bound {
    /// Lets the kernel take connections. Until then nobody notices that the sockets are there.
    pub(crate) fn listen(&self) -> io::Result<()> {
        for socket in &self.listeners {
            socket2::SockRef::from(socket).listen(BACKLOG)?;
        }
        self.say();
        Ok(())
    }

    fn say(&self) {
        tracing::info!(event = "listening", address = %self.address, scheme = self.scheme, "listening");
    }

    /// The sockets, for as long as their workers accept on them.
    pub(crate) fn sockets(&self) -> Vec<Weak<OwnedFd>> {
        self.listeners.iter().map(Arc::downgrade).collect()
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.is_ours
    }
}

/// Binds one listen for so many workers. With `is_shared` others who share may have the address already.
pub(crate) fn bind(listen: &Listen, is_shared: bool, workers: usize) -> io::Result<Bound> {
    let first = listen_socket::bind(listen.address, is_shared)?;
    // Its port may be one that the kernel has chosen.
    let address = first.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut sockets = vec![first];
    if workers > 1 {
        // Only now that the first one has the address, for until then whoever else has it must be an error. The kernel
        // looks at this when the next one is bound.
        sockets[0].set_reuse_port(true)?;
    }
    for _ in 1..workers {
        sockets.push(listen_socket::bind(address, true)?);
    }
    let sockets = sockets.into_iter().map(OwnedFd::from).collect();
    Ok(Bound { is_ours: !listen.reuse_port, ..bound(listen, sockets, address) })
}

/// Takes sockets for a listen that somebody else has bound: another tidelock, or systemd.
pub(crate) fn take(listen: &Listen, sockets: Vec<OwnedFd>) -> io::Result<Bound> {
    let first = sockets.first().ok_or(io::ErrorKind::InvalidInput)?;
    let address = socket2::SockRef::from(first).local_addr()?.as_socket();
    let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
    for socket in &sockets {
        let socket = socket2::SockRef::from(socket);
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
    }
    let bound = bound(listen, sockets, address);
    bound.say();
    Ok(bound)
}

fn bound(listen: &Listen, sockets: Vec<OwnedFd>, address: SocketAddr) -> Bound {
    let scheme = match listen.scheme {
        Scheme::Plain => "http",
        Scheme::RedirectToHttps { .. } => "http, redirects to https",
        Scheme::Tls(_) | Scheme::Automatic { .. } => "https",
    };
    Bound { listeners: sockets.into_iter().map(Arc::new).collect(), address, scheme, is_ours: false }
}

/// All workers, as each of them sees the others.
#[derive(Debug)]
pub(crate) struct Workers {
    mailboxes: Vec<(mpsc::Sender<WorkerMessage>, Arc<Counters>)>,
    /// Who finds none waits in the kernel's queue until somebody has made room.
    places: Arc<Places>,
    about_being_full: Complaint,
    about_failing: Complaint,
}

impl Workers {
    pub(crate) fn new(
        mailboxes: Vec<(mpsc::Sender<WorkerMessage>, Arc<Counters>)>,
        places: Arc<Places>,
    ) -> Arc<Self> {
        let (about_being_full, about_failing) = Default::default();
        Arc::new(Self { mailboxes, places, about_being_full, about_failing })
    }

    /// Has them accept on the sockets of `bound`, until they are told to stop. Sockets that were taken over may be more than
    /// there are workers, since each of them has a queue that somebody has to look into, or fewer: what comes in is passed on.
    pub(crate) async fn accept(self: Arc<Self>, bound: Bound, id: ListenId, stop: watch::Receiver<bool>) {
        let Bound { listeners, address, .. } = bound;
        let place = Arc::new(ListenAddress { id, address });
        for (listener, (mailbox, _)) in listeners.into_iter().zip(self.mailboxes.iter().cycle()) {
            let (workers, place, stop) = (self.clone(), place.clone(), stop.clone());
            // A worker that is gone has taken the process's time with it.
            let _ = mailbox.send(WorkerMessage::Accept(Acceptor { listener, place, workers, stop })).await;
        }
    }

    /// Who serves a connection that `slot` has accepted, if not itself: the one with the fewest live ones, where
    /// the difference matters. Passing one on wakes another thread, which costs a short connection more than it
    /// would gain there; and of many connections a sixteenth is what comes and goes in a moment anyway.
    fn other_than(&self, slot: usize) -> Option<usize> {
        let live = |slot: usize| self.mailboxes[slot].1.live.load(Relaxed);
        let least = (0..self.mailboxes.len()).min_by_key(|&slot| live(slot))?;
        let fewest = live(least);
        (live(slot) > fewest + fewest / UNEVEN_SHARE).then_some(least)
    }
}

/// The accept loop of one worker for one listener.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: Arc<OwnedFd>,
    place: Arc<ListenAddress>,
    workers: Arc<Workers>,
    stop: watch::Receiver<bool>,
}

/// What the acceptors of one listen have in common.
#[derive(Debug)]
struct ListenAddress {
    id: ListenId,
    address: SocketAddr,
}

impl Acceptor {
    /// Accepts until it is told to stop, then once more everything that is in the queue: whoever was let in by the
    /// kernel is answered. `serve` has this worker serve a connection, `make_room` has it close one, if it can.
    pub(crate) async fn run(self, worker: Rc<Local>, serve: impl Fn(Incoming), make_room: impl Fn() -> bool) {
        let Self { listener, place, workers, mut stop } = self;
        let address = place.address;
        let queue = match watch_queue(listener) {
            Ok(queue) => queue,
            Err(error) => return tracing::error!(%address, %error, "cannot wait for connections"),
        };
        let accepting = Accepting { queue, place: &place, workers: &workers, worker, serve, make_room };
        accepting.until(pin!(async { drop(stop.wait_for(|&stop| stop).await) })).await;
        accepting.the_rest().await;
        accepting.close();
        if Arc::into_inner(place).is_some() {
            tracing::info!(event = "listen_closed", %address, "listens no more");
        }
    }
}

/// An acceptor at work.
struct Accepting<'a, S, M, Q = AsyncFd<Arc<OwnedFd>>> {
    queue: Q,
    place: &'a ListenAddress,
    workers: &'a Workers,
    worker: Rc<Local>,
    serve: S,
    make_room: M,
}

impl<S: Fn(Incoming), M: Fn() -> bool> Accepting<'_, S, M> {
    async fn until(&self, mut told: Pin<&mut impl Future<Output = ()>>) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = told.as_mut() => return,
                accepted = self.some() => accepted,
            };
            if let Err(error) = accepted {
                self.workers.about_failing.about(&error).await;
            }
        }
    }

    /// Waits for connections and takes some of those that are there. Cancel-safe.
    async fn some(&self) -> io::Result<()> {
        let mut ready = self.queue.readable().await?;
        for _ in 0..AT_ONCE_MAX {
            // Not before there is a connection: a place that waits with one worker would be missed by the others.
            let Some(vacancy) = self.vacancy().await else {
                ready.clear_ready();
                return Ok(());
            };
            match ready.try_io(|queue| accept_one(queue.get_ref())) {
                Ok(accepted) => {
                    let (tcp, peer) = accepted?;
                    self.give(tcp, peer, vacancy);
                }
                Err(_is_empty) => return Ok(()),
            }
        }
        // Those that were taken come first.
        yield_now().await;
        Ok(())
    }

    /// A place for a connection. Where there is none, somebody has to go who would hardly notice, if anybody is in the queue;
    /// `None` if nobody is.
    async fn vacancy(&self) -> Option<Vacancy> {
        let places = &self.workers.places;
        if self.worker.shared.memory.is_short() {
            if !is_anybody_in(self.queue.get_ref()) {
                return None;
            }
            // Not for ever: where nothing more can be let go of, they come in one by one.
            let pause = if self.worker.shared.memory.is_out() { OUT_PAUSE } else { SHORT_PAUSE };
            let _ = timeout_at(Instant::now() + pause, self.worker.shared.memory.enough()).await;
        }
        if let Some(vacancy) = places.try_take() {
            return Some(vacancy);
        }
        if !is_anybody_in(self.queue.get_ref()) {
            return None;
        }
        self.workers.about_being_full.say(|| {
            let connections_max = places.all();
            tracing::warn!(
                event = "places_taken",
                connections_max,
                "all places are taken: connections that rest, or have said nothing, are closed for new ones"
            );
        });
        let mut free = pin!(places.take());
        loop {
            self.make_room();
            tokio::select! {
                biased;
                vacancy = free.as_mut() => return Some(vacancy),
                () = sleep(MAKE_ROOM_EVERY) => {}
            }
        }
    }

    /// Closes a connection of this worker, or has the others close one of theirs.
    fn make_room(&self) {
        if (self.make_room)() {
            return;
        }
        let others = (0..).zip(&self.workers.mailboxes).filter(|(slot, _)| *slot != self.worker.slot);
        for (_, (mailbox, _)) in others {
            // Who has much to do hears of it the next time.
            let _ = mailbox.try_send(WorkerMessage::MakeRoom);
        }
    }

    /// Everything that is in the queue. One that has gone wrong is no reason to send away those behind it, and where there
    /// is no place at this moment there may be one soon.
    async fn the_rest(&self) {
        let until = Instant::now() + THE_REST_WITHIN;
        while let Ok(Some(vacancy)) = timeout_at(until, self.vacancy()).await {
            match accept_one(self.queue.get_ref()) {
                Ok((tcp, peer)) => self.give(tcp, peer, vacancy),
                Err(error) if is_one_clients(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    drop(vacancy);
                    self.workers.about_failing.about(&error).await;
                    if Instant::now() >= until {
                        return;
                    }
                }
            }
        }
    }

    /// Closes the socket. Whoever the kernel lets in between the last look and the close is reset, where another process listens
    /// on the same address and could have had it: a reload has the kernel let in nobody before, but an end shares sockets with
    /// others. So nothing stands between the two, and the thread's time begins anew before: one that has just been given the
    /// processor is hardly ever interrupted in these microseconds.
    fn close(self) {
        let Self { queue, place, workers, worker, serve, make_room } = self;
        let last = Accepting { queue: queue.into_inner(), place, workers, worker, serve, make_room };
        thread::yield_now();
        while let Some(vacancy) = workers.places.try_take() {
            match accept_one(&last.queue) {
                Ok((tcp, peer)) => last.give(tcp, peer, vacancy),
                Err(error) if is_one_clients(&error) => {}
                Err(_) => return,
            }
        }
    }
}

impl<S: Fn(Incoming), M, Q> Accepting<'_, S, M, Q> {
    /// To this worker, or to another one that has fewer connections, if it has room for one on its way; or to nobody, if
    /// its client has had its share.
    fn give(&self, tcp: std::net::TcpStream, peer: SocketAddr, vacancy: Vacancy) {
        let Self { place, workers, worker, .. } = self;
        let snapshot = worker.snapshot();
        let client = match snapshot.is_trusted(peer.ip()) {
            true => ClientKey::NOBODY,
            false => ClientKey::of(peer.ip()),
        };
        let taken = match vacancy.give(client, &snapshot.plan.limits) {
            Ok(taken) => taken,
            Err(refused) => {
                tracing::debug!(%peer, ?refused, "a connection is closed at once");
                return workers.mailboxes[worker.slot].1.count_refused(refused);
            }
        };
        let incoming = |slot: usize| {
            let live = Live::new(workers.mailboxes[slot].1.clone(), taken);
            Incoming { tcp, peer, listen: place.id, port: place.address.port(), live }
        };
        let other = workers.other_than(worker.slot);
        match other.and_then(|other| Some((other, workers.mailboxes[other].0.try_reserve().ok()?))) {
            Some((other, mailbox)) => mailbox.send(WorkerMessage::Serve(incoming(other))),
            None => (self.serve)(incoming(worker.slot)),
        }
    }
}

/// Says once a while what hinders the acceptors.
#[derive(Debug, Default)]
struct Complaint {
    quiet_until: Mutex<Option<Instant>>,
}

impl Complaint {
    fn say(&self, words: impl FnOnce()) {
        let now = Instant::now();
        let mut quiet_until = self.quiet_until.lock().unwrap_or_else(PoisonError::into_inner);
        if quiet_until.is_none_or(|until| now >= until) {
            *quiet_until = Some(now + COMPLAIN_EVERY);
            words();
        }
    }

    /// Slows an acceptor down, too, that fails.
    async fn about(&self, error: &io::Error) {
        if is_one_clients(error) {
            return;
        }
        self.say(|| {
            let hint = if is_out_of_files(error) { "raise the open-file limit" } else { "" };
            tracing::error!(event = "accept_failed", %error, hint, "cannot accept; trying again");
        });
        sleep(BACK_OFF).await;
    }
}

/// The kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// The queue stays readable while files are short: without a pause this would spin.
const BACK_OFF: Duration = Duration::from_millis(50);
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// While all places are taken, one more is asked to go so often.
const MAKE_ROOM_EVERY: Duration = Duration::from_millis(20);
/// For those in the queue of a listen that is closed. Who waits for that waits a little longer.
const THE_REST_WITHIN: Duration = Duration::from_secs(1);
/// While memory is short a worker lets in one connection in so long; while there is none, in the latter time.
const SHORT_PAUSE: Duration = Duration::from_millis(10);
const OUT_PAUSE: Duration = Duration::from_millis(50);
/// Taken before what they bring is looked at.
const AT_ONCE_MAX: usize = 16;
/// A worker may have more connections than another by one in so many.
const UNEVEN_SHARE: u64 = 16;
