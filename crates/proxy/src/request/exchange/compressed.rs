//! A node's answer that is compressed on its way to the client. What is at hand of it is compressed together; before anything
//! is waited for, all that was taken goes out, so that a stream stays as live as it was.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use wire::Version;
use wire::answer::AnswerHead;
use wire::body::BodyWalk;
use wire::forward::{ForClient, Reframed};
use wire::request::Method;

use crate::fault::{Fault, OriginFault, OurFault};
use crate::net::buffers::consume;
use crate::net::encoder::Encoder;
use crate::request::exchange::download::{Answered, Download, Origin};
use crate::request::exchange::request::{Coded, Compressed};
use crate::state::media;

impl Download<'_> {
    /// How the client gets this answer, if it is of a kind that its route compresses; `None` for all others.
    /// `Compressed::Plain` is for a client that takes no coding: it is told by `Vary` that there are some.
    pub(super) fn compressed(&self, head: &AnswerHead) -> Option<Compressed> {
        let changed = self.request.changed?;
        let compress = changed.compress.as_deref()?;
        let asked = self.request.head;
        let content_type = head.lines_of("content-type").next()?;
        let is_short = head.content_length().is_some_and(|length| length < compress.bytes_min);
        if asked.engine_io().is_some() || is_short || !compress.takes(content_type) || !head.may_be_coded() {
            return None;
        }
        let mut edits = changed.answer.clone();
        // Who gets it plain is told as well: a cache may keep it for others.
        let varies = |value: &[u8]| {
            let names = value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            names.into_iter().any(|name| name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding"))
        };
        if !head.lines_of("vary").any(varies) {
            edits.say("Vary", b"Accept-Encoding");
        }
        let worker = self.request.worker;
        // HTTP/1.0 knows no chunks, and the length is not known before the end.
        let may_code = asked.version() == Version::Http11 && !worker.buffers.ledger.is_short();
        let coding = may_code.then(|| media::preferred(asked, &compress.codings)).flatten();
        let encoder = match coding {
            Some(coding) if asked.method() == Method::Head => {
                edits.code_content(coding.as_str());
                None
            }
            Some(coding) => worker.encoders.take(coding).inspect(|_| edits.code_content(coding.as_str())),
            None => None,
        };
        Some(match encoder {
            Some(encoder) => Compressed::Coded(Box::new(Coded { edits, encoder })),
            None => Compressed::Plain(Box::new(edits)),
        })
    }

    /// Compresses the body as it comes.
    pub(super) async fn relay_compressed(
        &mut self,
        head: &AnswerHead,
        coded: Box<Coded>,
    ) -> Result<Answered, Fault> {
        let Coded { edits, mut encoder } = *coded;
        let how = ForClient { edits: Some(&edits), ..self.for_client(None) };
        let mut walk = BodyWalk::of_answer(head.body(), false);
        walk.watch_all();
        let mut out = self.buffers().take_for_head();
        if self.take_in(&mut walk, &mut encoder)? {
            // All of it is here, and so its length is known.
            let body = encoder.finish().map_err(|_| OurFault::NotCompressed)?;
            let how = ForClient { content_length: Some(body.len() as u64), ..how };
            self.print_final(head, &how, b"", &mut out);
            self.begin(out, &body, Reframed::AsItCame).await?;
            self.finish(b"").await?;
            return Ok(self.whole(head, how.keep_alive));
        }
        self.print_final(head, &how, b"", &mut out);
        self.begin(out, b"", Reframed::ToChunks).await?;
        self.progress.lasting.begin(self.reply().now());
        let timeout = if head.is_event_stream() { self.timeouts.tunnel } else { self.timeouts.body };
        while !self.compress_more(&mut walk, &mut encoder, timeout).await? {}
        let last = encoder.finish().map_err(|_| OurFault::NotCompressed)?;
        self.finish(&last).await?;
        Ok(self.whole(head, how.keep_alive))
    }

    /// Compresses what is here. `true` at the end of the body.
    fn take_in(&mut self, walk: &mut BodyWalk, encoder: &mut Encoder) -> Result<bool, Fault> {
        let walked = walk.walk(self.origin.inbound).map_err(OriginFault::Malformed)?;
        encoder.take(&self.origin.inbound[..walked.kept]).map_err(|_| OurFault::NotCompressed)?;
        consume(self.origin.inbound, walked.taken);
        Ok(walked.is_end || walk.is_at_end())
    }

    /// Compresses what comes next, and sends what has come out of it. `true` at the end of the body.
    async fn compress_more(
        &mut self,
        walk: &mut BodyWalk,
        encoder: &mut Encoder,
        timeout: Duration,
    ) -> Result<bool, Fault> {
        let buffers = &self.request.worker.buffers;
        let Origin { io, inbound, .. } = &mut self.origin;
        buffers.give_back_if_empty(inbound);
        let at_hand = poll_fn(|cx| {
            Poll::Ready(match io.poll_read(cx, inbound, buffers) {
                Poll::Ready(read) => Some(read),
                Poll::Pending => None,
            })
        });
        let mut read = at_hand.await;
        if read.is_some() {
            // Compressing is work, and a node that is fast must not keep the worker's other clients waiting.
            tokio::task::yield_now().await;
        } else {
            encoder.flush().map_err(|_| OurFault::NotCompressed)?;
            self.send_coded(encoder.out()).await?;
            let Origin { io, inbound, .. } = &mut self.origin;
            io.acknowledge();
            read = self.request.reply.alarm().within(timeout, |cx| io.poll_read(cx, inbound, buffers)).await;
        }
        match read {
            Some(Ok(0)) if walk.ends_at_close() && !self.origin.node.cuts_answers() => return Ok(true),
            Some(Ok(0) | Err(_)) => return Err(OriginFault::CutShort.into()),
            Some(Ok(_)) => {}
            None => return Err(OriginFault::BodyTimedOut.into()),
        }
        let is_end = self.take_in(walk, encoder)?;
        if !is_end && encoder.out().len() >= SENT_AT_BYTES {
            self.send_coded(encoder.out()).await?;
        }
        Ok(is_end)
    }

    /// Sends what has come out as one chunk.
    async fn send_coded(&self, coded: &mut Vec<u8>) -> Result<(), Fault> {
        self.reply().send_body(coded, self.timeouts.body).await?;
        coded.clear();
        Ok(())
    }
}

/// So much is not kept back for more.
const SENT_AT_BYTES: usize = 8192;
