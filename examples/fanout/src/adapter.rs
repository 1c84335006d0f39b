//! The adapter that socketioxide drives: local first, then the other nodes.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    future::Future,
    pin::Pin,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use socketioxide_core::{
    Sid, Uid,
    adapter::{
        BroadcastFlags, BroadcastOptions, CoreAdapter, CoreLocalAdapter, DefinedAdapter, RemoteSocketData,
        Room, RoomParam, SocketEmitter, Spawnable,
        errors::{AdapterError, BroadcastError, SocketError},
    },
    packet::{Packet, PacketData},
};

use crate::{
    acks::AckStream,
    delivery::Delivery,
    error::Error,
    fanout::Fanout,
    local,
    message::{Flags, Request, Rooms, Target},
    node::Node,
    payload::Payload,
    stats::DropReason,
};

/// A socketioxide adapter that shares rooms with every node of the fleet, in Rust or in Node.js.
///
/// One is made for each namespace; [`Fanout`] is what they share. See the [crate documentation](crate) for
/// what socketioxide's own methods do across nodes.
pub struct RedisAdapter<E: SocketEmitter> {
    local: Arc<Delivery<E>>,
    node: Arc<Node>,
    fanout: Fanout,
}

impl<E: SocketEmitter> RedisAdapter<E> {
    /// Acts on this node's sockets, then has the other nodes do the same unless only this one is meant.
    async fn here_and_there<T>(
        &self,
        options: BroadcastOptions,
        here: impl FnOnce(&Delivery<E>, BroadcastOptions) -> T,
        there: impl FnOnce(Target) -> Option<Request>,
    ) -> (T, Result<(), Error>) {
        let remote = self.remote_target(&options);
        self.enter_own_rooms(&options);
        let done = here(&self.local, options);
        let told = match remote.and_then(there) {
            Some(request) => self.node.tell(&request).await,
            None => Ok(()),
        };
        match told {
            Err(DropReason::QueueFull) => (done, Err(Error::QueueFull)),
            _ => (done, Ok(())),
        }
    }

    /// What `options` mean on the other nodes; `None` if they mean no one there.
    fn remote_target(&self, options: &BroadcastOptions) -> Option<Target> {
        if options.is_local(self.local.core.server_id()) {
            return None;
        }
        let mut target = Target::everyone();
        options.rooms.iter().for_each(|room| target.rooms.push(room.clone().into_owned()));
        target.except.extend(options.except.iter().map(|room| room.clone().into_owned()));
        match options.sid {
            Some(sender) if options.has_flag(BroadcastFlags::Broadcast) => {
                target.except.push(sender.to_string());
            }
            // One socket, on whichever node it is: every socket is the room of its id.
            Some(sid) if target.rooms == Rooms::All => {
                if local::is_connected(&self.local.core, sid) {
                    return None;
                }
                target.rooms.push(sid.to_string());
            }
            None if target.rooms == Rooms::All && !options.has_flag(BroadcastFlags::Broadcast) => {
                return None;
            }
            _ => {}
        }
        Some(target)
    }

    /// Lets the local adapter see the rooms of socket ids that `options` name.
    fn enter_own_rooms(&self, options: &BroadcastOptions) {
        for room in options.rooms.iter().chain(&options.except) {
            local::enter_own_room(&self.local.core, room);
        }
    }
}

impl<E: SocketEmitter> CoreAdapter<E> for RedisAdapter<E> {
    type Error = Error;
    type State = Fanout;
    type AckStream = AckStream<E>;
    type InitRes = Started;

    fn new(state: &Fanout, local: CoreLocalAdapter<E>) -> Self {
        let local = Delivery::new(local, state.shared.clone());
        let node = Arc::new(Node::new(state.shared.clone(), local.clone()));
        Self { local, node, fanout: state.clone() }
    }

