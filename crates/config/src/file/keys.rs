//! Every key of the file, declared once: what it holds, what its absence means and what it is for. The readers, the
//! suggestions for unknown keys and the JSON schema all come from here. Nothing here reads.
//!
//! Defaults and ranges are said again, for people, in `plan`, `limits` and `configs/full.toml`; tests hold them
//! together.

use std::time::Duration;

use super::app_keys::{APP, UPSTREAM_APP};
use super::choices::{BalanceChoice, StickyChoice};
use super::declared::{Key, Optional, Or, Required, Section, Shape, Sub};
use super::hosts::{HostHeader, ListenAddress, Nameservers, NodeAddress};
use super::kinds::headers::HeaderNames;
use super::kinds::{Count, FilePath, Flag, LogPlace, OrNone, SecretTexts, Size, SocketPlace, Time, Word};
use super::proxies::{Trusted, Trusts};
use super::rebalance::REBALANCE;
use super::upstream::NodeList;
use crate::plan::{AccessLog, Balance, LogFormat, Sticky};

pub(crate) mod care;
pub(crate) mod route;

/// The file itself.
pub(crate) static FILE: Section = Section {
    doc: "What tidelock listens on, where it sends what, and how.",
    keys: &[
        &WORKERS,
        &TRUSTED_PROXIES,
        &PROXY_LISTS,
        &STICKY_SECRET,
        &LISTEN,
        &route::ROUTE,
        &UPSTREAM,
        &APP,
        &LIMITS,
        &TIMEOUTS,
        &LOG,
        &DRAIN,
        &ADMIN,
        &RESOLVER,
    ],
    later: &[],
};

pub(crate) static WORKERS: Key<Count, Optional> = Key {
    name: "workers",
    kind: Count { least: 1, most: 1024 },
    absent: Optional("one for each core this process may use"),
    doc: "Worker threads.",
};
pub(crate) static TRUSTED_PROXIES: Key<Trusted, Or<Vec<Trusts>>> = Key {
    name: "trusted_proxies",
    kind: Trusted,
    absent: Or(Vec::new()),
    doc: "Addresses, networks and names of lists, \"cloudflare\", \"fastly\", \"private\" or \"loopback\", whose \
          X-Forwarded-For, Forwarded and their kin are believed.",
};
pub(crate) static PROXY_LISTS: Key<FilePath, Optional> = Key {
    name: "proxy_lists",
    kind: FilePath,
    absent: Optional("the lists in configs/lists/proxies.toml, which are part of the binary"),
    doc: "TOML file of the lists that `trusted_proxies` names. Relative to the folder of this file.",
};
pub(crate) static STICKY_SECRET: Key<SecretTexts, Optional> = Key {
    name: "sticky_secret",
    kind: SecretTexts { bytes_min: 32, count_max: 8 },
    absent: Optional(
        "a random one, made once and kept as `sticky_secret` in $STATE_DIRECTORY, or else in the user's state folder",
    ),
    doc: "Keys the tags behind Engine.IO session ids, and the cookies that name a node. Every tidelock in front of the \
          same nodes needs the same. At least 32 bytes. A list changes it without losing a session: the first signs, \
          all are believed. First add the new one at the end everywhere, then move it to the front, and take the old \
          one out a day later.",
};

