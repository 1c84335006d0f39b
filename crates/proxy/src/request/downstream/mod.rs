//! The client's two ends of an exchange: where the request's body comes from, and where the answer goes. The spine
//! and the exchange know these, never the client's connection. Both are enums of one variant, HTTP/1: a stream of HTTP/2 is
//! translated below them (`net/stream/http2_io`). What a variant has to do for each method is said at the method.
//!
//! What waits gives the future of its variant as it is: a layer of `async` around it would cost each request some eighty
//! instructions.

mod arrival;
mod http1;

use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use wire::Version;
use wire::body::Walked;
use wire::engineio::CloseScan;
use wire::forward::Reframed;
use wire::request::RequestHead;

use crate::fault::{ClientFault, Fault};
use crate::net::clock::Alarm;
use crate::net::splice::{SplicePipes, Spliced};
use crate::net::stream::Io;
use crate::state::copies::BodyCopy;

pub(crate) use self::arrival::Arrival;
pub(crate) use self::http1::{Http1Body, Http1Reply};

/// Where the body of a request comes from.
#[derive(Debug)]
pub(crate) enum BodySource<'c> {
    /// A connection, which has one request at a time.
    Http1(Http1Body<'c>),
}

impl<'c> BodySource<'c> {
    /// Nothing more is read of it: from now on it is the body of a request that has none.
    pub(crate) fn leave(&mut self) {
        match self {
            Self::Http1(body) => body.leave(),
        }
    }

    /// Notes that the node has begun to answer: from now on the client may send as slowly as both like.
    pub(crate) fn is_answered(&mut self) {
        match self {
            Self::Http1(body) => body.is_answered(),
        }
    }

    /// Takes the body on, if it is not longer than it may be. Nothing of it is looked at before.
    ///
    /// # Errors
    /// The client's fault, if it has said a longer one.
    pub(crate) fn accept(&mut self, head: &RequestHead, bytes_max: Option<u64>) -> Result<(), Fault> {
        match self {
            Self::Http1(body) => body.accept(head, bytes_max),
        }
    }

    /// What passes of it from now on is copied, until all of it has.
    pub(crate) fn copy_to(&mut self, copy: Box<BodyCopy>) {
        match self {
            Self::Http1(body) => body.copy_to(copy),
        }
    }

    /// Looks for an Engine.IO close packet in what passes from now on.
    pub(crate) fn watch_for_close_packet(&mut self, scan: CloseScan) {
        match self {
            Self::Http1(body) => body.watch_for_close_packet(scan),
        }
    }

    /// Whether all of it has passed, and a close packet was in it.
    pub(crate) fn held_close_packet(&self) -> bool {
        match self {
            Self::Http1(body) => body.held_close_packet(),
        }
    }

    /// The one timer of the task that runs the exchange; every wait of it is set on that.
    pub(crate) fn alarm(&self) -> &'c Alarm {
        match self {
            Self::Http1(body) => body.alarm(),
        }
    }

    /// Whether all of it has been taken; a body that was never there has been.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Http1(body) => body.is_done(),
        }
    }

    /// What has been taken of it so far, frames included.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Http1(body) => body.bytes(),
        }
    }

    /// What is here of the body, framed as the node gets it: by its length, or in chunks as they came. [`BodySource::pass`]
    /// must follow once it was passed on.
    ///
    /// # Errors
    /// The client's fault, where the frames are wrong or the body is longer than it may be.
    pub(crate) fn at_hand(&mut self) -> Result<(&[u8], Walked), Fault> {
        match self {
            Self::Http1(body) => body.at_hand(),
        }
    }

    /// Gives up what [`BodySource::at_hand`] gave.
    pub(crate) fn pass(&mut self, walked: Walked) {
        match self {
            Self::Http1(body) => body.pass(walked),
        }
    }

    /// Passes more of it on without looking at it. `None` if it must be looked at, or is better copied: always, where several
    /// bodies share a connection.
    ///
    /// # Cancel safety
    /// What a pipe holds when this is dropped is lost, and so is the exchange.
    pub(crate) fn splice(&mut self, origin: &Io, timeout: Duration) -> impl Future<Output = Option<Spliced>> {
        match self {
            Self::Http1(body) => body.splice(origin, timeout),
        }
    }

    /// Waits for more of it (`RecvStream::poll_data`).
    ///
    /// # Errors
    /// The client has left, or has sent nothing for too long.
    ///
    /// # Cancel safety
    /// Safe: what has come is kept for [`BodySource::at_hand`].
    pub(crate) fn fill(&mut self, timeout: Duration) -> impl Future<Output = Result<(), ClientFault>> {
        match self {
            Self::Http1(body) => body.fill(timeout),
        }
    }

    /// Ready when the client has left, or does not want the answer any more. What a connection of
    /// HTTP/1 brings meanwhile, the next request or a tunnel's first bytes, is kept, up to 4 KiB; a client that sends more
    /// than that is not watched any longer.
    pub(crate) fn poll_client_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(body) => body.poll_client_gone(cx),
        }
    }
}

/// Both ends of a request, once nothing more is read of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestEnds<'a, 'c> {
    pub(crate) body: &'a BodySource<'c>,
    pub(crate) reply: &'a ReplySink<'c>,
}

impl RequestEnds<'_, '_> {
    /// Whether another request may follow an answer given now: what the client still says of its body is none.
    pub(crate) fn keep_alive(&self) -> bool {
        self.reply.keep_alive() && self.body.is_done()
    }
}

