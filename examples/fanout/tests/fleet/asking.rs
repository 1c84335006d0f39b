//! Broadcasts that ask for acknowledgements, in numbers and with nodes that hang.

use std::time::Duration;

use fanout::Options;
use futures_util::StreamExt;
use serde_json::{Value as Json, json};
use socketioxide::AckError;

use crate::{
    Client::{OnJs, OnRust},
    Fleet, patient,
    redis_server::RedisServer,
    rust_node::RustNode,
    soon,
    support::HANG,
};

/// More than a node forwards at once.
const ASKED: usize = 3000;

async fn heard(fleet: &Fleet, name: &str, count: usize) -> Vec<Json> {
    let log = fleet.clients.call("received", json!({ "name": name, "event": "ask", "count": count })).await;
    log.as_array().unwrap().iter().map(|entry| entry[1].clone()).collect()
}

#[tokio::test]
async fn a_loop_of_questions_in_nodejs_is_answered_by_the_clients_of_a_rust_node() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["room"]).await;
    fleet.client(OnJs("js"), &["room"]).await;
    let code = format!(
        "const ask = (n) => new Promise((done) =>
           io.to('room').timeout(50000).emit('ask', n, (error, answers) => done(error?.message ?? answers.sort().join())));
         const answers = await Promise.all(Array.from({{ length: {ASKED} }}, (_, n) => ask(n)));
         return answers.filter((names) => names === 'js,rust').length;"
    );
    assert_eq!(fleet.js.call("run", json!({ "code": code })).await, json!(ASKED));
    let all: Vec<_> = (0..ASKED).map(Json::from).collect();
    assert_eq!(heard(&fleet, "rust", ASKED).await, all);
}

#[tokio::test]
async fn clients_that_never_answer_still_hear_every_question() {
    let mut fleet = Fleet::classic().await;
    fleet.rust = RustNode::start(&fleet.between.url(), Options { forwards_max: 100, ..patient() }).await;
    fleet.assembled("/", 2).await;
    fleet.client_with(OnRust("rust"), &["room"], json!({ "mute": true })).await;
    let code =
        format!("for (let n = 0; n < {ASKED}; n++) io.to('room').timeout(50000).emit('ask', n, () => {{}});");
    fleet.js.call("run", json!({ "code": code })).await;
    let all: Vec<_> = (0..ASKED).map(Json::from).collect();
    assert_eq!(heard(&fleet, "rust", ASKED).await, all);
    assert_eq!(fleet.rust.fleet.stats().acks_dropped, ASKED as u64 - 100);
}

#[tokio::test]
async fn a_question_too_many_is_asked_nevertheless() {
    let redis = RedisServer::start().await;
    let first = RustNode::start(&redis.url(), Options { requests_max: 1, ..patient() }).await;
    let second = RustNode::start(&redis.url(), patient()).await;
    let clients = crate::agent::Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "far", "url": second.url, "mute": true })).await;
    let mut asked = Vec::new();
    for number in 0..3 {
        asked.push(first.io.timeout(HANG).emit_with_ack::<_, String>("ask", &number).await.unwrap());
    }
    let log = clients.call("received", json!({ "name": "far", "event": "ask", "count": 3 })).await;
    assert_eq!(log, json!([["ask", 0], ["ask", 1], ["ask", 2]]));
    // Their stream says that a node was not waited for.
    let last = soon("the stream ends", asked.pop().unwrap().collect::<Vec<_>>()).await;
    assert!(matches!(&last[..], [(_, Err(AckError::Timeout))]), "{last:?}");
}

#[tokio::test]
async fn each_node_that_is_silent_is_a_timeout() {
    let redis = RedisServer::start().await;
    let node = RustNode::start(&redis.url(), patient()).await;
    let other = RustNode::start(&redis.url(), patient()).await;
    let clients = crate::agent::Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "near", "url": node.url })).await;
    clients.call("connect", json!({ "name": "far", "url": other.url })).await;
    // Subscribed like nodes, and deaf.
    let mut deaf = Vec::new();
    for _ in 0..2 {
        let mut one = redis::Client::open(redis.url()).unwrap().get_async_pubsub().await.unwrap();
        one.subscribe("socket.io-request#/#").await.unwrap();
        deaf.push(one);
    }
    let acks = node.io.timeout(Duration::from_secs(5)).emit_with_ack::<_, String>("ask", &1).await.unwrap();
    let all = soon("the stream ends", acks.collect::<Vec<_>>()).await;
    let mut names: Vec<_> = all.iter().filter_map(|(_, ack)| ack.as_ref().ok()).collect();
    names.sort();
    assert_eq!(names, ["far", "near"]);
    let silent = all.iter().filter(|(_, ack)| matches!(ack, Err(AckError::Timeout))).count();
    assert_eq!((silent, all.len()), (2, 4), "{all:?}");
}
