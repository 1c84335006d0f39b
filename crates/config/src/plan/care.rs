//! What an upstream does for its nodes: how it sees that one is well, what it holds against one, and how it keeps a
//! crowd from overrunning them.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How an upstream sees that its nodes are well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What every node is asked, all the time; `None` (the default) asks only nodes that have failed.
    pub probe: Option<Probe>,
    /// Between two probes of a node (default 2 s, 100 ms to 1 h). A node that is down is probed at least twice a
    /// second until it is back.
    pub interval: Duration,
    /// A probe that takes longer has failed (default 1 s, 10 ms to 1 min).
    pub timeout: Duration,
    /// So many probes in a row bring a node back (default 2, 1 to 100).
    pub rise: u32,
    /// So many failed probes in a row take it out (default 3, 1 to 100).
    pub fall: u32,
    /// Each interval is longer or shorter by up to so many percent of itself (default 20, 0 to 100), so that nodes and
    /// tidelocks do not probe in step.
    pub jitter_percent: u32,
    /// A node that came back, or is new beside others, gets its full share after so long (default 10 s, 0 s to 1 h).
    /// Until then it gets at most twice its even share of new sessions.
    pub slow_start: Duration,
}

/// What a node is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// Whether it takes a connection.
    Tcp,
    /// Whether it answers a GET as it should.
    Http {
        /// Path and query.
        path: String,
        /// The statuses of a node that is well; never empty.
        statuses: Vec<RangeInclusive<u16>>,
        /// What the body of its answer must have in its first 64 KiB.
        body: Option<String>,
    },
    /// Whether it opens an Engine.IO session, which is closed again.
    EngineIo {
        /// The path that Engine.IO is served at.
        path: String,
    },
}

/// What is held against a node by those whose requests it serves. A node that is out by this comes back after a time
/// that doubles with each relapse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outliers {
    /// So many requests in a row without an answer take a node out (default 3, 1 to 1,000). One, if a probe that is
    /// sent after it is not answered either.
    pub failures: u32,
    /// So many answers in a row with a status of 500 and more take it out (default 0, 0 to 1,000); 0 is off, for the
    /// same request would fail at any node.
    pub errors: u32,
    /// So many percent of failed requests and such answers in the period take it out (default 0, 0 to 100); 0 is off.
    pub error_percent: u32,
    /// A median time to the answer of so many times the pool's takes it out (default 0, 0 to 1,000); 0 is off.
    pub latency_factor: u32,
    /// How far back the rate and the median look (default 10 s, 1 s to 10 min).
    pub period: Duration,
    /// With fewer requests in the period nothing is said of a node (default 20, 1 to 1,000,000).
    pub requests_min: u32,
    /// How long a node is out at first (default 10 s, 1 s to 1 h). One that did not answer may be back sooner: as
    /// soon as it answers a probe.
    pub ejection: Duration,
    /// How long it is out at most (default 5 min, 1 s to 24 h). What it did is forgotten once it has been well for as
    /// long.
    pub ejection_max: Duration,
    /// At most so many percent of the pool are out by errors, rate and latency (default 50, 0 to 100). The last node
    /// is never taken out by anything but a refused connection or a probe.
    pub ejected_percent_max: u32,
}

/// How a crowd is kept from overrunning the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// New sessions a second for each node (default none, 1/s to 1,000,000/s); `None` is no bound.
    pub handshake_rate: Option<NonZeroU32>,
    /// How long a new session waits for its turn (default 15 s, 0 s to 60 s); those who could not have it by then are
    /// told 503 at once. Clients of Socket.IO wait 20 s.
    pub handshake_wait: Duration,
    /// How long a request waits while every node is full (default 1 s, 0 s to 60 s).
    pub full_wait: Duration,
    /// How long a request waits while no node can be reached (default 2 s, 0 s to 60 s).
    pub down_wait: Duration,
    /// Second tries of requests that may have reached a node, in percent of the requests of the last 10 s (default 20,
    /// 0 to 1,000), and 10 more. Beyond it the first fault is the answer.
    pub retry_percent: u32,
}
