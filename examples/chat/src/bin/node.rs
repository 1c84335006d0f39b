//! One chat node. `PORT` (3000; 0 picks a free one), `HOST` (127.0.0.1), `NODE_NAME` (`node-PORT`), and `REDIS_URL` to
//! share its rooms with other nodes, in Rust or in Node.js.
//! Says `listening on ADDRESS` once it takes connections; SIGTERM and SIGINT end it. With `LIFELINE=1` it also ends when
//! its stdin closes, so that it does not outlive whoever started it.

use std::env::var;
use std::io::Read as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use axum::Router;
use fanout::{Event, Fanout, Options, RedisAdapter};
use socketioxide::adapter::{Adapter, Emitter};
use socketioxide::extract::SocketRef;
use socketioxide::handler::ConnectHandler as _;
use socketioxide::{SocketIo, SocketIoBuilder};
use tidelock_chat::roster::{self, Changes};
use tidelock_chat::{NodeName, PAYLOAD_BYTES_MAX, events, web};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A message to a room is written for each client by itself, in memory that is asked for and given back each time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let host = var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port: u16 =
        var("PORT").unwrap_or_else(|_| "3000".to_owned()).parse().context("PORT is not a port number")?;
    let listener = TcpListener::bind((host.as_str(), port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}"))?;
    let address = listener.local_addr()?;
    let name = var("NODE_NAME").unwrap_or_else(|_| format!("node-{}", address.port()));
    let node = Node { name: NodeName(name.into()), changes: Changes::default(), listener };

    let builder = SocketIo::builder().max_payload(PAYLOAD_BYTES_MAX);
    match var("REDIS_URL").ok().filter(|url| !url.is_empty()) {
        None => node.alone(builder).await,
        Some(url) => node.in_fleet(builder, &url).await,
    }
}

struct Node {
    name: NodeName,
    changes: Changes,
    listener: TcpListener,
}

impl Node {
    async fn alone(self, builder: SocketIoBuilder) -> Result<()> {
        let (layer, io) = builder.build_layer();
        let (name, changes) = (self.name.clone(), self.changes.clone());
        let welcome = async move |socket: SocketRef| events::welcome(&socket, name, changes, None);
        io.ns("/", (async || {}).with(welcome));
        let app = web::routes(io.clone(), self.name.clone()).layer(layer);
        self.serve(io, app, None).await
    }

    async fn in_fleet(self, builder: SocketIoBuilder, redis_url: &str) -> Result<()> {
        let changes = self.changes.clone();
        let on_event = Arc::new(move |event: &Event| {
            say(event);
            if matches!(event, Event::GapClosed { .. }) {
                changes.missed();
            }
        });
        let options =
            Options { request_timeout: ANSWER_WITHIN, on_event: Some(on_event), ..Options::default() };
        let fleet = fanout::connect(redis_url, options).await.map_err(|error| {
            // The address itself may have a password in it.
            anyhow!("REDIS_URL: {error}; say redis://HOST:PORT, rediss://HOST:PORT (TLS) or unix:///PATH")
        })?;

        let (layer, io) = builder.with_adapter::<Fleet>(fleet.clone()).build_layer();
        let (name, changes) = (self.name.clone(), self.changes.clone());
        let members = fleet.clone();
        let welcome =
            async move |socket: SocketRef<Fleet>| events::welcome(&socket, name, changes, Some(members));
        io.ns("/", (async || {}).with(welcome)).await;
        let app = web::routes(io.clone(), self.name.clone()).layer(layer);
        self.serve(io, app, Some(fleet)).await
    }

    /// Until it is told to end.
    async fn serve<A: Adapter>(self, io: SocketIo<A>, app: Router, fleet: Option<Fanout>) -> Result<()> {
        let address = self.listener.local_addr()?;
        let (end, ended) = oneshot::channel::<()>();
        let mut serving = tokio::spawn(
            axum::serve(self.listener, app)
                .with_graceful_shutdown(async {
                    // A dropped sender ends it too.
                    let _ = ended.await;
                })
                .into_future(),
        );
        println!("listening on {address}");

        tokio::select! {
            told = told_to_end() => told?,
            () = roster::run(io.clone(), self.changes, fleet) => {}
        }
        // Clients are told before their connections close; an answer that is still under way gets a moment to leave.
        io.close().await;
        drop(end);
        let _ = timeout(LEAVE_WITHIN, &mut serving).await;
        Ok(())
    }
}

/// What an operator wants to know of the way to the other nodes.
fn say(event: &Event) {
    match event {
        Event::Disconnected { side, error } => eprintln!("redis ({side:?}): {error}; trying on"),
        Event::GapOpened => eprintln!("the other nodes are out of reach; this one serves its own clients"),
        Event::GapClosed { duration } => {
            eprintln!("the other nodes are in reach again; they were not for {duration:.1?}");
        }
        Event::Dropped { count, reason } => {
            eprintln!("{count} messages to other nodes were dropped ({reason:?})");
        }
        _ => {}
    }
}

async fn told_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Ok(()) = lifeline() => {}
    }
    Ok(())
}

/// Resolves when stdin closes; never, if nobody asked for a lifeline.
fn lifeline() -> oneshot::Receiver<()> {
    let (closed, lifeline) = oneshot::channel();
    if var("LIFELINE").is_ok_and(|value| value == "1") {
        // A thread, because tokio's stdin would keep the runtime from ending while a read is under way.
        std::thread::spawn(move || {
            let mut ignored = [0; 256];
            while std::io::stdin().read(&mut ignored).is_ok_and(|count| count > 0) {}
            let _ = closed.send(());
        });
    }
    lifeline
}

type Fleet = RedisAdapter<Emitter>;

const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// How long the other nodes have to say who is in a room.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
