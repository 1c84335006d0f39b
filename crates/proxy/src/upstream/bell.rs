//! How a tunnel, which listens to nothing but its two sockets, is told from another thread that it is time to go; and how
//! an answer that lasts is.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio::time::Instant;

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

impl Reason {
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

/// What hangs a bell at its node.
pub(crate) trait Rung: Copy {
    /// What has them, which is a node.
    type Home;

    /// Where those of its kind are.
    fn bells(home: &Self::Home) -> &Bells<Self>;
}

/// A tunnel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tunnel {
    /// Its client would come back to this node.
    pub(crate) is_pinned: bool,
}

/// The stream of an EventSource, with the address of its client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventStream(pub(crate) IpAddr);

/// Any other answer that has lasted for a while, with the address of its client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LongAnswer(pub(crate) IpAddr);

/// Those of one kind of one node.
#[derive(Debug)]
pub(crate) struct Bells<R> {
    /// By their numbers, which they get as they come.
    hung: Mutex<BTreeMap<u64, Arc<Bell<R>>>>,
    next: AtomicU64,
    /// How many are hung, for those who only want to know that.
    count: AtomicUsize,
}

/// One tunnel's, or one answer's.
#[derive(Debug)]
struct Bell<R> {
    /// Its place among those of its node.
    number: u64,
    whose: R,
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

impl<R> Default for Bells<R> {
    fn default() -> Self {
        Self { hung: Mutex::default(), next: AtomicU64::new(0), count: AtomicUsize::new(0) }
    }
}

impl<R: Rung> Bells<R> {
    /// Tells everybody from number `from` on, whatever it was told before; `order` is asked once for each. Returns the
    /// number of the next one to come.
    pub(crate) fn ring_from(&self, from: u64, mut order: impl FnMut() -> Order) -> u64 {
        let hung = lock(&self.hung);
        for bell in hung.range(from..).map(|(_, bell)| bell) {
            bell.ring(order());
        }
        self.next.load(Ordering::Relaxed)
    }

    /// Those from number `from` on.
    pub(crate) fn count_from(&self, from: u64) -> usize {
        if from == self.next.load(Ordering::Relaxed) { 0 } else { lock(&self.hung).range(from..).count() }
    }

    /// Whose they are, the oldest first, `most` of them.
    pub(crate) fn whose(&self, most: usize) -> Vec<R> {
        lock(&self.hung).values().take(most).map(|bell| bell.whose).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Bells<Tunnel> {
    /// Tells so many of the oldest tunnels that are not going yet, and whose clients would not come back, and says how many they were.
    pub(crate) fn ring_oldest(&self, count: usize, mut order: impl FnMut() -> Order) -> usize {
        let hung = lock(&self.hung);
        let staying =
            hung.values().filter(|bell| !bell.whose.is_pinned && !bell.is_going.load(Ordering::Acquire));
        staying.take(count).map(|bell| bell.ring(order())).count()
    }

    /// Tunnels that were told to go.
    pub(crate) fn going(&self) -> usize {
        lock(&self.hung).values().filter(|bell| bell.is_going.load(Ordering::Acquire)).count()
    }
}

impl<R> Bell<R> {
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

/// The own end of a tunnel, or of an answer. It counts among those of its node for as long as this lives.
#[derive(Debug)]
pub(crate) struct Listening<R: Rung> {
    node: Arc<R::Home>,
    bell: Arc<Bell<R>>,
    /// Whether the bell knows whom to wake.
    is_heard: bool,
}

impl<R: Rung> Listening<R> {
    pub(crate) fn to(node: Arc<R::Home>, whose: R) -> Self {
        let bells = R::bells(&node);
        let bell = {
            // Numbered under the lock: whoever rings from a number on has told all below it.
            let mut hung = lock(&bells.hung);
            let number = bells.next.fetch_add(1, Ordering::Relaxed);
            let (inside, is_rung, is_going) =
                (Mutex::default(), AtomicBool::new(false), AtomicBool::new(false));
            let bell = Arc::new(Bell { number, whose, inside, is_rung, is_going });
            hung.insert(number, bell.clone());
            bell
        };
        bells.count.fetch_add(1, Ordering::Relaxed);
        Self { node, bell, is_heard: false }
    }

    pub(crate) fn node(&self) -> &Arc<R::Home> {
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

impl<R: Rung> Drop for Listening<R> {
    fn drop(&mut self) {
        let bells = R::bells(&self.node);
        lock(&bells.hung).remove(&self.bell.number);
        bells.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A panic elsewhere ends one connection, not the bells.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
