//! What happened in one exchange or tunnel: filled along the spine, emitted once. The access log and the counters
//! read it, and nothing else is measured anywhere.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use wire::engineio::Sid;
use wire::request::RequestHead;

use crate::fault::Fault;
use crate::net::places::Refused;
use crate::net::seats::Seated;
use crate::observe::guarded::{Guarded, LimitOutcome};
use crate::upstream::admission::Ticket;
use crate::upstream::close_signal::CloseReason;
use crate::upstream::node::Node;

/// One exchange.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) begun: Instant,
    /// What the client is, as X-Forwarded-For tells it.
    pub(crate) client: IpAddr,
    /// 0 until an answer has begun.
    pub(crate) status: u16,
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) sticky: Sticky,
    /// Nodes that were asked.
    pub(crate) attempts: u32,
    /// From the first byte of the request to the head of the answer.
    pub(crate) answered_after: Option<Duration>,
    /// Content of the request.
    pub(crate) bytes_in: u64,
    /// Sent to the client, head included.
    pub(crate) bytes_out: u64,
    pub(crate) fault: Option<Fault>,
    /// Whether its route wants it in the access log.
    pub(crate) is_logged: bool,
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
            status: 0,
            node: None,
            sticky: Sticky::Balance,
            attempts: 0,
            answered_after: None,
            bytes_in: 0,
            bytes_out: 0,
            fault: None,
            is_logged: true,
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
    pub(crate) node: Arc<Node>,
    pub(crate) lasted: Duration,
    pub(crate) bytes_to_origin: u64,
    pub(crate) bytes_to_client: u64,
    pub(crate) frames_to_origin: u64,
    pub(crate) frames_to_client: u64,
    pub(crate) ended_by: EndedBy,
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
    fn index(self) -> usize {
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

/// One worker's counts. Only its worker writes them (and the acceptor the first two), so that no cache line is
/// fought over; anyone may read them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    /// Grows as long as the worker gets on.
    pub(crate) beats: AtomicU64,
    /// Connections and tunnels that live now.
    pub(crate) live: AtomicU64,
    /// Of these, connections that rest and are parked.
    parked: AtomicU64,
    /// Connections ever given to the worker.
    pub(crate) connections: AtomicU64,
    exchanges: AtomicU64,
    /// Of these, those whose node a pin has decided.
    pinned: AtomicU64,
    /// By the first digit of the status; 0 for those without an answer.
    by_class: [AtomicU64; 6],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// By who ended them: client, node, one of both by its silence, us.
    tunnels: [AtomicU64; 4],
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    /// By the code of the Close, 1000 to 1015; the last one counts all others, and those without a Close.
    closes: [AtomicU64; 17],
    log_lines_lost: AtomicU64,
    refused: [AtomicU64; 3],
    displaced: [AtomicU64; 2],
    /// Exchanges that failed, by why. A lock that only the worker takes, and whoever reads.
    faults: Mutex<BTreeMap<&'static str, u64>>,
    /// What guards of routes did beside that.
    guarded: Mutex<BTreeMap<&'static str, u64>>,
    /// Signalled whenever a connection ends.
    pub(crate) ended: Notify,
}

impl Counters {
    pub(crate) fn count(&self, record: &Record) {
        add(&self.exchanges, 1);
        if record.sticky == Sticky::Cookie {
            add(&self.pinned, 1);
        }
        add(&self.by_class[usize::from(record.status / 100).min(5)], 1);
        add(&self.bytes_in, record.bytes_in);
        add(&self.bytes_out, record.bytes_out);
        if let Some(fault) = record.fault {
            self.count_fault(fault);
        }
        if let Some(guarded) = &record.guarded {
            self.count_guarded(guarded);
        }
    }

    #[cold]
    fn count_fault(&self, fault: Fault) {
        *self.faults().entry(fault.reason()).or_default() += 1;
    }

    #[cold]
    fn count_guarded(&self, guarded: &Guarded) {
        if let Some(what) = guarded.limit.and_then(LimitOutcome::counted_as) {
            self.count_beside(what);
        }
    }

    /// Something that a route did beside answering.
    pub(crate) fn count_beside(&self, what: &'static str) {
        *self.guarded.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
    }

