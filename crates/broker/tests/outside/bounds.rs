//! The broker cannot be made to grow, and nobody is cut off who reads: what is refused, what waits, and who goes.

use std::net::SocketAddr;

use broker::{Broker, Limits, Settings};
use proptest::{
    prelude::{Strategy, any, prop},
    test_runner::TestRunner,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{connection, soon, until};
use crate::{command, dial, refusal, transcript};

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
