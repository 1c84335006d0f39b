//! `[timeouts]`, and those of an upstream, which are some of them.

use std::time::Duration;

use crate::file::declare::{Difference, declare, optional_value};
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

/// The keys of `[timeouts]` that an upstream may say otherwise, and a route to it again. They are the same keys there, but
/// that to leave one out means something else.
macro_rules! own {
    ($($key:ident $field:ident, $of_upstream:ident, $of_route:ident;)+) => {
        /// What the table of an upstream, or of a route to it, says otherwise.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct OwnTimeouts {
            $(
                #[doc = concat!("In the place of [`Timeouts::", stringify!($field), "`].")]
                pub $field: Option<Duration>,
            )+
        }

        pub(crate) static UPSTREAM_TIMEOUTS: Sub = Sub {
            name: TIMEOUTS.name,
            shape: Shape::One,
            section: &Section {
                doc: "How long each wait may last at this upstream.",
                keys: &[$(&$of_upstream,)+],
            },
        };
        pub(crate) static ROUTE_TIMEOUTS: Sub = Sub {
            name: TIMEOUTS.name,
            shape: Shape::One,
            section: &Section {
                doc: "How long each wait may last for requests of this route, whatever its upstream says.",
                keys: &[$(&$of_route,)+],
            },
        };
        $(
            static $of_upstream: Key<Time, Optional> = inherited(&$key, "as in the file's own `[timeouts]`");
            static $of_route: Key<Time, Optional> = inherited(&$key, "as its upstream has it");
        )+

        impl OwnTimeouts {
            /// Reads either of both tables.
            pub(crate) fn read(fields: &Fields<'_>) -> Self {
                Self { $( $field: fields.optional(&$of_upstream), )+ }
            }

            /// Returns what a reload says of it: each key that differs in `new`.
            pub(crate) fn differences(&self, new: &Self) -> Vec<Difference> {
                let mut said = Vec::new();
                $(
                    if self.$field != new.$field {
                        let of = |own: &Self| optional_value(&$of_upstream.kind, &own.$field);
                        said.push(Difference::of_key($key.name, of(self), of(new)));
                    }
                )+
                said
            }
        }

        impl Timeouts {
            /// With what is said otherwise in the place of what these say.
            pub(crate) fn with(&self, own: OwnTimeouts) -> Self {
                Self { $( $field: own.$field.unwrap_or(self.$field), )+ ..*self }
            }
        }
    };
}

own! {
    CONNECT connect, UPSTREAM_CONNECT, ROUTE_CONNECT;
    BODY body, UPSTREAM_BODY, ROUTE_BODY;
    ANSWER answer, UPSTREAM_ANSWER, ROUTE_ANSWER;
    TUNNEL tunnel, UPSTREAM_TUNNEL, ROUTE_TUNNEL;
}

/// The same key in an upstream or a route.
const fn inherited(key: &Key<Time, Or<Duration>>, absent: &'static str) -> Key<Time, Optional> {
    let Time { least, most } = key.kind;
    Key { name: key.name, kind: Time { least, most }, absent: Optional(absent), doc: key.doc }
}
