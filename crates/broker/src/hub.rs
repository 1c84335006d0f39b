//! Who is subscribed to what. A publisher hands a message to every subscriber's own queue and waits for none.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool, AtomicU64, AtomicUsize,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::{sync::Notify, time::timeout};

use crate::{
    glob,
    outbox::Outbox,
    resp::{Reply, Version},
    settings::{Limits, Settings},
};

/// How long a publisher waits, all in all, for a subscriber that is behind. One that catches up may be waited for again.
const PATIENCE: Duration = Duration::from_secs(1);

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
    pub(crate) password: Option<Box<str>>,
    subscribers: Mutex<[Subscribers; 3]>,
    clients: AtomicUsize,
    cut_off: AtomicU64,
    next_id: AtomicU64,
}

/// One connection, as publishers see it.
pub(crate) struct Client {
    pub(crate) id: u64,
    outbox: Mutex<Outbox>,
    /// In the outbox and of what is being written.
    bytes: AtomicUsize,
    is_resp3: AtomicBool,
    is_cut: AtomicBool,
    /// Somebody waited for it in vain, and it has not caught up since.
    is_given_up: AtomicBool,
    /// Told when the client has to go.
    pub(crate) cut: Notify,
    /// Told when the outbox has something.
    filled: Notify,
    /// Told when what waits has become less than half of what may.
    caught_up: Notify,
}

/// What a session did to others and has not told them yet. Their writers are woken once for all commands that came in one
/// go, and what they have to say then goes out in one write.
#[derive(Default)]
pub(crate) struct Wakes {
    filled: Vec<Arc<Client>>,
    behind: Option<Arc<Client>>,
}

impl Wakes {
    pub(crate) fn is_anyone_behind(&self) -> bool {
        self.behind.is_some()
    }

    pub(crate) fn wake(&mut self) {
        for client in self.filled.drain(..) {
            client.filled.notify_one();
        }
    }
}