    fn init(self: Arc<Self>, on_success: impl FnOnce() + Send + 'static) -> Started {
        let node = self.node.clone();
        let starting = Box::pin(async move {
            self.fanout.shared.enter(&self.node);
            // Clients are let in when the subscription is confirmed, or when Redis has had its chance.
            let mut subscribed = self.node.subscribed.subscribe();
            let confirmed = subscribed.wait_for(|subscribed| *subscribed);
            if tokio::time::timeout(self.fanout.shared.options.startup_wait, confirmed).await.is_err() {
                tracing::warn!(
                    namespace = &**self.local.core.path(),
                    "serving without the other nodes for now"
                );
            }
            on_success();
        });
        Started { starting, node }
    }

    async fn close(&self) -> Result<(), Error> {
        self.fanout.shared.leave(&self.node);
        self.fanout.shared.let_go();
        self.local.core.close();
        Ok(())
    }

    async fn server_count(&self) -> Result<u16, Error> {
        Ok(u16::try_from(self.node.others().await? + 1).unwrap_or(u16::MAX))
    }

    async fn broadcast(&self, packet: Packet, options: BroadcastOptions) -> Result<(), BroadcastError> {
        let flags = Flags { volatile: options.has_flag(BroadcastFlags::Volatile), timeout_ms: None };
        let sent = self.here_and_there(
            options,
            |local, options| local.event(&packet, options),
            |target| event(&packet).map(|payload| Request::Broadcast { payload, target, flags }),
        );
        match sent.await {
            (0, told) => Ok(told.map_err(AdapterError::from)?),
            (missed, _) => Err(BroadcastError::Socket(vec![SocketError::InternalChannelFull; missed])),
        }
    }

    async fn broadcast_with_ack(
        &self,
        packet: Packet,
        options: BroadcastOptions,
        timeout: Option<Duration>,
    ) -> Result<AckStream<E>, Error> {
        let timeout = timeout.unwrap_or_else(|| self.local.core.ack_timeout());
        let remote = self.remote_target(&options).zip(event(&packet));
        self.enter_own_rooms(&options);
        let (local, _) = self.local.ask(&packet, options, timeout);
        let Some((target, payload)) = remote else { return Ok(AckStream::local(local)) };

        let flags = Flags { volatile: false, timeout_ms: u64::try_from(timeout.as_millis()).ok() };
        let Ok((ticket, acks)) = self.node.pending.acks(self.fanout.shared.options.acks_max) else {
            // Too many wait already. The others' clients hear the event all the same, and nobody waits for them.
            let _ = self.node.tell(&Request::Broadcast { payload, target, flags: Flags::default() }).await;
            return Ok(AckStream::unasked(local, self.node.others().await.unwrap_or(1)));
        };
        let request = Request::BroadcastWithAck { payload, target, flags };
        // Local clients have the event by now. If no other node can be asked, theirs are all the
        // acknowledgements there will be; the loss is counted where it happened.
        match (self.node.send_asking(&ticket, &request).await, self.node.others().await) {
            (Ok(()), Ok(nodes)) if nodes > 0 => {
                Ok(AckStream::with_remote(local, ticket, acks, nodes, timeout))
            }
            (Err(Error::QueueFull), Ok(nodes)) => Ok(AckStream::unasked(local, nodes)),
            (_, Err(Error::Stalled)) => Ok(AckStream::unasked(local, 1)),
            _ => Ok(AckStream::local(local)),
        }
    }

