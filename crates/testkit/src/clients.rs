//! Real `socket.io-client`s, many in one Node.js process, steered while they are connected.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::node::script;
use crate::process::{Mark, Process};

/// What the clients do. `js/clients.mjs` describes every field; [`ClientPlan::to`] and `..` fill in the rest.
#[derive(Clone, Debug, Serialize)]
pub struct ClientPlan {
    /// Where to connect, one for each client in turn.
    pub urls: Vec<String>,
    /// Instead of `urls`: each HTTP request of a session goes to the next of these (version 4 only).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alternate: Vec<String>,
    /// How many clients.
    pub count: usize,
    /// The major version of socket.io-client: 4 (EIO=4) or 2 (EIO=3).
    pub version: u8,
    /// Which transports they may use.
    pub mode: Mode,
    /// Rounds of echoes for each client once its transport has settled; a round is one text and one binary echo.
    pub echoes: usize,
    /// Length of the text of an echo; 0 sends none.
    pub text_bytes: usize,
    /// Length of the bytes of an echo; 0 sends none. On polling they grow by a third.
    pub binary_bytes: usize,
    /// Stay connected after `ready`, until told to end.
    pub hold: bool,
    /// Reuse connections between polls, as browsers do.
    pub keep_alive: bool,
    /// Speak HTTP/2, over which WebSockets go too (version 4 only).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub http2: bool,
    /// Path of a PEM file to trust, for https.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Further options of `io()`, as they are.
    pub options: serde_json::Value,
}

/// The transports of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Polling, then an upgrade to WebSocket.
    Default,
    /// Polling alone.
    Polling,
    /// WebSocket alone.
    Websocket,
}

impl ClientPlan {
    /// One client of version 4, as it comes, that connects to `url` and leaves.
    #[must_use]
    pub fn to(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            alternate: Vec::new(),
            count: 1,
            version: 4,
            mode: Mode::Default,
            echoes: 0,
            text_bytes: 32,
            binary_bytes: 32,
            hold: false,
            keep_alive: false,
            http2: false,
            ca: None,
            options: serde_json::json!({}),
        }
    }
}

/// Everything that was seen until it was written.
#[derive(Clone, Debug, Deserialize)]
pub struct Report {
    /// Clients that are connected at this moment.
    pub connected: usize,
    /// Every failed attempt to connect, the retried ones too.
    pub connect_errors: Vec<String>,
    /// Why clients lost their connection, without those that were told to leave.
    pub disconnects: Vec<String>,
    /// The codes of the Close frames that clients got (version 4 tells them).
    pub close_codes: Vec<u16>,
    /// Connected clients by the node they are on.
    pub nodes: BTreeMap<String, usize>,
    /// Connected clients by transport.
    pub transports: BTreeMap<String, usize>,
    /// Clients that upgraded to WebSocket.
    pub upgraded: usize,
    /// Every failed upgrade.
    pub upgrade_errors: Vec<String>,
    /// Echoes that came back as they were sent.
    pub echoes_ok: usize,
    /// Echoes that were lost or changed.
    pub echoes_failed: usize,
    /// The headers of a handshake as the node saw them.
    pub headers: Option<BTreeMap<String, serde_json::Value>>,
}

/// A node's answer to one client's `who`.
#[derive(Clone, Debug, Deserialize)]
pub struct Who {
    /// The node's name.
    pub node: String,
    /// The transport as the node sees it.
    pub transport: String,
    /// The headers of the handshake.
    pub headers: BTreeMap<String, serde_json::Value>,
    /// The address of the client as the node sees it.
    #[serde(default)]
    pub address: String,
    /// The session's id at the node.
    #[serde(default)]
    pub sid: String,
    /// The session's id at the client.
    pub client_sid: String,
}

/// Running clients. Dropping it kills them.
#[derive(Debug)]
pub struct Clients {
    process: Process,
}

#[derive(Debug, Deserialize)]
struct Answers {
    answers: Vec<Option<Who>>,
}

#[derive(Debug, Deserialize)]
struct Left {
    left: usize,
}

impl Report {
    /// Whether the connected clients are spread over `nodes` nodes so that none has more than one beyond its share
    /// or is more than one short of it.
    #[must_use]
    pub fn is_even(&self, nodes: usize) -> bool {
        let share = self.connected / nodes;
        let counts = self.nodes.values();
        self.nodes.len() == nodes && counts.into_iter().all(|&count| (share - 1..=share + 1).contains(&count))
    }
}

impl Clients {
    /// Starts the clients.
    pub async fn start(plan: &ClientPlan) -> Self {
        let mut command = Command::new("node");
        command.arg(script("clients.mjs"));
        command.arg(serde_json::to_string(plan).expect("a plan is plain data"));
        Self { process: Process::spawn("clients", command) }
    }

    /// Waits until every client is connected, its transport settled and its echoes are back, or it has failed.
    pub async fn ready(&self) -> Report {
        self.event("ready", Mark::default()).await
    }

    /// Asks every client which node it is on; `None` for one that is not connected.
    pub async fn who(&mut self) -> Vec<Option<Who>> {
        let answers: Answers = self.command("who").await;
        answers.answers
    }

    /// What was seen until now.
    pub async fn report(&mut self) -> Report {
        self.command("report").await
    }

    /// Tells the clients on `node` to close politely, and says how many those are.
    pub async fn leave(&mut self, node: &str) -> usize {
        let mark = self.process.mark();
        self.process.write_line(&format!("leave {node}")).await;
        let left: Left = self.event("leave", mark).await;
        left.left
    }

    /// Waits until there were `count` connects in all since the start, reconnects included.
    pub async fn until_connects(&self, count: usize) {
        self.until("connect", count).await;
    }

    /// Waits until there were `count` lost connections in all since the start.
    pub async fn until_disconnects(&self, count: usize) {
        self.until("disconnect", count).await;
    }

    /// Tells held clients to end, and gives the last report.
    pub async fn end(mut self) -> Report {
        self.process.write_line("end").await;
        self.result().await
    }

    /// Waits until clients that are not held have done all they had to, and have left.
    pub async fn result(mut self) -> Report {
        let report = self.event("result", Mark::default()).await;
        let status = self.process.exit().await;
        assert!(status.success(), "{status}: {}", self.process.output());
        report
    }

    /// Their process, to read what it printed.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    async fn command<T: for<'de> Deserialize<'de>>(&mut self, command: &str) -> T {
        let mark = self.process.mark();
        self.process.write_line(command).await;
        self.event(command, mark).await
    }

    async fn event<T: for<'de> Deserialize<'de>>(&self, event: &str, since: Mark) -> T {
        let prefix = event_prefix(event);
        let line =
            self.process.wait_for_lines_since(since, 1, |line| line.starts_with(&prefix)).await.remove(0);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }

    async fn until(&self, event: &str, count: usize) {
        let prefix = event_prefix(event);
        self.process.wait_for_lines_since(Mark::default(), count, |line| line.starts_with(&prefix)).await;
    }
}

fn event_prefix(event: &str) -> String {
    format!("{{\"event\":\"{event}\"")
}
