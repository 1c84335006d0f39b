//! What is measured, as data: each row is what the load does, what of it is shown, and which bar it has to reach.

/// One row.
#[derive(Debug)]
pub(crate) struct Row {
    /// As `--rows` takes it.
    pub(crate) name: &'static str,
    /// For the table.
    pub(crate) says: &'static str,
    pub(crate) group: Group,
    cell: Cell,
    /// The same with more of something: the row is about what that costs.
    grown: Option<Cell>,
    /// Which of the others are measured, too.
    pub(crate) beside: Beside,
    /// The load comes at this share of what nginx reaches in `http-128`, whether or not there are answers.
    pub(crate) rate_of: Option<f64>,
    pub(crate) shows: &'static [Metric],
    pub(crate) bars: &'static [Bar],
}

/// What stands behind the proxy, how the proxy is set up, and what the load does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cell {
    pub(crate) tls: bool,
    pub(crate) nodes: u32,
    pub(crate) routes: u32,
    pub(crate) serves: Serves,
    /// Whether bodies are long, so that a proxy with a setting for them gets it.
    pub(crate) long_bodies: bool,
    /// The words of tidelock-load's command line; nothing when the start alone is measured.
    pub(crate) load: &'static str,
}

/// What the proxy does for its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serves {
    /// It asks a node.
    Nodes,
    /// It asks a node, and compresses what comes.
    Compressed,
    /// It has files.
    Files,
    /// It asks a node, and counts how often each client asks; nobody asks too often.
    Limited,
    /// It asks a node for those who have a password.
    Authenticated,
}

/// Which rows belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// What there is a bar for.
    Core,
    /// What is good to know.
    More,
    /// What more of something costs.
    Growth,
}

/// Whom tidelock is measured beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beside {
    All,
    /// nginx, and nginx once more: what the row is about HAProxy does not do.
    NginxTwice,
    /// nginx alone, whose growth shows how much of tidelock's is the system's.
    Nginx,
    /// Nobody: others have nothing of the kind, or do not need it.
    Nobody,
}

/// One number of what was measured. Less is better, except for `PerSecond`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// CPU time of the proxy for each.
    Cpu,
    PerSecond,
    P50,
    P99,
    /// Memory for each.
    Bytes,
    /// From its start to its first answer.
    Start,
    /// Bytes of an answer, with its head.
    Size,
}

/// What tidelock has to reach.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    /// At most so many times that of nginx.
    Nginx(Metric, f64),
    /// At most so many times that of HAProxy.
    Haproxy(Metric, f64),
    /// At most so much.
    AtMost(Metric, f64),
    /// At most so many times that of the smaller cell.
    Growth(Metric, f64),
}

impl Row {
    pub(crate) fn cells(&self) -> Vec<Cell> {
        [Some(self.cell), self.grown].into_iter().flatten().collect()
    }
}

impl Group {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::More => "more",
            Self::Growth => "growth",
        }
    }
}

impl Metric {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cpu => "µs CPU each",
            Self::PerSecond => "per second",
            Self::P50 => "p50, µs",
            Self::P99 => "p99, µs",
            Self::Bytes => "bytes each",
            Self::Start => "ms",
            Self::Size => "bytes sent each",
        }
    }
}

impl Bar {
    pub(crate) fn metric(self) -> Metric {
        match self {
            Self::Nginx(metric, _)
            | Self::Haproxy(metric, _)
            | Self::AtMost(metric, _)
            | Self::Growth(metric, _) => metric,
        }
    }
}

use Bar::{AtMost, Growth, Haproxy, Nginx};
use Metric::{Bytes, Cpu, P50, P99, PerSecond, Size, Start};

pub(crate) const fn plain(load: &'static str) -> Cell {
    Cell { tls: false, nodes: 3, routes: 1, serves: Serves::Nodes, long_bodies: false, load }
}

const fn tls(load: &'static str) -> Cell {
    Cell { tls: true, ..plain(load) }
}

const fn long(cell: Cell) -> Cell {
    Cell { long_bodies: true, ..cell }
}

/// A file that the proxy has, at the path that `load` asks for.
const fn file(name: &'static str, says: &'static str, cell: Cell, bars: &'static [Bar]) -> Row {
    let cell = Cell { serves: Serves::Files, ..cell };
    Row { beside: Beside::NginxTwice, ..core(name, says, cell, &[Cpu, PerSecond], bars) }
}