pub(crate) static LISTEN: Sub = Sub {
    name: "listen",
    shape: Shape::Many,
    section: &Section {
        doc: "One address that clients connect to.",
        keys: &[&ADDRESS, &TLS, &REDIRECT, &REDIRECT_PORT, &REUSE_PORT],
        later: &[],
    },
};
pub(crate) static ADDRESS: Key<ListenAddress, Required> = Key {
    name: "address",
    kind: ListenAddress,
    absent: Required("\"0.0.0.0:80\""),
    doc: "Address and port to listen on. \":80\" is \"0.0.0.0:80\", every IPv4 interface; \"[::]:80\" is every \
          interface, IPv6 too. Port 0 lets the system choose.",
};
pub(crate) static REUSE_PORT: Key<Flag, Or<bool>> = Key {
    name: "reuse_port",
    kind: Flag,
    absent: Or(false),
    doc: "Whether another tidelock of the same user may listen here beside this one (SO_REUSEPORT), so that it can \
          take over without anything in front of both.",
};
pub(crate) static TLS: Sub = Sub {
    name: "tls",
    shape: Shape::Inline,
    section: &Section {
        doc: "A certificate for HTTPS, or a list of them. The first is for clients whose name matches none.",
        keys: &[&CERTIFICATE, &KEY],
        later: &[],
    },
};
pub(crate) static CERTIFICATE: Key<FilePath, Required> = Key {
    name: "certificate",
    kind: FilePath,
    absent: Required("\"certs/example.com.pem\""),
    doc: "PEM file of the certificate chain, the leaf first. Relative to the folder of this file.",
};
pub(crate) static KEY: Key<FilePath, Required> = Key {
    name: "key",
    kind: FilePath,
    absent: Required("\"certs/example.com.key\""),
    doc: "PEM file of the leaf's private key. Relative to the folder of this file.",
};
pub(crate) static REDIRECT: Key<Word<()>, Optional> = Key {
    name: "redirect",
    kind: Word(&[("https", ())]),
    absent: Optional("requests are served as they are"),
    doc: "Answers every request 308, to the same URL under https.",
};
pub(crate) static REDIRECT_PORT: Key<Count, Optional> = Key {
    name: "redirect_port",
    kind: Count { least: 1, most: 65_535 },
    absent: Optional("the port of the only listen with `tls`, or 443 if there are several or none"),
    doc: "The port in the URL that `redirect` answers with.",
};

pub(crate) static UPSTREAM: Sub = Sub {
    name: "upstream",
    shape: Shape::Named,
    section: &Section {
        doc: "A named pool of nodes.",
        keys: &[
            &NODES,
            &UPSTREAM_APP,
            &STICKY,
            &BALANCE,
            &REBALANCE,
            &UPSTREAM_HOST,
            &PASS_HEADERS,
            &care::TRY_TIMEOUT,
            &care::RETRY_PERCENT,
            &care::HANDSHAKE_RATE,
            &care::HANDSHAKE_WAIT,
            &care::FULL_WAIT,
            &care::DOWN_WAIT,
            &UPSTREAM_TIMEOUTS,
            &care::HEALTH,
            &care::OUTLIERS,
        ],
        later: &[],
    },
};
pub(crate) static NODES: Key<NodeList, Optional> = Key {
    name: "nodes",
    kind: NodeList,
    absent: Optional("the nodes are the processes of `app`"),
    doc: "The running backends: \"host:port\", or `{ address = \"host:port\", weight = 1, … }` to say more. A name with \
          several addresses is several nodes, and is asked for again while tidelock runs: see `[resolver]`. \
          \"srv:_chat._tcp.example.com\" stands for what SRV records name, with their ports and weights; those \
          whose priority is not the lowest are backups.",
};
pub(crate) static STICKY: Key<StickyChoice, Or<Sticky>> = Key {
    name: "sticky",
    kind: StickyChoice,
    absent: Or(Sticky::Auto(None)),
    doc: "What keeps a client on its node. A session of Engine.IO stays on its node by a tag behind its id, whatever this \
          says but \"none\". \"auto\" or \"auto:NAME\": a cookie of ours as well, which the nodes do not see, set when the \
          app sets one of its own, so that logins kept in its process hold. \"cookie\" or \"cookie:NAME\": the same with \
          the first answer, for apps whose state has no cookie. \"ip\", \"header:NAME\", \"query:NAME\" or \"path:N\", the \
          N-th segment of the path: what the request says, hashed. \"engineio\": the tag alone, for apps whose sessions \
          are in a shared store. \"engineio-learned\": the same without a tag, the id itself being learned from the \
          handshake, for apps that compare ids. \"none\": nothing.",
};
pub(crate) static BALANCE: Key<BalanceChoice, Or<Balance>> = Key {
    name: "balance",
    kind: BalanceChoice,
    absent: Or(Balance::LeastSessions),
    doc: "Who gets the next one. \"least-sessions\": the node with the fewest sessions for its weight, or with the \
          fewest requests under way for requests that are no session's. \"round-robin\": one after the other. \
          \"least-requests\": the fewest requests under way, tunnels among them. Requests are counted on the 32 nodes \
          whose turn is next, where there are more. \"random-two\": of two drawn at random, the one with fewer of them. \
          \"peak-ewma\": of two, the one that answers sooner. \"hash:ip\", \"hash:header:NAME\", \"hash:cookie:NAME\" or \"hash:query:NAME\": the same node for the same value.",
};
pub(crate) static UPSTREAM_HOST: Key<HostHeader, Optional> = Key {
    name: "host",
    kind: HostHeader,
    absent: Optional("what the client sent"),
    doc: "Sent to the nodes as Host.",
};
pub(crate) static PASS_HEADERS: Key<HeaderNames, Or<Vec<String>>> = Key {
    name: "pass_headers",
    kind: HeaderNames,
    absent: Or(Vec::new()),
    doc: "Headers that the nodes get though they came from somebody who is no trusted proxy, and that are dropped \
          otherwise: \"CF-Connecting-IP\".",
};

