//! What fan-out costs beside Node.js: `cargo xtask bench fanout` runs this and prints a table.
//!
//! Each node is a process of its own, and so are Redis and the broker; their time on the processor is read from
//! `/proc`. Clients are bare WebSockets in this process and are not counted. Nothing is paced: a loop of emits on one
//! node, and the clock stops when the last client of another node has the last message.

#![allow(clippy::unwrap_used)]

use std::{convert::Infallible, path::PathBuf, process::Stdio, time::Duration};

use broker::Broker;
use fanout::{Options, RedisAdapter};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value as Json, json};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
    handler::ConnectHandler,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::Instant,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

type Adapter = RedisAdapter<socketioxide::adapter::Emitter>;

const TEXT: &str =
    "a line as people write them in a chat, of about a hundred bytes, which is what most of them take here";

#[tokio::main]
async fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("node") => node().await,
        Some("broker") => broker().await,
        _ => measure().await,
    }
}

// The processes that are measured.

async fn broker() {
    let broker = Broker::loopback(0).await.unwrap();
    println!("{}", broker.url());
    std::future::pending::<()>().await;
}

/// A node that does what it is told over its standard input, as `tests/js/node.cjs` does.
async fn node() {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut running: Option<(SocketIo<Adapter>, fanout::Fanout)> = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let call: Json = serde_json::from_str(&line).unwrap();
        let result = match (call["op"].as_str().unwrap(), &running) {
            ("start", _) => {
                let url = call["redis"]["urls"][0].as_str().unwrap();
                let fleet = fanout::connect(url, Options::default()).await.unwrap();
                let (layer, io) = SocketIo::builder().with_adapter::<Adapter>(fleet.clone()).build_layer();
                io.ns("/", (async || {}).with(connecting)).await;
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let port = listener.local_addr().unwrap().port();
                let app = axum::Router::new().layer(layer);
                tokio::spawn(async move { axum::serve(listener, app).await });
                running = Some((io, fleet));
                json!(port)
            }
            ("burst", Some((io, _))) => {
                let (count, mut failed) = (call["count"].as_u64().unwrap(), 0);
                for _ in 0..count {
                    failed += u64::from(io.to("room").emit("said", TEXT).await.is_err());
                }
                json!(failed)
            }
            ("stats", Some((_, fleet))) => {
                let stats = fleet.stats();
                json!({ "dropped": stats.dropped(), "missed": stats.clients_missed, "gaps": stats.gaps })
            }
            _ => Json::Null,
        };
        println!("{}", json!({ "id": call["id"], "result": result }));
    }
}

async fn connecting(socket: SocketRef<Adapter>) -> Result<(), Infallible> {
    socket.on(
        "join",
        async |socket: SocketRef<Adapter>, Data::<Vec<String>>(rooms), ack: AckSender<Adapter>| {
            socket.join(rooms);
            let _ = ack.send(&());
        },
    );
    Ok(())
}

// The one that measures.

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Js,
    Rust,
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(program: &std::ffi::OsStr, arguments: &[&std::ffi::OsStr]) -> Self {
        // As many sockets as the system allows; the usual soft limit is 1,024.
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" \"$@\""]).arg(program).args(arguments);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("node and redis-server are installed");
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { stdin: child.stdin.take().unwrap(), lines, child }
    }

    fn node(kind: Kind) -> Self {
        match kind {
            Kind::Rust => Self::start(std::env::current_exe().unwrap().as_os_str(), &["node".as_ref()]),
            Kind::Js => {
                let js = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/js/node.cjs");
                Self::start("node".as_ref(), &[js.as_os_str()])
            }
        }
    }

    async fn tell(&mut self, call: Json) {
        self.stdin.write_all(format!("{call}\n").as_bytes()).await.unwrap();
    }

    async fn call(&mut self, call: Json) -> Json {
        self.tell(call).await;
        let answer: Json = serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap();
        answer["result"].clone()
    }

    /// On the processor, in user and system mode.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id().unwrap())).unwrap();
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // USER_HZ is 100 wherever Linux runs.
        Duration::from_millis(ticks * 10)
    }
}

async fn between(broker: bool) -> (Process, String) {
    if broker {
        let mut process = Process::start(std::env::current_exe().unwrap().as_os_str(), &["broker".as_ref()]);
        let url = process.lines.next_line().await.unwrap().unwrap();
        return (process, url);
    }
    loop {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let port = port.to_string();
        let mut process = Process::start(
            "redis-server".as_ref(),
            &["--port".as_ref(), port.as_ref(), "--save".as_ref(), "".as_ref()],
        );
        while let Ok(Some(line)) = process.lines.next_line().await {
            if line.contains("Ready to accept connections") {
                return (process, format!("redis://127.0.0.1:{port}"));
            }
        }
    }
}

