//! Each request of the classic dialect, asked by a Node.js node and answered by a Rust node, and the other way round.

use std::time::Duration;

use fanout::{Description, Mode, Target};
use futures_util::StreamExt;
use serde_json::{Value as Json, json};

use crate::{
    Client::{OnJs, OnRust},
    Fleet, NOTHING, patient,
    redis_server::RedisServer,
    rust_node::RustNode,
    support::Between,
    until,
};

fn sorted(json: Json) -> Vec<String> {
    let mut all: Vec<String> =
        json.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect();
    all.sort();
    all
}

fn ids(sockets: &Json) -> Vec<String> {
    sorted(sockets.as_array().unwrap().iter().map(|socket| socket["id"].clone()).collect())
}

fn sorted_pair(a: &str, b: &str) -> Vec<String> {
    let mut all = vec![a.to_owned(), b.to_owned()];
    all.sort();
    all
}

#[tokio::test]
async fn fetch_sockets_from_node_js() {
    let fleet = Fleet::classic().await;
    let rust_id = fleet.client(OnRust("rust"), &["a", "b"]).await;
    let js_id = fleet.client(OnJs("js"), &["a"]).await;
    fleet.rust.fleet.describe_sockets(|namespace, sid| Description {
        data: json!({ "namespace": namespace, "sid": sid }),
        ..Description::default()
    });
    let all = fleet.js.call("fetchSockets", json!({})).await;
    assert_eq!(ids(&all), sorted_pair(&rust_id, &js_id));
    let rust = all.as_array().unwrap().iter().find(|socket| socket["id"] == json!(rust_id)).unwrap();
    assert_eq!(sorted(rust["rooms"].clone()), sorted(json!(["a", "b", rust_id])));
    assert_eq!(rust["data"], json!({ "namespace": "/", "sid": rust_id }));
    assert_eq!(rust["handshake"]["auth"], json!({}));
    assert_eq!(ids(&fleet.js.call("fetchSockets", json!({ "rooms": ["b"] })).await), [rust_id.as_str()]);
    assert_eq!(
        ids(&fleet.js.call("fetchSockets", json!({ "rooms": ["a"], "except": ["b"] })).await),
        [js_id]
    );
    assert_eq!(ids(&fleet.js.call("fetchSockets", json!({ "rooms": [rust_id] })).await), [rust_id]);
    assert_eq!(fleet.js.call("fetchSockets", json!({ "rooms": ["empty"] })).await, json!([]));
}

