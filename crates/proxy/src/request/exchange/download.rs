//! The way back: the node's answer, its interim ones and its body, to the client. What the answer tells of a session is
//! told to the session table before the client hears it.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;
use wire::answer::{AnswerBody, AnswerHead, AnswerTo};
use wire::body::BodyWalk;
use wire::engineio::CloseScan;
use wire::forward::{self, ForClient, Reframed, Wrap};
use wire::scan::{HeadScan, Side};
use wire::{HeadBounds, Malformed};

use crate::fault::{ClientFault, Fault, OriginFault, OurFault};
use crate::net::buffers::{Buffers, consume};
use crate::net::splice::Stopped;
use crate::net::stream::{Io, spend_on_pieces};
use crate::observe::record::{Record, Sticky};
use crate::request::downstream::ReplySink;
use crate::request::exchange::request::{Compressed, ExchangeKind, ExchangeTimeouts, Progress, Request};
use crate::request::sticky::cookie;
use crate::request::{handshake, pages, reply};
use crate::state::local::Local;
use crate::state::shared::head_bounds;
use crate::upstream::node::Node;
use crate::upstream::node::counted::InSession;
use crate::upstream::sessions::Use;

/// How an exchange ended well.
#[derive(Debug)]
pub(super) enum Answered {
    Whole { keep_alive: bool, origin_keeps: Option<OriginKeeps> },
    Upgraded,
}

/// The origin keeps its connection open, for so long if it said so.
#[derive(Debug, Clone, Copy)]
pub(super) struct OriginKeeps {
    pub(super) timeout: Option<Duration>,
}

/// The origin's connection as the answer sees it.
pub(super) struct Origin<'a> {
    pub(super) io: &'a Io,
    pub(super) inbound: &'a mut BytesMut,
    pub(super) node: &'a Arc<Node>,
    pub(super) reused: bool,
}

/// The way back.
pub(super) struct Download<'a> {
    pub(super) request: &'a Request<'a>,
    pub(super) origin: Origin<'a>,
    pub(super) kind: ExchangeKind,
    pub(super) progress: &'a Progress,
    pub(super) timeouts: ExchangeTimeouts,
    /// When the request's head had been sent.
    pub(super) sent: Instant,
    pub(super) record: &'a mut Record,
}

impl<'a> Download<'a> {
    /// Brings the whole answer back, or, after a 101, the word that a tunnel is open.
    pub(super) async fn run(&mut self) -> Result<Answered, Fault> {
        let head = self.final_head().await;
        if let Err(Fault::Origin(OriginFault::Malformed(_))) = head
            && self.origin.reused
        {
            // Most likely what was behind the answer before.
            self.origin.node.sent_surplus(self.reply().now());
        }
        let Some(head) = head? else {
            // The node should have ended this poll, and has not.
            return self.close_reply().await;
        };
        self.progress.answered.set(true);
        self.learn_session(head.status());
        self.record.status = head.status();
        self.learn_latency(head.status());
        if head.status() == 101 {
            let mut out = self.buffers().take_for_head();
            self.print_final(&head, &self.for_client(None), b"", &mut out);
            self.begin(out, b"", Reframed::AsItCame).await?;
            return Ok(Answered::Upgraded);
        }
        if let Some(pages) = self.request.changed.and_then(|changed| changed.intercepts.as_deref())
            && pages::replaces(pages, head.status(), self.request.head)
            && !self.reply().has_begun()
        {
            return Err(OurFault::Replaced { status: head.status() }.into());
        }
        match std::mem::replace(&mut self.kind, ExchangeKind::Plain { session: None }) {
            ExchangeKind::Handshake { tags, in_session } => self.handshake(&head, tags, in_session).await,
            other => {
                self.kind = other;
                if head.status() == 400 && self.is_leaving() {
                    self.close_reply().await
                } else {
                    self.relay(&head).await
                }
            }
        }
    }

