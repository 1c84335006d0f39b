//! What a person sees, to the letter.

use admin::api::{Upstream, Worker};

use super::*;

#[test]
fn columns_stand_under_each_other() {
    let worker = Worker {
        live: 3,
        parked: 1,
        connections: 40,
        exchanges: 500,
        pinned: 0,
        by_class: [0; 6],
        bytes_in: 0,
        bytes_out: 0,
        tunnels: [0; 4],
        frames_in: 0,
        frames_out: 0,
        closes: [0; 17],
        log_lines_lost: 0,
        refused: [0; 3],
        displaced: [0, 5],
        faults: BTreeMap::from([("request head timed out".to_owned(), 7)]),
        guarded: BTreeMap::from([("delayed by a limit".to_owned(), 3)]),
    };
    let node = Node {
        node: "10.0.0.1:3000".to_owned(),
        address: "10.0.0.1:3000".to_owned(),
        state: "up".to_owned(),
        draining: false,
        removed: false,
        cause: "never asked".to_owned(),
        since_ms: 192_999,
        sessions: 12,
        tunnels: 10,
        in_flight: 3,
        surplus: 0,
        event_streams: 2,
        long_answers: 1,
        answers_per_s: 12.34,
        p50_ms: Some(3.25),
        p99_ms: Some(1250.0),
    };
    let named = Node {
        node: "server2:3000".to_owned(),
        address: "10.0.0.2:3000".to_owned(),
        state: "down".to_owned(),
        draining: true,
        cause: "refused".to_owned(),
        since_ms: 86_400_000 * 3,
        sessions: 0,
        surplus: 2,
        answers_per_s: 0.0,
        p50_ms: None,
        p99_ms: None,
        ..node
    };
    let upstream = Upstream {
        name: "nodes".to_owned(),
        nodes: vec![node, named],
        unverifiable: 0,
        foreign_secret: false,
        stopped: false,
        answers_per_s: 12.34,
        p50_ms: Some(3.25),
        p99_ms: Some(1250.0),
    };
    let idle = Upstream {
        name: "mails".to_owned(),
        nodes: vec![],
        stopped: true,
        answers_per_s: 0.0,
        p50_ms: None,
        p99_ms: None,
        ..upstream
    };
    let status = Status {
        version: "1.2.3".to_owned(),
        pid: 4711,
        file: None,
        background: false,
        leaving: true,
        overload: Some("all 6 places are taken".to_owned()),
        memory: 0,
        memory_max: 0,
        access_lines_lost: 0,
        log_lines_lost: 0,
        upstreams: vec![upstream, idle],
        apps: vec![],
        workers: vec![worker.clone(), worker],
        certificates: vec![],
        redis: None,
    };
    let expected = "\
tidelock 1.2.3, process 4711, leaving: 6 connections and tunnels open; 80 connections, 1000 exchanges since the start
OVERLOADED: all 6 places are taken
failed or refused since the start: 14 request head timed out, 10 silent connections closed for new ones
guards of routes since the start: 6 delayed by a limit

UPSTREAM  NODE                          STATE           CAUSE                           SINCE  REQ/S    P50   P99  SESSIONS  SOCKETS  IN FLIGHT  EVENT STREAMS  LONG ANSWERS
nodes     10.0.0.1:3000                 up              never asked                     3m12s     12  3.2ms  1.2s        12       10          3              2             1
nodes     server2:3000 (10.0.0.2:3000)  down, draining  refused                         3d00h      0      -     -         0       10          3              2             1
nodes     (all)                         1 of 2 up       -                                   -     12  3.2ms  1.2s        12       20          6              4             2
mails     -                             stopped         its app is stopped or given up      -      -      -     -         -        -          -              -             -

nodes: server2:3000 sent bytes behind its answers, 2 times since the start; its connections are used once for a minute \
after each
";
    assert_eq!(of(&status, false), expected);
    let coloured = of(&status, true);
    assert!(coloured.contains("\x1b[31mOVERLOADED: ") && coloured.contains("\x1b[2mstopped"), "{coloured}");
}

