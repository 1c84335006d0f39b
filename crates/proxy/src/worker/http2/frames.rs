//! The bytes of a connection that speaks HTTP/2, as its codec reads and writes them, with what is counted of them: whether the
//! client takes what it is sent, and whether what it sends is worth anything.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::net::stream::Stream;
use crate::state::local::Local;

/// A connection.
#[derive(Debug)]
pub(super) struct Frames {
    stream: RefCell<Stream>,
    /// What was read before it was known what it is.
    unread: RefCell<BytesMut>,
    received: Cell<u64>,
    /// Content of requests, answers and tunnels, and heads by what they are worth.
    moved: Rc<Cell<u64>>,
    begun: Instant,
    /// Since when the client has taken nothing of what there is for it.
    blocked_since: Cell<Option<Instant>>,
}

impl Frames {
    pub(super) fn new(stream: Stream, unread: BytesMut) -> Rc<Self> {
        Rc::new(Self {
            stream: RefCell::new(stream),
            unread: RefCell::new(unread),
            received: Cell::new(0),
            moved: Rc::default(),
            begun: Instant::now(),
            blocked_since: Cell::new(None),
        })
    }

    /// What is moved of content on it; a header section counts, too.
    pub(super) fn moved(&self) -> Rc<Cell<u64>> {
        self.moved.clone()
    }

    /// A stream has been opened.
    pub(super) fn count_head(&self) {
        self.moved.set(self.moved.get() + HEAD_WORTH_BYTES);
    }

    /// Whether the client sends more than anybody who wants something: frames that carry nothing take next to nothing to send, and
    /// each has to be looked at. Some overhead is always allowed, and a little of it comes back with time, so that a connection
    /// that only pings for weeks goes on.
    pub(super) fn are_too_many(&self, now: Instant) -> bool {
        let age_s = now.saturating_duration_since(self.begun).as_secs();
        let allowed = OVERHEAD_BYTES + OVERHEAD_BYTES_PER_SECOND * age_s + self.moved.get() * OVERHEAD_FACTOR;
        self.received.get() > allowed
    }

    pub(super) fn blocked_since(&self) -> Option<Instant> {
        self.blocked_since.get()
    }

    fn note_written(&self, written: &Poll<io::Result<usize>>) {
        match written {
            Poll::Ready(_) => self.blocked_since.set(None),
            Poll::Pending => {
                self.blocked_since.set(self.blocked_since.get().or_else(|| Some(Instant::now())));
            }
        }
    }
}

/// A connection in the hands of its codec.
#[derive(Debug)]
pub(super) struct SharedFrames(pub(super) Rc<Frames>);

impl AsyncRead for SharedFrames {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let frames = &self.0;
        let before = buf.filled().len();
        let mut unread = frames.unread.borrow_mut();
        if unread.is_empty() {
            ready!(Pin::new(&mut *frames.stream.borrow_mut()).poll_read(cx, buf))?;
        } else {
            let here = unread.len().min(buf.remaining());
            buf.put_slice(&unread[..here]);
            unread.advance(here);
        }
        frames.received.set(frames.received.get() + (buf.filled().len() - before) as u64);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SharedFrames {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write(cx, buf);
        self.0.note_written(&written);
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut *self.0.stream.borrow_mut()).poll_write_vectored(cx, bufs);
        self.0.note_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0.stream.borrow_mut()).poll_shutdown(cx)
    }
}

/// Sends the end and reads on until the client's own, or until it has had long enough: a close while bytes of the client are unread
/// would be a reset, and a reset can eat what was said last.
pub(super) async fn linger(frames: &Frames, worker: &Local) {
    let mut discarded = worker.buffers.small();
    let mut is_shut = false;
    let end = poll_fn(|cx| {
        let mut stream = frames.stream.borrow_mut();
        if !is_shut {
            ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
            is_shut = true;
        }
        loop {
            discarded.clear();
            let mut read = ReadBuf::uninit(discarded.spare_capacity_mut());
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok::<_, io::Error>(()));
            }
        }
    });
    // However it ends, the connection is over.
    let _ = timeout(LINGER, end).await;
}

/// A header section, as if it were so many bytes of content.
const HEAD_WORTH_BYTES: u64 = 256;
/// What may come of a connection that is worth nothing: at first, for each second, and for each byte that is.
const OVERHEAD_BYTES: u64 = 256 << 10;
const OVERHEAD_BYTES_PER_SECOND: u64 = 8 << 10;
const OVERHEAD_FACTOR: u64 = 8;
/// How long an early close waits for the client's own end.
const LINGER: Duration = Duration::from_secs(2);
