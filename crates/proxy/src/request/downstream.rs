//! The client's two ends of an exchange: where the request's body comes from, and where the answer goes. The spine
//! and the exchange know these, never the client's connection, so that other kinds of ends can take their place.
//! Heads of answers come here as HTTP/1 writes them: an end that speaks otherwise would have to take them apart again.

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
use wire::forward::ClientEnd;
use wire::request::{RequestBody, RequestHead};

use crate::fault::{ClientFault, Fault, OurFault};
use crate::net::buffers::{Buffers, SMALL, consume};
use crate::net::clock::Alarm;
use crate::net::pace::{BodySoFar, Pace};
use crate::net::splice::{SpliceEnds, SplicePipes, Spliced, Waits};
use crate::net::stream::{ClientStream, Io, join, spend};
use crate::request::reply::Redirect;
use crate::state::local::Local;

/// Where the body of a request comes from.
#[derive(Debug)]
pub(crate) struct BodySource<'c> {
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
}

impl<'c> BodySource<'c> {
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
        }
    }

    /// The body of a request that has none, of the same client.
    pub(crate) fn none(&mut self) -> BodySource<'_> {
        BodySource { inbound: &mut *self.inbound, walk: None, is_done: true, bytes: 0, ..*self }
    }

    /// Its node has begun to answer.
    pub(crate) fn is_answered(&mut self) {
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

    /// Takes the body on, if it is not longer than it may be.
    pub(crate) fn accept(&mut self, head: &RequestHead, bytes_max: Option<u64>) -> Result<(), Fault> {
        self.walk = Some(BodyWalk::of_request(head.body(), bytes_max).map_err(ClientFault::from)?);
        Ok(())
    }

    /// Watches the body for an Engine.IO close packet.
    pub(crate) fn watch_for_close_packet(&mut self, scan: CloseScan) {
        if let Some(walk) = &mut self.walk {
            walk.watch_for_close_packet(scan);
        }
    }

    pub(crate) fn held_close_packet(&self) -> bool {
        self.is_done && self.walk.as_ref().is_some_and(BodyWalk::held_close_packet)
    }

    /// Of the client's connection; every wait of an exchange is set on it.
    pub(crate) fn alarm(&self) -> &'c Alarm {
        &self.client.alarm
    }

    /// Returns whether all of it has been taken.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns what is here of the body already. [`BodySource::pass`] must follow once it was passed on.
    pub(crate) fn at_hand(&mut self) -> Result<(&[u8], Walked), Fault> {
        let nothing = Walked { kept: 0, taken: 0, is_end: false, pieces: 0 };
        let walked = match &mut self.walk {
            Some(walk) if !self.is_done => walk.walk(self.inbound).map_err(ClientFault::from)?,
            Some(_) | None => nothing,
        };
        Ok((&self.inbound[..walked.kept], walked))
    }

    /// Done with what [`BodySource::at_hand`] gave.
    pub(crate) fn pass(&mut self, walked: Walked) {
        consume(self.inbound, walked.taken);
        self.bytes += walked.taken as u64;
        self.is_done |= walked.is_end;
        self.buffers.give_back_if_empty(self.inbound);
    }

    /// Passes more of it on without looking at it. `None` if it must be looked at, or is better copied.
    pub(crate) async fn splice(&mut self, origin: &Io, timeout: Duration) -> Option<Spliced> {
        let source = self.body_timeout(timeout);
        let walk = self.walk.as_mut().filter(|_| self.inbound.is_empty())?;
        let waits = Waits { source, sink: timeout };
        let ends = SpliceEnds { source: &self.client.io, sink: origin };
        let spliced = self.pipes.splice(ends, walk.unseen(), &self.client.alarm, waits).await?;
        self.waited += spliced.waited.source;
        walk.pass_unseen(spliced.bytes);
        self.bytes += spliced.bytes;
        self.is_done |= walk.is_at_end();
        Some(spliced)
    }

    /// Waits for more of it.
    pub(crate) async fn fill(&mut self, timeout: Duration) -> Result<(), ClientFault> {
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

    /// Ready when the client has left. What it sends meanwhile, the next request or a tunnel's first bytes, is kept, up
    /// to 4 KiB; a client that sends more than that is not watched any longer.
    pub(crate) fn poll_client_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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

/// How a client came in: over its connection, and by the listener that took that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'c> {
    pub(crate) end: &'c ClientEnd,
    /// Where all its requests are sent to, if that listener does nothing else.
    pub(crate) redirects: Option<Redirect>,
}

