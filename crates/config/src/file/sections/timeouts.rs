//! `[timeouts]`, and those of an upstream, which are some of them.

use std::time::Duration;

use crate::file::declare::declare;
use crate::file::declared::{Key, Optional, Or, Section, Shape, Sub};
use crate::file::fields::Fields;
use crate::file::kinds::{OrNone, Time};

declare! {
    /// How long each wait may last. Durations are never zero; `None` is no bound.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Timeouts in TIMEOUTS = "timeouts", One: "How long each wait may last.";
    keys {
        /// TCP connect to a node.
        CONNECT connect: Duration = Duration::from_secs(1),
            Time { least: Duration::from_millis(10), most: Duration::from_secs(60) };
        /// A client's whole request head, from its first byte, and its whole TLS handshake; beyond it the client gets 408. Also
        /// how long a new connection may say nothing.
        HEAD head: Duration = Duration::from_secs(10),
            Time { least: Duration::from_millis(100), most: Duration::from_mins(5) };
        /// No byte moves in a body, either way.
        BODY body: Duration = Duration::from_secs(60),
            Time { least: Duration::from_millis(100), most: Duration::from_hours(1) };
        /// A whole request, from the first byte of its head to the last of its body, or "none" for no bound; beyond it the client
        /// gets 408.
        REQUEST request: Option<Duration> = Some(Duration::from_hours(24)),
            OrNone<Time>(Time { least: Duration::from_secs(1), most: Duration::from_hours(7 * 24) });
        /// From the whole request to the head of the node's answer; beyond it the client gets 504. A request of an Engine.IO
        /// session waits at least its ping interval and timeout.
        ANSWER answer: Duration = Duration::from_secs(75),
            Time { least: Duration::from_millis(100), most: Duration::from_hours(24) };
        /// A client's connection between two requests.
        IDLE idle: Duration = Duration::from_secs(75),
            Time { least: Duration::from_millis(100), most: Duration::from_hours(1) };
        /// A client's connection that is so old gets one more answer, which says that it is the last; or "none" for no bound.
        KEEPALIVE_AGE keepalive_age: Option<Duration> = Some(Duration::from_hours(1)),
            OrNone<Time>(Time { least: Duration::from_secs(1), most: Duration::from_hours(7 * 24) });
        /// A tunnel, or a stream of server-sent events, through which no byte moves. A tunnel that carries Engine.IO is cut after
        /// its ping interval and timeout, and slack, instead.
        TUNNEL tunnel: Duration = Duration::from_hours(1),
            Time { least: Duration::from_secs(1), most: Duration::from_hours(7 * 24) };
    }
}

pub(crate) static UPSTREAM_TIMEOUTS: Sub = Sub {
    name: "timeouts",
    shape: Shape::One,
    section: &Section {
        doc: "How long each wait may last at this upstream.",
        keys: &[&UPSTREAM_CONNECT, &UPSTREAM_BODY, &UPSTREAM_ANSWER, &UPSTREAM_TUNNEL],
    },
};
const OF_THE_FILE: &str = "as in the file's own `[timeouts]`";
static UPSTREAM_CONNECT: Key<Time, Optional> = inherited(&CONNECT, OF_THE_FILE);
static UPSTREAM_BODY: Key<Time, Optional> = inherited(&BODY, OF_THE_FILE);
static UPSTREAM_ANSWER: Key<Time, Optional> = inherited(&ANSWER, OF_THE_FILE);
static UPSTREAM_TUNNEL: Key<Time, Optional> = inherited(&TUNNEL, OF_THE_FILE);

pub(crate) static ROUTE_TIMEOUTS: Sub = Sub {
    name: "timeouts",
    shape: Shape::One,
    section: &Section {
        doc: "How long each wait may last for requests of this route, whatever its upstream says.",
        keys: &[&ROUTE_CONNECT, &ROUTE_BODY, &ROUTE_ANSWER, &ROUTE_TUNNEL],
    },
};
const OF_THE_UPSTREAM: &str = "as its upstream has it";
static ROUTE_CONNECT: Key<Time, Optional> = inherited(&CONNECT, OF_THE_UPSTREAM);
static ROUTE_BODY: Key<Time, Optional> = inherited(&BODY, OF_THE_UPSTREAM);
static ROUTE_ANSWER: Key<Time, Optional> = inherited(&ANSWER, OF_THE_UPSTREAM);
static ROUTE_TUNNEL: Key<Time, Optional> = inherited(&TUNNEL, OF_THE_UPSTREAM);

impl Timeouts {
    /// With what the table of an upstream, or of a route to it, says otherwise: they have the same keys.
    pub(crate) fn at(&self, own: &Fields<'_>) -> Self {
        Self {
            connect: own.optional(&UPSTREAM_CONNECT).unwrap_or(self.connect),
            body: own.optional(&UPSTREAM_BODY).unwrap_or(self.body),
            answer: own.optional(&UPSTREAM_ANSWER).unwrap_or(self.answer),
            tunnel: own.optional(&UPSTREAM_TUNNEL).unwrap_or(self.tunnel),
            ..*self
        }
    }
}

/// The same key in an upstream or a route.
const fn inherited(key: &Key<Time, Or<Duration>>, absent: &'static str) -> Key<Time, Optional> {
    let Time { least, most } = key.kind;
    Key { name: key.name, kind: Time { least, most }, absent: Optional(absent), doc: key.doc }
}
