//! Streams beside `@socket.io/redis-streams-adapter` 0.3: what one kind of node adds the other reads, clients of Node.js
//! nodes keep their connection state recovery, and whoever was cut off reads on.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fanout::{Event, Mode, Options, Side, connect_sentinel};
use serde_json::{Value as Json, json};

use crate::{
    Client::{OnJs, OnRust},
    Fleet,
    agent::Agent,
    failover::{SERVICE, TORN, Watched},
    four::{Four, NAMES, Row},
    node_js, patient, persistent,
    redis_server::RedisServer,
    rust_node::RustNode,
    sharded::{on_a_cluster, speaks},
    support::Between,
    until,
};

async fn fleet(redis: Json, between: Between) -> Fleet {
    Fleet::start_with(Mode::Streams, between, &["/"], redis).await
}

#[tokio::test]
async fn streams_on_one_redis_with_node_redis() {
    let between = Between::Redis(RedisServer::start().await);
    speaks(&fleet(json!({ "urls": [between.url()] }), between).await).await;
}

#[tokio::test]
async fn streams_on_one_redis_with_ioredis() {
    let between = Between::Redis(RedisServer::start().await);
    let redis = json!({ "urls": [between.url()], "library": "ioredis" });
    speaks(&fleet(redis, between).await).await;
}

#[tokio::test]
async fn streams_on_a_cluster_of_three_masters() {
    speaks(&on_a_cluster(Mode::Streams).await).await;
}

#[tokio::test]
async fn namespaces_find_their_stream_among_three() {
    let redis = RedisServer::start().await;
    let js = Agent::start("node.cjs").await;
    let mut start = node_js(json!({ "urls": [redis.url()] }), Mode::Streams);
    start["options"] = json!({ "streamCount": 3 });
    // One in each stream.
    let namespaces = ["/", "/chat", "/news"];
    start["namespaces"] = json!(namespaces);
    let port = js.call("start", start).await;
    let options = Options { mode: Mode::Streams, stream_count: 3, ..patient() };
    let rust = RustNode::serve(fanout::connect(&redis.url(), options).await.unwrap(), &namespaces).await;
    let fleet = Fleet::of(Between::Redis(redis), js, format!("http://127.0.0.1:{port}"), rust).await;
    for ns in namespaces {
        fleet.assembled(ns, 2).await;
        fleet.client_with(OnRust("rust"), &["room"], json!({ "ns": ns })).await;
        fleet.client_with(OnJs("js"), &["room"], json!({ "ns": ns })).await;
        fleet.js.call("emit", json!({ "ns": ns, "rooms": ["room"], "event": "said" })).await;
        fleet.clients.call("received", json!({ "name": "rust", "event": "said" })).await;
        fleet.rust.io.of(ns).unwrap().to("room").emit("said", &crate::NOTHING).await.unwrap();
        fleet.clients.call("received", json!({ "name": "js", "event": "said", "count": 2 })).await;
    }
}

/// A client loses its connection, comes back, and says what it heard until `end`.
async fn comes_back(fleet: &Fleet, name: &'static str) -> (Json, Vec<Json>) {
    let io = &fleet.rust.io;
    let Between::Redis(redis) = &fleet.between else { unreachable!() };
    let length = async || {
        let length = redis.command(&["XLEN", "socket.io"]).await.unwrap();
        redis::from_redis_value::<usize>(length).unwrap()
    };
    let before = length().await;
    io.to("room").emit("said", &1).await.unwrap();
    fleet.clients.call("received", json!({ "name": name, "event": "said" })).await;
    fleet.clients.call("lose", json!({ "name": name })).await;
    // Until its node knows, or it would be back before it was away.
    until("the client is gone", async || {
        fleet.js.call("fetchSockets", json!({ "rooms": ["room"] })).await == json!([])
    })
    .await;
    io.to("room").emit("said", &2).await.unwrap();
    io.to("another room").emit("said", &99).await.unwrap();
    io.except("room").emit("said", &99).await.unwrap();
    io.to("room").emit("said", &(3, Bytes::from_static(&[1, 2]))).await.unwrap();
    io.broadcast().emit("said", &4).await.unwrap();
    // Until it is all in the stream: an emit only queues it, and the other node says the last word.
    until("it is in the stream", async || length().await == before + 6).await;
    fleet.js.call("emit", json!({ "event": "said", "rooms": ["room"], "args": [5] })).await;
    let back = fleet.clients.call("comeBack", json!({ "name": name })).await;
    fleet.js.call("emit", json!({ "event": "end" })).await;
    let log = fleet.clients.call("received", json!({ "name": name, "event": "end" })).await;
    let said = log.as_array().unwrap().iter().filter(|entry| entry[0] == "said");
    (back, said.cloned().collect())
}

