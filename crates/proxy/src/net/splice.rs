//! Long bodies between two sockets without TLS: they are spliced through a pipe, which the kernel does without copying
//! them (splice(2)). Whatever has to be looked at goes through a buffer instead.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::Poll;
use std::time::Duration;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::net::clock::Alarm;
use crate::net::stream::{Io, spend};

/// A worker's pipes. Whoever waits for bytes holds none.
#[derive(Debug)]
pub(crate) struct SplicePipes {
    free: RefCell<Vec<Pipe>>,
    lent: Cell<usize>,
    lent_max: usize,
}

/// An empty one, when it is not lent.
#[derive(Debug)]
struct Pipe {
    entry: OwnedFd,
    exit: OwnedFd,
}

/// A pipe in use. It goes back only if it is empty again.
#[derive(Debug)]
struct PipeGuard<'a> {
    pipes: &'a SplicePipes,
    pipe: Option<Pipe>,
    holds: usize,
}

/// Between which connections bytes are spliced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpliceEnds<'a> {
    pub(crate) source: &'a Io,
    pub(crate) sink: &'a Io,
}

/// What came of pouring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spliced {
    /// So many bytes have gone into the sink.
    pub(crate) bytes: u64,
    pub(crate) stopped: Option<Stopped>,
    pub(crate) waited: Waits,
}

/// How long both ends were waited for, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Waits {
    pub(crate) source: Duration,
    pub(crate) sink: Duration,
}

/// Why no more can be spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The source has ended.
    SourceEnded,
    /// Nothing came from the source for as long as it may take.
    SourceLate,
    /// The sink takes nothing more.
    SinkEnded,
    /// The sink took nothing for as long as it may take.
    SinkLate,
}

/// How many pipes each of so many workers may have, where all of them together may open so many files: a sixteenth
/// of those is for pipes, at most.
pub(crate) fn pipes_max(files: u64, workers: usize) -> usize {
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    (files / FILES_SHARE / FILES_A_PIPE / workers.max(1)).min(PIPES_MAX)
}

/// Each of them has so many files.
pub(crate) const FILES_A_PIPE: usize = 2;

impl SplicePipes {
    /// So many of them, lent and free ones together.
    pub(crate) fn new(pipes_max: usize) -> Self {
        Self { free: RefCell::default(), lent: Cell::new(0), lent_max: pipes_max }
    }

    /// Waits until the source has something and pours what it has, at most `bytes`, into the sink. `None` if these
    /// bytes are better copied, or no pipe is to be had. Not cancel-safe: what is in the pipe is lost.
    pub(crate) async fn splice(
        &self,
        ends: SpliceEnds<'_>,
        bytes: u64,
        alarm: &Alarm,
        timeout: Waits,
    ) -> Option<Spliced> {
        if bytes < WORTH_BYTES || !ends.source.is_plain_tcp() || !ends.sink.is_plain_tcp() {
            return None;
        }
        // Boxed, because most requests have no long body to wait for.
        Box::pin(self.splice_some(ends, bytes, alarm, timeout)).await
    }

    async fn splice_some(
        &self,
        SpliceEnds { source, sink }: SpliceEnds<'_>,
        bytes: u64,
        alarm: &Alarm,
        timeout: Waits,
    ) -> Option<Spliced> {
        let mut spliced = Spliced { bytes: 0, stopped: None, waited: Waits::default() };
        let begun = alarm.now();
        let readable = alarm.within(timeout.source, |cx| source.poll_readable(cx)).await;
        spliced.waited.source = alarm.now() - begun;
        match readable {
            Some(Ok(())) => {}
            Some(Err(_)) => return Some(spliced.and(Stopped::SourceEnded)),
            None => return Some(spliced.and(Stopped::SourceLate)),
        }
        let mut pipe = self.lend()?;
        let most = usize::try_from(bytes).unwrap_or(usize::MAX).min(PIPE_BYTES);
        match source.try_take(|socket| pipe.fill(socket, most)) {
            Ok(0) => return Some(spliced.and(Stopped::SourceEnded)),
            Ok(taken) => pipe.holds = taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(spliced),
            Err(_) => return Some(spliced.and(Stopped::SourceEnded)),
        }
        let (taken, begun) = (pipe.holds, alarm.now());
        while pipe.holds > 0 {
            let put = alarm.within(timeout.sink, |cx| sink.poll_put(cx, |socket| pipe.empty(socket))).await;
            spliced.waited.sink = alarm.now() - begun;
            match put {
                Some(Ok(put @ 1..)) => {
                    pipe.holds -= put;
                    spliced.bytes += put as u64;
                }
                Some(Ok(0) | Err(_)) => return Some(spliced.and(Stopped::SinkEnded)),
                None => return Some(spliced.and(Stopped::SinkLate)),
            }
        }
        // The kernel has less to do for them than for bytes that are copied, but others have their turn, too.
        poll_fn(|cx| {
            spend(cx, taken / CHEAPER);
            Poll::Ready(())
        })
        .await;
        Some(spliced)
    }

