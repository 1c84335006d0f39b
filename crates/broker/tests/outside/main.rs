//! The broker from outside: it answers as Redis does, holds many subscribers, and cannot be made to grow.
//!
//! Method: a real redis-server is asked the same beside it; everything is on loopback or a Unix socket, on free ports.

// A helper that panics fails its test; clippy does not take that for granted outside of functions that are tests themselves.
#![allow(clippy::unwrap_used)]

mod bounds;
mod support;

use std::net::SocketAddr;

use broker::{Broker, Limits, Settings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{RedisServer, connection, soon, until};

async fn dial(url: &str) -> TcpStream {
    TcpStream::connect(url.strip_prefix("redis://").unwrap()).await.unwrap()
}

fn command(words: &str) -> Vec<u8> {
    let mut command = redis::Cmd::new();
    for word in words.split(' ') {
        command.arg(word);
    }
    command.get_packed_command()
}

/// Everything that a server says to `script` until it closes the connection, which `QUIT` makes it do.
async fn transcript(url: &str, script: &[&str]) -> String {
    let mut stream = dial(url).await;
    for words in script {
        stream.write_all(&command(words)).await.unwrap();
    }
    stream.write_all(&command("QUIT")).await.unwrap();
    let mut answers = Vec::new();
    soon("the server closes", stream.read_to_end(&mut answers)).await.unwrap();
    String::from_utf8(answers).unwrap()
}

#[tokio::test]
async fn the_broker_answers_as_redis_does() {
    let redis = RedisServer::start().await;
    let broker = Broker::loopback(0).await.unwrap();
    let scripts: &[&[&str]] = &[
        &["PING", "PING hello", "ECHO x", "SELECT 0", "SELECT 99", "CLIENT SETNAME me"],
        &[
            "SUBSCRIBE a b a",
            "PING",
            "PING x",
            "UNSUBSCRIBE a",
            "UNSUBSCRIBE nothing",
            "UNSUBSCRIBE",
            "UNSUBSCRIBE",
            "PING",
        ],
        &["PSUBSCRIBE a* b?", "PUNSUBSCRIBE b?", "PUNSUBSCRIBE", "PUNSUBSCRIBE"],
        &[
            "SSUBSCRIBE a",
            "SSUBSCRIBE b",
            "SUBSCRIBE c",
            "SUNSUBSCRIBE a",
            "SUNSUBSCRIBE",
            "SUNSUBSCRIBE",
            "UNSUBSCRIBE",
        ],
        &[
            "PUBLISH a x",
            "SPUBLISH a x",
            "PUBSUB NUMSUB a b",
            "PUBSUB SHARDNUMSUB a",
            "PUBSUB NUMPAT",
            "PUBSUB CHANNELS",
        ],
        &[
            "HELLO 3",
            "SUBSCRIBE a",
            "PUBLISH a hello",
            "PUBSUB NUMSUB a z",
            "PUBSUB CHANNELS a*",
            "UNSUBSCRIBE",
            "UNSUBSCRIBE",
        ],
        &[
            "HELLO 3",
            "PSUBSCRIBE a* *b",
            "PUBLISH a hello",
            "PUBSUB NUMPAT",
            "PING",
            "PING x",
            "PUNSUBSCRIBE a*",
        ],
        &[
            "HELLO 3",
            "SSUBSCRIBE a",
            "SPUBLISH a hello",
            "PUBLISH a no",
            "PUBSUB SHARDNUMSUB a",
            "PUBSUB SHARDCHANNELS",
        ],
        &["HELLO 3", "SUBSCRIBE a", "RESET", "PUBLISH a x", "CLIENT GETNAME"],
        &["HELLO 4", "AUTH x", "SUBSCRIBE", "PUBLISH a"],
        &["PUBSUB NUMSUB", "PUBSUB CHANNELS nothing*"],
    ];
    for script in scripts {
        let (ours, theirs) = (transcript(broker.url(), script).await, transcript(&redis.url(), script).await);
        assert_eq!(comparable(&ours), comparable(&theirs), "{script:?}");
    }
}

/// Without what may differ: the greeting's version and id, and the wording behind an error's code.
fn comparable(transcript: &str) -> Vec<String> {
    let mut lines: Vec<String> = transcript.split("\r\n").map(ToOwned::to_owned).collect();
    if let Some(end) = lines.iter().position(|line| line == "modules") {
        lines.drain(..end);
    }
    for line in &mut lines {
        if line.starts_with('-') {
            line.truncate(line.find(' ').unwrap_or(line.len()));
        }
    }
    lines
}

#[tokio::test]
async fn subscribers_in_resp2_may_only_subscribe() {
    let broker = Broker::loopback(0).await.unwrap();
    let answers =
        transcript(broker.url(), &["SUBSCRIBE a", "PUBLISH a x", "UNSUBSCRIBE", "PUBLISH a x", "GET a"])
            .await;
    let mut errors = answers.split("\r\n").filter(|line| line.starts_with('-'));
    assert!(errors.next().unwrap().starts_with("-ERR Can't execute 'publish'"));
    assert!(errors.next().unwrap().starts_with("-ERR unknown command 'GET'"));
    assert_eq!(errors.next(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_subscribers_hear_each_message_once() {
    const SUBSCRIBERS: usize = 1000;
    let broker = Broker::loopback(0).await.unwrap();
    let mut listeners = tokio::task::JoinSet::new();
    for number in 0..SUBSCRIBERS {
        let mut stream = dial(broker.url()).await;
        // Half of them by pattern, and each also has a channel of its own.
        let words = if number % 2 == 0 { "SUBSCRIBE news" } else { "PSUBSCRIBE n?ws" };
        stream.write_all(&command(words)).await.unwrap();
        stream.write_all(&command(&format!("SUBSCRIBE own-{number}"))).await.unwrap();
        listeners.spawn(async move {
            let mut heard = Vec::new();
            while !heard.ends_with(b"last\r\n") {
                assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "cut off");
            }
            let heard = String::from_utf8(heard).unwrap();
            (heard.matches("first\r\n").count(), heard.matches("last\r\n").count())
        });
    }
    let mut publisher = connection(broker.url()).await.unwrap();
    until("all are subscribed", async || {
        let (patterns, (_, count)): (usize, (String, usize)) = redis::pipe()
            .cmd("PUBSUB")
            .arg("NUMPAT")
            .cmd("PUBSUB")
            .arg(&["NUMSUB", "news"])
            .query_async(&mut publisher.clone())
            .await
            .unwrap();
        patterns == 1 && count == SUBSCRIBERS / 2 && broker.clients() == SUBSCRIBERS + 1
    })
    .await;
    for message in ["first", "last"] {
        let reached: redis::RedisResult<usize> =
            redis::cmd("PUBLISH").arg("news").arg(message).query_async(&mut publisher).await;
        assert_eq!(reached.unwrap(), SUBSCRIBERS);
    }
    for heard in soon("all hear it", listeners.join_all()).await {
        assert_eq!(heard, (1, 1));
    }
    assert_eq!(broker.cut_off(), 0);
    until("all are gone", async || broker.clients() == 1).await;
}

/// What the broker says to `input`, and that it then hangs up.
async fn refusal(broker: &Broker, input: &[u8]) -> String {
    let mut stream = dial(broker.url()).await;
    // It may hang up in the middle, which is as good.
    let _ = stream.write_all(input).await;
    let mut answer = Vec::new();
    let _ = soon("the broker hangs up", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// As in Redis, where it is one step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_seen_a_connection_end_does_not_find_its_subscriptions() {
    let broker = Broker::loopback(0).await.unwrap();
    // So many that giving them up takes a moment.
    let names: Vec<String> = (0..1000).map(|name| name.to_string()).collect();
    let names = names.join(" ");
    let (subscribe, shards) = (format!("SUBSCRIBE {names}"), format!("SSUBSCRIBE {names}"));
    for _ in 0..30 {
        transcript(broker.url(), &[&subscribe, &shards, "PSUBSCRIBE *"]).await;
        let left = ["PUBSUB CHANNELS", "PUBSUB NUMPAT", "PUBSUB SHARDCHANNELS"];
        assert_eq!(transcript(broker.url(), &left).await, "*0\r\n:0\r\n*0\r\n+OK\r\n");
    }
}

#[tokio::test]
async fn the_broker_listens_to_this_machine_only() {
    let error = Broker::tcp(SocketAddr::from(([0, 0, 0, 0], 0)), Limits::default()).await.unwrap_err();
    assert!(error.to_string().contains("loopback only"), "{error}");
    let limits = Limits { clients_max: 1, ..Limits::default() };
    let broker = Broker::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), limits).await.unwrap();
    let mut first = dial(broker.url()).await;
    first.write_all(&command("PING")).await.unwrap();
    let mut pong = [0; 7];
    first.read_exact(&mut pong).await.unwrap();
    assert!(refusal(&broker, b"").await.starts_with("-ERR max number of clients reached"));
}

#[tokio::test]
async fn the_broker_on_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broker.sock");
    let broker = Broker::unix(&path, Limits::default()).await.unwrap();
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(&command("PING")).await.unwrap();
    let mut pong = [0; 7];
    stream.read_exact(&mut pong).await.unwrap();
    assert_eq!(&pong, b"+PONG\r\n");
    drop(broker);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_password_is_asked_for_as_redis_does() {
    let redis = RedisServer::with(&["--requirepass", "secret"]).await;
    let settings = Settings { password: Some("secret".to_owned()), ..Settings::default() };
    let broker = Broker::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), settings).await.unwrap();
    let scripts: &[&[&str]] = &[
        &["PING", "SUBSCRIBE a", "PUBLISH a x", "AUTH wrong", "AUTH secret", "PING"],
        &["HELLO 3", "HELLO 3 AUTH default wrong", "HELLO 3 AUTH nobody secret", "PING"],
        &["HELLO 3 AUTH default secret SETNAME me", "CLIENT GETNAME", "RESET", "PING", "CLIENT GETNAME"],
        &["AUTH default secret", "CLIENT SETNAME me", "CLIENT GETNAME", "HELLO 3 NONSENSE", "AUTH a b c"],
        &["AUTH secre", "AUTH secrets", "PING"],
    ];
    for script in scripts {
        let (ours, theirs) = (transcript(broker.url(), script).await, transcript(&redis.url(), script).await);
        assert_eq!(comparable(&ours), comparable(&theirs), "{script:?}");
    }
}
