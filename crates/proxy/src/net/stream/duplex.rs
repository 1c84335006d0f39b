//! A connection whose two directions two futures of one task use, and which the runtime need not know at first.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, Interest};
use tokio::net::TcpStream;

use crate::net::buffers::Buffers;
use crate::net::clock::Alarm;
use crate::net::node_tls::NodeTls;
use crate::net::stream::reader::Reader;
use crate::net::stream::socket::Stream;
use crate::net::stream::tls::{IdleState, TlsWords};
use crate::net::stream::unread::{has_nothing_to_read, peek};
use crate::net::stream::unregistered::Unregistered;

/// A socket whose two directions are used by two futures of one task. The borrow lasts for one poll only.
#[derive(Debug)]
pub(crate) struct Io(RefCell<Stage>);

/// How far a connection has come: it begins as one or the other, and what is registered remains so.
#[derive(Debug)]
enum Stage {
    /// Nothing has had to be waited for on it.
    Unregistered(Unregistered),
    /// The runtime knows of it.
    Registered(Reader),
}

impl Stage {
    /// The connection for whoever has to wait: the runtime knows of it from now on.
    fn registered(&mut self) -> io::Result<&mut Reader> {
        if let Self::Unregistered(unregistered) = self {
            let tcp = TcpStream::from_std(unregistered.take_tcp()?)?;
            *self = Self::Registered(Reader::new(Stream::Plain(tcp)));
        }
        match self {
            Self::Registered(reader) => Ok(reader),
            Self::Unregistered(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// The socket itself, for options and questions; `None` if it has broken.
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Unregistered(unregistered) => unregistered.socket(),
            Self::Registered(reader) => reader.stream.socket(),
        }
    }

    /// Writes what the socket takes of `bytes`.
    fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Self::Unregistered(unregistered) = self
            && let Some(sent) = unregistered.send(bytes)
        {
            return Poll::Ready(sent);
        }
        self.registered()?.stream.poll_send(cx, bytes)
    }

    /// Writes what the socket takes of `pieces`.
    fn poll_send_pieces(&mut self, cx: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.registered()?.stream).poll_write_vectored(cx, pieces)
    }

    /// Sees to it that what was written goes out.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Unregistered(_) => Poll::Ready(Ok(())),
            Self::Registered(reader) => Pin::new(&mut reader.stream).poll_flush(cx),
        }
    }
}

impl Io {
    pub(crate) fn new(stream: Stream) -> Self {
        Self(RefCell::new(Stage::Registered(Reader::new(stream))))
    }

    /// A connection that the runtime is not told of before it must be. All that had come was read from it.
    pub(super) fn unregistered(tcp: std::net::TcpStream) -> Self {
        Self(RefCell::new(Stage::Unregistered(Unregistered::new(tcp))))
    }

    /// `None` if the runtime cannot have it.
    pub(crate) fn into_stream(self) -> Option<Stream> {
        let mut stage = self.0.into_inner();
        stage.registered().ok()?;
        match stage {
            Stage::Registered(reader) => Some(reader.into_stream()),
            Stage::Unregistered(_) => None,
        }
    }

    /// The socket out of the runtime; `None` if it cannot be had.
    pub(crate) fn into_socket(self) -> Option<OwnedFd> {
        match self.0.into_inner() {
            Stage::Unregistered(unregistered) => Some(unregistered.into_tcp()?.into()),
            Stage::Registered(reader) => reader.into_stream().into_socket(),
        }
    }

    /// The same connection for another task to read, which the runtime has not been asked to wake.
    pub(crate) fn for_another_task(self) -> Self {
        match self.0.into_inner() {
            Stage::Registered(reader) => Self::new(reader.into_stream()),
            stage @ Stage::Unregistered(_) => Self(RefCell::new(stage)),
        }
    }

    #[cfg(test)]
    pub(super) fn is_registered(&self) -> bool {
        matches!(*self.0.borrow(), Stage::Registered(_))
    }

