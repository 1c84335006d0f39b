//! Redis stopped, restarted, slow, protected, or refusing: local rooms never notice, and every loss is counted.
//!
//! An outage is measured in messages that local clients heard while it lasted, not in seconds.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
    time::Duration,
};

use fanout::{DropReason, Event, Mode, Options, Side, Stats, Target};
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    Client::{OnJs, OnRust},
    Fleet, NOTHING,
    agent::Agent,
    four::Four,
    node_js, patient, persistent,
    redis_server::{RedisCluster, RedisServer},
    rust_node::RustNode,
    support::{Between, until_says},
    until,
};

/// Says `count` numbered messages to the room, two hundred a second, from `first` on.
async fn talk(node: &RustNode, first: usize, count: usize) {
    let mut beat = interval(Duration::from_millis(5));
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in first..first + count {
        beat.tick().await;
        node.io.to("room").emit("said", &number).await.unwrap();
    }
}

/// The numbers that a client heard, once it has heard `count` messages.
async fn numbers(clients: &Agent, name: &str, event: &str, count: usize) -> Vec<usize> {
    let log = clients.call("received", json!({ "name": name, "event": event, "count": count })).await;
    let said = log.as_array().unwrap().iter().filter(|entry| entry[0] == "said");
    said.map(|entry| entry[1].as_u64().unwrap() as usize).collect()
}

fn offered(stats: Stats) -> u64 {
    stats.published + stats.dropped()
}

/// Remembers what the hook was told.
fn listening() -> (Options, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let on_event = Arc::new(move |event: &Event| listener.lock().unwrap().push(event.clone()));
    (Options { on_event: Some(on_event), ..Options::default() }, told)
}

/// Until a gap is over that came after the first `before`. How many there were is the machine's business: one that is busy
/// may lose a connection twice.
async fn misses_and_is_back(node: &RustNode, before: u64) {
    let what = || format!("a gap that is over: {:?}", node.fleet.stats());
    until_says(what, async || {
        let stats = node.fleet.stats();
        stats.gaps > before && !stats.in_gap
    })
    .await;
}

async fn told_error(told: &Mutex<Vec<Event>>, wanted: &str) {
    let is_wanted =
        |event: &Event| matches!(event, Event::Disconnected { error, .. } if error.contains(wanted));
    until(wanted, async || told.lock().unwrap().iter().any(is_wanted)).await;
}

/// A local client hears what its node says.
async fn serves_locally(node: &RustNode) {
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
async fn redis_with_a_password() {
    let redis = RedisServer::with(&["--requirepass", "secret"]).await;
    let with = |password: &str| format!("redis://:{password}@127.0.0.1:{}", redis.port);
    let good = RustNode::start(&with("secret"), patient()).await;
    assert_eq!(good.fleet.of("/").unwrap().server_count().await.unwrap(), 1);

    let (options, told) = listening();
    let wrong = RustNode::start(&with("wrong"), options).await;
    told_error(&told, "WRONGPASS").await;
    serves_locally(&wrong).await;
    // It keeps trying: once the password is right it is in.
    let mut connection = crate::connection(&with("secret")).await.unwrap();
    let set: redis::RedisResult<()> =
        redis::cmd("CONFIG").arg(&["SET", "requirepass", "wrong"]).query_async(&mut connection).await;
    set.unwrap();
    until("it is in", async || {
        wrong.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 2)
    })
    .await;
}

#[tokio::test]
async fn redis_that_forbids_publishing_refuses_and_is_counted() {
    let redis = RedisServer::start().await;
    redis.command(&["ACL", "SETUSER", "reader", "on", ">p", "~*", "&*", "+@all", "-publish"]).await.unwrap();
    let node = RustNode::start(&format!("redis://reader:p@127.0.0.1:{}", redis.port), patient()).await;
    for _ in 0..5 {
        node.io.emit("said", &NOTHING).await.unwrap();
    }
    until("all are refused", async || node.fleet.stats().dropped_refused == 5).await;
    assert_eq!(offered(node.fleet.stats()), 5);
    assert_eq!(node.fleet.of("/").unwrap().server_count().await.unwrap(), 1, "the connection lives");
}

