//! How a tunnel, which listens to nothing but its two sockets, is told from another thread that it is time to go.

use std::collections::HashMap;
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
    /// The node is gone without a word.
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
            Self::Restart | Self::Moved | Self::TooOld => 1012,
            Self::GoingAway => 1001,
            Self::NodeLost => 1014,
            Self::TooBig => 1009,
            Self::TooFast => 1008,
        }
    }

    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Restart => "service restart",
            Self::Moved => "moved to another node",
            Self::GoingAway => "going away",
            Self::NodeLost => "bad gateway",
            Self::TooBig => "message too big",
            Self::TooFast => "too many messages",
            Self::TooOld => "connection age",
        }
    }
}

/// The tunnels of one node.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    hung: Mutex<HashMap<u64, Arc<Bell>>>,
    next: AtomicU64,
    /// How many are hung, for those who only want to know that.
    count: AtomicUsize,
}

/// One tunnel's.
#[derive(Debug, Default)]
struct Bell {
    /// Its place among those of its node.
    number: u64,
    inside: Mutex<Inside>,
    /// So that a tunnel that was never told anything looks at one word.
    is_rung: AtomicBool,
}

#[derive(Debug, Default)]
struct Inside {
    order: Option<Box<Order>>,
    waker: Option<Waker>,
}

impl Bells {
    /// Tells every tunnel that was not told yet; `order` is asked once for each.
    pub(crate) fn ring_each(&self, mut order: impl FnMut() -> Order) {
        for bell in lock(&self.hung).values().filter(|bell| !bell.is_rung.load(Ordering::Acquire)) {
            bell.ring(order());
        }
    }

    /// Tells so many of the oldest tunnels that were not told yet, and says how many they were.
    pub(crate) fn ring_oldest(&self, count: usize, mut order: impl FnMut() -> Order) -> usize {
        let hung = lock(&self.hung);
        let mut oldest: Vec<(&u64, &Arc<Bell>)> =
            hung.iter().filter(|(_, bell)| !bell.is_rung.load(Ordering::Acquire)).collect();
        // They are numbered as they come.
        if count < oldest.len() {
            oldest.select_nth_unstable_by_key(count, |(number, _)| **number);
            oldest.truncate(count);
        }
        for (_, bell) in &oldest {
            bell.ring(order());
        }
        oldest.len()
    }

    /// Tunnels that were not told yet.
    pub(crate) fn unrung(&self) -> usize {
        lock(&self.hung).values().filter(|bell| !bell.is_rung.load(Ordering::Acquire)).count()
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
    ear: Ear,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ear {
    /// The bell does not know whom to wake.
    Deaf,
    Listens,
    /// It was told; there is nothing more to hear.
    HasHeard,
}

impl Listening {
    pub(crate) fn to(node: Arc<Node>) -> Self {
        let number = node.tunnels.next.fetch_add(1, Ordering::Relaxed);
        let bell = Arc::new(Bell { number, ..Bell::default() });
        lock(&node.tunnels.hung).insert(number, bell.clone());
        node.tunnels.count.fetch_add(1, Ordering::Relaxed);
        Self { node, bell, ear: Ear::Deaf }
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What it is told; once it is, and never again. The task is woken when that happens. A task has one waker for
    /// its life, so that the bell needs it once.
    pub(crate) fn poll_order(&mut self, cx: &Context<'_>) -> Option<Order> {
        let is_silent = !self.bell.is_rung.load(Ordering::Acquire);
        if self.ear == Ear::HasHeard || (self.ear == Ear::Listens && is_silent) {
            return None;
        }
        let mut inside = lock(&self.bell.inside);
        let order = inside.order.take().map(|order| *order);
        self.ear = if order.is_some() { Ear::HasHeard } else { Ear::Listens };
        inside.waker = order.is_none().then(|| cx.waker().clone());
        order
    }
}

impl Listening {
    /// The order has been called off; there may be another one.
    pub(crate) fn listen_again(&mut self) {
        self.ear = Ear::Deaf;
        self.bell.is_rung.store(false, Ordering::Release);
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
