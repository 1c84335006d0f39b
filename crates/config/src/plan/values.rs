//! What a single key of the file may say, where that is more than a number: what kinds read, and what plans are made of.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use self::line::LineFormat;

pub(crate) mod fields;
pub(crate) mod line;

/// One entry of an upstream's `nodes`. A name with several addresses becomes several nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NodeSpec {
    /// As written: `server1.example.com:3000`. Part of the tag, so that several tidelocks agree.
    pub written: String,
    /// The part before the colon, or the name of SRV records.
    pub host: NodeHost,
    /// The part behind the colon; 0 where SRV records say it.
    pub port: u16,
    /// The name that its certificate has to have, where it speaks TLS (`https://`): its host, if the upstream says no other.
    pub tls_name: Option<String>,
    /// What stands before each path that it is asked for: empty, or a path without a slash at its end. The same for all
    /// nodes of an upstream.
    pub base: String,
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
    /// A Unix socket on this machine. [`NodeSpec::port`] is 0 then.
    Unix(PathBuf),
    /// The name of SRV records (RFC 2782), each of which is a node, or several: they say the port, the weight, and by
    /// a priority that is not the lowest who is a backup. [`NodeSpec::port`] is 0 then.
    Service(String),
}

/// Where a Redis is, and who asks it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl {
    /// Where it listens.
    pub place: RedisPlace,
    /// The user of its access lists; `None` is the one that it calls `default`.
    pub user: Option<String>,
    /// What proves it.
    pub password: Option<String>,
    /// The number of its database.
    pub database: u32,
}

/// Where a Redis listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisPlace {
    /// At a port, with TLS or without.
    Network {
        /// A name or an address, without brackets.
        host: String,
        /// 6379 by default.
        port: u16,
        /// `rediss://`.
        is_tls: bool,
    },
    /// A Unix socket on this machine.
    Socket(PathBuf),
}

/// Says nothing of who asks it.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let database = match (self.database, &self.place) {
            (0, _) => String::new(),
            (number, RedisPlace::Network { .. }) => format!("/{number}"),
            (number, RedisPlace::Socket(_)) => format!("?db={number}"),
        };
        match &self.place {
            RedisPlace::Network { host, port, is_tls } => {
                let scheme = if *is_tls { "rediss" } else { "redis" };
                match host.contains(':') {
                    true => write!(f, "{scheme}://[{host}]:{port}{database}"),
                    false => write!(f, "{scheme}://{host}:{port}{database}"),
                }
            }
            RedisPlace::Socket(path) => write!(f, "unix:{}{database}", path.display()),
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisUrl({self})")
    }
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

impl fmt::Display for HashKey {
    /// As the file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Cookie(name) => write!(f, "cookie:{name}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Path(number) => write!(f, "path:{number}"),
        }
    }
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AccessLog {
    /// No line is written.
    Off,
    /// Lines go to standard output, from a thread of their own.
    #[default]
    Stdout,
    /// A file, opened to append, opened again on SIGUSR1.
    File(PathBuf),
    /// The Unix socket of a syslog.
    Syslog(PathBuf),
}

/// How a line of the access log looks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// A JSON object a line.
    #[default]
    Json,
    /// nginx's `combined`.
    Combined,
    /// A text with nginx's variables.
    Text(Arc<LineFormat>),
}

/// Whether clients of a listen have to show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientCertificateMode {
    /// Who shows none is not let in.
    Required,
    /// Who shows none is let in, and nodes are told so.
    Optional,
}

/// Which clients can speak TLS, in the words of Mozilla's guidelines (<https://wiki.mozilla.org/Security/Server_Side_TLS>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TlsProfile {
    /// TLS 1.2 and 1.3.
    Intermediate,
    /// TLS 1.3 alone.
    Modern,
}

/// Where the verbs of the command line reach the running tidelock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum AdminSocket {
    /// Where the binary puts it, by its environment.
    #[default]
    Default,
    /// There is no socket, and so no verbs.
    Off,
    /// A Unix socket, absolute or relative to the plan's own file, already joined.
    Path(PathBuf),
}

/// Who makes the certificates that nobody has to bring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Issuer {
    /// The authority of `[acme]`, which clients everywhere trust.
    Acme,
    /// An authority of this machine's own, which is trusted where it was made known.
    Local,
}

/// Secrets of the file. Of those that keys are made of the first one signs, all of them are believed. Printed as nothing, so that
/// no log shows them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// As long as their key demands.
    pub fn new(secrets: Vec<Vec<u8>>) -> Self {
        Self(secrets)
    }

    /// Whether the file names none: then tidelock fills in one that it keeps in its state folder.
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
