//! Servers other than one Redis with one password: without RESP3, with certificates of clients, with passwords that change,
//! and behind Sentinels.

use std::sync::{Arc, Mutex};

use fanout::{ClientCertificate, Credentials, Options};
use serde_json::json;

use crate::{NOTHING, agent::Agent, patient, redis_server::RedisServer, rust_node::RustNode, until};

async fn two_nodes_hear_each_other(first: &RustNode, second: &RustNode) {
    until("both are there", async || {
        first.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 2)
            && second.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 2)
    })
    .await;
    let clients = Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "second", "url": second.url })).await;
    first.io.emit("said", &NOTHING).await.unwrap();
    clients.call("received", json!({ "name": "second", "event": "said" })).await;
}

#[tokio::test]
async fn a_server_without_hello_is_spoken_to_in_resp2() {
    let renamed = ["--rename-command", "HELLO", "NOHELLO"];
    let denied = ["--user", "default", "on", "nopass", "~*", "&*", "+@all", "-hello"];
    for refusal in [&renamed[..], &denied] {
        let redis = RedisServer::with(refusal).await;
        let first = RustNode::start(&redis.url(), patient()).await;
        let second = RustNode::start(&redis.url(), patient()).await;
        two_nodes_hear_each_other(&first, &second).await;
    }
}

#[tokio::test]
async fn a_server_that_wants_certificates_gets_one() {
    let authority = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    std::fs::write(&cert, authority.cert.pem()).unwrap();
    std::fs::write(&key, authority.signing_key.serialize_pem()).unwrap();
    let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let (redis, port) = RedisServer::with_tls(&tls).await;
    let tls_client = ClientCertificate {
        certificate_pem: authority.cert.pem().into_bytes(),
        key_pem: authority.signing_key.serialize_pem().into_bytes(),
    };
    let tls_roots_pem = Some(authority.cert.pem().into_bytes());
    let options = || Options { tls_roots_pem: tls_roots_pem.clone(), ..patient() };
    let url = format!("rediss://127.0.0.1:{port}");
    let with = || Options { tls_client: Some(tls_client.clone()), ..options() };
    let (first, second) = (RustNode::start(&url, with()).await, RustNode::start(&url, with()).await);
    two_nodes_hear_each_other(&first, &second).await;
    let without = RustNode::start(&url, Options { startup_wait: Default::default(), ..options() }).await;
    until("it has tried", async || without.fleet.stats().connects > 2).await;
    assert!(without.fleet.of("/").unwrap().server_count().await.is_err());
    drop(redis);
}

#[tokio::test]
async fn a_password_that_changes_is_followed_without_a_gap() {
    let redis = RedisServer::start().await;
    redis.command(&["ACL", "SETUSER", "node", "on", ">old", "~*", "&*", "+@all"]).await.unwrap();
    let password = Arc::new(Mutex::new("old".to_owned()));
    let options = || {
        let password = password.clone();
        let ask = move || Credentials {
            username: Some("node".to_owned()),
            password: password.lock().unwrap().clone(),
        };
        Options {
            credentials: Some(Arc::new(ask)),
            probe_interval: std::time::Duration::from_millis(50),
            ..patient()
        }
    };
    let first = RustNode::start(&redis.url(), options()).await;
    let logins = async || {
        let info = redis.command(&["INFO", "commandstats"]).await.unwrap();
        let info: String = redis::from_redis_value(info).unwrap();
        let calls =
            info.split("cmdstat_auth:calls=").nth(1).map_or("0", |rest| rest.split(',').next().unwrap());
        calls.parse::<usize>().unwrap()
    };
    redis.command(&["ACL", "SETUSER", "node", ">new", "<old"]).await.unwrap();
    *password.lock().unwrap() = "new".to_owned();
    until("both connections have logged in anew", async || logins().await == 2).await;
    let second = RustNode::start(&redis.url(), options()).await;
    two_nodes_hear_each_other(&first, &second).await;
    assert_eq!((first.fleet.stats().gaps, first.fleet.stats().connects), (0, 2));
}
