//! What there is to see from outside: plain values, read at one moment.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use config::roster::{AppInstance, NodeAddress};
use tokio::time::Instant;

use crate::net::shared_rates::RedisNow;
use crate::net::tls::CertificateNow;
use crate::observe::counters::Counts;
use crate::upstream::answers::Lately;
use crate::upstream::close_signal::{EventStream, LongAnswer};
use crate::upstream::node::Node;

/// The proxy at one moment.
#[derive(Debug, Clone)]
pub struct Status {
    /// It accepts no more and ends when what runs has ended.
    pub is_leaving: bool,
    /// What is used up, and what follows; `None` while there is enough of everything.
    pub overload: Option<String>,
    /// What the process takes of memory, in bytes.
    pub memory: u64,
    /// What of it there may be.
    pub memory_max: u64,
    /// Lines of the access log that could not be written since the start, because of a full disk, for one.
    pub access_lines_lost: u64,
    /// In the plan's order.
    pub upstreams: Vec<UpstreamStatus>,
    /// What each worker has counted.
    pub workers: Vec<Counts>,
    /// Those that listens serve, each file once.
    pub certificates: Vec<CertificateNow>,
    /// Where limits are counted that several tidelocks share.
    pub redis: Option<RedisNow>,
}

/// An upstream at one moment.
#[derive(Debug, Clone)]
pub struct UpstreamStatus {
    /// Its key in the file.
    pub name: String,
    /// Its nodes, then those that were removed and still have sessions.
    pub nodes: Vec<NodeStatus>,
    /// Session ids and cookies of the right form that no key has signed, and that nobody knows.
    pub unverifiable: u64,
    /// It is fed by an app that is stopped or given up.
    pub is_stopped: bool,
    /// Lately there were so many of them that another tidelock must have signed them, with another secret.
    pub has_foreign: bool,
}

/// A node at one moment.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// As written in the file.
    pub node: String,
    /// Where it is reached.
    pub address: NodeAddress,
    /// The process that it is, if tidelock runs it.
    pub instance: Option<AppInstance>,
    /// `up` or `down`.
    pub state: &'static str,
    /// It gets nothing new; its sessions leave it.
    pub draining: bool,
    /// It is no more in the file.
    pub is_removed: bool,
    /// Why it is up or down; also how long it will be out at least, or how far its slow start is.
    pub cause: String,
    /// For how long.
    pub since: Duration,
    /// Engine.IO sessions and other tunnels.
    pub sessions: usize,
    /// Tunnels, those of sessions included.
    pub tunnels: usize,
    /// Requests under way, the answers that follow among them.
    pub in_flight: usize,
    /// How often it has sent bytes behind an answer, so that its connections were not used again for a minute.
    pub surplus: u64,
    /// Streams of EventSources.
    pub event_streams: usize,
    /// Other answers that have lasted for a while.
    pub long_answers: usize,
    /// What it has answered in the last seconds.
    pub lately: Lately,
}

impl NodeStatus {
    pub(crate) fn of(node: &Node, is_removed: bool) -> Self {
        let (cause, since) = node.cause(Instant::now());
        Self {
            node: node.written(),
            address: node.address().clone(),
            instance: node.instance.clone(),
            state: if node.is_up() { "up" } else { "down" },
            draining: node.is_draining(),
            is_removed,
            cause,
            since: since.elapsed(),
            sessions: node.sessions(),
            tunnels: node.tunnels.count(),
            in_flight: node.in_flight(),
            surplus: node.surplus.count(),
            event_streams: node.event_streams.count(),
            long_answers: node.long_answers.count(),
            lately: node.answers.lately(Instant::now()),
        }
    }
}

/// What is on a node, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Left {
    /// WebSockets.
    pub tunnels: usize,
    /// Engine.IO sessions that poll.
    pub polling: usize,
    /// Streams of EventSources.
    pub event_streams: usize,
    /// Other answers that have lasted for a while.
    pub long_answers: usize,
    /// Other requests under way, pending polls among them.
    pub requests: usize,
}

impl Left {
    /// All of it.
    pub fn sum(self) -> usize {
        self.tunnels + self.polling + self.event_streams + self.long_answers + self.requests
    }

