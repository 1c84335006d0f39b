//! Walks a body as it goes by: where it ends, and which of its bytes are passed on. Nothing is copied unless
//! something in front of it was left out.

use crate::answer::AnswerBody;
use crate::chunked::{Chunked, Piece};
use crate::engineio::CloseScan;
use crate::malformed::Malformed;
use crate::request::RequestBody;
use crate::scan::Side;

/// Follows a body as its bytes come, in pieces of any size: tells what may be passed on and where the body ends.
#[derive(Debug)]
pub struct BodyWalk {
    framing: Framing,
    /// Whether the coding's own bytes are passed on; they are not to an HTTP/1.0 client.
    keeps_coding: bool,
    /// Content that may still come before the body is too long.
    left_max: u64,
    close_scan: Option<CloseScan>,
    beginning: Beginning,
    /// The kernel may not move bytes past it (splice): somebody looks at what they say.
    is_seen: bool,
}

/// Whether the content begins as somebody wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// As far as it has come; this is still to follow.
    Open(&'static [u8]),
    AsAsked,
    /// It does not, or nobody has asked.
    Other,
}

#[derive(Debug)]
enum Framing {
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// What a step of the walk found at the start of the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// So many bytes, at the start of the buffer, are to be passed on.
    pub kept: usize,
    /// So many bytes of the buffer are done with, the kept ones included. The others are not understood yet, or
    /// belong to what follows the body.
    pub taken: usize,
    /// Whether the body ends with what was taken; what follows in the buffer is the next message.
    pub is_end: bool,
    /// In so many pieces, if they were chunks: what the step took is told by these, not by its bytes.
    pub pieces: usize,
}

impl BodyWalk {
    /// The walk over a request's body, of which at most `bytes_max` are content.
    ///
    /// # Errors
    /// If the head already says that there is more.
    pub fn of_request(body: RequestBody, bytes_max: Option<u64>) -> Result<Self, Malformed> {
        let left_max = bytes_max.unwrap_or(u64::MAX);
        let framing = match body {
            RequestBody::None => Framing::Length(0),
            RequestBody::Length(length) if length > left_max => return Err(Malformed::BodyTooLong),
            RequestBody::Length(length) => Framing::Length(length),
            RequestBody::Chunked => Framing::Chunked(Chunked::of(Side::Request)),
        };
        Ok(Self {
            framing,
            keeps_coding: true,
            left_max,
            close_scan: None,
            beginning: Beginning::Other,
            is_seen: false,
        })
    }

    /// An answer's body.
    pub fn of_answer(body: AnswerBody, keeps_coding: bool) -> Self {
        let framing = match body {
            AnswerBody::None => Framing::Length(0),
            AnswerBody::Length(length) => Framing::Length(length),
            AnswerBody::Chunked => Framing::Chunked(Chunked::of(Side::Answer)),
            AnswerBody::UntilClose => Framing::UntilClose,
        };
        Self {
            framing,
            keeps_coding,
            left_max: u64::MAX,
            close_scan: None,
            beginning: Beginning::Other,
            is_seen: false,
        }
    }

    /// Watches the content for an Engine.IO close packet.
    pub fn watch_for_close_packet(&mut self, scan: CloseScan) {
        self.close_scan = Some(scan);
    }

    /// Whether the content held an Engine.IO close packet. To be asked once it is whole; false where nobody had
    /// asked for the look.
    pub fn held_close_packet(&self) -> bool {
        self.close_scan.is_some_and(|scan| scan.is_closed())
    }

    /// Looks whether the content begins with `asked`, however it is framed and cut.
    pub fn watch_beginning(&mut self, asked: &'static [u8]) {
        self.beginning = Beginning::Open(asked);
    }

    /// Whether the content, as far as it has come, begins as [`Self::watch_beginning`] asked.
    pub fn begins_as_asked(&self) -> bool {
        self.beginning == Beginning::AsAsked
    }

    /// Has every byte seen: somebody looks for something in them.
    pub fn watch_all(&mut self) {
        self.is_seen = true;
    }

