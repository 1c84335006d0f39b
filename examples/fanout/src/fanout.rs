//! The app's handle on the fleet.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value as Json;
use socketioxide::{SocketIo, SocketIoBuilder, adapter::Emitter, layer::SocketIoLayer};
use socketioxide_core::Sid;
use tokio::time::Instant;

use crate::{
    adapter::RedisAdapter,
    describe,
    error::{ConfigError, Error},
    hooks::{Description, ServerSideEmit},
    link::{self, Connector, Kind, Shared, Tasks},
    message::{Answer, RemoteSocket, Request, Target},
    node::Node,
    options::Options,
    stats::Stats,
};

type Adapter = RedisAdapter<Emitter>;

/// The connection to the fleet that all namespaces of an app share, and the state of [`RedisAdapter`](crate::RedisAdapter).
///
/// Cheap to clone. [`build_layer`](Self::build_layer) makes an app of it, and so does
/// `SocketIo::builder().with_adapter`. The connections are closed when the last clone is gone, the app's namespaces included.
#[derive(Clone)]
pub struct Fanout {
    pub(crate) shared: Arc<Shared>,
    _tasks: Arc<Tasks>,
    /// What describes its sockets. The app holds it, and not what the app is made of, or neither would ever be let go.
    app: Option<Arc<Mutex<Option<SocketIo<Adapter>>>>>,
}

/// Reaches the other nodes through the Redis at `url`: `redis://[user:password@]host:port`, `rediss://` for
/// TLS, or `unix:///path`. Redis 6 or later (7 for [`Mode::Sharded`](crate::Mode)), Valkey, or the embedded
/// `tidelock-broker`.
///
/// # Errors
///
/// Only if the address cannot work. If Redis is down, or refuses the password, this returns after
/// [`Options::startup_wait`] nevertheless; the reason is logged and given to [`Options::on_event`], local
/// rooms work, and the connection is tried on.
///
/// # Cancel safety
///
/// Cancel-safe: the connections that were begun are given up.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> Result<(), fanout::ConfigError> {
/// use fanout::{Options, RedisAdapter};
/// use socketioxide::{SocketIo, extract::SocketRef};
///
/// let fleet = fanout::connect("redis://127.0.0.1:6379", Options::default()).await?;
/// let (layer, io) = fleet.build_layer(SocketIo::builder());
/// io.ns("/", async |socket: SocketRef<RedisAdapter<_>>| socket.join("lobby")).await;
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
pub async fn connect(url: &str, options: Options) -> Result<Fanout, ConfigError> {
    start(Connector::new(&[url], Kind::One, &options)?, options).await
}

/// As [`connect`], through a Redis Cluster. Any node of `urls` that is up is enough to find the others.
///
/// Only [`Mode::Sharded`](crate::Mode) spreads the load over the cluster; in classic mode every message
/// visits every node of it.
///
/// # Errors
///
/// As for [`connect`].
///
/// # Cancel safety
///
/// As for [`connect`].
pub async fn connect_cluster(urls: &[&str], options: Options) -> Result<Fanout, ConfigError> {
    start(Connector::new(urls, Kind::Cluster, &options)?, options).await
}

/// As [`connect`], through the server that Redis Sentinel calls the master of `service`. `sentinels` are the addresses of
/// the Sentinels, of which one is enough; with `rediss://` the servers are spoken to with TLS as well. A password in them is
/// the Sentinels', and the same for all; that of the servers is [`Options::credentials`].
///
/// # Errors
///
/// As for [`connect`], and if Sentinels answer of which none knows `service`.
///
/// # Cancel safety
///
/// As for [`connect`].
///
/// ```no_run
/// # async fn example() -> Result<(), fanout::ConfigError> {
/// let sentinels = ["redis://10.0.0.1:26379", "redis://10.0.0.2:26379", "redis://10.0.0.3:26379"];
/// let fleet = fanout::connect_sentinel(&sentinels, "mymaster", fanout::Options::default()).await?;
/// # let _ = fleet;
/// # Ok(())
/// # }
/// ```
pub async fn connect_sentinel(
    sentinels: &[&str],
    service: &str,
    options: Options,
) -> Result<Fanout, ConfigError> {
    let connector = Connector::new(sentinels, Kind::Sentinel(service), &options)?;
    connector.check().await?;
    start(connector, options).await
}

