//! What the runtime knows of a socket, and what is done with it where that is enough.

use std::io;
use std::os::fd::AsFd;

use bytes::BufMut;
use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};

use crate::net::buffers::{Buffers, ReadBuffer};

/// A socket that the runtime watches.
pub(super) trait Watched: AsFd {
    /// Acts if the runtime knows that the socket is ready, which it forgets if there is nothing to do.
    fn try_known<T>(&self, interest: Interest, act: impl FnOnce() -> io::Result<T>) -> io::Result<T>;

    fn try_read_into(&self, buffer: &mut impl BufMut) -> io::Result<usize>;
}

impl Watched for TcpStream {
    fn try_known<T>(&self, interest: Interest, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.try_io(interest, act)
    }

    fn try_read_into(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        self.try_read_buf(buffer)
    }
}

impl Watched for UnixStream {
    fn try_known<T>(&self, interest: Interest, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.try_io(interest, act)
    }

    fn try_read_into(&self, buffer: &mut impl BufMut) -> io::Result<usize> {
        self.try_read_buf(buffer)
    }
}

/// Reads, if the runtime knows of something to read.
pub(super) fn receive_known(
    socket: &impl Watched,
    buffer: &mut impl ReadBuffer,
    buffers: &Buffers,
) -> Option<io::Result<usize>> {
    let mut received = None;
    let known = socket.try_known(Interest::READABLE, || {
        buffer.make_room(buffers);
        let read = socket.try_read_into(buffer);
        // A read that does not fill its buffer has found the end of what there is, and the runtime is told so: to
        // find it out by another one takes a system call.
        let is_dry = matches!(read, Ok(1..)) && !buffer.is_full();
        buffer.give_back_if_empty(buffers);
        received = Some(read);
        if is_dry { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    let_go(known);
    received
}

/// Writes, if the runtime knows of room.
pub(super) fn send_known(socket: &impl Watched, bytes: &[u8]) -> Option<io::Result<usize>> {
    let mut sent = None;
    let known = socket.try_known(Interest::WRITABLE, || {
        let outcome = rustix::net::send(socket, bytes, SendFlags::NOSIGNAL);
        let is_full = outcome.is_ok_and(|sent| sent < bytes.len()) || outcome == Err(Errno::AGAIN);
        sent = Some(outcome.map_err(io::Error::from));
        if is_full { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    let_go(known);
    sent
}

/// The runtime has seen the socket empty, and has not been woken since. A socket that is not known to be quiet may be so.
pub(super) fn is_known_quiet(socket: &impl Watched) -> bool {
    let known = socket.try_known(Interest::READABLE, || Ok(()));
    let is_quiet = known.is_err();
    let_go(known);
    is_quiet
}

/// Drops what the runtime has said. To drop an error is a call, and nearly all of these own nothing that wants it.
fn let_go(known: io::Result<()>) {
    if let Err(error) = known
        && error.get_ref().is_none()
    {
        std::mem::forget(error);
    }
}
