//! The ends of an exchange over HTTP/1: the body is on the connection as it was framed by the client, and the answer goes
//! out as it is printed. What each of these has to do is said at [`BodySource`] and [`ReplySink`].
//!
//! [`BodySource`]: super::BodySource
//! [`ReplySink`]: super::ReplySink

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use rustix::fs::sendfile;
use tokio::time::Instant;
use wire::Version;
use wire::body::{BodyWalk, Walked};
use wire::engineio::CloseScan;
use wire::forward::Reframed;
use wire::request::{RequestBody, RequestHead};

use crate::fault::{ClientFault, Fault, OurFault};
use crate::net::buffers::{Buffers, SMALL, consume};
use crate::net::clock::Alarm;
use crate::net::pace::{BodySoFar, Pace};
use crate::net::splice::{SpliceEnds, SplicePipes, Spliced, Waits};
use crate::net::stream::{ClientStream, Io, join, spend};
use crate::request::downstream::arrival::Arrival;
use crate::state::copies::BodyCopy;
use crate::state::local::Local;

/// The body of a request, as far as it has been read, and the connection that the rest of it comes from.
#[derive(Debug)]
pub(crate) struct Http1Body<'c> {
    client: &'c ClientStream,
    inbound: &'c mut BytesMut,
    buffers: &'c Buffers,
    pipes: &'c SplicePipes,
    walk: Option<BodyWalk>,
    is_done: bool,
    bytes: u64,
    pace: &'c Cell<Pace>,
    /// When the request began.
    begun: Instant,
    /// So long the client has been waited for.
    waited: Duration,
    /// Its node has begun to answer, so that it may go on as slowly as both like.
    is_answered: bool,
    /// Somebody else gets the same.
    copy: Option<Box<BodyCopy>>,
}

impl<'c> Http1Body<'c> {
    pub(crate) fn new(
        client: &'c ClientStream,
        inbound: &'c mut BytesMut,
        head: &RequestHead,
        worker: &'c Local,
        begun: Instant,
    ) -> Self {
        let is_done = head.body() == RequestBody::None;
        let Local { buffers, pipes, .. } = worker;
        Self {
            client,
            inbound,
            buffers,
            pipes,
            walk: None,
            is_done,
            bytes: 0,
            pace: &worker.pace,
            begun,
            waited: Duration::ZERO,
            is_answered: false,
            copy: None,
        }
    }

    pub(super) fn copy_to(&mut self, copy: Box<BodyCopy>) {
        self.copy = Some(copy);
    }

    pub(super) fn leave(&mut self) {
        self.walk = None;
        self.copy = None;
        self.is_done = true;
    }

    pub(super) fn is_answered(&mut self) {
        self.is_answered = true;
    }

    /// Returns how long more of it is waited for, if nothing comes for `timeout` at most.
    fn body_timeout(&self, timeout: Duration) -> Duration {
        if self.is_answered {
            return timeout;
        }
        let age = self.client.now() - self.begun;
        let so_far = BodySoFar { bytes: self.bytes, waited: self.waited, age };
        self.pace.get().of_body(timeout, so_far).min(timeout)
    }

    pub(super) fn accept(&mut self, head: &RequestHead, bytes_max: Option<u64>) -> Result<(), Fault> {
        self.walk = Some(BodyWalk::of_request(head.body(), bytes_max).map_err(ClientFault::from)?);
        Ok(())
    }

    pub(super) fn watch_for_close_packet(&mut self, scan: CloseScan) {
        if let Some(walk) = &mut self.walk {
            walk.watch_for_close_packet(scan);
        }
    }

    pub(super) fn held_close_packet(&self) -> bool {
        self.is_done && self.walk.as_ref().is_some_and(BodyWalk::held_close_packet)
    }

    pub(super) fn alarm(&self) -> &'c Alarm {
        &self.client.alarm
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn at_hand(&mut self) -> Result<(&[u8], Walked), Fault> {
        let nothing = Walked { kept: 0, taken: 0, is_end: false, pieces: 0 };
        let walked = match &mut self.walk {
            Some(walk) if !self.is_done => walk.walk(self.inbound).map_err(ClientFault::from)?,
            Some(_) | None => nothing,
        };
        Ok((&self.inbound[..walked.kept], walked))
    }

    pub(super) fn pass(&mut self, walked: Walked) {
        if let Some(copy) = self.copy.take() {
            self.copy = copy.taken(&self.inbound[..walked.kept], walked.is_end);
        }
        consume(self.inbound, walked.taken);
        self.bytes += walked.taken as u64;
        self.is_done |= walked.is_end;
        self.buffers.give_back_if_empty(self.inbound);
    }

