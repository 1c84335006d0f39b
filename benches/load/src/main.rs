//! The command line of the load generator and of its origin.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use load::destination::Destination;
use load::meter::{Report, Window};
use load::processes::Processes;
use load::websocket::Speech;
use load::{hold, http, http2, origin, polling, websocket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::runtime;

/// Load for a proxy of real-time apps: HTTP/1.1, WebSocket and Socket.IO, over TLS or not; and an origin for it.
///
/// Each command opens its connections, warms up, counts for some seconds, and prints one line of JSON: what ended well
/// (`done`), what did not (`failed`, `first_failure`), quantiles of the latency in microseconds, and the CPU time of the
/// processes named with --watch, theirs within the counted seconds alone.
///
/// With --rate the load is open: requests are due at fixed moments, whether or not the answers before them have come,
/// and their latency counts from when they were due. So a proxy that stalls for a second shows a second, in each of the
/// requests that would have been made in it. Without --rate each connection asks again when it has its answer: that
/// finds what a proxy can do at most, and its latencies mean little.
///
/// Load and origin have one thread each. When `own_cpu_us` comes near `seconds`, it is the load that is measured.
#[derive(Debug, Parser)]
#[command(
    name = "tidelock-load",
    after_help = "Examples:
  tidelock-load origin                                         prints `listening on 127.0.0.1:PORT`
  tidelock-load http 127.0.0.1:8080 -c 64                      the most requests a second
  tidelock-load http 127.0.0.1:8080 -c 64 --rate 20000         how long they take at 20,000 a second
  tidelock-load http 127.0.0.1:8443 --tls ca.pem --new         a TLS handshake for each request
  tidelock-load echo 127.0.0.1:8080 -c 4000 --bytes 64         round trips through 4,000 WebSockets
  tidelock-load room 127.0.0.1:8080 -c 4000 --rate 5 --socketio  one speaks, 4,000 hear it
  tidelock-load hold 127.0.0.1:8080 -c 9000 websocket --watch $(pidof nginx)"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the origin: bodies at /bytes/N and /json/N, WebSockets at /echo, /room/NAME and /say/NAME, Engine.IO at /socket.io/.
    Origin(Origin),
    /// HTTP/1.1 requests, on connections that are kept or new ones.
    Http(Http),
    /// HTTP/2 requests, several at once on each connection.
    Http2(Http2),
    /// Messages through WebSockets that come back. Counts round trips.
    Echo(Echo),
    /// One speaks, all hear it. Counts messages heard, from when they were due to be said.
    Room(Room),
    /// Messages through Engine.IO sessions that poll. Counts round trips, a POST and a GET.
    Polling(Polling),
    /// Connections that move 4 KiB both ways and rest: memory of the watched processes for each.
    Hold(Hold),
}

/// What all kinds of load have.
#[derive(Debug, Args)]
struct Common {
    /// Where the proxy listens.
    address: SocketAddr,

    /// The name in Host, and in the TLS handshake.
    #[arg(long, value_name = "NAME", default_value = "bench.example")]
    host: String,

    /// Speak TLS 1.3, and trust the authority in this PEM file.
    #[arg(long, value_name = "FILE")]
    tls: Option<PathBuf>,

    /// Resume TLS sessions on new connections, instead of a full handshake for each.
    #[arg(long, requires = "tls")]
    resume: bool,

    /// Connections, WebSockets or listeners.
    #[arg(short, long, value_name = "COUNT", default_value_t = 64)]
    connections: usize,

    /// How long it counts, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    seconds: f64,

    /// How long it runs before it counts, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3)]
    warm: f64,

    /// Processes whose CPU time or memory is read, with their children.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    watch: Vec<u32>,
}

#[derive(Debug, Args)]
struct Origin {
    /// Where to listen; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Listen on so many addresses, from the given one on, at the same port: as many nodes in one process.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    addresses: u32,

    /// End when stdin is closed, so that no origin stays behind whoever started it.
    #[arg(long)]
    lifeline: bool,
}

#[derive(Debug, Args)]
struct Http {
    #[command(flatten)]
    common: Common,

    /// Path and query.
    #[arg(long, default_value = "/bytes/128")]
    target: String,

    /// POST a body of so many bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    upload: usize,

    /// A header line, such as "Accept: */*". May be given again.
    #[arg(long = "header", value_name = "LINE")]
    headers: Vec<String>,

    /// Requests in a second.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,

    /// How many of the connections ask at once, in turn [default: all].
    #[arg(long, value_name = "COUNT")]
    in_flight: Option<usize>,

    /// A new connection for each request.
    #[arg(long)]
    new: bool,
}

#[derive(Debug, Args)]
struct Http2 {
    #[command(flatten)]
    common: Common,

    /// Path and query.
    #[arg(long, default_value = "/bytes/128")]
    target: String,

    /// Requests at once on each connection.
    #[arg(long, value_name = "COUNT", default_value_t = 8)]
    streams: usize,
}

#[derive(Debug, Args)]
struct Echo {
    #[command(flatten)]
    common: Common,

    /// Path and query.
    #[arg(long, default_value = "/echo")]
    target: String,

    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    bytes: usize,

    /// Messages in a second.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,

    /// How many of the WebSockets speak at once, in turn [default: all].
    #[arg(long, value_name = "COUNT")]
    in_flight: Option<usize>,
}

#[derive(Debug, Args)]
struct Room {
    #[command(flatten)]
    common: Common,

