//! The embedded broker in the place of Redis. Its own tests are in `crates/broker`.

use broker::{Broker, Limits};

use crate::{
    agent::Agent,
    patient,
    rust_node::RustNode,
    support::{Between, Fleet},
};

#[tokio::test]
async fn the_broker_on_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    let broker = Broker::unix(&path, Limits::default()).await.unwrap();
    let node = RustNode::start(broker.url(), patient()).await;
    assert_eq!(node.fleet.of("/").unwrap().server_count().await.unwrap(), 1);
}

/// The fleet of `requests`, on the broker: everything that a node asks of Redis when it connects and when it counts.
#[tokio::test]
async fn node_redis_and_ioredis_use_the_broker_unchanged() {
    for library in ["redis", "ioredis"] {
        let between = Between::Broker(Broker::loopback(0).await.unwrap());
        let redis = serde_json::json!({ "urls": [between.url()], "library": library });
        let fleet = Fleet::start_with(fanout::Mode::Classic, between, &["/"], redis).await;
        fleet.client(crate::Client::OnRust("rust"), &["a"]).await;
        fleet.client(crate::Client::OnJs("js"), &["a"]).await;
        let sockets = fleet.js.call("fetchSockets", serde_json::json!({ "rooms": ["a"] })).await;
        assert_eq!(sockets.as_array().unwrap().len(), 2, "{library}");
        let emitter = Agent::start("emitter.cjs").await;
        let redis = serde_json::json!({ "urls": [fleet.between.url()], "library": library });
        emitter.call("start", serde_json::json!({ "redis": redis })).await;
        emitter.call("emit", serde_json::json!({ "event": "said", "rooms": ["a"] })).await;
        for name in ["rust", "js"] {
            fleet.clients.call("received", serde_json::json!({ "name": name, "event": "said" })).await;
        }
    }
}
