//! The way to Redis and back. Two connections, each with a task that keeps it: one publishes from a bounded
//! queue, the other receives, and there is one more for each stream that is read. None ever makes a local delivery wait.

mod address;
mod backoff;
mod connection;
mod connector;
mod echoes;
mod modes;
mod pace;
mod publisher;
mod replies;
mod resp2;
mod sentinel;
mod streams;
mod subscriber;

use std::{
    collections::HashMap,
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::RedisResult;
use tokio::{
    runtime::Handle,
    sync::Notify,
    task::{AbortHandle, JoinHandle},
    time::{Instant, interval_at, sleep_until, timeout},
};

use self::{connection::Connection, echoes::Echoes, streams::Reading};
pub(crate) use self::{
    connector::{Connector, Kind},
    publisher::Queue,
};
use crate::{
    backlog::Budget,
    dialect::{Kind as Wanted, Subscription},
    error::Error,
    hooks::Hooks,
    node::Node,
    options::{Credentials, Mode, Options},
    stats::{Counters, Event, Side},
};

/// What the two tasks and the namespaces share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    pub(crate) hooks: Hooks,
    pub(crate) queue: Queue,
    pub(crate) echoes: Echoes,
    /// What may wait for this node's clients.
    pub(crate) backlog: Arc<Budget>,
    pub(crate) runtime: Handle,
    connector: Connector,
    life: Life,
    streams: Vec<Arc<Reading>>,
    /// Every wanted subscription and whose it is.
    wanted: RwLock<HashMap<Subscription, Arc<Node>>>,
    wanted_changed: Notify,
    resting: Mutex<Vec<Weak<Node>>>,
    /// The publisher's connection while it is up, for questions to Redis itself.
    current: Mutex<Option<Connection>>,
}

impl Shared {
    pub(crate) fn enter(&self, node: &Arc<Node>) {
        node.resting.store(false, Relaxed);
        let mut wanted = self.wanted.write().unwrap_or_else(PoisonError::into_inner);
        wanted.extend(
            node.dialect.subscriptions().into_iter().map(|subscription| (subscription, node.clone())),
        );
        drop(wanted);
        self.wanted_changed.notify_one();
    }

    /// Without it the namespace and its sockets would be kept for ever.
    pub(crate) fn leave(&self, node: &Arc<Node>) {
        let mut wanted = self.wanted.write().unwrap_or_else(PoisonError::into_inner);
        wanted.retain(|_, of| !Arc::ptr_eq(of, node));
        drop(wanted);
        node.subscribed.send_replace(false);
        self.wanted_changed.notify_one();
    }

    /// Called when a namespace is closed: with the last one goes what describes sockets.
    pub(crate) fn let_go(&self) {
        if self.wanted.read().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.hooks.let_go();
        }
    }

    /// Gives up the subscriptions of namespaces that clients made and have left, and takes them again when somebody is
    /// there: socketioxide keeps such a namespace, and does not tell when it is used again.
    fn sweep(&self) {
        for node in self.nodes().into_iter().filter(|node| node.fleeting.load(Relaxed)) {
            if node.local.is_empty() {
                node.resting.store(true, Relaxed);
                self.leave(&node);
                self.resting.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&node));
            }
        }
        let mut awake = Vec::new();
        self.resting.lock().unwrap_or_else(PoisonError::into_inner).retain(|node| {
            let Some(node) = node.upgrade() else { return false };
            let rests = node.resting.load(Relaxed) && node.local.is_empty();
            if !rests {
                awake.push(node);
            }
            rests
        });
        awake.iter().for_each(|node| self.enter(node));
    }

    /// One for each namespace.
    fn nodes(&self) -> Vec<Arc<Node>> {
        let wanted = self.wanted.read().unwrap_or_else(PoisonError::into_inner);
        let roll_calls =
            wanted.iter().filter(|(subscription, node)| subscription.name == node.dialect.roll_call());
        roll_calls.map(|(_, node)| node.clone()).collect()
    }

    fn current(&self) -> Option<Connection> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn node(&self, namespace: &str) -> Option<Arc<Node>> {
        let wanted = self.wanted.read().unwrap_or_else(PoisonError::into_inner);
        wanted.values().find(|node| node.local.namespace() == namespace).cloned()
    }

    fn wanted(&self) -> HashMap<Subscription, Arc<Node>> {
        self.wanted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn node_of(&self, kind: Wanted, name: &str) -> Option<Arc<Node>> {
        let wanted = self.wanted.read().unwrap_or_else(PoisonError::into_inner);
        wanted.get(&Subscription { kind, name: name.to_owned() }).cloned()
    }

    /// The subscribers of a channel, on all of a cluster's nodes.
    pub(crate) async fn count(&self, channel: &str) -> Result<usize, Error> {
        let mut connection = self.current().ok_or(Error::Disconnected)?;
        let sharded = self.options.mode == Mode::Sharded;
        match timeout(self.options.command_timeout, connection.count(sharded, channel)).await {
            Ok(count) => Ok(count?),
            Err(_) => Err(Error::Stalled),
        }
    }

    /// Remembers how many nodes there are, for the time after an outage.
    async fn call_roll(&self) {
        for node in self.nodes().into_iter().take(ROLLS_MAX) {
            let Ok(count) = self.count(node.dialect.roll_call()).await else { return };
            node.seen.store(count, Relaxed);
        }
    }

    /// Whether at least as many nodes are subscribed as were before.
    async fn is_complete(&self) -> bool {
        for node in self.nodes().into_iter().take(ROLLS_MAX) {
            let seen = node.seen.load(Relaxed);
            if !*node.subscribed.borrow()
                || self.count(node.dialect.roll_call()).await.is_ok_and(|count| count < seen)
            {
                return false;
            }
        }
        true
    }

    fn set_current(&self, connection: Option<Connection>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }
}

