//! A file that is compressed while it is sent, where nothing beside it is compressed already.

use std::ops::Range;

use config::routing::Coding;
use wire::Version;
use wire::forward::Reframed;
use wire::request::Method;

use super::{Answer, Content, Line};
use crate::fault::{Fault, OurFault};
use crate::net::encoder::Encoder;
use crate::observe::record::Record;
use crate::request::exchange::Outcome;
use crate::state::media;
use crate::state::open_files::Opened;

impl Answer<'_> {
    /// Whether some client gets this file compressed here. All others must be told by `Vary`.
    pub(super) fn may_compress(&self, file: &Opened) -> bool {
        file.coding.is_none()
            && self.compress.is_some_and(|compress| {
                file.bytes >= compress.bytes_min && compress.takes(file.media.content_type.as_bytes())
            })
    }

    /// The coding that this client gets it in. HTTP/1.0 knows no chunks, and the length is not known before the end.
    pub(super) fn coding(&self, file: &Opened) -> Option<Coding> {
        let compress = self.compress.filter(|_| self.may_compress(file))?;
        let may_code = self.head.version() == Version::Http11 && !self.worker.buffers.ledger.is_short();
        may_code.then(|| media::preferred(self.head, &compress.codings)).flatten()
    }

    /// Sends it all.
    pub(super) async fn send_compressed(
        &self,
        coding: Coding,
        mut lines: Vec<Line<'_>>,
        file: &Opened,
        record: &mut Record,
    ) -> Result<Outcome, Fault> {
        let whole = 0..file.bytes;
        let encoder = match self.head.method() {
            Method::Head => None,
            _ => match self.worker.encoders.take(coding) {
                Some(encoder) => Some(encoder),
                // The others are not kept waiting for a place.
                None => {
                    return self.send(Content { status: 200, parts: vec![whole] }, lines, file, record).await;
                }
            },
        };
        record.status = 200;
        lines.push(("Content-Encoding", coding.as_str().as_bytes().into()));
        let most = self.worker.buffers.bytes() as u64;
        let Some(mut encoder) = encoder else {
            let head = self.head(200, &lines, None);
            self.reply.send_whole(&head, self.timeout()).await?;
            self.worker.buffers.give_for_head(head);
            return Ok(Outcome::Answered(self.goes_on()));
        };
        if file.bytes <= most {
            self.compress_part(file, whole, &mut encoder)?;
            let body = encoder.finish().map_err(|_| OurFault::NotCompressed)?;
            let mut head = self.head(200, &lines, Some(body.len() as u64));
            self.reply.begin(&mut head, &body, Reframed::AsItCame, self.timeout()).await?;
            self.reply.finish(b"", self.timeout()).await?;
            self.worker.buffers.give_for_head(head);
            return Ok(Outcome::Answered(self.goes_on()));
        }
        lines.push(("Transfer-Encoding", b"chunked".into()));
        let mut head = self.head(200, &lines, None);
        self.reply.begin(&mut head, b"", Reframed::ToChunks, self.timeout()).await?;
        self.worker.buffers.give_for_head(head);
        let mut part = whole;
        while part.start < part.end {
            let next = part.end.min(part.start + most);
            self.compress_part(file, part.start..next, &mut encoder)?;
            part.start = next;
            self.reply.send_body(encoder.out(), self.timeout()).await?;
            encoder.out().clear();
            // Compressing is work, and one client must not keep the others waiting.
            tokio::task::yield_now().await;
        }
        let rest = encoder.finish().map_err(|_| OurFault::NotCompressed)?;
        self.reply.finish(&rest, self.timeout()).await?;
        Ok(Outcome::Answered(self.goes_on()))
    }

    fn compress_part(&self, file: &Opened, part: Range<u64>, encoder: &mut Encoder) -> Result<(), Fault> {
        if let Some(content) = file.content_of(&part) {
            return encoder.take(content).map_err(|_| OurFault::NotCompressed.into());
        }
        let mut buffer = self.worker.buffers.take();
        let read = self.read(file, part, &mut buffer);
        let taken = read.and_then(|()| encoder.take(&buffer).map_err(|_| OurFault::NotCompressed.into()));
        self.worker.buffers.give(buffer);
        taken
    }
}
