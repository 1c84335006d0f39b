//! A WebSocket that is established: bytes in both directions until one end has had enough. A task of its own, which
//! knows nothing of HTTP and holds no buffer while nothing moves. Only this file writes to an upgraded socket.

use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};
use wire::engineio::read_open_packet;

use crate::buffers::Buffers;
use crate::drain::Live;
use crate::exchange::{OriginEnd, TunnelSession};
use crate::record::{EndedBy, TunnelRecord};
use crate::stream::Stream;
use crate::upstream::node::Node;
use crate::worker::Worker;

/// Both ends, after a 101. What each sent early belongs to the tunnel and is the first thing that moves.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) client: Stream,
    pub(crate) client_early: BytesMut,
    pub(crate) origin: OriginEnd,
    pub(crate) live: Live,
}

/// Moves bytes until the tunnel ends, and records it.
pub(crate) async fn run(upgraded: Upgraded, worker: Rc<Worker>) {
    let mut tunnel = Tunnel::new(upgraded);
    let mut timer = pin!(sleep_until(tunnel.deadline()));
    let ended_by = poll_fn(|cx| tunnel.poll(cx, timer.as_mut(), &worker.buffers)).await;
    worker.lines.tunnel(&TunnelRecord {
        client: tunnel.client_address,
        node: tunnel.node.clone(),
        lasted: tunnel.begun.elapsed(),
        bytes_to_origin: tunnel.to_origin.bytes,
        bytes_to_client: tunnel.to_client.bytes,
        ended_by,
    });
}

#[derive(Debug)]
struct Tunnel {
    client: Stream,
    origin: Stream,
    to_origin: Pipe,
    to_client: Pipe,
    /// Counts the session, and ends it with the tunnel.
    _session: Option<TunnelSession>,
    node: Arc<Node>,
    client_address: IpAddr,
    begun: Instant,
    last_moved: Instant,
    idle: Duration,
    /// Who sent the end first; the other may still have something to say.
    half_closed_by: Option<EndedBy>,
    _live: Live,
}

/// One direction.
#[derive(Debug, Default)]
struct Pipe {
    /// Read and not yet written. Empty, and without memory, whenever the writer keeps up.
    pending: BytesMut,
    /// The reader's end has come.
    is_ending: bool,
    /// The end has been passed on.
    has_ended: bool,
    bytes: u64,
    /// The first frame may be an Engine.IO open packet.
    awaits_open: bool,
    /// What that packet told.
    silence_ms: Option<u64>,
}

impl Tunnel {
    fn new(upgraded: Upgraded) -> Self {
        let Upgraded { client, client_early, origin, live } = upgraded;
        // Where nobody pings, the kernel finds out about an end that is gone without a word.
        for stream in [&client, &origin.stream] {
            let keepalive =
                socket2::TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
            let _ = socket2::SockRef::from(stream.tcp()).set_tcp_keepalive(&keepalive);
        }
        let (silence, opens_session) = match &origin.session {
            Some(TunnelSession::Registered { silence, .. }) => (*silence, false),
            Some(TunnelSession::Own { is_engine_io, .. }) => (None, *is_engine_io),
            None => (None, false),
        };
        let now = Instant::now();
        Self {
            client,
            origin: origin.stream,
            to_origin: Pipe { pending: client_early, ..Pipe::default() },
            to_client: Pipe { awaits_open: opens_session, ..Pipe::default() }.with_early(origin.early),
            _session: origin.session,
            node: origin.node,
            client_address: origin.client,
            begun: now,
            last_moved: now,
            idle: silence.map_or(origin.idle, |silence| silence + SLACK),
            half_closed_by: None,
            _live: live,
        }
    }

