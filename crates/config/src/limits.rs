//! The bounds of every buffer, queue and map, and of what a tunnel may carry, with their defaults and ranges.

use std::time::Duration;

/// Bounds, as the file's `[limits]` sets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest request line's target, in bytes (default 8 KiB, 256 B to 64 KiB); beyond it the client gets 414.
    pub target_bytes_max: usize,
    /// Longest head of a request or an answer, in bytes (default 32 KiB, 1 KiB to 1 MiB); beyond it the client gets
    /// 431, or 502 when it is the node's. Counts the first line and every header line with its CRLF (RFC 9110
    /// section 5.4 leaves the bound to us).
    pub head_bytes_max: usize,
    /// Most header lines in one head (default 100, 16 to 256); beyond it 431, or 502 when it is the node's.
    pub header_lines_max: usize,
    /// Longest body of a request, in bytes (default none, 1 KiB to 1 TiB); `None` is no bound. Beyond it the client
    /// gets 413.
    pub body_bytes_max: Option<u64>,
    /// One buffer of a body or a tunnel, in bytes (default 64 KiB, 4 KiB to 1 MiB). No body is held beyond one of
    /// them in each direction.
    pub buffer_bytes: usize,
    /// What tidelock may take of memory, its apps not counted, in bytes (16 MiB to 1 TiB); `None`, the default, is half of
    /// what its cgroup or the machine has. From three quarters of it on new connections wait and come in slowly, and
    /// those that rest are closed; from nine tenths on requests get 503.
    pub memory: Option<u64>,
    /// Most client connections at once (default 0, 0 to 10,000,000); 0 is as many as the open-file limit allows, two
    /// files a connection.
    pub connections_max: usize,
    /// Most connections of one client at once (default 0, 0 to 10,000,000): of an IPv4 address, or of the /64 of an IPv6
    /// address. 0 is an eighth of all, and at least 64, while more than half of all places are taken, and else no bound.
    /// Beyond it they are closed at once. Peers in `trusted_proxies` are not bounded.
    pub connections_per_client_max: usize,
    /// Most new connections of one client in a second (default 0, 0 to 1,000,000); 0 is 1,000 while more than half of all
    /// places are taken, and else no bound.
    pub client_connections_per_second_max: u32,
    /// Most TLS handshakes of one client in a second (default 0, 0 to 1,000,000); 0 is 200 while more than half of all
    /// places are taken, and else no bound.
    pub client_handshakes_per_second_max: u32,
    /// Most Engine.IO sessions remembered for an upstream (default 1,000,000, 1,000 to 100,000,000). Beyond it new
    /// sessions are served but not counted.
    pub sessions_max: usize,
    /// Bytes of a request's body that must come in a second, at least, on the whole (default 240, 0 to 1,000,000,000); 0 is
    /// no bound. Only what is waited for the client counts, not what the node takes, and `timeouts.body` more is given.
    /// Beyond it the client gets 408. Once the node has begun to answer there is no bound.
    pub body_bytes_per_second_min: u32,
    /// Bytes of an answer that a client must take in a second, at least, while there are some for it (default 240, 0 to
    /// 1,000,000,000); 0 is no bound. `timeouts.body` more is given. Beyond it the connection is closed.
    pub answer_bytes_per_second_min: u32,
    /// Most requests on one connection of a client (default 10,000, 0 to 65,535); 0 is no bound. The last answer says that it
    /// is the last.
    pub keepalive_requests: u16,
    /// Most idle connections a worker keeps open to one node (default 128, 0 to 10,000).
    pub origin_idle_max: usize,
    /// Most nodes tried for one request that may be tried again (default 3, 1 to 16).
    pub attempts_max: usize,
    /// Longest message in a WebSocket tunnel, either way, in bytes (default none, 1 B to 1 TiB); `None` is no bound.
    /// Counts the payloads of all frames of the message as they are sent, compressed or not. Beyond it both ends get
    /// Close 1009 (RFC 6455 section 7.4.1).
    pub message_bytes_max: Option<u64>,
    /// Most messages a client may send in a second through one WebSocket tunnel (default 0, 0 to 1,000,000); 0 is no
    /// bound. A message counts once, however many frames it has; pings and the like may be ten times as many, and 100 at
    /// least. Beyond it the tunnel is closed with 1008.
    pub messages_per_second_max: u32,
    /// Longest life of a WebSocket tunnel (default none, 1 s to 365 days); `None` is no bound. It is closed with 1012
    /// between 90 % and 100 % of it, so that tunnels that began together do not end together.
    pub tunnel_age_max: Option<Duration>,
}
