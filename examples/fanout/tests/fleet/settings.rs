//! What an operator can get wrong, and what is said about it.

use std::sync::{Arc, Mutex};

use fanout::{Event, Mode, Options, OtherMode, Side};
use serde_json::json;

use crate::{
    NOTHING,
    agent::Agent,
    node_js, patient,
    redis_server::RedisServer,
    rust_node::{Adapter, RustNode},
    until,
};

#[tokio::test]
async fn what_can_never_work_is_an_error_at_once() {
    let pem = |text: &str| Options { tls_roots_pem: Some(text.into()), ..Options::default() };
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (url, options, about) in [
        ("", Options::default(), "address"),
        ("redis", Options::default(), "address"),
        ("http://127.0.0.1:6379", Options::default(), "address"),
        ("redis://127.0.0.1:0", Options::default(), "port other than 0"),
        ("redis://127.0.0.1:70000", Options::default(), "address"),
        ("redis://127.0.0.1:6379/zero", Options::default(), "address"),
        ("redis://:6379", Options::default(), "address"),
        ("unix://", Options::default(), "address"),
        ("rediss://127.0.0.1:6379", pem("no PEM"), "no certificate in PEM"),
        ("rediss://127.0.0.1:6379", pem(""), "no certificate in PEM"),
        ("rediss://127.0.0.1:6379", pem(broken), "address"),
        ("redis://127.0.0.1:6379", pem(broken), "rediss://"),
    ] {
        let error = fanout::connect(url, options).await.map(drop).expect_err(url).to_string();
        assert!(error.contains(about), "{url}: {error}");
    }
    assert!(fanout::connect_cluster(&[], Options::default()).await.is_err());
}

fn listening(mode: Mode) -> (Options, Arc<Mutex<Vec<Event>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = told.clone();
    let on_event = Arc::new(move |event: &Event| listener.lock().unwrap().push(event.clone()));
    let probe_interval = std::time::Duration::from_millis(50);
    (Options { mode, on_event: Some(on_event), probe_interval, ..patient() }, told)
}

async fn modes_that_differ_are_told(here: Mode, there: serde_json::Value, expected: OtherMode) {
    let redis = RedisServer::start().await;
    let js = Agent::start("node.cjs").await;
    let mut start = json!({ "redis": { "urls": [redis.url()] } });
    start.as_object_mut().unwrap().extend(there.as_object().unwrap().clone());
    let port = js.call("start", start).await;
    let clients = Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "js", "url": format!("http://127.0.0.1:{port}") })).await;
    clients.call("join", json!({ "name": "js", "rooms": ["a room", "and another", "and a third"] })).await;
    let (options, told) = listening(here);
    let node = RustNode::start(&redis.url(), options).await;
    until("it is told", async || {
        told.lock().unwrap().iter().any(
            |event| matches!(event, Event::ModesDiffer { namespace, mode } if namespace == "/" && *mode == expected),
        )
    })
    .await;
    assert!(expected.advice().contains("set "));
    drop(node);
}

#[tokio::test]
async fn a_sharded_node_beside_classic_ones_is_told() {
    modes_that_differ_are_told(Mode::Classic, json!({ "mode": "Sharded" }), OtherMode::Sharded).await;
}

#[tokio::test]
async fn a_classic_node_beside_sharded_ones_is_told() {
    modes_that_differ_are_told(Mode::Sharded, json!({}), OtherMode::Classic).await;
}

#[tokio::test]
async fn a_sharded_node_with_channels_of_its_rooms_is_told() {
    let dynamic = json!({ "mode": "Sharded", "options": { "subscriptionMode": "dynamic" } });
    modes_that_differ_are_told(Mode::Sharded, dynamic, OtherMode::Dynamic).await;
}