#[tokio::test]
async fn what_socketioxide_knows_of_its_sockets_is_told() {
    let fleet = Fleet::classic().await;
    let rust_id = fleet.client(OnRust("rust"), &["a"]).await;
    fleet.client(OnJs("js"), &["a"]).await;
    let asked = async || fleet.js.call("fetchSockets", json!({ "rooms": ["a"] })).await;
    let of = |all: &Json, is_rust: bool| {
        let socket =
            all.as_array().unwrap().iter().find(|socket| (socket["id"] == json!(rust_id)) == is_rust);
        socket.unwrap().clone()
    };
    // An app that says nothing of it has it all the same.
    assert!(!of(&asked().await, true)["handshake"]["headers"].as_object().unwrap().is_empty());

    let socket = fleet.rust.io.get_socket(rust_id.parse().unwrap()).unwrap();
    let data = json!({ "name": "Ada" });
    socket.extensions.insert(fanout::Details { auth: json!({ "token": "t" }), data: data.clone() });
    let all = asked().await;
    let (rust, js) = (of(&all, true), of(&all, false));
    assert_eq!((&rust["data"], &rust["handshake"]["auth"]), (&data, &json!({ "token": "t" })));
    // Both clients are of one kind, and say the same of themselves but for the host and the key.
    let names = |socket: &Json| -> Vec<String> {
        socket["handshake"]["headers"].as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(sorted(json!(names(&rust))), sorted(json!(names(&js))));
    assert_eq!(rust["handshake"]["headers"]["upgrade"], js["handshake"]["headers"]["upgrade"]);
    assert_eq!(rust["handshake"]["query"], js["handshake"]["query"]);
    assert_eq!(rust["handshake"]["url"], js["handshake"]["url"]);
    assert_eq!(rust["handshake"]["xdomain"], js["handshake"]["xdomain"]);

    // And the app is let go when it is closed, though what describes holds it.
    fleet.rust.fleet.describe_with(&fleet.rust.io);
    fleet.rust.io.close().await;
    assert!(format!("{:?}", fleet.rust.fleet).contains("describes: false"), "{:?}", fleet.rust.fleet);
}

/// An app that knows itself, as it does to describe its sockets, must not keep itself alive.
#[tokio::test]
async fn an_app_that_is_dropped_leaves_the_fleet() {
    let redis = RedisServer::start().await;
    let first = RustNode::start(&redis.url(), patient()).await;
    let second = RustNode::start(&redis.url(), patient()).await;
    let sees = async |count| {
        until("the fleet has changed", async || {
            second.fleet.of("/").unwrap().server_count().await.is_ok_and(|seen| seen == count)
        })
        .await;
    };
    sees(2).await;
    drop(first);
    sees(1).await;
}

#[tokio::test]
async fn fetch_sockets_from_rust() {
    let fleet = Fleet::classic().await;
    let rust_id = fleet.client(OnRust("rust"), &["a"]).await;
    let js_id = fleet.client(OnJs("js"), &["a", "b"]).await;
    let namespace = fleet.rust.fleet.of("/").unwrap();
    let all = namespace.fetch_sockets(Target::everyone()).await.unwrap();
    assert_eq!(ids(&json!(all)), sorted_pair(&rust_id, &js_id));
    let js = all.iter().find(|socket| socket.id == js_id).unwrap();
    assert_eq!(sorted(json!(js.rooms)), sorted(json!(["a", "b", js_id])));
    assert_eq!((&js.data["name"], &js.handshake["auth"]["name"]), (&json!("js"), &json!("js")));
    let only_js = namespace.fetch_sockets(Target::room("b").or_room("c").except("d")).await.unwrap();
    assert_eq!(ids(&json!(only_js)), [js_id]);
    // socketioxide's own call cannot hold the longer ids of Node.js.
    let own = fleet.rust.io.fetch_sockets().await.unwrap();
    assert_eq!(own.iter().map(|socket| socket.data().id.to_string()).collect::<Vec<_>>(), [rust_id]);
}

#[tokio::test]
async fn sockets_fetched_by_node_js_can_be_acted_on() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["a"]).await;
    fleet.js.call("toEachFetched", json!({ "act": "join", "rooms": ["joined"] })).await;
    fleet.js.call("toEachFetched", json!({ "act": "leave", "rooms": ["a"] })).await;
    fleet.js.call("emit", json!({ "event": "joined", "rooms": ["joined"] })).await;
    fleet.js.call("emit", json!({ "event": "left", "rooms": ["a"] })).await;
    fleet.js.call("toEachFetched", json!({ "act": "emit", "event": "direct", "args": [1] })).await;
    assert_eq!(fleet.heard_after_js(&["rust"]).await, [json!([["joined"], ["direct", 1]])]);
    fleet.js.call("toEachFetched", json!({ "act": "disconnect" })).await;
    let log = fleet.clients.call("received", json!({ "name": "rust", "event": "disconnect" })).await;
    assert_eq!(log, json!([["disconnect", "io server disconnect"]]));
}

#[tokio::test]
async fn all_rooms_from_node_js() {
    let fleet = Fleet::classic().await;
    let rust_id = fleet.client(OnRust("rust"), &["a", "rust-only"]).await;
    let js_id = fleet.client(OnJs("js"), &["a", "js-only"]).await;
    let expected = sorted(json!(["a", "js-only", "rust-only", rust_id, js_id]));
    assert_eq!(sorted(fleet.js.call("allRooms", json!({})).await), expected);
}

#[tokio::test]
async fn all_rooms_from_rust() {
    let fleet = Fleet::classic().await;
    let rust_id = fleet.client(OnRust("rust"), &["a", "rust-only"]).await;
    let js_id = fleet.client(OnJs("js"), &["a", "js-only"]).await;
    let rooms = fleet.rust.fleet.of("/").unwrap().all_rooms().await.unwrap();
    assert_eq!(sorted(json!(rooms)), sorted(json!(["a", "js-only", "rust-only", rust_id, js_id])));
    let rooms = fleet.rust.io.to("js-only").rooms().await.unwrap();
    assert_eq!(sorted(json!(rooms)), sorted(json!(["a", "js-only", js_id])));
}

