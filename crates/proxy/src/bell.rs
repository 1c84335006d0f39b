//! How a tunnel, which listens to nothing but its two sockets, is told from another thread that it is time to go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::time::Instant;

use crate::upstream::node::Node;

/// When and how a tunnel closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Order {
    /// Its slot: from then on it says goodbye at the first end of a message.
    pub(crate) at: Instant,
    /// From then on it does not wait for a message to end, nor for the other end to answer.
    pub(crate) until: Instant,
    pub(crate) reason: Reason,
}

/// Why a tunnel closes, as its two ends are told (RFC 6455 section 7.4 and its registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The node is restarted or removed; come back, there is another one.
    Restart,
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

impl Reason {
    pub(crate) fn code(self) -> u16 {
        match self {
            Self::Restart | Self::Moved | Self::TooOld | Self::NodeLost => 1012,
            Self::GoingAway => 1001,
            Self::TooBig => 1009,
            Self::TooFast => 1008,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Restart => "service restart",
            Self::Moved => "moved to another node",
            Self::GoingAway => "going away",
            Self::NodeLost => "node lost",
            Self::TooBig => "message too big",
            Self::TooFast => "too many messages",
            Self::TooOld => "connection age",
        }
    }
}

/// The tunnels of one node.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    /// By their numbers, which they get as they come.
    hung: Mutex<BTreeMap<u64, Arc<Bell>>>,
    next: AtomicU64,
    /// How many are hung, for those who only want to know that.
    count: AtomicUsize,
}

/// One tunnel's.
#[derive(Debug, Default)]
struct Bell {
    /// Its place among those of its node.
    number: u64,
    is_pinned: bool,
    inside: Mutex<Inside>,
    /// There is an order that the tunnel has not heard. A tunnel that was never told anything looks at this one word.
    is_rung: AtomicBool,
    /// It was told to go, and that was not called off.
    is_going: AtomicBool,
}

#[derive(Debug, Default)]
struct Inside {
    order: Option<Box<Order>>,
    waker: Option<Waker>,
}

impl Bells {
    /// Tells every tunnel from number `from` on, whatever it was told before; `order` is asked once for each. Returns the
    /// number of the next tunnel to come.
    pub(crate) fn ring_from(&self, from: u64, mut order: impl FnMut() -> Order) -> u64 {
        let hung = lock(&self.hung);
        for bell in hung.range(from..).map(|(_, bell)| bell) {
            bell.ring(order());
        }
        self.next.load(Ordering::Relaxed)
    }

    /// Tunnels from number `from` on.
    pub(crate) fn count_from(&self, from: u64) -> usize {
        if from == self.next.load(Ordering::Relaxed) { 0 } else { lock(&self.hung).range(from..).count() }
    }

    /// Tells so many of the oldest tunnels that are not going yet, and whose clients would not come back, and says how many they were.
    pub(crate) fn ring_oldest(&self, count: usize, mut order: impl FnMut() -> Order) -> usize {
        let hung = lock(&self.hung);
        let staying = hung.values().filter(|bell| !bell.is_pinned && !bell.is_going.load(Ordering::Acquire));
        staying.take(count).map(|bell| bell.ring(order())).count()
    }

    /// Tunnels that were told to go.
    pub(crate) fn going(&self) -> usize {
        lock(&self.hung).values().filter(|bell| bell.is_going.load(Ordering::Acquire)).count()
    }

    /// Tunnels.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Bell {
    fn ring(&self, order: Order) {
        let mut inside = lock(&self.inside);
        inside.order = Some(Box::new(order));
        self.is_going.store(true, Ordering::Release);
        self.is_rung.store(true, Ordering::Release);
        if let Some(waker) = inside.waker.take() {
            waker.wake();
        }
    }
}

/// A tunnel's own end. It counts among its node's tunnels for as long as this lives.
#[derive(Debug)]
pub(crate) struct Listening {
    node: Arc<Node>,
    bell: Arc<Bell>,
    /// Whether the bell knows whom to wake.
    is_heard: bool,
}

impl Listening {
    /// `is_pinned` if the client would come back to this node.
    pub(crate) fn to(node: Arc<Node>, is_pinned: bool) -> Self {
        let bell = {
            // Numbered under the lock: whoever rings from a number on has told all below it.
            let mut hung = lock(&node.tunnels.hung);
            let number = node.tunnels.next.fetch_add(1, Ordering::Relaxed);
            let bell = Arc::new(Bell { number, is_pinned, ..Bell::default() });
            hung.insert(number, bell.clone());
            bell
        };
        node.tunnels.count.fetch_add(1, Ordering::Relaxed);
        Self { node, bell, is_heard: false }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What it is told, once for each time. The task is woken when that happens. A task has one waker for its life, so that
    /// the bell needs it once for each order.
    pub(crate) fn poll_order(&mut self, cx: &Context<'_>) -> Option<Order> {
        if self.is_heard && !self.bell.is_rung.load(Ordering::Acquire) {
            return None;
        }
        let mut inside = lock(&self.bell.inside);
        self.bell.is_rung.store(false, Ordering::Release);
        inside.waker = Some(cx.waker().clone());
        self.is_heard = true;
        inside.order.take().map(|order| *order)
    }

    /// The order has been called off, unless there is another one by now.
    pub(crate) fn stays(&self) {
        let inside = lock(&self.bell.inside);
        if inside.order.is_none() {
            self.bell.is_going.store(false, Ordering::Release);
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        lock(&self.node.tunnels.hung).remove(&self.bell.number);
        self.node.tunnels.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A panic elsewhere ends one connection, not the bells.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
