//! One direction of a tunnel: reads here, writes there, and knows where frames and messages end, so that it can be
//! told to stop between two of them.

use std::io;
use std::num::NonZeroU32;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;
use wire::engineio::read_open_packet;
use wire::frame::{self, Edge, FrameEdges, Kinds};

use crate::net::buffers::Buffers;
use crate::observe::routes::Passed;
use crate::tunnel::end::{End, IoBudget, Way};
use crate::upstream::close_signal::CloseReason;

/// One direction, from a source to a sink.
#[derive(Debug)]
pub(super) struct Direction {
    /// Read and not yet written; `None` whenever the sink keeps up. Boxed for that, and never empty.
    pending: Option<Box<Pending>>,
    /// Of what was read.
    edges: FrameEdges,
    flow: Flow,
    /// The first frame may be an Engine.IO open packet.
    awaits_open: bool,
    /// What that packet told: how long the session can be silent, in milliseconds.
    silence_ms: Option<NonZeroU32>,
    /// The source's own Close frame has been read: it says no more.
    has_said_close: bool,
    /// A message of the source was longer than it may be. Nothing of it beyond its last whole frame has passed.
    has_said_too_much: bool,
    /// The sink has whole frames only, once it has what is pending.
    sink_is_at_edge: bool,
    /// The source has sent its end.
    source_ended: bool,
    /// The sink is the client. It gets Close frames without a mask, and the source's end not by itself: the owner is
    /// asked first, and may have a Close to say.
    is_towards_client: bool,
    /// The sink is to get the end as soon as it has what is pending.
    is_finishing: bool,
    /// The sink has got the end, or is broken.
    sink_ended: bool,
    bytes: u64,
}

/// What a sink has not taken yet.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// The sink has taken nothing of it since then, as far as somebody has looked.
    since: Option<Instant>,
}

/// Where a direction reads to.
#[derive(Debug)]
struct Reading<'a> {
    read: &'a mut Vec<u8>,
    buffers: &'a Buffers,
}

impl Pending {
    fn new(bytes: Vec<u8>) -> Box<Self> {
        Box::new(Self { bytes, since: None })
    }
}

/// What passes.
#[derive(Debug, Default)]
enum Flow {
    /// Everything.
    #[default]
    All,
    /// What is there up to the next edge. Then a Close, and nothing else.
    UntilEdge { may_split_message: bool, reason: CloseReason },
    /// What is there up to the source's Close, and that.
    UntilClose,
    /// Nothing. It is read all the same: a close with bytes unread would be a reset.
    Nothing,
}

/// Which end of a direction is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Source { is_silent: bool },
    Sink { is_silent: bool },
}

impl Broken {
    fn source(error: &io::Error) -> Self {
        Self::Source { is_silent: tells_of_silence(error) }
    }

    fn sink(error: &io::Error) -> Self {
        Self::Sink { is_silent: tells_of_silence(error) }
    }
}

/// Whether the other end has not said that it is gone: the kernel has found out by its silence.
fn tells_of_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable)
}

impl Direction {
    /// A direction whose messages have at most so many bytes.
    pub(super) fn new(message_bytes_max: u64) -> Self {
        Self {
            pending: None,
            edges: FrameEdges::bounded(message_bytes_max),
            flow: Flow::All,
            awaits_open: false,
            silence_ms: None,
            has_said_close: false,
            has_said_too_much: false,
            sink_is_at_edge: true,
            source_ended: false,
            is_towards_client: false,
            is_finishing: false,
            sink_ended: false,
            bytes: 0,
        }
    }

    /// Its source's end is not passed on until [`Direction::finish`] is called.
    pub(super) fn towards_client(self) -> Self {
        Self { is_towards_client: true, ..self }
    }

    /// Its first frame may be an Engine.IO open packet.
    pub(super) fn awaiting_open(self, awaits_open: bool) -> Self {
        Self { awaits_open, ..self }
    }

    /// Its source has said something already.
    pub(super) fn after(mut self, mut early: Vec<u8>) -> Self {
        self.admit(&mut early);
        self.pending = (!early.is_empty()).then(|| Pending::new(early));
        self
    }

    /// How long the session can be silent, in milliseconds, by its open packet. Told once, when that has gone by.
    pub(super) fn take_silence_ms(&mut self) -> Option<u64> {
        self.silence_ms.take().map(|silence_ms| silence_ms.get().into())
    }

    /// Bytes written to the sink.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Frames that the source has sent whole.
    pub(super) fn frames(&self) -> u64 {
        self.edges.frames()
    }

    /// What has gone by so far. Its messages wrap around: [`Passed::since`] knows.
    pub(super) fn passed(&self) -> Passed {
        Passed { bytes: self.bytes(), messages: self.kinds().messages.into() }
    }

    /// The same by kind.
    pub(super) fn kinds(&self) -> Kinds {
        self.edges.kinds()
    }

