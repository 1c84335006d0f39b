//! Accepts connections, on the control thread, and gives each to the worker with the fewest live ones. One acceptor
//! for all workers, because tunnels live for hours: an even spread at the accept is an even spread for a day.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use config::plan::{Listen, Scheme};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, Semaphore, mpsc};
use tokio::time::sleep;

use crate::drain::Live;
use crate::record::Counters;
use crate::shared::ListenId;
use crate::upstream::connect::is_out_of_files;
use crate::worker::Incoming;

/// A socket that listens.
#[derive(Debug)]
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// Binds one listen.
pub(crate) fn bind(listen: &Listen) -> io::Result<Bound> {
    let domain = socket2::Domain::for_address(listen.address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(listen.reuse_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.address.into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let address = listener.local_addr()?;
    let scheme = match listen.scheme {
        Scheme::Plain => "http",
        Scheme::RedirectToHttps { .. } => "http, redirects to https",
        Scheme::Tls(_) => "https",
    };
    tracing::info!(%address, scheme, "listening");
    Ok(Bound { listener, address })
}

/// Where accepted connections go.
#[derive(Debug, Clone)]
pub(crate) struct Workers {
    pub(crate) doors: Vec<(mpsc::Sender<Incoming>, Arc<Counters>)>,
    /// The bound on client connections; beyond it they wait in the kernel's queue.
    pub(crate) permits: Arc<Semaphore>,
}

/// Accepts until it is told to stop, then once more everything that is in the queue: whoever was let in by the kernel
/// is answered.
pub(crate) async fn accept(bound: Bound, id: ListenId, workers: Workers, stop: Arc<Notify>) {
    let Bound { listener, address } = bound;
    let listener = match watch(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%address, %error, "cannot wait for connections"),
    };
    let incoming = |(tcp, peer), live| Incoming { tcp, peer, listen: id, port: address.port(), live };
    let mut complaint = Complaint::default();
    loop {
        if workers.permits.available_permits() == 0 {
            complaint
                .say(|| tracing::warn!("connections_max is reached; clients wait in the system's queue"));
        }
        let one = async {
            let permit = workers.permits.clone().acquire_owned().await.ok()?;
            Some((permit, listener.async_io(Interest::READABLE, accept_one).await))
        };
        let (permit, accepted) = tokio::select! {
            biased;
            () = stop.notified() => break,
            Some(one) = one => one,
        };
        match accepted {
            Ok(accepted) => workers.give(|live| incoming(accepted, live), permit).await,
            Err(error) => complaint.about(&error).await,
        }
    }
    while let Ok(accepted) = accept_one(listener.get_ref()) {
        let Ok(permit) = workers.permits.clone().try_acquire_owned() else { break };
        workers.give(|live| incoming(accepted, live), permit).await;
    }
    tracing::info!(%address, "listens no more");
}

/// Not tokio's own listener: it would register each connection with this thread's epoll before its worker takes it.
#[expect(deprecated, reason = "unsound for types whose file can change under it, which an OwnedFd's cannot")]
fn watch(listener: TcpListener) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(OwnedFd::from(listener), Interest::READABLE)
}

fn accept_one(listener: &OwnedFd) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
    let (socket, peer) = rustix::net::acceptfrom_with(listener.as_fd(), flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    // A connection that was reset while it waited in the queue has no peer to speak of.
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((std::net::TcpStream::from(socket), peer))
}

impl Workers {
    /// To the worker with the fewest live connections. If its queue is full, it is waited for: the kernel's queue
    /// holds the others meanwhile.
    async fn give(
        &self,
        connection: impl FnOnce(Live) -> Incoming,
        permit: tokio::sync::OwnedSemaphorePermit,
    ) {
        let (door, counters) = self
            .doors
            .iter()
            .min_by_key(|(_, counters)| counters.live.load(Relaxed))
            .expect("there is a worker: Plan counts from one");
        let connection = connection(Live::new(counters.clone(), permit));
        // A worker that is gone has taken the process's time with it.
        let _ = door.send(connection).await;
    }
}

/// Says once a while what hinders the acceptor, and slows it down while accepting fails.
#[derive(Debug, Default)]
struct Complaint {
    quiet_until: Option<tokio::time::Instant>,
}

impl Complaint {
    fn say(&mut self, words: impl FnOnce()) {
        let now = tokio::time::Instant::now();
        if self.quiet_until.is_none_or(|until| now >= until) {
            words();
            self.quiet_until = Some(now + COMPLAIN_EVERY);
        }
    }

    async fn about(&mut self, error: &io::Error) {
        // One client's bad luck, not ours.
        if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) {
            return;
        }
        self.say(|| {
            let hint = if is_out_of_files(error) { "raise the open-file limit" } else { "" };
            tracing::error!(%error, hint, "cannot accept; trying again");
        });
        sleep(BACK_OFF).await;
    }
}

/// The kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// The queue stays readable while files are short: without a pause this would spin.
const BACK_OFF: Duration = Duration::from_millis(50);
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
