//! Redis that does not let everybody in: a password, rights, TLS.

use fanout::Options;
use serde_json::json;

use crate::{
    Client::{OnJs, OnRust},
    Fleet, NOTHING,
    agent::Agent,
    outages::{listening, offered, serves_locally, told_error},
    patient,
    redis_server::RedisServer,
    rust_node::RustNode,
    support::Between,
    until,
};

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
