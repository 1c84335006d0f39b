//! Two Node.js nodes, two Rust nodes, an emitter and eighty clients in overlapping rooms. Each node says
//! something to each room, in text and in bytes; every member hears each message once and nobody else does.
//!
//! Run through Redis and, unchanged, through the embedded broker.

use std::collections::BTreeMap;

use broker::Broker;
use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::{agent::Agent, patient, redis_server::RedisServer, rust_node::RustNode, support::Between, until};

const CLIENTS: usize = 80;
const ROOMS: usize = 7;
/// Messages of each kind from each node to each room.
const ROUNDS: usize = 5;

/// Where clients connect. A balancer in front would give every client the same address.
struct Addresses(Vec<String>);

impl Addresses {
    fn of(&self, client: usize) -> &str {
        &self.0[client % self.0.len()]
    }
}

/// Client `n` is in two rooms, so that rooms overlap on every node.
fn rooms_of(client: usize) -> [usize; 2] {
    [client % ROOMS, (client / ROOMS + 3 * client + 1) % ROOMS]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_hears_everything_once_through_redis() {
    everyone_hears_everything_once(Between::Redis(RedisServer::start().await)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_hears_everything_once_through_the_embedded_broker() {
    everyone_hears_everything_once(Between::Broker(Broker::loopback(0).await.unwrap())).await;
}

async fn everyone_hears_everything_once(between: Between) {
    let redis = |library: &str| json!({ "redis": { "urls": [between.url()], "library": library } });
    let mut addresses = Vec::new();
    let js = [Agent::start("node.cjs").await, Agent::start("node.cjs").await];
    for (node, library) in js.iter().zip(["redis", "ioredis"]) {
        let port = node.call("start", redis(library)).await;
        addresses.push(format!("http://127.0.0.1:{port}"));
    }
    let rust =
        [RustNode::start(&between.url(), patient()).await, RustNode::start(&between.url(), patient()).await];
    addresses.extend(rust.iter().map(|node| node.url.clone()));
    let emitter = Agent::start("emitter.cjs").await;
    emitter.call("start", redis("ioredis")).await;
    for node in &rust {
        until("four nodes", async || {
            node.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 4)
        })
        .await;
    }

    let clients = Agent::start("clients.cjs").await;
    let addresses = Addresses(addresses);
    for client in 0..CLIENTS {
        let name = client.to_string();
        clients.call("connect", json!({ "name": name, "url": addresses.of(client) })).await;
        let rooms = rooms_of(client).map(|room| format!("room-{room}"));
        clients.call("join", json!({ "name": name, "rooms": rooms })).await;
    }

    for round in 0..ROUNDS {
        for room in 0..ROOMS {
            let to = format!("room-{room}");
            for (index, node) in js.iter().chain([&emitter]).enumerate() {
                let id = format!("js-{index}/{room}/{round}");
                node.call("emit", json!({ "event": "text", "rooms": [to], "args": [id] })).await;
                let bytes = json!({ "$bytes": "AAECAw==" });
                node.call("emit", json!({ "event": "bytes", "rooms": [to], "args": [id, { "in": bytes }] }))
                    .await;
            }
            for (index, node) in rust.iter().enumerate() {
                let id = format!("rust-{index}/{room}/{round}");
                node.io.to(to.clone()).emit("text", &id).await.unwrap();
                let bytes = BTreeMap::from([("in", Bytes::from_static(&[0, 1, 2, 3]))]);
                node.io.to(to.clone()).emit("bytes", &(&id, bytes)).await.unwrap();
            }
        }
    }
    // Every sender's last word is behind all of its messages.
    for node in js.iter().chain([&emitter]) {
        node.call("emit", json!({ "event": "end" })).await;
    }
    for node in &rust {
        node.io.emit("end", &crate::NOTHING).await.unwrap();
    }

    for client in 0..CLIENTS {
        let log =
            clients.call("received", json!({ "name": client.to_string(), "event": "end", "count": 5 })).await;
        assert_eq!(count(&log), expected(client), "client {client}");
    }
    for node in &rust {
        let stats = node.fleet.stats();
        assert_eq!((stats.dropped(), stats.malformed, stats.gaps), (0, 0, 0), "{stats:?}");
    }
}

/// How often each message came.
fn count(log: &Json) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in log.as_array().unwrap().iter().filter(|entry| entry[0] != "end") {
        if entry[0] == "bytes" {
            assert_eq!(entry[2], json!({ "in": { "$bytes": "AAECAw==" } }));
        }
        *counts.entry(format!("{} {}", entry[0], entry[1])).or_default() += 1;
    }
    counts
}

fn expected(client: usize) -> BTreeMap<String, usize> {
    let mut rooms = rooms_of(client).to_vec();
    rooms.dedup();
    let mut counts = BTreeMap::new();
    for room in rooms {
        for round in 0..ROUNDS {
            for node in ["js-0", "js-1", "js-2", "rust-0", "rust-1"] {
                for kind in ["text", "bytes"] {
                    counts.insert(format!("\"{kind}\" \"{node}/{room}/{round}\""), 1);
                }
            }
        }
    }
    counts
}
