//! The validated, immutable plan: what the data plane reads. Made by `file`, never edited afterwards.
//! Nothing here is serialisable; a `Plan` that exists is a plan that holds together.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::app::App;
use crate::limits::Limits;
use crate::routing::Route;

mod care;

pub use care::{Admission, Health, Outliers, Probe};

/// Everything `upstreams.toml` says, checked as a whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Worker threads; `None` is one for each core this process may use.
    pub workers: Option<NonZeroUsize>,
    /// Where clients connect, in the file's order; never empty, no address twice.
    pub listens: Vec<Listen>,
    /// Which upstream answers, ordered from the most to the least specific: the first that matches wins.
    pub routes: Vec<Route>,
    /// The pools of nodes; `UpstreamId` indexes this list.
    pub upstreams: Vec<Arc<Upstream>>,
    /// What the supervisor runs, by the names that upstreams use; an app that none uses is a worker process.
    pub apps: Vec<Arc<App>>,
    /// Addresses and networks whose X-Forwarded-For, Forwarded and their kin are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Keys the tags that are put behind Engine.IO session ids, and the cookies that name a node.
    pub sticky_secrets: Secrets,
    /// Bounds of buffers, queues and maps.
    pub limits: Limits,
    /// How long each wait may last, where an upstream does not say otherwise.
    pub timeouts: Timeouts,
    /// The access log.
    pub log: Log,
    /// How sessions leave.
    pub drain: Drain,
    /// How the running tidelock is talked to, and whether it follows its file.
    pub admin: Admin,
    /// Who is asked for the addresses of nodes.
    pub resolver: Resolver,
}

/// One address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Address and port; port 0 lets the system choose (the port is logged at the start).
    pub address: SocketAddr,
    /// What is done with the bytes.
    pub scheme: Scheme,
    /// Whether another process of the same user may listen on the same address beside this one (SO_REUSEPORT).
    pub reuse_port: bool,
}

/// How a listen speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP without TLS.
    Plain,
    /// HTTP without TLS, every request of which is answered 308 to the same URL under `https`.
    RedirectToHttps {
        /// The port written into the URL; `None` when it is 443.
        port: Option<u16>,
    },
    /// HTTPS. Never empty; the first is the default for clients whose name matches none.
    Tls(Vec<CertificateFiles>),
}

/// PEM files of one certificate, as absolute paths or relative to the plan's own file, already joined.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateFiles {
    /// The chain, the leaf first.
    pub certificate: PathBuf,
    /// The private key of the leaf.
    pub key: PathBuf,
}

/// Which paths a route takes, of those that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathRule {
    /// All.
    #[default]
    Lenient,
    /// Those whose meaning nodes cannot disagree on. Others are refused with 400.
    Strict,
}

/// Index of an upstream in [`Plan::upstreams`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

/// A named pool of nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its key in the file.
    pub name: String,
    /// The nodes as written, no address twice; empty only if `app` names where they come from.
    pub nodes: Vec<NodeSpec>,
    /// The app whose processes are the nodes, in the place of `nodes`; one of [`Plan::apps`].
    pub app: Option<String>,
    /// What keeps a session on its node.
    pub sticky: Sticky,
    /// Who gets the next one.
    pub balance: Balance,
    /// Whether sessions are moved to nodes that have fewer.
    pub rebalance: Rebalance,
    /// Sent as Host instead of what the client sent.
    pub host: Option<String>,
    /// In lower case: headers that pass to the nodes though they came from somebody who is not trusted.
    pub pass_headers: Vec<String>,
    /// The plan's own, with what this upstream says otherwise.
    pub timeouts: Timeouts,
    /// A GET, HEAD or OPTIONS without a session whose node has not begun to answer by then is asked of another node
    /// (default none, 10 ms to 1 h).
    pub try_timeout: Option<Duration>,
    /// How it is seen that nodes are well.
    pub health: Health,
    /// What is held against a node.
    pub outliers: Outliers,
    /// How a crowd is kept from overrunning the nodes.
    pub admission: Admission,
}

