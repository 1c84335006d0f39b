//! One socket, plain or TLS, and the few ways in which the rest reads and writes it. Deadlines are put around these
//! futures by their callers; every one of them is cancel-safe unless it says otherwise.

mod as_tokio;
mod unregistered;
mod known;
pub(crate) mod eager_read;
mod unread;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::BytesMut;
use rustls::ServerConnection;
use tokio::io::{AsyncReadExt, AsyncWrite, Interest, Ready};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop::{has_budget_remaining, poll_proceed};
use tokio_rustls::server::TlsStream;

use crate::net::buffers::{Buffers, Inbox};
use crate::net::clock::Alarm;
use crate::net::stream::known::{is_known_quiet, receive_known, send_known};
use crate::net::stream::unread::{has_nothing_to_read, peek};
use crate::net::stream::unregistered::Unregistered;

/// A client's or an origin's socket.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    /// Plain, and not known to the runtime yet. It is made known, and becomes `Plain`, when something is waited for.
    Unregistered(Unregistered),
    Tls(Box<TlsStream<TcpStream>>),
    /// A process of an app that listens on a Unix socket. Boxed, because two sockets of one size would need a word
    /// more to be told apart, in every connection.
    Unix(Box<UnixStream>),
}

impl Stream {
    /// The socket itself, for options and questions; `None` if it has broken.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Plain(tcp) => Some(tcp.as_fd()),
            Self::Unregistered(unregistered) => unregistered.socket(),
            Self::Tls(tls) => Some(tls.get_ref().0.as_fd()),
            Self::Unix(unix) => Some(unix.as_fd()),
        }
    }

    /// The socket out of the runtime; `None` if it cannot be had.
    pub(crate) fn into_socket(self) -> Option<OwnedFd> {
        match self {
            Self::Plain(tcp) => Some(tcp.into_std().ok()?.into()),
            Self::Unregistered(unregistered) => Some(unregistered.into_tcp()?.into()),
            Self::Unix(unix) => Some(unix.into_std().ok()?.into()),
            Self::Tls(_) => None,
        }
    }

    /// Whether what goes through it is no cipher text.
    pub(crate) fn is_plain(&self) -> bool {
        match self {
            Self::Plain(_) | Self::Unregistered(_) | Self::Unix(_) => true,
            Self::Tls(_) => false,
        }
    }

    /// The runtime's socket, if what goes through it is no cipher text.
    fn as_tcp(&mut self) -> io::Result<Option<&TcpStream>> {
        match self.register()? {
            Self::Plain(tcp) => Ok(Some(tcp)),
            Self::Unregistered(_) | Self::Tls(_) | Self::Unix(_) => Ok(None),
        }
    }

    /// Makes the runtime know of it, if it does not.
    fn register(&mut self) -> io::Result<&mut Self> {
        if let Self::Unregistered(unregistered) = self {
            *self = Self::Plain(TcpStream::from_std(unregistered.take_tcp()?)?);
        }
        Ok(self)
    }

    /// Ready when a read may give something. Holds no buffer, so that a connection that waits costs none.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.register()? {
            Self::Plain(tcp) => tcp.poll_read_ready(cx),
            Self::Unregistered(_) => Poll::Pending,
            Self::Unix(unix) => unix.poll_read_ready(cx),
            Self::Tls(tls) => {
                let (tcp, session) = tls.get_mut();
                match has_nothing_decrypted(session) {
                    true => tcp.poll_read_ready(cx),
                    false => Poll::Ready(Ok(())),
                }
            }
        }
    }
}

/// What the runtime knows of a socket is a word in memory; to have it wake a task takes several times as many
/// instructions as to look at that, and is done only where it must be.
impl Stream {
    /// Reads once into `buffer`, which is borrowed from `buffers` when it has no room, and given back when it stays empty.
    /// 0 is the end. `is_watched` is the memory of the one task that reads here: whether the runtime has been asked to
    /// wake it, and has not done so.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        (buffer, buffers): (&mut impl Inbox, &Buffers),
        is_watched: &mut bool,
    ) -> Poll<io::Result<usize>> {
        // Others have their turn, too, however much comes; this task is woken for another one.
        if !has_budget_remaining() {
            let _wakes_it = poll_proceed(cx);
            return Poll::Pending;
        }
        loop {
            let received = match self {
                Self::Plain(tcp) => receive_known(tcp, buffer, buffers),
                // Nothing is left that was there when it came.
                Self::Unregistered(_) => None,
                Self::Unix(unix) => receive_known(&**unix, buffer, buffers),
                Self::Tls(tls) => return poll_decrypted(tls, cx, buffer, buffers),
            };
            match received {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Some(received) => {
                    *is_watched = false;
                    spend(cx, received.as_ref().copied().unwrap_or_default());
                    return Poll::Ready(received);
                }
                None if *is_watched => return Poll::Pending,
                None => {}
            }
            // A task that has used its budget up is woken for that, and for nothing else.
            *is_watched = has_budget_remaining();
            ready!(self.poll_readable(cx))?;
        }
    }

    /// Writes what the socket takes of `bytes`.
    pub(crate) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let sent = match self {
                Self::Plain(tcp) => send_known(tcp, bytes),
                Self::Unregistered(unregistered) => unregistered.send(bytes),
                Self::Unix(unix) => send_known(&**unix, bytes),
                Self::Tls(tls) => return Pin::new(tls).poll_write(cx, bytes),
            };
            match sent {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Some(sent) => return Poll::Ready(sent),
                None => {}
            }
            match self.register()? {
                Self::Plain(tcp) => ready!(tcp.poll_write_ready(cx))?,
                Self::Unix(unix) => ready!(unix.poll_write_ready(cx))?,
                Self::Unregistered(_) | Self::Tls(_) => {}
            }
        }
    }

    /// Whether nothing has come and the other end has not closed, as far as the runtime has been told.
    pub(crate) fn is_quiet(&mut self) -> bool {
        match self {
            Self::Plain(tcp) => is_known_quiet(tcp),
            Self::Unregistered(unregistered) => unregistered.is_quiet(),
            Self::Unix(unix) => is_known_quiet(&**unix),
            Self::Tls(tls) => {
                let (tcp, session) = tls.get_mut();
                has_nothing_decrypted(session) && is_known_quiet(tcp)
            }
        }
    }
}

