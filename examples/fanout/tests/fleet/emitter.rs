//! A process with @socket.io/redis-emitter reaches the clients of both nodes.

use serde_json::{Value as Json, json};

use crate::{
    Client::{OnJs, OnRust},
    Fleet,
    agent::Agent,
};

async fn emitter(fleet: &Fleet) -> Agent {
    let emitter = Agent::start("emitter.cjs").await;
    emitter.call("start", json!({ "redis": { "urls": [fleet.between.url()] } })).await;
    emitter
}

/// What each client received until the emitter's last word.
async fn heard(fleet: &Fleet, emitter: &Agent, names: &[&str]) -> Vec<Json> {
    emitter.call("emit", json!({ "event": "end" })).await;
    let mut heard = Vec::new();
    for name in names {
        let mut log = fleet.clients.call("received", json!({ "name": name, "event": "end" })).await;
        log.as_array_mut().unwrap().pop();
        heard.push(log);
    }
    heard
}

#[tokio::test]
async fn emitter_broadcasts() {
    let fleet = Fleet::classic().await;
    let emitter = emitter(&fleet).await;
    fleet.client(OnRust("rust"), &["a", "7"]).await;
    fleet.client(OnJs("js"), &["a"]).await;
    let args = json!([{ "bytes": { "$bytes": "AQID" }, "at": { "$date": 0 } }]);
    emitter.call("emit", json!({ "event": "all", "args": args })).await;
    emitter.call("emit", json!({ "event": "room", "rooms": ["a"] })).await;
    emitter.call("emit", json!({ "event": "number", "rooms": [7] })).await;
    emitter.call("emit", json!({ "event": "except", "except": ["a"] })).await;
    let all = json!(["all", { "bytes": { "$bytes": "AQID" }, "at": "1970-01-01T00:00:00.000Z" }]);
    let expected = [json!([all, ["room"], ["number"]]), json!([all, ["room"]])];
    assert_eq!(heard(&fleet, &emitter, &["rust", "js"]).await, expected);
}

#[tokio::test]
async fn emitter_moves_sockets() {
    let fleet = Fleet::classic().await;
    let emitter = emitter(&fleet).await;
    fleet.client(OnRust("rust"), &["a"]).await;
    fleet.client(OnJs("js"), &["a"]).await;
    fleet.client(OnRust("other"), &[]).await;
    emitter.call("socketsJoin", json!({ "rooms": ["a"], "join": "new" })).await;
    emitter.call("emit", json!({ "event": "joined", "rooms": ["new"] })).await;
    emitter.call("socketsLeave", json!({ "rooms": ["a"], "leave": ["new"] })).await;
    emitter.call("emit", json!({ "event": "left", "rooms": ["new"] })).await;
    let joined = json!([["joined"]]);
    assert_eq!(heard(&fleet, &emitter, &["rust", "js", "other"]).await, [joined.clone(), joined, json!([])]);
    emitter.call("disconnectSockets", json!({ "rooms": ["a"], "close": false })).await;
    for name in ["rust", "js"] {
        fleet.clients.call("received", json!({ "name": name, "event": "disconnect" })).await;
    }
}

#[tokio::test]
async fn emitter_emits_to_servers() {
    let fleet = Fleet::classic().await;
    let emitter = emitter(&fleet).await;
    let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
    fleet.rust.fleet.on_server_side_emit(move |emit| heard.send((emit.event, emit.arguments)).unwrap());
    emitter.call("serverSideEmit", json!({ "args": ["tell", "all"] })).await;
    assert_eq!(hearing.recv().await.unwrap(), ("tell".to_owned(), vec![json!("all")]));
    assert_eq!(fleet.js.call("heard", json!({ "count": 1 })).await, json!([["all"]]));
}