#[tokio::test]
async fn remote_join_and_leave_from_node_js() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["a"]).await;
    fleet.client(OnRust("other"), &["b"]).await;
    fleet.js.call("socketsJoin", json!({ "rooms": ["a"], "join": ["new", 7] })).await;
    fleet.js.call("emit", json!({ "event": "joined", "rooms": ["new"] })).await;
    fleet.js.call("emit", json!({ "event": "joined-7", "rooms": [7] })).await;
    fleet.js.call("socketsLeave", json!({ "except": ["b"], "leave": ["new"] })).await;
    fleet.js.call("emit", json!({ "event": "left", "rooms": ["new"] })).await;
    let heard = fleet.heard_after_js(&["rust", "other"]).await;
    assert_eq!(heard, [json!([["joined"], ["joined-7"]]), json!([])]);
}

#[tokio::test]
async fn remote_join_and_leave_from_rust() {
    let fleet = Fleet::classic().await;
    fleet.client(OnJs("js"), &["a"]).await;
    fleet.client(OnJs("other"), &["b"]).await;
    let io = &fleet.rust.io;
    io.to("a").join(["new"]).await.unwrap();
    io.to("new").emit("joined", &NOTHING).await.unwrap();
    io.except("b").leave(["new"]).await.unwrap();
    io.to("new").emit("left", &NOTHING).await.unwrap();
    let heard = fleet.heard_after_rust(&["js", "other"]).await;
    assert_eq!(heard, [json!([["joined"]]), json!([])]);
}

#[tokio::test]
async fn remote_disconnect_from_node_js() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["a"]).await;
    fleet.client(OnRust("other"), &[]).await;
    fleet.js.call("disconnectSockets", json!({ "rooms": ["a"], "close": true })).await;
    fleet.clients.call("received", json!({ "name": "rust", "event": "disconnect" })).await;
    assert_eq!(fleet.heard_after_js(&["other"]).await, [json!([])]);
}

#[tokio::test]
async fn remote_disconnect_from_rust() {
    let fleet = Fleet::classic().await;
    fleet.client(OnJs("js"), &["a"]).await;
    fleet.client(OnJs("other"), &[]).await;
    fleet.rust.io.to("a").disconnect().await.unwrap();
    fleet.clients.call("received", json!({ "name": "js", "event": "disconnect" })).await;
    assert_eq!(fleet.heard_after_rust(&["other"]).await, [json!([])]);
}

#[tokio::test]
async fn server_side_emit_from_node_js() {
    let fleet = Fleet::classic().await;
    let (heard, mut hearing) = tokio::sync::mpsc::unbounded_channel();
    fleet.rust.fleet.on_server_side_emit(move |emit| {
        assert!(emit.responder.is_none());
        heard.send((emit.namespace, emit.event, emit.arguments)).unwrap();
    });
    fleet.js.call("serverSideEmit", json!({ "args": ["tell", 1, { "two": [] }] })).await;
    let expected = ("/".to_owned(), "tell".to_owned(), vec![json!(1), json!({ "two": [] })]);
    assert_eq!(hearing.recv().await.unwrap(), expected);
}

#[tokio::test]
async fn server_side_emit_with_ack_from_node_js() {
    let fleet = Fleet::classic().await;
    let answers = fleet.js.call("serverSideEmitWithAck", json!({ "args": ["ask", [1]] })).await;
    assert_eq!(answers, json!([{ "node": "rust", "argument": [1] }]));
    // Nobody listens, and still Node.js does not wait for its timeout.
    let answers = fleet.js.call("serverSideEmitWithAck", json!({ "args": ["unheard-of", 1] })).await;
    assert_eq!(answers, json!([null]));
}

#[tokio::test]
async fn server_side_emit_from_rust() {
    let fleet = Fleet::classic().await;
    let namespace = fleet.rust.fleet.of("/").unwrap();
    namespace.server_side_emit("tell", [json!(1), json!({ "two": [] })]);
    assert_eq!(fleet.js.call("heard", json!({ "count": 1 })).await, json!([[1, { "two": [] }]]));
    let answers = namespace.server_side_emit_with_ack("ask", [json!("x")]).await.unwrap();
    assert_eq!(answers, [json!({ "node": "js", "argument": "x" })]);
}

