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
