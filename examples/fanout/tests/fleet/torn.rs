//! A Redis that dies between two writes, in fleets of one kind each: what becomes of a message that it has answered, or passed on to
//! one node, and not to another.
//!
//! Method: between each node and a real Redis is a relay. It loses what Redis writes to that node, on one of its connections or on
//! both, and then ends all connections at once. To the nodes it is a Redis that died in the middle, and each middle can be tried.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    NOTHING, agent::Agent, persistent, redis_server::RedisServer, rust_node::RustNode, soon,
    support::until_says, until,
};

const MARK: &str = "a message that may be torn";

/// What reaches whom of a message, before Redis is gone: the answer and its own message the node that said it, the message the
/// other node.
struct Torn {
    answered: bool,
    echoed: bool,
    heard: bool,
}

const fn torn(answered: bool, echoed: bool, heard: bool) -> Torn {
    Torn { answered, echoed, heard }
}

/// Redis writes its answers first, so that the first two are what a Redis does that dies, and the last two what it does that
/// ends the connection of the one who speaks.
const ROWS: [Torn; 6] = [
    torn(true, true, false),
    torn(true, false, false),
    torn(false, false, false),
    torn(false, true, false),
    torn(false, false, true),
    torn(false, true, true),
];

/// What was answered is not said again by anybody. What was not is said again, but for what a Rust node knows to have been passed on.
#[tokio::test]
async fn what_a_dying_redis_tears_between_rust_nodes() {
    assert_eq!(times_heard(Kind::Rust).await, [0, 0, 1, 0, 2, 1]);
}

#[tokio::test]
async fn what_a_dying_redis_tears_between_node_js_nodes_with_ioredis() {
    assert_eq!(times_heard(Kind::Js("ioredis")).await, [0, 0, 1, 1, 2, 2]);
}

/// It says nothing again.
#[tokio::test]
async fn what_a_dying_redis_tears_between_node_js_nodes_with_node_redis() {
    assert_eq!(times_heard(Kind::Js("redis")).await, [0, 0, 0, 0, 1, 1]);
}

#[derive(Clone, Copy)]
enum Kind {
    Rust,
    Js(&'static str),
}

/// How often the other node's client hears the message of each row.
async fn times_heard(kind: Kind) -> [usize; 6] {
    let redis = RedisServer::start().await;
    let relays = [Relay::to(redis.port).await, Relay::to(redis.port).await];
    let [speaker, (listener, url)] =
        [Node::start(kind, &relays[0].url).await, Node::start(kind, &relays[1].url).await];
    let speaker = speaker.0;
    let clients = Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "client", "url": url })).await;
    let mut times = [0; 6];
    for (row, times) in ROWS.iter().zip(&mut times) {
        for node in [&speaker, &listener] {
            node.sees_both().await;
        }
        relays[0].lose(!row.answered, !row.echoed);
        relays[1].lose(false, !row.heard);
        speaker.say(row.answered, row.echoed).await;
        relays[0].marked().await;
        relays[1].marked().await;
        if row.heard {
            clients.call("received", json!({ "name": "client", "event": "said" })).await;
        }
        relays.iter().for_each(Relay::cut);
        subscribers(&redis, 0).await;
        // The one who listens comes back first, or what is said again would find nobody.
        relays[1].resume();
        subscribers(&redis, 1).await;
        relays[0].resume();
        for node in [&speaker, &listener] {
            node.sees_both().await;
        }
        speaker.end().await;
        let log = clients.call("received", json!({ "name": "client", "event": "end" })).await;
        *times = log.as_array().unwrap().iter().filter(|entry| entry[0] == "said").count();
        clients.call("forget", json!({})).await;
    }
    times
}

/// Until so many nodes are subscribed to everything.
async fn subscribers(redis: &RedisServer, wanted: usize) {
    until("the subscribers change", async || {
        let nodes = redis.command(&["PUBSUB", "NUMSUB", "socket.io-request#/#"]).await.unwrap();
        let (_, nodes): (String, usize) = redis::from_redis_value(nodes).unwrap();
        let patterns = redis.command(&["CLIENT", "LIST", "TYPE", "pubsub"]).await.unwrap();
        let patterns: String = redis::from_redis_value(patterns).unwrap();
        (nodes, patterns.matches(" psub=1 ").count()) == (wanted, wanted)
    })
    .await;
}

enum Node {
    Rust(RustNode),
    Js(Box<Agent>),
}

