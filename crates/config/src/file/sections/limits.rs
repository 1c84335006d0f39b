//! `[limits]`.

use std::time::Duration;

use crate::file::declare::declare;
use crate::file::kinds::{Count, OrNone, Size, Time};

declare! {
    /// The bounds of every buffer, queue and map, and of what a tunnel may carry, as the file's `[limits]` sets them. Sizes
    /// are in bytes; `None` is no bound.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Limits in LIMITS = "limits", One:
        "Bounds of buffers, queues and maps, and of what a WebSocket tunnel may carry.";
    keys {
        /// Longest target of a request line; beyond it the client gets 414.
        TARGET_BYTES_MAX target_bytes_max: usize = 8 * KIB, Size { least: 256, most: 64 * KIB };
        /// Longest head of a request or an answer; beyond it the client gets 431, or 502 when it is the node's. The first line
        /// and every header line count, with their line ends.
        HEAD_BYTES_MAX head_bytes_max: usize = 32 * KIB, Size { least: KIB, most: MIB };
        /// Most header lines in one head; beyond it the client gets 431, or 502 when it is the node's.
        HEADER_LINES_MAX header_lines_max: usize = 100, Count { least: 16, most: 256 };
        /// Longest body of a request, or "none" for no bound; beyond it the client gets 413.
        BODY_BYTES_MAX body_bytes_max: Option<u64> = None, OrNone<Size>(Size { least: KIB, most: 1 << 40 });
        /// One buffer of a body or a tunnel. No body is held beyond one of them in each direction.
        BUFFER_BYTES buffer_bytes: usize = 64 * KIB, Size { least: 4 * KIB, most: MIB };
        /// What tidelock may take of memory, its apps not counted. From three quarters of it on new connections come in slowly,
        /// and those that rest are closed; from nine tenths on requests get 503.
        MEMORY memory: Option<u64> => "half of what the cgroup or the machine has",
            Size { least: 16 * MIB, most: 1 << 40 };
        /// Most client connections at once; 0 is as many as the open-file limit allows, two files a connection. Beyond it the
        /// connection that has rested longest between two requests is closed for a new one, or else one that has not said a
        /// byte; where all are busy, new ones wait.
        CONNECTIONS_MAX connections_max: usize = 0, Count { least: 0, most: 10_000_000 };
        /// Most connections of one client at once: of an IPv4 address, or of the /64 of an IPv6 address. 0 is an eighth of
        /// `connections_max`, and 64 at least, while more than half of all places are taken, and else no bound. Beyond it they
        /// are closed at once. Peers in `trusted_proxies` are not bounded.
        CONNECTIONS_PER_CLIENT_MAX connections_per_client_max: usize = 0, Count { least: 0, most: 10_000_000 };
        /// Most new connections of one client in a second; a second's worth may come at once. 0 is 1000 while more than half of
        /// all places are taken, and else no bound.
        CLIENT_CONNECTIONS_PER_SECOND_MAX client_connections_per_second_max: u32 = 0, Count { least: 0, most: 1_000_000 };
        /// Most TLS handshakes of one client in a second; a second's worth may come at once. 0 is 200 while more than half of all
        /// places are taken, and else no bound.
        CLIENT_HANDSHAKES_PER_SECOND_MAX client_handshakes_per_second_max: u32 = 0, Count { least: 0, most: 1_000_000 };
        /// Most Engine.IO sessions remembered for an upstream; beyond it those go that were never used, or that have been silent
        /// longest. Each takes up to 200 bytes, and its id.
        SESSIONS_MAX sessions_max: usize = 1_000_000, Count { least: 1_000, most: 100_000_000 };
        /// Bytes of a request's body that must come in a second, at least, on the whole; 0 is no bound. Only waiting for the
        /// client counts, not for the node, `timeouts.body` more is given, and there is no bound once the node has begun to
        /// answer. Beyond it the client gets 408.
        BODY_BYTES_PER_SECOND_MIN body_bytes_per_second_min: u32 = 240, Count { least: 0, most: 1_000_000_000 };
        /// Bytes of an answer that a client must take in a second, at least, while there are some for it; 0 is no bound.
        /// `timeouts.body` more is given. Beyond it the connection is closed.
        ANSWER_BYTES_PER_SECOND_MIN answer_bytes_per_second_min: u32 = 240, Count { least: 0, most: 1_000_000_000 };
        /// Most requests on one connection of a client; 0 is no bound. The last answer says that it is the last.
        KEEPALIVE_REQUESTS keepalive_requests: u16 = 10_000, Count { least: 0, most: 65_535 };
        /// Most idle connections a worker keeps open to one node.
        ORIGIN_IDLE_MAX origin_idle_max: usize = 128, Count { least: 0, most: 10_000 };
        /// Most nodes tried for one request that may be tried again.
        ATTEMPTS_MAX attempts_max: usize = 3, Count { least: 1, most: 16 };
        /// Longest message in a WebSocket tunnel, either way, as it is sent, compressed or not, or "none" for no bound; beyond it
        /// both ends get Close 1009.
        MESSAGE_BYTES_MAX message_bytes_max: Option<u64> = None, OrNone<Size>(Size { least: 1, most: 1 << 40 });
        /// Most messages a client may send in a second through one WebSocket tunnel; 0 is no bound. A message counts once, however
        /// many frames it has; pings and the like may be ten times as many, and 100 at least. Beyond it the tunnel is closed with
        /// 1008.
        MESSAGES_PER_SECOND_MAX messages_per_second_max: u32 = 0, Count { least: 0, most: 1_000_000 };
        /// Longest life of a WebSocket tunnel, or "none" for no bound. It is closed with 1012 between 90 % and 100 % of it, so
        /// that tunnels that began together do not end together.
        TUNNEL_AGE_MAX tunnel_age_max: Option<Duration> = None,
            OrNone<Time>(Time { least: Duration::from_secs(1), most: Duration::from_hours(365 * 24) });
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
