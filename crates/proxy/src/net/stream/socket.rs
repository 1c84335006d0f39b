//! A socket that the runtime knows.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncWrite, Interest, Ready};
use tokio::net::{TcpStream, UnixStream};

use crate::net::stream::http2_io::Http2Io;
use crate::net::stream::known::{is_known_quiet, send_known};
use crate::net::stream::tls::{Tls, TlsWords};

/// A client's or an origin's socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
    /// A process of an app that listens on a Unix socket. Boxed, because two sockets of one size would need a word
    /// more to be told apart, in every connection.
    Unix(Box<UnixStream>),
    /// A stream of a client's HTTP/2 connection.
    Http2(Box<Http2Io>),
}

impl Stream {
    /// The socket itself, for options and questions; `None` if it has broken.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Plain(tcp) => Some(tcp.as_fd()),
            Self::Tls(tls) => Some(tls.tcp().as_fd()),
            Self::Unix(unix) => Some(unix.as_fd()),
            // The connection's is not its own.
            Self::Http2(_) => None,
        }
    }

    /// The host that its client has asked for in its TLS handshake.
    pub(crate) fn server_name(&self) -> Option<&str> {
        match self {
            Self::Tls(tls) => tls.server_name(),
            Self::Http2(stream) => stream.server_name(),
            Self::Plain(_) | Self::Unix(_) => None,
        }
    }

    /// What its client's TLS handshake has agreed on.
    pub(crate) fn tls_words(&self) -> Option<TlsWords> {
        match self {
            Self::Tls(tls) => tls.words(),
            Self::Http2(stream) => stream.tls_words(),
            Self::Plain(_) | Self::Unix(_) => None,
        }
    }

    /// The socket out of the runtime; `None` if it cannot be had.
    pub(crate) fn into_socket(self) -> Option<OwnedFd> {
        match self {
            Self::Plain(tcp) => Some(tcp.into_std().ok()?.into()),
            Self::Unix(unix) => Some(unix.into_std().ok()?.into()),
            Self::Tls(_) | Self::Http2(_) => None,
        }
    }

    /// The kernel may move its bytes: they are no cipher text.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Unix(_) => true,
            Self::Tls(_) | Self::Http2(_) => false,
        }
    }

    /// The runtime's socket, if it is TCP and what goes through it is no cipher text.
    pub(super) fn as_tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Tls(_) | Self::Unix(_) | Self::Http2(_) => None,
        }
    }

    /// Ready when a read may give something. Holds no buffer, so that a connection that waits costs none.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(cx),
            Self::Unix(unix) => unix.poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_readable(cx),
            Self::Http2(stream) => stream.poll_readable(cx),
        }
    }
}

impl Stream {
    /// Writes what the socket takes of `bytes`.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let sent = match self {
                Self::Plain(tcp) => send_known(tcp, bytes),
                Self::Unix(unix) => send_known(&**unix, bytes),
                Self::Tls(_) | Self::Http2(_) => return Pin::new(self).poll_write(cx, bytes),
            };
            match sent {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Some(sent) => return Poll::Ready(sent),
                None => {}
            }
            match self {
                Self::Plain(tcp) => ready!(tcp.poll_write_ready(cx))?,
                Self::Unix(unix) => ready!(unix.poll_write_ready(cx))?,
                Self::Tls(_) | Self::Http2(_) => {}
            }
        }
    }

    /// Whether nothing has come and the other end has not closed, as far as the runtime has been told.
    pub(crate) fn is_quiet(&mut self) -> bool {
        match self {
            Self::Plain(tcp) => is_known_quiet(tcp),
            Self::Unix(unix) => is_known_quiet(&**unix),
            Self::Tls(tls) => tls.has_nothing_decrypted() && is_known_quiet(tls.tcp()),
            Self::Http2(stream) => stream.is_quiet(),
        }
    }
}

impl Stream {
    /// Whether the other end has sent its end, or the connection is broken, as far as the runtime has been told.
    /// What it has said before need not have been read.
    pub(crate) fn has_ended(&self) -> bool {
        let is_closed = |ready: Pin<&mut dyn Future<Output = io::Result<Ready>>>| {
            let looked = ready.poll(&mut Context::from_waker(Waker::noop()));
            matches!(looked, Poll::Ready(Ok(ready)) if ready.is_read_closed())
                || matches!(looked, Poll::Ready(Err(_)))
        };
        match self {
            Self::Plain(tcp) => is_closed(pin!(tcp.ready(Interest::READABLE))),
            Self::Tls(tls) => is_closed(pin!(tls.tcp().ready(Interest::READABLE))),
            Self::Unix(unix) => is_closed(pin!(unix.ready(Interest::READABLE))),
            Self::Http2(stream) => stream.has_ended(),
        }
    }
}
