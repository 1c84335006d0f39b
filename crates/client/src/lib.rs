//! A client of our own: asks a node one thing and reads the answer. What probes, closes of sessions and the question
//! whether an app is ready have in common. Heads and bodies are `wire`'s; an answer ends where its framing says, not
//! where the connection does. It knows no addresses and no time: whoever asks connects, and says how long to wait.

use std::io;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use wire::HeadBounds;
use wire::answer::{AnswerHead, AnswerTo};
use wire::body::BodyWalk;
use wire::scan::{HeadScan, Side};

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The connection could not be read or written, or ended before the answer did.
    Wire(io::Error),
    /// What came cannot be read as an answer of HTTP/1.
    Malformed,
}

/// The final answer of a node, with as much of its body as was asked for.
#[derive(Debug)]
pub struct Answer {
    /// Its status, never an interim one.
    pub status: u16,
    /// Its head, of which the lines may be asked for.
    pub head: AnswerHead,
    /// As much of it as was wanted.
    pub body: Vec<u8>,
}

/// A connection to a node, for one request after the other.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    inbound: BytesMut,
    is_reusable: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// A connection that nothing was asked on yet.
    pub fn over(stream: S) -> Self {
        Self { stream, inbound: BytesMut::new(), is_reusable: true }
    }

    /// Whether the connection may be asked again: the last answer was read to its end, and the node does not close
    /// behind it. False once an [`Self::ask`] was given up.
    #[must_use]
    pub fn is_reusable(&self) -> bool {
        self.is_reusable
    }

    /// Sends `request` and reads the answer, and of its body so many bytes at most. Waits for as long as the caller does.
    ///
    /// # Errors
    /// If the connection breaks or ends before the answer does, or if what comes is no HTTP.
    ///
    /// # Cancel safety
    /// Not cancel-safe: the connection is of no use afterwards, which [`Self::is_reusable`] says.
    pub async fn ask(&mut self, request: &[u8], body_bytes: usize) -> Result<Answer, NoAnswer> {
        self.is_reusable = false;
        self.stream.write_all(request).await.map_err(NoAnswer::Wire)?;
        let head = loop {
            let head = self.head().await?;
            if !head.is_interim() {
                break head;
            }
        };
        let mut walk = BodyWalk::of_answer(head.body(), false);
        let is_kept = head.keep_alive();
        let mut answer = Answer { status: head.status(), head, body: Vec::new() };
        while answer.body.len() < body_bytes && !walk.is_at_end() {
            let walked = walk.walk(&mut self.inbound).map_err(|_| NoAnswer::Malformed)?;
            answer.body.extend_from_slice(&self.inbound[..walked.kept]);
            self.inbound.advance(walked.taken);
            if walked.is_end {
                break;
            }
            match self.stream.read_buf(&mut self.inbound).await.map_err(NoAnswer::Wire)? {
                0 if walk.ends_at_close() => return Ok(answer),
                0 => return Err(NoAnswer::Wire(io::ErrorKind::UnexpectedEof.into())),
                _ => {}
            }
        }
        self.is_reusable = walk.is_at_end() && is_kept && self.inbound.is_empty();
        Ok(answer)
    }

    async fn head(&mut self) -> Result<AnswerHead, NoAnswer> {
        let Self { stream, inbound, .. } = self;
        let mut scan = HeadScan::new(Side::Answer);
        loop {
            if let Some(length) = scan.advance(inbound, &BOUNDS).map_err(|_| NoAnswer::Malformed)? {
                let asked = AnswerTo { is_head: false, accept: None, is_connect: false };
                let head = AnswerHead::parse(&inbound.split_to(length), &BOUNDS, &asked);
                return head.map_err(|_| NoAnswer::Malformed);
            }
            if stream.read_buf(inbound).await.map_err(NoAnswer::Wire)? == 0 {
                return Err(NoAnswer::Wire(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }
}

const BOUNDS: HeadBounds =
    HeadBounds { target_bytes_max: 0, head_bytes_max: 64 * 1024, lines_max: HeadBounds::LINES_MAX };
