//! One namespace on this node: answers what other nodes ask, and asks them.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::Value as Json;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    dialect::Dialect,
    error::{Error, Malformed},
    hooks::{Responder, ServerSideEmit},
    link::Shared,
    local::Local,
    message::{Answer, Ask, Incoming, Outgoing, RemoteSocket, Request, Target},
    payload::Payload,
    pending::{Pending, Ticket},
    stats::DropReason,
    streams::Read,
};

/// How long this node waits for its clients because another one asks it to, whatever that one says.
const ACKS_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) struct Node {
    pub(crate) dialect: Dialect,
    pub(crate) local: Arc<dyn Local>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) pending: Arc<Pending>,
    /// Whether all subscriptions are confirmed.
    pub(crate) subscribed: watch::Sender<bool>,
    /// How many nodes were last seen to be, with this one.
    pub(crate) seen: AtomicUsize,
    forwards: Mutex<JoinSet<()>>,
    /// Made because a client asked for it, not by the app.
    pub(crate) fleeting: AtomicBool,
    /// Of that kind, and let go since nobody was in it.
    pub(crate) resting: AtomicBool,
    /// What was last seen of nodes in another mode, and what was told: 0 or the mode's number and one.
    pub(crate) other_mode: AtomicU8,
    pub(crate) other_mode_told: AtomicU8,
}

impl Node {
    pub(crate) fn new(shared: Arc<Shared>, local: Arc<dyn Local>) -> Self {
        Self {
            dialect: Dialect::new(&shared.options, local.namespace()),
            pending: Arc::new(Pending::new(shared.options.requests_max)),
            local,
            shared,
            subscribed: watch::Sender::new(false),
            seen: AtomicUsize::new(0),
            forwards: Mutex::default(),
            fleeting: AtomicBool::new(false),
            resting: AtomicBool::new(false),
            other_mode: AtomicU8::new(0),
            other_mode_told: AtomicU8::new(0),
        }
    }

    /// Runs on the connection's own task: a slow node stops reading, Redis' buffer fills, and Redis ends
    /// the connection, which is counted as a gap. Nothing in between grows.
    pub(crate) fn receive(self: &Arc<Self>, channel: &str, body: &Bytes) {
        let decoded = self.dialect.decode(channel, body, |room| self.local.has_room(room));
        // Our own is for nobody here, and neither is what is said to rooms that are elsewhere.
        if matches!(decoded, Ok(None)) && self.shared.echoes.are_wanted() && self.is_own(body) {
            self.shared.echoes.hear(body);
        }
        self.take(channel, decoded);
    }

    /// Whether it carries this node's name, which no other message does.
    fn is_own(&self, body: &[u8]) -> bool {
        memchr::memmem::find(body, self.dialect.uid().as_bytes()).is_some()
    }

    /// As [`Self::receive`], from a stream.
    pub(crate) fn receive_entry(self: &Arc<Self>, entry: Read) {
        self.take("stream", self.dialect.decode_entry(entry));
    }

    fn take(self: &Arc<Self>, channel: &str, decoded: Result<Option<Incoming>, Malformed>) {
        self.shared.counters.received.fetch_add(1, Relaxed);
        match decoded {
            Ok(Some(Incoming::Request(ask, request))) => self.act(ask, request),
            Ok(Some(Incoming::Answer { id, answer })) => {
                self.pending.resolve(&id, answer, &self.shared.counters.acks_dropped);
            }
            Ok(None) => {}
            Err(error) => {
                self.shared.counters.malformed.fetch_add(1, Relaxed);
                tracing::debug!(channel, %error, "ignored a message from another node");
            }
        }
    }

