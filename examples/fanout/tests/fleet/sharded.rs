//! The sharded dialect against `createShardedAdapter` in static mode: on a single Redis 7, on the embedded
//! broker, and on a cluster of three masters.

use std::time::Duration;

use broker::Broker;
use fanout::{Mode, Options, Target};
use futures_util::StreamExt;
use serde_json::{Value as Json, json};

use crate::{
    Client::{OnJs, OnRust},
    Fleet, NOTHING,
    agent::Agent,
    node_js, patient,
    redis_server::{RedisCluster, RedisServer},
    rust_node::RustNode,
    support::Between,
};

#[tokio::test]
async fn sharded_on_one_redis_with_node_redis() {
    speaks(&Fleet::sharded().await).await;
}

#[tokio::test]
async fn sharded_on_one_redis_with_ioredis() {
    let between = Between::Redis(RedisServer::start().await);
    let redis = json!({ "urls": [between.url()], "library": "ioredis" });
    speaks(&Fleet::start_with(Mode::Sharded, between, &["/"], redis).await).await;
}

#[tokio::test]
async fn sharded_on_the_embedded_broker() {
    let between = Between::Broker(Broker::loopback(0).await.unwrap());
    speaks(&Fleet::start(Mode::Sharded, between, &["/"]).await).await;
}

#[tokio::test]
async fn sharded_on_a_cluster_of_three_masters() {
    speaks(&on_a_cluster(Mode::Sharded).await).await;
}

/// Not what a cluster is good for, but a fleet may find itself on one.
#[tokio::test]
async fn classic_on_a_cluster_of_three_masters() {
    let fleet = on_a_cluster(Mode::Classic).await;
    let rust_id = fleet.client(OnRust("rust"), &["a", "rust-only"]).await;
    let js_id = fleet.client(OnJs("js"), &["a", "js-only"]).await;
    fleet.client(OnRust("mute"), &["mute"]).await;
    broadcasts_from_rust(&fleet).await;
    questions(&fleet, &rust_id, &js_id).await;
    // node-redis publishes through any node of a cluster, so that nothing follows anything in order there.
    fleet.js.call("emit", json!({ "event": "said", "rooms": ["a"] })).await;
    for name in ["rust", "js"] {
        fleet.clients.call("received", json!({ "name": name, "event": "said" })).await;
    }
}

pub async fn on_a_cluster(mode: Mode) -> Fleet {
    let cluster = RedisCluster::start().await;
    let urls = cluster.urls();
    let js = Agent::start("node.cjs").await;
    let redis = json!({ "urls": urls, "cluster": true });
    let port = js.call("start", node_js(redis, mode)).await;
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let options = Options { mode, ..patient() };
    let rust = RustNode::serve(fanout::connect_cluster(&urls, options).await.unwrap(), &["/"]).await;
    Fleet::of(Between::Cluster(cluster), js, format!("http://127.0.0.1:{port}"), rust).await
}

