//! Sending a file, or parts of it.

use std::ops::Range;
use std::os::fd::AsFd;

use bytes::BytesMut;
use rustix::io::pread;
use wire::forward::Reframed;
use wire::request::Method;

use super::{Answer, Content, Line};
use crate::fault::{Fault, OurFault};
use crate::observe::record::Record;
use crate::request::exchange::Outcome;
use crate::state::open_files::Opened;

impl Answer<'_> {
    /// Sends parts of a file, of which several come with a head each (RFC 9110 section 14.6).
    pub(super) async fn send(
        &self,
        Content { status, parts }: Content,
        mut lines: Vec<Line<'_>>,
        file: &Opened,
        record: &mut Record,
    ) -> Result<Outcome, Fault> {
        record.status = status;
        let mut heads = Vec::new();
        let mut tail = Vec::new();
        if parts.len() > 1 {
            let boundary = format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
            let content_type = &file.media.content_type;
            let head = |part: &Range<u64>| {
                let (first, last) = (part.start, part.end - 1);
                format!(
                    "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: bytes {first}-{last}/{}\r\n\r\n",
                    file.bytes
                )
                .into_bytes()
            };
            heads = parts.iter().map(head).collect();
            tail = format!("\r\n--{boundary}--\r\n").into_bytes();
            lines.push((
                "Content-Type",
                format!("multipart/byteranges; boundary={boundary}").into_bytes().into(),
            ));
        }
        let content: u64 = parts.iter().map(|part| part.end - part.start).sum();
        let around = heads.iter().map(Vec::len).sum::<usize>() + tail.len();
        let length = content + around as u64;
        let mut head = self.head(status, &lines, Some(length));
        if self.head.method() == Method::Head {
            self.reply.send_whole(&head, self.timeout()).await?;
            self.worker.buffers.give_for_head(head);
            return Ok(Outcome::Answered(self.goes_on()));
        }
        let mut first = heads.iter();
        head.extend_from_slice(first.next().map(Vec::as_slice).unwrap_or_default());
        let mut parts = parts.into_iter();
        if let Some(part) = parts.next() {
            self.begin(head, file, part).await?;
        }
        for (part, head) in parts.zip(first) {
            self.reply.send_body(head, self.timeout()).await?;
            self.pass(file, part).await?;
        }
        self.reply.finish(&tail, self.timeout()).await?;
        Ok(Outcome::Answered(self.goes_on()))
    }

    /// Sends the head, and with it a part that is short.
    async fn begin(&self, mut head: Vec<u8>, file: &Opened, part: Range<u64>) -> Result<(), Fault> {
        if let Some(content) = file.content_of(&part) {
            self.reply.begin(&mut head, content, Reframed::AsItCame, self.timeout()).await?;
            self.worker.buffers.give_for_head(head);
            return Ok(());
        }
        if part.end - part.start > self.worker.buffers.bytes() as u64 {
            self.reply.begin(&mut head, b"", Reframed::AsItCame, self.timeout()).await?;
            self.worker.buffers.give_for_head(head);
            return self.pass(file, part).await;
        }
        let mut buffer = self.worker.buffers.take();
        // Read before anything is said: a file that cannot be read has a status of its own.
        let read = self.read(file, part, &mut buffer);
        let sent = match read {
            Ok(()) => self.reply.begin(&mut head, &buffer, Reframed::AsItCame, self.timeout()).await,
            Err(fault) => Err(fault),
        };
        self.worker.buffers.give_for_head(head);
        self.worker.buffers.give(buffer);
        sent
    }

    /// Sends a part behind what has gone out already.
    async fn pass(&self, file: &Opened, mut part: Range<u64>) -> Result<(), Fault> {
        if self.reply.can_send_files() {
            return self.reply.send_file(file.file.as_fd(), part, self.timeout()).await;
        }
        let most = self.worker.buffers.bytes() as u64;
        let mut buffer = self.worker.buffers.take();
        while part.start < part.end {
            let next = part.end.min(part.start + most);
            let sent = match self.read(file, part.start..next, &mut buffer) {
                Ok(()) => self.reply.send_body(&buffer, self.timeout()).await,
                Err(fault) => Err(fault),
            };
            if sent.is_err() {
                self.worker.buffers.give(buffer);
                return sent;
            }
            part.start = next;
        }
        self.worker.buffers.give(buffer);
        Ok(())
    }

    /// Fills the buffer with a part, which is no longer than one.
    pub(super) fn read(&self, file: &Opened, part: Range<u64>, buffer: &mut BytesMut) -> Result<(), Fault> {
        let length = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
        buffer.resize(length, 0);
        let mut filled = 0;
        while filled < length {
            match pread(&file.file, &mut buffer[filled..], part.start + filled as u64) {
                // It was cut meanwhile.
                Ok(0) | Err(_) => return Err(OurFault::FileUnreadable.into()),
                Ok(read) => filled += read,
            }
        }
        Ok(())
    }
}
