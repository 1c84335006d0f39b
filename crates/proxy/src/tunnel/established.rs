//! A WebSocket that is established: bytes in both directions until one end has had enough, or until it is told to go.
//! It knows nothing of HTTP and holds no buffer while nothing moves. Only this module writes to an upgraded socket.
//!
//! ```text
//!           ordered               its slot                 both Closes passed
//!  Open ──────────────▶ Ordered ───────────────▶ Closing ─────────────────────▶ ended
//!    │                                              │   ▲        or the deadline
//!    └──────────── the node is lost ────────────────┼───┘
//!                                                   │
//!     client: what it says up to its own Close ─────┤──▶ origin, whose echo is swallowed
//!     client ◀──────────────── Close ───────────────┘    between two of the origin's messages
//! ```

mod counting;
mod deadlines;
mod ending;

use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use tokio::time::Instant;

use crate::net::buffers::Buffers;
use crate::net::clock::{Alarm, Clock};
use crate::observe::lifecycle::Lives;
use crate::observe::record::{EndedBy, TunnelRecord};
use crate::request::upgrade::{TunnelSession, Upgraded};
use crate::tunnel::direction::{Broken, Direction};
use crate::tunnel::end::{End, IoBudget, Side, Way};
use crate::tunnel::rate::Bounds;
use crate::upstream::close_signal::{self, CloseListener, CloseOrder, CloseReason};

/// A WebSocket that is established.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(super) client: End,
    pub(super) origin: End,
    to_origin: Direction,
    to_client: Direction,
    stage: Stage,
    signal: CloseListener<close_signal::Tunnel>,
    /// Counts the session, and ends it with the tunnel.
    session: Option<TunnelSession>,
    client_address: IpAddr,
    alarm: Alarm,
    begun: Instant,
    last_moved: Instant,
    /// When the client last said something that the node has taken.
    client_spoke: Instant,
    /// Nothing moves for so long: it has been left. In milliseconds, which take a quarter of a Duration.
    idle_ms: u32,
    /// Both ends are known to speak within that time: it is a session's, with pings.
    has_pings: bool,
    /// Who wanted the end first: said Close, sent its end, broke, or was silent.
    ended_first: Option<EndedBy>,
    /// One of both has sent its end; the other may still have something to say.
    is_half_closed: bool,
    /// Boxed, because most tunnels have none.
    bounds: Option<Box<Bounds>>,
    _live: Lives,
}

/// What its two directions may still do in this turn.
#[derive(Debug)]
struct IoBudgets {
    to_origin: IoBudget,
    to_client: IoBudget,
}

/// How far the tunnel is on its way out.
#[derive(Debug)]
enum Stage {
    Open,
    /// It goes when its slot comes. Boxed, because that is for the last minutes of a tunnel's hours.
    Ordered(Box<Ordered>),
    /// Goodbye was said, or waits for a message to end.
    Closing(Box<Closing>),
}

#[derive(Debug, Clone, Copy)]
struct Ordered {
    order: CloseOrder,
    /// What it was told before, of its age, which counts again if the order is called off.
    age: Option<CloseOrder>,
}

#[derive(Debug, Clone, Copy)]
struct Closing {
    reason: CloseReason,
    /// From then on nothing is waited for any longer.
    until: Instant,
}

impl Stage {
    /// Nothing but its age ends it.
    fn aging(order: CloseOrder) -> Self {
        Self::Ordered(Box::new(Ordered { order, age: None }))
    }
}