async fn start(connector: Connector, options: Options) -> Result<Fanout, ConfigError> {
    let (shared, tasks) = link::start(connector, options).await?;
    Ok(Fanout { shared, _tasks: Arc::new(tasks), app: Some(Arc::default()) })
}

impl Fanout {
    /// `builder.with_adapter(…).build_layer()` for this fleet, and [`describe_with`](Self::describe_with): other nodes are told
    /// about this node's sockets. The builder may have all settings but an adapter.
    ///
    /// Keep this handle, or a clone: other nodes are told for as long as there is one outside of the app itself.
    ///
    /// ```
    /// # fn example(fleet: &fanout::Fanout) {
    /// let builder = socketioxide::SocketIo::builder().max_payload(1 << 20);
    /// let (layer, io) = fleet.build_layer(builder);
    /// # let _ = (layer, io);
    /// # }
    /// ```
    pub fn build_layer(&self, builder: SocketIoBuilder) -> (SocketIoLayer<Adapter>, SocketIo<Adapter>) {
        let inside = Self { app: None, ..self.clone() };
        let (layer, io) = builder.with_adapter::<Adapter>(inside).build_layer();
        if let Some(app) = &self.app {
            *app.lock().unwrap_or_else(PoisonError::into_inner) = Some(io.clone());
            let app = Arc::downgrade(app);
            self.describe_sockets(move |namespace, sid| {
                let app = app.upgrade();
                // Cloned, so that nothing of the app's runs under the lock.
                let io = app.and_then(|app| app.lock().unwrap_or_else(PoisonError::into_inner).clone());
                io.map_or_else(Description::default, |io| describe::describe(&io, namespace, sid))
            });
        }
        (layer, io)
    }

    /// The counters of this node.
    pub fn stats(&self) -> Stats {
        self.shared.counters.snapshot(Instant::now())
    }

    /// Calls `hook` for every `serverSideEmit` of another node, on the task that received it: it must not
    /// block. Replaces the hook set before. Without one, every event is answered with `null`.
    ///
    /// ```
    /// # fn example(fleet: &fanout::Fanout) {
    /// fleet.on_server_side_emit(|emit| {
    ///     if let (("version", Some(responder))) = (emit.event.as_str(), emit.responder) {
    ///         responder.answer(env!("CARGO_PKG_VERSION"));
    ///     }
    /// });
    /// # }
    /// ```
    pub fn on_server_side_emit(&self, hook: impl Fn(ServerSideEmit) + Send + Sync + 'static) {
        self.shared.hooks.set_on_server_side_emit(Arc::new(hook));
    }

    /// Tells other nodes about this node's sockets what socketioxide knows of them: the headers, address and query of the
    /// request that they connected with, and what the app put into their extensions as [`Details`](crate::Details).
    /// [`build_layer`](Self::build_layer) does nearly the same. An app that is built in another way (`build_svc`) calls this, or the other
    /// nodes get an empty handshake: socketioxide gives an adapter the ids and rooms of sockets, and no way to the sockets.
    ///
    /// This keeps the app alive until its namespaces are closed (`io.close()`). Replaces a hook set before.
    ///
    /// ```
    /// # fn example(fleet: &fanout::Fanout, io: &socketioxide::SocketIo<fanout::RedisAdapter<socketioxide::adapter::Emitter>>) {
    /// fleet.describe_with(io);
    /// # }
    /// ```
    pub fn describe_with(&self, io: &SocketIo<Adapter>) {
        let io = io.clone();
        self.describe_sockets(move |namespace, sid| describe::describe(&io, namespace, sid));
    }

