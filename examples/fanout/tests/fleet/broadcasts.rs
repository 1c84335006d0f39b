//! Broadcasts, both ways between a Node.js node and a Rust node.

use std::cell::Cell;

use bytes::Bytes;
use fanout::Options;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tracing::{Level, Metadata, Subscriber, span};

use crate::{
    Client::{OnJs, OnRust},
    Fleet, NOTHING, patient,
    rust_node::RustNode,
    soon,
    support::{Between, HANG},
    until,
};

/// Two clients on each node: `r` is in the room, `x` in the excepted one too.
async fn people(fleet: &Fleet) {
    fleet.client(OnRust("rust-r"), &["r"]).await;
    fleet.client(OnRust("rust-x"), &["r", "x"]).await;
    fleet.client(OnJs("js-r"), &["r"]).await;
    fleet.client(OnJs("js-x"), &["r", "x"]).await;
    fleet.client(OnJs("js-none"), &[]).await;
    fleet.client(OnRust("rust-none"), &[]).await;
}

const NAMES: [&str; 6] = ["rust-r", "rust-x", "rust-none", "js-r", "js-x", "js-none"];

#[tokio::test]
async fn from_node_js_to_all_rooms_and_except() {
    let fleet = Fleet::classic().await;
    people(&fleet).await;
    fleet.js.call("emit", json!({ "event": "all", "args": [1, "two", { "three": [null, 3.5] }] })).await;
    fleet.js.call("emit", json!({ "event": "room", "rooms": ["r"] })).await;
    fleet.js.call("emit", json!({ "event": "two-rooms", "rooms": ["r", "x"] })).await;
    fleet.js.call("emit", json!({ "event": "except", "rooms": ["r"], "except": ["x"] })).await;
    fleet.js.call("emit", json!({ "event": "all-except", "except": ["r"] })).await;
    fleet.js.call("emit", json!({ "event": "empty-room", "rooms": ["nobody"] })).await;
    fleet.js.call("emit", json!({ "event": "local", "local": true })).await;
    let all = json!(["all", 1, "two", { "three": [null, 3.5] }]);
    let member = json!([all, ["room"], ["two-rooms"], ["except"]]);
    let excepted = json!([all, ["room"], ["two-rooms"]]);
    let outsider = json!([all, ["all-except"]]);
    let with_local = |log: &serde_json::Value| {
        let mut log = log.clone();
        log.as_array_mut().unwrap().push(json!(["local"]));
        log
    };
    let (member_js, excepted_js, outsider_js) =
        (with_local(&member), with_local(&excepted), with_local(&outsider));
    let heard = fleet.heard_after_js(&NAMES).await;
    assert_eq!(heard, [member, excepted, outsider, member_js, excepted_js, outsider_js]);
}

#[tokio::test]
async fn from_rust_to_all_rooms_and_except() {
    let fleet = Fleet::classic().await;
    people(&fleet).await;
    let io = &fleet.rust.io;
    io.emit("all", &(1, "two", json!({ "three": [null, 3.5] }))).await.unwrap();
    io.to("r").emit("room", &NOTHING).await.unwrap();
    io.to(["r", "x"]).emit("two-rooms", &NOTHING).await.unwrap();
    io.to("r").except("x").emit("except", &NOTHING).await.unwrap();
    io.except("r").emit("all-except", &NOTHING).await.unwrap();
    io.to("nobody").emit("empty-room", &NOTHING).await.unwrap();
    io.local().emit("local", &NOTHING).await.unwrap();
    let all = json!(["all", 1, "two", { "three": [null, 3.5] }]);
    let member = json!([all, ["room"], ["two-rooms"], ["except"]]);
    let excepted = json!([all, ["room"], ["two-rooms"]]);
    let outsider = json!([all, ["all-except"]]);
    let heard = fleet.heard_after_rust(&NAMES).await;
    for (heard, expected) in heard.iter().zip([&member, &excepted, &outsider].into_iter().cycle()) {
        let mut heard = heard.clone();
        heard.as_array_mut().unwrap().retain(|entry| entry[0] != "local");
        assert_eq!(&heard, expected);
    }
    let local: Vec<_> = heard.iter().map(|log| log.as_array().unwrap().contains(&json!(["local"]))).collect();
    assert_eq!(local[3..], [false, false, false], "local stays local");
}

#[tokio::test]
async fn the_sender_of_a_broadcast_does_not_hear_it() {
    let fleet = Fleet::classic().await;
    let id = fleet.client(OnRust("rust-a"), &[]).await;
    fleet.client(OnRust("rust-b"), &[]).await;
    fleet.client(OnJs("js"), &[]).await;
    let socket = fleet.rust.io.get_socket(id.parse().unwrap()).unwrap();
    socket.broadcast().emit("others", &NOTHING).await.unwrap();
    let heard = fleet.heard_after_rust(&["rust-a", "rust-b", "js"]).await;
    assert_eq!(heard, [json!([]), json!([["others"]]), json!([["others"]])]);
}