impl Tunnel {
    /// `None` if one of its sockets has broken.
    pub(super) fn new(upgraded: Upgraded, is_bare: bool, clock: &Rc<Clock>) -> Option<Self> {
        let Upgraded { client, client_early, origin, limits, live } = upgraded;
        let (client, origin_end) = (End::new(client, is_bare)?, End::new(origin.io, is_bare)?);
        // Where nobody pings, the kernel finds out about an end that is gone without a word.
        for socket in [&client, &origin_end].into_iter().filter_map(End::socket) {
            let keepalive =
                socket2::TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
            // If it cannot be set, the idle timeout finds out later.
            let _ = socket2::SockRef::from(&socket).set_tcp_keepalive(&keepalive);
        }
        let awaits_open = match &origin.session {
            Some(TunnelSession::Own { is_engine_io, .. }) => *is_engine_io,
            Some(TunnelSession::Registered { .. }) | None => false,
        };
        let whose = close_signal::Tunnel {
            is_pinned: origin.is_pinned,
            is_logged: origin.is_logged,
            route: origin.route,
        };
        let now = clock.now();
        let message_bytes_max = limits.message_bytes_max.unwrap_or(u64::MAX);
        Some(Self {
            client,
            origin: origin_end,
            to_origin: Direction::new(message_bytes_max).after(client_early.into()),
            to_client: Direction::new(message_bytes_max)
                .towards_client()
                .awaiting_open(awaits_open)
                .after(origin.early.into()),
            stage: limits.tunnel_age_max.map_or(Stage::Open, |age| Stage::aging(grow_old(now, age))),
            signal: CloseListener::to(origin.node, whose),
            session: origin.session,
            client_address: origin.client,
            alarm: Alarm::new(clock.clone()),
            begun: now,
            last_moved: now,
            client_spoke: now,
            has_pings: origin.silence.is_some(),
            idle_ms: in_ms(origin.silence.map_or(origin.idle, |silence| silence + SLACK)),
            ended_first: None,
            is_half_closed: false,
            bounds: Bounds::of(&limits, origin.guarded, now),
            _live: live,
        })
    }

    /// Takes note of what epoll has told of a bare end.
    pub(super) fn note(&mut self, side: Side, told: EventFlags) {
        let end = match side {
            Side::Client => &mut self.client,
            Side::Origin => &mut self.origin,
        };
        end.note(told);
    }

    pub(super) fn record(&self, ended_by: EndedBy) -> TunnelRecord {
        TunnelRecord {
            client: self.client_address,
            route: self.signal.whose().route,
            node: self.signal.node().clone(),
            lasted: self.alarm.now().duration_since(self.begun),
            bytes_to_origin: self.to_origin.bytes(),
            bytes_to_client: self.to_client.bytes(),
            frames_to_origin: self.to_origin.frames(),
            frames_to_client: self.to_client.frames(),
            messages_to_origin: self.to_origin.kinds().messages,
            messages_to_client: self.to_client.kinds().messages,
            ended_by,
            is_logged: self.signal.whose().is_logged,
            request_id: self.bounds.as_ref().and_then(|bounds| bounds.request_id()),
            close_code: self.close_code(ended_by),
        }
    }