    async fn add_sockets(&self, options: BroadcastOptions, rooms: impl RoomParam) -> Result<(), Error> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        let names = owned(&rooms);
        self.here_and_there(
            options,
            |local, options| local.core.add_sockets(options, rooms),
            |target| Some(Request::Join { target, rooms: names }),
        )
        .await
        .1
    }

    async fn del_sockets(&self, options: BroadcastOptions, rooms: impl RoomParam) -> Result<(), Error> {
        let rooms: Vec<Room> = rooms.into_room_iter().collect();
        let names = owned(&rooms);
        self.here_and_there(
            options,
            |local, options| local.core.del_sockets(options, rooms),
            |target| Some(Request::Leave { target, rooms: names }),
        )
        .await
        .1
    }

    async fn disconnect_socket(&self, options: BroadcastOptions) -> Result<(), BroadcastError> {
        self.here_and_there(
            options,
            |local, options| local.disconnect(options),
            |target| Some(Request::Disconnect { target, close: false }),
        )
        .await
        .1
        .map_err(|error| AdapterError::from(error).into())
    }

    /// The rooms of the matching sockets on all nodes, those of their own ids included.
    async fn rooms(&self, options: BroadcastOptions) -> Result<Vec<Room>, Error> {
        self.enter_own_rooms(&options);
        let target = self.remote_target(&options);
        let mut rooms: HashSet<Room> = self.local.core.rooms(options.clone());
        rooms.extend(self.local.core.sockets(options).into_iter().map(|sid| Cow::Owned(sid.to_string())));
        if let Some(target) = target {
            rooms.extend(self.node.remote_rooms(target).await?.into_iter().map(Cow::Owned));
        }
        Ok(rooms.into_iter().collect())
    }

    /// The matching sockets of all Rust nodes: socketioxide's type cannot hold the id of a Node.js socket.
    /// [`Namespace::fetch_sockets`](crate::Namespace::fetch_sockets) has all of them.
    async fn fetch_sockets(&self, options: BroadcastOptions) -> Result<Vec<RemoteSocketData>, Error> {
        self.enter_own_rooms(&options);
        let target = self.remote_target(&options);
        let mut sockets = self.local.core.fetch_sockets(options);
        if let Some(target) = target {
            let remote = self.node.remote_sockets(target).await?;
            // No node's id is known here; it is not needed either, since one socket is always reached by its room.
            sockets.extend(
                remote.iter().filter_map(|socket| Sid::from_str(&socket.id).ok()).map(|id| {
                    RemoteSocketData { id, server_id: Uid::ZERO, ns: self.local.core.path().clone() }
                }),
            );
        }
        Ok(sockets)
    }

    fn get_local(&self) -> &CoreLocalAdapter<E> {
        // A socket that joins or leaves a room comes by here.
        if self.node.resting.load(Relaxed) {
            self.fanout.shared.enter(&self.node);
        }
        &self.local.core
    }
}

impl<E: SocketEmitter> DefinedAdapter for RedisAdapter<E> {}

impl<E: SocketEmitter> Drop for RedisAdapter<E> {
    fn drop(&mut self) {
        self.fanout.shared.leave(&self.node);
    }
}

impl<E: SocketEmitter> fmt::Debug for RedisAdapter<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RedisAdapter")
            .field("namespace", self.local.core.path())
            .finish_non_exhaustive()
    }
}

/// The event in a packet, if other nodes can read it.
fn event(packet: &Packet) -> Option<Payload> {
    // Once, since it is true of every message.
    static TOLD: AtomicBool = AtomicBool::new(false);
    match &packet.inner {
        PacketData::Event(value, _) | PacketData::BinaryEvent(value, _) => {
            let payload = Payload::from_value(value.clone());
            if payload.is_none() && !TOLD.swap(true, Relaxed) {
                tracing::warn!("events of the MessagePack parser stay on this node; use the common parser");
            }
            payload
        }
        _ => None,
    }
}

fn owned(rooms: &[Room]) -> Vec<String> {
    rooms.iter().map(|room| room.clone().into_owned()).collect()
}

/// What `io.ns(…)` returns: await it. It is done when the namespace serves clients, which
/// [`Options::startup_wait`](crate::Options::startup_wait) bounds and Redis cannot prevent.
#[must_use = "a namespace serves no clients before this is awaited"]
pub struct Started {
    starting: Pin<Box<dyn Future<Output = ()> + Send>>,
    node: Arc<Node>,
}

impl Future for Started {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.starting.as_mut().poll(context)
    }
}

impl Spawnable for Started {
    fn spawn(self) {
        // socketioxide calls this for namespaces that clients open; it ends by itself within the startup wait.
        tokio::spawn(async move {
            let node = self.node.clone();
            self.await;
            // Not before the client is in, or it would be let go for being empty.
            node.fleeting.store(true, Relaxed);
        });
    }
}

impl fmt::Debug for Started {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Started")
    }
}