const fn core(
    name: &'static str,
    says: &'static str,
    cell: Cell,
    shows: &'static [Metric],
    bars: &'static [Bar],
) -> Row {
    Row { name, says, group: Group::Core, cell, grown: None, beside: Beside::All, rate_of: None, shows, bars }
}

/// A route that does not let everybody pass.
const fn guarded(name: &'static str, says: &'static str, serves: Serves, load: &'static str) -> Row {
    let cell = Cell { serves, ..plain(load) };
    Row { beside: Beside::NginxTwice, ..core(name, says, cell, &[Cpu, PerSecond], &[Nginx(Cpu, 1.0)]) }
}

const fn more(name: &'static str, says: &'static str, cell: Cell, shows: &'static [Metric]) -> Row {
    Row { group: Group::More, ..core(name, says, cell, shows, &[]) }
}

const fn growth(name: &'static str, says: &'static str, cell: Cell, grown: Cell) -> Row {
    let row = core(name, says, cell, &[Cpu], &[Growth(Cpu, 1.10)]);
    Row { group: Group::Growth, grown: Some(grown), beside: Beside::Nobody, ..row }
}

/// The row that says what nginx can do at most.
pub(crate) const CAPACITY: &str = "http-128";
/// Its load.
pub(crate) const CAPACITY_LOAD: &str = "http -c 64";