#[tokio::test]
async fn redis_with_tls() {
    let certified =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("cert.pem"), certified.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let tls = [
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &cert,
        "--tls-auth-clients",
        "no",
    ];
    let (redis, tls_port) = RedisServer::with_tls(&tls).await;
    let url = format!("rediss://127.0.0.1:{tls_port}");

    let js = Agent::start("node.cjs").await;
    let port = js.call("start", json!({ "redis": { "urls": [url], "cafile": cert } })).await;
    let options = Options { tls_roots_pem: Some(certified.cert.pem().into_bytes()), ..patient() };
    let rust = RustNode::start(&url, options).await;
    let fleet = Fleet::of(Between::Redis(redis), js, format!("http://127.0.0.1:{port}"), rust).await;
    fleet.client(OnRust("rust"), &[]).await;
    fleet.client(OnJs("js"), &[]).await;
    fleet.rust.io.emit("said", &NOTHING).await.unwrap();
    let both = json!([["said"]]);
    assert_eq!(fleet.heard_after_rust(&["rust", "js"]).await, [both.clone(), both]);

    let (options, told) = listening();
    let other = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let stranger =
        RustNode::start(&url, Options { tls_roots_pem: Some(other.cert.pem().into_bytes()), ..options })
            .await;
    told_error(&told, "certificate").await;
    serves_locally(&stranger).await;
}

async fn see_each_other(first: &RustNode, second: &RustNode) {
    for node in [first, second] {
        until("both are there", async || {
            node.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 2)
        })
        .await;
    }
}

#[tokio::test]
async fn a_cluster_that_loses_a_master_is_followed_when_it_returns() {
    let mut cluster = RedisCluster::start().await;
    let urls = cluster.urls();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let options = || Options { mode: Mode::Sharded, ..persistent() };
    let first = RustNode::serve(fanout::connect_cluster(&urls, options()).await.unwrap(), &["/"]).await;
    let second = RustNode::serve(fanout::connect_cluster(&urls, options()).await.unwrap(), &["/"]).await;
    see_each_other(&first, &second).await;
    let clients = Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "second", "url": second.url })).await;
    let master = cluster.master_of("socket.io#/#").await;
    master.stop().await;
    until("the gap is seen", async || first.fleet.stats().in_gap && second.fleet.stats().in_gap).await;
    serves_locally(&first).await;
    assert!(master.resume().await);
    see_each_other(&first, &second).await;
    first.io.emit("back", &NOTHING).await.unwrap();
    clients.call("received", json!({ "name": "second", "event": "back" })).await;
    assert!(first.fleet.stats().gaps >= 1 && !first.fleet.stats().in_gap);
}

#[tokio::test]
async fn a_cluster_that_moves_the_channel_is_followed() {
    let mut cluster = RedisCluster::start().await;
    let urls = cluster.urls();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let options = || Options { mode: Mode::Sharded, ..persistent() };
    let first = RustNode::serve(fanout::connect_cluster(&urls, options()).await.unwrap(), &["/"]).await;
    let second = RustNode::serve(fanout::connect_cluster(&urls, options()).await.unwrap(), &["/"]).await;
    let clients = Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "second", "url": second.url })).await;
    // One that subscribes only after the move has nothing to notice.
    see_each_other(&first, &second).await;
    let before = second.fleet.stats().gaps;
    cluster.move_slot_of("socket.io#/#").await;
    misses_and_is_back(&second, before).await;
    // The first may find out by a message that is refused, which is counted.
    let said = Cell::new(0);
    until("messages pass again", async || {
        first.io.emit("said", &NOTHING).await.unwrap();
        said.set(said.get() + 1);
        until("it is accounted for", async || offered(first.fleet.stats()) == said.get()).await;
        first.fleet.stats().published > 0
    })
    .await;
    clients.call("received", json!({ "name": "second", "event": "said" })).await;
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
