//! How a tunnel, which listens to nothing but its two sockets, is told from another thread that it is time to go; and how
//! an answer that lasts is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::time::Instant;

use crate::upstream::route_number::RouteNumber;

/// When and how a tunnel closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloseOrder {
    /// Its slot: from then on it says Close at the first end of a message.
    pub(crate) at: Instant,
    /// From then on it does not wait for a message to end, nor for the other end to answer.
    pub(crate) until: Instant,
    pub(crate) reason: CloseReason,
}

/// Why a tunnel closes, as its two ends are told (RFC 6455 section 7.4 and its registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CloseReason {
    /// The node is restarted or removed; come back, there is another one.
    Restart,
    /// The node is stopped now, whoever is still there.
    Stopped,
    /// Another node has fewer sessions.
    Moved,
    /// The proxy itself goes away.
    GoingAway,
    /// The node is gone without a word. 1014 would say it better, but is a protocol error to some libraries; and 1011 is
    /// fatal to others.
    NodeLost,
    /// A message was longer than it may be.
    TooBig,
    /// Messages came faster than they may.
    TooFast,
    /// It has lived as long as it may.
    TooOld,
}

impl CloseReason {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Restart | Self::Stopped | Self::Moved | Self::TooOld | Self::NodeLost => 1012,
            Self::GoingAway => 1001,
            Self::TooBig => 1009,
            Self::TooFast => 1008,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Restart | Self::Stopped => "service restart",
            Self::Moved => "moved to another node",
            Self::GoingAway => "going away",
            Self::NodeLost => "node lost",
            Self::TooBig => "message too big",
            Self::TooFast => "too many messages",
            Self::TooOld => "connection age",
        }
    }
}

/// What can be told to close.
pub(crate) trait Signalled: Copy {
    /// What has them, which is a node.
    type Home;

    fn signals(home: &Self::Home) -> &CloseSignals<Self>;
}

/// A tunnel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tunnel {
    /// Its client would come back to this node.
    pub(crate) is_pinned: bool,
    /// Its route wants it in the access log.
    pub(crate) is_logged: bool,
    /// As what it is counted. It is kept here because nothing is left of the bytes that the tunnel itself may take.
    pub(crate) route: RouteNumber,
}

/// The stream of an EventSource, with the address of its client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventStream(pub(crate) IpAddr);

/// Any other answer that has lasted for a while, with the address of its client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongAnswer(pub(crate) IpAddr);

/// Those of one kind of one node.
#[derive(Debug)]
pub(crate) struct CloseSignals<R> {
    /// By their numbers, which they get as they come.
    listeners: Mutex<BTreeMap<u64, Arc<CloseSignal<R>>>>,
    next: AtomicU64,
    /// How many listen, for those who only want to know that.
    count: AtomicUsize,
}

/// One tunnel's, or one answer's.
#[derive(Debug)]
struct CloseSignal<R> {
    /// Its place among those of its node.
    number: u64,
    whose: R,
    inside: Mutex<Inside>,
    /// There is an order that the tunnel has not heard. A tunnel that was never told anything looks at this one word.
    is_signalled: AtomicBool,
    /// It was told to go, and that was not called off.
    is_going: AtomicBool,
}

#[derive(Debug, Default)]
struct Inside {
    order: Option<Box<CloseOrder>>,
    waker: Option<Waker>,
}

impl<R> Default for CloseSignals<R> {
    fn default() -> Self {
        Self { listeners: Mutex::default(), next: AtomicU64::new(0), count: AtomicUsize::new(0) }
    }
}

impl<R: Signalled> CloseSignals<R> {
    /// Tells everybody from number `from` on, whatever it was told before; `order` is asked once for each. Returns the
    /// number of the next one to come.
    pub(crate) fn signal_from(&self, from: u64, mut order: impl FnMut() -> CloseOrder) -> u64 {
        let listeners = lock(&self.listeners);
        for signal in listeners.range(from..).map(|(_, signal)| signal) {
            signal.signal(order());
        }
        self.next.load(Ordering::Relaxed)
    }

