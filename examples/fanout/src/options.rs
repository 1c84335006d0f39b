//! What an app may choose, with the bounds of every queue.

use std::{fmt, sync::Arc, time::Duration};

use crate::stats::Event;

/// A hook for metrics and alarms. See [`Options::on_event`].
pub type OnEvent = Arc<dyn Fn(&Event) + Send + Sync>;

/// Says with what to log in at this moment. See [`Options::credentials`].
pub type OnCredentials = Arc<dyn Fn() -> Credentials + Send + Sync>;

/// What a server of Redis is told with `AUTH`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The ACL user; `None` is `default`.
    pub username: Option<String>,
    /// Its password, or a token that takes its place.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// What this node shows to a Redis that asks for certificates of its clients (`tls-auth-clients yes`).
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, and those between it and the authority, in PEM.
    pub certificate_pem: Vec<u8>,
    /// Its private key, in PEM.
    pub key_pem: Vec<u8>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// How nodes talk through Redis. All nodes of a fleet must agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// `createAdapter` of `@socket.io/redis-adapter` 8.x, and `@socket.io/redis-emitter` 5.x.
    #[default]
    Classic,
    /// `createShardedAdapter(…, { subscriptionMode: "static" })`, on Redis 7 or a Redis Cluster.
    /// Nodes in its dynamic modes also publish on channels per room, which socketioxide cannot follow.
    Sharded,
    /// `createAdapter` of `@socket.io/redis-streams-adapter` 0.3, on one Redis or a Redis Cluster. Node.js nodes of the fleet
    /// keep their connection state recovery, and find there what Rust nodes said; clients of Rust nodes start anew, since
    /// socketioxide has no such thing. Not with `useShardedPubSub` or the embedded broker.
    Streams,
}

