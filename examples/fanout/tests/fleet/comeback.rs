//! What waits for Redis, and for the other nodes, to come back: it is said once, and to those who were there.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use fanout::{Event, Options, Side};
use futures_util::StreamExt;
use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet, yield_now},
    time::{Instant, interval},
};

use crate::{agent::Agent, patient, redis_server::RedisServer, rust_node::RustNode, soon, until};

const BATCH: usize = 50;

type Told = Arc<Mutex<Vec<Event>>>;

fn listening() -> (Options, Told) {
    let told = Told::default();
    let listener = told.clone();
    let on_event = Arc::new(move |event: &Event| listener.lock().unwrap().push(event.clone()));
    let probe_interval = Duration::from_millis(100);
    (Options { on_event: Some(on_event), probe_interval, ..patient() }, told)
}

fn times(told: &Told, is_it: impl Fn(&Event) -> bool) -> usize {
    told.lock().unwrap().iter().filter(|event| is_it(event)).count()
}

fn is_stall(event: &Event) -> bool {
    matches!(event, Event::Stalled(Side::Publisher))
}

/// Two nodes that see each other, and a client on the second.
struct Two {
    redis: RedisServer,
    first: RustNode,
    second: RustNode,
    clients: Agent,
    told: Told,
}

impl Two {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let (options, told) = listening();
        let first = RustNode::start(&redis.url(), options).await;
        let second = RustNode::start(&redis.url(), patient()).await;
        let clients = Agent::start("clients.cjs").await;
        clients.call("connect", json!({ "name": "second", "url": second.url })).await;
        let two = Self { redis, first, second, clients, told };
        two.see_each_other().await;
        two
    }

    async fn see_each_other(&self) {
        for node in [&self.first, &self.second] {
            until("both are there", async || {
                node.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 2)
            })
            .await;
        }
    }

    /// Says the next messages to a Redis that is stopped, in one pipeline: nothing lets the publisher run before the last.
    async fn say_into_a_stall(&self, first: usize) {
        let stalls = times(&self.told, is_stall);
        self.redis.signal("STOP").await;
        for number in first..first + BATCH {
            self.first.io.emit("said", &number).await.unwrap();
        }
        until("it waits for an answer", async || times(&self.told, is_stall) > stalls).await;
    }

    /// The client heard `count` messages, each once and in order, and none was dropped.
    async fn heard_all(&self, count: usize) {
        self.first.io.emit("end", &crate::NOTHING).await.unwrap();
        let log = self.clients.call("received", json!({ "name": "second", "event": "end" })).await;
        let said = log.as_array().unwrap().iter().filter(|entry| entry[0] == "said");
        let said: Vec<_> = said.map(|entry| entry[1].clone()).collect();
        let stats = self.first.fleet.stats();
        assert_eq!(said, (0..count).map(Json::from).collect::<Vec<_>>(), "{stats:?}");
        assert_eq!((stats.dropped(), stats.malformed), (0, 0), "{stats:?}");
        until("all are confirmed", async || self.first.fleet.stats().published > count as u64).await;
    }
}

#[tokio::test]
async fn what_a_dying_redis_has_not_answered_is_said_again() {
    let mut two = Two::start().await;
    two.say_into_a_stall(0).await;
    two.redis.stop().await;
    assert!(two.redis.resume().await);
    two.see_each_other().await;
    two.heard_all(BATCH).await;
}

/// Redis takes the messages and passes them on, and in the same turn it ends the connection that they came on, so that there is
/// never an answer. Nor is there one if it does so before it has taken them, and nobody can tell the two apart by that.
#[tokio::test]
async fn what_was_published_and_not_answered_is_not_said_twice() {
    const ROUNDS: usize = 5;
    let two = Two::start().await;
    for round in 0..ROUNDS {
        let mut connection = crate::connection(&two.redis.url()).await.unwrap();
        two.say_into_a_stall(round * BATCH).await;
        let mut kill = redis::cmd("CLIENT");
        kill.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
        let killed = kill.query_async::<usize>(&mut connection);
        let go_on = async {
            // Until it is written.
            for _ in 0..100 {
                yield_now().await;
            }
            two.redis.signal("CONT").await;
        };
        assert!(tokio::join!(killed, go_on).0.unwrap() >= 2);
        two.see_each_other().await;
    }
    two.heard_all(ROUNDS * BATCH).await;
}

