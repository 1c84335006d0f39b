//! The metrics there are.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// A metric: its name as the formats have it, without what they add for its unit and kind.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) unit: Option<Unit>,
    pub(super) help: &'static str,
}

const fn family(name: &'static str, kind: MetricType, unit: Option<Unit>, help: &'static str) -> Family {
    Family { name, kind, unit, help }
}

use MetricType::{Counter, Gauge, Histogram};

const BYTES: Option<Unit> = Some(Unit::Bytes);
const SECONDS: Option<Unit> = Some(Unit::Seconds);

/// All there are, in the order in which they are printed.
pub(super) const FAMILIES: [Family; 44] = [
    family(
        "tidelock_requests",
        Counter,
        None,
        "Requests that have ended, by the first digit of their status",
    ),
    family(
        "tidelock_request_duration",
        Histogram,
        SECONDS,
        "From the first byte of a request to the end of its answer, without polls and upgrades",
    ),
    family(
        "tidelock_request_queue",
        Histogram,
        SECONDS,
        "How long requests waited for their turn, of those that had to",
    ),
    family("tidelock_request_received", Counter, BYTES, "Content of requests"),
    family("tidelock_request_sent", Counter, BYTES, "Answers, heads included"),
    family("tidelock_request_retries", Counter, None, "Attempts at nodes beside the first one of a request"),
    family(
        "tidelock_request_faults",
        Counter,
        None,
        "Requests and connections that failed or were refused, by why",
    ),
    family(
        "tidelock_route_events",
        Counter,
        None,
        "What limits of routes did beside refusing, and what became of copies for mirrors",
    ),
    family("tidelock_websocket_messages", Counter, None, "WebSocket messages that have passed"),
    family(
        "tidelock_websocket",
        Counter,
        BYTES,
        "Bytes of WebSockets that have passed, with the heads of frames",
    ),
    family("tidelock_websocket_lifetime", Histogram, SECONDS, "How long WebSockets lasted that have ended"),
    family(
        "tidelock_websocket_closes",
        Counter,
        None,
        "WebSockets that have ended, by who ended them and the code of the Close",
    ),
    family("tidelock_node_takes_part", Gauge, None, "1 for a node that is up and not drained"),
    family("tidelock_node_sessions", Gauge, None, "Engine.IO sessions and other WebSockets on a node"),
    family("tidelock_node_websockets", Gauge, None, "WebSockets on a node"),
    family("tidelock_node_requests", Gauge, None, "Requests under way on a node"),
    family("tidelock_node_answers", Counter, None, "Answers of a node, by the first digit of their status"),
    family(
        "tidelock_node_answer_duration",
        Histogram,
        SECONDS,
        "From a request to the head of its node's answer, without polls",
    ),
    family("tidelock_node_failures", Counter, None, "Attempts that a node has failed, by why"),
    family(
        "tidelock_node_falls",
        Counter,
        None,
        "How often a node went down, by its probes, its failures or as an outlier",
    ),
    family("tidelock_connections", Gauge, None, "Connections of clients, WebSockets among them"),
    family("tidelock_connections_parked", Gauge, None, "Of these, those that rest"),
    family("tidelock_connections_accepted", Counter, None, "Connections that were accepted"),
    family(
        "tidelock_connections_refused",
        Counter,
        None,
        "Connections closed at once because of what their address has or does already",
    ),
    family("tidelock_connections_displaced", Counter, None, "Connections closed to make room"),
    family("tidelock_tls_handshakes", Counter, None, "TLS handshakes with clients, by how they ended"),
    family("tidelock_worker_cpu", Counter, SECONDS, "Time that a worker's thread had a core"),
    family("tidelock_worker_wait", Counter, SECONDS, "Time that a worker's thread waited for a core"),
    family(
        "tidelock_worker_delay",
        Histogram,
        SECONDS,
        "How late a worker came to what it does twice a second",
    ),
    family("tidelock_log_lines_lost", Counter, None, "Lines of logs that could not be written"),
    family("tidelock_redis_up", Gauge, None, "1 while the Redis of shared limits answers"),
    family(
        "tidelock_redis_unasked",
        Counter,
        None,
        "Requests whose shared limits were counted here alone, because Redis did not answer",
    ),
    family("tidelock_memory", Gauge, BYTES, "Memory that tidelock takes, without its apps"),
    family("tidelock_memory_limit", Gauge, BYTES, "Memory that it may take (limits.memory)"),
    family("tidelock_overloaded", Gauge, None, "1 while there is too little of something"),
    family("tidelock_leaving", Gauge, None, "1 once it accepts no more and ends when what runs has ended"),
    family(
        "tidelock_reloads",
        Counter,
        None,
        "Times that the file was read again, by whether it was applied",
    ),
    family(
        "tidelock_reload_failed",
        Gauge,
        None,
        "1 while what the file says is not in force because the last reload failed",
    ),
    family(
        "tidelock_upgrades",
        Counter,
        None,
        "Upgrades: the one that this process goes on by, and those that failed in it",
    ),
    family(
        "tidelock_app_instances",
        Gauge,
        None,
        "Processes of an app by their state; `wanted` is how many there are to be",
    ),
    family("tidelock_app_cpu", Gauge, Some(Unit::Ratios), "What an instance takes of one core"),
    family("tidelock_app_memory", Gauge, BYTES, "Resident memory of an instance with its descendants"),
    family(
        "tidelock_app_restarts",
        Counter,
        None,
        "Starts of an instance after an end that nobody asked for",
    ),
    family(
        "tidelock_certificate_expiry_timestamp",
        Gauge,
        SECONDS,
        "Until when clients accept a certificate, in seconds since 1970",
    ),
];
