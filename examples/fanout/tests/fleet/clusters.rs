//! A cluster that loses a master, or moves the channel to another.

use std::cell::Cell;

use fanout::{Mode, Options};
use serde_json::json;

use crate::{
    NOTHING,
    agent::Agent,
    outages::{misses_and_is_back, offered, serves_locally},
    persistent,
    redis_server::RedisCluster,
    rust_node::RustNode,
    until,
};

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
