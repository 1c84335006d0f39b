//! Goal: a value that is no room's name means to a Rust node what it means to a Node.js node. Above all it never
//! turns a message for somebody into one for everybody.
//!
//! Method: two fleets on one Redis, each a Node.js node that acts and a second node that has the clients: Rust in the
//! one, Node.js in the other. Each row is an operation on one odd value; what it did to the clients must be the same.

use std::collections::BTreeMap;

use fanout::{Mode, Options};
use serde_json::{Value as Json, json};

use crate::{agent::Agent, node_js, patient, redis_server::RedisServer, rust_node::RustNode, until};

/// JavaScript expressions of what code passes as a room by mistake, and of some names. (The text of a number is not among
/// them: in Node.js it is another room than the number, and in Rust it is the same one.)
const VALUES: [&str; 35] = [
    "undefined",
    "null",
    "true",
    "false",
    "NaN",
    "Infinity",
    "0",
    "-0",
    "42",
    "-1",
    "1.5",
    "1e21",
    "''",
    "'a'",
    "'undefined'",
    "'null'",
    "{}",
    "{ a: 1 }",
    "[]",
    "[undefined]",
    "[null]",
    "[undefined, 'a']",
    "['a', null]",
    "[true, 'b', 'a']",
    "[, 'a']",
    "[['a']]",
    "[{}, ['b'], 'a']",
    "() => 'a'",
    "new Date(0)",
    "Buffer.from('a')",
    "new Set(['a'])",
    "Symbol('a')",
    "10n",
    "{ toJSON: () => 'a' }",
    "new String('a')",
];

/// Half an emoji, which is text in JavaScript and not in Rust. It names a room there, and none here: rows in which somebody
/// enters it are left out.
const HALVES: [&str; 2] = ["'\\ud83d'", "['a', 'b\\ud83d']"];

/// `V` is the value, `E` the row's own event.
const BROADCASTS: [&str; 5] = [
    "io.to(V).emit(E, 1)",
    "io.to(V).emit(E, Buffer.from('bytes'))",
    "io.to('a').to(V).emit(E)",
    "io.except(V).emit(E)",
    "io.to('a').except(V).emit(E, Buffer.from('bytes'))",
];
const ACKNOWLEDGED: &str = "io.to(V).timeout(60000).emit(E, () => {})";
const CHANGES: [&str; 7] = [
    "io.in(V).socketsJoin('marker')",
    "io.except(V).socketsJoin('marker')",
    "io.in(V).socketsLeave('a')",
    "io.in('a').socketsJoin(V)",
    "io.in('a').socketsLeave(V)",
    "io.in(V).disconnectSockets()",
    "io.except(V).disconnectSockets()",
];
const QUESTIONS: [&str; 2] =
    ["io.in(V).timeout(60000).fetchSockets()", "io.except(V).timeout(60000).fetchSockets()"];

/// A node that acts, an emitter, and where the clients are.
struct Side {
    actor: Agent,
    emitter: Option<Agent>,
    clients: Agent,
    url: String,
    rooms: Json,
    ids: BTreeMap<String, String>,
    _node: Box<dyn std::any::Any>,
}

