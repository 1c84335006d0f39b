//! What goes over the socket: `GET /v1/status`, and `POST` to `/v1/reload`, `/v1/upgrade`, `/v1/drain` and `/v1/undrain`, to
//! `/v1/app/start`, `stop`, `restart`, `roll` and `scale`, and to `/v1/flush` and `/v1/logs`. `GET /metrics` is what is counted, for Prometheus. Another `GET` is answered with one JSON object;
//! a `POST` with [`Event`]s, one a line, the last of which says how it ended, and `/v1/logs` with [`LogLine`]s.
//!
//! Fields are added and never renamed; whoever reads them passes over what it does not know.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Which nodes `/v1/drain` and `/v1/undrain` mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSelector {
    /// A node as written in the file, its address, `upstream/node`, or the name of an upstream: all of its nodes.
    pub node: String,
    /// Whether the answer of `/v1/drain` lasts until the nodes are empty or `drain.deadline` has passed (default
    /// `true`). The drain goes on however the answer ends.
    #[serde(default = "yes")]
    pub wait: bool,
}

fn yes() -> bool {
    true
}

/// What `/v1/upgrade` is to go on with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// The program; left out: the one that this tidelock was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binary: Option<PathBuf>,
    /// It has to be ready within so many milliseconds (default 60,000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
}

/// Which app a verb means, and how it is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppRequest {
    /// The name of an app, or `all`; for `restart` and `roll` also `app/slot`.
    pub app: String,
    /// For `roll`: the sessions are spread over so long, all instances together, in milliseconds. Left out: `[drain]`'s
    /// window for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window_ms: Option<u64>,
    /// For `scale`: so many instances, 1 to 1,024.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<u32>,
}

/// Which lines of the apps' output are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogsWanted {
    /// `app`, `app/slot`, or nothing for all.
    #[serde(default)]
    pub app: String,
    /// So many of the last lines.
    pub lines: usize,
    /// Whether lines follow as they are written.
    #[serde(default)]
    pub follow: bool,
    /// `stdout` or `stderr`; left out: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// Only lines that hold this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// A line of an app's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was read, in RFC 3339, UTC.
    pub time: String,
    /// The name of the app; empty if lines were lost here because they were not read in time.
    pub app: String,
    /// The slot of the instance.
    pub instance: u32,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// What was written, without its end.
    pub line: String,
}

/// A line of the answer to a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A drain goes on. Said again whenever a number has changed.
    Progress {
        /// Sessions and requests under way on all the nodes.
        left: usize,
        /// The same, node by node.
        nodes: Vec<DrainingNode>,
    },
    /// It goes on, with an app. May be said again while nothing changes.
    Step {
        /// What has just happened, such as `chat/0: ready`.
        message: String,
    },
    /// It is done. Nothing follows.
    Done {
        /// What was done, in lines.
        message: String,
    },
    /// It was not done, or not to its end. Nothing follows.
    Error {
        /// Why, in lines; for a broken file all that `tidelock check` says.
        message: String,
    },
}

/// A node that is being drained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainingNode {
    /// The name of its upstream.
    pub upstream: String,
    /// As written in the file.
    pub node: String,
    /// Where it is reached: `10.0.0.1:3000`, or `unix:/path`.
    pub address: String,
    /// Sessions and requests under way on it.
    pub left: usize,
    /// Among them streams of EventSources.
    #[serde(default)]
    pub event_streams: usize,
    /// Among them other answers that have lasted for a while.
    #[serde(default)]
    pub long_answers: usize,
}

impl DrainingNode {
    /// The node's name as commands take it: an app's instance by its name alone where its upstream has the app's
    /// name, and `UPSTREAM/NODE` for any other.
    #[must_use]
    pub fn called(&self) -> String {
        called(&self.upstream, &self.node)
    }
}

pub(crate) fn called(upstream: &str, node: &str) -> String {
    match node.split_once('/') {
        Some((app, _)) if app == upstream => node.to_owned(),
        _ => format!("{upstream}/{node}"),
    }
}