/// Redis ends the connection because of it, each time that it is said.
#[tokio::test]
async fn a_message_that_redis_does_not_bear_holds_up_the_others_for_a_few_attempts() {
    let redis = RedisServer::with(&["--proto-max-bulk-len", "1mb"]).await;
    let node = RustNode::start(&redis.url(), patient()).await;
    let mut other = stand_in(&redis).await;
    node.io.emit("long", &"x".repeat(2 << 20)).await.unwrap();
    // Refused, or unconfirmed where the connection ends before the refusal is read.
    until("it is given up", async || node.fleet.stats().dropped() == 1).await;
    node.io.to("room").emit("short", &crate::NOTHING).await.unwrap();
    let heard = soon("the next one", other.on_message().next()).await.unwrap();
    assert_eq!(heard.get_channel_name(), "socket.io#/#room#");
    let stats = node.fleet.stats();
    assert!(stats.connects < 20, "{stats:?}");
}

/// Between a node and Redis: passes everything on, until the node asks who else is there. From then on the connection that
/// it asked on is dead, and lives.
async fn deaf_proxy(redis: u16) -> (String, Arc<Notify>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Notify::new());
    let notify = asked.clone();
    let proxy = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (node, _) = listener.accept().await.unwrap();
            let redis = TcpStream::connect(("127.0.0.1", redis)).await.unwrap();
            let notify = notify.clone();
            connections.spawn(async move {
                let ((mut from, mut to), (mut answers, mut questions)) =
                    (node.into_split(), redis.into_split());
                let forth = async {
                    let mut buffer = vec![0; 1 << 16];
                    loop {
                        let count = from.read(&mut buffer).await.unwrap_or(0);
                        if count == 0 {
                            return;
                        }
                        if memchr::memmem::find(&buffer[..count], b"SHARDNUMSUB").is_some() {
                            notify.notify_one();
                            std::future::pending::<()>().await;
                        }
                        questions.write_all(&buffer[..count]).await.unwrap();
                    }
                };
                tokio::select! {
                    () = forth => {}
                    _ = tokio::io::copy(&mut answers, &mut to) => {}
                }
            });
        }
    });
    (url, asked, proxy)
}

#[tokio::test]
async fn a_question_without_an_answer_is_no_sign_of_life() {
    let redis = RedisServer::start().await;
    let (url, asked, proxy) = deaf_proxy(redis.port).await;
    let node = RustNode::start(&url, patient()).await;
    soon("it asks", asked.notified()).await;
    redis.signal("STOP").await;
    let silent = Instant::now();
    let mut beat = interval(Duration::from_millis(5));
    for number in 0..100 {
        beat.tick().await;
        node.io.emit("said", &number).await.unwrap();
    }
    // Only now does the connection end.
    proxy.abort();
    until("the gap is seen", async || node.fleet.stats().in_gap).await;
    let missed = silent.elapsed();
    assert!(node.fleet.stats().gap_time >= missed, "{:?} of {missed:?}", node.fleet.stats().gap_time);
}

/// Something that is subscribed as a node is, and is counted as one.
async fn stand_in(redis: &RedisServer) -> redis::aio::PubSub {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut pubsub = client.get_async_pubsub().await.unwrap();
    pubsub.psubscribe("socket.io#/#*").await.unwrap();
    pubsub.subscribe("socket.io-request#/#").await.unwrap();
    pubsub
}

#[tokio::test]
async fn what_is_held_waits_for_a_node_that_is_not_back_yet() {
    let mut redis = RedisServer::start().await;
    let (options, told) = listening();
    let node = RustNode::start(&redis.url(), options).await;
    let other = stand_in(&redis).await;
    until("the other is counted", async || {
        node.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 2)
    })
    .await;
    redis.stop().await;
    drop(other);
    let lost = |event: &Event| matches!(event, Event::Disconnected { side: Side::Publisher, .. });
    until("it is noticed", async || times(&told, lost) > 0).await;
    node.io.emit("held", &crate::NOTHING).await.unwrap();
    assert!(redis.resume().await);

    // By the third time that it counts the nodes it would have said it, if it did not wait.
    until("it has looked who is there", async || {
        let stats = redis.command(&["INFO", "commandstats"]).await.unwrap();
        let stats: String = redis::from_redis_value(stats).unwrap();
        let calls = stats.split("cmdstat_pubsub|numsub:calls=").nth(1);
        calls.and_then(|rest| rest.split(',').next()).is_some_and(|calls| calls.parse::<u32>().unwrap() >= 3)
    })
    .await;
    assert_eq!(node.fleet.stats().published, 0, "before the other node is back");
    let mut other = stand_in(&redis).await;
    let mut messages = other.on_message();
    let held = soon("the other node hears it", messages.next()).await.unwrap();
    assert_eq!(held.get_channel_name(), "socket.io#/#");
    until("it is confirmed", async || node.fleet.stats().published == 1).await;
    assert_eq!(node.fleet.stats().dropped(), 0);
}