impl Side {
    async fn start(redis: &RedisServer, mode: Mode, rust: bool) -> Self {
        let prefix = if rust { "mixed" } else { "node" };
        let urls = json!({ "urls": [redis.url()] });
        let options = match mode {
            Mode::Classic => json!({ "key": prefix }),
            Mode::Sharded => json!({ "channelPrefix": prefix }),
            Mode::Streams => json!({ "channelPrefix": prefix, "streamName": prefix }),
        };
        let mut start = node_js(urls.clone(), mode);
        start["options"] = options.clone();
        let actor = Agent::start("node.cjs").await;
        actor.call("start", start.clone()).await;
        let (url, node): (String, Box<dyn std::any::Any>) = if rust {
            let stream_name = prefix.to_owned();
            let options = Options { mode, prefix: prefix.to_owned(), stream_name, ..patient() };
            let node = RustNode::start(&redis.url(), options).await;
            (node.url.clone(), Box::new(node))
        } else {
            let node = Agent::start("node.cjs").await;
            let port = node.call("start", start).await;
            (format!("http://127.0.0.1:{port}"), Box::new(node))
        };
        until("two nodes", async || actor.call("serverCount", json!({})).await == json!(2)).await;
        let emitter = match mode {
            Mode::Classic => Some(Agent::start("emitter.cjs").await),
            Mode::Sharded | Mode::Streams => None,
        };
        if let Some(emitter) = &emitter {
            emitter.call("start", json!({ "redis": urls, "options": options })).await;
        }
        // A room that is a number in Node.js is its text in Rust.
        let number = if rust { json!(["42", "0"]) } else { json!([42, 0]) };
        let texts = ["undefined", "null", "true", "NaN", "[object Object]", "", "\u{fffd}"];
        let rooms = json!({ "none": [], "a": ["a"], "a-b": ["a", "b"], "number": number, "texts": texts });
        let clients = Agent::start("clients.cjs").await;
        let mut side = Self { actor, emitter, clients, url, rooms, ids: BTreeMap::new(), _node: node };
        side.reset().await;
        side
    }

    async fn reset(&mut self) {
        let crew = self.clients.call("crew", json!({ "url": self.url, "rooms": self.rooms })).await;
        let names = crew.as_object().unwrap();
        self.ids = names.iter().map(|(name, id)| (id.as_str().unwrap().to_owned(), name.clone())).collect();
        self.everyone_is_there().await;
    }

    /// A client that has just left may still be counted.
    async fn everyone_is_there(&self) {
        until("all clients are there", async || {
            self.actor.call("fetchSockets", json!({})).await.as_array().unwrap().len() == self.ids.len()
        })
        .await;
    }

    /// Runs a row's code, and says what it threw.
    async fn run(&self, by_emitter: bool, code: &str) -> Option<String> {
        let agent = if by_emitter { self.emitter.as_ref().unwrap() } else { &self.actor };
        agent.try_call("run", json!({ "code": code })).await.err()
    }

    /// Who heard `event`.
    async fn heard(&self, event: &str) -> Vec<String> {
        let fence = format!("fence-{event}");
        self.actor.call("emit", json!({ "event": fence })).await;
        let mut heard = Vec::new();
        for name in self.ids.values() {
            let log = self.clients.call("received", json!({ "name": name, "event": fence })).await;
            if log.as_array().unwrap().iter().any(|entry| entry[0] == *event) {
                heard.push(name.clone());
            }
        }
        heard.sort();
        self.clients.call("forget", json!({})).await;
        heard
    }

    /// Who is in which of the rooms that are text, once what was said before has been heard.
    async fn state(&self) -> BTreeMap<String, Vec<String>> {
        self.actor.call("emit", json!({ "event": "fence" })).await;
        self.clients.call("fenced", json!({ "event": "fence" })).await;
        self.clients.call("forget", json!({})).await;
        let sockets = self.actor.call("fetchSockets", json!({})).await;
        let rooms = |socket: &Json| {
            let mut rooms: Vec<String> = socket["rooms"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|room| match room {
                    Json::String(room) => Some(room.clone()),
                    Json::Number(room) => Some(room.to_string()),
                    _ => None,
                })
                .filter(|room| !self.ids.contains_key(room))
                .collect();
            rooms.sort();
            rooms
        };
        sockets.as_array().unwrap().iter().map(|socket| (self.name(socket), rooms(socket))).collect()
    }

    fn name(&self, socket: &Json) -> String {
        self.ids[socket["id"].as_str().unwrap()].clone()
    }

    /// The names behind `sockets.map(({ id }) => id)`, or what was thrown.
    async fn asked(&self, code: &str) -> Result<Vec<String>, String> {
        let code = format!("return (await {code}).map(({{ id }}) => id)");
        let ids = self.actor.try_call("run", json!({ "code": code })).await?;
        let mut names: Vec<String> =
            ids.as_array().unwrap().iter().map(|id| self.ids[id.as_str().unwrap()].clone()).collect();
        names.sort();
        Ok(names)
    }
}

/// Compares the two sides row by row, and reports all that differ.
struct Table {
    mixed: Side,
    node: Side,
    rows: usize,
    differences: Vec<String>,
    _redis: RedisServer,
}