/// One entry of an upstream's `nodes`. A name with several addresses becomes several nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeSpec {
    /// As written: `server1.example.com:3000`. Part of the tag, so that several tidelocks agree.
    pub written: String,
    /// Its host.
    pub host: NodeHost,
    /// Its port.
    pub port: u16,
    /// Share of the load, 1 to 256; a node of weight 2 gets twice the sessions of one of weight 1.
    pub weight: u32,
    /// Used only while no other node that is up has room.
    pub backup: bool,
    /// How much it may carry.
    pub bounds: NodeBounds,
}

/// How much a node may carry. A node that is full is passed over by what has no place yet: requests of sessions that
/// are there already are not held to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct NodeBounds {
    /// Most connections in use, 1 to 1,000,000: requests under way and tunnels. `None` is no bound.
    pub connections_max: Option<usize>,
    /// Most sessions, 1 to 10,000,000. `None` is no bound.
    pub sessions_max: Option<usize>,
}

/// The host of a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NodeHost {
    /// Resolved while tidelock runs; a name that does not resolve yet is a node that is down.
    Name(String),
    /// Known from the start.
    Address(IpAddr),
    /// The name of SRV records (RFC 2782), each of which is a node, or several: they say the port, the weight, and by
    /// a priority that is not the lowest who is a backup. [`NodeSpec::port`] is 0 then.
    Service(String),
}

/// What keeps a client on its node. An Engine.IO session stays on its node in every mode but [`Sticky::None`]; these say
/// what decides where there is no such session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sticky {
    /// A cookie of ours names the node, set when the app sets one of its own, so that logins which the app keeps in its
    /// process hold; the node never sees it. Its name, or `None` for one made of the upstream's name.
    Auto(Option<String>),
    /// Nothing but the Engine.IO session id, which carries a tag that names the node.
    EngineIo,
    /// The same, and the id is learned from the handshake and left as it is.
    EngineIoLearned,
    /// As [`Sticky::Auto`], with the first answer that no shared cache may keep.
    Cookie(Option<String>),
    /// The node follows from what the request says, by rendezvous hashing. A request that does not say it goes where
    /// the balance says.
    Key(HashKey),
    /// Each request goes where the balance says.
    None,
}

impl Default for Sticky {
    fn default() -> Self {
        Self::Auto(None)
    }
}

/// Who gets the next session or request. All of them respect weights, backups, bounds, health and drains.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Sessions decide for handshakes and WebSockets, requests under way for everything else.
    #[default]
    LeastSessions,
    /// One after the other, a node of weight 2 twice as often, its turns spread evenly.
    RoundRobin,
    /// The node with the fewest requests under way for its weight; a tunnel is one.
    LeastRequests,
    /// Of two nodes drawn by weight, the one with fewer requests under way for its weight.
    RandomTwo,
    /// Of two nodes drawn by weight, the one that would answer sooner: its latency, a mean over 10 s that rises at
    /// once, times the requests under way.
    PeakEwma,
    /// The node follows from what the request says, by rendezvous hashing; where a request does not say it, sessions
    /// and requests under way decide.
    Hash(HashKey),
}

/// How sessions are moved from nodes that have more than their even share, the oldest first, to those that have less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rebalance {
    /// Of a node's sessions, in percent, in each `every` (default 0, 0 to 100); 0 is off. Never more than make the pool
    /// even.
    pub percent: u32,
    /// See `percent` (default 1 min, 1 s to 1 h).
    pub every: Duration,
    /// Nothing is moved until every node has been up for so long (default 1 min, 0 s to 1 h).
    pub settle: Duration,
}