/// What the documentation says of nodes in a dynamic mode, which is their default: all but what they say to one room alone.
#[tokio::test]
async fn of_a_dynamic_node_all_is_heard_but_what_it_says_to_one_room() {
    let redis = RedisServer::start().await;
    let js = Agent::start("node.cjs").await;
    let mut start = node_js(json!({ "urls": [redis.url()] }), Mode::Sharded);
    start["options"] = json!({ "subscriptionMode": "dynamic" });
    let port = js.call("start", start).await;
    let rust = RustNode::start(&redis.url(), Options { mode: Mode::Sharded, ..patient() }).await;
    let fleet = Fleet::of(Between::Redis(redis), js, format!("http://127.0.0.1:{port}"), rust).await;
    let rust_id = fleet.client(OnRust("rust"), &["a", "rust-only"]).await;
    let js_id = fleet.client(OnJs("js"), &["a", "js-only"]).await;
    fleet.client_with(OnRust("mute"), &["mute"], json!({ "mute": true })).await;
    fleet.js.call("emit", json!({ "event": "all" })).await;
    fleet.js.call("emit", json!({ "event": "two", "rooms": ["a", "nobody"] })).await;
    fleet.js.call("emit", json!({ "event": "except", "except": ["mute"] })).await;
    fleet.js.call("emit", json!({ "event": "one", "rooms": ["a"] })).await;
    fleet.js.call("emit", json!({ "event": "by-id", "rooms": [rust_id] })).await;
    let both = json!([["all"], ["two"], ["except"]]);
    // All are waited for: what is still on its way to one of them would be heard after the next fence.
    let heard = fleet.heard_after_js(&["rust", "js", "mute"]).await;
    assert_eq!(heard, [both, json!([["all"], ["two"], ["except"], ["one"]]), json!([["all"]])]);
    broadcasts_from_rust(&fleet).await;
    questions(&fleet, &rust_id, &js_id).await;
    acknowledgements(&fleet).await;
}

/// All message types, both ways.
pub async fn speaks(fleet: &Fleet) {
    let rust_id = fleet.client(OnRust("rust"), &["a", "rust-only"]).await;
    let js_id = fleet.client(OnJs("js"), &["a", "js-only"]).await;
    fleet.client_with(OnRust("mute"), &["mute"], json!({ "mute": true })).await;
    broadcasts_from_js(fleet).await;
    broadcasts_from_rust(fleet).await;
    moves(fleet).await;
    questions(fleet, &rust_id, &js_id).await;
    acknowledgements(fleet).await;
    fleet.js.call("disconnectSockets", json!({ "rooms": ["rust-only"], "close": true })).await;
    fleet.clients.call("received", json!({ "name": "rust", "event": "disconnect" })).await;
    fleet.rust.io.to("js-only").disconnect().await.unwrap();
    fleet.clients.call("received", json!({ "name": "js", "event": "disconnect" })).await;
    let stats = fleet.rust.fleet.stats();
    assert_eq!((stats.malformed, stats.dropped(), stats.gaps), (0, 0, 0), "{stats:?}");
}

async fn broadcasts_from_js(fleet: &Fleet) {
    let args = json!([{ "bytes": { "$bytes": "AQID" }, "at": { "$date": 0 } }, "text"]);
    fleet.js.call("emit", json!({ "event": "bytes", "args": args })).await;
    fleet.js.call("emit", json!({ "event": "room", "rooms": ["a"], "args": [{ "z": 1, "a": null }] })).await;
    fleet.js.call("emit", json!({ "event": "rust", "rooms": ["rust-only", "nobody"] })).await;
    fleet.js.call("emit", json!({ "event": "except", "except": ["a"] })).await;
    let bytes = json!(["bytes", { "bytes": { "$bytes": "AQID" }, "at": "1970-01-01T00:00:00.000Z" }, "text"]);
    let room = json!(["room", { "z": 1, "a": null }]);
    // Between a node and its own client a date is written by that node's own hands, and the same.
    let expected = [json!([bytes, room, ["rust"]]), json!([bytes, room]), json!([bytes, ["except"]])];
    assert_eq!(fleet.heard_after_js(&["rust", "js", "mute"]).await, expected);
}

async fn broadcasts_from_rust(fleet: &Fleet) {
    let io = &fleet.rust.io;
    io.emit("bytes", &(bytes::Bytes::from_static(&[1, 2, 3]), "text")).await.unwrap();
    io.to("a").emit("room", &json!({ "z": 1, "a": null })).await.unwrap();
    io.to(["js-only", "nobody"]).emit("js", &NOTHING).await.unwrap();
    io.except("a").emit("except", &NOTHING).await.unwrap();
    let bytes = json!(["bytes", { "$bytes": "AQID" }, "text"]);
    // serde_json sorts the keys of its own objects before they reach the adapter.
    let room = json!(["room", { "a": null, "z": 1 }]);
    let expected = [json!([bytes, room]), json!([bytes, room, ["js"]]), json!([bytes, ["except"]])];
    assert_eq!(fleet.heard_after_rust(&["rust", "js", "mute"]).await, expected);
}