#[test]
fn apps_are_shown_with_what_troubles_them() {
    let ready = Instance {
        slot: 0,
        generation: 5,
        state: "ready".to_owned(),
        current: true,
        pid: Some(4712),
        uptime_ms: 61_000,
        restarts: 2,
        cpu_percent: Some(3.25),
        memory: Some(80 << 20),
        address: Some("127.0.0.1:40001".to_owned()),
        next_start_ms: None,
        cause: String::new(),
        messages_lost: 0,
        sessions: 12,
        tunnels: 11,
        in_flight: 1,
        event_streams: 1,
        long_answers: 0,
        answers_per_s: 120.4,
        p50_ms: Some(0.8),
        p99_ms: Some(31.0),
    };
    let crashing = Instance {
        slot: 1,
        state: "crash loop".to_owned(),
        pid: None,
        messages_lost: 3,
        cpu_percent: None,
        memory: None,
        next_start_ms: Some(14_000),
        cause: "it ended with code 1".to_owned(),
        sessions: 0,
        tunnels: 0,
        in_flight: 0,
        event_streams: 0,
        answers_per_s: 0.0,
        p50_ms: None,
        p99_ms: None,
        ..ready.clone()
    };
    let old = Instance { slot: 2, current: false, state: "emptying".to_owned(), ..ready.clone() };
    let chat = App {
        name: "chat".to_owned(),
        state: "running".to_owned(),
        wanted: 3,
        last_failure: "chat/0 did not get ready within 30s".to_owned(),
        rooms: Some("shared".to_owned()),
        instances: vec![ready, crashing, old],
    };
    let idle = App {
        name: "mails".to_owned(),
        state: "stopped".to_owned(),
        instances: vec![],
        last_failure: String::new(),
        rooms: None,
        wanted: 3,
    };
    let status = Status {
        version: "1.2.3".to_owned(),
        pid: 4711,
        file: None,
        background: false,
        leaving: false,
        overload: None,
        memory: 0,
        memory_max: 0,
        access_lines_lost: 0,
        log_lines_lost: 0,
        upstreams: vec![],
        apps: vec![chat, idle],
        workers: vec![],
        certificates: vec![],
        redis: None,
    };
    let expected = "\
APP     STATE        PID  UPTIME  RESTARTS   CPU    MEMORY  REQ/S    P50   P99  SESSIONS  SOCKETS  IN FLIGHT  EVENT STREAMS  NOTES
chat/0  ready       4712   1m01s         2  3.2%  80.0 MiB    120  0.8ms  31ms        12       11          1              1
chat/1  crash loop     -       -         2     -         -      0      -     -         0        0          0              0  it ended with code 1, next start in 14s, 3 messages lost
chat/2  emptying    4712   1m01s         2  3.2%  80.0 MiB    120  0.8ms  31ms        12       11          1              1  old version
mails   stopped        -       -         -     -         -      -      -     -         -        -          -              -

chat: chat/0 did not get ready within 30s

chat: rooms: shared
";
    let shown = of(&status, false);
    let apps = shown.split_once("since the start\n\n").map(|(_, apps)| apps);
    assert_eq!(apps, Some(expected), "{shown}");
}

#[test]
fn one_is_not_many() {
    assert_eq!(
        [count(1, "connection"), count(0, "exchange"), count(2, "process"), times(1), times(2)],
        ["1 connection", "0 exchanges", "2 processes", "once", "2 times"]
    );
}

#[test]
fn times_have_two_units() {
    for (seconds, expected) in [
        (0, "0s"),
        (59, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3600, "1h00m"),
        (86_399, "23h59m"),
        (90_000, "1d01h"),
    ] {
        assert_eq!(ago(Duration::from_secs(seconds)), expected);
    }
}