    /// What a handshake's answer tells is registered before it is passed on: the next request may come in anywhere.
    async fn handshake(
        &mut self,
        head: &AnswerHead,
        tags: bool,
        session: InSession,
    ) -> Result<Answered, Fault> {
        let Request { head: asked, upstream, .. } = *self.request;
        let contact = self.contact();
        let told = handshake::HandshakeAnswer {
            head,
            tags,
            upstream,
            path: asked.sent_path_bytes(),
            contact: &contact,
        };
        match told.read(self.origin.io, self.origin.inbound, self.timeouts.body, self.request.worker).await? {
            handshake::Read::Session { body, open } => {
                let sid = open.sid.clone();
                let body = told.register(body, open, session, self.reply().now());
                self.send_changed(head, &body, &sid).await
            }
            handshake::Read::Other { body } => self.send_changed(head, &body, b"").await,
            handshake::Read::Unread => self.relay(head).await,
        }
    }

    /// The head of the final answer; interim ones are passed on as they come. `None` for a poll that is answered here.
    async fn final_head(&mut self) -> Result<Option<AnswerHead>, Fault> {
        let bounds = head_bounds(&self.request.snapshot.plan.limits);
        let asked = AnswerTo::by(self.request.head);
        for interim in 0..INTERIM_MAX {
            let Some(length) = self.head_end(&bounds, interim > 0).await? else { return Ok(None) };
            let head = AnswerHead::parse(&self.origin.inbound[..length], &bounds, &asked);
            consume(self.origin.inbound, length);
            let head = head.map_err(OriginFault::Malformed)?;
            if !head.is_interim() {
                return Ok(Some(head));
            }
            // HTTP/1.0 knows no interim answers (RFC 9110 section 15.2).
            if self.reply().takes_interim() {
                let mut out = Vec::new();
                forward::print_answer(&head, &self.for_client(None), &mut out);
                self.reply().send_interim(&out, self.timeouts.body).await?;
            }
        }
        Err(OriginFault::Malformed(Malformed::TooManyInterim).into())
    }

    async fn head_end(&mut self, bounds: &HeadBounds, after_interim: bool) -> Result<Option<usize>, Fault> {
        let mut scan = HeadScan::new(Side::Answer);
        let Self { origin, kind, request, .. } = self;
        let Origin { io, inbound, node, reused } = origin;
        loop {
            if let Some(length) = scan.advance(inbound, bounds).map_err(OriginFault::Malformed)? {
                return Ok(Some(length));
            }
            let reading = poll_fn(|cx| match io.poll_read(cx, inbound, &request.worker.buffers) {
                Poll::Pending if node.has_overdue() && kind.is_overdue_poll() => Poll::Ready(None),
                read => read.map(Some),
            });
            let Some(read) = reading.await else { return Ok(None) };
            match read {
                Ok(0) | Err(_) if inbound.is_empty() && !after_interim => {
                    return Err(OriginFault::ClosedUnanswered { reused: *reused }.into());
                }
                Ok(0) | Err(_) => return Err(OriginFault::CutShort.into()),
                Ok(_) => {}
            }
        }
    }

    /// The head of the answer, with the cookie that pins its client to its node. `sid` is the session that it opens, if it
    /// does.
    pub(super) fn print_final(
        &self,
        answer: &AnswerHead,
        how: &ForClient<'_>,
        sid: &[u8],
        out: &mut Vec<u8>,
    ) {
        let Request { head: asked, upstream, reply, sent_pin, worker, .. } = *self.request;
        let answered = cookie::Answered {
            asked,
            sent_pin,
            answer,
            client: reply.arrival().end,
            node: self.origin.node,
            was_pinned: self.record.sticky == Sticky::Cookie,
            sid,
            edits: how.edits,
        };
        let Some(pinning) = answered.pinning(upstream) else {
            return forward::print_answer(answer, how, out);
        };
        let is_wrapped = |line: &[u8]| pinning.wraps(line);
        let wrap = pinning.wrapped().map(|pin| Wrap { pin, is_wrapped: &is_wrapped });
        forward::print_answer_wrapping(answer, how, wrap.as_ref(), out);
        if pinning.add_cookie(out) {
            self.origin.node.pins();
            worker.cursors.of(upstream.number).pinned();
        }
    }

    /// Sends the head of the final answer and what is here of its body.
    pub(super) async fn begin(
        &self,
        mut head: Vec<u8>,
        content: &[u8],
        framed: Reframed,
    ) -> Result<(), Fault> {
        self.reply().begin(&mut head, content, framed, self.timeouts.body).await?;
        self.buffers().give_for_head(head);
        Ok(())
    }