    fn act(self: &Arc<Self>, ask: Ask, request: Request) {
        match request {
            Request::Broadcast { payload, target, flags } => self.local.broadcast(payload, &target, flags),
            Request::BroadcastWithAck { payload, target, flags } => {
                let wait = flags.timeout_ms.map_or_else(|| self.local.ack_timeout(), Duration::from_millis);
                let wait = wait.min(ACKS_WAIT_MAX);
                self.forward_acks(ask, payload, &target, wait);
            }
            Request::Join { target, rooms } => self.once(&ask, &target, |local| local.join(&target, rooms)),
            Request::Leave { target, rooms } => self.once(&ask, &target, |local| local.leave(&target, rooms)),
            // Node.js closes the transport as well if `close` is set; socketioxide offers no way to.
            Request::Disconnect { target, close: _ } => {
                self.once(&ask, &target, |local| local.disconnect(&target));
            }
            Request::SocketIds { target } => {
                let ids = self.local.sids(&target).iter().map(ToString::to_string).collect();
                self.answer(&ask, &Answer::SocketIds(ids));
            }
            Request::Rooms => self.answer(&ask, &Answer::Rooms(self.local.rooms(&Target::everyone()))),
            Request::Sockets { target } => self.answer(&ask, &Answer::Sockets(self.local_sockets(&target))),
            Request::ServerSideEmit { arguments } => self.hand_over(ask, arguments),
        }
    }

    /// Adapters older than 6 name one socket and await an answer from the node that has it.
    fn once(&self, ask: &Ask, target: &Target, act: impl FnOnce(&dyn Local)) {
        let owes_answer = ask.id.is_some() && !self.local.sids(target).is_empty();
        act(&*self.local);
        if owes_answer {
            self.answer(ask, &Answer::Done);
        }
    }

    pub(crate) fn local_sockets(&self, target: &Target) -> Vec<RemoteSocket> {
        let describe = |sid| {
            let about = self.shared.hooks.describe(self.local.namespace(), sid);
            let rooms = self.local.rooms_of(sid);
            RemoteSocket { id: sid.to_string(), handshake: about.handshake, rooms, data: about.data }
        };
        self.local.sids(target).into_iter().map(describe).collect()
    }

    /// The count first, then each acknowledgement as it comes.
    fn forward_acks(self: &Arc<Self>, ask: Ask, payload: Payload, target: &Target, wait: Duration) {
        // Whatever becomes of the acknowledgements, the clients hear the event.
        let (mut acks, count) = self.local.broadcast_with_ack(payload, target, wait);
        let mut forwards = self.forwards.lock().unwrap_or_else(PoisonError::into_inner);
        while forwards.try_join_next().is_some() {}
        if forwards.len() >= self.shared.options.forwards_max {
            self.shared.counters.acks_dropped.fetch_add(u64::from(count), Relaxed);
            return self.answer(&ask, &Answer::ClientCount(0));
        }
        self.answer(&ask, &Answer::ClientCount(count));
        if count == 0 {
            return;
        }
        let node = Arc::downgrade(self);
        forwards.spawn(async move {
            while let Some(ack) = acks.next().await {
                let Some(node) = node.upgrade() else { return };
                if let Some(arguments) = ack {
                    node.answer(&ask, &Answer::ClientAck(arguments));
                }
            }
        });
    }

    fn hand_over(self: &Arc<Self>, ask: Ask, mut arguments: Vec<Json>) {
        if arguments.is_empty() {
            return;
        }
        let Json::String(event) = arguments.remove(0) else { return };
        // Answers null when dropped, so that the asking node never waits for a node without a listener.
        let responder = ask.id.is_some().then(|| Responder::new(Arc::downgrade(self), ask));
        let namespace = self.local.namespace().to_owned();
        self.shared.hooks.server_side_emit(ServerSideEmit { namespace, event, arguments, responder });
    }

    pub(crate) fn answer(&self, ask: &Ask, answer: &Answer) {
        if ask.id.is_some()
            && let Some(outgoing) = self.encoded(self.dialect.encode_answer(ask, answer))
        {
            let _ = self.shared.queue.offer(outgoing, &self.shared.counters);
        }
    }