async fn moves(fleet: &Fleet) {
    fleet.js.call("socketsJoin", json!({ "rooms": ["rust-only"], "join": ["new", 7] })).await;
    fleet.js.call("emit", json!({ "event": "joined", "rooms": ["new"] })).await;
    fleet.js.call("emit", json!({ "event": "joined-7", "rooms": [7] })).await;
    fleet.js.call("socketsLeave", json!({ "rooms": ["a"], "leave": ["new"] })).await;
    fleet.js.call("emit", json!({ "event": "left", "rooms": ["new"] })).await;
    assert_eq!(fleet.heard_after_js(&["rust"]).await, [json!([["joined"], ["joined-7"]])]);
    fleet.rust.io.to("js-only").join(["new"]).await.unwrap();
    fleet.rust.io.to("new").emit("joined", &NOTHING).await.unwrap();
    fleet.rust.io.to("a").leave(["new"]).await.unwrap();
    fleet.rust.io.to("new").emit("left", &NOTHING).await.unwrap();
    assert_eq!(fleet.heard_after_rust(&["js"]).await, [json!([["joined"]])]);
}

async fn questions(fleet: &Fleet, rust_id: &str, js_id: &str) {
    let ids = |sockets: &Json| {
        let mut ids: Vec<_> =
            sockets.as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect();
        ids.sort();
        ids
    };
    let mut both = vec![rust_id.to_owned(), js_id.to_owned()];
    both.sort();
    assert_eq!(ids(&fleet.js.call("fetchSockets", json!({ "rooms": ["a"] })).await), both);
    let namespace = fleet.rust.fleet.of("/").unwrap();
    assert_eq!(ids(&json!(namespace.fetch_sockets(Target::room("a")).await.unwrap())), both);
    let rooms = namespace.all_rooms().await.unwrap();
    assert!(["js-only", "rust-only", js_id, rust_id].iter().all(|room| rooms.contains(*room)), "{rooms:?}");

    let answers = fleet.js.call("serverSideEmitWithAck", json!({ "args": ["ask", { "x": 1 }] })).await;
    assert_eq!(answers, json!([{ "node": "rust", "argument": { "x": 1 } }]));
    let answers = namespace.server_side_emit_with_ack("ask", [json!(2)]).await.unwrap();
    assert_eq!(answers, [json!({ "node": "js", "argument": 2 })]);
    namespace.server_side_emit("tell", [json!(3)]);
    assert_eq!(fleet.js.call("heard", json!({ "count": 1 })).await, json!([[3]]));
}

async fn acknowledgements(fleet: &Fleet) {
    let answer =
        fleet.js.call("emitWithAck", json!({ "rooms": ["a"], "event": "ask", "timeout": 30000 })).await;
    let mut answers: Vec<_> =
        answer["answers"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    answers.sort_unstable();
    assert_eq!((&answer["error"], answers), (&json!(null), vec!["js", "rust"]));
    let bytes = json!([{ "$bytes": "AQID" }]);
    let ask = json!({ "rooms": ["mute"], "event": "ask", "args": bytes, "timeout": 400 });
    let answer = fleet.js.call("emitWithAck", ask).await;
    assert_eq!(answer, json!({ "error": "operation has timed out", "answers": [] }));

    let operator = fleet.rust.io.to("a").timeout(Duration::from_secs(30));
    let acks = operator.emit_with_ack::<_, Json>("ask", &NOTHING).await.unwrap();
    let mut acks: Vec<_> = acks.map(|(_, ack)| ack.unwrap().as_str().unwrap().to_owned()).collect().await;
    acks.sort();
    assert_eq!(acks, ["js", "rust"]);
}