    /// Ready when a read may give something.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().registered()?.stream.poll_readable(cx)
    }

    /// Reads once into `buffer`, which is borrowed from `buffers` when it has no room. 0 is the end.
    pub(crate) fn read(
        &self,
        buffer: &mut BytesMut,
        buffers: &Buffers,
    ) -> impl Future<Output = io::Result<usize>> {
        poll_fn(|cx| self.poll_read(cx, buffer, buffers))
    }

    /// The same, for a wait that is part of another one.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().registered()?.poll_receive(cx, buffer, buffers)
    }

    /// Writes all of both, the second directly behind the first. Fails with `TimedOut` when nothing moves for
    /// `timeout`. Not cancel-safe: what was written is not told.
    pub(crate) async fn write_all(
        &self,
        first: &[u8],
        second: &[u8],
        alarm: &Alarm,
        timeout: Duration,
    ) -> io::Result<()> {
        let pieces = if second.is_empty() { 1 } else { 2 };
        self.write_pieces(&mut [IoSlice::new(first), IoSlice::new(second)][..pieces], alarm, timeout, || {
            Duration::MAX
        })
        .await
    }

    /// Writes all pieces, in one system call where the socket takes them. Fails with `TimedOut` when nothing moves for
    /// `timeout`, or when all of it takes longer than `most`: a slow reader is not cut, one that has stopped is, or that
    /// takes too little on the whole. `most` is asked when there is something to wait for. Not cancel-safe.
    pub(crate) fn write_pieces(
        &self,
        mut pieces: &mut [IoSlice<'_>],
        alarm: &Alarm,
        timeout: Duration,
        most: impl Fn() -> Duration,
    ) -> impl Future<Output = io::Result<()>> {
        IoSlice::advance_slices(&mut pieces, 0);
        let (mut until, mut last) = (None, None);
        poll_fn(move |cx| {
            let moved = match self.poll_write_pieces(cx, &mut pieces) {
                (Poll::Ready(result), _) => return Poll::Ready(result),
                (Poll::Pending, moved) => moved,
            };
            if moved || until.is_none() {
                let now = alarm.now();
                let last = *last.get_or_insert_with(|| now.checked_add(most()));
                until = Some(last.map_or(now + timeout, |last| last.min(now + timeout)));
            }
            let due = until.map_or(Poll::Ready(()), |until| alarm.poll_until(cx, until));
            due.map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
    }

    /// Writes what the socket takes of `pieces`. Ready when it has taken all; and whether it has taken anything.
    fn poll_write_pieces(
        &self,
        cx: &mut Context<'_>,
        pieces: &mut &mut [IoSlice<'_>],
    ) -> (Poll<io::Result<()>>, bool) {
        let mut stage = self.0.borrow_mut();
        let mut moved = false;
        while !pieces.is_empty() {
            // One piece goes by send, which the kernel has less to do for than for writev.
            let polled = match &**pieces {
                [piece] => stage.poll_send(cx, piece),
                pieces => stage.poll_send_pieces(cx, pieces),
            };
            match polled {
                Poll::Ready(Ok(0)) => return (Poll::Ready(Err(io::ErrorKind::WriteZero.into())), moved),
                Poll::Ready(Ok(written)) => IoSlice::advance_slices(pieces, written),
                Poll::Ready(Err(error)) => return (Poll::Ready(Err(error)), moved),
                Poll::Pending => return (Poll::Pending, moved),
            }
            moved = true;
        }
        (stage.poll_flush(cx), moved)
    }

    /// Ready when it is time to watch whether the client is still there: a while after its first request, and ever since.
    pub(super) fn poll_worth_watching(&self, cx: &mut Context<'_>, alarm: &Alarm) -> Poll<()> {
        match &mut *self.0.borrow_mut() {
            Stage::Unregistered(unregistered) => unregistered.poll_worth_watching(cx, alarm),
            Stage::Registered(_) => Poll::Ready(()),
        }
    }

    /// The bare socket of a plain TCP connection, out of the runtime. `None` if it cannot be had.
    pub(crate) fn into_tcp(self) -> Option<std::net::TcpStream> {
        match self.0.into_inner() {
            Stage::Unregistered(unregistered) => unregistered.into_tcp(),
            Stage::Registered(reader) => match reader.into_stream() {
                Stream::Plain(tcp) => tcp.into_std().ok(),
                Stream::Tls(_) | Stream::Unix(_) | Stream::Http2(_) => None,
            },
        }
    }

    /// Whether the kernel can take bytes from here, or put them here, by itself: for `splice`, neither TLS nor
    /// HTTP/2 may be in between.
    pub(crate) fn is_plain_tcp(&self) -> bool {
        match &*self.0.borrow() {
            Stage::Unregistered(_) => true,
            Stage::Registered(reader) => reader.stream.as_tcp().is_some(),
        }
    }

    /// Lets `take` take bytes from the socket, if it has some. Of a plain TCP connection only.
    pub(crate) fn try_take(&self, take: impl Fn(BorrowedFd<'_>) -> io::Result<usize>) -> io::Result<usize> {
        self.0.borrow_mut().registered()?.try_take(take)
    }

    /// Lets `put` put bytes into the socket, once it takes some. Of a plain TCP connection only.
    pub(crate) fn poll_put(
        &self,
        cx: &mut Context<'_>,
        put: impl Fn(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut stage = self.0.borrow_mut();
        let tcp = stage.registered()?.stream.as_tcp().ok_or(io::ErrorKind::Unsupported)?;
        loop {
            ready!(tcp.poll_write_ready(cx))?;
            match tcp.try_io(Interest::WRITABLE, || put(tcp.as_fd())) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                put => return Poll::Ready(put),
            }
        }
    }

    /// Sends the end: close_notify where there is TLS, then FIN.
    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.borrow_mut().registered()?.stream).poll_shutdown(cx)
    }

    /// Closing the socket says all that there is to say; TLS has an end of its own.
    pub(crate) fn is_plain(&self) -> bool {
        match &*self.0.borrow() {
            Stage::Unregistered(_) => true,
            Stage::Registered(reader) => reader.stream.is_plain(),
        }
    }

    /// Whether the TLS handshake was for another host than `host`. Without TLS, or without a name in it, it was for
    /// none.
    pub(crate) fn is_for_another_host(&self, host: &[u8]) -> bool {
        match &*self.0.borrow() {
            Stage::Registered(reader) => {
                let name = reader.stream.server_name();
                name.is_some_and(|name| !name.as_bytes().eq_ignore_ascii_case(host))
            }
            Stage::Unregistered(_) => false,
        }
    }

    /// What its client's TLS handshake has agreed on.
    pub(crate) fn tls_words(&self) -> Option<TlsWords> {
        match &*self.0.borrow() {
            Stage::Registered(reader) => reader.stream.tls_words(),
            Stage::Unregistered(_) => None,
        }
    }

    /// Whether nothing has come and the other end has not closed, as far as the runtime has been told. What has
    /// come since then is not known of; [`Self::is_quiet_for_sure`] costs a system call.
    pub(crate) fn is_quiet(&self) -> bool {
        match &mut *self.0.borrow_mut() {
            Stage::Unregistered(unregistered) => unregistered.is_quiet(),
            Stage::Registered(reader) => reader.stream.is_quiet(),
        }
    }

    /// The same, asked of the kernel.
    pub(crate) fn is_quiet_for_sure(&self) -> bool {
        self.0.borrow().socket().is_some_and(has_nothing_to_read)
    }

    /// Whether the kernel has bytes that nobody has read, and not just the end.
    fn has_unread(&self) -> bool {
        self.0.borrow().socket().is_some_and(|socket| matches!(peek(socket), Ok(1..)))
    }

    /// What an idle connection has to say; `for_sure` asks the kernel, which costs a system call.
    pub(crate) fn idle_state(&self, for_sure: bool) -> IdleState {
        if let Stage::Registered(Reader { stream: Stream::Tls(tls), .. }) = &mut *self.0.borrow_mut() {
            return tls.idle_state(for_sure);
        }
        if self.is_quiet() && (!for_sure || self.is_quiet_for_sure()) {
            IdleState::Quiet
        } else if self.has_unread() {
            IdleState::Surplus
        } else {
            IdleState::Ended
        }
    }

    /// Whether the connection was opened with another certificate or trust than its node's are now, so that it must
    /// carry no more requests.
    pub(crate) fn is_by_another_than(&self, now: &NodeTls) -> bool {
        match &*self.0.borrow() {
            Stage::Registered(Reader { stream: Stream::Tls(tls), .. }) => tls.is_by_another_than(now),
            Stage::Registered(_) | Stage::Unregistered(_) => false,
        }
    }

    /// Acknowledges what has come now, and what comes next without waiting for something to send with it. A node that writes
    /// an answer in two pieces and has not set TCP_NODELAY, as gevent has not, sends the second when the first is
    /// acknowledged (RFC 9293 section 3.7.4), which the kernel would do 40 ms later.
    pub(crate) fn acknowledge(&self) {
        if let Stage::Registered(Reader { stream: Stream::Plain(tcp), .. }) = &*self.0.borrow() {
            // Where it fails the rest comes a little later.
            let _ = rustix::net::sockopt::set_tcp_quickack(tcp, true);
        }
    }

    #[cfg(test)]
    pub(super) fn acknowledges_at_once(&self) -> bool {
        rustix::net::sockopt::tcp_quickack(self.0.borrow().socket().unwrap()).unwrap()
    }

    /// Makes the coming close a reset: the only way to tell a client that a body without a frame is cut.
    pub(crate) fn reset_on_close(&self) {
        let stage = self.0.borrow();
        let Some(socket) = stage.socket() else { return };
        // If it fails the client sees an ordinary close, and no harm beyond that is done.
        let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }
}