/// One node, where it is more than its address.
pub(crate) static NODE: Section = Section {
    doc: "A node that is more than its address.",
    keys: &[&NODE_ADDRESS, &WEIGHT, &BACKUP, &MAX_CONNECTIONS, &MAX_SESSIONS],
    later: &[],
};
pub(crate) static NODE_ADDRESS: Key<NodeAddress, Required> = Key {
    name: "address",
    kind: NodeAddress,
    absent: Required("\"127.0.0.1:3000\""),
    doc: "\"host:port\", or \"srv:\" and the name of SRV records.",
};
pub(crate) static WEIGHT: Key<Count, Or<u64>> = Key {
    name: "weight",
    kind: Count { least: 1, most: 256 },
    absent: Or(1),
    doc: "Share of the load: a node of weight 2 gets twice the sessions of one of weight 1.",
};
pub(crate) static BACKUP: Key<Flag, Or<bool>> = Key {
    name: "backup",
    kind: Flag,
    absent: Or(false),
    doc: "Used only while no other node that is up has room.",
};
pub(crate) static MAX_CONNECTIONS: Key<Count, Optional> = Key {
    name: "max_connections",
    kind: Count { least: 1, most: 1_000_000 },
    absent: Optional("no bound"),
    doc: "Most requests under way and tunnels at once; beyond it the node is passed over. Requests of sessions that \
          are there already are not held to it.",
};
pub(crate) static MAX_SESSIONS: Key<Count, Optional> = Key {
    name: "max_sessions",
    kind: Count { least: 1, most: 10_000_000 },
    absent: Optional("no bound"),
    doc: "Most sessions at once; beyond it new ones go to other nodes.",
};

