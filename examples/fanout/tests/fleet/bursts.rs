//! More at once than a client's queue holds. socketioxide keeps 128 packets for each client and refuses the next, so
//! that nothing but a node which waits for its clients' writers can deliver a loop of 5,000 events.
//!
//! On one thread on purpose: a writer only runs when somebody lets it.

use std::{
    cell::Cell,
    sync::{Arc, Mutex},
    time::Duration,
};

use fanout::{Event, Mode, Options};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::interval,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

use crate::{
    Client::{OnJs, OnRust},
    Fleet,
    four::{Four, NAMES},
    patient,
    redis_server::RedisServer,
    rust_node::RustNode,
    soon,
    support::{Between, HANG},
    until,
};

const BURST: usize = 5000;

async fn heard(fleet: &Fleet, name: &str, event: &str, count: usize) -> Vec<Json> {
    let log = fleet.clients.call("received", json!({ "name": name, "event": event, "count": count })).await;
    log.as_array().unwrap().iter().map(|entry| entry[1].clone()).collect()
}

fn numbers(count: usize) -> Vec<Json> {
    (0..count).map(Json::from).collect()
}

#[tokio::test]
async fn a_loop_of_emits_in_nodejs_reaches_the_clients_of_a_rust_node() {
    let fleet = Fleet::classic().await;
    for name in ["rust", "too"] {
        fleet.client(OnRust(name), &["room"]).await;
    }
    let code = format!("for (let n = 0; n < {BURST}; n++) io.to('room').emit('said', n);");
    fleet.js.call("run", json!({ "code": code })).await;
    for name in ["rust", "too"] {
        assert_eq!(heard(&fleet, name, "said", BURST).await, numbers(BURST));
    }
    assert_eq!(fleet.rust.fleet.stats().clients_missed, 0);
}