impl Node {
    /// And where its clients connect.
    async fn start(kind: Kind, redis: &str) -> (Self, String) {
        match kind {
            Kind::Rust => {
                let node = RustNode::start(redis, persistent()).await;
                let url = node.url.clone();
                (Self::Rust(node), url)
            }
            Kind::Js(library) => {
                let agent = Agent::start("node.cjs").await;
                let start = json!({ "redis": { "urls": [redis], "library": library } });
                let port = agent.call("start", start).await;
                // The adapter leaves it to the app what becomes of a publish that fails.
                let code = "process.on('unhandledRejection', () => {})";
                agent.call("run", json!({ "code": code })).await;
                (Self::Js(Box::new(agent)), format!("http://127.0.0.1:{port}"))
            }
        }
    }

    async fn sees_both(&self) {
        until("it sees both", async || match self {
            Self::Rust(node) => {
                node.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 2)
            }
            Self::Js(agent) => {
                agent.try_call("serverCount", json!({})).await.is_ok_and(|count| count == json!(2))
            }
        })
        .await;
    }

    /// Says the message, and waits until it knows what it may know of it.
    async fn say(&self, answered: bool, echoed: bool) {
        match self {
            Self::Rust(node) => {
                let before = node.fleet.stats();
                node.io.emit("said", MARK).await.unwrap();
                until_says(
                    || format!("it knows: {:?}", node.fleet.stats()),
                    async || {
                        let now = node.fleet.stats();
                        (!answered || now.published > before.published)
                            && (!echoed || now.received > before.received)
                    },
                )
                .await;
            }
            Self::Js(agent) => {
                let ask = if answered { "await io.of('/').adapter.pubClient.ping()" } else { "" };
                agent.call("run", json!({ "code": format!("io.emit('said', '{MARK}'); {ask}") })).await;
            }
        }
    }

    async fn end(&self) {
        match self {
            Self::Rust(node) => node.io.emit("end", &NOTHING).await.unwrap(),
            Self::Js(agent) => drop(agent.call("emit", json!({ "event": "end" })).await),
        }
    }
}

/// Between one node and Redis.
struct Relay {
    url: String,
    line: Arc<Line>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Line {
    /// Connections end when it is, and none is let through.
    is_cut: watch::Sender<bool>,
    /// Whether the node loses what it is answered, from the message on, and what it would hear.
    loses: [AtomicBool; 2],
    /// The node has said the message.
    is_said: AtomicBool,
    /// How often Redis has written the message to the node.
    marks: watch::Sender<usize>,
}

impl Relay {
    async fn to(redis: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let line = Arc::new(Line::default());
        let shared = line.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (node, _) = listener.accept().await.unwrap();
                if !*shared.is_cut.borrow() {
                    let redis = TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
                    connections.spawn(pass(node, redis, shared.clone()));
                }
            }
        });
        Self { url, line, task }
    }

    fn lose(&self, answers: bool, messages: bool) {
        self.line.marks.send_replace(0);
        self.line.is_said.store(false, Relaxed);
        self.line.loses[0].store(answers, Relaxed);
        self.line.loses[1].store(messages, Relaxed);
    }

    /// Until Redis has written the message to this node, whether it gets there or not.
    async fn marked(&self) {
        soon("the message", self.line.marks.subscribe().wait_for(|marks| *marks > 0)).await.unwrap();
    }

    fn cut(&self) {
        self.line.is_cut.send_replace(true);
    }

    fn resume(&self) {
        self.lose(false, false);
        self.line.is_cut.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn is_marked(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, MARK.as_bytes()).is_some()
}

async fn pass(node: TcpStream, redis: TcpStream, line: Arc<Line>) {
    let ((mut from_node, mut to_node), (mut from_redis, mut to_redis)) =
        (node.into_split(), redis.into_split());
    let hears = AtomicBool::new(false);
    let forth = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = from_node.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                return;
            }
            let said = buffer[..count].to_ascii_lowercase();
            if memchr::memmem::find(&said, b"subscribe").is_some() {
                hears.store(true, Relaxed);
            }
            if is_marked(&said) {
                line.is_said.store(true, Relaxed);
            }
            if to_redis.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let back = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = from_redis.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                return;
            }
            let is_lost = match hears.load(Relaxed) {
                true => line.loses[1].load(Relaxed),
                false => line.loses[0].load(Relaxed) && line.is_said.load(Relaxed),
            };
            if !is_lost && to_node.write_all(&buffer[..count]).await.is_err() {
                return;
            }
            if is_marked(&buffer[..count]) {
                line.marks.send_modify(|marks| *marks += 1);
            }
        }
    };
    let mut is_cut = line.is_cut.subscribe();
    tokio::select! {
        () = forth => {}
        () = back => {}
        _ = is_cut.wait_for(|is_cut| *is_cut) => {}
    }
}