#[tokio::test]
async fn bytes_and_dates_inside_objects_cross_from_node_js() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &[]).await;
    fleet.client(OnJs("js"), &[]).await;
    let args = json!([{ "deep": [{ "$bytes": "AQID" }], "at": { "$date": 1_700_000_000_123_u64 } }, { "$bytes": "" }, { "$bytes": "/w==" }]);
    fleet.js.call("emit", json!({ "event": "mixed", "args": args })).await;
    let expected = json!([["mixed", { "deep": [{ "$bytes": "AQID" }], "at": "2023-11-14T22:13:20.123Z" }, { "$bytes": "" }, { "$bytes": "/w==" }]]);
    assert_eq!(fleet.heard_after_js(&["rust", "js"]).await, [expected.clone(), expected]);
}

#[tokio::test]
async fn bytes_inside_objects_cross_from_rust() {
    #[derive(serde::Serialize)]
    struct Deep {
        deep: Vec<Bytes>,
        empty: Bytes,
    }
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &[]).await;
    fleet.client(OnJs("js"), &[]).await;
    let large = Bytes::from(vec![7; 100_000]);
    let deep = Deep { deep: vec![Bytes::from_static(&[1, 2, 3]), large.clone()], empty: Bytes::new() };
    fleet.rust.io.emit("mixed", &(deep, Bytes::from_static(&[255]))).await.unwrap();
    let [rust, js] = fleet.heard_after_rust(&["rust", "js"]).await.try_into().unwrap();
    assert_eq!(js[0][1]["deep"][0], json!({ "$bytes": "AQID" }));
    assert_eq!(js[0][1]["deep"][1]["$bytes"].as_str().unwrap().len(), large.len().div_ceil(3) * 4);
    assert_eq!(js[0][1]["empty"], json!({ "$bytes": "" }));
    assert_eq!(js[0][2], json!({ "$bytes": "/w==" }));
    assert_eq!(rust, js);
}

#[tokio::test]
async fn numeric_rooms_are_their_text() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["42"]).await;
    fleet.clients.call("connect", json!({ "name": "js", "url": fleet.js_url })).await;
    fleet.clients.call("join", json!({ "name": "js", "rooms": [42] })).await;
    fleet.js.call("emit", json!({ "event": "number", "rooms": [42] })).await;
    fleet.js.call("emit", json!({ "event": "numbers", "rooms": [42, 43] })).await;
    let both = json!([["number"], ["numbers"]]);
    assert_eq!(fleet.heard_after_js(&["rust", "js"]).await, [both.clone(), both]);
}

#[tokio::test]
async fn a_socket_is_reached_by_its_id() {
    let fleet = Fleet::classic().await;
    let rust_id = fleet.client(OnRust("rust"), &[]).await;
    let js_id = fleet.client(OnJs("js"), &[]).await;
    fleet.js.call("emit", json!({ "event": "by-id", "rooms": [rust_id] })).await;
    fleet.js.call("emit", json!({ "event": "but-not", "except": [rust_id] })).await;
    assert_eq!(fleet.heard_after_js(&["rust", "js"]).await, [json!([["by-id"]]), json!([["but-not"]])]);
    fleet.rust.io.to(js_id).emit("by-id", &NOTHING).await.unwrap();
    fleet.rust.io.to(rust_id).emit("to-its-own", &NOTHING).await.unwrap();
    assert_eq!(fleet.heard_after_rust(&["rust", "js"]).await, [json!([["to-its-own"]]), json!([["by-id"]])]);
}

#[tokio::test]
async fn volatile_events_cross_to_idle_clients() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &[]).await;
    fleet.client(OnJs("js"), &[]).await;
    // No fence: socketioxide's volatile events do not keep their place among others.
    let both_hear = async |event: &str| {
        for name in ["rust", "js"] {
            fleet.clients.call("received", json!({ "name": name, "event": event })).await;
        }
    };
    fleet.js.call("emit", json!({ "event": "from-js", "volatile": true })).await;
    both_hear("from-js").await;
    fleet.rust.io.broadcast().volatile().emit("from-rust", &NOTHING).await.unwrap();
    both_hear("from-rust").await;
}

#[tokio::test]
async fn what_only_looks_like_an_attachment_is_data_everywhere() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["room"]).await;
    fleet.client(OnJs("js"), &["room"]).await;
    let forged = json!({ "_placeholder": true, "num": 0 });
    let said = json!([["said", forged]]);
    for (name, heard_after_js) in [("rust", false), ("js", true)] {
        fleet.clients.call("emit", json!({ "name": name, "event": "say", "args": ["room", forged] })).await;
        for name in ["rust", "js"] {
            fleet.clients.call("received", json!({ "name": name, "event": "said" })).await;
        }
        let heard = match heard_after_js {
            true => fleet.heard_after_js(&["rust", "js"]).await,
            false => fleet.heard_after_rust(&["rust", "js"]).await,
        };
        assert_eq!(heard, [said.clone(), said.clone()], "{name}");
    }
    assert_eq!(fleet.rust.fleet.stats().dropped(), 0);
}