/// What is said to a crowd is handed out in bursts, and nothing that follows it may overtake it.
#[tokio::test]
async fn a_crowd_hears_everything_in_order() {
    const ROUNDS: usize = 150;
    let fleet = Fleet::classic().await;
    let names: Vec<String> = (0..40).map(|n| format!("rust{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        fleet.clients.call("connect", json!({ "name": name, "url": fleet.rust.url })).await;
        let rooms: &[&str] = if n < 3 { &["crowd", "few"] } else { &["crowd"] };
        fleet.clients.call("join", json!({ "name": name, "rooms": rooms })).await;
    }
    let code = format!(
        "for (let n = 0; n < {ROUNDS}; n++) {{
           io.to('crowd').emit('said', 4 * n);
           io.to('crowd').emit('said', 4 * n + 1);
           io.to('few').emit('said', 4 * n + 2);
           io.to('crowd').except('few').emit('said', 4 * n + 2);
           io.emit('said', 4 * n + 3);
         }}
         io.to('crowd').emit('end');
         io.in('few').disconnectSockets();"
    );
    fleet.js.call("run", json!({ "code": code })).await;
    let expected: Vec<usize> = (0..4 * ROUNDS).collect();
    for (n, name) in names.iter().enumerate() {
        let last = if n < 3 { "disconnect" } else { "end" };
        let log = fleet.clients.call("received", json!({ "name": name, "event": last })).await;
        let said = log.as_array().unwrap().iter().filter(|entry| entry[0] == "said");
        let said: Vec<usize> = said.map(|entry| entry[1].as_u64().unwrap() as usize).collect();
        assert_eq!(said, expected, "{name}");
        assert_eq!(log.as_array().unwrap().iter().filter(|entry| entry[0] == "end").count(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_loop_of_emits_in_rust_reaches_the_clients_of_every_node() {
    let fleet = Fleet::classic().await;
    let other = RustNode::start(&fleet.between.url(), patient()).await;
    fleet.assembled("/", 3).await;
    fleet.client(OnRust("here"), &["room"]).await;
    fleet.client(OnJs("js"), &["room"]).await;
    fleet.clients.call("connect", json!({ "name": "other", "url": other.url })).await;
    fleet.clients.call("join", json!({ "name": "other", "rooms": ["room"] })).await;
    for number in 0..BURST {
        fleet.rust.io.to("room").emit("said", &number).await.unwrap();
    }
    for name in ["here", "js", "other"] {
        assert_eq!(heard(&fleet, name, "said", BURST).await, numbers(BURST), "{name}");
    }
    let stats = fleet.rust.fleet.stats();
    assert_eq!((stats.clients_missed, stats.dropped()), (0, 0), "{stats:?}");
    assert_eq!(other.fleet.stats().clients_missed, 0);
}

/// Three seconds, if the machine keeps up; what counts is that everything is heard.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_nodes_that_say_two_thousand_a_second_each_are_heard_by_all() {
    const SAID: usize = 6000;
    let redis = RedisServer::start().await;
    let start = json!({ "urls": [redis.url()], "library": "ioredis" });
    let connect = async || fanout::connect(&redis.url(), patient()).await.unwrap();
    let four = Four::start(Mode::Classic, start, connect).await;
    let speaking = [0, 1].map(|n| {
        let io = four.rust[n].io.clone();
        tokio::spawn(async move {
            let mut beat = interval(Duration::from_millis(5));
            for number in 0..SAID {
                if number % 10 == 0 {
                    beat.tick().await;
                }
                io.to("room").emit("said", &(NAMES[2 + n], number)).await.unwrap();
            }
        })
    });
    for (node, name) in four.js.iter().zip(NAMES) {
        let code = format!(
            "let said = 0;
             const beat = setInterval(() => {{
               for (let n = 0; n < 10; n++) io.to('room').emit('said', '{name}', said++);
               if (said >= {SAID}) clearInterval(beat);
             }}, 5);"
        );
        node.call("run", json!({ "code": code })).await;
    }
    for speaker in speaking {
        speaker.await.unwrap();
    }
    for to in NAMES {
        until("all are heard", async || {
            let count = four.clients.call("count", json!({ "name": to, "event": "said" })).await;
            count.as_u64().unwrap() >= 4 * SAID as u64
        })
        .await;
        let log = four.clients.call("received", json!({ "name": to, "event": "said" })).await;
        for from in NAMES {
            let of = log.as_array().unwrap().iter().filter(|entry| entry[1] == from);
            assert_eq!(of.map(|entry| entry[2].clone()).collect::<Vec<_>>(), numbers(SAID), "{from} to {to}");
        }
    }
    for node in &four.rust {
        let stats = node.fleet.stats();
        assert_eq!((stats.dropped(), stats.clients_missed, stats.gaps), (0, 0, 0), "{stats:?}");
    }
}

#[tokio::test]
async fn a_loop_over_ten_thousand_rooms_reaches_each_of_them() {
    const ROOMS: usize = 10_000;
    let fleet = Fleet::classic().await;
    // It hears every room: the pattern subscription of its node does, and it stands in all of them.
    let rooms: Vec<String> = (0..ROOMS).map(|room| format!("room-{room}")).collect();
    let rooms: Vec<&str> = rooms.iter().map(String::as_str).collect();
    fleet.client(OnJs("js"), &rooms).await;
    for (number, room) in rooms.iter().enumerate() {
        fleet.rust.io.to((*room).to_owned()).emit("said", &number).await.unwrap();
    }
    assert_eq!(heard(&fleet, "js", "said", ROOMS).await, numbers(ROOMS));
    assert_eq!(fleet.rust.fleet.stats().dropped(), 0);
}

#[tokio::test]
async fn an_emit_that_finds_no_room_in_time_says_so() {
    let redis = RedisServer::start().await;
    let options = Options { publish_queue_max: 10, emit_wait_max: std::time::Duration::ZERO, ..patient() };
    let node = RustNode::start(&redis.url(), options).await;
    redis.signal("STOP").await;
    let mut failed = 0;
    for number in 0..1000 {
        match node.io.emit("said", &number).await {
            Ok(()) => {}
            Err(error) => {
                assert!(error.to_string().contains("full"), "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed > 0);
    assert_eq!(node.fleet.stats().dropped_queue_full, failed);
    redis.signal("CONT").await;
    crate::until("the others are published", async || node.fleet.stats().published == 1000 - failed).await;
}

#[tokio::test]
async fn large_messages_do_not_get_a_node_cut_off() {
    const LARGE: usize = 200;
    // More than Redis allows by default, and less than all of them: a subscriber that the machine keeps from its work for a
    // moment is no fault of the publisher's.
    let limit = ["--client-output-buffer-limit", "pubsub 128mb 0 0"];
    let redis = RedisServer::with(&limit).await;
    let fleet = Fleet::start(Mode::Classic, Between::Redis(redis), &["/"]).await;
    fleet.client(OnJs("js"), &[]).await;
    let text = "x".repeat(1_000_000);
    for number in 0..LARGE {
        fleet.rust.io.emit("said", &(number, &text)).await.unwrap();
    }
    assert_eq!(heard(&fleet, "js", "said", LARGE).await, numbers(LARGE));
    let stats = fleet.rust.fleet.stats();
    assert_eq!((stats.dropped(), stats.gaps), (0, 0), "{stats:?}");
}

/// One that does not read at all, and then reads everything. Redis cuts off a subscriber for whom 32 MB wait.
#[tokio::test]
async fn a_node_holds_back_for_a_subscriber_that_does_not_keep_up() {
    const MESSAGES: usize = 600;
    let redis = RedisServer::start().await;
    let options = Options { slow_wait_max: HANG, emit_wait_max: HANG, ..patient() };
    let node = RustNode::start(&redis.url(), options).await;
    let mut slow = TcpStream::connect(("127.0.0.1", redis.port)).await.unwrap();
    slow.write_all(b"SUBSCRIBE socket.io#/#room#\r\n").await.unwrap();
    let speaking = {
        let io = node.io.clone();
        tokio::spawn(async move {
            let text = "x".repeat(100_000);
            for _ in 0..MESSAGES {
                io.to("room").emit("said", &text).await.unwrap();
            }
        })
    };
    // Until the node says no more: as often as it would take it to say all of it.
    let (before, same) = (Cell::new(0), Cell::new(0));
    until("it is held up", async || {
        let now = node.fleet.stats().published;
        same.set(if now == before.get() && now > 0 { same.get() + 1 } else { 0 });
        before.set(now);
        same.get() >= 50
    })
    .await;
    assert!(before.get() < MESSAGES as u64, "nothing has held it up");
    let (mut heard, mut tail) = (0, Vec::new());
    let mut buffer = vec![0; 1 << 20];
    // The confirmation names the channel as well.
    while heard < MESSAGES + 1 {
        let count = soon("what was said", slow.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "cut off after {heard}");
        tail.extend_from_slice(&buffer[..count]);
        let text = b"$17\r\nsocket.io#/#room#";
        heard += memchr::memmem::find_iter(&tail, text).count();
        tail.drain(..tail.len().saturating_sub(text.len() - 1));
    }
    speaking.await.unwrap();
    assert_eq!(node.fleet.stats().dropped(), 0);
}

#[tokio::test]
async fn what_is_said_before_a_disconnect_is_heard_before_it() {
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["room"]).await;
    for number in 0..1000 {
        fleet.rust.io.to("room").emit("said", &number).await.unwrap();
    }
    fleet.rust.io.to("room").disconnect().await.unwrap();
    assert_eq!(
        heard(&fleet, "rust", "disconnect", 1).await[..1000],
        numbers(1000),
        "none is overtaken by the disconnect"
    );
}

#[tokio::test]
async fn a_loop_of_emits_that_ask_is_answered_by_every_client() {
    const ASKED: usize = 400;
    let fleet = Fleet::classic().await;
    fleet.client(OnRust("rust"), &["room"]).await;
    fleet.client(OnJs("js"), &["room"]).await;
    let other = RustNode::start(&fleet.between.url(), patient()).await;
    fleet.assembled("/", 3).await;
    fleet.clients.call("connect", json!({ "name": "other", "url": other.url })).await;
    fleet.clients.call("join", json!({ "name": "other", "rooms": ["room"] })).await;
    let mut asked = Vec::new();
    for number in 0..ASKED {
        let acks = fleet.rust.io.to("room").timeout(crate::support::HANG);
        asked.push(acks.emit_with_ack::<_, String>("ask", &number).await.unwrap());
    }
    for acks in asked {
        let mut names: Vec<_> =
            soon("acknowledgements", acks.map(|(_, ack)| ack.unwrap()).collect::<Vec<_>>()).await;
        names.sort();
        assert_eq!(names, ["js", "other", "rust"]);
    }
    for name in ["rust", "js", "other"] {
        assert_eq!(heard(&fleet, name, "ask", ASKED).await, numbers(ASKED), "{name}");
    }
}

/// A client whose end of the connection takes in little and that reads only when told to.
async fn idle_client(url: &str) -> WebSocketStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let address = url.strip_prefix("http://").unwrap();
    let stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let request = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut client, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    client.next().await.unwrap().unwrap();
    client.send(Message::text("40")).await.unwrap();
    client.next().await.unwrap().unwrap();
    client
}

#[tokio::test]
async fn a_client_that_does_not_read_misses_what_is_counted_and_holds_nobody_up() {
    const SAID: usize = 1000;
    let redis = RedisServer::start().await;
    let told = Arc::new(Mutex::new(0));
    let listener = told.clone();
    let on_event = Arc::new(move |event: &Event| {
        if let Event::ClientsMissed { count } = event {
            *listener.lock().unwrap() += count;
        }
    });
    let options = Options { client_backlog_max: 1 << 20, on_event: Some(on_event), ..patient() };
    let node = RustNode::start(&redis.url(), options).await;
    let clients = crate::agent::Agent::start("clients.cjs").await;
    clients.call("connect", json!({ "name": "awake", "url": node.url })).await;
    let mut idle = idle_client(&node.url).await;

    // More than the kernel takes for it, of long ones: a client whose queue is full when the heartbeat comes is disconnected.
    let text = "x".repeat(10_000);
    for number in 0..SAID {
        node.io.emit("said", &(number, &text)).await.ok();
        if number % 100 == 99 {
            clients.call("received", json!({ "name": "awake", "event": "said", "count": number + 1 })).await;
        }
    }
    let missed = node.fleet.stats().clients_missed;
    assert!(missed > 0, "the queue has a bound");
    crate::until("the hook is told of each", async || *told.lock().unwrap() == missed).await;

    let (mut last, mut got) = (None, 0);
    while got + missed < SAID as u64 {
        let message = soon("what was not missed", idle.next()).await.unwrap().unwrap();
        let text = message.to_text().unwrap();
        if text == "2" {
            idle.send(Message::text("3")).await.unwrap();
        }
        let Some(event) = text.strip_prefix("42") else { continue };
        let (_, number, _): (String, usize, String) = serde_json::from_str(event).unwrap();
        assert!(last.is_none_or(|last| last < number), "in order, and none twice");
        last = Some(number);
        got += 1;
    }
    assert_eq!(node.fleet.stats().clients_missed, missed);
}
