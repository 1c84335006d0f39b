//! A fleet of one Node.js node, one Rust node, and clients on both.

use std::{future::Future, time::Duration};

use broker::Broker;
use fanout::{Mode, Options};
use serde_json::{Value as Json, json};

use crate::{
    NOTHING,
    agent::Agent,
    redis_server::{RedisCluster, RedisServer},
    rust_node::RustNode,
};

/// A test that hangs must fail; nothing else depends on this.
pub const HANG: Duration = Duration::from_secs(120);

/// Options for nodes whose Redis is there, or comes back: on a busy machine everything may be late, and that is not what is
/// tested.
pub fn patient() -> Options {
    Options {
        command_timeout: HANG,
        startup_wait: HANG,
        request_timeout: HANG,
        emit_wait_max: HANG,
        slow_wait_max: HANG,
        hold_max: HANG,
        rejoin_wait_max: HANG,
        ..Options::default()
    }
}

/// As [`patient`], for nodes whose Redis is replaced by another one: what does not answer must be left for it.
pub fn persistent() -> Options {
    Options { command_timeout: Options::default().command_timeout, ..patient() }
}

/// A connection for the test itself, as patient.
pub async fn connection(url: &str) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

/// What a Node.js node is told to start with. It knows the modes by the same names.
pub fn node_js(redis: Json, mode: Mode) -> Json {
    json!({ "redis": redis, "mode": format!("{mode:?}") })
}

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// Asks until the answer is the wanted one. The pace only keeps a spinning test from starving what it waits for.
pub async fn until<F: Future<Output = bool>>(what: &str, holds: impl FnMut() -> F) {
    until_says(|| what.to_owned(), holds).await;
}

/// As [`until`], and says at the end what it was by then.
pub async fn until_says<F: Future<Output = bool>>(what: impl Fn() -> String, mut holds: impl FnMut() -> F) {
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    let all = async {
        while !holds().await {
            pace.tick().await;
        }
    };
    tokio::time::timeout(HANG, all).await.unwrap_or_else(|_| panic!("{} hangs", what()));
}

/// Keeps what the nodes connect to alive.
pub enum Between {
    Redis(RedisServer),
    Broker(Broker),
    Cluster(RedisCluster),
}

impl Between {
    pub fn url(&self) -> String {
        match self {
            Self::Redis(redis) => redis.url(),
            Self::Broker(broker) => broker.url().to_owned(),
            Self::Cluster(cluster) => cluster.urls().swap_remove(0),
        }
    }
}

#[derive(Clone, Copy)]
pub enum Client {
    OnRust(&'static str),
    OnJs(&'static str),
}

impl Client {
    pub fn name(self) -> &'static str {
        match self {
            Self::OnRust(name) | Self::OnJs(name) => name,
        }
    }
}

pub struct Fleet {
    pub between: Between,
    pub js: Agent,
    pub js_url: String,
    pub rust: RustNode,
    pub clients: Agent,
    fences: std::sync::atomic::AtomicU64,
}

impl Fleet {
    /// The classic dialect on a real Redis.
    pub async fn classic() -> Self {
        Self::start(Mode::Classic, Between::Redis(RedisServer::start().await), &["/"]).await
    }

    pub async fn sharded() -> Self {
        Self::start(Mode::Sharded, Between::Redis(RedisServer::start().await), &["/"]).await
    }

    pub async fn start(mode: Mode, between: Between, namespaces: &[&'static str]) -> Self {
        let redis = json!({ "urls": [between.url()] });
        Self::start_with(mode, between, namespaces, redis).await
    }

    pub async fn start_with(mode: Mode, between: Between, namespaces: &[&'static str], redis: Json) -> Self {
        let js = Agent::start("node.cjs").await;
        let mut start = node_js(redis, mode);
        start["namespaces"] = json!(namespaces);
        let port = js.call("start", start).await;
        let fleet = fanout::connect(&between.url(), Options { mode, ..patient() }).await.unwrap();
        let rust = RustNode::serve(fleet, namespaces).await;
        let js_url = format!("http://127.0.0.1:{port}");
        let fleet = Self::of(between, js, js_url, rust).await;
        for namespace in namespaces {
            fleet.assembled(namespace, 2).await;
        }
        fleet
    }

    pub async fn of(between: Between, js: Agent, js_url: String, rust: RustNode) -> Self {
        let clients = Agent::start("clients.cjs").await;
        let fleet = Self { between, js, js_url, rust, clients, fences: 0.into() };
        fleet.assembled("/", 2).await;
        fleet
    }

    /// Until all nodes see `count` nodes.
    pub async fn assembled(&self, namespace: &str, count: usize) {
        until("the fleet assembles", async || {
            self.js.call("serverCount", json!({ "ns": namespace })).await == json!(count)
                && self.rust.fleet.of(namespace).unwrap().server_count().await.is_ok_and(|seen| seen == count)
        })
        .await;
    }

    /// Connects a client to its node and joins rooms; the socket's id.
    pub async fn client(&self, client: Client, rooms: &[&str]) -> String {
        self.client_with(client, rooms, json!({})).await
    }

    pub async fn client_with(&self, client: Client, rooms: &[&str], more: Json) -> String {
        let url = match client {
            Client::OnRust(_) => &self.rust.url,
            Client::OnJs(_) => &self.js_url,
        };
        let mut parameters = json!({ "name": client.name(), "url": url });
        parameters.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let id = self.clients.call("connect", parameters).await;
        if !rooms.is_empty() {
            self.clients.call("join", json!({ "name": client.name(), "rooms": rooms })).await;
        }
        id.as_str().unwrap().to_owned()
    }

    /// What a client received from the Node.js node's side until now.
    pub async fn heard_after_js(&self, names: &[&str]) -> Vec<Json> {
        let fence = self.next_fence();
        self.js.call("emit", json!({ "event": fence })).await;
        self.heard(&fence, names).await
    }

    /// What a client received from the Rust node's side until now.
    pub async fn heard_after_rust(&self, names: &[&str]) -> Vec<Json> {
        let fence = self.next_fence();
        self.rust.io.broadcast().emit(fence.clone(), &NOTHING).await.unwrap();
        self.heard(&fence, names).await
    }

    fn next_fence(&self) -> String {
        format!("fence{}", self.fences.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }

    async fn heard(&self, fence: &str, names: &[&str]) -> Vec<Json> {
        let mut heard = Vec::new();
        for name in names {
            let log = self.clients.call("received", json!({ "name": name, "event": fence })).await;
            let log = log
                .as_array()
                .unwrap()
                .iter()
                .filter(|entry| !entry[0].as_str().unwrap().starts_with("fence"));
            heard.push(log.cloned().collect());
        }
        self.clients.call("forget", json!({})).await;
        heard
    }
}
