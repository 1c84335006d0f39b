//! What was lost on the way to other nodes, counted where it is lost, and told to whoever listens.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::options::OnEvent;

/// One of the connections that a node holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Sends this node's messages, and counts the fleet.
    Publisher,
    /// Receives the other nodes' messages.
    Subscriber,
    /// Reads a stream of [`Mode::Streams`](crate::Mode). A connection that is lost is no gap: the next one reads on.
    Reader,
}

/// Why a message did not reach Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Redis was out of reach from the start, or for longer than [`hold_max`](crate::Options::hold_max), or more was said
    /// meanwhile than the queue holds.
    Disconnected,
    /// [`publish_queue_max`](crate::Options::publish_queue_max) or
    /// [`publish_bytes_max`](crate::Options::publish_bytes_max) was reached: Redis is slower than this node.
    QueueFull,
    /// It was sent, Redis has not confirmed it, and it could not be sent again: Redis was silent for
    /// [`stall_max`](crate::Options::stall_max) and may take it later, connections ended for
    /// [`hold_max`](crate::Options::hold_max) or three times in a row, or it is an entry of a stream. It may have arrived.
    Unconfirmed,
    /// Redis refused it (`NOPERM`, `OOM` and the like), or it has no form on the wire.
    Refused,
}

/// Something an operator wants to know. Given to [`Options::on_event`](crate::Options::on_event) and logged.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A connection is up (again).
    Connected(Side),
    /// A connection ended, or an attempt to connect failed. Another attempt follows within
    /// [`retry_max`](crate::Options::retry_max).
    Disconnected {
        /// Which connection.
        side: Side,
        /// What Redis or the system said.
        error: String,
    },
    /// Redis has not answered for [`probe_interval`](crate::Options::probe_interval), and its TCP lives: what is said waits.
    Stalled(Side),
    /// It answers again, and nothing was lost by it.
    Resumed {
        /// Which connection.
        side: Side,
        /// How long it was silent.
        duration: Duration,
    },
    /// Other nodes use the same prefix on the same Redis in another way. They and this node hear nothing of each other, or
    /// not all of it.
    ModesDiffer {
        /// Where they were seen.
        namespace: String,
        /// What they use.
        mode: OtherMode,
    },
    /// From now on this node misses what others publish.
    GapOpened,
    /// The subscription is confirmed again; everything published meanwhile was missed.
    GapClosed {
        /// How long it lasted.
        duration: Duration,
    },
    /// Messages to other nodes were lost. Local clients received theirs.
    Dropped {
        /// How many since the last such event for this reason.
        count: u64,
        /// Why.
        reason: DropReason,
    },
    /// Clients of this node missed events, because they read so slowly that
    /// [`client_backlog_max`](crate::Options::client_backlog_max) was reached.
    ClientsMissed {
        /// How many since the last such event. An event that two clients missed counts twice.
        count: u64,
    },
}

/// How nodes speak that this node does not understand. See [`Event::ModesDiffer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OtherMode {
    /// `createAdapter`, while this node is in [`Mode::Sharded`](crate::Mode).
    Classic,
    /// `createShardedAdapter`, while this node is in [`Mode::Classic`](crate::Mode).
    Sharded,
    /// `createShardedAdapter` without `subscriptionMode: "static"`, whose messages to one room this node cannot hear.
    Dynamic,
    /// `@socket.io/redis-streams-adapter`, while this node is in another mode.
    Streams,
}

impl OtherMode {
    /// What to set, and where.
    pub fn advice(self) -> &'static str {
        match self {
            Self::Classic => {
                "nodes with createAdapter and sharded ones do not hear each other: set Mode::Classic here, or use \
                 createShardedAdapter with subscriptionMode \"static\" there"
            }
            Self::Sharded => {
                "nodes with createShardedAdapter and classic ones do not hear each other: set Mode::Sharded here and \
                 subscriptionMode \"static\" there, or use createAdapter there"
            }
            Self::Dynamic => {
                "nodes with createShardedAdapter in a dynamic mode are not heard when they emit to one room: set \
                 subscriptionMode \"static\" there"
            }
            Self::Streams => {
                "nodes with redis-streams-adapter and those with redis-adapter do not hear each other: set Mode::Streams \
                 here, or use the other adapter there"
            }
        }
    }
}