    fn faults(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_tunnel(&self, record: &TunnelRecord) {
        add(&self.tunnels[record.ended_by.index()], 1);
        add(&self.frames_in, record.frames_to_origin);
        add(&self.frames_out, record.frames_to_client);
        let code = record.close_code.and_then(|code| code.checked_sub(1000)).map_or(16, usize::from).min(16);
        add(&self.closes[code], 1);
        add(&self.bytes_in, record.bytes_to_origin);
        add(&self.bytes_out, record.bytes_to_client);
    }

    pub(crate) fn set_parked(&self, connections: u64) {
        self.parked.store(connections, Relaxed);
    }

    pub(crate) fn count_refused(&self, why: Refused) {
        add(
            &self.refused[match why {
                Refused::TooMany => 0,
                Refused::TooFast => 1,
                Refused::HandshakesTooFast => 2,
            }],
            1,
        );
    }

    /// A connection was not taken, or its TLS handshake has ended for want of a client certificate that is accepted.
    pub(crate) fn count_connection(&self, why: &'static str) {
        *self.faults().entry(why).or_default() += 1;
    }

    /// A connection had to go so that another one could come.
    pub(crate) fn count_displaced(&self, who: Seated) {
        add(
            &self.displaced[match who {
                Seated::Resting => 0,
                Seated::Silent => 1,
            }],
            1,
        );
    }

    pub(crate) fn count_lost_lines(&self, lines: u64) {
        add(&self.log_lines_lost, lines);
    }
}

/// Only one thread writes what this adds to, so that it needs no bus lock.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed) + more, Relaxed);
}

/// The counts of a worker at one moment, since its start unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// Client connections and tunnels open now.
    pub live: u64,
    /// Of these, those that have waited for their next request for a while, and take next to no memory.
    pub parked: u64,
    /// Client connections accepted.
    pub connections: u64,
    /// Exchanges ended.
    pub exchanges: u64,
    /// Of these, those whose node our cookie has decided.
    pub pinned: u64,
    /// Exchanges by the first digit of their status; index 0 counts those that ended without an answer.
    pub by_class: [u64; 6],
    /// Bytes of request bodies and tunnels, towards the nodes.
    pub bytes_in: u64,
    /// Bytes of answers and tunnels, towards the clients.
    pub bytes_out: u64,
    /// Tunnels ended: by the client, by the node, because one of them was silent, by us.
    pub tunnels: [u64; 4],
    /// WebSocket frames towards the nodes.
    pub frames_in: u64,
    /// WebSocket frames towards the clients.
    pub frames_out: u64,
    /// Tunnels ended by the code of their Close, 1000 to 1015; the last counts other codes, and ends without a Close.
    pub closes: [u64; 17],
    /// Lines of the access log that were lost because the disk or the reader was too slow.
    pub log_lines_lost: u64,
    /// Connections closed at once, because of their client's address: it has too many, opens them too fast, or begins TLS
    /// handshakes too fast.
    pub refused: [u64; 3],
    /// Connections closed to make room, while all places were taken: they rested between two requests, or had not said a
    /// byte.
    pub displaced: [u64; 2],
    /// Exchanges that failed, by why, in the words of the access log: refused by us, cut by the client, or by the node.
    pub faults: BTreeMap<&'static str, u64>,
    /// What guards of routes did beside refusing, by what it was.
    pub guarded: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(crate) fn read(&self) -> Counts {
        Counts {
            live: self.live.load(Relaxed),
            parked: self.parked.load(Relaxed),
            connections: self.connections.load(Relaxed),
            exchanges: self.exchanges.load(Relaxed),
            pinned: self.pinned.load(Relaxed),
            by_class: std::array::from_fn(|class| self.by_class[class].load(Relaxed)),
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            tunnels: std::array::from_fn(|who| self.tunnels[who].load(Relaxed)),
            frames_in: self.frames_in.load(Relaxed),
            frames_out: self.frames_out.load(Relaxed),
            closes: std::array::from_fn(|code| self.closes[code].load(Relaxed)),
            log_lines_lost: self.log_lines_lost.load(Relaxed),
            refused: std::array::from_fn(|why| self.refused[why].load(Relaxed)),
            displaced: std::array::from_fn(|who| self.displaced[who].load(Relaxed)),
            faults: self.faults().clone(),
            guarded: self.guarded.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// The target for a log: a session id opens the session to whoever knows it, so that it is never written whole.
pub(crate) fn target_for_log(head: &RequestHead) -> Cow<'_, [u8]> {
    let target = head.target_bytes();
    // Where there are several, or none that can be read, nothing of the query is written.
    let is_odd =
        head.engine_io().is_some_and(|engine_io| engine_io.sids > 1 || engine_io.sid == Sid::TooLong);
    let Some(sid) = head.sid_as_spelt().filter(|_| !is_odd) else {
        return match memchr::memchr(b'?', target) {
            Some(query_at) if is_odd => [&target[..=query_at], b"..."].concat().into(),
            Some(_) | None => target.into(),
        };
    };
    let sid_at = sid.as_ptr() as usize - target.as_ptr() as usize;
    let shown = sid_at + sid.len().min(SID_BYTES_SHOWN);
    [&target[..shown], b"...", &target[sid_at + sid.len()..]].concat().into()
}

/// Enough to follow a session through a log, too little to join it.
const SID_BYTES_SHOWN: usize = 4;