/// Namespaces whose nodes are counted. They come back in all of them at about the same time.
const ROLLS_MAX: usize = 8;

/// When the subscriber's connection last gave a sign of life.
struct Life {
    start: Instant,
    last_us: AtomicU64,
}

impl Life {
    fn new() -> Self {
        Self { start: Instant::now(), last_us: AtomicU64::new(0) }
    }

    fn sign(&self) {
        let us = u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_us.fetch_max(us, Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_micros(self.last_us.load(Relaxed))
    }
}

/// Waits for Redis as long as its TCP lives, within [`Options::stall_max`](crate::Options::stall_max), and tells if it
/// takes long. What was dropped meanwhile is told as well.
async fn patiently<T>(
    shared: &Shared,
    side: Side,
    answer: impl Future<Output = RedisResult<T>>,
) -> Result<T, String> {
    let asked = Instant::now();
    let mut tick = interval_at(asked + shared.options.probe_interval, shared.options.probe_interval);
    let (mut answer, mut stalled) = (pin!(answer), false);
    let give_up = sleep_until(asked + shared.options.stall_max);
    let mut give_up = pin!(give_up);
    loop {
        tokio::select! {
            answer = &mut answer => {
                if stalled {
                    shared.counters.tell(&Event::Resumed { side, duration: asked.elapsed() });
                }
                return answer.map_err(|error| error.to_string());
            }
            () = &mut give_up => return Err(format!("Redis was silent for {:?}", shared.options.stall_max)),
            _ = tick.tick() => {
                if !stalled {
                    shared.counters.tell(&Event::Stalled(side));
                }
                stalled = true;
                shared.counters.tell_drops();
                if shared.connector.has_moved(side).await {
                    return Err("Redis was silent, and the Sentinels have another master".to_owned());
                }
            }
        }
    }
}

/// Logs in anew if there is something else to log in with.
async fn keep_logged_in(
    shared: &Shared,
    side: Side,
    connection: &mut Connection,
    used: &mut Option<Credentials>,
) -> Result<(), String> {
    let now = shared.connector.credentials();
    let Some(new) = now.as_ref().filter(|_| now != *used) else { return Ok(()) };
    patiently(shared, side, connection.log_in(new)).await?;
    *used = now;
    Ok(())
}

/// The tasks. They end when this is dropped.
pub(crate) struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// Starts the tasks, and waits until both sides have tried once or
/// [`Options::startup_wait`](crate::Options::startup_wait) is over.
pub(crate) async fn start(connector: Connector, options: Options) -> RedisResult<(Arc<Shared>, Tasks)> {
    let (queue, waiting) = Queue::new(options.publish_queue_max, options.publish_bytes_max);
    let counters = Counters::new(options.on_event.clone());
    let startup_wait = options.startup_wait;
    let backlog = Budget::new(options.client_backlog_max);
    let streams: Vec<_> = match options.mode {
        Mode::Streams => crate::streams::streams(&options),
        Mode::Classic | Mode::Sharded => Vec::new(),
    };
    let streams: Vec<_> = streams.into_iter().map(|name| Arc::new(Reading::new(name))).collect();
    let shared = Arc::new(Shared {
        options,
        counters,
        queue,
        echoes: Echoes::default(),
        backlog,
        runtime: Handle::current(),
        connector: connector.clone(),
        life: Life::new(),
        streams: streams.clone(),
        hooks: Hooks::default(),
        wanted: RwLock::default(),
        wanted_changed: Notify::new(),
        resting: Mutex::default(),
        current: Mutex::default(),
    });
    let tried = [Arc::new(Notify::new()), Arc::new(Notify::new())];
    let mut handles: Vec<JoinHandle<()>> = streams
        .into_iter()
        .map(|reading| tokio::spawn(streams::keep(shared.clone(), connector.clone(), reading)))
        .collect();
    handles.push(tokio::spawn(publisher::keep(shared.clone(), connector.clone(), waiting, tried[0].clone())));
    handles.push(tokio::spawn(subscriber::keep(shared.clone(), connector, tried[1].clone())));
    let tasks = Tasks(handles.iter().map(JoinHandle::abort_handle).collect());
    let both = async {
        tried[0].notified().await;
        tried[1].notified().await;
    };
    if tokio::time::timeout(startup_wait, both).await.is_err() {
        tracing::warn!("Redis has not answered yet, going on without it");
    }
    Ok((shared, tasks))
}
