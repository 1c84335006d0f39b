//! The client's two ends of an exchange: where the request's body comes from, and where the answer goes. The spine
//! and the exchange know these, never the client's connection, so that other kinds of ends can take their place.

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
use crate::net::pace::Pace;
use crate::net::splice::{SplicePipes, Spliced, Waits};
use crate::net::stream::{Io, join, spend};
use crate::request::reply::Redirect;
use crate::state::local::Local;

/// Where the body of a request comes from.
#[derive(Debug)]
pub(crate) struct BodySource<'c> {
    io: &'c Io,
    inbound: &'c mut BytesMut,
    buffers: &'c Buffers,
    pipes: &'c SplicePipes,
    alarm: &'c Alarm,
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
        io: &'c Io,
        inbound: &'c mut BytesMut,
        head: &RequestHead,
        (worker, alarm, begun): (&'c Local, &'c Alarm, Instant),
    ) -> Self {
        let is_done = head.body() == RequestBody::None;
        let Local { buffers, pipes, .. } = worker;
        Self {
            io,
            inbound,
            buffers,
            pipes,
            alarm,
            walk: None,
            is_done,
            bytes: 0,
            pace: &worker.pace,
            begun,
            waited: Duration::ZERO,
            is_answered: false,
        }
    }

    /// Its node has begun to answer.
    pub(crate) fn is_answered(&mut self) {
        self.is_answered = true;
    }

    /// How long more of it is waited for, if nothing comes for `patience` at most.
    fn patience(&self, patience: Duration) -> Duration {
        if self.is_answered {
            return patience;
        }
        let left =
            self.pace.get().of_body(patience, (self.bytes, self.waited), (self.begun, self.alarm.now()));
        left.min(patience)
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

    /// Whether all of it has been taken.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is here of the body already. [`BodySource::pass`] must follow once it was passed on.
    pub(crate) fn at_hand(&mut self) -> Result<(&[u8], Walked), Fault> {
        let nothing = Walked { kept: 0, taken: 0, is_end: false };
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
    pub(crate) async fn splice(&mut self, origin: &Io, patience: Duration) -> Option<Spliced> {
        let source = self.patience(patience);
        let walk = self.walk.as_mut().filter(|_| self.inbound.is_empty())?;
        let waits = Waits { source, sink: patience };
        let spliced = self.pipes.splice((self.io, origin), walk.unseen(), (self.alarm, waits)).await?;
        self.waited += spliced.waited.source;
        walk.pass_unseen(spliced.bytes);
        self.bytes += spliced.bytes;
        self.is_done |= walk.is_at_end();
        Some(spliced)
    }

    /// Waits for more of it.
    pub(crate) async fn fill(&mut self, patience: Duration) -> Result<(), ClientFault> {
        let (patience, begun) = (self.patience(patience), self.alarm.now());
        let (io, inbound, buffers) = (self.io, &mut *self.inbound, self.buffers);
        let read = self.alarm.within(patience, |cx| io.poll_read(cx, inbound, buffers)).await;
        self.waited += self.alarm.now() - begun;
        match read {
            Some(Ok(0) | Err(_)) => Err(ClientFault::Gone),
            Some(Ok(_)) => Ok(()),
            None => Err(ClientFault::BodyTimedOut),
        }
    }

    /// Ready when the client has left. What it sends meanwhile, the next request or a tunnel's first bytes, is kept, up
    /// to 4 KiB; a client that sends more than that is not watched any longer.
    pub(crate) fn poll_client_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.io.poll_worth_watching(cx, self.alarm));
        while self.inbound.len() < SMALL {
            if self.inbound.capacity() == 0 && !self.io.is_quiet() {
                *self.inbound = self.buffers.small();
            }
            let Poll::Ready(read) = self.io.poll_read(cx, self.inbound, self.buffers) else {
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

/// Where the answer goes.
#[derive(Debug)]
pub(crate) struct ReplySink<'c> {
    io: &'c Io,
    /// Of the client's connection; every wait of an exchange is set on it.
    pub(crate) alarm: &'c Alarm,
    pub(crate) version: Version,
    /// Whether the connection may go on after the answer, as far as the client and we are concerned.
    pub(crate) keep_alive: bool,
    pub(crate) client_end: &'c ClientEnd,
    pub(crate) redirects: Option<Redirect>,
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
        (io, alarm): (&'c Io, &'c Alarm),
        head: &RequestHead,
        keep_alive: bool,
        client_end: &'c ClientEnd,
        (redirects, pace): (Option<Redirect>, &'c Cell<Pace>),
    ) -> Self {
        Self {
            io,
            alarm,
            version: head.version(),
            keep_alive,
            client_end,
            redirects,
            has_begun: Cell::new(false),
            is_unframed: Cell::new(false),
            bytes: Cell::new(0),
            pace,
            waited: Cell::new(Duration::ZERO),
        }
    }

    /// Whether the client knows chunks and interim answers.
    pub(crate) fn is_http_11(&self) -> bool {
        self.version == Version::Http11
    }

    /// Whether something of a final answer has gone out, so that no other answer can be given.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// Sent so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// Sends an interim answer: others may follow it.
    pub(crate) async fn send_interim(&self, head: &[u8], patience: Duration) -> Result<(), Fault> {
        self.send(&mut [IoSlice::new(head)], patience).await
    }

    /// Sends the head of the final answer and what is here of its body, in one piece.
    pub(crate) async fn begin(
        &self,
        head: &mut Vec<u8>,
        body: &[u8],
        is_unframed: bool,
        patience: Duration,
    ) -> Result<(), Fault> {
        self.has_begun.set(true);
        self.is_unframed.set(is_unframed);
        match join(head, body) {
            [] => self.send(&mut [IoSlice::new(head)], patience).await,
            body => self.send(&mut [IoSlice::new(head), IoSlice::new(body)], patience).await,
        }
    }

    /// Sends more of the body.
    pub(crate) async fn send_body(
        &self,
        pieces: &mut [IoSlice<'_>],
        patience: Duration,
    ) -> Result<(), Fault> {
        self.send(pieces, patience).await
    }

    /// Passes up to `bytes` of the body on without looking at them. `None` if they are better copied.
    pub(crate) async fn splice(
        &self,
        pipes: &SplicePipes,
        origin: &Io,
        bytes: u64,
        patience: Duration,
    ) -> Option<Spliced> {
        // As if one pipe were all: it is asked again before the next.
        let left = self.pace.get().of_answer(patience, self.bytes.get(), self.waited.get());
        let waits = Waits { source: patience, sink: left.min(patience) };
        let spliced = pipes.splice((origin, self.io), bytes, (self.alarm, waits)).await?;
        self.waited.set(self.waited.get() + spliced.waited.sink);
        self.bytes.set(self.bytes.get() + spliced.bytes);
        Some(spliced)
    }

    /// Whether the kernel can take bytes from a file by itself.
    pub(crate) fn can_send_files(&self) -> bool {
        self.io.is_plain_tcp()
    }

    /// Sends a part of a file without looking at it.
    pub(crate) async fn send_file(
        &self,
        file: BorrowedFd<'_>,
        mut part: Range<u64>,
        patience: Duration,
    ) -> Result<(), Fault> {
        while part.start < part.end {
            // One client must not keep the others waiting, however much its socket takes.
            let most = usize::try_from(part.end - part.start).unwrap_or(usize::MAX).min(TURN_BYTES);
            let left = self.pace.get().of_answer(patience, self.bytes.get(), self.waited.get()).min(patience);
            let begun = self.alarm.now();
            let put = |socket: BorrowedFd<'_>| {
                let mut at = part.start;
                Ok(sendfile(socket, file, Some(&mut at), most)?)
            };
            let sent = self.alarm.within(left, |cx| {
                let sent = ready!(self.io.poll_put(cx, put))?;
                spend(cx, sent);
                Poll::Ready(Ok::<_, io::Error>(sent))
            });
            let sent = sent.await;
            self.waited.set(self.waited.get() + (self.alarm.now() - begun));
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
    pub(crate) async fn send_whole(&self, answer: &[u8], patience: Duration) -> Result<(), Fault> {
        self.has_begun.set(true);
        self.send(&mut [IoSlice::new(answer)], patience).await
    }

    async fn send(&self, pieces: &mut [IoSlice<'_>], patience: Duration) -> Result<(), Fault> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let most = || {
            let bytes = self.bytes.get() + length as u64;
            self.pace.get().of_answer(patience, bytes, self.waited.get())
        };
        let begun = self.alarm.now();
        let written = self.io.write_pieces(pieces, self.alarm, patience, most).await;
        let now = self.alarm.now();
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
            self.io.reset_on_close();
        }
    }
}

/// What of a file is sent before others have their turn, at most.
const TURN_BYTES: usize = 256 << 10;