/// What of a request is hashed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// The address of the client, behind trusted proxies too; of an IPv6 address the first 64 bits, which are the
    /// network's.
    Ip,
    /// The value of the first header line of this name, in lower case.
    Header(String),
    /// The value of the first cookie of this name.
    Cookie(String),
    /// The value of the first key of this name in the query, as it is sent.
    Query(String),
    /// A segment of the path, from 1, as it is sent: in `/echo/000/abcdef/xhr` the third is `abcdef`.
    Path(usize),
}

/// The secrets that keys are made of: the first one signs, all of them are believed. Printed as nothing, so that no log
/// shows them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// 32 bytes or more each.
    pub fn new(secrets: Vec<Vec<u8>>) -> Self {
        Self(secrets)
    }

    /// Whether the file names none, so that whoever runs the plan has to.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one that signs first.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// How long each wait may last. Durations are never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect to a node (default 1 s, 10 ms to 60 s).
    pub connect: Duration,
    /// A client's whole request head, from its first byte; also its whole TLS handshake, and how long a new connection may
    /// say nothing (default 10 s, 100 ms to 5 min). 408 beyond it.
    pub head: Duration,
    /// No byte moves in a body, either way (default 60 s, 100 ms to 1 h).
    pub body: Duration,
    /// From the whole request to the head of the node's answer (default 75 s, 100 ms to 24 h). 504 beyond it.
    /// A request with an Engine.IO `sid` waits at least its session's `pingInterval + pingTimeout`.
    pub answer: Duration,
    /// A client's connection between two requests (default 75 s, 100 ms to 1 h).
    pub idle: Duration,
    /// A whole request, from the first byte of its head to the last of its body (default 24 h, 1 s to 7 days); `None` is no
    /// bound. 408 beyond it.
    pub request: Option<Duration>,
    /// The age of a client's connection from which on the next answer is its last (default 1 h, 1 s to 7 days); `None` is
    /// no bound.
    pub keepalive_age: Option<Duration>,
    /// A tunnel, or a stream of server-sent events, through which no byte moves (default 1 h, 1 s to 7 days).
    /// A tunnel that is known to carry Engine.IO is cut after `pingInterval + pingTimeout` and slack instead.
    pub tunnel: Duration,
}

/// The access log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// Where the lines go.
    pub access: AccessLog,
    /// How they look.
    pub format: LogFormat,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// No access log.
    Off,
    /// Standard output.
    #[default]
    Stdout,
    /// A file, opened to append, opened again on SIGUSR1.
    File(PathBuf),
}

/// How a line of the access log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// A JSON object a line.
    #[default]
    Json,
    /// nginx's `combined`.
    Combined,
}

/// How sessions leave: those of a node that is drained or removed, and all of them when the proxy is told to stop.
/// The window is never longer than the deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// The sessions of what leaves are spread over so long, so that their clients do not all come back in the same
    /// second (default 10 s, 0 s to 24 h). Left out beside a shorter deadline, it is the deadline.
    pub window: Duration,
    /// How long running exchanges and tunnels may take to finish (default 30 s, 0 s to 24 h).
    pub deadline: Duration,
}

/// How the running tidelock is talked to, and whether it follows its file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admin {
    /// Where the verbs of the command line reach it.
    pub socket: AdminSocket,
    /// Whether the file is watched, and applied when it changes. Otherwise it is applied when it is told to.
    pub watch: bool,
}

/// Where the verbs of the command line reach the running tidelock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum AdminSocket {
    /// Where the binary puts it: `tidelock/admin.sock` under `$XDG_RUNTIME_DIR`, or under the system's run directory
    /// for root.
    #[default]
    Default,
    /// Nowhere.
    Off,
    /// A Unix socket, absolute or relative to the plan's own file, already joined.
    Path(PathBuf),
}

/// Who is asked for the addresses of nodes, and how often. `/etc/hosts` comes before anyone is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resolver {
    /// DNS resolvers; empty is the system's own, in `/etc/resolv.conf`.
    pub nameservers: Vec<SocketAddr>,
    /// A name is asked again when its TTL ends, and at the latest after so long (default 5 s, 1 s to 24 h).
    pub ttl_max: Duration,
}