impl Stream {
    /// Whether the other end has sent its end, or the connection is broken, as far as the runtime has been told. What it
    /// has said before need not have been read.
    pub(crate) fn has_ended(&self) -> bool {
        let is_closed = |ready: Pin<&mut dyn Future<Output = io::Result<Ready>>>| {
            let looked = ready.poll(&mut Context::from_waker(Waker::noop()));
            matches!(looked, Poll::Ready(Ok(ready)) if ready.is_read_closed())
                || matches!(looked, Poll::Ready(Err(_)))
        };
        match self {
            Self::Plain(tcp) => is_closed(pin!(tcp.ready(Interest::READABLE))),
            Self::Tls(tls) => is_closed(pin!(tls.get_ref().0.ready(Interest::READABLE))),
            Self::Unix(unix) => is_closed(pin!(unix.ready(Interest::READABLE))),
            Self::Unregistered(_) => false,
        }
    }
}

fn poll_decrypted(
    tls: &mut TlsStream<TcpStream>,
    cx: &mut Context<'_>,
    buffer: &mut impl Inbox,
    buffers: &Buffers,
) -> Poll<io::Result<usize>> {
    buffer.make_room(buffers);
    let read = pin!(tls.read_buf(buffer)).poll(cx);
    buffer.give_back_if_empty(buffers);
    if let Poll::Ready(Ok(received)) = read {
        spend(cx, received);
    }
    read
}

/// Takes what moving so many bytes is worth from what this task may do before others have their turn: tokio counts steps,
/// 128 of them, however long each takes.
pub(crate) fn spend(cx: &mut Context<'_>, bytes: usize) {
    for _ in 0..=bytes / STEP_BYTES {
        if !has_budget_remaining() {
            return;
        }
        if let Poll::Ready(budget) = poll_proceed(cx) {
            budget.made_progress();
        }
    }
}

/// Whether there are neither decrypted bytes nor the end behind a socket that has nothing more.
fn has_nothing_decrypted(session: &mut ServerConnection) -> bool {
    use std::io::BufRead;
    session.reader().fill_buf().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

/// Puts a short body behind its head, for copying it costs less than a second piece to send. Returns what is to be sent
/// behind the head.
pub(crate) fn join<'a>(head: &mut Vec<u8>, body: &'a [u8]) -> &'a [u8] {
    if body.len() > JOINED_BYTES_MAX {
        return body;
    }
    head.extend_from_slice(body);
    b""
}

/// A socket whose two directions are used by two futures of one task. The borrow lasts for one poll only.
#[derive(Debug)]
pub(crate) struct Io {
    stream: RefCell<Stream>,
    /// The runtime has been asked to wake the task when there is something to read, and has not done so.
    is_watched: Cell<bool>,
}