pub(crate) static LIMITS: Sub = Sub {
    name: "limits",
    shape: Shape::One,
    section: &Section {
        doc: "Bounds of buffers, queues and maps, and of what a WebSocket tunnel may carry.",
        keys: &[
            &TARGET_BYTES_MAX,
            &HEAD_BYTES_MAX,
            &HEADER_LINES_MAX,
            &BODY_BYTES_MAX,
            &BUFFER_BYTES,
            &MEMORY,
            &CONNECTIONS_MAX,
            &CONNECTIONS_PER_CLIENT_MAX,
            &CLIENT_CONNECTIONS_PER_SECOND_MAX,
            &CLIENT_HANDSHAKES_PER_SECOND_MAX,
            &SESSIONS_MAX,
            &BODY_BYTES_PER_SECOND_MIN,
            &ANSWER_BYTES_PER_SECOND_MIN,
            &KEEPALIVE_REQUESTS,
            &ORIGIN_IDLE_MAX,
            &ATTEMPTS_MAX,
            &MESSAGE_BYTES_MAX,
            &MESSAGES_PER_SECOND_MAX,
            &TUNNEL_AGE_MAX,
        ],
        later: &[],
    },
};
pub(crate) static TARGET_BYTES_MAX: Key<Size, Or<u64>> = Key {
    name: "target_bytes_max",
    kind: Size { least: 256, most: 64 * KIB },
    absent: Or(8 * KIB),
    doc: "Longest target of a request line; beyond it the client gets 414.",
};
pub(crate) static HEAD_BYTES_MAX: Key<Size, Or<u64>> = Key {
    name: "head_bytes_max",
    kind: Size { least: KIB, most: MIB },
    absent: Or(32 * KIB),
    doc: "Longest head of a request or an answer; beyond it the client gets 431, or 502 when it is the node's.",
};
pub(crate) static HEADER_LINES_MAX: Key<Count, Or<u64>> = Key {
    name: "header_lines_max",
    kind: Count { least: 16, most: 256 },
    absent: Or(100),
    doc: "Most header lines in one head; beyond it the client gets 431, or 502 when it is the node's.",
};
pub(crate) static BODY_BYTES_MAX: Key<OrNone<Size>, Or<Option<u64>>> = Key {
    name: "body_bytes_max",
    kind: OrNone(Size { least: KIB, most: 1 << 40 }),
    absent: Or(None),
    doc: "Longest body of a request, or \"none\" for no bound; beyond it the client gets 413.",
};
pub(crate) static BUFFER_BYTES: Key<Size, Or<u64>> = Key {
    name: "buffer_bytes",
    kind: Size { least: 4 * KIB, most: MIB },
    absent: Or(64 * KIB),
    doc: "One buffer of a body or a tunnel. No body is held beyond one of them in each direction.",
};
pub(crate) static MEMORY: Key<Size, Optional> = Key {
    name: "memory",
    kind: Size { least: 16 * MIB, most: 1 << 40 },
    absent: Optional("half of what the cgroup or the machine has"),
    doc: "What tidelock may take of memory, its apps not counted. From three quarters of it on new connections come in \
          slowly, and those that rest are closed; from nine tenths on requests get 503.",
};
pub(crate) static CONNECTIONS_MAX: Key<Count, Or<u64>> = Key {
    name: "connections_max",
    kind: Count { least: 0, most: 10_000_000 },
    absent: Or(0),
    doc: "Most client connections at once; 0 is as many as the open-file limit allows. Beyond it the connection that has \
          rested longest between two requests is closed for a new one, or else one that has not said a byte; where all \
          are busy, new ones wait.",
};
pub(crate) static CONNECTIONS_PER_CLIENT_MAX: Key<Count, Or<u64>> = Key {
    name: "connections_per_client_max",
    kind: Count { least: 0, most: 10_000_000 },
    absent: Or(0),
    doc: "Most connections of one client at once: of an IPv4 address, or of the /64 of an IPv6 address. 0 is an eighth of \
          `connections_max`, and 64 at least, while more than half of all places are taken, and else no bound. Beyond \
          it they are closed at once. Peers in `trusted_proxies` are not bounded.",
};
pub(crate) static CLIENT_CONNECTIONS_PER_SECOND_MAX: Key<Count, Or<u64>> = Key {
    name: "client_connections_per_second_max",
    kind: Count { least: 0, most: 1_000_000 },
    absent: Or(0),
    doc: "Most new connections of one client in a second; a second's worth may come at once. 0 is 1000 while more than half \
          of all places are taken, and else no bound.",
};
pub(crate) static CLIENT_HANDSHAKES_PER_SECOND_MAX: Key<Count, Or<u64>> = Key {
    name: "client_handshakes_per_second_max",
    kind: Count { least: 0, most: 1_000_000 },
    absent: Or(0),
    doc: "Most TLS handshakes of one client in a second; a second's worth may come at once. 0 is 200 while more than half of \
          all places are taken, and else no bound.",
};
pub(crate) static SESSIONS_MAX: Key<Count, Or<u64>> = Key {
    name: "sessions_max",
    kind: Count { least: 1_000, most: 100_000_000 },
    absent: Or(1_000_000),
    doc: "Most Engine.IO sessions remembered for an upstream; beyond it new sessions are served but not counted.",
};
pub(crate) static BODY_BYTES_PER_SECOND_MIN: Key<Count, Or<u64>> = Key {
    name: "body_bytes_per_second_min",
    kind: Count { least: 0, most: 1_000_000_000 },
    absent: Or(240),
    doc: "Bytes of a request's body that must come in a second, at least, on the whole; 0 is no bound. Only waiting for the \
          client counts, `timeouts.body` more is given, and there is no bound once the node has begun to answer. Beyond \
          it the client gets 408.",
};
pub(crate) static ANSWER_BYTES_PER_SECOND_MIN: Key<Count, Or<u64>> = Key {
    name: "answer_bytes_per_second_min",
    kind: Count { least: 0, most: 1_000_000_000 },
    absent: Or(240),
    doc: "Bytes of an answer that a client must take in a second, at least, while there are some for it; 0 is no bound. \
          `timeouts.body` more is given. Beyond it the connection is closed.",
};
pub(crate) static KEEPALIVE_REQUESTS: Key<Count, Or<u64>> = Key {
    name: "keepalive_requests",
    kind: Count { least: 0, most: 65_535 },
    absent: Or(10_000),
    doc: "Most requests on one connection of a client; 0 is no bound. The last answer says that it is the last.",
};
pub(crate) static ORIGIN_IDLE_MAX: Key<Count, Or<u64>> = Key {
    name: "origin_idle_max",
    kind: Count { least: 0, most: 10_000 },
    absent: Or(128),
    doc: "Most idle connections a worker keeps open to one node.",
};
pub(crate) static ATTEMPTS_MAX: Key<Count, Or<u64>> = Key {
    name: "attempts_max",
    kind: Count { least: 1, most: 16 },
    absent: Or(3),
    doc: "Most nodes tried for one request that may be tried again.",
};
pub(crate) static MESSAGE_BYTES_MAX: Key<OrNone<Size>, Or<Option<u64>>> = Key {
    name: "message_bytes_max",
    kind: OrNone(Size { least: 1, most: 1 << 40 }),
    absent: Or(None),
    doc: "Longest message in a WebSocket tunnel, either way, as it is sent, or \"none\" for no bound; beyond it both \
          ends get Close 1009.",
};
pub(crate) static MESSAGES_PER_SECOND_MAX: Key<Count, Or<u64>> = Key {
    name: "messages_per_second_max",
    kind: Count { least: 0, most: 1_000_000 },
    absent: Or(0),
    doc: "Most messages a client may send in a second through one WebSocket tunnel; 0 is no bound. A message counts once, \
          however many frames it has; pings and the like may be ten times as many, and 100 at least. Beyond it the \
          tunnel is closed with 1008.",
};
pub(crate) static TUNNEL_AGE_MAX: Key<OrNone<Time>, Or<Option<Duration>>> = Key {
    name: "tunnel_age_max",
    kind: OrNone(Time { least: Duration::from_secs(1), most: Duration::from_hours(365 * 24) }),
    absent: Or(None),
    doc: "Longest life of a WebSocket tunnel, or \"none\" for no bound. It is closed with 1012 between 90 % and \
          100 % of it.",
};

