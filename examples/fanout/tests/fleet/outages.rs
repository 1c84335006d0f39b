//! Redis stopped, restarted, or there too late: local rooms never notice, and every loss is counted.
//!
//! An outage is measured in messages that local clients heard while it lasted, not in seconds.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanout::{Event, Options, Side, Stats, Target};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Client::{OnJs, OnRust},
    Fleet, NOTHING,
    agent::Agent,
    patient,
    redis_server::RedisServer,
    rust_node::RustNode,
    support::{Between, until_says},
    until,
};

/// Says `count` numbered messages to the room, two hundred a second, from `first` on.
pub(super) async fn talk(node: &RustNode, first: usize, count: usize) {
    let mut beat = interval(Duration::from_millis(5));
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in first..first + count {
        beat.tick().await;
        node.io.to("room").emit("said", &number).await.unwrap();
    }
}

/// The numbers that a client heard, once it has heard `count` messages.
pub(super) async fn numbers(clients: &Agent, name: &str, event: &str, count: usize) -> Vec<usize> {
    let log = clients.call("received", json!({ "name": name, "event": event, "count": count })).await;
    let said = log.as_array().unwrap().iter().filter(|entry| entry[0] == "said");
    said.map(|entry| entry[1].as_u64().unwrap() as usize).collect()
}

pub(super) fn offered(stats: Stats) -> u64 {
    stats.published + stats.dropped()
}

/// Remembers what the hook was told.
pub(super) fn listening() -> (Options, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let on_event = Arc::new(move |event: &Event| listener.lock().unwrap().push(event.clone()));
    (Options { on_event: Some(on_event), ..Options::default() }, told)
}

/// Until a gap is over that came after the first `before`. How many there were is the machine's business: one that is busy
/// may lose a connection twice.
pub(super) async fn misses_and_is_back(node: &RustNode, before: u64) {
    let what = || format!("a gap that is over: {:?}", node.fleet.stats());
    until_says(what, async || {
        let stats = node.fleet.stats();
        stats.gaps > before && !stats.in_gap
    })
    .await;
}

pub(super) async fn told_error(told: &Mutex<Vec<Event>>, wanted: &str) {
    let is_wanted =
        |event: &Event| matches!(event, Event::Disconnected { error, .. } if error.contains(wanted));
    until(wanted, async || told.lock().unwrap().iter().any(is_wanted)).await;
}