impl Hub {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            limits: settings.limits,
            password: settings.password.filter(|password| !password.is_empty()).map(Into::into),
            subscribers: Mutex::default(),
            clients: AtomicUsize::new(0),
            cut_off: AtomicU64::new(0),
            next_id: AtomicU64::new(1),
        }
    }

    /// `None` if there are too many already.
    pub(crate) fn enter(&self) -> Option<Arc<Client>> {
        if self.clients.fetch_add(1, AcqRel) >= self.limits.clients_max {
            self.clients.fetch_sub(1, AcqRel);
            return None;
        }
        Some(Arc::new(Client {
            id: self.next_id.fetch_add(1, Relaxed),
            outbox: Mutex::default(),
            bytes: AtomicUsize::new(0),
            is_resp3: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            is_given_up: AtomicBool::new(false),
            cut: Notify::new(),
            filled: Notify::new(),
            caught_up: Notify::new(),
        }))
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
    pub(crate) fn publish(&self, channel: &Bytes, message: &Bytes, wakes: &mut Wakes) -> usize {
        let subscribers = self.lock();
        let frame = Frames::new(|version| {
            let mut reply = Reply::new();
            reply.push(version, 3).bulk(b"message").bulk(channel).bulk(message);
            reply.done()
        });
        let mut reached = self.hand_out(subscribers[Kind::Channel as usize].get(channel), frame, wakes);
        for (pattern, of) in &subscribers[Kind::Pattern as usize] {
            if glob::matches(pattern, channel) {
                let frame = Frames::new(|version| {
                    let mut reply = Reply::new();
                    reply.push(version, 4).bulk(b"pmessage").bulk(pattern).bulk(channel).bulk(message);
                    reply.done()
                });
                reached += self.hand_out(Some(of), frame, wakes);
            }
        }
        reached
    }

    pub(crate) fn publish_shard(&self, channel: &Bytes, message: &Bytes, wakes: &mut Wakes) -> usize {
        let subscribers = self.lock();
        let frame = Frames::new(|version| {
            let mut reply = Reply::new();
            reply.push(version, 3).bulk(b"smessage").bulk(channel).bulk(message);
            reply.done()
        });
        self.hand_out(subscribers[Kind::Shard as usize].get(channel), frame, wakes)
    }

    fn hand_out<F: Fn(Version) -> Bytes>(
        &self,
        to: Option<&HashMap<u64, Arc<Client>>>,
        mut frames: Frames<F>,
        wakes: &mut Wakes,
    ) -> usize {
        let Some(to) = to else { return 0 };
        for client in to.values() {
            self.hand(client, frames.of(client.version()), wakes);
        }
        to.len()
    }

    /// Replies go the same way as messages, which keeps both in order.
    pub(crate) fn hand(&self, client: &Arc<Client>, frame: &Bytes, wakes: &mut Wakes) {
        let waiting = client.bytes.fetch_add(frame.len(), AcqRel) + frame.len();
        let mut outbox = client.outbox();
        if waiting > self.limits.waiting_bytes_max || outbox.frames >= self.limits.waiting_messages_max {
            drop(outbox);
            client.bytes.fetch_sub(frame.len(), AcqRel);
            if !client.is_cut.swap(true, AcqRel) {
                self.cut_off.fetch_add(1, Relaxed);
                tracing::warn!(
                    client = client.id,
                    "cut off a client of the embedded broker that does not read"
                );
            }
            client.cut.notify_one();
            return;
        }
        if outbox.is_empty() {
            wakes.filled.push(client.clone());
        }
        outbox.push(frame);
        if self.is_behind(waiting, outbox.frames) && !client.is_given_up.load(Acquire) {
            wakes.behind = Some(client.clone());
        }
    }

    fn is_behind(&self, bytes: usize, frames: usize) -> bool {
        bytes > self.limits.waiting_bytes_max / 2 || frames > self.limits.waiting_messages_max / 2
    }

    /// Lets a subscriber read that has fallen behind, so that a loop of publishes does not get it cut off. Redis has nothing
    /// of the kind. One that does not read at all is waited for only once.
    pub(crate) async fn let_catch_up(&self, wakes: &mut Wakes) {
        let Some(client) = wakes.behind.take() else { return };
        let catches_up = async {
            while self.is_behind(client.bytes.load(Acquire), client.outbox().frames) {
                client.caught_up.notified().await;
            }
        };
        let is_late = timeout(PATIENCE, catches_up).await.is_err();
        client.is_given_up.store(is_late, Release);
        // There may be another publisher who waits.
        client.caught_up.notify_one();
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
        if self.is_resp3.load(Acquire) { Version::Resp3 } else { Version::Resp2 }
    }

    pub(crate) fn set_version(&self, version: Version) {
        self.is_resp3.store(version == Version::Resp3, Release);
    }

    /// Nothing follows what is in the outbox.
    pub(crate) fn close(&self) {
        self.outbox().is_last = true;
        self.filled.notify_one();
    }

    /// What there is to write, once there is something; cancel-safe.
    pub(crate) async fn next(&self, memory: &mut BytesMut) -> Outbox {
        loop {
            {
                let mut outbox = self.outbox();
                if !outbox.is_empty() || outbox.is_last {
                    return outbox.take(std::mem::take(memory));
                }
            }
            self.filled.notified().await;
        }
    }

    /// Called when `size` bytes were written to the client.
    pub(crate) fn settle(&self, size: usize, limits: &Limits) {
        let waiting = self.bytes.fetch_sub(size, AcqRel) - size;
        if waiting <= limits.waiting_bytes_max / 2 {
            self.is_given_up.store(false, Release);
            self.caught_up.notify_one();
        }
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn of(&mut self, version: Version) -> &Bytes {
        let Self { encode, encoded } = self;
        encoded[version as usize].get_or_insert_with(|| encode(version))
    }
}
