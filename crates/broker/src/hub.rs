//! Who is subscribed to what. A publisher hands a message to every subscriber's own queue and waits for none.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed},
        },
    },
};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use crate::{
    Limits, glob,
    resp::{Reply, Version},
};

/// The three ways to subscribe, which do not hear each other's messages (but for patterns, which hear channels').
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Channel,
    Pattern,
    Shard,
}

type Subscribers = HashMap<Bytes, HashMap<u64, Arc<Client>>>;

pub(crate) struct Hub {
    pub(crate) limits: Limits,
    subscribers: Mutex<[Subscribers; 3]>,
    clients: AtomicUsize,
    cut_off: AtomicU64,
    next_id: AtomicU64,
}

/// One connection, as publishers see it.
pub(crate) struct Client {
    pub(crate) id: u64,
    waiting: mpsc::Sender<Bytes>,
    bytes: AtomicUsize,
    version: Mutex<Version>,
    is_cut: AtomicBool,
    /// Told when the client has to go.
    pub(crate) cut: Notify,
}

impl Hub {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            subscribers: Mutex::default(),
            clients: AtomicUsize::new(0),
            cut_off: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
        }
    }

    /// `None` if there are too many already.
    pub(crate) fn enter(&self) -> Option<(Arc<Client>, mpsc::Receiver<Bytes>)> {
        if self.clients.fetch_add(1, AcqRel) >= self.limits.clients_max {
            self.clients.fetch_sub(1, AcqRel);
            return None;
        }
        let (waiting, next) = mpsc::channel(self.limits.waiting_messages_max.max(1));
        let client = Client {
            id: self.next_id.fetch_add(1, Relaxed),
            waiting,
            bytes: AtomicUsize::new(0),
            version: Mutex::new(Version::Resp2),
            is_cut: AtomicBool::new(false),
            cut: Notify::new(),
        };
        Some((Arc::new(client), next))
    }

    /// The session has removed its subscriptions by then.
    pub(crate) fn leave(&self) {
        self.clients.fetch_sub(1, AcqRel);
    }

    pub(crate) fn clients(&self) -> usize {
        self.clients.load(Acquire)
    }

    pub(crate) fn cut_off(&self) -> u64 {
        self.cut_off.load(Relaxed)
    }

    pub(crate) fn subscribe(&self, kind: Kind, name: &Bytes, client: &Arc<Client>) {
        // Copied: a slice would keep the whole command that it came in.
        let key = Bytes::copy_from_slice(name);
        self.lock()[kind as usize].entry(key).or_default().insert(client.id, client.clone());
    }

    pub(crate) fn unsubscribe(&self, kind: Kind, name: &Bytes, client: &Client) {
        let subscribers = &mut self.lock()[kind as usize];
        if let Some(of) = subscribers.get_mut(name) {
            of.remove(&client.id);
            if of.is_empty() {
                subscribers.remove(name);
            }
        }
    }

    /// To how many it was handed.
    pub(crate) fn publish(&self, channel: &Bytes, message: &Bytes) -> usize {
        let subscribers = self.lock();
        let frame = Frames::new(|version| {
            let mut reply = Reply::new();
            reply.push(version, 3).bulk(b"message").bulk(channel).bulk(message);
            reply.done()
        });
        let mut reached = self.hand_out(subscribers[Kind::Channel as usize].get(channel), frame);
        for (pattern, of) in &subscribers[Kind::Pattern as usize] {
            if glob::matches(pattern, channel) {
                let frame = Frames::new(|version| {
                    let mut reply = Reply::new();
                    reply.push(version, 4).bulk(b"pmessage").bulk(pattern).bulk(channel).bulk(message);
                    reply.done()
                });
                reached += self.hand_out(Some(of), frame);
            }
        }
        reached
    }

    pub(crate) fn publish_shard(&self, channel: &Bytes, message: &Bytes) -> usize {
        let subscribers = self.lock();
        let frame = Frames::new(|version| {
            let mut reply = Reply::new();
            reply.push(version, 3).bulk(b"smessage").bulk(channel).bulk(message);
            reply.done()
        });
        self.hand_out(subscribers[Kind::Shard as usize].get(channel), frame)
    }

    fn hand_out<F: Fn(Version) -> Bytes>(
        &self,
        to: Option<&HashMap<u64, Arc<Client>>>,
        mut frames: Frames<F>,
    ) -> usize {
        let Some(to) = to else { return 0 };
        for client in to.values() {
            self.hand(client, frames.of(client.version()));
        }
        to.len()
    }

    /// Replies go the same way as messages, which keeps both in order.
    pub(crate) fn hand(&self, client: &Client, bytes: Bytes) {
        let size = bytes.len();
        let fits = client.bytes.fetch_add(size, AcqRel) + size <= self.limits.waiting_bytes_max;
        if !fits || client.waiting.try_send(bytes).is_err() {
            client.bytes.fetch_sub(size, AcqRel);
            if !client.is_cut.swap(true, AcqRel) {
                self.cut_off.fetch_add(1, Relaxed);
                tracing::warn!(
                    client = client.id,
                    "cut off a client of the embedded broker that does not read"
                );
            }
            client.cut.notify_one();
        }
    }

    pub(crate) fn count(&self, kind: Kind, name: &Bytes) -> usize {
        self.lock()[kind as usize].get(name).map_or(0, HashMap::len)
    }

    pub(crate) fn patterns(&self) -> usize {
        self.lock()[Kind::Pattern as usize].len()
    }

    /// Names with a subscriber that match `pattern`.
    pub(crate) fn names(&self, kind: Kind, pattern: Option<&Bytes>) -> Vec<Bytes> {
        let matching = |name: &&Bytes| pattern.is_none_or(|pattern| glob::matches(pattern, name));
        self.lock()[kind as usize].keys().filter(matching).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, [Subscribers; 3]> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    pub(crate) fn version(&self) -> Version {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_version(&self, version: Version) {
        *self.version.lock().unwrap_or_else(PoisonError::into_inner) = version;
    }

    /// Called when `size` bytes were written to the client.
    pub(crate) fn settle(&self, size: usize) {
        self.bytes.fetch_sub(size, AcqRel);
    }
}

/// A message in both protocols, each encoded at most once however many subscribers there are.
struct Frames<F> {
    encode: F,
    encoded: [Option<Bytes>; 2],
}

impl<F: Fn(Version) -> Bytes> Frames<F> {
    fn new(encode: F) -> Self {
        Self { encode, encoded: [None, None] }
    }

    fn of(&mut self, version: Version) -> Bytes {
        let Self { encode, encoded } = self;
        encoded[version as usize].get_or_insert_with(|| encode(version)).clone()
    }
}