/// Options for [`connect`](crate::connect).
///
/// ```
/// use std::time::Duration;
/// let options = fanout::Options { prefix: "chat".into(), request_timeout: Duration::from_secs(2), ..Default::default() };
/// ```
#[derive(Clone)]
pub struct Options {
    /// The protocol (default [`Mode::Classic`]).
    pub mode: Mode,
    /// What every channel's name begins with: `key` or `channelPrefix` in Node.js (default `socket.io`).
    pub prefix: String,
    /// The stream of [`Mode::Streams`]: `streamName` in Node.js (default `socket.io`).
    pub stream_name: String,
    /// How many streams there are (default 1), each read over a connection of its own: `streamCount` in Node.js.
    pub stream_count: u32,
    /// At about how many entries Redis cuts a stream off when this node adds one (default 10,000): `maxLen` in Node.js. It
    /// is how far a node may fall behind, and how much a client that comes back may have missed.
    pub stream_length_max: u64,
    /// How long a question to the other nodes waits for their answers (default 5 s, as in Node.js).
    pub request_timeout: Duration,
    /// Questions that may wait at once in one namespace (default 16,384); beyond it they fail with
    /// [`Error::Busy`](crate::Error::Busy), but that a broadcast with acknowledgements reaches the clients and counts each
    /// other node as one that has not answered in time.
    pub requests_max: usize,
    /// Broadcasts of other nodes whose acknowledgements one namespace passes on at once (default 16,384). Beyond it the clients
    /// still receive the event, and this node says that it waits for none of them, which is better than a sender that waits
    /// in vain. What they answer is counted as dropped.
    pub forwards_max: usize,
    /// Messages that may wait to be published (default 8,192). At the bound an emit waits for room, see `emit_wait_max`.
    pub publish_queue_max: usize,
    /// Bytes that may wait to be published (default 64 MiB), likewise.
    pub publish_bytes_max: usize,
    /// How long an emit waits for room in that queue while there is a connection to Redis (default 1 s). Local clients have
    /// the event by then. After it the message is dropped and counted, and the emit fails with [`Error::QueueFull`](crate::Error::QueueFull).
    pub emit_wait_max: Duration,
    /// How long this node holds back what it says when Redis is about to cut off a node that reads too slowly (default 500 ms),
    /// in one go: when all have caught up it may do so again. Meanwhile the queue fills, and emits wait as they do for room. Zero lets
    /// Redis cut it off. Needs the right to `CLIENT LIST`; not on a cluster, nor with the embedded broker.
    pub slow_wait_max: Duration,
    /// Acknowledgements that may wait to be read from one stream (default 4,096). At the bound the newest is dropped.
    pub acks_max: usize,
    /// Bytes that may wait for clients which read more slowly than events come, all clients together (default 64 MiB).
    /// socketioxide keeps 128 packets for each client; what a burst brings beyond them waits here, and no single
    /// client may take more than a quarter. At the bound the client misses the newest event, which is counted.
    pub client_backlog_max: usize,
    /// How long an attempt to connect and a question to Redis itself may take (default 2 s).
    pub command_timeout: Duration,
    /// How long Redis may be silent before a connection to it is given up (default 30 s). Meanwhile its TCP lives, nothing
    /// is lost, and messages wait in the bounded queue. Also how long TCP may go unacknowledged (`TCP_USER_TIMEOUT`).
    pub stall_max: Duration,
    /// How long what is said while Redis is away is held for its return (default 10 s), within the bounds of the queue. It
    /// leaves when as many nodes have subscribed again as there were, or after `rejoin_wait_max`. Zero drops it.
    pub hold_max: Duration,
    /// How long what was held waits, once Redis is back, for other nodes to subscribe again (default 5 s). The Redis clients of
    /// Node.js pause for two seconds at most between their attempts, and need a few of them until they know a cluster anew.
    pub rejoin_wait_max: Duration,
    /// How often each connection is asked whether it is alive (default 1 s).
    pub probe_interval: Duration,
    /// The longest pause between two attempts to reconnect (default 250 ms, at most 1 s). The first pause is a sixteenth of
    /// it, those of the first ten seconds an eighth, since a failover takes no longer and Node.js nodes publish what has
    /// waited as soon as they are connected; each is drawn at random from its upper half, so that a fleet does not come back
    /// in step.
    pub retry_max: Duration,
    /// How long [`connect`](crate::connect) and each namespace wait for Redis before they go on without it
    /// (default 1 s). Local rooms work meanwhile, and the connection is tried on.
    pub startup_wait: Duration,
    /// Certificate authorities for `rediss://`, in PEM; the system's if `None` (default).
    pub tls_roots_pem: Option<Vec<u8>>,
    /// The certificate of this node, for `rediss://` (none if `None`, which is the default).
    pub tls_client: Option<ClientCertificate>,
    /// Asked before every attempt to connect, and every [`probe_interval`](Self::probe_interval): when it says something
    /// else than before, the connections log in anew without being interrupted. It must not block. `None` (default)
    /// takes what the address says. With Sentinel this is for the servers; the Sentinels' own is in their addresses.
    pub credentials: Option<OnCredentials>,
    /// Called for every [`Event`], on the task that saw it: it must not block.
    pub on_event: Option<OnEvent>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            prefix: "socket.io".to_owned(),
            stream_name: "socket.io".to_owned(),
            stream_count: 1,
            stream_length_max: 10_000,
            request_timeout: Duration::from_secs(5),
            requests_max: 16_384,
            forwards_max: 16_384,
            publish_queue_max: 8192,
            publish_bytes_max: 64 << 20,
            emit_wait_max: Duration::from_secs(1),
            slow_wait_max: Duration::from_millis(500),
            acks_max: 4096,
            client_backlog_max: 64 << 20,
            command_timeout: Duration::from_secs(2),
            stall_max: Duration::from_secs(30),
            hold_max: Duration::from_secs(10),
            rejoin_wait_max: Duration::from_secs(5),
            probe_interval: Duration::from_secs(1),
            retry_max: Duration::from_millis(250),
            startup_wait: Duration::from_secs(1),
            tls_roots_pem: None,
            tls_client: None,
            credentials: None,
            on_event: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("mode", &self.mode)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
