//! Where the answer goes: the connection that the request came on, as it is printed for HTTP/1.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::task::{Poll, ready};
use std::time::Duration;

use rustix::fs::sendfile;
use tokio::time::Instant;
use wire::Version;
use wire::forward::Reframed;
use wire::request::RequestHead;

use crate::fault::{ClientFault, Fault, OurFault};
use crate::net::clock::Alarm;
use crate::net::pace::Pace;
use crate::net::splice::{SpliceEnds, SplicePipes, Spliced, Waits};
use crate::net::stream::{ClientStream, Io, join, spend};
use crate::request::downstream::arrival::Arrival;
use crate::request::reply;

/// The connection that the answer goes to, and how much of it has gone.
#[derive(Debug)]
pub(crate) struct ReplySink<'c> {
    client: &'c ClientStream,
    version: Version,
    /// Whether the connection may go on after the answer, as far as the client and we are concerned.
    keep_alive: bool,
    arrival: Arrival<'c>,
    has_begun: Cell<bool>,
    /// How what is still to come of the body is framed.
    framed: Cell<Reframed>,
    bytes: Cell<u64>,
    /// As many of these as were heads.
    head_bytes: Cell<u32>,
    pace: &'c Cell<Pace>,
    /// So long it has been waited that the client takes something.
    waited: Cell<Duration>,
}

impl<'c> ReplySink<'c> {
    pub(crate) fn new(
        client: &'c ClientStream,
        head: &RequestHead,
        keep_alive: bool,
        arrival: Arrival<'c>,
        pace: &'c Cell<Pace>,
    ) -> Self {
        Self {
            client,
            version: head.version(),
            keep_alive,
            arrival,
            has_begun: Cell::new(false),
            framed: Cell::new(Reframed::AsItCame),
            bytes: Cell::new(0),
            head_bytes: Cell::new(0),
            pace,
            waited: Cell::new(Duration::ZERO),
        }
    }

    /// The version by which a body is framed for this client: [`Version::Http10`] where a body needs no frame of ours.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Whether another request may follow the answer, as far as the client and we are concerned. None does on a stream of
    /// HTTP/2.
    pub(crate) fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// No request follows the answer: what comes of this client is not to be read as one.
    pub(crate) fn close_after(&mut self) {
        self.keep_alive = false;
    }