async fn recovering() -> Fleet {
    let redis = RedisServer::start().await;
    let js = Agent::start("node.cjs").await;
    let mut start = node_js(json!({ "urls": [redis.url()] }), Mode::Streams);
    start["recovery"] = json!(true);
    let port = js.call("start", start).await;
    let rust = RustNode::start(&redis.url(), Options { mode: Mode::Streams, ..patient() }).await;
    Fleet::of(Between::Redis(redis), js, format!("http://127.0.0.1:{port}"), rust).await
}

#[tokio::test]
async fn a_client_of_a_node_that_recovers_finds_what_rust_nodes_said() {
    let fleet = recovering().await;
    let id = fleet.client_with(OnJs("js"), &["room"], json!({ "reconnection": false })).await;
    let (back, said) = comes_back(&fleet, "js").await;
    assert_eq!(back, json!({ "recovered": true, "id": id }));
    let numbers: Vec<_> = said.iter().map(|entry| entry[1].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5], "{said:?}");
    let with_bytes = said.iter().find(|entry| entry[1] == 3).unwrap();
    assert_eq!(with_bytes[2], json!({ "$bytes": "AQI=" }));
}

/// Which is what the documentation says.
#[tokio::test]
async fn a_client_of_a_rust_node_starts_anew() {
    let fleet = recovering().await;
    let id = fleet.client_with(OnRust("rust"), &["room"], json!({ "reconnection": false })).await;
    let (back, said) = comes_back(&fleet, "rust").await;
    assert!(back["recovered"] != json!(true) && back["id"] != json!(id), "{back}");
    // Not in the room again, it hears what is said to all; without the place in the stream that Node.js nodes add.
    assert_eq!(said[0], json!(["said", 1]));
    assert!(said.iter().all(|entry| [json!(1), json!(4)].contains(&entry[1])), "{said:?}");
}

/// Both kinds of nodes read the same stream, so that of each node's messages all others miss the same ones: those that
/// never came into it. A Rust node counts its own, and says nothing twice. (ioredis sends again what was not confirmed.)
fn check(four: &Four, rows: &[Row]) {
    for from in NAMES {
        let of_others = || rows.iter().filter(|row| row.from == from && row.to != from);
        let lost: Vec<_> = of_others().map(|row| (row.lost, row.astray)).collect();
        assert!(lost.iter().all(|row| *row == lost[0]), "{rows:#?}");
    }
    for (node, name) in four.rust.iter().zip(&NAMES[2..]) {
        let stats = node.fleet.stats();
        assert_eq!(stats.dropped(), stats.dropped_unconfirmed, "{stats:?}");
        for row in rows.iter().filter(|row| row.from == *name) {
            assert!(row.lost as u64 <= stats.dropped_unconfirmed && row.astray == 0, "{stats:?}\n{rows:#?}");
        }
    }
}

