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
    runtime::{Builder, Runtime},
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

type Adapter = RedisAdapter<socketioxide::adapter::Emitter>;

const TEXT: &str =
    "a line as people write them in a chat, of about a hundred bytes, which is what most of them take here";

/// A node hands the same few sizes out and back a thousand times a message, which this one does in three quarters of the time
/// that glibc's takes.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let several_threads = || Runtime::new().unwrap();
    match std::env::args().nth(1).as_deref() {
        // One thread, as a node in Node.js has: there is a process for each core.
        Some("node") => Builder::new_current_thread().enable_all().build().unwrap().block_on(node()),
        Some("broker") => several_threads().block_on(broker()),
        Some("gone") => several_threads().block_on(gone()),
        _ => several_threads().block_on(measure()),
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
                let fleet = match call["redis"]["sentinel"].as_str() {
                    Some(service) => fanout::connect_sentinel(&[url], service, options(&call)).await,
                    None => fanout::connect(url, options(&call)).await,
                };
                let fleet = fleet.unwrap();
                let (layer, io) = SocketIo::builder().with_adapter::<Adapter>(fleet.clone()).build_layer();
                io.ns("/", (async || {}).with(connecting)).await;
                let port = call["port"].as_u64().unwrap_or(0);
                let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await.unwrap();
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
            ("talk", Some((io, _))) => {
                let text = "x".repeat(1000);
                let mut beat = interval(Duration::from_millis(1));
                beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
                for _ in 0..call["seconds"].as_u64().unwrap() * 1000 {
                    beat.tick().await;
                    let _ = io.to("room").emit("said", &text).await;
                }
                Json::Null
            }
            ("serverCount", Some((_, fleet))) => {
                json!(fleet.of("/").unwrap().server_count().await.ok())
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

/// As they come, or for a test on a machine that may be busy.
fn options(call: &Json) -> Options {
    if call["patient"] != true {
        return Options::default();
    }
    let patience = Duration::from_secs(60);
    Options { startup_wait: patience, hold_max: patience, rejoin_wait_max: patience, ..Options::default() }
}

async fn connecting(socket: SocketRef<Adapter>, io: SocketIo<Adapter>) -> Result<(), Infallible> {
    let ending = io.clone();
    socket.on("say", async move |Data::<(String, Json, Json)>((room, name, number))| {
        let _ = io.to(room).emit("said", &(name, number)).await;
    });
    socket.on("finish", async move |Data::<String>(room)| {
        let _ = ending.to(room).emit("over", &[0; 0]).await;
    });
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

    fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// On the processor, of all its threads. The scheduler counts nanoseconds, where `/proc/PID/stat` has a hundredth of a second.
    fn cpu(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id().unwrap())).unwrap();
        // A thread may end in between.
        let times = tasks.filter_map(|task| {
            let schedule = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            schedule.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
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
    // Between any two there may be a ping, and an event that is sent before the namespace is entered ends the connection.
    for (wanted, say) in [("0", "40"), ("40", "420[\"join\",[\"room\"]]"), ("430", "3")] {
        loop {
            let message = client.next().await.expect("the node keeps the connection").unwrap();
            match message.to_text() {
                Ok(text) if text.starts_with(wanted) => break,
                Ok("2") => client.send(Message::text("3")).await.unwrap(),
                _ => {}
            }
        }
        client.send(Message::text(say)).await.unwrap();
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

/// What is measured: `rounds` times `count` messages from one node to the clients of `receivers` others, of the same kind.
struct Row {
    name: &'static str,
    kind: Kind,
    broker: bool,
    rounds: u64,
    count: u64,
    clients: usize,
    receivers: usize,
}

async fn run(row: &Row) -> Run {
    let Row { kind, broker, rounds, count, clients, receivers, .. } = *row;
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
    let mut lost = 0;
    for _ in 0..rounds {
        let op = if kind == Kind::Js { "run" } else { "burst" };
        sender.tell(json!({ "id": 2, "op": op, "code": code, "count": count })).await;
        let hearing = all.drain(..).map(|client| tokio::spawn(hear(client, count)));
        for heard in futures_util::future::join_all(hearing).await {
            let (missing, client) = heard.unwrap();
            lost += missing;
            all.push(client);
        }
        // The answer to the burst.
        sender.lines.next_line().await.unwrap();
    }
    let mut run = Run {
        wall: began.elapsed(),
        sender: sender.cpu() - before.0,
        receiver: nodes.iter().map(Process::cpu).sum::<Duration>() - before.1,
        between: between.cpu() - before.2,
        lost,
        told: Vec::new(),
    };
    if kind == Kind::Rust {
        for node in std::iter::once(&mut sender).chain(&mut nodes) {
            run.told.push(node.call(json!({ "id": 3, "op": "stats" })).await);
        }
    }
    run
}

/// What a node holds while Redis is gone for ten minutes, or as many seconds as the next argument says, and it goes on saying
/// 1,000 messages of 1 kB a second.
async fn gone() {
    let seconds: u64 = std::env::args().nth(2).map_or(600, |seconds| seconds.parse().unwrap());
    let (redis, url) = between(false).await;
    let mut node = Process::node(Kind::Rust);
    let port =
        node.call(json!({ "id": 1, "op": "start", "redis": { "urls": [url] } })).await.as_u64().unwrap();
    let client = dial(port).await;
    let mut hearing = tokio::spawn(hear(client, u64::MAX));
    node.call(json!({ "id": 2, "op": "talk", "seconds": 5 })).await;
    let before = node.resident_kib();
    drop(redis);
    node.tell(json!({ "id": 3, "op": "talk", "seconds": seconds })).await;
    let (mut most, mut beat) = (before, interval(Duration::from_millis(500)));
    loop {
        tokio::select! {
            _ = node.lines.next_line() => break,
            _ = &mut hearing => panic!("the client was closed"),
            _ = beat.tick() => most = most.max(node.resident_kib()),
        }
    }
    let after = node.resident_kib();
    let stats = node.call(json!({ "id": 4, "op": "stats" })).await;
    println!(
        "resident before {before} KiB, at most {most} KiB, after {seconds} s {after} KiB; the node says {stats}"
    );
}

/// How many of them did not come, and the client for what follows. The end of a loss is that nothing comes for a while.
async fn hear(mut client: WebSocketStream<TcpStream>, count: u64) -> (u64, WebSocketStream<TcpStream>) {
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
    (count - heard, client)
}

/// One after the other in turns, since what a publish costs depends on how many the machine lets come together. Says what the
/// broker takes of what redis-server takes, in each pair.
async fn compare_brokers() {
    const PAIRS: usize = 5;
    let [redis, broker] = four_nodes();
    let mut ratios = Vec::new();
    for _ in 0..PAIRS {
        let (redis, broker) = (run(&redis).await, run(&broker).await);
        assert_eq!((redis.lost, broker.lost), (0, 0));
        ratios.push(broker.between.as_secs_f64() / redis.between.as_secs_f64());
    }
    ratios.sort_by(f64::total_cmp);
    let ratios: Vec<_> = ratios.iter().map(|ratio| format!("{ratio:.2}")).collect();
    println!("\nThe broker's CPU of redis-server's, to four nodes, best to worst: {}", ratios.join(", "));
}

/// All rows, or those whose name contains the argument.
async fn measure() {
    let wanted = std::env::args().nth(1);
    println!(
        "| messages of 100 B, unpaced | lost | a second | CPU of the sender, µs each | of the receivers | of what is between |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    for row in rows() {
        if wanted.as_ref().is_some_and(|wanted| !row.name.contains(wanted.as_str())) {
            continue;
        }
        let run = run(&row).await;
        if run.lost > 0 {
            eprintln!("{}: the nodes say {}", row.name, Json::from(run.told.clone()));
        }
        let count = (row.rounds * row.count) as f64;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count;
        println!(
            "| {} | {} | {:.0} | {:.2} | {:.2} | {:.2} |",
            row.name,
            run.lost,
            count / run.wall.as_secs_f64(),
            each(run.sender),
            each(run.receiver),
            each(run.between)
        );
    }
    if wanted.is_none_or(|wanted| "the broker".contains(&wanted)) {
        compare_brokers().await;
    }
}

fn row(name: &'static str, kind: Kind, count: u64) -> Row {
    Row { name, kind, broker: false, rounds: 1, count, clients: 1, receivers: 1 }
}

fn four_nodes() -> [Row; 2] {
    let four = |name, broker| Row { broker, receivers: 4, ..row(name, Kind::Rust, 200_000) };
    [four("Rust to four nodes, redis-server", false), four("Rust to four nodes, the broker", true)]
}

fn rows() -> Vec<Row> {
    use Kind::{Js, Rust};
    // In rounds: all at once would be more than may wait for a thousand clients.
    let room = |name, kind| Row { rounds: 4, clients: 1000, ..row(name, kind, 300) };
    let mut rows = vec![
        row("Node.js to Node.js, one client", Js, 200_000),
        row("Rust to Rust, one client", Rust, 500_000),
        room("Node.js to Node.js, a room of 1,000", Js),
        room("Rust to Rust, a room of 1,000", Rust),
    ];
    rows.extend(four_nodes());
    rows
}