    /// One turn: each direction moves so much at most.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Poll<EndedBy> {
        let ended_by = ready!(self.poll_to_the_end(cx, buffers));
        if let Some(TunnelSession::Registered { in_use }) = &self.session
            && self.to_origin.kinds().messages >= UPGRADE_MESSAGES
        {
            in_use.came_over();
        }
        Poll::Ready(ended_by)
    }

    fn poll_to_the_end(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Poll<EndedBy> {
        let mut budgets = IoBudgets { to_origin: IoBudget::new(), to_client: IoBudget::new() };
        loop {
            if let Some(order) = self.signal.poll_order(cx) {
                self.obey(order);
                // A turn that is there already is taken before another message passes.
                self.time_has_come(self.alarm.now());
            }
            if let Some(ended_by) = self.poll_moving(cx, buffers, &mut budgets) {
                return Poll::Ready(ended_by);
            }
            let wakes_at = self.wakes_at();
            ready!(self.alarm.poll_until(cx, wakes_at));
            if let Some(ended_by) = self.time_has_come(self.alarm.now()) {
                self.flush_at_last(cx, buffers);
                return Poll::Ready(ended_by);
            }
        }
    }

    /// Moves what can be moved, in both directions. Says who ended the tunnel, if it has ended.
    fn poll_moving(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &Buffers,
        budgets: &mut IoBudgets,
    ) -> Option<EndedBy> {
        let IoBudgets { to_origin: budget_out, to_client: budget_back } = budgets;
        let before = (self.to_origin.bytes(), self.to_client.bytes());
        let mut to_origin = self.to_origin.poll(
            cx,
            Way { source: &mut self.client, sink: &mut self.origin },
            buffers,
            &mut *budget_out,
        );
        if matches!(to_origin, Poll::Ready(Err(Broken::Sink { .. }))) {
            // Whether the node is lost shows when its last words have been read.
            self.to_origin.forget_sink();
            to_origin = self.to_origin.poll(
                cx,
                Way { source: &mut self.client, sink: &mut self.origin },
                buffers,
                &mut *budget_out,
            );
        }
        if let Poll::Ready(Err(Broken::Source { is_silent } | Broken::Sink { is_silent })) = to_origin {
            return Some(self.break_off(is_silent));
        }
        let mut to_client = self.to_client.poll(
            cx,
            Way { source: &mut self.origin, sink: &mut self.client },
            buffers,
            &mut *budget_back,
        );
        self.note_closes();
        if let Poll::Ready(Err(Broken::Source { is_silent: true })) = to_client {
            self.end_first(EndedBy::OriginSilent);
        }
        if matches!(to_client, Poll::Ready(Ok(()) | Err(Broken::Source { .. }))) {
            if self.end_of_origin(cx).is_pending() {
                return None;
            }
            to_client = self.to_client.poll(
                cx,
                Way { source: &mut self.origin, sink: &mut self.client },
                buffers,
                &mut *budget_back,
            );
        }
        if let Poll::Ready(Err(Broken::Sink { is_silent })) = to_client {
            return Some(self.break_off(is_silent));
        }
        // A session that began as a WebSocket tells its ping settings in its first frame.
        if let Some(silence_ms) = self.to_client.take_silence_ms() {
            self.signal.node().learn_silence(silence_ms);
            self.idle_ms = in_ms(Duration::from_millis(silence_ms) + SLACK);
            self.has_pings = true;
        }
        if (self.to_origin.bytes(), self.to_client.bytes()) != before {
            self.last_moved = self.alarm.now();
            if self.to_origin.bytes() != before.0 {
                self.client_spoke = self.last_moved;
            }
            let said = self.to_origin.kinds();
            if self.bounds.as_mut().is_some_and(|bounds| bounds.is_exceeded(said, self.last_moved)) {
                self.close_both(cx, CloseReason::TooFast);
            }
        }
        if self.to_origin.has_said_too_much() || self.to_client.has_said_too_much() {
            self.close_both(cx, CloseReason::TooBig);
        }
        self.shake_hands(cx, buffers);
        match (to_origin.is_ready(), to_client.is_ready()) {
            (true, true) => return Some(self.ended_by()),
            (true, false) => self.half_close(EndedBy::Client),
            (false, true) => self.half_close(EndedBy::Origin),
            (false, false) => {}
        }
        // An end from which nothing is read, because the other one takes nothing, may have left all the same.
        if self.to_origin.is_stuck() && self.client.has_ended() {
            self.half_close(EndedBy::Client);
        }
        if self.to_client.is_stuck() && self.origin.has_ended() {
            self.half_close(EndedBy::Origin);
        }
        None
    }

    /// The node's connection has ended. If neither end had said Close and the client had not left, its process may be gone: then the client is told at
    /// once, so that it comes back without waiting for a ping that never comes. A node that lives has ended this because it
    /// wanted to, and that is passed on as it is. Inside a frame there is no way to tell anything but the end. Pending until
    /// it is known which of both it is.
    fn end_of_origin(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.is_client_missing() {
            self.end_first(EndedBy::ClientSilent);
        }
        let is_unexplained = self.ended_first.is_none() && !self.to_client.is_quiet();
        if is_unexplained && ready!(self.signal.node().poll_dead(cx, self.alarm.now())) {
            let reason = CloseReason::NodeLost;
            self.to_client.say_close(reason, true);
            self.to_client.pass_nothing();
            self.to_origin.forget_sink();
            // This comes by at each wake, and a drain may have set a time already: the first one stands.
            let soon = self.alarm.now() + CLOSE_TIMEOUT;
            let until = match &self.stage {
                Stage::Closing(closing) => closing.until.min(soon),
                Stage::Open | Stage::Ordered(_) => soon,
            };
            self.close_until(reason, until);
        }
        self.to_client.forget_source();
        self.to_client.finish();
        Poll::Ready(())
    }

    /// Once both Closes have passed, both ends get the end, and their own is waited for.
    fn shake_hands(&mut self, cx: &mut Context<'_>, buffers: &Buffers) {
        let Stage::Closing(_) = self.stage else { return };
        if self.to_client.is_quiet() && self.to_origin.is_quiet() {
            self.to_client.finish();
            self.to_origin.finish();
            self.flush_at_last(cx, buffers);
        }
    }

    /// A drain's order, unless the tunnel is on its way already.
    fn obey(&mut self, order: CloseOrder) {
        match &mut self.stage {
            Stage::Open => self.stage = Stage::Ordered(Box::new(Ordered { order, age: None })),
            Stage::Ordered(told) => {
                if told.order.reason == CloseReason::TooOld {
                    told.age = Some(told.order);
                }
                // Its own time does not wait for a turn, which may never come.
                let at = told.age.map_or(order.at, |age| age.at.min(order.at));
                told.order = CloseOrder { at, ..order };
            }
            Stage::Closing(_) => {}
        }
    }

    /// One of both has broken a bound: both are told, where that can be told between two frames, and nothing passes
    /// any more.
    fn close_both(&mut self, cx: &Context<'_>, reason: CloseReason) {
        if let Stage::Open | Stage::Ordered(_) = self.stage {
            self.to_client.say_close(reason, true);
            self.to_origin.say_close(reason, true);
            self.to_client.pass_nothing();
            self.to_origin.pass_nothing();
            self.close_until(reason, self.alarm.now() + CLOSE_TIMEOUT);
            // Both have had their turn: what is to be said is written in the next one, which nothing else may bring.
            cx.waker().wake_by_ref();
        }
    }

    fn half_close(&mut self, by: EndedBy) {
        self.end_first(by);
        if !self.is_half_closed {
            self.is_half_closed = true;
            self.last_moved = self.alarm.now();
        }
    }

    /// The client's connection has broken, and there is nobody left to pass anything on to.
    fn break_off(&mut self, is_silent: bool) -> EndedBy {
        self.end_first(if is_silent { EndedBy::ClientSilent } else { EndedBy::Client });
        self.ended_by()
    }

    /// The one who says Close first has ended it, whoever closes the connection then: mostly the node (RFC 6455 section
    /// 7.1.1).
    fn note_closes(&mut self) {
        if self.to_origin.has_said_close() {
            self.end_first(EndedBy::Client);
        } else if self.to_client.has_said_close() {
            self.end_first(EndedBy::Origin);
        }
    }

    fn say_close_at_turn(&mut self, order: CloseOrder) {
        let CloseOrder { reason, until, .. } = order;
        self.to_client.say_close(reason, false);
        self.to_origin.pass_until_close();
        self.close_until(reason, until);
    }

    fn close_until(&mut self, reason: CloseReason, until: Instant) {
        self.stage = Stage::Closing(Box::new(Closing { reason, until }));
    }

    /// Writes what the sockets take at this moment; there is no other.
    fn flush_at_last(&mut self, cx: &mut Context<'_>, buffers: &Buffers) {
        let _ = self.to_client.poll(
            cx,
            Way { source: &mut self.origin, sink: &mut self.client },
            buffers,
            &mut IoBudget::new(),
        );
        let _ = self.to_origin.poll(
            cx,
            Way { source: &mut self.client, sink: &mut self.origin },
            buffers,
            &mut IoBudget::new(),
        );
    }
}

/// Whole milliseconds; what has more than seven weeks of them has seven weeks.
fn in_ms(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

/// A tunnel ends between nine tenths of its greatest age and that age: those that were opened together do not come
/// back together.
fn grow_old(now: Instant, age: Duration) -> CloseOrder {
    let at = now + age.mul_f64(1.0 - 0.1 * fastrand::f64());
    CloseOrder { at, until: at + CLOSE_TIMEOUT, reason: CloseReason::TooOld }
}

/// What a client says until its session has come over: a probe, and then the upgrade.
const UPGRADE_MESSAGES: u32 = 2;
/// The network's share of a silence.
const SLACK: Duration = Duration::from_secs(5);
/// How long one end may go on alone after the other has closed.
const HALF_CLOSED: Duration = Duration::from_secs(30);
/// How long a client may take to answer a Close that no drain has set a deadline for.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