    /// Sends what is last of the body, and its end.
    pub(super) fn finish(&self, last: &[u8]) -> impl Future<Output = Result<(), Fault>> {
        self.reply().finish(last, self.timeouts.body)
    }

    pub(super) fn reply(&self) -> &ReplySink<'_> {
        self.request.reply
    }

    pub(super) fn buffers(&self) -> &Buffers {
        &self.request.worker.buffers
    }

    pub(super) fn for_client(&self, content_length: Option<u64>) -> ForClient<'a> {
        let reply = self.reply();
        ForClient {
            version: reply.version(),
            method: self.request.head.method(),
            // A request that is answered before it is whole leaves bytes behind that are no request.
            keep_alive: reply.keep_alive()
                && self.progress.request_sent.get()
                && !self.request.worker.is_leaving(),
            content_length,
            edits: self.request.changed.map(|changed| &changed.answer),
        }
    }

    /// Sends an answer whose whole body is here, with a length of its own.
    async fn send_changed(&mut self, head: &AnswerHead, body: &[u8], sid: &[u8]) -> Result<Answered, Fault> {
        let how = self.for_client(Some(body.len() as u64));
        let mut out = self.buffers().take_for_head();
        self.print_final(head, &how, sid, &mut out);
        self.begin(out, body, Reframed::AsItCame).await?;
        self.finish(b"").await?;
        Ok(self.whole(head, how.keep_alive))
    }

    /// Passes the body on as it comes.
    async fn relay(&mut self, head: &AnswerHead) -> Result<Answered, Fault> {
        let is_events = head.is_event_stream();
        if is_events && self.is_for_event_source(head) {
            // Boxed, because few requests are EventSource's.
            return Box::pin(self.relay_events(head)).await;
        }
        let own_edits = match self.compressed(head) {
            // Boxed, like what is in it, for requests that have none of it.
            Some(Compressed::Coded(coded)) => return Box::pin(self.relay_compressed(head, coded)).await,
            Some(Compressed::Plain(edits)) => Some(edits),
            None => None,
        };
        let body = head.body();
        let close_packet = self.close_packet(head);
        let length = match (close_packet, body) {
            (Some(close_packet), AnswerBody::Length(length)) => length.checked_add(close_packet.len() as u64),
            (Some(_) | None, _) => None,
        };
        let how = self.for_client(length);
        let how = ForClient { edits: own_edits.as_deref().or(how.edits), ..how };
        let reframed = match how.reframed(body) {
            Reframed::AsItCame if close_packet.is_some() && body == AnswerBody::Chunked => Reframed::ToChunks,
            reframed => reframed,
        };
        let keep_alive = how.keep_alive && reframed != Reframed::ToClose;
        let mut walk = BodyWalk::of_answer(body, reframed == Reframed::AsItCame);
        // JSONP wraps its answers in a script, in which nothing is looked for.
        if let (ExchangeKind::Session(_), Some(engine_io)) =
            (&self.kind, self.request.head.engine_io().filter(|it| !it.jsonp))
        {
            walk.watch_for_close_packet(CloseScan::new(engine_io.revision, false));
        }
        if head.status() == 400 {
            walk.watch_beginning(SID_UNKNOWN);
        }
        let mut out = self.buffers().take_for_head();
        self.print_final(head, &how, b"", &mut out);
        let walked = walk.walk(self.origin.inbound).map_err(OriginFault::Malformed)?;
        let content = &self.origin.inbound[..walked.kept];
        if walk.begins_as_asked()
            || self.progress.said_close.get()
            || (walked.is_end && walk.held_close_packet())
        {
            self.close_session();
        }
        self.begin(out, content, reframed).await?;
        consume(self.origin.inbound, walked.taken);
        let mut is_end = walked.is_end;
        if !is_end {
            self.origin.io.acknowledge();
        }
        let timeout = if is_events { self.timeouts.tunnel } else { self.timeouts.body };
        if !is_end {
            self.progress.lasting.begin(self.reply().now());
        }
        while !is_end {
            is_end = self.relay_more(&mut walk, timeout).await?;
        }
        self.finish(close_packet.unwrap_or_default()).await?;
        if close_packet.is_some() || walk.held_close_packet() {
            self.close_session();
        }
        Ok(self.whole(head, keep_alive))
    }

    /// The node closed the session before this poll reached it, because we told it to. The client hears of the close,
    /// not of an error.
    async fn close_reply(&mut self) -> Result<Answered, Fault> {
        let keep_alive = self.for_client(None).keep_alive;
        let (status, bytes) = reply::close_reply(self.request.head, Use::Poll, keep_alive);
        self.record.status = status;
        // Before the client hears of it: its next handshake may come in on another worker at once.
        self.close_session();
        self.request.reply.send_whole(&bytes, self.timeouts.body).await?;
        Ok(Answered::Whole { keep_alive, origin_keeps: None })
    }

    /// Reads once and passes on what came; `true` at the end.
    async fn relay_more(&mut self, walk: &mut BodyWalk, timeout: Duration) -> Result<bool, Fault> {
        let Local { buffers, pipes, .. } = self.request.worker;
        buffers.give_back_if_empty(self.origin.inbound);
        // A body with a length is passed on as it came.
        if let Some(spliced) = self.reply().splice(pipes, self.origin.io, walk.unseen(), timeout).await {
            walk.pass_unseen(spliced.bytes);
            if walk.is_at_end() {
                self.look_behind().await;
            }
            return match spliced.stopped {
                None => Ok(walk.is_at_end()),
                Some(Stopped::SourceEnded) => Err(OriginFault::CutShort.into()),
                Some(Stopped::SourceLate) => Err(OriginFault::BodyTimedOut.into()),
                Some(Stopped::SinkEnded) => Err(ClientFault::Gone.into()),
                Some(Stopped::SinkLate) => Err(ClientFault::AnswerUntaken.into()),
            };
        }
        let Origin { io, inbound, node, .. } = &mut self.origin;
        match self.request.reply.alarm().within(timeout, |cx| io.poll_read(cx, inbound, buffers)).await {
            Some(Ok(0)) if walk.ends_at_close() && !node.cuts_answers() => return Ok(true),
            Some(Ok(0) | Err(_)) => return Err(OriginFault::CutShort.into()),
            Some(Ok(read)) if read < SEGMENT_BYTES_MIN => io.acknowledge(),
            Some(Ok(_)) => {}
            None => return Err(OriginFault::BodyTimedOut.into()),
        }
        let walked = walk.walk(self.origin.inbound).map_err(OriginFault::Malformed)?;
        if walk.begins_as_asked() {
            self.close_session();
        }
        let content = &self.origin.inbound[..walked.kept];
        self.request.reply.send_body(content, self.timeouts.body).await?;
        consume(self.origin.inbound, walked.taken);
        spend_on_pieces(walked.pieces);
        Ok(walked.is_end)
    }

    /// Reads what has come behind a body that was spliced to its last byte. Usually that is nothing, and the runtime
    /// learns from it that the socket is dry; else the connection is not used again.
    async fn look_behind(&mut self) {
        let Origin { io, inbound, .. } = &mut self.origin;
        let buffers = &self.request.worker.buffers;
        // An end is noticed by whoever uses the connection next.
        let _ = poll_fn(|cx| Poll::Ready(io.poll_read(cx, inbound, buffers))).await;
    }

    /// All of the answer has gone out: says what becomes of both connections.
    pub(super) fn whole(&self, head: &AnswerHead, keep_alive: bool) -> Answered {
        let has_surplus = !self.origin.inbound.is_empty();
        if has_surplus && head.keep_alive() {
            // They belong to no request of ours, and others may have come on its idle connections.
            self.origin.node.sent_surplus(self.reply().now());
            self.request.worker.pool.forget(self.origin.node);
        }
        let keeps = head.keep_alive() && !has_surplus;
        let origin_keeps =
            keeps.then(|| OriginKeeps { timeout: head.keep_alive_timeout_s().map(Duration::from_secs) });
        Answered::Whole { keep_alive, origin_keeps }
    }
}

/// How Engine.IO says that it does not know a session.
const SID_UNKNOWN: &[u8] = b"{\"code\":1,";
/// Less than any network's segments hold, so that its sender may be holding more back.
const SEGMENT_BYTES_MIN: usize = 1200;
/// More than any honest node sends before its answer.
const INTERIM_MAX: usize = 64;