/// Counters since the start. A snapshot: the fields are read one after another.
///
/// `published + dropped()` is what the node offered to Redis, but for what is on its way at this moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Messages that Redis confirmed.
    pub published: u64,
    /// Dropped for [`DropReason::Disconnected`].
    pub dropped_disconnected: u64,
    /// Dropped for [`DropReason::QueueFull`].
    pub dropped_queue_full: u64,
    /// Dropped for [`DropReason::Unconfirmed`].
    pub dropped_unconfirmed: u64,
    /// Dropped for [`DropReason::Refused`].
    pub dropped_refused: u64,
    /// Messages received from Redis, our own echo included.
    pub received: u64,
    /// Of these, not understood and ignored.
    pub malformed: u64,
    /// Acknowledgements dropped because nobody read their stream in time, or because of
    /// [`forwards_max`](crate::Options::forwards_max).
    pub acks_dropped: u64,
    /// Events that clients of this node missed because they read too slowly. One that two clients missed counts twice.
    pub clients_missed: u64,
    /// Attempts to connect, both sides together.
    pub connects: u64,
    /// Times that the subscription was lost.
    pub gaps: u64,
    /// Their length together, each from the last sign of life of Redis. A gap that is still open is included.
    pub gap_time: Duration,
    /// Whether a gap is open.
    pub in_gap: bool,
}

impl Stats {
    /// Messages that other nodes may not have received, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.dropped_disconnected + self.dropped_queue_full + self.dropped_unconfirmed + self.dropped_refused
    }
}

#[derive(Default)]
struct Gaps {
    count: u64,
    closed: Duration,
    open_since: Option<Instant>,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) published: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) malformed: AtomicU64,
    pub(crate) acks_dropped: AtomicU64,
    pub(crate) connects: AtomicU64,
    dropped: [AtomicU64; 4],
    told: [AtomicU64; 4],
    clients_missed: AtomicU64,
    clients_told: AtomicU64,
    gaps: Mutex<Gaps>,
    on_event: Option<OnEvent>,
}

const REASONS: [DropReason; 4] =
    [DropReason::Disconnected, DropReason::QueueFull, DropReason::Unconfirmed, DropReason::Refused];

impl Counters {
    pub(crate) fn new(on_event: Option<OnEvent>) -> Self {
        Self { on_event, ..Self::default() }
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Stats {
        let gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let open = gaps.open_since.map_or(Duration::ZERO, |since| now.duration_since(since));
        let dropped = |reason: DropReason| self.dropped[reason as usize].load(Relaxed);
        Stats {
            published: self.published.load(Relaxed),
            dropped_disconnected: dropped(DropReason::Disconnected),
            dropped_queue_full: dropped(DropReason::QueueFull),
            dropped_unconfirmed: dropped(DropReason::Unconfirmed),
            dropped_refused: dropped(DropReason::Refused),
            received: self.received.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            acks_dropped: self.acks_dropped.load(Relaxed),
            clients_missed: self.clients_missed.load(Relaxed),
            connects: self.connects.load(Relaxed),
            gaps: gaps.count,
            gap_time: gaps.closed + open,
            in_gap: gaps.open_since.is_some(),
        }
    }

    /// Only counts: this is called per message, and a log line each would be an outage of its own.
    pub(crate) fn drop_messages(&self, reason: DropReason, count: usize) {
        self.dropped[reason as usize].fetch_add(count as u64, Relaxed);
    }

    /// Only counts, as [`Self::drop_messages`].
    pub(crate) fn miss(&self, clients: usize) {
        if clients > 0 {
            self.clients_missed.fetch_add(clients as u64, Relaxed);
        }
    }

    /// Tells what was dropped since the last call. Called by the publisher a few times a second at most.
    pub(crate) fn tell_drops(&self) {
        for reason in REASONS {
            let total = self.dropped[reason as usize].load(Relaxed);
            let count = total - self.told[reason as usize].swap(total, Relaxed);
            if count > 0 {
                self.tell(&Event::Dropped { count, reason });
            }
        }
        let total = self.clients_missed.load(Relaxed);
        let count = total - self.clients_told.swap(total, Relaxed);
        if count > 0 {
            self.tell(&Event::ClientsMissed { count });
        }
    }

    pub(crate) fn open_gap(&self, now: Instant) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        if gaps.open_since.is_none() {
            gaps.open_since = Some(now);
            gaps.count += 1;
            drop(gaps);
            self.tell(&Event::GapOpened);
        }
    }

