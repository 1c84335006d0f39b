//! A client's connection that speaks HTTP/2 (RFC 9113): one task reads and writes its frames, by the `h2` crate, and each of its
//! streams is served as a connection of HTTP/1 that asks once (`stream`). Here it is decided when the connection
//! goes, and that nobody can have it work for nothing.

mod frames;
mod shared;
mod stream;

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::Reason;
use h2::server::{Builder, Connection};
use tokio::sync::futures::Notified;
use tokio::task::spawn_local;
use tokio::time::Instant;
use wire::Malformed;
use wire::forward::ClientEnd;

use crate::fault::ClientFault;
use crate::net::clock::{Alarm, by_clock};
use crate::net::pace::Age;
use crate::net::seats::{Seat, Seated};
use crate::net::stream::{Http2Connection, Stream};
use crate::observe::lifecycle::Live;
use crate::request::reply::Redirect;
use crate::state::local::Local;
use crate::state::shared::ListenId;
use crate::worker::connection::ClientConnection;
use crate::worker::http2::frames::{Frames, SharedFrames};
use crate::worker::http2::shared::Shared;

/// A client's connection that is about to speak HTTP/2.
#[derive(Debug)]
pub(super) struct Http2Client {
    frames: Rc<Frames>,
    shared: Rc<Shared>,
}

/// What is known of a client before it speaks: who it is to nodes, where its listen sends it, and which listen that is.
#[derive(Debug)]
pub(super) struct Introduction {
    pub(super) end: ClientEnd,
    pub(super) redirects: Option<Redirect>,
    pub(super) listen: ListenId,
}

impl Http2Client {
    /// One of which `unread` has been read already.
    pub(super) fn new(
        stream: Stream,
        unread: BytesMut,
        introduction: Introduction,
        live: Live,
        worker: &Local,
    ) -> Box<Self> {
        let Introduction { end, redirects, listen } = introduction;
        let (server_name, tls) = (stream.server_name().map(Into::into), stream.tls_words());
        let frames = Frames::new(stream, unread);
        let connection = Http2Connection::new(server_name, tls, frames.moved(), worker.clock.clone());
        let shared = Shared {
            end,
            redirects,
            listen,
            is_going: Cell::new(false),
            connection: Rc::new(connection),
            live: Rc::new(live),
        };
        Box::new(Self { frames, shared: Rc::new(shared) })
    }
}

/// Reads and writes the frames of a connection until both have had enough. Its streams are given to `serve`.
pub(super) async fn run(client: Box<Http2Client>, worker: Rc<Local>, serve: impl Fn(ClientConnection)) {
    let Http2Client { frames, shared } = *client;
    let Some(connection) = begin(&frames, &worker).await else { return };
    // Its place is free once the socket is closed.
    let _live = shared.live.clone();
    let mut leaving = pin!(worker.leaving());
    let now = worker.clock.now();
    let mut serving = Serving {
        connection,
        frames: frames.clone(),
        shared,
        alarm: Alarm::new(worker.clock.clone()),
        age: Age::new(worker.lived.seconds(now)),
        idle_until: Some(now + worker.snapshot().plan.timeouts.head),
        ends_at: None,
        has_asked: false,
        seat: None,
        worker: worker.clone(),
        serve,
    };
    poll_fn(|cx| serving.poll(cx, leaving.as_mut(), &worker)).await;
    drop(serving);
    frames::linger(&frames, &worker).await;
}

/// Answers a stream whose header section is no request's.
fn refuse(mut client: ClientConnection, malformed: Malformed, worker: &Rc<Local>) {
    let (clock, worker) = (worker.clock.clone(), worker.clone());
    let refusing = Box::pin(async move {
        let fault = ClientFault::from(malformed);
        client.refuse(fault.into(), &worker).await;
    });
    spawn_local(by_clock(clock, refusing));
}

/// Says our settings and reads the client's preface, in time.
async fn begin(frames: &Rc<Frames>, worker: &Rc<Local>) -> Option<Connection<SharedFrames, Bytes>> {
    let snapshot = worker.snapshot();
    let (limits, timeout) = (snapshot.plan.limits, snapshot.plan.timeouts.head);
    let header_list = limits.head_bytes_max + HPACK_FIELD_BYTES * limits.header_lines_max;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(u32::try_from(header_list).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(STREAMS_MAX as usize)
        .max_send_buffer_size(limits.buffer_bytes)
        .enable_connect_protocol();
    let handshake = builder.handshake(SharedFrames(frames.clone()));
    let seat = worker.seats.take(Seated::Silent);
    tokio::select! {
        biased;
        begun = tokio::time::timeout(timeout, handshake) => begun.ok()?.ok(),
        () = poll_fn(|cx| seat.poll_wanted(cx)) => None,
    }
}

/// A connection at work.
struct Serving<'w, S> {
    connection: Connection<SharedFrames, Bytes>,
    frames: Rc<Frames>,
    shared: Rc<Shared>,
    alarm: Alarm,
    age: Age,
    /// How long it may be without a stream; `None` while it has one.
    idle_until: Option<Instant>,
    /// From then on nothing is waited for any longer.
    ends_at: Option<Instant>,
    /// It has opened a stream.
    has_asked: bool,
    /// By which it can be asked to go while it has no stream.
    seat: Option<Box<Seat<'w>>>,
    worker: Rc<Local>,
    serve: S,
}