/// Everything there is to see, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the tidelock that answers.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// The file that it serves; absent if it was started without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// It runs in the background: `tidelock start` has started it.
    #[serde(default)]
    pub background: bool,
    /// It accepts no more, and ends when what runs has ended.
    pub leaving: bool,
    /// What there is too little of, and what follows; absent while there is enough of everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overload: Option<String>,
    /// What tidelock takes of memory, without its apps, in bytes.
    #[serde(default)]
    pub memory: u64,
    /// What of it there may be (`limits.memory`).
    #[serde(default)]
    pub memory_max: u64,
    /// Lines of the access log that could not be written since the start, because of a full disk, for one.
    #[serde(default)]
    pub access_lines_lost: u64,
    /// Lines of its own log that are lost since the start, because nobody has read its standard error.
    #[serde(default)]
    pub log_lines_lost: u64,
    /// In the file's order.
    pub upstreams: Vec<Upstream>,
    /// What tidelock itself runs, in the order of their names.
    #[serde(default)]
    pub apps: Vec<App>,
    /// What each worker has counted since the start.
    pub workers: Vec<Worker>,
    /// The certificates that are served.
    #[serde(default)]
    pub certificates: Vec<Certificate>,
    /// Where limits are counted that several tidelocks share; absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redis: Option<Redis>,
}

/// Where limits are counted that several tidelocks share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redis {
    /// Its URL, without user and password.
    pub url: String,
    /// `up`, or `away`: each tidelock counts for itself then.
    pub state: String,
    /// For how long it has been so.
    pub since_ms: u64,
    /// Why it is away; absent while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests that this tidelock has counted alone.
    pub alone: u64,
}

/// A certificate that is served, or should be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The host names that it is for.
    pub names: Vec<String>,
    /// Who has signed it.
    pub issuer: String,
    /// Its file.
    pub file: PathBuf,
    /// Until when clients accept it, in seconds since 1970.
    pub not_after: i64,
    /// How many whole days that is from now; negative once it has expired.
    pub days_left: i64,
    /// Why clients do not get it, or do not accept it; absent if all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// When tidelock asks for the next one by itself, in seconds since 1970; absent if somebody brings it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_attempt: Option<i64>,
    /// Why the last time that it asked brought none, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// A command of which tidelock runs some processes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct App {
    /// Its key in the file.
    pub name: String,
    /// `running`, `rolling`, `stopped` or `removed`.
    pub state: String,
    /// How many instances there are to be.
    pub wanted: u32,
    /// How the last roll ended, if it failed; empty otherwise.
    pub last_failure: String,
    /// Whether the rooms of its Socket.IO reach over all of its processes: `shared`, or `split` and why; absent where there is nothing to
    /// say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<String>,
    /// By slot, then by generation.
    pub instances: Vec<Instance>,
}

/// A process of an app, or its empty place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// Its number among the instances of the app, from 0; a process that replaces another keeps it.
    pub slot: u32,
    /// Grows with every start, so that two processes of one slot are told apart.
    pub generation: u64,
    /// `starting`, `ready`, `emptying`, `stopping`, `waiting`, `crash loop`, `given up` or `stopped`.
    pub state: String,
    /// Whether it runs what the app is now.
    pub current: bool,
    /// The process, while there is one.
    pub pid: Option<u32>,
    /// Since its start, in milliseconds.
    pub uptime_ms: u64,
    /// How often it was started again after an end that nobody asked for.
    pub restarts: u32,
    /// 100 is one whole core.
    pub cpu_percent: Option<f32>,
    /// Resident, with its descendants, in bytes.
    pub memory: Option<u64>,
    /// Where it listens: `127.0.0.1:40001`, or `unix:/path`.
    pub address: Option<String>,
    /// Until its next start, in milliseconds, if it waits for it.
    pub next_start_ms: Option<u64>,
    /// Why it is in its state; may be empty.
    pub cause: String,
    /// Messages of the app's other instances that were lost for it, because it did not read them in time.
    #[serde(default)]
    pub messages_lost: u64,
    /// Engine.IO sessions and other tunnels, over all upstreams.
    pub sessions: usize,
    /// Tunnels, those of sessions included.
    pub tunnels: usize,
    /// Requests under way, the answers that follow among them.
    pub in_flight: usize,
    /// Streams of EventSources (`text/event-stream`), each of which is moved in a drain.
    #[serde(default)]
    pub event_streams: usize,
    /// Other answers that have lasted for a second or more. A drain waits for them.
    #[serde(default)]
    pub long_answers: usize,
    /// Answers in a second, over the last 8 to 16.
    #[serde(default)]
    pub answers_per_s: f64,
    /// Within what time half of them came, in milliseconds; left out if there was none. Polls of Engine.IO, which wait for news,
    /// are not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// And 99 of 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// A pool of nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Upstream {
    /// Its key in the file.
    pub name: String,
    /// Its nodes, then those that were removed from the file and still have sessions.
    pub nodes: Vec<Node>,
    /// Session ids and cookies of the right form that no `sticky_secret` of this tidelock has signed, since the start.
    #[serde(default)]
    pub unverifiable: u64,
    /// In the last ten minutes so many of them came that another tidelock must have signed them, with another secret.
    #[serde(default)]
    pub foreign_secret: bool,
    /// It is fed by an app that is stopped or given up, so that requests are answered with 503.
    #[serde(default)]
    pub stopped: bool,
    /// Answers in a second, over the last 8 to 16.
    #[serde(default)]
    pub answers_per_s: f64,
    /// Within what time half of them came, in milliseconds; left out if there was none. Polls of Engine.IO, which wait for news,
    /// are not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// And 99 of 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// A running backend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// As written in the file.
    pub node: String,
    /// Where it is reached: `10.0.0.1:3000`, or `unix:/path`.
    pub address: String,
    /// `up` or `down`.
    pub state: String,
    /// Nothing new comes to it, and its sessions leave.
    pub draining: bool,
    /// It is in the file no more.
    pub removed: bool,
    /// Why it is in its state; may be empty.
    pub cause: String,
    /// For so long it has been, in milliseconds.
    pub since_ms: u64,
    /// Engine.IO sessions and other tunnels.
    pub sessions: usize,
    /// Tunnels, those of sessions included.
    pub tunnels: usize,
    /// Requests under way, the answers that follow among them.
    pub in_flight: usize,
    /// How often it has sent bytes behind an answer, so that its connections were not used again for a minute.
    #[serde(default)]
    pub surplus: u64,
    /// Streams of EventSources (`text/event-stream`), each of which is moved in a drain.
    #[serde(default)]
    pub event_streams: usize,
    /// Other answers that have lasted for a second or more. A drain waits for them.
    #[serde(default)]
    pub long_answers: usize,
    /// Answers in a second, over the last 8 to 16.
    #[serde(default)]
    pub answers_per_s: f64,
    /// Within what time half of them came, in milliseconds; left out if there was none. Polls of Engine.IO, which wait for news,
    /// are not among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ms: Option<f64>,
    /// And 99 of 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ms: Option<f64>,
}