    /// Known only of a body with a length, whose last byte has been walked over or passed unseen.
    pub fn is_at_end(&self) -> bool {
        matches!(self.framing, Framing::Length(0))
    }

    /// Whether the end of the origin's connection is the end of this body, and not a cut.
    pub fn ends_at_close(&self) -> bool {
        matches!(self.framing, Framing::UntilClose)
    }

    /// So many of the bytes that come next may be passed on without being seen: what is left of a body that said its
    /// length, unless something is looked for in it.
    pub fn unseen(&self) -> u64 {
        match self.framing {
            Framing::Length(left)
                if !self.is_seen && self.close_scan.is_none() && !self.beginning.is_open() =>
            {
                left
            }
            Framing::Length(_) | Framing::Chunked(_) | Framing::UntilClose => 0,
        }
    }

    /// So many of the bytes that [`Self::unseen`] told of have passed.
    pub fn pass_unseen(&mut self, bytes: u64) {
        if let Framing::Length(left) = &mut self.framing {
            *left = left.saturating_sub(bytes);
        }
    }

    /// Walks over `bytes`. What is to be passed on is moved to its front.
    ///
    /// # Errors
    /// If the chunks are not well-formed, or there is more content than may be. Nothing may be walked over after that.
    pub fn walk(&mut self, bytes: &mut [u8]) -> Result<Walked, Malformed> {
        match &mut self.framing {
            Framing::Length(left) => {
                let here = (*left).min(bytes.len() as u64);
                *left -= here;
                let is_end = *left == 0;
                let here = here as usize;
                self.scan(&bytes[..here]);
                Ok(Walked { kept: here, taken: here, is_end, pieces: 0 })
            }
            Framing::UntilClose => {
                self.scan(bytes);
                Ok(Walked { kept: bytes.len(), taken: bytes.len(), is_end: false, pieces: 0 })
            }
            Framing::Chunked(_) => self.walk_chunks(bytes),
        }
    }

    fn walk_chunks(&mut self, bytes: &mut [u8]) -> Result<Walked, Malformed> {
        let mut walked = Walked { kept: 0, taken: 0, is_end: false, pieces: 0 };
        loop {
            walked.pieces += 1;
            let Framing::Chunked(chunked) = &mut self.framing else { return Ok(walked) };
            match chunked.next(&bytes[walked.taken..])? {
                Piece::Unfinished => return Ok(walked),
                Piece::Data(length) => {
                    self.left_max = self.left_max.checked_sub(length as u64).ok_or(Malformed::BodyTooLong)?;
                    self.scan(&bytes[walked.taken..walked.taken + length]);
                    keep(bytes, &mut walked, length);
                }
                Piece::Frame { kept, dropped, tail } if self.keeps_coding => {
                    keep(bytes, &mut walked, kept);
                    walked.taken += dropped;
                    keep(bytes, &mut walked, tail);
                }
                Piece::Frame { kept, dropped, tail } => walked.taken += kept + dropped + tail,
                Piece::End => {
                    self.framing = Framing::Length(0);
                    walked.is_end = true;
                    return Ok(walked);
                }
            }
        }
    }

    fn scan(&mut self, content: &[u8]) {
        if let Some(scan) = &mut self.close_scan {
            scan.feed(content);
        }
        self.beginning.feed(content);
    }
}

impl Beginning {
    fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }

    fn feed(&mut self, content: &[u8]) {
        let Self::Open(asked) = *self else { return };
        let here = asked.len().min(content.len());
        *self = match asked.split_at(here) {
            (begun, _) if content[..here] != *begun => Self::Other,
            (_, []) => Self::AsAsked,
            (_, rest) => Self::Open(rest),
        };
    }
}

/// Passes on the next `length` bytes.
fn keep(bytes: &mut [u8], walked: &mut Walked, length: usize) {
    if walked.kept != walked.taken {
        bytes.copy_within(walked.taken..walked.taken + length, walked.kept);
    }
    walked.kept += length;
    walked.taken += length;
}

#[cfg(test)]
mod tests;