/// A local client hears what its node says.
pub(super) async fn serves_locally(node: &RustNode) {
    let clients = Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "local", "url": node.url })).await;
    clients.call("join", json!({ "name": "local", "rooms": ["room"] })).await;
    node.io.to("room").emit("said", &NOTHING).await.unwrap();
    clients.call("received", json!({ "name": "local", "event": "said" })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stopped_for_five_seconds_under_200_messages_a_second() {
    let mut fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["room"]).await;
    fleet.client(OnJs("js"), &["room"]).await;
    talk(&fleet.rust, 0, 200).await;
    assert_eq!(numbers(&fleet.clients, "js", "said", 200).await, (0..200).collect::<Vec<_>>());

    let Between::Redis(redis) = &mut fleet.between else { unreachable!() };
    redis.stop().await;
    let attempts_before = fleet.rust.fleet.stats().connects;
    talk(&fleet.rust, 200, 1000).await;
    // All of them, though none has left the node.
    assert_eq!(numbers(&fleet.clients, "rust", "said", 1200).await, (0..1200).collect::<Vec<_>>());
    let during = fleet.rust.fleet.stats();
    assert!(during.in_gap && during.dropped_disconnected == 0, "{during:?}");
    // Both connections, each at least once a second.
    assert!(during.connects - attempts_before >= 10, "{during:?}");

    assert!(redis.resume().await);
    fleet.assembled("/", 2).await;
    talk(&fleet.rust, 1200, 200).await;
    until("every message is accounted for", async || offered(fleet.rust.fleet.stats()) == 1400).await;
    let stats = fleet.rust.fleet.stats();
    assert_eq!(stats.dropped(), 0, "{stats:?}");
    // What was said meanwhile has waited for the other node, and leaves in its order.
    let js = numbers(&fleet.clients, "js", "said", 1400).await;
    assert_eq!(js, (0..1400).collect::<Vec<_>>());
    assert_eq!(numbers(&fleet.clients, "rust", "said", 1400).await, (0..1400).collect::<Vec<_>>());
    assert!(stats.gaps >= 1 && !stats.in_gap, "{stats:?}");
    assert!(stats.gap_time > Duration::ZERO);
    // And the other way round.
    fleet.js.call("emit", json!({ "rooms": ["room"], "event": "back", "args": [] })).await;
    fleet.clients.call("received", json!({ "name": "rust", "event": "back" })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_is_gone_costs_no_memory_beyond_the_bounds() {
    let mut redis = RedisServer::start().await;
    let options = Options { publish_queue_max: 64, publish_bytes_max: 16 << 10, ..patient() };
    let node = RustNode::start(&redis.url(), options).await;
    redis.stop().await;
    until("it is gone", async || node.fleet.stats().in_gap).await;
    // Four megabytes at a queue of sixteen kilobytes: no more than that may ever be published of it.
    let text = "x".repeat(1024);
    for _ in 0..4096 {
        node.io.to("room").emit("said", &text).await.unwrap();
    }
    assert!(node.fleet.stats().dropped() >= 4096 - 16, "{:?}", node.fleet.stats());
    assert!(redis.resume().await);
    until("every message is accounted for", async || offered(node.fleet.stats()) == 4096).await;
    let stats = node.fleet.stats();
    assert!((1..=16).contains(&stats.published), "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_for_too_long_is_dropped() {
    let mut redis = RedisServer::start().await;
    let hold_max = Duration::from_millis(300);
    let (options, told) = listening();
    let node = RustNode::start(&redis.url(), Options { hold_max, ..options }).await;
    redis.stop().await;
    until("it is gone", async || {
        let gone = |event: &Event| matches!(event, Event::Disconnected { side: Side::Publisher, .. });
        told.lock().unwrap().iter().any(gone)
    })
    .await;
    node.io.emit("said", &NOTHING).await.unwrap();
    until("it is given up", async || node.fleet.stats().dropped_disconnected == 1).await;
    node.io.emit("said", &NOTHING).await.unwrap();
    assert_eq!(node.fleet.stats().dropped_disconnected, 2, "nothing is held any more");
}

#[tokio::test]
async fn redis_that_comes_later_is_joined() {
    let mut redis = RedisServer::start().await;
    redis.stop().await;
    let (options, told) = listening();
    let node = RustNode::start(&redis.url(), options).await;
    serves_locally(&node).await;
    assert!(node.fleet.of("/").unwrap().server_count().await.is_err());
    assert_eq!(node.fleet.stats().dropped_disconnected, 1);
    assert!(redis.resume().await);
    until("it is joined", async || {
        node.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 1)
    })
    .await;
    let told = told.lock().unwrap();
    assert!(told.iter().any(|event| matches!(event, Event::Connected(Side::Subscriber))), "{told:?}");
}

#[tokio::test]
async fn a_subscription_that_is_cut_is_a_gap_and_comes_back() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &[]).await;
    let Between::Redis(redis) = &fleet.between else { unreachable!() };
    let before = fleet.rust.fleet.stats().gaps;
    redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]).await.unwrap();
    misses_and_is_back(&fleet.rust, before).await;
    fleet.assembled("/", 2).await;
    fleet.js.call("emit", json!({ "event": "back" })).await;
    fleet.clients.call("received", json!({ "name": "rust", "event": "back" })).await;
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_counted_in_the_error() {
    let redis = RedisServer::start().await;
    let options = Options { request_timeout: Duration::from_secs(5), requests_max: 1, ..patient() };
    let node = RustNode::start(&redis.url(), options).await;
    let other = RustNode::start(&redis.url(), patient()).await;
    // Subscribed like a node, and deaf.
    let client = redis::Client::open(redis.url()).unwrap();
    let mut deaf = client.get_async_pubsub().await.unwrap();
    deaf.subscribe("socket.io-request#/#").await.unwrap();
    let namespace = node.fleet.of("/").unwrap();
    assert_eq!(namespace.server_count().await.unwrap(), 3);
    let (rooms, sockets) = tokio::join!(namespace.all_rooms(), namespace.fetch_sockets(Target::everyone()));
    let mut errors = [rooms.unwrap_err().to_string(), sockets.unwrap_err().to_string()];
    errors.sort();
    assert_eq!(errors, ["1 of 2 nodes answered in time", "too many requests to other nodes at once"]);
    drop(deaf);
    until("it is gone", async || namespace.server_count().await.is_ok_and(|count| count == 2)).await;
    assert_eq!(namespace.all_rooms().await.unwrap().len(), 0);
    drop(other);
}

#[tokio::test]
async fn a_namespace_that_is_removed_leaves_the_fleet() {
    let redis = RedisServer::start().await;
    let fleet = fanout::connect(&redis.url(), patient()).await.unwrap();
    let node = RustNode::serve(fleet, &["/", "/gone"]).await;
    let subscribers = async || {
        let reply = redis.command(&["PUBSUB", "NUMSUB", "socket.io-request#/gone#"]).await.unwrap();
        let (_, count): (String, usize) = redis::from_redis_value(reply).unwrap();
        count
    };
    assert_eq!(subscribers().await, 1);
    node.io.delete_ns("/gone");
    until("it is unsubscribed", async || subscribers().await == 0).await;
    assert!(node.fleet.of("/gone").is_none());
    node.io.ns("/gone", async || {}).await;
    assert_eq!(subscribers().await, 1);
    assert_eq!(node.fleet.of("/gone").unwrap().server_count().await.unwrap(), 1);
    assert_eq!(node.fleet.of("/").unwrap().server_count().await.unwrap(), 1);
}
