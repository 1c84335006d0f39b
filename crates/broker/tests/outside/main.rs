//! The broker from outside: it answers as Redis does, holds many subscribers, and cannot be made to grow.
//!
//! Method: a real redis-server is asked the same beside it; everything is on loopback or a Unix socket, on free ports.

// A helper that panics fails its test; clippy does not take that for granted outside of functions that are tests themselves.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::SocketAddr;

use broker::{Broker, Limits, Settings};
use proptest::{
    prelude::{Strategy, any, prop},
    test_runner::TestRunner,
};
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

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_cut_and_the_others_are_not() {
    let limits = Limits { waiting_bytes_max: 1 << 20, ..Limits::default() };
    let broker = Broker::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), limits).await.unwrap();
    let mut lazy = dial(broker.url()).await;
    lazy.write_all(&command("SUBSCRIBE news")).await.unwrap();
    let mut eager = dial(broker.url()).await;
    eager.write_all(&command("SUBSCRIBE news")).await.unwrap();
    let reading = tokio::spawn(async move {
        // The last bytes, since the end may come in two pieces.
        let mut tail = Vec::new();
        while !tail.ends_with(b"end\r\n") {
            tail.drain(..tail.len().saturating_sub(8));
            assert_ne!(eager.read_buf(&mut tail).await.unwrap(), 0, "cut off");
        }
    });
    let mut publisher = connection(broker.url()).await.unwrap();
    let message = vec![b'x'; 100_000];
    until("the lazy one is cut", async || {
        let mut publisher = publisher.clone();
        redis::cmd("PUBLISH").arg("news").arg(&message).query_async::<usize>(&mut publisher).await.unwrap();
        broker.cut_off() == 1
    })
    .await;
    let _: usize = redis::cmd("PUBLISH").arg("news").arg("end").query_async(&mut publisher).await.unwrap();
    soon("the eager one hears all", reading).await.unwrap();
    assert_eq!(broker.cut_off(), 1);
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

#[tokio::test]
async fn what_is_no_command_is_refused_when_it_is_announced() {
    let broker = Broker::loopback(0).await.unwrap();
    // None of them is complete: a server that waited for the rest would never answer.
    for input in [
        &b"*2\r\n$4\r\nECHO\r\n$16777217\r\n"[..],
        b"*1\r\n$999999999999\r\n",
        b"*1025\r\n",
        b"*99999999999999999999\r\n",
        b"*1\r\n$-1\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"*1\r\n+PING\r\n",
        b"$4\r\nPING\r\n",
        b"*111111111111111111111111111111111111",
    ] {
        let answer = refusal(&broker, input).await;
        assert!(
            answer.starts_with("-ERR Protocol error: "),
            "{:?} to {:?}",
            answer,
            input.escape_ascii().to_string()
        );
    }
    until("all are gone", async || broker.clients() == 0).await;
}

#[test]
fn random_bytes_never_harm_the_broker() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let broker = runtime.block_on(Broker::loopback(0)).unwrap();
    // Half noise, half almost right.
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let words = [
        "*1\r\n",
        "*2\r\n",
        "$4\r\nPING\r\n",
        "$9\r\nSUBSCRIBE\r\n",
        "$1\r\na\r\n",
        "\r\n",
        "$5",
        "*3\r\n",
        "$7\r\nPUBLISH\r\n",
    ];
    let almost = prop::collection::vec(prop::sample::select(words.to_vec()), 0..30)
        .prop_map(|words| words.concat().into_bytes());
    let input = prop::strategy::Union::new([noise.boxed(), almost.boxed()]);
    let mut runner = TestRunner::default();
    runner
        .run(&input, |input| {
            runtime.block_on(async {
                let mut stream = dial(broker.url()).await;
                let _ = stream.write_all(&input).await;
                let _ = stream.shutdown().await;
                let mut answer = Vec::new();
                let _ = soon("the broker hangs up", stream.read_to_end(&mut answer)).await;
                assert_eq!(transcript(broker.url(), &["PING"]).await, "+PONG\r\n+OK\r\n");
            });
            Ok(())
        })
        .unwrap();
    runtime.block_on(until("all are gone", async || broker.clients() == 0));
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