/// Both ends of a request, once nothing more is read of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestEnds<'a, 'c> {
    pub(crate) body: &'a BodySource<'c>,
    pub(crate) reply: &'a ReplySink<'c>,
}

impl RequestEnds<'_, '_> {
    /// Returns whether the connection may go on behind an answer given now: what the client still says of its body is
    /// no request.
    pub(crate) fn keep_alive(&self) -> bool {
        self.reply.keep_alive && self.body.is_done()
    }
}

/// Where the answer goes.
#[derive(Debug)]
pub(crate) struct ReplySink<'c> {
    client: &'c ClientStream,
    pub(crate) version: Version,
    /// Whether the connection may go on after the answer, as far as the client and we are concerned.
    pub(crate) keep_alive: bool,
    pub(crate) arrival: Arrival<'c>,
    has_begun: Cell<bool>,
    /// The body has no frame of its own, so that its end is the connection's, and it has not all gone out.
    is_unframed: Cell<bool>,
    bytes: Cell<u64>,
    pace: &'c Cell<Pace>,
    /// So long it has been waited that the client takes something.
    waited: Cell<Duration>,
}

impl<'c> ReplySink<'c> {
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
            is_unframed: Cell::new(false),
            bytes: Cell::new(0),
            pace,
            waited: Cell::new(Duration::ZERO),
        }
    }

    /// Returns whether the client knows chunks and interim answers.
    pub(crate) fn is_http_11(&self) -> bool {
        self.version == Version::Http11
    }

    /// Returns whether the request is for another host than its TLS handshake was.
    pub(crate) fn is_for_another_host(&self, head: &RequestHead) -> bool {
        head.host_name().is_some_and(|host| self.client.io.is_for_another_host(host))
    }

    /// Returns whether something of a final answer has gone out, so that no other answer can be given.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// Sent so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Sends an interim answer: others may follow it.
    pub(crate) async fn send_interim(&self, head: &[u8], timeout: Duration) -> Result<(), Fault> {
        self.send(&mut [IoSlice::new(head)], timeout).await
    }

    /// Sends the head of the final answer and what is here of its body, in one piece.
    pub(crate) async fn begin(
        &self,
        head: &mut Vec<u8>,
        body: &[u8],
        is_unframed: bool,
        timeout: Duration,
    ) -> Result<(), Fault> {
        self.has_begun.set(true);
        self.is_unframed.set(is_unframed);
        match join(head, body) {
            [] => self.send(&mut [IoSlice::new(head)], timeout).await,
            body => self.send(&mut [IoSlice::new(head), IoSlice::new(body)], timeout).await,
        }
    }

    /// Sends more of the body.
    pub(crate) async fn send_body(&self, pieces: &mut [IoSlice<'_>], timeout: Duration) -> Result<(), Fault> {
        self.send(pieces, timeout).await
    }

    /// Passes up to `bytes` of the body on without looking at them. `None` if they are better copied.
    pub(crate) async fn splice(
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

    /// Of the client's connection; every wait of an exchange is set on it.
    pub(crate) fn alarm(&self) -> &'c Alarm {
        &self.client.alarm
    }

    /// Returns when the running task woke.
    pub(crate) fn now(&self) -> Instant {
        self.client.now()
    }

    /// Returns whether the kernel can take bytes from a file by itself.
    pub(crate) fn can_send_files(&self) -> bool {
        self.client.io.is_plain_tcp()
    }

    /// Sends a part of a file without looking at it.
    pub(crate) async fn send_file(
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

    /// Sends an answer that is complete.
    pub(crate) async fn send_whole(&self, answer: &[u8], timeout: Duration) -> Result<(), Fault> {
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

    /// All of the answer has gone out.
    pub(crate) fn finish(&self) {
        self.is_unframed.set(false);
    }
}

impl Drop for ReplySink<'_> {
    /// A body that is cut must not look complete, whoever cuts it. One with a frame shows it by itself; one without needs a
    /// reset.
    fn drop(&mut self) {
        if self.is_unframed.get() {
            self.client.io.reset_on_close();
        }
    }
}

/// What of a file is sent before others have their turn, at most.
const TURN_BYTES: usize = 256 << 10;
