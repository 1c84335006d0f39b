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
use super::kinds::{Count, FilePath, Flag, LogPlace, SecretTexts, SocketPlace, Time, Word};
use super::proxies::{Trusted, Trusts};
use super::sections::limits::LIMITS;
use super::sections::outliers::OUTLIERS;
use super::sections::rebalance::REBALANCE;
use super::sections::timeouts::{TIMEOUTS, UPSTREAM_TIMEOUTS};
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
          one out a day later. \"file:PATH\" is read from a file, relative to the folder of this one, at each reload anew.",
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
            &OUTLIERS,
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