async fn four(redis: &RedisServer) -> Four {
    let options = || Options { mode: Mode::Streams, ..patient() };
    let urls = json!({ "urls": [redis.url()], "library": "ioredis" });
    Four::start(Mode::Streams, urls, async || fanout::connect(&redis.url(), options()).await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_that_are_cut_off_read_on() {
    let redis = RedisServer::start().await;
    let four = four(&redis).await;
    let rows = four
        .talk_while(async {
            for _ in 0..3 {
                redis.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await.unwrap();
                four.assembled().await;
            }
        })
        .await;
    check(&four, &rows);
    for node in &four.rust {
        assert_eq!(node.fleet.stats().gaps, 0, "their subscription was never cut off");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_stalls_loses_nothing_in_a_stream() {
    let redis = RedisServer::start().await;
    let four = four(&redis).await;
    let rows = four
        .talk_while(async {
            redis.signal("STOP").await;
            // Five seconds, told by what local clients hear.
            let clients = &four.clients;
            let so_far = clients.call("count", json!({ "name": "rust1", "event": "said" })).await;
            let then = so_far.as_u64().unwrap() + 1000;
            clients.call("count", json!({ "name": "rust1", "event": "said", "atLeast": then })).await;
            redis.signal("CONT").await;
        })
        .await;
    assert!(rows.iter().all(|row| (row.lost, row.astray) == (0, 0)), "{rows:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_has_the_stream() {
    let mut watched = Watched::start().await;
    let redis = json!({ "urls": [watched.url], "sentinel": SERVICE });
    let options = || Options { mode: Mode::Streams, ..persistent() };
    let four = Four::start(Mode::Streams, redis, async || {
        connect_sentinel(&[&watched.url], SERVICE, options()).await.unwrap()
    })
    .await;
    let rows = four
        .talk_while(async {
            watched.servers[0].stop().await;
            watched.taken_over().await;
        })
        .await;
    // A master that dies may have written an entry to one reader and not yet to its replica.
    for from in &NAMES[..2] {
        let lost = |to: &str| {
            let others = rows.iter().filter(|row| row.from == *from && row.to != *from);
            others.filter(|row| row.to.starts_with(to)).map(|row| row.lost).max().unwrap()
        };
        assert!(lost("rust") <= lost("js") + TORN, "{rows:#?}");
    }
    assert!(rows.iter().all(|row| row.astray == 0 || row.from.starts_with("js")), "{rows:#?}");
}

/// Remembers what the hook was told.
fn listening() -> (Options, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let on_event = Arc::new(move |event: &Event| listener.lock().unwrap().push(event.clone()));
    (Options { mode: Mode::Streams, on_event: Some(on_event), ..patient() }, told)
}

async fn alone() -> (Fleet, Arc<Mutex<Vec<Event>>>) {
    let redis = RedisServer::start().await;
    let js = Agent::start("node.cjs").await;
    let port = js.call("start", node_js(json!({ "urls": [redis.url()] }), Mode::Streams)).await;
    let (options, told) = listening();
    let rust = RustNode::start(&redis.url(), options).await;
    let fleet = Fleet::of(Between::Redis(redis), js, format!("http://127.0.0.1:{port}"), rust).await;
    fleet.client(OnRust("rust"), &["room"]).await;
    (fleet, told)
}

#[tokio::test]
async fn a_stream_that_is_gone_is_a_gap_and_the_next_one_is_read() {
    let (mut fleet, told) = alone().await;
    let Between::Redis(redis) = &mut fleet.between else { unreachable!() };
    // As if the clock of the next Redis were behind that of this one.
    let far = ["XADD", "socket.io", "99999999999999-0", "uid", "them", "nsp", "/", "type", "3", "data"];
    let data = r#"{"packet":{"type":2,"data":["far"],"nsp":"/"},"opts":{"rooms":[],"except":[],"flags":{}}}"#;
    redis.command(&[&far[..], &[data]].concat()).await.unwrap();
    fleet.clients.call("received", json!({ "name": "rust", "event": "far" })).await;
    redis.stop().await;
    assert!(redis.resume().await);
    until("it reads again", async || {
        let is = |event: &&Event| matches!(event, Event::Connected(Side::Reader));
        told.lock().unwrap().iter().filter(is).count() >= 2
    })
    .await;
    fleet.assembled("/", 2).await;
    fleet.js.call("emit", json!({ "rooms": ["room"], "event": "back" })).await;
    fleet.clients.call("received", json!({ "name": "rust", "event": "back" })).await;
    // One of the stream, one of the subscription.
    let stats = fleet.rust.fleet.stats();
    assert!(stats.gaps >= 2 && !stats.in_gap, "{stats:?}");
}

#[tokio::test]
async fn a_reader_that_is_overtaken_by_the_end_of_the_stream_counts_a_gap() {
    let (fleet, _) = alone().await;
    let Between::Redis(redis) = &fleet.between else { unreachable!() };
    fleet.js.call("emit", json!({ "rooms": ["room"], "event": "first" })).await;
    fleet.clients.call("received", json!({ "name": "rust", "event": "first" })).await;
    // A script is one step to all others.
    let script = r#"
        for n = 1, 1000 do
            local data = '{"packet":{"type":2,"data":["said",' .. n .. '],"nsp":"/"},"opts":{"rooms":[],"except":[],"flags":{}}}'
            redis.call('XADD', 'socket.io', 'MAXLEN', 150, '*', 'uid', 'them', 'nsp', '/', 'type', '3', 'data', data)
        end"#;
    redis.command(&["EVAL", script, "0"]).await.unwrap();
    let log = fleet.clients.call("received", json!({ "name": "rust", "event": "said", "count": 150 })).await;
    assert_eq!(log.as_array().unwrap().last().unwrap()[1], json!(1000));
    until("it is counted", async || fleet.rust.fleet.stats().gaps >= 1).await;
}

#[tokio::test]
async fn no_stream_at_all_is_an_error_at_once() {
    let options = Options { mode: Mode::Streams, stream_count: 0, ..Options::default() };
    let error = fanout::connect("redis://127.0.0.1:1", options).await.unwrap_err().to_string();
    assert!(error.contains("stream_count"), "{error}");
}