    /// Never waits: what cannot be queued is dropped and counted.
    pub(crate) fn tell_now(&self, request: &Request) {
        if let Some(outgoing) = self.encoded(self.dialect.encode(None, request)) {
            let _ = self.shared.queue.offer(outgoing, &self.shared.counters);
        }
    }

    /// Waits for room in the queue to Redis, as long as an emit may. What cannot be queued is dropped and counted.
    pub(crate) async fn tell(&self, request: &Request) -> Result<(), DropReason> {
        self.send(self.dialect.encode(None, request)).await
    }

    async fn send(&self, encoded: Result<Outgoing, Malformed>) -> Result<(), DropReason> {
        let outgoing = self.encoded(encoded).ok_or(DropReason::Refused)?;
        self.shared.queue.send(outgoing, self.shared.options.emit_wait_max, &self.shared.counters).await
    }

    fn encoded(&self, encoded: Result<Outgoing, Malformed>) -> Option<Outgoing> {
        // Told with the other drops, since a client may send as many such messages as it likes.
        if let Err(error) = &encoded {
            tracing::debug!(namespace = self.local.namespace(), %error, "a message has no form on the wire");
            self.shared.counters.drop_messages(DropReason::Refused, 1);
        }
        encoded.ok()
    }

    /// How many nodes besides this one are subscribed.
    pub(crate) async fn others(&self) -> Result<usize, Error> {
        if !*self.subscribed.borrow() {
            return Err(Error::Disconnected);
        }
        let count = self.shared.count(self.dialect.roll_call()).await?;
        self.seen.store(count, Relaxed);
        Ok(count.saturating_sub(1))
    }

    /// Asks all other nodes and waits for an answer of each.
    pub(crate) async fn ask(&self, request: Request) -> Result<Vec<Answer>, Error> {
        let expected = self.others().await?;
        if expected == 0 {
            return Ok(Vec::new());
        }
        let (ticket, all) = self.pending.answers(expected)?;
        self.send_asking(&ticket, &request).await?;
        match timeout(self.shared.options.request_timeout, all).await {
            Ok(Ok(answers)) => Ok(answers),
            Ok(Err(_)) => Err(Error::Disconnected),
            Err(_) => Err(Error::TimedOut { answered: ticket.answered(), expected }),
        }
    }

    pub(crate) async fn send_asking(&self, ticket: &Ticket, request: &Request) -> Result<(), Error> {
        match self.send(self.dialect.encode(Some(&ticket.id), request)).await {
            Ok(()) => Ok(()),
            Err(DropReason::QueueFull) => Err(Error::QueueFull),
            Err(_) => Err(Error::Disconnected),
        }
    }

    /// The other nodes' sockets.
    pub(crate) async fn remote_sockets(&self, target: Target) -> Result<Vec<RemoteSocket>, Error> {
        let answers = self.ask(Request::Sockets { target }).await?;
        let sockets = answers.into_iter().filter_map(|answer| match answer {
            Answer::Sockets(sockets) => Some(sockets),
            _ => None,
        });
        Ok(sockets.flatten().collect())
    }

    /// The rooms that the other nodes' sockets are in.
    pub(crate) async fn remote_rooms(&self, target: Target) -> Result<Vec<String>, Error> {
        // Only the classic dialect can ask for rooms, and only for all of them.
        if target != Target::everyone() || !matches!(self.dialect, Dialect::Classic(_)) {
            let sockets = self.remote_sockets(target).await?;
            return Ok(sockets.into_iter().flat_map(|socket| socket.rooms).collect());
        }
        let answers = self.ask(Request::Rooms).await?;
        let rooms = answers.into_iter().filter_map(|answer| match answer {
            Answer::Rooms(rooms) => Some(rooms),
            _ => None,
        });
        Ok(rooms.flatten().collect())
    }
}