    /// Whether something waits for a sink that takes nothing more. Nothing is read meanwhile.
    pub(super) fn is_stuck(&self) -> bool {
        self.pending.is_some()
    }

    /// Since when that is so, without the sink taking anything; `now` at the first look.
    pub(super) fn stuck_since(&mut self, now: Instant) -> Option<Instant> {
        self.pending.as_mut().map(|pending| *pending.since.get_or_insert(now))
    }

    /// The code of the source's Close, if it has said one.
    pub(super) fn close_code(&self) -> Option<u16> {
        self.edges.close_code()
    }

    pub(super) fn has_said_too_much(&self) -> bool {
        self.has_said_too_much
    }

    pub(super) fn has_said_close(&self) -> bool {
        self.has_said_close
    }

    /// Whether the sink has got all that it will get, the end excepted.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.flow, Flow::Nothing) && self.pending.is_none()
    }

    /// Says Close to the sink at the next edge, and nothing afterwards. Where the source has said its own Close there
    /// is nothing left to say.
    pub(super) fn say_close(&mut self, reason: CloseReason, may_split_message: bool) {
        if self.has_said_close || matches!(self.flow, Flow::Nothing) {
            return;
        }
        let is_at_edge = match may_split_message {
            true => self.sink_is_at_edge,
            false => self.sink_is_at_edge && self.edges.is_at_message_edge(),
        };
        if is_at_edge {
            let close_frame = self.close_frame(reason);
            self.pending.get_or_insert_default().bytes.extend_from_slice(&close_frame);
            self.flow = Flow::Nothing;
        } else {
            self.flow = Flow::UntilEdge { may_split_message, reason };
        }
    }

    fn close_frame(&self, reason: CloseReason) -> Vec<u8> {
        let (code, words) = (reason.code(), reason.words());
        match self.is_towards_client {
            true => frame::close_to_client(code, words),
            false => frame::close_to_origin(code, words, fastrand::u32(..).to_be_bytes()),
        }
    }

    /// Lets pass what comes up to the source's Close, which is the last.
    pub(super) fn pass_until_close(&mut self) {
        self.flow = if self.has_said_close { Flow::Nothing } else { Flow::UntilClose };
    }

    /// Lets nothing pass any more.
    pub(super) fn pass_nothing(&mut self) {
        self.flow = Flow::Nothing;
    }

    /// Gives the sink the end once it has what is pending.
    pub(super) fn finish(&mut self) {
        self.is_finishing = true;
    }

    /// The sink is broken: nothing can be written to it.
    pub(super) fn forget_sink(&mut self) {
        self.flow = Flow::Nothing;
        self.pending = None;
        self.sink_ended = true;
    }

    /// The source is gone without a word.
    pub(super) fn forget_source(&mut self) {
        self.source_ended = true;
    }

    /// Moves what can be moved in this turn. Ready when the source has ended and the sink knows it, or the owner must be
    /// asked.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        Way { source, sink }: Way<'_>,
        buffers: &Buffers,
        budget: &mut IoBudget,
    ) -> Poll<Result<(), Broken>> {
        if let Some(mut pending) = self.pending.take() {
            let length = pending.bytes.len();
            let passed = self.poll_pass(cx, &mut pending.bytes, sink);
            if pending.bytes.is_empty() {
                buffers.give_for_frames(pending.bytes);
            } else {
                pending.since = pending.since.filter(|_| pending.bytes.len() == length);
                self.pending = Some(pending);
            }
            ready!(passed).map_err(|error| Broken::sink(&error))?;
        }
        ready!(self.poll_end_of_sink(cx, sink)).map_err(|error| Broken::sink(&error))?;
        if self.source_ended {
            return Poll::Ready(Ok(()));
        }
        // Most wakes are for the other direction.
        if source.is_waiting() {
            return Poll::Pending;
        }
        let mut read = buffers.take_for_frames();
        let polled =
            self.poll_through(cx, Way { source, sink }, Reading { read: &mut read, buffers }, budget);
        self.keep(read, buffers);
        polled
    }

    /// Reads and writes what was read, until there is nothing to read or to write to, or its turn is over.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        Way { source, sink }: Way<'_>,
        Reading { read, buffers }: Reading<'_>,
        budget: &mut IoBudget,
    ) -> Poll<Result<(), Broken>> {
        loop {
            if budget.is_spent() {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let received = source.poll_receive(cx, read, buffers);
            let received = ready!(received).map_err(|error| Broken::source(&error))?;
            if received == 0 {
                self.source_ended = true;
            } else {
                let frames = self.frames();
                self.admit(read);
                budget.spend(received, self.frames() - frames);
                ready!(self.poll_pass(cx, read, sink)).map_err(|error| Broken::sink(&error))?;
            }
            ready!(self.poll_end_of_sink(cx, sink)).map_err(|error| Broken::sink(&error))?;
            if self.source_ended {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Writes `bytes`, or as many as the sink takes.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut Vec<u8>,
        sink: &mut End,
    ) -> Poll<io::Result<()>> {
        if self.sink_ended {
            bytes.clear();
        }
        while !bytes.is_empty() {
            let written = ready!(sink.poll_send(cx, bytes))?;
            match written == bytes.len() {
                true => bytes.clear(),
                false => drop(bytes.drain(..written)),
            }
            self.bytes += written as u64;
        }
        Poll::Ready(Ok(()))
    }

    /// Keeps what the sink has not taken.
    fn keep(&mut self, bytes: Vec<u8>, buffers: &Buffers) {
        match bytes.is_empty() {
            true => buffers.give_for_frames(bytes),
            false => self.pending = Some(Pending::new(bytes)),
        }
    }

    /// Sees to it that what was written goes out, and gives the sink the end if it is time.
    fn poll_end_of_sink(&mut self, cx: &mut Context<'_>, sink: &mut End) -> Poll<io::Result<()>> {
        if self.sink_ended {
            return Poll::Ready(Ok(()));
        }
        ready!(sink.poll_flush(cx))?;
        if self.is_finishing || (self.source_ended && !self.is_towards_client) {
            ready!(sink.poll_shutdown(cx))?;
            self.sink_ended = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Leaves of what was read what passes.
    fn admit(&mut self, read: &mut Vec<u8>) {
        if self.awaits_open && !read.is_empty() {
            self.awaits_open = false;
            self.silence_ms = silence_in(read).and_then(NonZeroU32::new);
        }
        match &mut self.flow {
            Flow::All => self.follow(read),
            &mut Flow::UntilEdge { may_split_message, reason } => {
                let stops = |edge| match edge {
                    Edge::Message | Edge::Close => true,
                    Edge::Frame => may_split_message,
                    Edge::Inside | Edge::TooBig => false,
                };
                self.sink_is_at_edge = false;
                if let Some((end, edge)) = find_edge(&mut self.edges, read, stops) {
                    self.sink_is_at_edge = true;
                    read.truncate(end);
                    // Nothing may follow a Close, not even another one.
                    if edge != Edge::Close {
                        read.extend_from_slice(&self.close_frame(reason));
                    }
                    self.flow = Flow::Nothing;
                }
            }
            Flow::UntilClose => {
                self.sink_is_at_edge = false;
                if let Some((end, _)) = find_edge(&mut self.edges, read, |edge| edge == Edge::Close) {
                    read.truncate(end);
                    self.has_said_close = true;
                    self.flow = Flow::Nothing;
                } else {
                    self.sink_is_at_edge = self.edges.is_at_frame_edge();
                }
            }
            Flow::Nothing => read.clear(),
        }
    }
}

impl Direction {
    /// Lets everything pass and notes what was said. Of a message that is too long nothing passes beyond its last
    /// whole frame.
    fn follow(&mut self, read: &mut Vec<u8>) {
        let (mut at, mut whole_until) = (0, None);
        while at < read.len() {
            let step = self.edges.step(&read[at..]);
            at += step.taken;
            match step.edge {
                Edge::Inside => {}
                Edge::Frame | Edge::Message => whole_until = Some(at),
                Edge::Close => {
                    self.has_said_close = true;
                    whole_until = Some(at);
                }
                Edge::TooBig => {
                    self.has_said_too_much = true;
                    self.sink_is_at_edge |= whole_until.is_some();
                    read.truncate(whole_until.unwrap_or(0));
                    return;
                }
            }
        }
        self.sink_is_at_edge = self.edges.is_at_frame_edge();
    }
}

/// The silence, in milliseconds, that an Engine.IO open packet allows, when it is the first frame, uncompressed and
/// here as a whole.
fn silence_in(first: &[u8]) -> Option<u32> {
    const UNCOMPRESSED_TEXT: u8 = 0x81;
    // A node's frames are not masked (RFC 6455 section 5.2); a longer one than 64 KiB opens no session.
    let packet = match first {
        [UNCOMPRESSED_TEXT, 126, _, _, packet @ ..] => packet,
        [UNCOMPRESSED_TEXT, ..126, packet @ ..] => packet,
        _ => return None,
    };
    read_open_packet(packet)?.silence_ms
}

/// The first edge in `bytes` at which to stop, and where it is. Behind it the edges are not followed any more.
fn find_edge(edges: &mut FrameEdges, bytes: &[u8], stops: impl Fn(Edge) -> bool) -> Option<(usize, Edge)> {
    let mut at = 0;
    while at < bytes.len() {
        let step = edges.step(&bytes[at..]);
        at += step.taken;
        if stops(step.edge) {
            return Some((at, step.edge));
        }
    }
    None
}

#[cfg(test)]
mod tests;