    /// Calls `hook` with a namespace and a socket's id when another node asks for this node's sockets.
    /// It must not block. For apps that tell less than [`describe_with`](Self::describe_with), or more.
    pub fn describe_sockets(&self, hook: impl Fn(&str, Sid) -> Description + Send + Sync + 'static) {
        self.shared.hooks.set_describe(Arc::new(hook));
    }

    /// The fleet's side of one namespace, once the app has added it with `io.ns(…)`.
    pub fn of(&self, namespace: &str) -> Option<Namespace> {
        self.shared.node(namespace).map(|node| Namespace { node })
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Fanout")
            .field("options", &self.shared.options)
            .field("describes", &self.shared.hooks.describes())
            .finish_non_exhaustive()
    }
}

/// What socketioxide's own API cannot ask of the fleet in one namespace.
#[derive(Clone)]
pub struct Namespace {
    node: Arc<Node>,
}

impl Namespace {
    /// The sockets of all nodes, Node.js nodes included.
    ///
    /// # Errors
    ///
    /// If Redis is out of reach, or a node does not answer in time.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: asking changes nothing.
    pub async fn fetch_sockets(&self, target: Target) -> Result<Vec<RemoteSocket>, Error> {
        let local = self.node.local_sockets(&target);
        let mut sockets = self.node.remote_sockets(target).await?;
        sockets.extend(local);
        Ok(sockets)
    }

    /// The rooms of all nodes, each once. As in Node.js every socket's id is one of them.
    ///
    /// # Errors
    ///
    /// As for [`fetch_sockets`](Self::fetch_sockets).
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: asking changes nothing.
    pub async fn all_rooms(&self) -> Result<HashSet<String>, Error> {
        let mut rooms: HashSet<String> =
            self.node.remote_rooms(Target::everyone()).await?.into_iter().collect();
        rooms.extend(self.node.local.rooms(&Target::everyone()));
        Ok(rooms)
    }

    /// Emits to the other nodes' `io.on(event, …)`, or their [`Fanout::on_server_side_emit`]. Never waits;
    /// what cannot be sent is dropped and counted.
    pub fn server_side_emit(&self, event: &str, arguments: impl IntoIterator<Item = Json>) {
        self.node.tell_now(&server_side(event, arguments));
    }

    /// As [`server_side_emit`](Self::server_side_emit), and waits for the answer of each node, in the order in which they come.
    ///
    /// # Errors
    ///
    /// As for [`fetch_sockets`](Self::fetch_sockets). A Node.js node without a listener for `event` does not answer.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, but the event may have been emitted: only its answers are given up.
    pub async fn server_side_emit_with_ack(
        &self,
        event: &str,
        arguments: impl IntoIterator<Item = Json>,
    ) -> Result<Vec<Json>, Error> {
        let answers = self.node.ask(server_side(event, arguments)).await?;
        let data = answers.into_iter().filter_map(|answer| match answer {
            Answer::ServerSideEmit(data) => Some(data),
            _ => None,
        });
        Ok(data.collect())
    }

    /// The name under which this node's messages are known to the others, in this namespace: `uid` in Node.js. It is new
    /// with each start.
    pub fn id(&self) -> &str {
        self.node.dialect.uid()
    }

    /// How many nodes serve this namespace, with this one.
    ///
    /// # Errors
    ///
    /// If Redis is out of reach.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: asking changes nothing.
    pub async fn server_count(&self) -> Result<usize, Error> {
        Ok(self.node.others().await? + 1)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Namespace")
            .field("namespace", &self.node.local.namespace())
            .field("id", &self.id())
            .finish()
    }
}

fn server_side(event: &str, arguments: impl IntoIterator<Item = Json>) -> Request {
    let mut all = vec![Json::from(event)];
    all.extend(arguments);
    Request::ServerSideEmit { arguments: all }
}