    fn deadline(&self) -> Instant {
        let patience = if self.half_closed_by.is_some() { self.idle.min(HALF_CLOSED) } else { self.idle };
        self.last_moved + patience
    }

    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>, buffers: &Buffers) -> Poll<EndedBy> {
        let before = (self.to_origin.bytes, self.to_client.bytes);
        let to_origin = self.to_origin.poll(cx, &mut self.client, &mut self.origin, buffers);
        if let Poll::Ready(Err(())) = to_origin {
            return Poll::Ready(EndedBy::Client);
        }
        let to_client = self.to_client.poll(cx, &mut self.origin, &mut self.client, buffers);
        if let Poll::Ready(Err(())) = to_client {
            return Poll::Ready(EndedBy::Origin);
        }
        // A session that began as a WebSocket tells its ping settings in its first frame.
        if let Some(silence_ms) = self.to_client.silence_ms.take() {
            self.node.learn_silence(silence_ms);
            self.idle = Duration::from_millis(silence_ms) + SLACK;
        }
        if (self.to_origin.bytes, self.to_client.bytes) != before {
            self.last_moved = Instant::now();
        }
        match (to_origin.is_ready(), to_client.is_ready()) {
            (true, true) => return Poll::Ready(self.half_closed_by.unwrap_or(EndedBy::Client)),
            (true, false) => self.half_close(EndedBy::Client),
            (false, true) => self.half_close(EndedBy::Origin),
            (false, false) => {}
        }
        // The timer is set again only when it fires: what moves meanwhile only moves the deadline.
        loop {
            ready!(timer.as_mut().poll(cx));
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                return Poll::Ready(EndedBy::Idle);
            }
            timer.as_mut().reset(deadline);
        }
    }

    fn half_close(&mut self, by: EndedBy) {
        if self.half_closed_by.is_none() {
            self.half_closed_by = Some(by);
            self.last_moved = Instant::now();
        }
    }
}

impl Pipe {
    fn with_early(mut self, early: BytesMut) -> Self {
        self.look_at_first(&early);
        self.pending = early;
        self
    }

    /// Reads the ping settings out of the first frame, if it is an uncompressed text frame with an open packet.
    fn look_at_first(&mut self, bytes: &[u8]) {
        const UNCOMPRESSED_TEXT: u8 = 0x81;
        if let (true, Some((&opcode, rest))) = (self.awaits_open, bytes.split_first()) {
            self.awaits_open = false;
            let open = read_open_packet(rest).filter(|_| opcode == UNCOMPRESSED_TEXT);
            self.silence_ms = open.map(|open| open.silence_ms());
        }
    }

    /// Moves what can be moved. Ready when the end has been passed on, or when one of both sockets is broken.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        buffers: &Buffers,
    ) -> Poll<Result<(), ()>> {
        if self.has_ended {
            return Poll::Ready(Ok(()));
        }
        self.poll_moving(cx, from, to, buffers).map_err(drop)
    }

    fn poll_moving(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        buffers: &Buffers,
    ) -> Poll<io::Result<()>> {
        loop {
            while !self.pending.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, &self.pending))?;
                self.pending.advance(written);
                self.bytes += written as u64;
            }
            buffers.give(std::mem::take(&mut self.pending));
            ready!(Pin::new(&mut *to).poll_flush(cx))?;
            if self.is_ending {
                ready!(Pin::new(&mut *to).poll_shutdown(cx))?;
                self.has_ended = true;
                return Poll::Ready(Ok(()));
            }
            ready!(from.poll_readable(cx))?;
            let mut buffer = buffers.take();
            match pin!(from.read_buf(&mut buffer)).poll(cx) {
                Poll::Ready(Ok(read)) => {
                    self.is_ending = read == 0;
                    self.look_at_first(&buffer);
                    self.pending = buffer;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    buffers.give(buffer);
                    return Poll::Pending;
                }
            }
        }
    }
}

/// The network's share of a silence.
const SLACK: Duration = Duration::from_secs(5);
/// How long one end may go on alone after the other has closed.
const HALF_CLOSED: Duration = Duration::from_secs(30);
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
