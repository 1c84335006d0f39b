//! One end of a tunnel: a socket that the tunnels' own epoll watches, or one that the runtime does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::AsyncWrite;

use crate::net::buffers::{Buffers, ReadBuffer};
use crate::net::stream::{Io, Reader};

/// One of a tunnel's two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Origin,
}

/// Where frames come from and go to.
#[derive(Debug)]
pub(super) enum End {
    Bare(Bare),
    /// What TLS is spoken on, and all of a worker that could not have an epoll. Boxed, because the other is a quarter of it.
    InRuntime(Box<Reader>),
}

impl End {
    /// The end that `io` was, out of the runtime if it is to be bare. `None` if it has broken.
    pub(super) fn new(io: Io, is_bare: bool) -> Option<Self> {
        Some(match is_bare {
            true => Self::Bare(Bare::new(io.into_socket()?)),
            false => Self::InRuntime(Box::new(Reader::new(io.into_stream()?))),
        })
    }

    /// Takes note of what epoll has told of it, if it is bare.
    pub(super) fn note(&mut self, told: EventFlags) {
        if let Self::Bare(bare) = self {
            bare.note(told);
        }
    }

    /// Reads once into `frames`. 0 is the end.
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        frames: &mut Vec<u8>,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Bare(bare) => bare.poll_receive(frames, buffers),
            Self::InRuntime(reader) => reader.poll_receive(cx, frames, buffers),
        }
    }

    /// Writes what the socket takes of `bytes`.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Bare(bare) => bare.poll_send(bytes),
            Self::InRuntime(reader) => reader.stream_mut().poll_send(cx, bytes),
        }
    }

    /// Sees to it that what was written goes out.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Bare(_) => Poll::Ready(Ok(())),
            Self::InRuntime(reader) => Pin::new(reader.stream_mut()).poll_flush(cx),
        }
    }

    /// Sends the end.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Bare(bare) => Poll::Ready(bare.shutdown()),
            Self::InRuntime(reader) => Pin::new(reader.stream_mut()).poll_shutdown(cx),
        }
    }

    /// Whether nothing has come and the other end has not closed, as far as is known, and whoever reads is woken
    /// when that changes.
    pub(super) fn is_waiting(&mut self) -> bool {
        match self {
            Self::Bare(bare) => !bare.may_read,
            Self::InRuntime(reader) => reader.is_waiting(),
        }
    }

    /// Whether the other end has sent its end, or the connection is broken. It may have said something before that
    /// nobody has read.
    pub(super) fn has_ended(&self) -> bool {
        match self {
            Self::Bare(bare) => bare.has_ended,
            Self::InRuntime(reader) => reader.stream().has_ended(),
        }
    }

    /// Whether nobody tells of its end while it is not read from. Epoll does, the runtime does not.
    pub(super) fn ends_untold(&self) -> bool {
        matches!(self, Self::InRuntime(_))
    }

    /// The socket itself, for options.
    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Bare(bare) => Some(bare.socket.as_fd()),
            Self::InRuntime(reader) => reader.stream().socket(),
        }
    }
}

/// The two ends of a direction.
#[derive(Debug)]
pub(super) struct Way<'a> {
    pub(super) source: &'a mut End,
    pub(super) sink: &'a mut End,
}

/// A socket that the runtime knows nothing of. An epoll watches it, edge-triggered (epoll(7)), and what that tells is noted
/// here.
#[derive(Debug)]
pub(super) struct Bare {
    socket: OwnedFd,
    /// There may be something to read; what comes from now on is told.
    may_read: bool,
    /// The other end has closed, or the connection is broken: there is something to read, and no edge tells of it.
    has_ended: bool,
    may_write: bool,
}

impl Bare {
    /// One of which nothing is known but that it takes bytes.
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self { socket, may_read: false, has_ended: false, may_write: true }
    }

    /// Takes note of what epoll has told of it.
    pub(super) fn note(&mut self, told: EventFlags) {
        let end = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        self.has_ended |= told.intersects(end);
        self.may_read |= told.intersects(EventFlags::IN | end);
        self.may_write |= told.intersects(EventFlags::OUT | end);
    }

    /// Reads once.
    fn poll_receive(&mut self, frames: &mut Vec<u8>, buffers: &Buffers) -> Poll<io::Result<usize>> {
        if !self.may_read {
            return Poll::Pending;
        }
        frames.make_room(buffers);
        match rustix::net::recv(&self.socket, spare_capacity(frames), RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => {
                (self.may_read, self.has_ended) = (false, false);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(error.into())),
            Ok((received, _)) => {
                // What leaves room was all that there is; another edge tells of more. The end has had its edge.
                self.may_read = received == 0 || frames.is_full() || self.has_ended;
                Poll::Ready(Ok(received))
            }
        }
    }

    /// Writes what the socket takes.
    fn poll_send(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.may_write {
            return Poll::Pending;
        }
        let sent = rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
        // What takes less is full; another edge tells of room.
        self.may_write = sent.is_ok_and(|sent| sent == bytes.len());
        match sent {
            Err(Errno::AGAIN) => Poll::Pending,
            sent => Poll::Ready(Ok(sent?)),
        }
    }

    /// Sends the end.
    fn shutdown(&self) -> io::Result<()> {
        match rustix::net::shutdown(&self.socket, Shutdown::Write) {
            // It is over already.
            Err(Errno::NOTCONN) => Ok(()),
            shut => Ok(shut?),
        }
    }
}

