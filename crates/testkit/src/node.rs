//! Real Socket.IO nodes: the unmodified one in Node.js, and the chat example in Rust.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;
use tokio::time::timeout;

use crate::TIMEOUT;
use crate::process::{Mark, Process};
use crate::raw::get;

/// What to start.
#[derive(Clone, Debug)]
pub struct NodePlan {
    name: String,
    program: PathBuf,
    arguments: Vec<PathBuf>,
    environment: Vec<(String, String)>,
    port: u16,
}

impl NodePlan {
    /// `js/node.mjs`: a plain Socket.IO node in Node.js that also answers `/sessions`, `/headers`, `/events`, `/slow`
    /// and `/echo`. Its options are environment variables, listed in the head of the file.
    #[must_use]
    pub fn js(name: &str) -> Self {
        Self { arguments: vec![script("node.mjs")], ..Self::binary(name, "node") }
    }

    /// `js/login.mjs`: an app whose logins live in its process, with express-session.
    #[must_use]
    pub fn login(name: &str) -> Self {
        Self { arguments: vec![script("login.mjs")], ..Self::binary(name, "node") }
    }

    /// `js/streaming.mjs`: event streams with express and graphql-yoga.
    #[must_use]
    pub fn streaming(name: &str) -> Self {
        Self { arguments: vec![script("streaming.mjs")], ..Self::binary(name, "node") }
    }

    /// The chat example, a node in Rust. It is another package's binary, so Cargo does not say where it is; `beside`
    /// is a binary of the package under test, and all of a workspace's binaries lie in one directory.
    ///
    /// # Panics
    /// If it is not built.
    #[must_use]
    pub fn chat(name: &str, beside: impl AsRef<Path>) -> Self {
        let program = beside.as_ref().with_file_name("node");
        assert!(
            program.is_file(),
            "{program:?} is not there: run `cargo build -p tidelock-chat --bins` with the profile of the tests"
        );
        Self::binary(name, program)
    }

    /// A program that takes the same environment, such as the chat node.
    #[must_use]
    pub fn binary(name: &str, program: impl AsRef<Path>) -> Self {
        Self {
            name: name.to_owned(),
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            port: crate::port::free(),
        }
    }

    /// Sets an environment variable of the node.
    #[must_use]
    pub fn env(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The port to listen on; without it it gets one that stays its own.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

/// A running node. Dropping it kills it.
#[derive(Debug)]
pub struct Node {
    plan: NodePlan,
    address: SocketAddr,
    process: Process,
}

/// Starts three nodes at once, called `a`, `b` and `c`.
pub async fn three(plan: impl Fn(&str) -> NodePlan) -> [Node; 3] {
    tokio::join!(Node::start(plan("a")), Node::start(plan("b")), Node::start(plan("c"))).into()
}

/// What a node says of its Engine.IO sessions.
#[derive(Clone, Debug, Deserialize)]
pub struct Sessions {
    /// How many it has now.
    pub sessions: usize,
    /// How many it ever had (0 where the node does not count them).
    #[serde(default)]
    pub opened: usize,
    /// When each of them was opened, in milliseconds by the node's own clock.
    #[serde(default)]
    pub opened_ms: Vec<f64>,
    /// Those that ended, in that order.
    #[serde(default)]
    pub closed: Vec<ClosedSession>,
}

/// The end of a session, as the node saw it.
#[derive(Clone, Debug, Deserialize)]
pub struct ClosedSession {
    /// The id that the node gave it.
    pub sid: String,
    /// Engine.IO's reason, such as `transport close` or `ping timeout`.
    pub reason: String,
}

impl Node {
    /// Starts a node and waits until it listens.
    pub async fn start(plan: NodePlan) -> Self {
        let mut command = Command::new(&plan.program);
        command.args(&plan.arguments).envs(plan.environment.iter().map(|(key, value)| (key, value)));
        command.env("PORT", plan.port.to_string()).env("NODE_NAME", &plan.name).env("LIFELINE", "1");
        let process = Process::spawn(format!("node {}", plan.name), command);
        let line = process.wait_for_line(|line| line.starts_with(LISTENING)).await;
        let address = line[LISTENING.len()..].parse().unwrap_or_else(|_| panic!("no address in {line:?}"));
        Self { plan, address, process }
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://` and its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process, to signal it or to read what it printed.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Kills it, as a crash does, and waits until it is gone.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again at the same address, killing it first if it still runs.
    pub async fn restart(&mut self) {
        self.kill().await;
        let plan = self.plan.clone().port(self.address.port());
        *self = Self::start(plan).await;
    }

    /// Asks the node itself for its sessions.
    pub async fn sessions(&self) -> Sessions {
        self.json("/sessions").await
    }

    /// Waits until it has `count` sessions: asks again and again, for a node in Rust does not tell by itself.
    pub async fn until_sessions(&self, count: usize) {
        let same = async {
            while self.sessions().await.sessions != count {
                tokio::task::yield_now().await;
            }
        };
        if timeout(TIMEOUT, same).await.is_err() {
            panic!("{} does not come to {count} sessions: {:?}", self.name(), self.sessions().await);
        }
    }

    /// Waits until `count` sessions in all have ended since its start. Only the node in Node.js says so.
    pub async fn until_sessions_closed(&self, count: usize) {
        self.process
            .wait_for_lines_since(Mark::default(), count, |line| line.starts_with("session closed: "))
            .await;
    }

    /// Waits until the session `sid`, as the node calls it, has polled `count` times; the last of them is pending at
    /// the node then, or answered. Only the node in Node.js says so, and only with `LOG_POLLS=1`.
    pub async fn until_polled(&self, sid: &str, count: usize) {
        let says = |line: &str| line.strip_prefix("poll: ") == Some(sid);
        self.process.wait_for_lines_since(Mark::default(), count, says).await;
    }

    /// Asks the node itself for `path`, which answers with JSON.
    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> T {
        let answer = get(self.address, path).await;
        serde_json::from_slice(&answer.body)
            .unwrap_or_else(|error| panic!("{path} of {}: {error} in {:?}", self.name(), answer.text()))
    }
}

/// Where a script of `js/` lies.
///
/// # Panics
/// If its packages are not installed.
pub(crate) fn script(name: &str) -> PathBuf {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("js");
    let packages = scripts.join("node_modules");
    assert!(
        packages.is_dir(),
        "run `cargo xtask test` once: it installs what the scripts in {scripts:?} need"
    );
    scripts.join(name)
}

const LISTENING: &str = "listening on ";