/// Where the answer goes. Heads are handed over as HTTP/1 has them, for that is how nodes say them and how they are printed; an
/// end that speaks otherwise reads them with `wire::answer`, and leaves out what is between two ends of a connection.
#[derive(Debug)]
pub(crate) enum ReplySink<'c> {
    /// The connection that the request came on.
    Http1(Http1Reply<'c>),
}

impl<'c> ReplySink<'c> {
    /// The version by which a body is framed for this client: [`Version::Http10`] where a body needs no frame of ours.
    pub(crate) fn version(&self) -> Version {
        match self {
            Self::Http1(reply) => reply.version,
        }
    }

    /// Whether another request may follow the answer, as far as the client and we are concerned. None does on a stream of
    /// HTTP/2.
    pub(crate) fn keep_alive(&self) -> bool {
        match self {
            Self::Http1(reply) => reply.keep_alive,
        }
    }

    /// No request follows the answer: what comes of this client is not to be read as one.
    pub(crate) fn close_after(&mut self) {
        match self {
            Self::Http1(reply) => reply.keep_alive = false,
        }
    }

    /// How the client came in.
    pub(crate) fn arrival(&self) -> Arrival<'c> {
        match self {
            Self::Http1(reply) => reply.arrival,
        }
    }

    /// Whether the client knows interim answers, which HTTP/1.0 does not.
    pub(crate) fn takes_interim(&self) -> bool {
        match self {
            Self::Http1(reply) => reply.takes_interim(),
        }
    }

    /// Whether the request is for another host than its TLS handshake was.
    pub(crate) fn is_for_another_host(&self, head: &RequestHead) -> bool {
        match self {
            Self::Http1(reply) => reply.is_for_another_host(head),
        }
    }

    /// Whether something of a final answer has gone out, so that no other answer can be given.
    pub(crate) fn has_begun(&self) -> bool {
        match self {
            Self::Http1(reply) => reply.has_begun(),
        }
    }

    /// What has been sent so far, heads and frames included.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Http1(reply) => reply.bytes(),
        }
    }

    /// Sends an interim answer, which others may follow.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) fn send_interim(
        &self,
        head: &[u8],
        timeout: Duration,
    ) -> impl Future<Output = Result<(), Fault>> {
        match self {
            Self::Http1(reply) => reply.send_interim(head, timeout),
        }
    }

    /// Sends the head of the final answer and what is here of its body, in one piece.
    /// `framed` is how the head says that the body is framed: what follows is framed so here, and by nobody else.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) fn begin(
        &self,
        head: &mut Vec<u8>,
        content: &[u8],
        framed: Reframed,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), Fault>> {
        match self {
            Self::Http1(reply) => reply.begin(head, content, framed, timeout),
        }
    }

    /// Sends more of the body.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) fn send_body(
        &self,
        content: &[u8],
        timeout: Duration,
    ) -> impl Future<Output = Result<(), Fault>> {
        match self {
            Self::Http1(reply) => reply.send_body(content, timeout),
        }
    }

    /// Sends what is last of the body, which may be nothing, and its end. An answer for which this was not called when the
    /// sink is dropped is cut, and does not look complete: END_STREAM comes from here, and from a drop without it RST_STREAM.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) fn finish(&self, last: &[u8], timeout: Duration) -> impl Future<Output = Result<(), Fault>> {
        match self {
            Self::Http1(reply) => reply.finish(last, timeout),
        }
    }

    /// Passes up to `bytes` of the body on without looking at them. `None` if they are better copied: always, where several
    /// answers share a connection.
    ///
    /// # Cancel safety
    /// What a pipe holds when this is dropped is lost, and so is the exchange.
    pub(crate) fn splice(
        &self,
        pipes: &SplicePipes,
        origin: &Io,
        bytes: u64,
        timeout: Duration,
    ) -> impl Future<Output = Option<Spliced>> {
        match self {
            Self::Http1(reply) => reply.splice(pipes, origin, bytes, timeout),
        }
    }

    /// The one timer of the task that runs the exchange; every wait of it is set on that.
    pub(crate) fn alarm(&self) -> &'c Alarm {
        match self {
            Self::Http1(reply) => reply.alarm(),
        }
    }

    /// When the running task woke.
    pub(crate) fn now(&self) -> Instant {
        match self {
            Self::Http1(reply) => reply.now(),
        }
    }

    /// Whether the kernel can put a file into the client's socket: not where its bytes are encrypted or framed by us.
    pub(crate) fn can_send_files(&self) -> bool {
        match self {
            Self::Http1(reply) => reply.can_send_files(),
        }
    }

    /// Sends a part of a file without looking at it, where [`ReplySink::can_send_files`].
    ///
    /// # Errors
    /// The client has left, or takes nothing; the file is shorter than it was.
    pub(crate) fn send_file(
        &self,
        file: BorrowedFd<'_>,
        part: Range<u64>,
        timeout: Duration,
    ) -> impl Future<Output = Result<(), Fault>> {
        match self {
            Self::Http1(reply) => reply.send_file(file, part, timeout),
        }
    }

    /// Sends an answer that is complete, head and body in one.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) fn send_whole(
        &self,
        answer: &[u8],
        timeout: Duration,
    ) -> impl Future<Output = Result<(), Fault>> {
        match self {
            Self::Http1(reply) => reply.send_whole(answer, timeout),
        }
    }
}
