//! A connection that came with its first request, or with as much of it as there was. Many have theirs answered and are
//! closed before anything has to be waited for on them, and what the runtime would do for those is a good part of what they
//! cost: so it is not told of one before it must be.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SendFlags;
use tokio::time::Instant;

use crate::net::clock::Alarm;
use crate::net::stream::unread::has_nothing_to_read;

/// An accepted socket from which everything was read that had come.
#[derive(Debug)]
pub(crate) struct Unregistered {
    /// `None` once the runtime could not take it.
    tcp: Option<TcpStream>,
    /// From then on it is watched whether the client is still there.
    watched_from: Option<Instant>,
}

impl Unregistered {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp: Some(tcp), watched_from: None }
    }

    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.tcp.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn into_tcp(self) -> Option<TcpStream> {
        self.tcp
    }

    /// The socket, for the runtime to have.
    pub(super) fn take_tcp(&mut self) -> io::Result<TcpStream> {
        self.tcp.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Whether nothing has come since. The runtime does not know, so that the kernel is asked: to close with bytes
    /// unread would be a reset.
    pub(super) fn is_quiet(&self) -> bool {
        self.socket().is_some_and(has_nothing_to_read)
    }

    /// Writes, if the socket takes something at once.
    pub(super) fn send(&self, bytes: &[u8]) -> Option<io::Result<usize>> {
        match rustix::net::send(self.tcp.as_ref()?, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Err(Errno::AGAIN) => None,
            sent => Some(sent.map_err(io::Error::from)),
        }
    }

    /// Ready when an answer has been waited for for so long that its client may have left meanwhile.
    pub(super) fn poll_worth_watching(&mut self, cx: &mut Context<'_>, alarm: &Alarm) -> Poll<()> {
        alarm.poll_until(cx, *self.watched_from.get_or_insert_with(|| alarm.now() + WATCHED_AFTER))
    }
}

/// A node that answers sooner has not worked for nothing for long, whatever its client does.
const WATCHED_AFTER: Duration = Duration::from_millis(50);
