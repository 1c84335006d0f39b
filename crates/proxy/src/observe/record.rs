//! What happened in one exchange or tunnel: filled along the spine, emitted once. The access log and the counters read it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::routing::LogShare;
use tokio::time::Instant;
use wire::forward::ClientEnd;

use crate::fault::Fault;
use crate::net::stream::Io;
use crate::observe::guarded::Guarded;
use crate::upstream::admission::Ticket;
use crate::upstream::close_signal::CloseReason;
use crate::upstream::node::Node;
use crate::upstream::route_number::RouteNumber;

/// One exchange.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) begun: Instant,
    /// What the client is, as X-Forwarded-For tells it.
    pub(crate) client: IpAddr,
    /// The route that has taken it, as it is counted.
    pub(crate) route: RouteNumber,
    /// 0 until an answer has begun.
    pub(crate) status: u16,
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) sticky: Sticky,
    /// Nodes that were asked.
    pub(crate) attempts: u32,
    /// How the last of them came to be asked.
    pub(crate) asked: Asked,
    /// From the first byte of the request to the head of the answer.
    pub(crate) answered_after: Option<Duration>,
    /// Content of the request.
    pub(crate) bytes_in: u64,
    /// Sent to the client, head included.
    pub(crate) bytes_out: u64,
    /// The same without heads.
    pub(crate) body_bytes_out: u64,
    pub(crate) fault: Option<Fault>,
    /// Whether its route wants it in the access log.
    pub(crate) logged: Logged,
    /// Its place among those who wait for a turn of a node, which it keeps whatever a reload changes meanwhile.
    pub(crate) ticket: Option<Box<Ticket>>,
    /// Its id, where something asks for one.
    pub(crate) request_id: Option<Rc<str>>,
    /// Set while somebody answers in the place of a fault.
    pub(crate) instead: Option<Instead>,
    /// The upstream whose nodes do, where it is not the route's own.
    pub(crate) instead_upstream: Option<Rc<str>>,
    /// What was drawn for it, where it is for one of several upstreams by chance.
    pub(crate) draw: Option<u64>,
    /// What the guards of its route found out. Boxed, because few routes have some.
    pub(crate) guarded: Option<Box<Guarded>>,
}

/// Whether the access log has an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Logged {
    Always,
    /// It was not drawn, and has a line only if something goes wrong.
    IfBad,
    Never,
}

impl Logged {
    /// By the share that a route wants, and by chance.
    #[inline]
    pub(crate) fn by(share: LogShare) -> Self {
        match share {
            LogShare::ALL => Self::Always,
            LogShare::NONE => Self::Never,
            share if is_drawn(share) => Self::Always,
            _ => Self::IfBad,
        }
    }
}

/// Returns whether one is among a share.
#[cold]
pub(crate) fn is_drawn(share: LogShare) -> bool {
    fastrand::u16(..LogShare::ALL.of_ten_thousand()) < share.of_ten_thousand()
}

/// When a node was asked. Short, because every request under way has it: times are in microseconds, and an hour at most.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    /// From the first byte of the request until the node was turned to.
    after_us: u32,
    /// From then until a new connection was there, and one more; 0 where it was asked on one that had been idle, or was none.
    connected_us: u32,
}

impl Asked {
    /// A node is turned to.
    pub(crate) fn turn(&mut self, begun: Instant, now: Instant) {
        // Nearly always nothing was waited for.
        let after_us = if now == begun { 0 } else { micros(now - begun) };
        *self = Self { after_us, connected_us: 0 };
    }

    /// A new connection to it is there.
    pub(crate) fn connected(&mut self, begun: Instant, now: Instant) {
        self.connected_us = micros(now - begun).saturating_sub(self.after_us).saturating_add(1);
    }

    pub(crate) fn after(self) -> Duration {
        Duration::from_micros(self.after_us.into())
    }

    pub(crate) fn connect_took(self) -> Option<Duration> {
        self.connected_us.checked_sub(1).map(|us| Duration::from_micros(us.into()))
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX - 1)
}

/// How a request came, beside what its record has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Came<'a> {
    pub(crate) end: &'a ClientEnd,
    pub(crate) io: &'a Io,
    /// Its place among the requests of its connection, from 1.
    pub(crate) number: u16,
}

/// What the client sees of an answer that comes in the place of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instead {
    /// In the place of its own status.
    pub(crate) status: Option<u16>,
}

/// What decided about the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sticky {
    /// Nothing did; the least loaded got it.
    Balance,
    /// It began a session.
    Handshake,
    /// The tag behind the session id.
    Tag,
    /// The cookie named the node.
    Cookie,
    /// What the request says, hashed.
    Key,
    /// The session table knew the session.
    Learned,
    /// There was a session id, and nobody knew it.
    Unknown,
}

impl Sticky {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Handshake => "handshake",
            Self::Tag => "tag",
            Self::Cookie => "cookie",
            Self::Key => "key",
            Self::Learned => "learned",
            Self::Unknown => "unknown",
        }
    }
}

impl Record {
    pub(crate) fn new(client: IpAddr, begun: Instant) -> Self {
        Self {
            begun,
            client,
            route: RouteNumber::NONE,
            status: 0,
            node: None,
            sticky: Sticky::Balance,
            attempts: 0,
            asked: Asked::default(),
            answered_after: None,
            bytes_in: 0,
            bytes_out: 0,
            body_bytes_out: 0,
            fault: None,
            logged: Logged::Always,
            ticket: None,
            request_id: None,
            instead: None,
            instead_upstream: None,
            draw: None,
            guarded: None,
        }
    }
}

/// One tunnel.
#[derive(Debug)]
pub(crate) struct TunnelRecord {
    pub(crate) client: IpAddr,
    pub(crate) route: RouteNumber,
    pub(crate) node: Arc<Node>,
    pub(crate) lasted: Duration,
    pub(crate) bytes_to_origin: u64,
    pub(crate) bytes_to_client: u64,
    pub(crate) frames_to_origin: u64,
    pub(crate) frames_to_client: u64,
    pub(crate) messages_to_origin: u32,
    pub(crate) messages_to_client: u32,
    pub(crate) ended_by: EndedBy,
    /// Its route wants it in the access log.
    pub(crate) is_logged: bool,
    /// The id of the request that has opened it, where it has one.
    pub(crate) request_id: Option<Rc<str>>,
    /// What the Close said, where there was one.
    pub(crate) close_code: Option<u16>,
}

/// Who ended a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndedBy {
    Client,
    Origin,
    /// It has gone without a word, as its silence shows: it answers no ping, or takes nothing of what there is for it.
    ClientSilent,
    /// The same of the node.
    OriginSilent,
    /// Nothing moved for too long, and nothing had to.
    Idle,
    /// We did, with a Close frame.
    Us(CloseReason),
}

impl EndedBy {
    /// Its place among those who are counted: client, node, one of both by its silence, us.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Client => 0,
            Self::Origin | Self::Us(CloseReason::NodeLost) => 1,
            Self::ClientSilent | Self::OriginSilent | Self::Idle => 2,
            Self::Us(_) => 3,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Origin => "origin",
            Self::ClientSilent => "client silent",
            Self::OriginSilent => "origin silent",
            Self::Idle => "idle",
            Self::Us(reason) => reason.words(),
        }
    }
}