/// A client with nothing around the protocol, in the room.
async fn dial(port: u64) -> WebSocketStream<TcpStream> {
    let address = format!("127.0.0.1:{port}");
    let stream = TcpStream::connect(&address).await.unwrap();
    let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
    let (mut client, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    for say in ["40", "420[\"join\",[\"room\"]]"] {
        client.next().await.unwrap().unwrap();
        client.send(Message::text(say)).await.unwrap();
    }
    loop {
        let message = client.next().await.expect("the node keeps the connection").unwrap();
        if message.to_text().is_ok_and(|text| text.starts_with("430")) {
            break;
        }
    }
    client
}

struct Run {
    sender: Duration,
    receiver: Duration,
    between: Duration,
    wall: Duration,
    lost: u64,
    /// What the nodes say that they lost.
    told: Vec<Json>,
}

/// `count` messages from one node to the clients of `receivers` others, of the same kind.
async fn run(kind: Kind, broker: bool, count: u64, clients: usize, receivers: usize) -> Run {
    let (between, url) = between(broker).await;
    let start = json!({ "id": 1, "op": "start", "redis": { "urls": [url] } });
    let mut sender = Process::node(kind);
    sender.call(start.clone()).await;
    let (mut nodes, mut all) = (Vec::new(), Vec::new());
    for _ in 0..receivers {
        let mut node = Process::node(kind);
        let port = node.call(start.clone()).await.as_u64().unwrap();
        for _ in 0..clients {
            all.push(dial(port).await);
        }
        nodes.push(node);
    }
    // Node.js' Redis client fails commands that wait for five seconds, which those of one loop without a pause would.
    let code = format!(
        "for (let n = 0; n < {count}; n++) {{
           io.to('room').emit('said', {});
           if (n % 200 === 199) await io.of('/').adapter.pubClient.ping();
         }}",
        json!(TEXT)
    );
    let before = (sender.cpu(), nodes.iter().map(Process::cpu).sum::<Duration>(), between.cpu());
    let began = Instant::now();
    sender.tell(json!({ "id": 2, "op": if kind == Kind::Js { "run" } else { "burst" }, "code": code, "count": count })).await;
    let hearing = all.into_iter().map(|client| tokio::spawn(hear(client, count)));
    let lost = futures_util::future::join_all(hearing).await.into_iter().map(Result::unwrap).sum();
    let mut run = Run {
        wall: began.elapsed(),
        sender: sender.cpu() - before.0,
        receiver: nodes.iter().map(Process::cpu).sum::<Duration>() - before.1,
        between: between.cpu() - before.2,
        lost,
        told: Vec::new(),
    };
    if kind == Kind::Rust {
        // The answer to the burst comes first.
        sender.lines.next_line().await.unwrap();
        for node in std::iter::once(&mut sender).chain(&mut nodes) {
            run.told.push(node.call(json!({ "id": 3, "op": "stats" })).await);
        }
    }
    run
}

/// How many of them did not come. The end of a loss is that nothing comes for a while.
async fn hear(mut client: WebSocketStream<TcpStream>, count: u64) -> u64 {
    let mut heard = 0;
    while heard < count {
        let Ok(Some(Ok(message))) = tokio::time::timeout(Duration::from_secs(10), client.next()).await else {
            break;
        };
        match message.to_text() {
            Ok("2") => client.send(Message::text("3")).await.unwrap(),
            Ok(text) => heard += u64::from(text.starts_with("42")),
            Err(_) => {}
        }
    }
    count - heard
}

/// All rows, or those whose name contains the argument.
async fn measure() {
    let wanted = std::env::args().nth(1);
    println!(
        "| messages of 100 B, unpaced | lost | a second | CPU of the sender, µs each | of the receivers | of what is between |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for (name, kind, broker, count, clients, receivers) in [
        ("Node.js to Node.js, one client", Kind::Js, false, 200_000, 1, 1),
        ("Rust to Rust, one client", Kind::Rust, false, 500_000, 1, 1),
        ("Node.js to Node.js, a room of 1,000", Kind::Js, false, 300, 1000, 1),
        ("Rust to Rust, a room of 1,000", Kind::Rust, false, 300, 1000, 1),
        ("Rust to four nodes, redis-server", Kind::Rust, false, 200_000, 1, 4),
        ("Rust to four nodes, the broker", Kind::Rust, true, 200_000, 1, 4),
    ] {
        if wanted.as_ref().is_some_and(|wanted| !name.contains(wanted.as_str())) {
            continue;
        }
        let run = run(kind, broker, count, clients, receivers).await;
        if run.lost > 0 {
            eprintln!("{name}: the nodes say {}", Json::from(run.told.clone()));
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        println!(
            "| {name} | {} | {:.0} | {:.2} | {:.2} | {:.2} |",
            run.lost,
            count as f64 / run.wall.as_secs_f64(),
            each(run.sender),
            each(run.receiver),
            each(run.between)
        );
    }
}