    pub(super) async fn splice(&mut self, origin: &Io, timeout: Duration) -> Option<Spliced> {
        let source = self.body_timeout(timeout);
        let walk = self.walk.as_mut().filter(|_| self.inbound.is_empty() && self.copy.is_none())?;
        let waits = Waits { source, sink: timeout };
        let ends = SpliceEnds { source: &self.client.io, sink: origin };
        let spliced = self.pipes.splice(ends, walk.unseen(), &self.client.alarm, waits).await?;
        self.waited += spliced.waited.source;
        walk.pass_unseen(spliced.bytes);
        self.bytes += spliced.bytes;
        self.is_done |= walk.is_at_end();
        Some(spliced)
    }

    pub(super) async fn fill(&mut self, timeout: Duration) -> Result<(), ClientFault> {
        let (timeout, begun) = (self.body_timeout(timeout), self.client.now());
        let ClientStream { io, alarm } = self.client;
        let (inbound, buffers) = (&mut *self.inbound, self.buffers);
        let read = alarm.within(timeout, |cx| io.poll_read(cx, inbound, buffers)).await;
        self.waited += alarm.now() - begun;
        match read {
            Some(Ok(0) | Err(_)) => Err(ClientFault::Gone),
            Some(Ok(_)) => Ok(()),
            None => Err(ClientFault::BodyTimedOut),
        }
    }

    pub(super) fn poll_client_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.client.poll_worth_watching(cx));
        while self.inbound.len() < SMALL {
            if self.inbound.capacity() == 0 && !self.client.io.is_quiet() {
                *self.inbound = self.buffers.small();
            }
            let Poll::Ready(read) = self.client.io.poll_read(cx, self.inbound, self.buffers) else {
                self.buffers.shrink(self.inbound);
                return Poll::Pending;
            };
            match read {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        Poll::Pending
    }
}

/// The connection that the answer goes to, and how much of it has gone.
#[derive(Debug)]
pub(crate) struct Http1Reply<'c> {
    client: &'c ClientStream,
    pub(super) version: Version,
    /// Whether the connection may go on after the answer, as far as the client and we are concerned.
    pub(super) keep_alive: bool,
    pub(super) arrival: Arrival<'c>,
    has_begun: Cell<bool>,
    /// How what is still to come of the body is framed.
    framed: Cell<Reframed>,
    bytes: Cell<u64>,
    pace: &'c Cell<Pace>,
    /// So long it has been waited that the client takes something.
    waited: Cell<Duration>,
}

impl<'c> Http1Reply<'c> {
    pub(crate) fn new(
        client: &'c ClientStream,
        head: &RequestHead,
        keep_alive: bool,
        arrival: Arrival<'c>,
        pace: &'c Cell<Pace>,
    ) -> Self {
        Self {
            client,
            version: head.version(),
            keep_alive,
            arrival,
            has_begun: Cell::new(false),
            framed: Cell::new(Reframed::AsItCame),
            bytes: Cell::new(0),
            pace,
            waited: Cell::new(Duration::ZERO),
        }
    }

    pub(super) fn takes_interim(&self) -> bool {
        self.version == Version::Http11
    }

    pub(super) fn is_for_another_host(&self, head: &RequestHead) -> bool {
        head.host_name().is_some_and(|host| self.client.io.is_for_another_host(host))
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(super) async fn send_interim(&self, head: &[u8], timeout: Duration) -> Result<(), Fault> {
        self.send(&mut [IoSlice::new(head)], timeout).await
    }

    pub(super) async fn begin(
        &self,
        head: &mut Vec<u8>,
        content: &[u8],
        framed: Reframed,
        timeout: Duration,
    ) -> Result<(), Fault> {
        self.has_begun.set(true);
        self.framed.set(framed);
        let content = if framed == Reframed::ToChunks {
            frame_chunk(content, head);
            &[]
        } else {
            join(head, content)
        };
        match content {
            [] => self.send(&mut [IoSlice::new(head)], timeout).await,
            content => self.send(&mut [IoSlice::new(head), IoSlice::new(content)], timeout).await,
        }
    }

    pub(super) async fn send_body(&self, content: &[u8], timeout: Duration) -> Result<(), Fault> {
        if content.is_empty() {
            return Ok(());
        }
        if self.framed.get() != Reframed::ToChunks {
            return self.send(&mut [IoSlice::new(content)], timeout).await;
        }
        let size = format!("{:x}\r\n", content.len());
        let mut pieces = [IoSlice::new(size.as_bytes()), IoSlice::new(content), IoSlice::new(b"\r\n")];
        self.send(&mut pieces, timeout).await
    }

    pub(super) async fn finish(&self, last: &[u8], timeout: Duration) -> Result<(), Fault> {
        if self.framed.get() == Reframed::ToChunks {
            let mut out = Vec::with_capacity(last.len() + CHUNK_FRAMES_BYTES);
            frame_chunk(last, &mut out);
            out.extend_from_slice(b"0\r\n\r\n");
            self.send(&mut [IoSlice::new(&out)], timeout).await?;
        } else if !last.is_empty() {
            self.send(&mut [IoSlice::new(last)], timeout).await?;
        }
        self.framed.set(Reframed::AsItCame);
        Ok(())
    }

    pub(super) async fn splice(
        &self,
        pipes: &SplicePipes,
        origin: &Io,
        bytes: u64,
        timeout: Duration,
    ) -> Option<Spliced> {
        // As if one pipe were all: it is asked again before the next.
        let left = self.pace.get().of_answer(timeout, self.bytes.get(), self.waited.get());
        let waits = Waits { source: timeout, sink: left.min(timeout) };
        let ends = SpliceEnds { source: origin, sink: &self.client.io };
        let spliced = pipes.splice(ends, bytes, &self.client.alarm, waits).await?;
        self.waited.set(self.waited.get() + spliced.waited.sink);
        self.bytes.set(self.bytes.get() + spliced.bytes);
        Some(spliced)
    }

    pub(super) fn alarm(&self) -> &'c Alarm {
        &self.client.alarm
    }

