//! The stream of an EventSource on its way to the client. A drain ends it between two events, and not properly: whoever
//! reads it otherwise than EventSource must not take what has come for all there is. Its chunks are made anew here, so that
//! a border between two events is one between two chunks.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;
use wire::answer::{AnswerBody, AnswerHead};
use wire::body::BodyWalk;
use wire::events::Events;
use wire::forward::Reframed;

use crate::fault::{Fault, OriginFault, OurFault};
use crate::net::buffers::consume;
use crate::net::clock::Alarm;
use crate::net::stream::spend_on_pieces;
use crate::request::exchange::download::{Answered, Download, Origin};
use crate::request::exchange::lasting::Lasting;
use crate::upstream::close_signal::CloseReason;
use crate::upstream::node::Node;

impl Lasting {
    /// Ready when the stream's turn to end has come.
    fn poll_turn(&self, cx: &mut Context<'_>, alarm: &Alarm, node: &Node) -> Poll<()> {
        let Some(order) = self.order.get() else { return Poll::Pending };
        ready!(alarm.poll_until(cx, order.at));
        if self.has_turn(alarm.now(), node) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether the stream was told to go and it is time. A node that takes part again keeps its streams.
    fn has_turn(&self, now: Instant, node: &Node) -> bool {
        let Some(order) = self.order.get().filter(|order| order.at <= now) else { return false };
        let stays = order.reason == CloseReason::Restart && !node.is_draining();
        if stays {
            self.order.set(None);
        }
        !stays
    }
}

impl Download<'_> {
    /// Whether the client is an EventSource that gets what it can read here, too: it comes back by itself when its
    /// stream is cut.
    pub(super) fn is_for_event_source(&self, head: &AnswerHead) -> bool {
        matches!(head.status(), 200..=299)
            && head.body() != AnswerBody::None
            && !head.is_content_coded()
            && self.request.head.is_event_source()
    }

    /// Passes the events on as they come, until its turn is there.
    pub(super) async fn relay_events(&mut self, head: &AnswerHead) -> Result<Answered, Fault> {
        let how = self.for_client(None);
        let reframed = match how.reframed(head.body()) {
            Reframed::AsItCame if head.body() == AnswerBody::Chunked => Reframed::ToChunks,
            reframed => reframed,
        };
        let mut walk = BodyWalk::of_answer(head.body(), false);
        walk.watch_all();
        let mut out = self.buffers().take_for_head();
        self.print_final(head, &how, b"", &mut out);
        self.progress.lasting.begin_events(self.origin.node, self.record.client);
        self.begin(out, b"", reframed).await?;
        let mut events = Events::default();
        while !self.pass_events(&mut walk, &mut events).await? {
            if self.read_events(&walk, &events).await? {
                break;
            }
        }
        self.finish(b"").await?;
        Ok(self.whole(head, how.keep_alive && reframed != Reframed::ToClose))
    }

    /// Passes on what is here; up to the first border if its turn is there. `true` at the end.
    async fn pass_events(&mut self, walk: &mut BodyWalk, events: &mut Events) -> Result<bool, Fault> {
        let walked = walk.walk(self.origin.inbound).map_err(OriginFault::Malformed)?;
        let content = &self.origin.inbound[..walked.kept];
        // What has come may have done so behind the order.
        poll_fn(|cx| Poll::Ready(self.progress.lasting.hear(cx))).await;
        // A node that ends its stream itself has the last word.
        let is_due = !walked.is_end && self.progress.lasting.has_turn(self.reply().now(), self.origin.node);
        let border = if is_due && !content.is_empty() {
            events.pass_to_border(content)
        } else {
            events.pass(content);
            None
        };
        let content = &content[..border.unwrap_or(content.len())];
        self.reply().send_body(content, self.timeouts.body).await?;
        consume(self.origin.inbound, walked.taken);
        spend_on_pieces(walked.pieces);
        if border.is_some() {
            Err(OurFault::StreamMoved.into())
        } else {
            Ok(walked.is_end || walk.is_at_end())
        }
    }

    /// Waits for more, or, between two events, for its turn. `true` where the node's end is that of the stream.
    async fn read_events(&mut self, walk: &BodyWalk, events: &Events) -> Result<bool, Fault> {
        let (buffers, alarm, lasting) =
            (&self.request.worker.buffers, self.request.reply.alarm(), &self.progress.lasting);
        let Origin { io, inbound, node, .. } = &mut self.origin;
        buffers.give_back_if_empty(inbound);
        if !events.is_between() {
            io.acknowledge();
        }
        let read = alarm.within(self.timeouts.tunnel, |cx| {
            if events.is_between() && lasting.poll_turn(cx, alarm, node).is_ready() {
                return Poll::Ready(None);
            }
            io.poll_read(cx, inbound, buffers).map(Some)
        });
        match read.await {
            Some(Some(Ok(0))) if walk.ends_at_close() && !node.cuts_answers() => Ok(true),
            Some(Some(Ok(0) | Err(_))) => Err(OriginFault::CutShort.into()),
            Some(Some(Ok(_))) => Ok(false),
            Some(None) => Err(OurFault::StreamMoved.into()),
            None => Err(OriginFault::BodyTimedOut.into()),
        }
    }
}