#[tokio::test]
async fn broadcast_with_ack_from_node_js() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust-1"), &["a"]).await;
    fleet.client_with(OnRust("rust-2"), &["a"], json!({ "answer": { "bytes": { "$bytes": "AQID" } } })).await;
    fleet.client(OnJs("js"), &["a"]).await;
    let answer = fleet
        .js
        .call("emitWithAck", json!({ "rooms": ["a"], "event": "ask", "args": [1], "timeout": 30000 }))
        .await;
    assert_eq!(answer["error"], json!(null));
    let answers = answer["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    for expected in [json!("rust-1"), json!("js"), json!({ "bytes": { "$bytes": "AQID" } })] {
        assert!(answers.contains(&expected), "{expected} in {answers:?}");
    }
    let nobody =
        fleet.js.call("emitWithAck", json!({ "rooms": ["empty"], "event": "ask", "timeout": 30000 })).await;
    assert_eq!(nobody, json!({ "error": null, "answers": [] }));
}

#[tokio::test]
async fn broadcast_with_ack_from_node_js_with_a_client_missing() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &[]).await;
    fleet.client_with(OnRust("mute"), &[], json!({ "mute": true })).await;
    let answer = fleet.js.call("emitWithAck", json!({ "event": "ask", "timeout": 5000 })).await;
    assert_eq!(answer, json!({ "error": "operation has timed out", "answers": ["rust"] }));
}

#[tokio::test]
async fn broadcast_with_ack_from_rust() {
    let fleet = Fleet::classic().await;
    let rust_id = fleet.client(OnRust("rust"), &["a"]).await;
    fleet.client(OnJs("js-1"), &["a"]).await;
    fleet.client_with(OnJs("js-2"), &["a"], json!({ "answer": { "deep": [1, null] } })).await;
    let acks = fleet
        .rust
        .io
        .to("a")
        .timeout(Duration::from_secs(30))
        .emit_with_ack::<_, Json>("ask", &1)
        .await
        .unwrap();
    // With every client answered the stream ends long before the timeout.
    let acks: Vec<(String, Json)> = acks.map(|(sid, ack)| (sid.to_string(), ack.unwrap())).collect().await;
    assert_eq!(acks.len(), 3, "{acks:?}");
    assert!(acks.contains(&(rust_id, json!("rust"))), "{acks:?}");
    let remote: Vec<_> = acks.iter().map(|(_, ack)| ack).collect();
    assert!(remote.contains(&&json!("js-1")) && remote.contains(&&json!({ "deep": [1, null] })), "{acks:?}");
}

#[tokio::test]
async fn broadcast_with_ack_from_rust_with_a_client_missing() {
    let fleet = Fleet::classic().await;
    fleet.client(OnJs("js"), &[]).await;
    fleet.client_with(OnJs("mute"), &[], json!({ "mute": true })).await;
    let operator = fleet.rust.io.broadcast().timeout(Duration::from_secs(5));
    let acks = operator.emit_with_ack::<_, Json>("ask", &NOTHING).await.unwrap();
    let acks: Vec<_> = acks.map(|(_, ack)| ack.map_err(|error| error.to_string())).collect().await;
    assert_eq!(acks, [Ok(json!("js")), Err("ack timeout error".to_owned())]);
}

#[tokio::test]
async fn requests_of_adapters_before_version_6_are_answered() {
    let fleet = Fleet::classic().await;
    let id = fleet.client(OnRust("rust"), &["a"]).await;
    let legacy =
        |kind: u64, request: Json| fleet.js.call("legacy", json!({ "type": kind, "request": request }));
    assert_eq!(legacy(0, json!({ "rooms": ["a"] })).await, json!([id]));
    legacy(2, json!({ "sid": id, "room": "b" })).await;
    assert_eq!(legacy(0, json!({ "rooms": ["b"] })).await, json!([id]));
    legacy(3, json!({ "sid": id, "room": "b" })).await;
    assert_eq!(legacy(0, json!({ "rooms": ["b"] })).await, json!([]));
    legacy(4, json!({ "sid": id, "close": false })).await;
    fleet.clients.call("received", json!({ "name": "rust", "event": "disconnect" })).await;
}