impl Table {
    async fn start(mode: Mode) -> Self {
        let redis = RedisServer::start().await;
        let (mixed, node) = (Side::start(&redis, mode, true).await, Side::start(&redis, mode, false).await);
        Self { mixed, node, rows: 0, differences: Vec::new(), _redis: redis }
    }

    fn compare(&mut self, row: &str, mixed: impl std::fmt::Debug, node: impl std::fmt::Debug) {
        self.rows += 1;
        let (mixed, node) = (format!("{mixed:?}"), format!("{node:?}"));
        if mixed != node {
            self.differences.push(format!("{row}\n    Node.js {node}\n    Rust    {mixed}"));
        }
    }

    async fn broadcast(&mut self, by_emitter: bool, operation: &str, value: &str) {
        let event = format!("e{}", self.rows);
        let code = operation.replace('V', &format!("({value})")).replace("(E", &format!("('{event}'"));
        let (mixed, node) = (self.mixed.run(by_emitter, &code).await, self.node.run(by_emitter, &code).await);
        let (mixed, node) = ((mixed, self.mixed.heard(&event).await), (node, self.node.heard(&event).await));
        self.compare(&row(by_emitter, &code), mixed, node);
    }

    async fn change(&mut self, by_emitter: bool, operation: &str, value: &str) {
        let code = operation.replace('V', &format!("({value})"));
        let before = self.mixed.state().await;
        let (mixed, node) = (self.mixed.run(by_emitter, &code).await, self.node.run(by_emitter, &code).await);
        let (mixed, node) = ((mixed, self.mixed.state().await), (node, self.node.state().await));
        // A room that is no text is not seen, but it is there.
        let changed = mixed.1 != before
            || node.1 != before
            || operation.contains("(V)") && !operation.contains("in(V)");
        self.compare(&row(by_emitter, &code), mixed, node);
        if changed {
            self.mixed.reset().await;
            self.node.reset().await;
        }
    }

    async fn question(&mut self, operation: &str, value: &str) {
        let code = operation.replace('V', &format!("({value})"));
        let (mixed, node) = (self.mixed.asked(&code).await, self.node.asked(&code).await);
        self.compare(&row(false, &code), mixed, node);
    }

    fn end(self) {
        assert!(self.rows >= 200, "{} rows", self.rows);
        let differences = self.differences.join("\n");
        assert!(
            self.differences.is_empty(),
            "{} of {} rows:\n{differences}",
            self.differences.len(),
            self.rows
        );
    }
}

fn row(by_emitter: bool, code: &str) -> String {
    let who = if by_emitter { "emitter" } else { "node" };
    format!("{who}: {code}")
}

async fn check(mode: Mode) {
    let mut table = Table::start(mode).await;
    for value in VALUES.into_iter().chain(HALVES) {
        let enters = |operation: &str| operation.contains("in('a').sockets");
        for by_emitter in [false, true] {
            if by_emitter && mode != Mode::Classic {
                continue;
            }
            for operation in BROADCASTS {
                table.broadcast(by_emitter, operation, value).await;
            }
            for operation in CHANGES.into_iter().filter(|row| !HALVES.contains(&value) || !enters(row)) {
                table.change(by_emitter, operation, value).await;
            }
        }
        // What is published may overtake what is read from a stream, and with it the fence.
        if mode != Mode::Streams {
            table.broadcast(false, ACKNOWLEDGED, value).await;
        }
        for operation in QUESTIONS {
            table.question(operation, value).await;
        }
    }
    // What is no name, but not of the kind that it should be, either.
    for value in ["'5000'", "undefined", "null", "true", "-1", "NaN", "{}"] {
        table.broadcast(false, "io.to('a').timeout(V).emit(E, 1)", value).await;
    }
    for value in ["undefined", "null", "0", "''"] {
        table.change(false, "io.in('a').disconnectSockets(V)", value).await;
    }
    table.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_name_means_the_same_in_the_classic_dialect() {
    check(Mode::Classic).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_name_means_the_same_in_the_sharded_dialect() {
    check(Mode::Sharded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_name_means_the_same_in_a_stream() {
    check(Mode::Streams).await;
}