/// Long names are as good as many of them for filling memory.
#[tokio::test]
async fn the_names_of_one_client_are_bounded_in_bytes() {
    let limits = Limits { subscription_bytes_max: 100, ..Limits::default() };
    let broker = Broker::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), limits).await.unwrap();
    let (long, short) = ("l".repeat(60), "s".repeat(41));
    let script = [
        &*format!("SUBSCRIBE {long}"),
        &format!("PSUBSCRIBE {short}"),
        "SSUBSCRIBE shard",
        // It has this one, which takes no more.
        &format!("SUBSCRIBE {long}"),
        &format!("UNSUBSCRIBE {long}"),
        &format!("PSUBSCRIBE {short}"),
    ];
    let said = transcript(broker.url(), &script).await;
    let refused = said.matches("-ERR too many bytes of subscriptions on this connection\r\n").count();
    assert_eq!((refused, said.matches("subscribe\r\n").count()), (1, 5), "{said}");
    let name = "n".repeat(1025);
    let said =
        transcript(broker.url(), &[&format!("CLIENT SETNAME {name}"), &format!("HELLO 3 SETNAME {name}")])
            .await;
    assert_eq!(said.matches("-ERR a client's name has at most 1024 bytes").count(), 2, "{said}");
}

/// As Redis, which does not read 16 MiB of somebody who has not said the password.
#[tokio::test]
async fn who_has_not_logged_in_may_not_say_much() {
    let settings = Settings { password: Some("secret".to_owned()), ..Settings::default() };
    let broker = Broker::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), settings).await.unwrap();
    for input in ["*2\r\n$4\r\nAUTH\r\n$16385\r\n", "*11\r\n"] {
        let answer = refusal(&broker, input.as_bytes()).await;
        assert!(answer.starts_with("-ERR Protocol error: "), "{answer:?} to {input:?}");
    }
    let long = format!("ECHO {}", "x".repeat(20_000));
    assert!(transcript(broker.url(), &["AUTH secret", &long]).await.starts_with("+OK\r\n$20000\r\n"));
}

/// As many publishes as a connection takes, in one go; nobody waits for the answers in between.
async fn flood(url: &str, messages: usize, size: usize) {
    let mut command = redis::Cmd::new();
    command.arg("PUBLISH").arg("news").arg(vec![b'x'; size]);
    let flood = command.get_packed_command().repeat(messages);
    let (mut reader, mut writer) = dial(url).await.into_split();
    let reading = tokio::spawn(async move {
        let (mut answers, mut buffer) = (0, vec![0; 1 << 16]);
        while answers < messages {
            let read = reader.read(&mut buffer).await.unwrap();
            assert_ne!(read, 0, "cut off");
            answers += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        }
    });
    soon("the flood is taken", writer.write_all(&flood)).await.unwrap();
    soon("the flood is answered", reading).await.unwrap();
}

#[tokio::test]
async fn a_flood_waits_for_subscribers_that_read_and_gets_none_cut_off() {
    const MESSAGES: usize = 20_000;
    let limits = Limits { waiting_bytes_max: 64 << 10, ..Limits::default() };
    let broker = Broker::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), limits).await.unwrap();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let mut stream = dial(broker.url()).await;
        stream.write_all(&command("SUBSCRIBE news")).await.unwrap();
        let mut confirmation = vec![0; b"*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n".len()];
        stream.read_exact(&mut confirmation).await.unwrap();
        readers.spawn(async move {
            let message = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$100\r\n".len() + 102;
            let (mut heard, mut buffer) = (0, vec![0; 4096]);
            while heard < MESSAGES * message {
                let read = stream.read(&mut buffer).await.unwrap();
                assert_ne!(read, 0, "cut off");
                heard += read;
            }
            heard == MESSAGES * message
        });
    }
    flood(broker.url(), MESSAGES, 100).await;
    assert_eq!(soon("all is heard", readers.join_all()).await, [true; 3]);
    assert_eq!(broker.cut_off(), 0);
}

#[tokio::test]
async fn a_flood_does_not_wait_for_ever_for_a_subscriber_that_does_not_read() {
    let limits = Limits { waiting_bytes_max: 1 << 20, ..Limits::default() };
    let broker = Broker::tcp(SocketAddr::from(([127, 0, 0, 1], 0)), limits).await.unwrap();
    let mut lazy = dial(broker.url()).await;
    lazy.write_all(&command("SUBSCRIBE news")).await.unwrap();
    let mut publisher = connection(broker.url()).await.unwrap();
    until("it is subscribed", async || {
        let count: (String, usize) =
            redis::cmd("PUBSUB").arg("NUMSUB").arg("news").query_async(&mut publisher.clone()).await.unwrap();
        count.1 == 1
    })
    .await;
    flood(broker.url(), 2000, 10_000).await;
    let _: usize = redis::cmd("PUBLISH").arg("news").arg("end").query_async(&mut publisher).await.unwrap();
    assert_eq!(broker.cut_off(), 1);
}