#[tokio::test]
async fn nodes_with_a_stream_and_others_are_told_of_each_other() {
    let streams = || json!({ "mode": "Streams" });
    modes_that_differ_are_told(Mode::Classic, streams(), OtherMode::Streams).await;
    modes_that_differ_are_told(Mode::Sharded, streams(), OtherMode::Streams).await;
    modes_that_differ_are_told(Mode::Streams, json!({}), OtherMode::Classic).await;
    modes_that_differ_are_told(Mode::Streams, json!({ "mode": "Sharded" }), OtherMode::Sharded).await;
}

#[tokio::test]
async fn modes_that_match_are_not_told() {
    for mode in [Mode::Classic, Mode::Sharded, Mode::Streams] {
        let redis = RedisServer::start().await;
        let js = Agent::start("node.cjs").await;
        js.call("start", node_js(json!({ "urls": [redis.url()] }), mode)).await;
        let (options, told) = listening(mode);
        let node = RustNode::start(&redis.url(), options).await;
        // The channels of a namespace "/#x" begin as those of the namespace "/" do.
        let other = fanout::connect(&redis.url(), Options { mode, ..patient() }).await.unwrap();
        let _other = RustNode::serve(other, &["/", "/#x"]).await;
        // As often as it takes to see one twice, by the last that is asked each time.
        let asked = if mode == Mode::Sharded { "shardchannels" } else { "shardnumsub" };
        let asked = format!("cmdstat_pubsub|{asked}:calls=");
        let commands = async || {
            let info = redis.command(&["INFO", "commandstats"]).await.unwrap();
            let info: String = redis::from_redis_value(info).unwrap();
            let calls = info.split(&asked).nth(1).map_or("0", |rest| rest.split(',').next().unwrap());
            calls.parse::<usize>().unwrap()
        };
        until("it has looked", async || commands().await >= 4).await;
        let told = told.lock().unwrap();
        assert!(!told.iter().any(|event| matches!(event, Event::ModesDiffer { .. })), "{told:?}");
        drop(node);
    }
}

#[tokio::test]
async fn connected_is_told_when_the_subscriptions_are_there() {
    let redis = RedisServer::start().await;
    let (options, told) = listening(Mode::Classic);
    let connected = || {
        let is_it = |event: &Event| matches!(event, Event::Connected(Side::Subscriber));
        told.lock().unwrap().iter().any(is_it)
    };
    let fleet = fanout::connect(&redis.url(), options).await.unwrap();
    assert!(!connected(), "nothing is subscribed to yet");
    let node = RustNode::serve(fleet, &["/"]).await;
    until("it is told", async || connected()).await;
    let namespace = node.fleet.of("/").unwrap();
    assert!(format!("{namespace:?}").contains(namespace.id()), "{namespace:?}");
}

#[tokio::test]
async fn a_namespace_that_a_client_made_is_let_go_and_taken_again() {
    let redis = RedisServer::start().await;
    let (options, _) = listening(Mode::Classic);
    let fleet = fanout::connect(&redis.url(), options).await.unwrap();
    let node = RustNode::serve(fleet, &["/"]).await;
    node.io.dyn_ns("/of/{name}", async |_: socketioxide::extract::SocketRef<Adapter>| {}).unwrap();
    let other =
        RustNode::serve(fanout::connect(&redis.url(), patient()).await.unwrap(), &["/", "/of/a"]).await;
    let subscribers = async || {
        let reply = redis.command(&["PUBSUB", "NUMSUB", "socket.io-request#/of/a#"]).await.unwrap();
        let (_, count): (String, usize) = redis::from_redis_value(reply).unwrap();
        count
    };
    let clients = Agent::start("clients.cjs").await;
    for _ in 0..2 {
        clients.call("connect", json!({ "name": "a", "url": node.url, "ns": "/of/a" })).await;
        until("it is subscribed to", async || subscribers().await == 2).await;
        other.io.of("/of/a").unwrap().emit("said", &NOTHING).await.unwrap();
        clients.call("received", json!({ "name": "a", "event": "said" })).await;
        clients.call("close", json!({ "name": "a" })).await;
        until("it is let go", async || subscribers().await == 1).await;
    }
}