    /// Messages said in a second.
    #[arg(long, value_name = "PER_SECOND", default_value_t = 5.0)]
    rate: f64,

    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    bytes: usize,

    /// Speak Socket.IO: the events `join` ROOM and `say` ROOM TEXT, and `echo`.
    #[arg(long)]
    socketio: bool,
}

#[derive(Debug, Args)]
struct Polling {
    #[command(flatten)]
    common: Common,

    /// Sessions, opened before it counts; the connections speak for them in turn [default: one each].
    #[arg(long, value_name = "COUNT")]
    sessions: Option<usize>,

    /// Bytes of a message.
    #[arg(long, default_value_t = 64)]
    bytes: usize,
}

#[derive(Debug, Args)]
struct Hold {
    #[command(flatten)]
    common: Common,

    /// What rests.
    kind: Kind,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    KeepAlive,
    Websocket,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tidelock-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let nofile = getrlimit(Resource::Nofile);
    // A connection is a file, and the soft limit is often 1024. If it cannot be raised, it is found out when it matters.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: nofile.maximum, maximum: nofile.maximum });
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        match command {
            Command::Origin(origin) => origin.serve().await.map(|()| None),
            Command::Http(http) => http.run().await.map(Some),
            Command::Http2(http2) => http2.run().await.map(Some),
            Command::Echo(echo) => echo.run().await.map(Some),
            Command::Room(room) => room.run().await.map(Some),
            Command::Polling(polling) => polling.run().await.map(Some),
            Command::Hold(hold) => hold.run().await.map(Some),
        }
    })?;
    if let Some(report) = report {
        println!("{}", serde_json::to_string(&report)?);
    }
    // What is still open is closed by the end of the process, which is faster than one by one.
    std::process::exit(0)
}

impl Common {
    fn destination(&self) -> Result<Destination> {
        match &self.tls {
            None => Ok(Destination::plain(self.address, &self.host)),
            Some(ca) => Destination::tls(self.address, &self.host, ca, self.resume),
        }
    }

    fn window(&self) -> Result<Window> {
        let seconds = |number| Duration::try_from_secs_f64(number).context("a time that is none");
        let watched = Processes::of(&self.watch);
        Ok(Window { warm: seconds(self.warm)?, measured: seconds(self.seconds)?, watched })
    }
}

impl Origin {
    async fn serve(self) -> Result<()> {
        let mut address = self.listen;
        let mut listeners = Vec::new();
        for _ in 0..self.addresses {
            let listener =
                TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
            address = listener.local_addr()?;
            listeners.push(listener);
            if let SocketAddr::V4(v4) = &mut address {
                v4.set_ip((u32::from(*v4.ip()) + 1).into());
            }
        }
        let first = listeners.first().context("no address to listen on")?.local_addr()?;
        println!("listening on {first}");
        if self.lifeline {
            // A thread, because stdin cannot be waited for in any other way that ends with the process.
            std::thread::spawn(|| {
                let _ = std::io::stdin().read_to_end(&mut Vec::new());
                std::process::exit(0);
            });
        }
        Ok(origin::serve(listeners).await?)
    }
}

impl Http {
    async fn run(self) -> Result<Report> {
        let Self { common, target, upload, headers, rate, in_flight, new } = self;
        let header_lines = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let plan = http::Plan {
            target,
            upload_bytes: upload,
            header_lines,
            connections: common.connections,
            in_flight: in_flight.unwrap_or(common.connections),
            per_second: rate,
            anew: new,
        };
        http::run(&common.destination()?, &plan, &common.window()?).await
    }
}

impl Http2 {
    async fn run(self) -> Result<Report> {
        let Self { common, target, streams } = self;
        let plan = http2::Plan { target, connections: common.connections, streams };
        http2::run(&common.destination()?.over_http2(), &plan, &common.window()?).await
    }
}

impl Echo {
    async fn run(self) -> Result<Report> {
        let Self { common, target, bytes, rate, in_flight } = self;
        let plan = websocket::EchoPlan {
            target,
            sockets: common.connections,
            in_flight: in_flight.unwrap_or(common.connections),
            bytes,
            per_second: rate,
        };
        websocket::run_echo(&common.destination()?, &plan, &common.window()?).await
    }
}

impl Room {
    async fn run(self) -> Result<Report> {
        let Self { common, rate, bytes, socketio } = self;
        let speech = if socketio { Speech::SocketIo } else { Speech::Plain };
        let plan = websocket::RoomPlan { listeners: common.connections, per_second: rate, bytes, speech };
        websocket::run_room(&common.destination()?, &plan, &common.window()?).await
    }
}

impl Polling {
    async fn run(self) -> Result<Report> {
        let Self { common, sessions, bytes } = self;
        let connections = common.connections;
        let plan = polling::Plan { sessions: sessions.unwrap_or(connections), connections, bytes };
        polling::run(&common.destination()?, &plan, &common.window()?).await
    }
}

impl Hold {
    async fn run(self) -> Result<Report> {
        let Self { common, kind } = self;
        ensure!(!common.watch.is_empty(), "--watch says whose memory is meant");
        let kind = match kind {
            Kind::KeepAlive => hold::Kind::KeepAlive,
            Kind::Websocket => hold::Kind::WebSocket,
        };
        let window = common.window()?;
        hold::run(&common.destination()?, kind, common.connections, &window.watched).await
    }
}