/// All rows, in the order in which they are measured.
pub(crate) const ROWS: &[Row] = &[
    core(
        CAPACITY,
        "HTTP/1.1 keep-alive, 128 B, 64 connections",
        plain(CAPACITY_LOAD),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 0.92), Haproxy(Cpu, 0.80)],
    ),
    core("latency-1", "the same, one connection", plain("http -c 1"), &[P50, P99], &[Nginx(P50, 1.0)]),
    Row {
        rate_of: Some(0.7),
        ..core(
            "latency-70",
            "the same at 70 % of nginx's most",
            plain("http -c 64"),
            &[P50, P99],
            &[Nginx(P99, 1.0)],
        )
    },
    core(
        "tls-128",
        "HTTP/1.1 over TLS 1.3, 128 B, 64 connections",
        tls("http -c 64"),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 0.85)],
    ),
    core(
        "http2-128",
        "HTTP/2 over TLS 1.3, 128 B, 16 connections of 8 streams",
        tls("http2 -c 16 --streams 8"),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 1.3)],
    ),
    core(
        "http2-1m",
        "HTTP/2 over TLS 1.3, answers of 1 MiB, 4 connections of 4 streams",
        long(tls("http2 -c 4 --streams 4 --target /bytes/1048576")),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 0.80)],
    ),
    core(
        "down-1m",
        "answers of 1 MiB, 16 connections",
        long(plain("http -c 16 --target /bytes/1048576")),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 0.60)],
    ),
    core(
        "up-1m",
        "request bodies of 1 MiB, 16 connections",
        long(plain("http -c 16 --upload 1048576")),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 0.60)],
    ),
    core(
        "new",
        "a connection for each request",
        plain("http -c 32 --new"),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 1.0)],
    ),
    core(
        "tls-full",
        "a full TLS 1.3 handshake for each request",
        tls("http -c 16 --new"),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 1.0)],
    ),
    core(
        "echo-64",
        "WebSocket echo, 64 B, 100 sockets",
        plain("echo -c 100 --bytes 64"),
        &[Cpu, PerSecond],
        &[Nginx(Cpu, 1.0), Haproxy(Cpu, 0.80)],
    ),
    core(
        "idle-websocket",
        "idle WebSocket, 9,000 of them",
        plain("hold -c 9000 websocket"),
        &[Bytes],
        &[AtMost(Bytes, 1500.0)],
    ),
    core(
        "idle-tls-websocket",
        "idle WebSocket over TLS, 4,000 of them",
        tls("hold -c 4000 websocket"),
        &[Bytes],
        &[AtMost(Bytes, 12_000.0)],
    ),
    core(
        "idle-keep-alive",
        "idle keep-alive connection, 9,000 of them",
        plain("hold -c 9000 keep-alive"),
        &[Bytes],
        &[Nginx(Bytes, 1.0)],
    ),
    file(
        "file-1k",
        "a file of 1 KiB, 64 connections",
        plain("http -c 64 --target /1k.js"),
        &[Nginx(Cpu, 0.95)],
    ),
    file("tls-file-1k", "the same over TLS 1.3", tls("http -c 64 --target /1k.js"), &[Nginx(Cpu, 0.80)]),
    file(
        "file-1m",
        "a file of 1 MiB, 16 connections",
        plain("http -c 16 --target /1m.bin"),
        &[Nginx(Cpu, 1.0)],
    ),
    file("tls-file-1m", "the same over TLS 1.3", tls("http -c 16 --target /1m.bin"), &[Nginx(Cpu, 1.0)]),
    Row {
        beside: Beside::NginxTwice,
        ..core(
            "gzip-64k",
            "gzip of an answer of 64 KiB of JSON, 16 connections",
            Cell { serves: Serves::Compressed, ..plain("http -c 16 --target /json/65536 GZIP") },
            &[Cpu, PerSecond, Size],
            &[Nginx(Cpu, 0.85), Nginx(Size, 1.0)],
        )
    },
    guarded("limited", "a route with a limit, 128 B, 64 connections", Serves::Limited, "http -c 64"),
    guarded(
        "authenticated",
        "a route with passwords (apr1), 128 B, 64 connections",
        Serves::Authenticated,
        "http -c 64 PASSWORD",
    ),
    more(
        "browser-128",
        "HTTP/1.1 with a browser's headers, 128 B",
        plain("http -c 64 BROWSER"),
        &[Cpu, PerSecond],
    ),
    more(
        "down-16k",
        "answers of 16 KiB, 64 connections",
        long(plain("http -c 64 --target /bytes/16384")),
        &[Cpu, PerSecond],
    ),
    more(
        "up-16k",
        "request bodies of 16 KiB, 64 connections",
        long(plain("http -c 64 --upload 16384")),
        &[Cpu, PerSecond],
    ),
    more(
        "tls-down-1m",
        "answers of 1 MiB over TLS, 16 connections",
        long(tls("http -c 16 --target /bytes/1048576")),
        &[Cpu, PerSecond],
    ),
    more(
        "tls-resumed",
        "a resumed TLS session for each request",
        tls("http -c 16 --new --resume"),
        &[Cpu, PerSecond],
    ),
    more(
        "echo-64-4000",
        "WebSocket echo, 64 B, 4,000 sockets",
        plain("echo -c 4000 --bytes 64"),
        &[Cpu, PerSecond],
    ),
    more(
        "echo-4k",
        "WebSocket echo, 4 KiB, 100 sockets",
        plain("echo -c 100 --bytes 4096"),
        &[Cpu, PerSecond],
    ),
    more(
        "echo-4k-4000",
        "WebSocket echo, 4 KiB, 4,000 sockets",
        plain("echo -c 4000 --bytes 4096"),
        &[Cpu, PerSecond],
    ),
    more(
        "echo-tls-64",
        "WebSocket echo over TLS, 64 B, 100 sockets",
        tls("echo -c 100 --bytes 64"),
        &[Cpu, PerSecond],
    ),
    more(
        "fan-out",
        "one Socket.IO message in, 4,000 out, 10 a second",
        plain("room -c 4000 --rate 10 --socketio"),
        &[Cpu, P50, P99],
    ),
    more(
        "polling",
        "Engine.IO by polling, a message there and back",
        plain("polling -c 64"),
        &[Cpu, PerSecond],
    ),
    more("start", "start to first answer", plain(""), &[Start]),
    Row {
        beside: Beside::Nginx,
        ..growth(
            "grow-connections",
            "10 → 9,000 connections, 10 requests under way",
            plain("http -c 10 --in-flight 10"),
            plain("http -c 9000 --in-flight 10"),
        )
    },
    growth(
        "grow-routes",
        "1 → 1,000 routes, the last of them asked for",
        plain("http -c 64"),
        Cell { routes: 1000, ..plain("http -c 64") },
    ),
    Row {
        beside: Beside::Nginx,
        ..growth(
            "grow-nodes",
            "3 → 1,000 nodes",
            plain("http -c 64"),
            Cell { nodes: 1000, ..plain("http -c 64") },
        )
    },
    growth(
        "grow-sessions",
        "64 → 1,000,000 sessions, polling in turn",
        plain("polling -c 64"),
        plain("polling -c 64 --sessions 1000000"),
    ),
];

/// The name `apr` and the password `secret`.
pub(crate) const PASSWORD: &str = "Authorization: Basic YXByOnNlY3JldA==";

/// What a browser says beside Host, each word of the load's command line ended by a bar.
pub(crate) const BROWSER: &[&str] = &[
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.9",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://www.example.com/",
    "Cookie: theme=dark; visitor=0123456789abcdef0123456789abcdef",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
];