    /// None if there are enough of them, or the system gives none.
    fn lend(&self) -> Option<PipeGuard<'_>> {
        if self.lent.get() >= self.lent_max {
            return None;
        }
        let free = self.free.borrow_mut().pop();
        let pipe = match free {
            Some(pipe) => pipe,
            None => Pipe::new()?,
        };
        self.lent.set(self.lent.get() + 1);
        Some(PipeGuard { pipes: self, pipe: Some(pipe), holds: 0 })
    }
}

impl Pipe {
    fn new() -> Option<Self> {
        let (exit, entry) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        // A user who has many pipes gets no bigger ones; then it stays as it is.
        let _ = fcntl_setpipe_size(&entry, PIPE_BYTES);
        Some(Self { entry, exit })
    }
}

impl PipeGuard<'_> {
    fn fill(&self, socket: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        Ok(splice(socket, None, &pipe.entry, None, most, SpliceFlags::NONBLOCK)?)
    }

    fn empty(&self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let Some(pipe) = &self.pipe else { return Ok(0) };
        Ok(splice(&pipe.exit, None, socket, None, self.holds, SpliceFlags::NONBLOCK)?)
    }
}

impl Drop for PipeGuard<'_> {
    fn drop(&mut self) {
        self.pipes.lent.set(self.pipes.lent.get() - 1);
        let mut free = self.pipes.free.borrow_mut();
        let has_room = free.len() < FREE_MAX && free.len() + self.pipes.lent.get() < self.pipes.lent_max;
        if self.holds == 0 && has_room {
            free.extend(self.pipe.take());
        }
    }
}

impl Spliced {
    fn and(self, stopped: Stopped) -> Self {
        Self { stopped: Some(stopped), ..self }
    }
}

