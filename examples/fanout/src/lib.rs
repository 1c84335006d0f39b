//! Fan-out between Socket.IO nodes: what one node emits to a room is heard by the room's members on every node.
//!
//! [`RedisAdapter`] is an adapter for [socketioxide](https://docs.rs/socketioxide) that speaks the wire protocol of
//! `@socket.io/redis-adapter` 8.x, `@socket.io/redis-streams-adapter` 0.3 and `@socket.io/redis-emitter` 5.x. Rust nodes, Node.js nodes and emitters share one
//! fleet and one Redis, so that a fleet can be moved from one language to the other a node at a time.
//!
//! ```no_run
//! use fanout::{Fanout, Options, RedisAdapter};
//! use socketioxide::{SocketIo, adapter::Emitter, extract::{Data, SocketRef}};
//!
//! type Adapter = RedisAdapter<Emitter>;
//!
//! # async fn example() -> Result<(), fanout::ConfigError> {
//! let fleet: Fanout = fanout::connect("redis://127.0.0.1:6379", Options::default()).await?;
//! let (layer, io) = fleet.build_layer(SocketIo::builder());
//! io.ns("/", async |socket: SocketRef<Adapter>| {
//!     socket.join("GROUP_A");
//!     socket.on("say", async |socket: SocketRef<Adapter>, Data::<String>(text)| {
//!         // To the room's other members, on this node and on all others.
//!         let _ = socket.to("GROUP_A").emit("said", &text).await;
//!     });
//! })
//! .await;
//! # let _ = layer;
//! # Ok(())
//! # }
//! ```
//!
//! # What crosses
//!
//! Broadcasts to everyone, to rooms and with `except`, volatile or not, with binary attachments at any depth, with and
//! without acknowledgements; `join`, `leave`, `disconnect`, `rooms` and `fetch_sockets` on any selection of sockets. All
//! requests of Node.js nodes are answered, those of adapters before version 6 included, so that no call there runs into its
//! timeout because a Rust node is in the fleet. For what socketioxide's interface has no room for there is [`Fanout::of`]:
//!
//! | in Node.js | here |
//! |---|---|
//! | `io.fetchSockets()` | [`Namespace::fetch_sockets`], with Node.js sockets; `io.fetch_sockets()` returns those of Rust nodes |
//! | `io.of("/").adapter.allRooms()` | [`Namespace::all_rooms`], or `io.rooms()` |
//! | `io.serverSideEmit(…)` | [`Namespace::server_side_emit`], [`Namespace::server_side_emit_with_ack`] |
//! | `io.on(event, …)` for it | [`Fanout::on_server_side_emit`] |
//! | `socket.handshake`, `socket.data` of a remote socket | [`Fanout::build_layer`] tells other nodes about ours, with [`Details`] |
//!
//! # Where Node.js and socketioxide differ
//!
//! - socketioxide's ids have 16 characters and those of Node.js 20, which is why its `RemoteSocket` cannot name a Node.js
//!   socket. [`RemoteSocket`] can.
//! - In Node.js every socket is in the room of its own id. Here it is so for whoever addresses it, and joins
//!   that room by itself the first time that someone does.
//! - Acknowledgements of other nodes' clients do not say whose they are: they come with the id `Sid::ZERO`.
//! - `disconnectSockets(true)` closes the connection of a Node.js socket, but only leaves the namespace here.
//! - socketioxide gives an adapter the ids and rooms of its sockets and nothing else of them (`RemoteSocketData` is all that its
//!   `CoreLocalAdapter` hands out). What other nodes hear of handshake and data therefore comes from [`Fanout::build_layer`], which has
//!   the app; with `with_adapter` alone it is empty.
//! - Rooms that are numbers in Node.js are the text that JavaScript prints for them here. Other values that are no text,
//!   `undefined` above all, name no room: they select nobody and except nobody, as in Node.js.
//! - Events of socketioxide's MessagePack parser have no form that the others could read, and stay on their node.
//! - An event that is nested deeper than 127 levels stays on its node and is counted as [`DropReason::Refused`]. Node.js has
//!   no such bound but its stack.
//! - Namespaces that clients make (`io.dyn_ns`) give up their subscriptions while nobody is in them. socketioxide does not
//!   tell when somebody is there again, so that a client which joins no room may miss what others say in its first
//!   [`Options::probe_interval`].
//! - Two faults are upstream's, and tests here show them: engineioxide 0.17.9 leaves the packet type out of binary answers to
//!   polls of Engine.IO 3 (`bAAEC` for `b4AAEC`), and socketioxide sends `Bytes` inside an `Option` as an array of numbers.
//! - Half a surrogate pair (an emoji that was cut in two) is U+FFFD where this crate has to read the text, and a room's name with one
//!   names no room here.
//! - Node.js nodes must use the adapter's own parser, notepack.io, which is its default.
//!
//! # When Redis is away
//!
//! Local delivery never waits for Redis. Each node holds one connection to publish and one to receive:
//!
//! - Emitting delivers locally and then puts the message into a bounded queue ([`Options::publish_queue_max`],
//!   [`Options::publish_bytes_max`]). While that is full and Redis is there an emit waits for room, for
//!   [`Options::emit_wait_max`], and fails after that. What cannot be queued or is not confirmed by Redis is
//!   dropped and counted, by [`DropReason`].
//! - What is said while Redis is away, for a restart or a failover, is held in that queue for [`Options::hold_max`], and
//!   leaves when the other nodes have subscribed again. What exceeds the queue or the time is dropped and counted: a node
//!   grows by [`Options::publish_bytes_max`] and [`Options::client_backlog_max`] at most, however long it lasts. What was
//!   on its way when the connection ended, and has not come back to this node's own subscription, is sent again.
//! - A Redis that stalls is waited for: a connection whose TCP lives is not ended before [`Options::stall_max`], what is
//!   said meanwhile is queued, and nothing is lost. [`Event::Stalled`] tells.
//! - Lost connections are replaced after a pause that grows to [`Options::retry_max`], with jitter. A subscription
//!   that was lost is a gap: opened, closed and measured, from the last sign of life of Redis.
//! - A node that reads more slowly than the fleet writes is cut off by Redis (`client-output-buffer-limit pubsub`), which is a
//!   gap as well. Rust nodes hold back for it before that happens, for [`Options::slow_wait_max`] at most.
//! - [`Fanout::stats`] has the counters ([`Stats::prometheus`] as text), [`Options::on_event`] is told of every change, and so is the log (`tracing`).
//! - Questions (`fetch_sockets`, `rooms`, `server_count`) fail with [`Error::Disconnected`]; what is local can
//!   be had with `io.local()`.
//!
//! # Clients that are slower than the events
//!
//! socketioxide keeps 128 packets for each client and refuses the next one. With this adapter what a burst brings beyond
//! them waits in a line of the client's own ([`Options::client_backlog_max`]), broadcasts of this node and of others, with and
//! without acknowledgements, in their order. What does not fit is counted in [`Stats::clients_missed`]. Events that the app
//! emits to one of its own sockets directly do not pass the adapter: they may overtake a line, and fail if the queue is full.
//!
//! # More than one Redis can carry
//!
//! [`Mode::Sharded`] is `createShardedAdapter` in its `static` mode, for a Redis Cluster ([`connect_cluster`]) or a single
//! Redis 7. All nodes of a fleet must be in the same mode, and Node.js nodes must set `subscriptionMode: "static"`: in the
//! other modes they publish to channels per room, and socketioxide does not tell its adapter when rooms come and go.
//! The default there is `"dynamic"`: such a node is heard when it speaks to everyone or to several rooms and when it asks, but
//! not when it emits to one room, or to one socket of a Rust node. Nodes that do not match work, each on its own, without an error; this crate looks for
//! them and tells ([`Event::ModesDiffer`]).
//!
//! | these nodes | and those | set |
//! |---|---|---|
//! | `createAdapter` | [`Mode::Classic`] | nothing: it is the default of both |
//! | `createShardedAdapter` | [`Mode::Sharded`] | `subscriptionMode: "static"` there |
//! | `createAdapter` | `createShardedAdapter`, or [`Mode::Sharded`] | one or the other, on all nodes; never both on one prefix |
//! | `createAdapter` of redis-streams-adapter | [`Mode::Streams`] | the same [`Options::stream_name`] and [`Options::stream_count`] |
//!
//! # Streams
//!
//! [`Mode::Streams`] is `@socket.io/redis-streams-adapter` 0.3. Broadcasts, joins, leaves and disconnects go through a stream
//! that Redis keeps, so that a node whose connection is cut misses nothing: it reads on, as long as the stream still has what
//! follows ([`Options::stream_length_max`]). If it has not, or Redis came back empty, that is a gap. Questions and broadcasts with
//! acknowledgements are published, and miss who is not there.
//!
//! Node.js nodes with `connectionStateRecovery` keep it: a client that comes back to one of them is told what it missed, what Rust
//! nodes said included. **A Rust node recovers nobody**, since socketioxide cannot: a client that comes back to it has another id, no rooms, and
//! `recovered` is false, as after any longer outage. Node.js nodes append to each event its place in the stream, which their
//! clients see as one more argument; clients of Rust nodes do not.
//!
//! - Versions 0.2 and 0.3 of the adapter do not understand each other, and this crate speaks 0.3. Without `useShardedPubSub`.
//! - With `streamCount`, Node.js hashes a namespace to a number that may be negative, and nobody, in either language, reads such a stream.
//! - It needs a real Redis 5 or later: the embedded broker has no streams.
//!
//! # Which servers
//!
//! | | |
//! |---|---|
//! | Redis 6 and 7 | [`connect`]. Tested with 7.0 |
//! | Redis Sentinel | [`connect_sentinel`]. A failover is a gap, which ends when the Sentinels agree on another master; one that only hangs is left for it. Tested with a failover that is ordered and with a master that dies |
//! | Redis Cluster | [`connect_cluster`]. Tested with a master that restarts, with resharding, and with a replica that takes over |
//! | Redis 5 and older, and proxies that know no `HELLO` | [`connect`] falls back to RESP2, for [`Mode::Classic`] and without TLS |
//! | Redis 8, Valkey | speak the same protocol; not tested here |
//! | TLS, certificates of clients, passwords that change | [`Options::tls_roots_pem`], [`Options::tls_client`], [`Options::credentials`] |
//!
//! # With nothing installed
//!
//! `tidelock-broker`, a crate beside this one, is a small stand-in for Redis on one host, in memory. Nodes in both
//! languages use it unchanged.

// What an app holds.
mod adapter;
mod describe;
mod error;
mod fanout;
mod hooks;
mod metrics;
mod options;
mod stats;

// One namespace on this node.
mod acks;
mod backlog;
mod burst;
mod delivery;
mod local;
mod node;
mod pending;

// What nodes say to each other.
mod classic;
mod dialect;
mod halves;
mod message;
mod msgpack;
mod payload;
mod sharded;
mod streams;
mod timestamp;

// How it gets there.
mod link;

#[doc(hidden)]
pub mod bench;

/// Keeps the README's code working.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub use crate::{
    acks::AckStream,
    adapter::{RedisAdapter, Started},
    describe::Details,
    error::{ConfigError, Error},
    fanout::{Fanout, Namespace, connect, connect_cluster, connect_sentinel},
    hooks::{Description, Responder, ServerSideEmit},
    message::{RemoteSocket, Target},
    options::{ClientCertificate, Credentials, Mode, OnCredentials, OnEvent, Options},
    stats::{DropReason, Event, OtherMode, Side, Stats},
};
