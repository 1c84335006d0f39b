//! One worker's counts. Where metrics are collected, what happens on each route is counted in a part of these,
//! [`RouteCounters`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::thread::gettid;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::sync::Notify;

use crate::fault::Fault;
use crate::net::places::Refused;
use crate::net::scheduled::{self, Scheduled};
use crate::net::seats::Seated;
use crate::net::took::{Durations, Tooks, add};
use crate::observe::guarded::{Guarded, LimitOutcome};
use crate::observe::record::{Record, Sticky, TunnelRecord};
use crate::observe::routes::{CLASSES, RouteCounters};
use crate::upstream::route_number::RouteNumber;

/// One worker's counts. Only its worker writes them (and the acceptor those of connections), so that no cache line is
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
    /// Exchanges whose node a pin has decided.
    pinned: AtomicU64,
    /// By the first digit of the status; 0 for those without an answer.
    by_class: [AtomicU64; CLASSES],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// What happens on each route, where somebody may collect it.
    pub(crate) routes: Option<RouteCounters>,
    frames_in: AtomicU64,
    frames_out: AtomicU64,
    /// By who ended the tunnel (client, node, one of both by its silence, us), and by the code of the Close, 1000 to 1015; the last
    /// one counts all others, and those without a Close.
    closes: [[AtomicU64; CODES]; 4],
    log_lines_lost: AtomicU64,
    refused: [AtomicU64; 3],
    displaced: [AtomicU64; 2],
    /// By [`Handshake`].
    handshakes: [AtomicU64; Handshake::ALL.len()],
    /// Its thread, by whose number the kernel tells what that has had of the cores; 0 before it runs.
    thread: AtomicI32,
    /// How late it came to what it does twice a second.
    late: Tooks,
    /// Exchanges that failed, by why. A lock that only the worker takes, and whoever reads.
    faults: Mutex<BTreeMap<&'static str, u64>>,
    /// What guards of routes did beside that.
    guarded: Mutex<BTreeMap<&'static str, u64>>,
    /// Signalled whenever a connection ends.
    pub(crate) ended: Notify,
}

/// How a TLS handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handshake {
    /// TLS 1.2, with a new key.
    Full12,
    /// TLS 1.2, with that of a session before.
    Resumed12,
    /// TLS 1.3, with a new key.
    Full13,
    /// TLS 1.3, with that of a session before.
    Resumed13,
    /// An authority has looked whose a name is.
    Challenge,
    /// It broke the rules, or left.
    Failed,
    /// It did not come to an end in time.
    TimedOut,
    /// It showed no client certificate that is accepted.
    Refused,
}

impl Handshake {
    /// In the order in which they are counted.
    pub const ALL: [Self; 8] = [
        Self::Full12,
        Self::Resumed12,
        Self::Full13,
        Self::Resumed13,
        Self::Challenge,
        Self::Failed,
        Self::TimedOut,
        Self::Refused,
    ];
}

impl Handshake {
    /// Of one that has come to its end.
    pub(crate) fn of(connection: &rustls::ServerConnection) -> Self {
        let is_resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        match (connection.protocol_version(), is_resumed) {
            (Some(ProtocolVersion::TLSv1_2), false) => Self::Full12,
            (Some(ProtocolVersion::TLSv1_2), true) => Self::Resumed12,
            (_, false) => Self::Full13,
            (_, true) => Self::Resumed13,
        }
    }
}

impl Counters {
    /// Those of a worker from whom metrics are collected, or are not.
    pub(crate) fn new(are_collected: bool) -> Self {
        Self { routes: are_collected.then(RouteCounters::default), ..Self::default() }
    }