/// Below this a read and a write take less time. A body that is no longer comes with its head, or in one read more.
const WORTH_BYTES: u64 = 64 << 10;
/// What goes through a pipe at once. A bigger one was no faster, one of 64 KiB took a quarter more time.
const PIPE_BYTES: usize = 256 << 10;
/// A user without privileges may have 64 MiB in pipes (pipe(7), `pipe-user-pages-soft`), and clients that take their
/// answer slowly hold one each. Bodies beyond are copied.
const PIPES_MAX: usize = 32;
/// Of all files.
const FILES_SHARE: usize = 16;
/// A spliced byte costs so much less than a copied one, about: a turn is what goes through a pipe at once.
const CHEAPER: usize = 4;
/// Enough for what is under way at one moment.
const FREE_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::net::clock::{Clock, by_clock};
    use crate::net::stream::Stream;

    /// The proxy's end of a connection, and the other one.
    async fn ends() -> (Io, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Io::new(Stream::Plain(listener.accept().await.unwrap().0)), other)
    }

    fn between<'a>(source: &'a Io, sink: &'a Io) -> SpliceEnds<'a> {
        SpliceEnds { source, sink }
    }

    async fn by_test_clock<T: 'static>(task: impl AsyncFnOnce(Alarm) -> T + 'static) -> T {
        let clock = Rc::new(Clock::new());
        let alarm = Alarm::new(clock.clone());
        by_clock(clock, Box::pin(task(alarm))).await
    }

    const TIMEOUT: Waits = Waits { source: Duration::from_secs(5), sink: Duration::from_secs(5) };

    fn outcome(spliced: Option<Spliced>) -> Option<(u64, Option<Stopped>)> {
        spliced.map(|spliced| (spliced.bytes, spliced.stopped))
    }

    #[tokio::test(start_paused = true)]
    async fn a_pipe_that_was_not_emptied_is_never_lent_again() {
        by_test_clock(async |alarm| {
            let pipes = SplicePipes::new(PIPES_MAX);
            let (source, mut node) = ends().await;
            let (sink, client) = ends().await;
            let writing =
                tokio::spawn(async move { while node.write_all(&[b'x'; 1 << 16]).await.is_ok() {} });
            // The client never reads.
            let stopped = loop {
                let spliced = pipes.splice(between(&source, &sink), u64::MAX, &alarm, TIMEOUT).await.unwrap();
                if let Some(stopped) = spliced.stopped {
                    break stopped;
                }
                assert_eq!((pipes.lent.get(), pipes.free.borrow().len()), (0, 1));
            };
            assert_eq!(stopped, Stopped::SinkLate);
            assert_eq!((pipes.lent.get(), pipes.free.borrow().len()), (0, 0));
            writing.abort();
            drop(client);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn it_says_who_stopped() {
        by_test_clock(async |alarm| {
            let pipes = SplicePipes::new(PIPES_MAX);
            let (source, mut node) = ends().await;
            let (sink, client) = ends().await;
            // A socket may seem readable once, before it was asked.
            let asked = pipes.splice(between(&source, &sink), 1 << 20, &alarm, TIMEOUT).await;
            assert_eq!(asked.map(|spliced| spliced.bytes), Some(0));
            let late = pipes.splice(between(&source, &sink), 1 << 20, &alarm, TIMEOUT).await;
            assert_eq!(outcome(late), Some((0, Some(Stopped::SourceLate))));
            node.write_all(b"abc").await.unwrap();
            let some = pipes.splice(between(&source, &sink), 1 << 20, &alarm, TIMEOUT).await;
            assert_eq!(outcome(some), Some((3, None)));
            node.write_all(b"abc").await.unwrap();
            // With bytes unread, its close is a reset.
            drop(client);
            let ended = loop {
                match pipes.splice(between(&source, &sink), 1 << 20, &alarm, TIMEOUT).await.unwrap().stopped {
                    Some(stopped) => break stopped,
                    None => node.write_all(b"abc").await.unwrap(),
                }
            };
            assert_eq!(ended, Stopped::SinkEnded);
            drop(node);
            let (sink, _client) = ends().await;
            let ended = loop {
                if let Some(stopped) =
                    pipes.splice(between(&source, &sink), 1 << 20, &alarm, TIMEOUT).await.unwrap().stopped
                {
                    break stopped;
                }
            };
            assert_eq!(ended, Stopped::SourceEnded);
        })
        .await;
    }

    #[test]
    fn pipes_are_a_small_part_of_all_files() {
        for (files, workers, pipes) in
            [(1 << 20, 8, 32), (1024, 1, 32), (1024, 2, 16), (200, 2, 3), (200, 16, 0), (u64::MAX, 1, 32)]
        {
            assert_eq!(pipes_max(files, workers), pipes, "{files} files, {workers} workers");
        }
    }

    #[tokio::test]
    async fn short_bodies_and_those_beyond_the_last_pipe_are_copied() {
        by_test_clock(async |alarm| {
            let pipes = SplicePipes::new(PIPES_MAX);
            let (source, mut node) = ends().await;
            let (sink, _client) = ends().await;
            node.write_all(b"abc").await.unwrap();
            assert_eq!(pipes.splice(between(&source, &sink), WORTH_BYTES - 1, &alarm, TIMEOUT).await, None);
            let lent: Vec<_> = (0..PIPES_MAX).map(|_| pipes.lend().unwrap()).collect();
            assert_eq!(pipes.splice(between(&source, &sink), WORTH_BYTES, &alarm, TIMEOUT).await, None);
            drop(lent);
            assert_eq!(pipes.free.borrow().len(), FREE_MAX);
            let some = pipes.splice(between(&source, &sink), WORTH_BYTES, &alarm, TIMEOUT).await;
            assert_eq!(outcome(some), Some((3, None)));
        })
        .await;
    }
}