pub(crate) static TIMEOUTS: Sub = Sub {
    name: "timeouts",
    shape: Shape::One,
    section: &Section {
        doc: "How long each wait may last.",
        keys: &[&CONNECT, &HEAD, &BODY, &REQUEST, &ANSWER, &IDLE, &KEEPALIVE_AGE, &TUNNEL],
        later: &[],
    },
};
pub(crate) static UPSTREAM_TIMEOUTS: Sub = Sub {
    name: "timeouts",
    shape: Shape::One,
    section: &Section {
        doc: "How long each wait may last at this upstream.",
        keys: &[&UPSTREAM_CONNECT, &UPSTREAM_BODY, &UPSTREAM_ANSWER, &UPSTREAM_TUNNEL],
        later: &[],
    },
};
pub(crate) static UPSTREAM_CONNECT: Key<Time, Optional> = inherited(&CONNECT);
pub(crate) static UPSTREAM_BODY: Key<Time, Optional> = inherited(&BODY);
pub(crate) static UPSTREAM_ANSWER: Key<Time, Optional> = inherited(&ANSWER);
pub(crate) static UPSTREAM_TUNNEL: Key<Time, Optional> = inherited(&TUNNEL);
pub(crate) static CONNECT: Key<Time, Or<Duration>> = Key {
    name: "connect",
    kind: Time { least: Duration::from_millis(10), most: Duration::from_secs(60) },
    absent: Or(Duration::from_secs(1)),
    doc: "TCP connect to a node.",
};
pub(crate) static HEAD: Key<Time, Or<Duration>> = Key {
    name: "head",
    kind: Time { least: Duration::from_millis(100), most: Duration::from_mins(5) },
    absent: Or(Duration::from_secs(10)),
    doc: "A client's whole request head, from its first byte, and its whole TLS handshake; beyond it the client \
          gets 408. Also how long a new connection may say nothing.",
};
pub(crate) static BODY: Key<Time, Or<Duration>> = Key {
    name: "body",
    kind: Time { least: Duration::from_millis(100), most: Duration::from_hours(1) },
    absent: Or(Duration::from_secs(60)),
    doc: "No byte moves in a body, either way.",
};
pub(crate) static REQUEST: Key<OrNone<Time>, Or<Option<Duration>>> = Key {
    name: "request",
    kind: OrNone(Time { least: Duration::from_secs(1), most: Duration::from_hours(7 * 24) }),
    absent: Or(Some(Duration::from_hours(24))),
    doc: "A whole request, from the first byte of its head to the last of its body, or \"none\" for no bound; beyond it the \
          client gets 408.",
};
pub(crate) static KEEPALIVE_AGE: Key<OrNone<Time>, Or<Option<Duration>>> = Key {
    name: "keepalive_age",
    kind: OrNone(Time { least: Duration::from_secs(1), most: Duration::from_hours(7 * 24) }),
    absent: Or(Some(Duration::from_hours(1))),
    doc: "A client's connection that is so old gets one more answer, which says that it is the last; or \"none\" for no \
          bound.",
};
pub(crate) static ANSWER: Key<Time, Or<Duration>> = Key {
    name: "answer",
    kind: Time { least: Duration::from_millis(100), most: Duration::from_hours(24) },
    absent: Or(Duration::from_secs(75)),
    doc: "From the whole request to the head of the node's answer; beyond it the client gets 504. A request of an \
          Engine.IO session waits at least its ping interval and timeout.",
};
pub(crate) static IDLE: Key<Time, Or<Duration>> = Key {
    name: "idle",
    kind: Time { least: Duration::from_millis(100), most: Duration::from_hours(1) },
    absent: Or(Duration::from_secs(75)),
    doc: "A client's connection between two requests.",
};
pub(crate) static TUNNEL: Key<Time, Or<Duration>> = Key {
    name: "tunnel",
    kind: Time { least: Duration::from_secs(1), most: Duration::from_hours(7 * 24) },
    absent: Or(Duration::from_hours(1)),
    doc: "A tunnel, or a stream of server-sent events, through which no byte moves. A tunnel that carries Engine.IO \
          is cut after its ping interval and timeout instead.",
};