    pub(crate) fn count(&self, record: &Record) {
        add(&self.by_class[usize::from(record.status / 100).min(CLASSES - 1)], 1);
        add(&self.bytes_in, record.bytes_in);
        add(&self.bytes_out, record.bytes_out);
        if record.sticky == Sticky::Cookie {
            add(&self.pinned, 1);
        }
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

    /// A request has waited so long for its turn.
    pub(crate) fn count_queued(&self, route: RouteNumber, waited: Duration) {
        if let Some(routes) = &self.routes {
            routes.count_queued(route, waited);
        }
    }

    pub(crate) fn count_tunnel(&self, record: &TunnelRecord) {
        let code = record.close_code.and_then(|code| code.checked_sub(1000)).map_or(CODES - 1, usize::from);
        add(&self.closes[record.ended_by.index()][code.min(CODES - 1)], 1);
        add(&self.frames_in, record.frames_to_origin);
        add(&self.frames_out, record.frames_to_client);
        add(&self.bytes_in, record.bytes_to_origin);
        add(&self.bytes_out, record.bytes_to_client);
        if let Some(routes) = &self.routes {
            routes.count_tunnel(record.route, record.lasted);
        }
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

    pub(crate) fn count_handshake(&self, handshake: Handshake) {
        add(&self.handshakes[handshake as usize], 1);
    }

    /// The worker runs in the thread that calls this.
    pub(crate) fn is_in_this_thread(&self) {
        self.thread.store(gettid().as_raw_pid(), Relaxed);
    }

    /// What the kernel has counted of its thread, as far as that can be seen.
    pub(crate) fn scheduled(&self) -> Option<Scheduled> {
        scheduled::of_thread(self.thread.load(Relaxed))
    }

    /// The worker gets on, and came so late.
    pub(crate) fn beat(&self, late: Duration) {
        self.late.count(late);
        self.beats.fetch_add(1, Relaxed);
    }
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
    pub by_class: [u64; CLASSES],
    /// Bytes of request bodies and tunnels, towards the nodes.
    pub bytes_in: u64,
    /// Bytes of answers and tunnels, towards the clients.
    pub bytes_out: u64,
    /// Tunnels ended: by the client, by the node, because one of them was silent, by us.
    pub tunnels: [u64; 4],
    /// WebSocket frames towards the nodes, of tunnels that have ended.
    pub frames_in: u64,
    /// WebSocket frames towards the clients, of tunnels that have ended.
    pub frames_out: u64,
    /// Tunnels ended by the code of their Close, 1000 to 1015; the last counts other codes, and ends without a Close.
    pub closes: [u64; CODES],
    /// The same by who ended them, in the order of `tunnels`.
    pub closes_by: [[u64; CODES]; 4],
    /// Lines of the access log that were lost because the disk or the reader was too slow.
    pub log_lines_lost: u64,
    /// Connections closed at once, because of their client's address: it has too many, opens them too fast, or begins TLS
    /// handshakes too fast.
    pub refused: [u64; 3],
    /// Connections closed to make room, while all places were taken: they rested between two requests, or had not said a
    /// byte.
    pub displaced: [u64; 2],
    /// TLS handshakes with clients, in the order of [`Handshake::ALL`].
    pub handshakes: [u64; Handshake::ALL.len()],
    /// How late it came to what it does twice a second.
    pub late: Durations,
    /// Exchanges that failed, by why, in the words of the access log: refused by us, cut by the client, or by the node.
    pub faults: BTreeMap<&'static str, u64>,
    /// What guards of routes did beside refusing, by what it was.
    pub guarded: BTreeMap<&'static str, u64>,
}

impl Counters {
    pub(crate) fn read(&self) -> Counts {
        let closes_by: [[u64; CODES]; 4] =
            std::array::from_fn(|who| std::array::from_fn(|code| self.closes[who][code].load(Relaxed)));
        let by_class = std::array::from_fn(|class| self.by_class[class].load(Relaxed));
        Counts {
            live: self.live.load(Relaxed),
            parked: self.parked.load(Relaxed),
            connections: self.connections.load(Relaxed),
            exchanges: by_class.iter().sum(),
            pinned: self.pinned.load(Relaxed),
            by_class,
            bytes_in: self.bytes_in.load(Relaxed),
            bytes_out: self.bytes_out.load(Relaxed),
            tunnels: closes_by.map(|closes| closes.iter().sum()),
            frames_in: self.frames_in.load(Relaxed),
            frames_out: self.frames_out.load(Relaxed),
            closes: std::array::from_fn(|code| closes_by.iter().map(|closes| closes[code]).sum()),
            closes_by,
            log_lines_lost: self.log_lines_lost.load(Relaxed),
            refused: std::array::from_fn(|why| self.refused[why].load(Relaxed)),
            displaced: std::array::from_fn(|who| self.displaced[who].load(Relaxed)),
            handshakes: std::array::from_fn(|how| self.handshakes[how].load(Relaxed)),
            late: self.late.read(),
            faults: self.faults().clone(),
            guarded: self.guarded.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// 1000 to 1015, and everything else.
const CODES: usize = 17;
