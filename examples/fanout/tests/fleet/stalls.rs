//! Redis that is there and says nothing: what is short loses nothing, and what lasts is given up, within bounds.

use std::time::Duration;

use fanout::{DropReason, Event, Mode, Options, Side};
use serde_json::json;

use crate::{
    Client::{OnJs, OnRust},
    Fleet, NOTHING,
    agent::Agent,
    four::Four,
    node_js,
    outages::{listening, numbers, offered, talk, told_error},
    patient,
    redis_server::RedisServer,
    rust_node::RustNode,
    support::Between,
    until,
};

/// Both nodes say `count` numbered messages to the room, two hundred a second each, while Redis is stopped.
async fn redis_that_stalls_loses_nothing(mode: Mode, count: usize) {
    let redis = RedisServer::start().await;
    let js = Agent::start("node.cjs").await;
    let start = node_js(json!({ "urls": [redis.url()] }), mode);
    let port = js.call("start", start).await;
    let (options, told) = listening();
    let options = Options { mode, on_event: options.on_event, ..patient() };
    let rust = RustNode::start(&redis.url(), options).await;
    let fleet = Fleet::of(Between::Redis(redis), js, format!("http://127.0.0.1:{port}"), rust).await;
    fleet.client(OnRust("rust"), &["room"]).await;
    fleet.client(OnJs("js"), &["room"]).await;

    let Between::Redis(redis) = &fleet.between else { unreachable!() };
    redis.signal("STOP").await;
    for first in (0..count).step_by(100) {
        talk(&fleet.rust, first, 100).await;
        let code = format!("for (let n = {first}; n < {first} + 100; n++) io.to('room').emit('js', n)");
        fleet.js.call("run", json!({ "code": code })).await;
    }
    let during = fleet.rust.fleet.stats();
    assert_eq!((during.gaps, during.dropped()), (0, 0), "{during:?}");
    redis.signal("CONT").await;

    assert_eq!(numbers(&fleet.clients, "js", "said", count).await, (0..count).collect::<Vec<_>>());
    let log = fleet.clients.call("received", json!({ "name": "rust", "event": "js", "count": count })).await;
    let heard = log.as_array().unwrap().iter().filter(|entry| entry[0] == "js");
    let heard: Vec<_> = heard.map(|entry| entry[1].as_u64().unwrap() as usize).collect();
    assert_eq!(heard, (0..count).collect::<Vec<_>>());
    let stats = fleet.rust.fleet.stats();
    assert_eq!((stats.gaps, stats.dropped(), stats.connects), (0, 0, 2), "{stats:?}");
    let is_stall = |event: &Event| matches!(event, Event::Stalled(Side::Publisher));
    assert!(told.lock().unwrap().iter().any(is_stall), "the hook is told");
    until("the hook is told that it is over", async || {
        told.lock().unwrap().iter().any(|event| matches!(event, Event::Resumed { side: Side::Publisher, .. }))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_stalls_for_two_and_a_half_seconds_loses_nothing() {
    redis_that_stalls_loses_nothing(Mode::Classic, 500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_stalls_for_five_seconds_loses_nothing() {
    redis_that_stalls_loses_nothing(Mode::Sharded, 1000).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_stalls_for_ten_seconds_under_four_speakers_loses_nothing() {
    let redis = RedisServer::start().await;
    // As patient as the stall is long; node-redis gives up commands that wait for five seconds.
    let start = json!({ "urls": [redis.url()], "library": "ioredis" });
    let connect = async || fanout::connect(&redis.url(), patient()).await.unwrap();
    let four = Four::start(Mode::Classic, start, connect).await;
    let stall = async {
        redis.signal("STOP").await;
        // At two hundred a second: what a client of this node hears of its own node.
        let heard = four.clients.call("count", json!({ "name": "rust1", "event": "said" })).await;
        let until = heard.as_u64().unwrap() + 2000;
        four.clients.call("count", json!({ "name": "rust1", "event": "said", "atLeast": until })).await;
        redis.signal("CONT").await;
    };
    let rows = four.talk_while(stall).await;
    assert!(rows.iter().all(|row| (row.lost, row.astray) == (0, 0)), "{rows:#?}");
    for node in &four.rust {
        let stats = node.fleet.stats();
        assert_eq!((stats.gaps, stats.dropped(), stats.clients_missed), (0, 0, 0), "{stats:?}");
    }
}

#[tokio::test]
async fn a_gap_begins_at_the_last_sign_of_life() {
    let redis = RedisServer::start().await;
    let node = RustNode::start(&redis.url(), patient()).await;
    redis.signal("STOP").await;
    talk(&node, 0, 100).await;
    let silent = tokio::time::Instant::now();
    talk(&node, 100, 300).await;
    // Only now does the connection end.
    redis.signal("KILL").await;
    until("the gap is seen", async || node.fleet.stats().in_gap).await;
    let missed = silent.elapsed();
    assert!(node.fleet.stats().gap_time >= missed, "{:?} of {missed:?}", node.fleet.stats().gap_time);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_stays_silent_is_given_up_in_the_end() {
    let redis = RedisServer::start().await;
    let (options, told) = listening();
    let options = Options { stall_max: Duration::from_millis(500), ..options };
    let node = RustNode::start(&redis.url(), options).await;
    redis.signal("STOP").await;
    node.io.emit("said", &NOTHING).await.unwrap();
    until("both connections are given up", async || {
        let stats = node.fleet.stats();
        // Behind a ping it is not even sent.
        stats.dropped() == 1 && stats.in_gap
    })
    .await;
    told_error(&told, "silent").await;
    redis.signal("CONT").await;
    until("it is back", async || node.fleet.of("/").unwrap().server_count().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_that_hangs_fills_the_queue_and_nothing_else() {
    let redis = RedisServer::start().await;
    let (options, told) = listening();
    let emit_wait_max = Duration::from_millis(500);
    let options = Options { publish_queue_max: 100, emit_wait_max, on_event: options.on_event, ..patient() };
    let node = RustNode::start(&redis.url(), options).await;
    let clients = Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "rust", "url": node.url })).await;
    clients.call("join", json!({ "name": "rust", "rooms": ["room"] })).await;

    redis.signal("STOP").await;
    let mut said = 0;
    while node.fleet.stats().dropped_queue_full == 0 {
        // It fails when the queue is full, and local clients have it even so.
        let sent = node.io.to("room").emit("said", &said).await;
        assert_eq!(sent.is_err(), node.fleet.stats().dropped_queue_full > 0);
        said += 1;
        // A client has a queue of its own, which must not be what overflows.
        clients.call("received", json!({ "name": "rust", "event": "said", "count": said })).await;
    }
    redis.signal("CONT").await;
    until("what was queued is published", async || node.fleet.stats().published == said as u64 - 1).await;
    node.io.to("room").emit("said", &said).await.unwrap();
    said += 1;

    assert_eq!(numbers(&clients, "rust", "said", said).await, (0..said).collect::<Vec<_>>());
    until("every message is accounted for", async || offered(node.fleet.stats()) == said as u64).await;
    until("the hook is told", async || {
        told.lock().unwrap().iter().any(|event| matches!(event, Event::Dropped { .. }))
    })
    .await;
    let told = told.lock().unwrap();
    let dropped = |wanted: DropReason| -> u64 {
        let counts = told.iter().filter_map(|event| match event {
            Event::Dropped { count, reason } if *reason == wanted => Some(*count),
            _ => None,
        });
        counts.sum()
    };
    let stats = node.fleet.stats();
    assert_eq!(dropped(DropReason::QueueFull), stats.dropped_queue_full, "the hook was told of each");
    assert_eq!((stats.dropped(), stats.gaps), (stats.dropped_queue_full, 0), "{stats:?}");
}