/// What one worker has counted since the start, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Client connections and tunnels open now.
    pub live: u64,
    /// Of these, those that have waited for their next request for a while, and take next to no memory.
    pub parked: u64,
    /// Client connections accepted.
    pub connections: u64,
    /// Exchanges ended.
    pub exchanges: u64,
    /// Of these, those whose node tidelock's cookie has decided.
    #[serde(default)]
    pub pinned: u64,
    /// Exchanges by the first digit of their status; index 0 counts those that ended without an answer.
    pub by_class: [u64; 6],
    /// Bytes of request bodies and tunnels, towards the nodes.
    pub bytes_in: u64,
    /// Bytes of answers and tunnels, towards the clients.
    pub bytes_out: u64,
    /// Tunnels ended: by the client, by the node, because one of them was silent, by tidelock.
    pub tunnels: [u64; 4],
    /// WebSocket frames towards the nodes.
    pub frames_in: u64,
    /// WebSocket frames towards the clients.
    pub frames_out: u64,
    /// Tunnels ended, by the code of their Close, 1000 to 1015; the last counts other codes, and ends without a Close.
    pub closes: [u64; 17],
    /// Lines of the access log that were lost because the disk or the reader was too slow.
    pub log_lines_lost: u64,
    /// Connections closed at once, because of their client's address: it has too many, opens them too fast, or begins TLS
    /// handshakes too fast.
    #[serde(default)]
    pub refused: [u64; 3],
    /// Connections closed to make room, while all places were taken: they rested between two requests, or had not said a
    /// byte.
    #[serde(default)]
    pub displaced: [u64; 2],
    /// Exchanges that failed, by why, in the words of the access log: refused by us, cut by the client, or by the node.
    #[serde(default)]
    pub faults: BTreeMap<String, u64>,
    /// What guards of routes did beside refusing, by what it was: requests that a limit has delayed, for one.
    #[serde(default)]
    pub guarded: BTreeMap<String, u64>,
}

/// A line of an answer.
pub(crate) fn line(event: &Event) -> Bytes {
    let mut line = to_json(event);
    line.push('\n');
    line.into()
}

pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs with text for keys: this file has nothing else")
}

pub(crate) const STATUS: &str = "/v1/status";
pub(crate) const METRICS: &str = "/metrics";
pub(crate) const RELOAD: &str = "/v1/reload";
pub(crate) const UPGRADE: &str = "/v1/upgrade";
pub(crate) const DRAIN: &str = "/v1/drain";
pub(crate) const UNDRAIN: &str = "/v1/undrain";
pub(crate) const LOGS: &str = "/v1/logs";
pub(crate) const FLUSH: &str = "/v1/flush";
/// A verb of an app stands behind it.
pub(crate) const APP: &str = "/v1/app/";
