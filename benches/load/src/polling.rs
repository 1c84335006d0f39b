//! Engine.IO sessions without a WebSocket: a message is posted, and a poll brings back its echo.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use tokio::task::LocalSet;
use tokio::time::{Duration, Instant, timeout};

use crate::destination::Destination;
use crate::http::{Connection, request};
use crate::meter::{Meter, Report, Window};

/// How many sessions there are, and on how many connections.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Sessions that are opened before it counts. Each connection speaks for its share of them in turn.
    pub sessions: usize,
    /// Connections, each with one request under way.
    pub connections: usize,
    /// Bytes of a message.
    pub bytes: usize,
}

/// A session's two requests, ready to be sent.
struct Session {
    post: Vec<u8>,
    poll: Vec<u8>,
}

/// Runs `plan`. What counts is a message there and back, two requests.
///
/// # Errors
/// If a session cannot be opened, or nothing comes back.
pub async fn run(destination: &Destination, plan: &Plan, window: &Window) -> Result<Report> {
    let loops = plan.connections.clamp(1, plan.sessions.max(1));
    let meter = Rc::new(Meter::default());
    let tasks = LocalSet::new();
    let message = format!("4{}", "x".repeat(plan.bytes.saturating_sub(1)));
    let opening = (0..loops).map(|index| {
        let (destination, message) = (destination.clone(), message.clone());
        let count = plan.sessions / loops + usize::from(index < plan.sessions % loops);
        tasks.spawn_local(async move { Loop::open(&destination, count, message).await })
    });
    let opening: Vec<_> = opening.collect();
    let report = tasks.run_until(async {
        let mut joins = Vec::new();
        for opened in opening {
            let ready = opened.await??;
            joins.push(tokio::task::spawn_local(ready.keep_talking(meter.clone())));
        }
        let report = meter.watch(window).await?;
        for join in joins {
            if timeout(TIMEOUT, join).await.is_err() {
                meter.failed("the last poll was not answered");
            }
        }
        Ok::<_, anyhow::Error>(report)
    });
    meter.report(report.await?)
}

/// A connection and the sessions that it speaks for.
struct Loop {
    connection: Connection,
    /// Ids as the client was told them; no requests, for there may be a million.
    sessions: Vec<Box<str>>,
    destination: Destination,
    message: String,
}

impl Loop {
    async fn open(destination: &Destination, count: usize, message: String) -> Result<Self> {
        let mut connection = Connection::new(destination.connect().await?);
        let handshake = request("GET", TARGET, destination.name(), "", b"");
        let mut sessions = Vec::with_capacity(count);
        for _ in 0..count {
            let open_packet = connection.exchange(&handshake, true).await.context("a handshake")?;
            sessions.push(sid(open_packet)?.into());
        }
        Ok(Self { connection, sessions, destination: destination.clone(), message })
    }

    async fn keep_talking(mut self, meter: Rc<Meter>) {
        let mut at = 0;
        while !meter.is_over() {
            let begun = Instant::now();
            let session = self.session(at);
            match self.say(&session).await {
                Ok(()) => meter.done(begun),
                Err(error) => {
                    meter.failed(&format!("{error:#}"));
                    match self.destination.connect().await {
                        Ok(stream) => self.connection = Connection::new(stream),
                        Err(_) => return,
                    }
                }
            }
            at = (at + 1) % self.sessions.len();
        }
    }

    fn session(&self, at: usize) -> Session {
        let target = format!("{TARGET}&sid={}", self.sessions[at]);
        let host = self.destination.name();
        let plain = "Content-Type: text/plain;charset=UTF-8\r\n";
        Session {
            post: request("POST", &target, host, plain, self.message.as_bytes()),
            poll: request("GET", &target, host, "", b""),
        }
    }

    async fn say(&mut self, session: &Session) -> Result<()> {
        self.connection.exchange(&session.post, true).await.context("the post")?;
        let heard = self.connection.exchange(&session.poll, true).await.context("the poll")?;
        ensure!(heard == self.message.as_bytes(), "another message came back");
        Ok(())
    }
}

/// The session's id in an open packet.
fn sid(packet: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(packet)?;
    let rest = text.split_once("\"sid\":\"").with_context(|| format!("no session id in {text:?}"))?.1;
    Ok(rest.split_once('"').context("half a session id")?.0)
}

const TARGET: &str = "/socket.io/?EIO=4&transport=polling";
const TIMEOUT: Duration = Duration::from_secs(10);