    pub(crate) fn close_gap(&self, now: Instant) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(since) = gaps.open_since.take() {
            let duration = now.duration_since(since);
            gaps.closed += duration;
            drop(gaps);
            self.tell(&Event::GapClosed { duration });
        }
    }

    /// A gap that is found when it is over.
    pub(crate) fn close_gap_of(&self, since: Instant, now: Instant) {
        let duration = now.saturating_duration_since(since);
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        gaps.count += 1;
        gaps.closed += duration;
        drop(gaps);
        self.tell(&Event::GapOpened);
        self.tell(&Event::GapClosed { duration });
    }

    pub(crate) fn tell(&self, event: &Event) {
        match event {
            Event::Connected(side) => tracing::info!(?side, "connected to Redis"),
            Event::Disconnected { side, error } => {
                tracing::warn!(?side, error, "no connection to Redis, trying on");
            }
            Event::Stalled(side) => tracing::warn!(?side, "Redis does not answer, waiting"),
            Event::Resumed { side, duration } => tracing::warn!(?side, ?duration, "Redis answers again"),
            Event::ModesDiffer { namespace, mode } => tracing::warn!(namespace, "{}", mode.advice()),
            Event::GapOpened => tracing::warn!("messages from other nodes are being missed"),
            Event::GapClosed { duration } => {
                tracing::warn!(?duration, "messages from other nodes were missed");
            }
            Event::Dropped { count, reason } => {
                tracing::warn!(count, ?reason, "messages to other nodes were dropped");
            }
            Event::ClientsMissed { count } => {
                tracing::warn!(count, "clients that read too slowly missed events");
            }
        }
        if let Some(on_event) = &self.on_event {
            on_event(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counters, DropReason, Event};
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };
    use tokio::time::Instant;

    #[test]
    fn drops_and_gaps_are_counted_once_and_told_once() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = told.clone();
        let counters = Counters::new(Some(Arc::new(move |event: &Event| {
            listener.lock().unwrap().push(format!("{event:?}"));
        })));
        let start = Instant::now();
        counters.drop_messages(DropReason::QueueFull, 2);
        counters.drop_messages(DropReason::QueueFull, 3);
        counters.tell_drops();
        counters.tell_drops();
        counters.open_gap(start);
        counters.open_gap(start + Duration::from_secs(1));
        assert_eq!(counters.snapshot(start + Duration::from_secs(2)).gap_time, Duration::from_secs(2));
        counters.close_gap(start + Duration::from_secs(3));
        counters.close_gap(start + Duration::from_secs(9));

        let stats = counters.snapshot(start + Duration::from_secs(10));
        assert_eq!(
            (stats.dropped(), stats.gaps, stats.gap_time, stats.in_gap),
            (5, 1, Duration::from_secs(3), false)
        );
        assert_eq!(
            *told.lock().unwrap(),
            ["Dropped { count: 5, reason: QueueFull }", "GapOpened", "GapClosed { duration: 3s }"]
        );
    }
}
