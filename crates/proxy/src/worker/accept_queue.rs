//! The queue of a listening socket: whether anybody is in it, who is next, and whose fault it is if nobody can be had.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Asks the kernel whether a connection waits to be accepted, without taking it.
pub(super) fn is_anybody_in(queue: &OwnedFd) -> bool {
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut asked = [PollFd::new(queue, PollFlags::IN)];
    // If that cannot be asked, accept tells.
    poll(&mut asked, Some(&at_once)).is_ok_and(|ready| ready > 0)
}

/// Not tokio's own listener: it would register each connection with this worker, also
/// those that another one serves.
#[expect(deprecated, reason = "unsound for types whose file can change under it, which an OwnedFd's cannot")]
pub(super) fn watch_queue(listener: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    AsyncFd::with_interest(listener, Interest::READABLE)
}

pub(super) fn accept_one(listener: &OwnedFd) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let flags = rustix::net::SocketFlags::NONBLOCK | rustix::net::SocketFlags::CLOEXEC;
    let (socket, peer) = rustix::net::acceptfrom_with(listener.as_fd(), flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    // A connection that was reset while it waited in the queue has no peer to speak of.
    let mut peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    // A socket of both families shows IPv4 clients as mapped addresses, which nobody would recognise.
    peer.set_ip(peer.ip().to_canonical());
    Ok((std::net::TcpStream::from(socket), peer))
}

/// Whether it is one client's bad luck, and not ours: it says nothing about the next. An error of the network that
/// waits on the new connection is given by accept(2), too.
pub(super) fn is_one_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
    ) || error.raw_os_error() == Some(rustix::io::Errno::PROTO.raw_os_error())
}
