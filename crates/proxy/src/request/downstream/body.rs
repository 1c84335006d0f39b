//! Where the body of a request comes from: the client's connection, as the client frames it.

use std::cell::Cell;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;
use wire::body::{BodyWalk, Walked};
use wire::engineio::CloseScan;
use wire::request::{RequestBody, RequestHead};

use crate::fault::{ClientFault, Fault};
use crate::net::buffers::{Buffers, SMALL, consume};
use crate::net::clock::Alarm;
use crate::net::pace::{BodySoFar, Pace};
use crate::net::splice::{SpliceEnds, SplicePipes, Spliced, Waits};
use crate::net::stream::{ClientStream, Io};
use crate::state::copies::BodyCopy;
use crate::state::local::Local;

/// The body of a request, as far as it has been read, and the connection that the rest of it comes from.
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
    /// Somebody else gets the same.
    copy: Option<Box<BodyCopy>>,
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
            copy: None,
        }
    }

    /// What passes of it from now on is copied, until all of it has.
    pub(crate) fn copy_to(&mut self, copy: Box<BodyCopy>) {
        self.copy = Some(copy);
    }

    /// Nothing more is read of it: from now on it is the body of a request that has none.
    pub(crate) fn leave(&mut self) {
        self.walk = None;
        self.copy = None;
        self.is_done = true;
    }

    /// Notes that the node has begun to answer: from now on the client may send as slowly as both like.
    pub(crate) fn is_answered(&mut self) {
        self.is_answered = true;
    }

    /// How long more of the body is waited for, `timeout` at most. Once the request is answered its pace does not
    /// matter: nobody waits for the rest but us.
    fn body_timeout(&self, timeout: Duration) -> Duration {
        if self.is_answered {
            return timeout;
        }
        let age = self.client.now() - self.begun;
        let so_far = BodySoFar { bytes: self.bytes, waited: self.waited, age };
        self.pace.get().of_body(timeout, so_far).min(timeout)
    }

    /// Takes the body on, if it is not longer than it may be. Nothing of it is looked at before.
    ///
    /// # Errors
    /// The client's fault, if it has said a longer one.
    pub(crate) fn accept(&mut self, head: &RequestHead, bytes_max: Option<u64>) -> Result<(), Fault> {
        self.walk = Some(BodyWalk::of_request(head.body(), bytes_max).map_err(ClientFault::from)?);
        Ok(())
    }

    /// Looks for an Engine.IO close packet in what passes from now on.
    pub(crate) fn watch_for_close_packet(&mut self, scan: CloseScan) {
        if let Some(walk) = &mut self.walk {
            walk.watch_for_close_packet(scan);
        }
    }

    /// Whether all of it has passed, and a close packet was in it.
    pub(crate) fn held_close_packet(&self) -> bool {
        self.is_done && self.walk.as_ref().is_some_and(BodyWalk::held_close_packet)
    }

    /// The one timer of the task that runs the exchange; every wait of it is set on that.
    pub(crate) fn alarm(&self) -> &'c Alarm {
        &self.client.alarm
    }

    /// Whether all of it has been taken; a body that was never there has been.
    pub(crate) fn is_done(&self) -> bool {
        self.is_done
    }

    /// What has been taken of it so far, frames included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What is here of the body, framed as the node gets it: by its length, or in chunks as they came. [`BodySource::pass`]
    /// must follow once it was passed on.
    ///
    /// # Errors
    /// The client's fault, where the frames are wrong or the body is longer than it may be.
    pub(crate) fn at_hand(&mut self) -> Result<(&[u8], Walked), Fault> {
        let nothing = Walked { kept: 0, taken: 0, is_end: false, pieces: 0 };
        let walked = match &mut self.walk {
            Some(walk) if !self.is_done => walk.walk(self.inbound).map_err(ClientFault::from)?,
            Some(_) | None => nothing,
        };
        Ok((&self.inbound[..walked.kept], walked))
    }

    /// Gives up what [`BodySource::at_hand`] gave.
    pub(crate) fn pass(&mut self, walked: Walked) {
        if self.copy.is_some() {
            self.copy(walked);
        }
        consume(self.inbound, walked.taken);
        self.bytes += walked.taken as u64;
        self.is_done |= walked.is_end;
        self.buffers.give_back_if_empty(self.inbound);
    }

    #[cold]
    fn copy(&mut self, walked: Walked) {
        let copy = self.copy.take();
        self.copy = copy.and_then(|copy| copy.taken(&self.inbound[..walked.kept], walked.is_end));
    }

    /// Passes more of it on without looking at it. `None` if it must be looked at, or is better copied.
    ///
    /// # Cancel safety
    /// What a pipe holds when this is dropped is lost, and so is the exchange.
    pub(crate) async fn splice(&mut self, origin: &Io, timeout: Duration) -> Option<Spliced> {
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

    /// Waits for more of it (`RecvStream::poll_data`).
    ///
    /// # Errors
    /// The client has left, or has sent nothing for too long.
    ///
    /// # Cancel safety
    /// Safe: what has come is kept for [`BodySource::at_hand`].
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

    /// Ready when the client has left, or does not want the answer any more. What a connection of
    /// HTTP/1 brings meanwhile, the next request or a tunnel's first bytes, is kept, up to 4 KiB; a client that sends more
    /// than that is not watched any longer.
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