/// What one direction of a tunnel may still do before others have their turn. It is counted by what it takes, so that
/// neither long messages nor a great many empty ones make anybody wait.
#[derive(Debug)]
pub(super) struct IoBudget {
    left: usize,
}

impl IoBudget {
    pub(super) fn new() -> Self {
        Self { left: WORK_MAX }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// One read has brought so many bytes, with so many ends of frames in them.
    pub(super) fn spend(&mut self, bytes: usize, frames: u64) {
        let frames = usize::try_from(frames).unwrap_or(WORK_MAX).saturating_mul(FRAME_WORK);
        self.left = self.left.saturating_sub(bytes.max(frames).max(READ_WORK));
    }
}

/// Of one turn, in bytes moved.
const WORK_MAX: usize = 64 << 10;
/// What a read takes at least, and a frame, as if they were so many bytes: 16 reads, or 2,048 frames.
const READ_WORK: usize = 4 << 10;
const FRAME_WORK: usize = 32;

#[cfg(test)]
mod tests {
    use crate::net::memory::Memory;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::task::Waker;

    use super::*;

    /// A bare end of which epoll has told what `told` says, and the far end of its socket.
    fn pair(told: EventFlags) -> (End, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        let mut end = End::Bare(Bare::new(near.into()));
        end.note(told);
        (end, far)
    }

    /// Reads until it has to wait: how much, and in how many reads. Whether the source has ended.
    fn read_on(end: &mut End, waker: &Waker, buffers: &Buffers) -> (usize, usize, bool) {
        let (mut bytes, mut reads) = (0, 0);
        loop {
            let mut frames = buffers.take_for_frames();
            let read = end.poll_receive(&mut Context::from_waker(waker), &mut frames, buffers);
            match read {
                Poll::Ready(Ok(0)) => return (bytes, reads, true),
                Poll::Ready(read) => (bytes, reads) = (bytes + read.unwrap(), reads + 1),
                Poll::Pending => return (bytes, reads, false),
            }
        }
    }

    #[test]
    fn a_turn_ends_by_bytes_reads_or_frames() {
        for (bytes, frames, steps) in [(64 << 10, 1, 1), (16 << 10, 0, 4), (1, 1, 16), (8 << 10, 2048, 1)] {
            let mut budget = IoBudget::new();
            let mut taken = 0;
            while !budget.is_spent() {
                budget.spend(bytes, frames);
                taken += 1;
            }
            assert_eq!(taken, steps, "{bytes} bytes and {frames} frames a read");
        }
    }

    #[test]
    fn what_was_said_before_the_end_comes_before_it() {
        let (mut end, mut far) = pair(EventFlags::IN | EventFlags::RDHUP);
        far.write_all(b"bye").unwrap();
        drop(far);
        assert_eq!(read_on(&mut end, Waker::noop(), &Buffers::new(1024, Memory::new())), (3, 1, true));
    }

    #[test]
    fn an_edge_in_vain_is_forgotten() {
        let (mut end, _far) = pair(EventFlags::IN | EventFlags::RDHUP);
        assert_eq!(read_on(&mut end, Waker::noop(), &Buffers::new(1024, Memory::new())), (0, 0, false));
        assert!(end.is_waiting());
    }

    #[test]
    fn what_is_full_waits_for_an_edge() {
        let (mut end, mut far) = pair(EventFlags::empty());
        let mut cx = Context::from_waker(Waker::noop());
        let mut sent = 0;
        while let Poll::Ready(taken) = end.poll_send(&mut cx, &[b'x'; 4096]) {
            sent += taken.unwrap();
        }
        far.read_exact(&mut vec![0; sent]).unwrap();
        assert!(end.poll_send(&mut cx, b"x").is_pending(), "nobody has told it");
        end.note(EventFlags::OUT);
        assert!(matches!(end.poll_send(&mut cx, b"x"), Poll::Ready(Ok(1))));
    }
}