impl<'w, S: Fn(ClientConnection)> Serving<'w, S> {
    /// Ready when it is over.
    fn poll(&mut self, cx: &mut Context<'_>, leaving: Pin<&mut Notified<'_>>, worker: &'w Local) -> Poll<()> {
        let _ = leaving.poll(cx);
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, send)))) => {
                    let is_last = {
                        let lived_s = worker.lived.seconds(worker.clock.now());
                        self.age.is_last(&worker.pace.get(), lived_s)
                    };
                    self.has_asked = true;
                    self.frames.count_head();
                    match stream::open(request, send, &self.shared, &self.worker) {
                        None => {}
                        Some((client, Ok(()))) => (self.serve)(client),
                        Some((client, Err(malformed))) => refuse(client, malformed, &self.worker),
                    }
                    if is_last {
                        self.go();
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.note(&error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending if self.has_news() => {}
                Poll::Pending => return self.poll_ends(cx, worker),
            }
        }
    }

    /// Looks whether something is to be said to the client, and says it.
    fn has_news(&mut self) -> bool {
        if self.ends_at.is_none()
            && (self.frames.are_too_many(self.alarm.now()) || self.shared.connection.are_resets_too_many())
        {
            self.worker.counters.count_connection(FLOOD);
            self.shared.is_going.set(true);
            self.connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            self.ends_at = Some(self.alarm.now() + GOES_WITHIN);
            return true;
        }
        if self.shared.is_going.get() {
            return false;
        }
        let is_over = self.worker.is_leaving()
            || !self.worker.snapshot().is_open(self.shared.listen)
            || (self.idle_until.is_some_and(|until| self.alarm.now() >= until)
                && !self.connection.has_streams());
        if is_over {
            self.go();
        }
        is_over
    }

    /// Says that no stream is to follow; those that the client has opened meanwhile are served. That is two GOAWAYs: the first
    /// one allows every stream, and the second those that have come by when the client has seen the first (RFC 9113 section 6.8).
    fn go(&mut self) {
        if !self.shared.is_going.replace(true) {
            self.connection.graceful_shutdown();
        }
    }

    /// Ready when nothing is to be waited for any more.
    fn poll_ends(&mut self, cx: &mut Context<'_>, worker: &'w Local) -> Poll<()> {
        let now = self.alarm.now();
        if self.connection.has_streams() {
            (self.idle_until, self.seat) = (None, None);
        } else if self.idle_until.is_none() {
            self.idle_until = Some(now + worker.snapshot().plan.timeouts.idle);
        }
        if self.shared.is_going.get() && self.ends_at.is_none() && !self.connection.has_streams() {
            self.ends_at = Some(now + GOES_WITHIN);
        }
        if self.seat.is_none() && self.idle_until.is_some() {
            let who = if self.has_asked { Seated::Resting } else { Seated::Silent };
            self.seat = Some(Box::new(worker.seats.take(who)));
        }
        if self.seat.as_ref().is_some_and(|seat| seat.poll_wanted(cx).is_ready()) {
            return Poll::Ready(());
        }
        // A client that takes nothing of what there is for it.
        let untaken = self.frames.blocked_since().map(|since| since + worker.body_timeout());
        let until = [self.idle_until.filter(|_| !self.shared.is_going.get()), self.ends_at, untaken];
        let Some(until) = until.into_iter().flatten().min() else { return Poll::Pending };
        if self.alarm.poll_until(cx, until).is_pending() {
            return Poll::Pending;
        }
        let is_idle = Some(until) == self.idle_until && !self.shared.is_going.get();
        if is_idle {
            // It is told so, and then goes.
            self.go();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// Counts what the client has done wrong.
    fn note(&self, error: &h2::Error) {
        // What the codec has found; what was found here is counted there.
        if !error.is_library() {
            return;
        }
        let word = match error.reason() {
            Some(Reason::ENHANCE_YOUR_CALM) => FLOOD,
            Some(_) | None => BROKEN,
        };
        self.worker.counters.count_connection(word);
        tracing::debug!(%error, peer = %self.shared.end.peer(), "a connection of HTTP/2 is closed");
    }
}

/// Why a connection was closed, in the words of counters.
const FLOOD: &str = "flood of HTTP/2 frames";
const BROKEN: &str = "malformed HTTP/2";
/// Streams at once; nginx has as many. More are refused, and the client opens them later.
const STREAMS_MAX: u32 = 128;
/// What a client may send of a body before a node has taken some of it, and of all bodies.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 256 << 10;
/// What a field counts for in SETTINGS_MAX_HEADER_LIST_SIZE beside its bytes (RFC 9113 section 6.5.2).
const HPACK_FIELD_BYTES: usize = 32;
/// After its last word.
const GOES_WITHIN: Duration = Duration::from_secs(2);
