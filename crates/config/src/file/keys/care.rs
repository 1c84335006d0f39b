//! The keys of an upstream's health and admission.

use std::time::Duration;

use super::super::declared::{Key, Optional, Or, Section, Shape, Sub};
use super::super::kinds::care::{Rate, RequestPath, Statuses, Text};
use super::super::kinds::{Count, OrNone, Time, Word};

/// The kinds of probes, by their words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProbeWord {
    None,
    Tcp,
    Http,
    EngineIo,
}

pub(crate) static TRY_TIMEOUT: Key<OrNone<Time>, Or<Option<Duration>>> = Key {
    name: "try_timeout",
    kind: OrNone(Time { least: Duration::from_millis(10), most: Duration::from_hours(1) }),
    absent: Or(None),
    doc: "A GET, HEAD or OPTIONS without a session whose node has not begun to answer by then is asked of another \
          node, if there is one; \"none\" waits as long as `timeouts.answer`.",
};
pub(crate) static RETRY_PERCENT: Key<Count, Or<u64>> = Key {
    name: "retry_percent",
    kind: Count { least: 0, most: 1_000 },
    absent: Or(20),
    doc: "Second tries of requests that may have reached a node, in percent of the requests of the last 10 s, and \
          10 more. Beyond it the first fault is the answer.",
};
pub(crate) static HANDSHAKE_RATE: Key<OrNone<Rate>, Or<Option<u64>>> = Key {
    name: "handshake_rate",
    kind: OrNone(Rate { least: 1, most: 1_000_000 }),
    absent: Or(None),
    doc: "New sessions a second for each node, or \"none\" for no bound. More of them wait for their turn, first \
          come, first served; what belongs to a session never waits.",
};
pub(crate) static HANDSHAKE_WAIT: Key<Time, Or<Duration>> = Key {
    name: "handshake_wait",
    kind: WAIT,
    absent: Or(Duration::from_secs(15)),
    doc: "How long a new session waits for its turn; those who could not have it by then get 503 at once. Clients of \
          Socket.IO give up after 20 s.",
};
pub(crate) static FULL_WAIT: Key<Time, Or<Duration>> = Key {
    name: "full_wait",
    kind: WAIT,
    absent: Or(Duration::from_secs(1)),
    doc: "How long a request waits while every node is full, before it gets 503.",
};
pub(crate) static DOWN_WAIT: Key<Time, Or<Duration>> = Key {
    name: "down_wait",
    kind: WAIT,
    absent: Or(Duration::from_secs(2)),
    doc: "How long a request waits while no node can be reached, before it gets 503: nodes that are restarted are mostly \
          back by then. A POST waits if nothing of it has reached a node; what may be asked twice \
          also otherwise, within `retry_percent`.",
};

pub(crate) static HEALTH: Sub = Sub {
    name: "health",
    shape: Shape::One,
    section: &Section {
        doc: "How it is seen that nodes are well.",
        keys: &[
            &PROBE,
            &PROBE_PATH,
            &PROBE_STATUS,
            &PROBE_BODY,
            &INTERVAL,
            &TIMEOUT,
            &RISE,
            &FALL,
            &JITTER,
            &SLOW_START,
        ],
        later: &[],
    },
};
pub(crate) static PROBE: Key<Word<ProbeWord>, Or<ProbeWord>> = Key {
    name: "probe",
    kind: Word(&[
        ("none", ProbeWord::None),
        ("tcp", ProbeWord::Tcp),
        ("http", ProbeWord::Http),
        ("engineio", ProbeWord::EngineIo),
    ]),
    absent: Or(ProbeWord::None),
    doc: "What every node is asked all the time: whether it takes a connection, answers a GET, or opens an Engine.IO \
          session, which is closed again. With \"none\" only nodes that failed are asked, for any answer at all.",
};
pub(crate) static PROBE_PATH: Key<RequestPath, Optional> = Key {
    name: "path",
    kind: RequestPath,
    absent: Optional("\"/\", or \"/socket.io/\" for \"engineio\""),
    doc: "Path, with a query if need be, of the probes \"http\" and \"engineio\".",
};
pub(crate) static PROBE_STATUS: Key<Statuses, Optional> = Key {
    name: "status",
    kind: Statuses,
    absent: Optional("\"200-399\""),
    doc: "Statuses of a node that is well, for the probe \"http\": \"204\", or \"200-299, 304\".",
};
pub(crate) static PROBE_BODY: Key<Text, Optional> = Key {
    name: "body",
    kind: Text { bytes_max: 1024 },
    absent: Optional("any body"),
    doc: "What the first 64 KiB of the answer's body must hold. For the probe \"http\".",
};
pub(crate) static INTERVAL: Key<Time, Or<Duration>> = Key {
    name: "interval",
    kind: Time { least: Duration::from_millis(100), most: Duration::from_hours(1) },
    absent: Or(Duration::from_secs(2)),
    doc: "Between two probes of a node. One that is down is probed at least twice a second. A node's state changes at \
          most once in two intervals, unless its machine refuses connections.",
};
pub(crate) static TIMEOUT: Key<Time, Or<Duration>> = Key {
    name: "timeout",
    kind: Time { least: Duration::from_millis(10), most: Duration::from_secs(60) },
    absent: Or(Duration::from_secs(1)),
    doc: "A probe that takes longer has failed.",
};
pub(crate) static RISE: Key<Count, Or<u64>> = Key {
    name: "rise",
    kind: Count { least: 1, most: 100 },
    absent: Or(2),
    doc: "So many good probes in a row bring a node back.",
};
pub(crate) static FALL: Key<Count, Or<u64>> = Key {
    name: "fall",
    kind: Count { least: 1, most: 100 },
    absent: Or(3),
    doc: "So many failed probes in a row take a node out.",
};
pub(crate) static JITTER: Key<Count, Or<u64>> = Key {
    name: "jitter_percent",
    kind: Count { least: 0, most: 100 },
    absent: Or(20),
    doc: "Each interval is longer or shorter by up to so many percent, so that nodes are not probed in step.",
};
pub(crate) static SLOW_START: Key<Time, Or<Duration>> = Key {
    name: "slow_start",
    kind: Time { least: Duration::ZERO, most: Duration::from_hours(1) },
    absent: Or(Duration::from_secs(10)),
    doc: "A node that came back, or is new beside others, has its full share after so long. Until then it gets at \
          most twice its even share of new sessions.",
};

const WAIT: Time = Time { least: Duration::ZERO, most: Duration::from_secs(60) };