    /// Those from number `from` on.
    pub(crate) fn count_from(&self, from: u64) -> usize {
        if from == self.next.load(Ordering::Relaxed) {
            0
        } else {
            lock(&self.listeners).range(from..).count()
        }
    }

    /// What `most` of them were registered for, the oldest first.
    pub(crate) fn whose(&self, most: usize) -> Vec<R> {
        lock(&self.listeners).values().take(most).map(|signal| signal.whose).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl CloseSignals<Tunnel> {
    /// Tells so many of the oldest tunnels that are not going yet, and whose clients would not come back, and says how many they were.
    pub(crate) fn signal_oldest(&self, count: usize, mut order: impl FnMut() -> CloseOrder) -> usize {
        let listeners = lock(&self.listeners);
        let staying = listeners
            .values()
            .filter(|signal| !signal.whose.is_pinned && !signal.is_going.load(Ordering::Acquire));
        staying.take(count).map(|signal| signal.signal(order())).count()
    }

    /// Tunnels that were told to go.
    pub(crate) fn going(&self) -> usize {
        lock(&self.listeners).values().filter(|signal| signal.is_going.load(Ordering::Acquire)).count()
    }
}

impl<R> CloseSignal<R> {
    fn signal(&self, order: CloseOrder) {
        let mut inside = lock(&self.inside);
        inside.order = Some(Box::new(order));
        self.is_going.store(true, Ordering::Release);
        self.is_signalled.store(true, Ordering::Release);
        if let Some(waker) = inside.waker.take() {
            waker.wake();
        }
    }
}

/// The own end of a tunnel, or of an answer. It counts among those of its node for as long as this lives.
#[derive(Debug)]
pub(crate) struct CloseListener<R: Signalled> {
    node: Arc<R::Home>,
    signal: Arc<CloseSignal<R>>,
    /// Whether the signal knows whom to wake.
    is_heard: bool,
}

impl<R: Signalled> CloseListener<R> {
    pub(crate) fn to(node: Arc<R::Home>, whose: R) -> Self {
        let signals = R::signals(&node);
        let signal = {
            // Numbered under the lock: whoever rings from a number on has told all below it.
            let mut listeners = lock(&signals.listeners);
            let number = signals.next.fetch_add(1, Ordering::Relaxed);
            let (inside, is_signalled, is_going) =
                (Mutex::default(), AtomicBool::new(false), AtomicBool::new(false));
            let signal = Arc::new(CloseSignal { number, whose, inside, is_signalled, is_going });
            listeners.insert(number, signal.clone());
            signal
        };
        signals.count.fetch_add(1, Ordering::Relaxed);
        Self { node, signal, is_heard: false }
    }

    pub(crate) fn node(&self) -> &Arc<R::Home> {
        &self.node
    }

    pub(crate) fn whose(&self) -> R {
        self.signal.whose
    }

    /// The order that it is given, once for each time. The task is woken when that happens. A task has one waker
    /// for its life, so that the signal needs it once for each order.
    pub(crate) fn poll_order(&mut self, cx: &Context<'_>) -> Option<CloseOrder> {
        if self.is_heard && !self.signal.is_signalled.load(Ordering::Acquire) {
            return None;
        }
        let mut inside = lock(&self.signal.inside);
        self.signal.is_signalled.store(false, Ordering::Release);
        inside.waker = Some(cx.waker().clone());
        self.is_heard = true;
        inside.order.take().map(|order| *order)
    }

    /// The order has been called off, unless there is another one by now.
    pub(crate) fn stays(&self) {
        let inside = lock(&self.signal.inside);
        if inside.order.is_none() {
            self.signal.is_going.store(false, Ordering::Release);
        }
    }
}

impl<R: Signalled> Drop for CloseListener<R> {
    fn drop(&mut self) {
        let signals = R::signals(&self.node);
        lock(&signals.listeners).remove(&self.signal.number);
        signals.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A panic elsewhere ends one connection, not the signals.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