pub(crate) static LOG: Sub = Sub {
    name: "log",
    shape: Shape::One,
    section: &Section { doc: "The access log.", keys: &[&ACCESS, &FORMAT], later: &[] },
};
pub(crate) static ACCESS: Key<LogPlace, Or<AccessLog>> = Key {
    name: "access",
    kind: LogPlace,
    absent: Or(AccessLog::Stdout),
    doc: "Where the lines go: \"stdout\", \"off\", or the path of a file, which is opened again on SIGUSR1. Relative \
          to the folder of this file.",
};
pub(crate) static FORMAT: Key<Word<LogFormat>, Or<LogFormat>> = Key {
    name: "format",
    kind: Word(&[("json", LogFormat::Json), ("combined", LogFormat::Combined)]),
    absent: Or(LogFormat::Json),
    doc: "How a line looks: a JSON object, or nginx's `combined`.",
};

pub(crate) static DRAIN: Sub = Sub {
    name: "drain",
    shape: Shape::One,
    section: &Section {
        doc: "How sessions leave: those of a node that is drained or removed, and all of them when the proxy is told \
              to stop.",
        keys: &[&WINDOW, &DEADLINE],
        later: &[],
    },
};
pub(crate) static WINDOW: Key<Time, Or<Duration>> = Key {
    name: "window",
    kind: Time { least: Duration::ZERO, most: Duration::from_hours(24) },
    absent: Or(Duration::from_secs(10)),
    doc: "The sessions of what leaves are spread over so long, so that their clients do not all come back at once. \
          Not longer than `deadline`, and as long as it when left out beside a shorter one.",
};
pub(crate) static DEADLINE: Key<Time, Or<Duration>> = Key {
    name: "deadline",
    kind: Time { least: Duration::ZERO, most: Duration::from_hours(24) },
    absent: Or(Duration::from_secs(30)),
    doc: "How long running requests and tunnels may take to finish.",
};