    /// How the client came in.
    pub(crate) fn arrival(&self) -> Arrival<'c> {
        self.arrival
    }

    /// Whether the client knows interim answers, which HTTP/1.0 does not.
    pub(crate) fn takes_interim(&self) -> bool {
        self.version == Version::Http11
    }

    /// Whether the request is for another host than its TLS handshake was.
    pub(crate) fn is_for_another_host(&self, head: &RequestHead) -> bool {
        head.host_name().is_some_and(|host| self.client.io.is_for_another_host(host))
    }

    /// Whether something of a final answer has gone out, so that no other answer can be given.
    pub(crate) fn has_begun(&self) -> bool {
        self.has_begun.get()
    }

    /// What has been sent so far, heads and frames included.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    /// As [`ReplySink::bytes`], without heads.
    pub(crate) fn body_bytes(&self) -> u64 {
        self.bytes.get().saturating_sub(self.head_bytes.get().into())
    }

    /// Sends an interim answer, which others may follow.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) async fn send_interim(&self, head: &[u8], timeout: Duration) -> Result<(), Fault> {
        self.note_head(head.len());
        self.send(&mut [IoSlice::new(head)], timeout).await
    }

    fn note_head(&self, bytes: usize) {
        // Heads are bounded, and so are interim answers.
        self.head_bytes.set(self.head_bytes.get().saturating_add(bytes as u32));
    }

    /// Sends the head of the final answer and what is here of its body, in one piece.
    /// `framed` is how the head says that the body is framed: what follows is framed so here, and by nobody else.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) async fn begin(
        &self,
        head: &mut Vec<u8>,
        content: &[u8],
        framed: Reframed,
        timeout: Duration,
    ) -> Result<(), Fault> {
        self.has_begun.set(true);
        self.framed.set(framed);
        self.note_head(head.len());
        let content = if framed == Reframed::ToChunks {
            frame_chunk(content, head);
            &[]
        } else {
            join(head, content)
        };
        match content {
            [] => self.send(&mut [IoSlice::new(head)], timeout).await,
            content => self.send(&mut [IoSlice::new(head), IoSlice::new(content)], timeout).await,
        }
    }

    /// Sends more of the body.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) async fn send_body(&self, content: &[u8], timeout: Duration) -> Result<(), Fault> {
        if content.is_empty() {
            return Ok(());
        }
        if self.framed.get() != Reframed::ToChunks {
            return self.send(&mut [IoSlice::new(content)], timeout).await;
        }
        let size = format!("{:x}\r\n", content.len());
        let mut pieces = [IoSlice::new(size.as_bytes()), IoSlice::new(content), IoSlice::new(b"\r\n")];
        self.send(&mut pieces, timeout).await
    }

    /// Sends what is last of the body, which may be nothing, and its end. An answer for which this was not called when the
    /// sink is dropped is cut, and does not look complete.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) async fn finish(&self, last: &[u8], timeout: Duration) -> Result<(), Fault> {
        if self.framed.get() == Reframed::ToChunks {
            let mut out = Vec::with_capacity(last.len() + CHUNK_FRAMES_BYTES);
            frame_chunk(last, &mut out);
            out.extend_from_slice(b"0\r\n\r\n");
            self.send(&mut [IoSlice::new(&out)], timeout).await?;
        } else if !last.is_empty() {
            self.send(&mut [IoSlice::new(last)], timeout).await?;
        }
        self.framed.set(Reframed::AsItCame);
        Ok(())
    }

    /// Passes up to `bytes` of the body on without looking at them. `None` if they are better copied.
    ///
    /// # Cancel safety
    /// What a pipe holds when this is dropped is lost, and so is the exchange.
    pub(crate) async fn splice(
        &self,
        pipes: &SplicePipes,
        origin: &Io,
        bytes: u64,
        timeout: Duration,
    ) -> Option<Spliced> {
        // As if one pipe were all: it is asked again before the next.
        let left = self.pace.get().of_answer(timeout, self.bytes.get(), self.waited.get());
        let waits = Waits { source: timeout, sink: left.min(timeout) };
        let ends = SpliceEnds { source: origin, sink: &self.client.io };
        let spliced = pipes.splice(ends, bytes, &self.client.alarm, waits).await?;
        self.waited.set(self.waited.get() + spliced.waited.sink);
        self.bytes.set(self.bytes.get() + spliced.bytes);
        Some(spliced)
    }

    /// The one timer of the task that runs the exchange; every wait of it is set on that.
    pub(crate) fn alarm(&self) -> &'c Alarm {
        &self.client.alarm
    }

    /// When the running task woke.
    pub(crate) fn now(&self) -> Instant {
        self.client.now()
    }

    /// Whether the kernel can put a file into the client's socket: not where its bytes are encrypted or framed by us.
    pub(crate) fn can_send_files(&self) -> bool {
        self.client.io.is_plain_tcp()
    }

    /// Sends a part of a file without looking at it, where [`ReplySink::can_send_files`].
    ///
    /// # Errors
    /// The client has left, or takes nothing; the file is shorter than it was.
    pub(crate) async fn send_file(
        &self,
        file: BorrowedFd<'_>,
        mut part: Range<u64>,
        timeout: Duration,
    ) -> Result<(), Fault> {
        while part.start < part.end {
            // One client must not keep the others waiting, however much its socket takes.
            let most = usize::try_from(part.end - part.start).unwrap_or(usize::MAX).min(TURN_BYTES);
            let left = self.pace.get().of_answer(timeout, self.bytes.get(), self.waited.get()).min(timeout);
            let begun = self.now();
            let put = |socket: BorrowedFd<'_>| {
                let mut at = part.start;
                Ok(sendfile(socket, file, Some(&mut at), most)?)
            };
            let sent = self.client.alarm.within(left, |cx| {
                let sent = ready!(self.client.io.poll_put(cx, put))?;
                spend(cx, sent);
                Poll::Ready(Ok::<_, io::Error>(sent))
            });
            let sent = sent.await;
            self.waited.set(self.waited.get() + (self.now() - begun));
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

    /// Sends an answer that is complete, head and body in one.
    ///
    /// # Errors
    /// The client has left, or takes nothing.
    pub(crate) async fn send_whole(&self, answer: &[u8], timeout: Duration) -> Result<(), Fault> {
        self.has_begun.set(true);
        self.note_head(answer.len() - reply::body_bytes(answer) as usize);
        self.send(&mut [IoSlice::new(answer)], timeout).await
    }

    async fn send(&self, pieces: &mut [IoSlice<'_>], timeout: Duration) -> Result<(), Fault> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        let most = || {
            let bytes = self.bytes.get() + length as u64;
            self.pace.get().of_answer(timeout, bytes, self.waited.get())
        };
        let ClientStream { io, alarm } = self.client;
        let begun = alarm.now();
        let written = io.write_pieces(pieces, alarm, timeout, most).await;
        let now = alarm.now();
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
}

impl Drop for ReplySink<'_> {
    /// A body that is cut must not look complete, whoever cuts it. One with a frame shows it by itself; one without needs a
    /// reset.
    fn drop(&mut self) {
        if self.framed.get() == Reframed::ToClose {
            self.client.io.reset_on_close();
        }
    }
}

/// Content as one chunk; none where there is none, for an empty chunk is the last.
fn frame_chunk(content: &[u8], out: &mut Vec<u8>) {
    if !content.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
        out.extend_from_slice(content);
        out.extend_from_slice(b"\r\n");
    }
}

/// What of a file is sent before others have their turn, at most.
const TURN_BYTES: usize = 256 << 10;
/// What stands around the content of the last chunk, and behind it.
const CHUNK_FRAMES_BYTES: usize = 25;
