//! Connections that have been used and then rest, and what each of them costs the watched processes in memory.

use anyhow::{Context as _, Result, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use tokio::time::{Duration, sleep};
use tokio_tungstenite::tungstenite::Message;

use crate::destination::Destination;
use crate::http::{Connection, request};
use crate::meter::Report;
use crate::processes::Processes;
use crate::websocket::{self, Socket};

/// What rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP/1.1 connections between two requests.
    KeepAlive,
    /// WebSockets.
    WebSocket,
}

/// One that rests; it closes when this is dropped.
enum Held {
    KeepAlive { _connection: Connection },
    WebSocket { _socket: Box<Socket> },
}

/// Opens `count` connections, moves 4 KiB both ways on each, lets them rest, and says what each has cost.
///
/// Some are opened before the first look, so that what a process allocates once, at the first of its kind, is not
/// divided among them.
///
/// # Errors
/// If one of them cannot be opened or used.
pub async fn run(destination: &Destination, kind: Kind, count: usize, watched: &Processes) -> Result<Report> {
    ensure!(count > 0, "nothing to hold");
    let before = hold(destination, kind, WARM).await?;
    sleep(SETTLED).await;
    let first = watched.memory_bytes()?;
    let held = hold(destination, kind, count).await?;
    sleep(SETTLED).await;
    let second = watched.memory_bytes()?;
    let done = held.len() as u64;
    drop((before, held));
    let bytes_each = (second as f64 - first as f64) / count as f64;
    Ok(Report { done, bytes_each, ..Report::default() })
}

async fn hold(destination: &Destination, kind: Kind, count: usize) -> Result<Vec<Held>> {
    let opening = (0..count).map(|index| async move {
        kind.open(destination, index).await.with_context(|| format!("connection {index} of {count}"))
    });
    // A few at a time: a whole crowd would fill the accept queue.
    stream::iter(opening).buffer_unordered(AT_ONCE).try_collect().await
}

impl Kind {
    /// From one of many addresses: a proxy may not leave all of its places to one client.
    async fn open(self, destination: &Destination, index: usize) -> Result<Held> {
        let stream = destination.connect_from(index).await?;
        match self {
            Self::KeepAlive => {
                let mut connection = Connection::new(stream);
                let target = format!("/bytes/{MOVED_BYTES}");
                let post = request("POST", &target, destination.name(), "", &[b'x'; MOVED_BYTES]);
                connection.exchange(&post, true).await?;
                Ok(Held::KeepAlive { _connection: connection })
            }
            Self::WebSocket => {
                let mut socket = websocket::open_on(stream, destination, "/echo").await?;
                websocket::echo(&mut socket, Message::Binary(vec![b'x'; MOVED_BYTES].into())).await?;
                Ok(Held::WebSocket { _socket: Box::new(socket) })
            }
        }
    }
}

const MOVED_BYTES: usize = 4096;
const WARM: usize = 20;
const AT_ONCE: usize = 32;
/// A proxy may give memory back some time after the last byte; this is generous for all of them.
const SETTLED: Duration = Duration::from_secs(1);