/// What a client of Engine.IO 3 gets for its next request.
async fn polled(url: &str, query: &str) -> String {
    let address = url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "GET /socket.io/?EIO=3&transport=polling&b64=1{query} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("a poll", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

/// engineioxide 0.17.9 leaves the type of the packet out of a binary one: `b4AAEC` is what such a client would understand.
#[tokio::test]
async fn clients_of_engine_io_3_that_poll_hear_the_fleet_but_for_bytes() {
    let fleet = Fleet::classic().await;
    let opened = polled(&fleet.rust.url, "").await;
    let sid = opened.split("\"sid\":\"").nth(1).expect(&opened).split('"').next().unwrap();
    let session = format!("&sid={sid}");
    until("it is in", async || fleet.js.call("fetchSockets", json!({})).await.as_array().unwrap().len() == 1)
        .await;
    let run = "io.emit('text', 'from afar'); io.emit('bytes', Buffer.from([0, 1, 2]))";
    fleet.js.call("run", json!({ "code": run })).await;
    let mut heard = String::new();
    while !heard.contains("AAEC") {
        heard.push_str(&polled(&fleet.rust.url, &session).await);
    }
    assert!(heard.contains(r#"42["text","from afar"]"#), "{heard}");
    assert!(heard.contains(r#"451-["bytes",{"_placeholder":true,"num":0}]"#), "{heard}");
    assert!(heard.contains("bAAEC") && !heard.contains("b4AAEC"), "{heard}");
}

thread_local! {
    static LINES: Cell<usize> = const { Cell::new(0) };
}

/// Counts the lines that this crate logs, by thread. For the whole process: what a subscriber of one thread wants to know
/// depends on which thread logs first.
struct Lines;

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("fanout") && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn event(&self, _: &tracing::Event<'_>) {
        LINES.set(LINES.get() + 1);
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

#[tokio::test]
async fn neither_a_client_nor_a_node_writes_a_log_line_with_each_message() {
    const MESSAGES: usize = 300;
    tracing::subscriber::set_global_default(Lines).unwrap();
    let mut fleet = Fleet::classic().await;
    // Drops are told once in this time.
    let options = Options { probe_interval: HANG, ..patient() };
    fleet.rust = RustNode::start(&fleet.between.url(), options).await;
    fleet.assembled("/", 2).await;
    fleet.client(OnRust("rust"), &["room"]).await;
    let before = LINES.get();
    assert!(before > 0, "that it is connected");
    let Between::Redis(redis) = &fleet.between else { unreachable!() };
    let mut connection = crate::connection(&redis.url()).await.unwrap();
    // What only looks like an attachment, what is nested too deeply for the wire, and what is no message at all.
    let forged = json!({ "_placeholder": true, "num": 7 });
    let deep = (0..200).fold(json!(0), |inner, _| json!([inner]));
    for _ in 0..MESSAGES {
        fleet.clients.call("emit", json!({ "name": "rust", "event": "say", "args": ["room", forged] })).await;
        fleet.rust.io.to("elsewhere").emit("deep", &deep).await.unwrap();
        for channel in ["socket.io#/#room#", "socket.io-request#/#", "socket.io-response#/#"] {
            let mut publish = redis::cmd("PUBLISH");
            publish.arg(channel).arg("\u{1}garbage").exec_async(&mut connection).await.unwrap();
        }
    }
    fleet.clients.call("received", json!({ "name": "rust", "event": "said", "count": MESSAGES })).await;
    until("all has come", async || fleet.rust.fleet.stats().malformed >= 3 * MESSAGES as u64).await;
    assert_eq!(fleet.rust.fleet.stats().dropped_refused, MESSAGES as u64);
    let told = LINES.get() - before;
    assert!(told <= 4, "{told} lines");
}

/// socketioxide 0.18.9 loses the bytes; without the `Option` they arrive as bytes.
#[tokio::test]
async fn bytes_inside_an_option_are_an_array_of_numbers() {
    let fleet = Fleet::classic().await;
    fleet.client(OnJs("js"), &[]).await;
    fleet.rust.io.emit("bytes", &Bytes::from_static(&[1, 2])).await.unwrap();
    fleet.rust.io.emit("bytes", &Some(Bytes::from_static(&[1, 2]))).await.unwrap();
    let heard = json!([["bytes", { "$bytes": "AQI=" }], ["bytes", [1, 2]]]);
    assert_eq!(fleet.heard_after_rust(&["js"]).await, [heard]);
}
