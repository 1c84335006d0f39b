//! Reading by a task that is woken once for what comes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncReadExt, Interest};
use tokio::task::coop::{has_budget_remaining, poll_proceed};

use crate::net::buffers::{Buffers, ReadBuffer};
use crate::net::stream::http2_io::Http2Io;
use crate::net::stream::known::receive_known;
use crate::net::stream::socket::Stream;
use crate::net::stream::tls::Tls;
use crate::net::stream::turn::spend;

/// A stream with the memory of the one task that reads it: whether the runtime has been asked to wake that task, and has not
/// done so. What the runtime knows of a socket is a word in memory; to have it wake a task takes several times as many
/// instructions as to look at that, and is done only where it must be.
///
/// A stream that another task is to read is taken out of here, and put into a reader of that task's own.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(super) stream: Stream,
    is_watched: bool,
}

impl Reader {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, is_watched: false }
    }

    pub(crate) fn into_stream(self) -> Stream {
        self.stream
    }

    /// The stream, for questions.
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream, to write to it.
    pub(crate) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Reads once into `buffer`, which is borrowed from `buffers` when it has no room, and given back when it stays empty.
    /// 0 is the end.
    pub(crate) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut impl ReadBuffer,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        // Others have their turn, too, however much comes; this task is woken for another one.
        if !has_budget_remaining() {
            let _wakes_it = poll_proceed(cx);
            return Poll::Pending;
        }
        loop {
            let received = match &mut self.stream {
                Stream::Plain(tcp) => receive_known(tcp, buffer, buffers),
                Stream::Unix(unix) => receive_known(&**unix, buffer, buffers),
                Stream::Tls(tls) => return poll_decrypted(tls, cx, buffer, buffers),
                Stream::Http2(stream) => return poll_stream(stream, cx, buffer, buffers),
            };
            match received {
                Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
                Some(received) => {
                    self.is_watched = false;
                    spend(cx, received.as_ref().copied().unwrap_or_default());
                    return Poll::Ready(received);
                }
                None if self.is_watched => return Poll::Pending,
                None => {}
            }
            // A task that has used its budget up is woken for that, and for nothing else.
            self.is_watched = has_budget_remaining();
            ready!(self.stream.poll_readable(cx))?;
        }
    }

    /// Whether nothing has come, and the task is woken when something does: it may go to sleep without another
    /// read.
    pub(crate) fn is_waiting(&mut self) -> bool {
        self.is_watched && self.stream.is_quiet()
    }

    /// Lets `take` take bytes from the socket, if it has some. Of a plain TCP connection only.
    pub(super) fn try_take(
        &mut self,
        take: impl Fn(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let tcp = self.stream.as_tcp().ok_or(io::ErrorKind::Unsupported)?;
        // If it finds nothing, the runtime forgets what it woke the task for.
        self.is_watched = false;
        tcp.try_io(Interest::READABLE, || take(tcp.as_fd()))
    }
}

#[inline(never)]
fn poll_stream(
    stream: &mut Http2Io,
    cx: &mut Context<'_>,
    buffer: &mut impl ReadBuffer,
    buffers: &Buffers,
) -> Poll<io::Result<usize>> {
    // No buffer is taken for what has not come.
    ready!(stream.poll_readable(cx))?;
    buffer.make_room(buffers);
    let read = pin!(stream.read_buf(buffer)).poll(cx);
    buffer.give_back_if_empty(buffers);
    if let Poll::Ready(Ok(read)) = &read {
        spend(cx, *read);
    }
    read
}

fn poll_decrypted(
    tls: &mut Tls,
    cx: &mut Context<'_>,
    buffer: &mut impl ReadBuffer,
    buffers: &Buffers,
) -> Poll<io::Result<usize>> {
    buffer.make_room(buffers);
    let read = pin!(tls.stream.read_buf(buffer)).poll(cx);
    buffer.give_back_if_empty(buffers);
    if let Poll::Ready(read) = &read {
        tls.heard(read);
        spend(cx, read.as_ref().copied().unwrap_or_default());
    }
    read
}