    pub(super) fn now(&self) -> Instant {
        self.client.now()
    }

    pub(super) fn can_send_files(&self) -> bool {
        self.client.io.is_plain_tcp()
    }

    pub(super) async fn send_file(
        &self,
        file: BorrowedFd<'_>,
        mut part: Range<u64>,
        timeout: Duration,
    ) -> Result<(), Fault> {
        while part.start < part.end {
            // One client must not keep the others waiting, however much its socket takes.
            let most = usize::try_from(part.end - part.start).unwrap_or(usize::MAX).min(TURN_BYTES);
            let left = self.pace.get().of_answer(timeout, self.bytes.get(), self.waited.get()).min(timeout);
            let begun = self.now();
            let put = |socket: BorrowedFd<'_>| {
                let mut at = part.start;
                Ok(sendfile(socket, file, Some(&mut at), most)?)
            };
            let sent = self.client.alarm.within(left, |cx| {
                let sent = ready!(self.client.io.poll_put(cx, put))?;
                spend(cx, sent);
                Poll::Ready(Ok::<_, io::Error>(sent))
            });
            let sent = sent.await;
            self.waited.set(self.waited.get() + (self.now() - begun));
            match sent {
                // It was cut meanwhile.
                Some(Ok(0)) => return Err(OurFault::FileUnreadable.into()),
                Some(Ok(sent)) => {
                    part.start += sent as u64;
                    self.bytes.set(self.bytes.get() + sent as u64);
                }
                Some(Err(_)) => return Err(ClientFault::Gone.into()),
                None => return Err(ClientFault::AnswerUntaken.into()),
            }
        }
        Ok(())
    }

    pub(super) async fn send_whole(&self, answer: &[u8], timeout: Duration) -> Result<(), Fault> {
        self.has_begun.set(true);
        self.send(&mut [IoSlice::new(answer)], timeout).await
    }

    async fn send(&self, pieces: &mut [IoSlice<'_>], timeout: Duration) -> Result<(), Fault> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let most = || {
            let bytes = self.bytes.get() + length as u64;
            self.pace.get().of_answer(timeout, bytes, self.waited.get())
        };
        let ClientStream { io, alarm } = self.client;
        let begun = alarm.now();
        let written = io.write_pieces(pieces, alarm, timeout, most).await;
        let now = alarm.now();
        // Nearly always the socket takes all at once.
        if now != begun {
            self.waited.set(self.waited.get() + (now - begun));
        }
        match written {
            Ok(()) => {
                self.bytes.set(self.bytes.get() + length as u64);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(ClientFault::AnswerUntaken.into()),
            Err(_) => Err(ClientFault::Gone.into()),
        }
    }
}

impl Drop for Http1Reply<'_> {
    /// A body that is cut must not look complete, whoever cuts it. One with a frame shows it by itself; one without needs a
    /// reset.
    fn drop(&mut self) {
        if self.framed.get() == Reframed::ToClose {
            self.client.io.reset_on_close();
        }
    }
}

/// Content as one chunk; none where there is none, for an empty chunk is the last.
fn frame_chunk(content: &[u8], out: &mut Vec<u8>) {
    if !content.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }
}

/// What of a file is sent before others have their turn, at most.
const TURN_BYTES: usize = 256 << 10;
/// What stands around the content of the last chunk, and behind it.
const CHUNK_FRAMES_BYTES: usize = 25;