impl Io {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream: RefCell::new(stream), is_watched: Cell::new(false) }
    }

    pub(crate) fn into_stream(self) -> Stream {
        self.stream.into_inner()
    }

    /// Whoever reads next is another task, which the runtime has not been asked to wake.
    pub(crate) fn forget_task(&self) {
        self.is_watched.set(false);
    }

    /// Ready when a read may give something.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.borrow_mut().poll_readable(cx)
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
        let mut is_watched = self.is_watched.get();
        let received = self.stream.borrow_mut().poll_receive(cx, (buffer, buffers), &mut is_watched);
        self.is_watched.set(is_watched);
        received
    }

    /// Writes all of both, the second directly behind the first. Fails with `TimedOut` when nothing moves for
    /// `patience`. Not cancel-safe: what was written is not told.
    pub(crate) async fn write_all(
        &self,
        first: &[u8],
        second: &[u8],
        alarm: &Alarm,
        patience: Duration,
    ) -> io::Result<()> {
        let pieces = if second.is_empty() { 1 } else { 2 };
        self.write_pieces(&mut [IoSlice::new(first), IoSlice::new(second)][..pieces], alarm, patience, || {
            Duration::MAX
        })
        .await
    }

    /// Writes all pieces, in one system call where the socket takes them. Fails with `TimedOut` when nothing moves for
    /// `patience`, or when all of it takes longer than `most`: a slow reader is not cut, one that has stopped is, or that
    /// takes too little on the whole. `most` is asked when there is something to wait for. Not cancel-safe.
    pub(crate) fn write_pieces(
        &self,
        mut pieces: &mut [IoSlice<'_>],
        alarm: &Alarm,
        patience: Duration,
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
                until = Some(last.map_or(now + patience, |last| last.min(now + patience)));
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
        let mut stream = self.stream.borrow_mut();
        let mut moved = false;
        while !pieces.is_empty() {
            // One piece goes by send, which the kernel has less to do for than for writev.
            let polled = match &**pieces {
                [piece] => stream.poll_send(cx, piece),
                pieces => Pin::new(&mut *stream).poll_write_vectored(cx, pieces),
            };
            match polled {
                Poll::Ready(Ok(0)) => return (Poll::Ready(Err(io::ErrorKind::WriteZero.into())), moved),
                Poll::Ready(Ok(written)) => IoSlice::advance_slices(pieces, written),
                Poll::Ready(Err(error)) => return (Poll::Ready(Err(error)), moved),
                Poll::Pending => return (Poll::Pending, moved),
            }
            moved = true;
        }
        (Pin::new(&mut *stream).poll_flush(cx), moved)
    }

    /// Ready when it is time to watch whether the client is still there: a while after its first request, and ever since.
    pub(crate) fn poll_worth_watching(&self, cx: &mut Context<'_>, alarm: &Alarm) -> Poll<()> {
        match &mut *self.stream.borrow_mut() {
            Stream::Unregistered(unregistered) => unregistered.poll_worth_watching(cx, alarm),
            Stream::Plain(_) | Stream::Tls(_) | Stream::Unix(_) => Poll::Ready(()),
        }
    }

    /// The bare socket of a plain TCP connection, out of the runtime. `None` if it cannot be had.
    pub(crate) fn into_tcp(self) -> Option<std::net::TcpStream> {
        match self.into_stream() {
            Stream::Plain(tcp) => tcp.into_std().ok(),
            Stream::Unregistered(unregistered) => unregistered.into_tcp(),
            Stream::Tls(_) | Stream::Unix(_) => None,
        }
    }

    /// Whether the kernel can take bytes from here, or put them here, by itself.
    pub(crate) fn is_plain_tcp(&self) -> bool {
        matches!(*self.stream.borrow(), Stream::Plain(_) | Stream::Unregistered(_))
    }

    /// Lets `take` take bytes from the socket, if it has some. Of a plain TCP connection only.
    pub(crate) fn try_take(&self, take: impl Fn(BorrowedFd<'_>) -> io::Result<usize>) -> io::Result<usize> {
        let mut stream = self.stream.borrow_mut();
        let tcp = stream.as_tcp()?.ok_or(io::ErrorKind::Unsupported)?;
        // If it finds nothing, the runtime forgets what it woke the task for.
        self.is_watched.set(false);
        tcp.try_io(Interest::READABLE, || take(tcp.as_fd()))
    }

    /// Lets `put` put bytes into the socket, once it takes some. Of a plain TCP connection only.
    pub(crate) fn poll_put(
        &self,
        cx: &mut Context<'_>,
        put: impl Fn(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut stream = self.stream.borrow_mut();
        let tcp = stream.as_tcp()?.ok_or(io::ErrorKind::Unsupported)?;
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
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(cx)
    }

    /// Whether closing says all that there is to say.
    pub(crate) fn is_plain(&self) -> bool {
        self.stream.borrow().is_plain()
    }

    /// Whether nothing has come and the other end has not closed, as far as the runtime has been told.
    pub(crate) fn is_quiet(&self) -> bool {
        self.stream.borrow_mut().is_quiet()
    }

    /// The same, asked of the kernel.
    pub(crate) fn is_quiet_for_sure(&self) -> bool {
        let stream = self.stream.borrow();
        stream.socket().is_some_and(has_nothing_to_read)
    }

    /// Whether the kernel has bytes that nobody has read, and not just the end.
    pub(crate) fn has_unread(&self) -> bool {
        let stream = self.stream.borrow();
        stream.socket().is_some_and(|socket| matches!(peek(socket), Ok(1..)))
    }

    /// Makes the coming close a reset: the only way to tell a client that a body without a frame is cut.
    pub(crate) fn reset_on_close(&self) {
        let stream = self.stream.borrow();
        let Some(socket) = stream.socket() else { return };
        // If it fails the client sees an ordinary close, and no harm beyond that is done.
        let _ = socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO));
    }
}

/// One of tokio's steps: a turn is 64 KiB.
const STEP_BYTES: usize = 512;
/// So much is copied in less time than a second piece takes.
const JOINED_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests;
