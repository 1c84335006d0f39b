//! What a broadcast costs on its way from one node to another, beside socketioxide-redis.
//!
//! `codec` measures one broadcast to one room, in memory. `way` measures 500 broadcasts from `io.emit` on one node to
//! a WebSocket client of another, both in this process, through a redis-server and through the embedded broker.
//! socketioxide-redis waits for Redis within each emit and this crate does not; both are driven by one task, as an
//! app's handler would.

#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::VecDeque, hint::black_box, net::SocketAddr, process::Stdio};

use broker::Broker;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fanout::{RedisAdapter, bench::End};
use futures_util::{SinkExt, StreamExt};
use socketioxide::{
    SocketIo,
    adapter::{Adapter, Emitter},
};
use socketioxide_core::{
    Uid, Value,
    adapter::{
        BroadcastOptions,
        remote_packet::{RequestIn, RequestOut, RequestTypeOut},
    },
    packet::Packet,
};
use socketioxide_redis::RedisAdapterCtr;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
    runtime::Runtime,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

const MESSAGES: u64 = 500;

type Theirs = socketioxide_redis::RedisAdapter<Emitter>;
type Ours = RedisAdapter<Emitter>;

fn codec(criterion: &mut Criterion) {
    let text = r#"["said",{"from":"somebody","room":"GROUP_A","text":"a line as people write them in a chat","at":1764000000123}]"#;
    let bytes = r#"["file",{"name":"a.bin","body":{"_placeholder":true,"num":0}}]"#;
    let attachment = VecDeque::from([Bytes::from(vec![7; 4096])]);
    for (name, value) in [
        ("text", Value::Str(text.into(), None)),
        ("4 KiB of bytes", Value::Str(bytes.into(), Some(attachment))),
    ] {
        let mut group = criterion.benchmark_group(format!("codec/{name}"));
        let (here, there) = (End::new("here"), End::new("there"));
        group.bench_function("encode", |bencher| {
            bencher.iter(|| here.encode(black_box(value.clone()), "GROUP_A"));
        });
        let body = Bytes::from(here.encode(value.clone(), "GROUP_A"));
        assert!(there.decode(&body));
        group.bench_function("decode", |bencher| bencher.iter(|| there.decode(black_box(&body))));

        let packet = Packet::event("/", value);
        let mut options = BroadcastOptions::default();
        options.rooms.push("GROUP_A".into());
        let node_id = Uid::new();
        let encode = || {
            rmp_serde::to_vec(&RequestOut::new(
                node_id,
                RequestTypeOut::Broadcast(black_box(&packet)),
                &options,
            ))
            .unwrap()
        };
        group.bench_function("encode, socketioxide-redis", |bencher| bencher.iter(encode));
        let body = encode();
        group.bench_function("decode, socketioxide-redis", |bencher| {
            bencher.iter(|| rmp_serde::from_slice::<RequestIn>(black_box(&body)).unwrap());
        });
        group.finish();
    }
}

fn way(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let (_redis, redis_url) = runtime.block_on(redis_server());
    let broker = runtime.block_on(Broker::loopback(0)).unwrap();
    let mut group = criterion.benchmark_group("way");
    group.throughput(Throughput::Elements(MESSAGES)).sample_size(10);
    for (between, url) in [("redis", redis_url.as_str()), ("broker", broker.url())] {
        let (sender, mut client) = runtime.block_on(async {
            let connect = async || fanout::connect(url, fanout::Options::default()).await.unwrap();
            let (sender, receiver) =
                (node::<Ours>(connect().await).await, node::<Ours>(connect().await).await);
            sender.io.ns("/", async || {}).await;
            receiver.io.ns("/", async || {}).await;
            (sender.io, dial(receiver.address).await)
        });
        group.bench_function(between, |bencher| {
            bencher.iter(|| runtime.block_on(say_and_hear(&sender, &mut client)));
        });

        let (sender, mut client) = runtime.block_on(async {
            let redis = redis::Client::open(format!("{url}?protocol=resp3")).unwrap();
            let connect = async || RedisAdapterCtr::new_with_redis(&redis).await.unwrap();
            let (sender, receiver) =
                (node::<Theirs>(connect().await).await, node::<Theirs>(connect().await).await);
            sender.io.ns("/", async || {}).await.unwrap();
            receiver.io.ns("/", async || {}).await.unwrap();
            (sender.io, dial(receiver.address).await)
        });
        group.bench_function(format!("{between}, socketioxide-redis"), |bencher| {
            bencher.iter(|| runtime.block_on(say_and_hear(&sender, &mut client)));
        });
    }
    group.finish();
}

struct Node<A: Adapter> {
    io: SocketIo<A>,
    address: SocketAddr,
}

async fn node<A: Adapter>(state: A::State) -> Node<A> {
    // A client's queue must hold a whole round, or socketioxide drops what does not fit.
    let (layer, io) =
        SocketIo::builder().max_buffer_size(2 * MESSAGES as usize).with_adapter::<A>(state).build_layer();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().layer(layer)).await.unwrap() });
    Node { io, address }
}

/// A client with nothing around the protocol: a WebSocket, an Engine.IO handshake, a Socket.IO one.
async fn dial(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut client, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    client.next().await.unwrap().unwrap();
    client.send(Message::text("40")).await.unwrap();
    client.next().await.unwrap().unwrap();
    client
}

async fn redis_server() -> (Child, String) {
    loop {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--save", "", "--bind", "127.0.0.1"])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("Ready to accept connections") {
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return (process, format!("redis://127.0.0.1:{port}"));
            }
        }
    }
}

async fn say_and_hear<A: Adapter>(sender: &SocketIo<A>, client: &mut WebSocketStream<TcpStream>) {
    for number in 0..MESSAGES {
        sender.emit("said", &(number, "a line as people write them in a chat")).await.unwrap();
    }
    let mut heard = 0;
    while heard < MESSAGES {
        let message = client.next().await.unwrap().unwrap();
        heard += u64::from(message.to_text().unwrap().starts_with("42"));
        if message.to_text().unwrap() == "2" {
            client.send(Message::text("3")).await.unwrap();
        }
    }
}

criterion_group!(benches, codec, way);
criterion_main!(benches);