pub(crate) static ADMIN: Sub = Sub {
    name: "admin",
    shape: Shape::One,
    section: &Section {
        doc: "How the running tidelock is talked to, and whether it follows this file.",
        keys: &[&SOCKET, &WATCH],
        later: &[],
    },
};
pub(crate) static SOCKET: Key<SocketPlace, Optional> = Key {
    name: "socket",
    kind: SocketPlace,
    absent: Optional(
        "`tidelock/admin.sock` under $XDG_RUNTIME_DIR, or under the system's run directory for root",
    ),
    doc: "Where the verbs of the command line reach it: the path of a Unix socket, or \"off\" for none. Relative to \
          the folder of this file.",
};
pub(crate) static WATCH: Key<Flag, Or<bool>> = Key {
    name: "watch",
    kind: Flag,
    absent: Or(false),
    doc: "Whether this file is watched, and applied when it changes.",
};

pub(crate) static RESOLVER: Sub = Sub {
    name: "resolver",
    shape: Shape::One,
    section: &Section {
        doc: "Who is asked for the addresses of nodes that have a name. What stands in /etc/hosts is not asked for.",
        keys: &[&NAMESERVERS, &TTL_MAX],
        later: &[],
    },
};
pub(crate) static NAMESERVERS: Key<Nameservers, Optional> = Key {
    name: "nameservers",
    kind: Nameservers,
    absent: Optional("the system's, in /etc/resolv.conf"),
    doc: "DNS resolvers, as \"127.0.0.1:53\" or without the port when it is 53. Names are asked for as they are \
          written: no search domain is tried.",
};
pub(crate) static TTL_MAX: Key<Time, Or<Duration>> = Key {
    name: "ttl_max",
    kind: Time { least: Duration::from_secs(1), most: Duration::from_hours(24) },
    absent: Or(Duration::from_secs(5)),
    doc: "A name is asked for again when its TTL ends, and at the latest after so long: resolvers inside of \
          containers promise minutes and change within seconds. The last answer stays while nobody answers.",
};

/// The same key in an upstream.
const fn inherited(key: &Key<Time, Or<Duration>>) -> Key<Time, Optional> {
    let Time { least, most } = key.kind;
    Key {
        name: key.name,
        kind: Time { least, most },
        absent: Optional("as in the file's own `[timeouts]`"),
        doc: key.doc,
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