    fn on(node: &Node) -> Self {
        let (tunnels, in_flight) = (node.tunnels.count(), node.in_flight());
        let (event_streams, long_answers) = (node.event_streams.count(), node.long_answers.count());
        Self {
            tunnels,
            polling: node.sessions().saturating_sub(tunnels),
            event_streams,
            long_answers,
            requests: in_flight.saturating_sub(event_streams + long_answers),
        }
    }
}

impl std::ops::Add for Left {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tunnels: self.tunnels + other.tunnels,
            polling: self.polling + other.polling,
            event_streams: self.event_streams + other.event_streams,
            long_answers: self.long_answers + other.long_answers,
            requests: self.requests + other.requests,
        }
    }
}

/// What is on nodes, and for whom, where somebody may want to go and see.
#[derive(Debug, Clone, Default)]
pub struct Remains {
    /// By kind.
    pub left: Left,
    event_streams: Vec<IpAddr>,
    long_answers: Vec<IpAddr>,
}

impl Remains {
    pub(crate) fn on<'n>(nodes: impl IntoIterator<Item = &'n Node>) -> Self {
        let mut remains = Self::default();
        for node in nodes {
            remains.left = remains.left + Left::on(node);
            let streams = node.event_streams.whose(CLIENTS_LOOKED_AT);
            remains.event_streams.extend(streams.into_iter().map(|EventStream(client)| client));
            let answers = node.long_answers.whose(CLIENTS_LOOKED_AT);
            remains.long_answers.extend(answers.into_iter().map(|LongAnswer(client)| client));
        }
        for clients in [&mut remains.event_streams, &mut remains.long_answers] {
            clients.sort_unstable();
            clients.dedup();
        }
        remains
    }
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, event_streams, long_answers } = self;
        let kinds = [
            (left.tunnels, "WebSocket", "WebSockets", &[][..]),
            (left.polling, "polling session", "polling sessions", &[]),
            (left.event_streams, "event stream", "event streams", event_streams),
            (left.long_answers, "long answer", "long answers", long_answers),
            (left.requests, "request under way", "requests under way", &[]),
        ];
        let said = kinds.iter().filter(|(count, ..)| *count > 0).map(|(count, one, several, clients)| {
            let what = if *count == 1 { one } else { several };
            format!("{count} {what}{}", in_brackets(clients))
        });
        let said: Vec<String> = said.collect();
        f.write_str(if said.is_empty() { "nothing" } else { return f.write_str(&said.join(", ")) })
    }
}

/// The first addresses, and how many others there are.
fn in_brackets(clients: &[IpAddr]) -> String {
    if clients.is_empty() {
        return String::new();
    }
    let mut said: Vec<String> = clients.iter().take(CLIENTS_SHOWN).map(ToString::to_string).collect();
    if let more @ 1.. = clients.len().saturating_sub(CLIENTS_SHOWN) {
        said.push(format!("{more} more"));
    }
    format!(" ({})", said.join(", "))
}

/// A node that somebody asked about, for as long as they want to know.
#[derive(Debug, Clone)]
pub struct NodeHandle(pub(crate) Arc<Node>);

impl NodeHandle {
    /// The name of its upstream.
    pub fn upstream(&self) -> &str {
        &self.0.upstream
    }

    /// As written in the file.
    pub fn node(&self) -> String {
        self.0.written()
    }

    /// The host and port, or the path of a Unix socket, as connections are opened to it.
    pub fn address(&self) -> &NodeAddress {
        self.0.address()
    }

    /// What a drain would have to wait for, as of this moment.
    pub fn left(&self) -> Left {
        Left::on(&self.0)
    }

    /// Whether pages of browsers that are pinned to it may still come, although it leaves.
    pub fn keeps_pages(&self) -> bool {
        self.0.keeps_pages(Instant::now())
    }

    /// What is still on these nodes together, printed as a person reads it.
    pub fn remains(nodes: &[Self]) -> Remains {
        Remains::on(nodes.iter().map(|handle| &*handle.0))
    }

    /// It has been told to leave, and not been told since to take part again.
    pub fn is_draining(&self) -> bool {
        self.0.is_draining()
    }
}

/// Nothing has the name that was asked for.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no node or upstream is called {asked}; there is {}", known.join(", "))]
pub struct UnknownNode {
    pub(crate) asked: String,
    pub(crate) known: Vec<String>,
}

/// Of so many answers of a node it is looked for whom they are.
const CLIENTS_LOOKED_AT: usize = 1000;
/// A line can be read.
const CLIENTS_SHOWN: usize = 10;