#[tokio::test]
async fn namespaces_do_not_hear_each_other() {
    let redis = crate::redis_server::RedisServer::start().await;
    let fleet = Fleet::start(Mode::Classic, Between::Redis(redis), &["/", "/a", "/a*"]).await;
    for (index, namespace) in ["/", "/a", "/a*"].into_iter().enumerate() {
        let name = ["root", "a", "glob"][index];
        fleet.client_with(OnRust(name), &["room"], json!({ "ns": namespace })).await;
    }
    fleet.js.call("emit", json!({ "ns": "/a", "event": "in-a", "rooms": ["room"] })).await;
    fleet.js.call("emit", json!({ "ns": "/a*", "event": "in-glob" })).await;
    for (name, namespace, expected) in
        [("root", "/", json!([])), ("a", "/a", json!([["in-a"]])), ("glob", "/a*", json!([["in-glob"]]))]
    {
        fleet.js.call("emit", json!({ "ns": namespace, "event": "end" })).await;
        let mut log = fleet.clients.call("received", json!({ "name": name, "event": "end" })).await;
        log.as_array_mut().unwrap().pop();
        assert_eq!(log, expected, "{name}");
    }
    let sockets = fleet.js.call("fetchSockets", json!({ "ns": "/a" })).await;
    assert_eq!(sockets.as_array().unwrap().len(), 1);
}

/// Text that was cut off in the middle of an emoji, in what a client says of itself, in a room's name and in an argument.
#[tokio::test]
async fn half_an_emoji_costs_no_answer() {
    for mode in [Mode::Classic, Mode::Sharded, Mode::Streams] {
        let fleet = Fleet::start(mode, Between::Redis(RedisServer::start().await), &["/"]).await;
        let rust_id = fleet.client(OnRust("rust"), &["a"]).await;
        let js_id = fleet.client(OnJs("js"), &["a"]).await;
        let cut = "for (const socket of await io.local.fetchSockets()) socket.data.name = 'cut \\ud83d'";
        fleet.js.call("run", json!({ "code": cut })).await;
        let all = fleet.rust.fleet.of("/").unwrap().fetch_sockets(Target::everyone()).await.unwrap();
        assert_eq!(ids(&json!(all)), sorted_pair(&rust_id, &js_id), "{mode:?}");
        let js = all.iter().find(|socket| socket.id == js_id).unwrap();
        // notepack.io writes it in three bytes, each of which is none of a text.
        let is_mended = |name: &Json| name.as_str().is_some_and(|name| name.starts_with("cut \u{fffd}"));
        assert!(is_mended(&js.data["name"]), "{mode:?}: {}", js.data["name"]);

        let ask = "return (await io.to('\\ud83d').fetchSockets()).length";
        assert_eq!(fleet.js.call("run", json!({ "code": ask })).await, json!(0), "{mode:?}");
        let ask = "return io.serverSideEmitWithAck('ask', 'cut \\ud83d')";
        let answers = fleet.js.call("run", json!({ "code": ask })).await;
        assert!(answers[0]["node"] == "rust" && is_mended(&answers[0]["argument"]), "{mode:?}: {answers}");
        assert_eq!(fleet.rust.fleet.stats().malformed, 0);
    }
}

/// Two hundred megabytes, if each of them stood for the bytes. In Node.js each does.
#[tokio::test]
async fn a_client_cannot_multiply_what_it_answers() {
    const FORGED: usize = 3000;
    let fleet = Fleet::classic().await;
    let placeholder = json!({ "_placeholder": true, "num": 0 });
    let mut answer = vec![json!({ "$bytes": "A".repeat(64 << 10) })];
    answer.extend(vec![placeholder.clone(); FORGED]);
    fleet.client_with(OnRust("rust"), &["a"], json!({ "answer": answer })).await;
    let ask = json!({ "rooms": ["a"], "event": "ask", "timeout": 30000 });
    let answered = fleet.js.call("emitWithAck", ask).await;
    assert_eq!(answered["error"], json!(null));
    let answer = answered["answers"][0].as_array().unwrap();
    assert_eq!(answer[0]["$bytes"].as_str().unwrap().len(), 64 << 10);
    assert_eq!(answer[1..], vec![placeholder; FORGED]);
}
