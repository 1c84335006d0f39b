//! The status as a table that a person reads. Pure.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use admin::api::{App, Instance, Node, Status};

/// A line for each node under a line of headings, and above them what the whole of it does.
pub(crate) fn of(status: &Status) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for upstream in &status.upstreams {
        rows.extend(upstream.nodes.iter().map(|node| row(&upstream.name, node)));
    }
    let mut text = summary(status) + "\n";
    if let Some(cause) = &status.overload {
        text += &format!("OVERLOADED: {cause}\n");
    }
    if status.access_lines_lost > 0 {
        text += &format!("{} lines of the access log could not be written\n", status.access_lines_lost);
    }
    if let Some(refused) = refused(status) {
        text += &format!("failed or refused since the start: {refused}\n");
    }
    text += "\n";
    text += &table(&rows, FIRST_NUMBER..COLUMNS);
    for upstream in status.upstreams.iter().filter(|upstream| upstream.foreign_secret) {
        text += &format!(
            "\n{}: {} session ids or cookies that another secret has signed; do several tidelocks in front of these \
             nodes have one `sticky_secret`?\n",
            upstream.name, upstream.unverifiable
        );
    }
    for upstream in &status.upstreams {
        for node in upstream.nodes.iter().filter(|node| node.surplus > 0) {
            text += &format!(
                "\n{}: {} sent bytes behind its answers, {} times since the start; its connections are used once for a \
                 minute after each\n",
                upstream.name, node.node, node.surplus
            );
        }
    }
    if !status.apps.is_empty() {
        let mut rows = vec![APP_HEADINGS.map(str::to_owned)];
        rows.extend(status.apps.iter().flat_map(app_rows));
        text += "\n";
        text += &table(&rows, APP_NUMBERS);
        for app in status.apps.iter().filter(|app| !app.last_failure.is_empty()) {
            text += &format!("\n{}: {}\n", app.name, app.last_failure);
        }
    }
    text
}

/// Columns under each other; those of `numbers` stand at the right.
fn table<const N: usize>(rows: &[[String; N]], numbers: Range<usize>) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    rows.iter().map(|row| line(row, &widths, &numbers) + "\n").collect()
}

fn summary(status: &Status) -> String {
    let sum = |count: fn(&admin::api::Worker) -> u64| status.workers.iter().map(count).sum::<u64>();
    let pinned = sum(|worker| worker.pinned);
    let pinned = if pinned > 0 { format!(" ({pinned} by our cookie)") } else { String::new() };
    format!(
        "tidelock {}, process {}{}: {} connections and tunnels open; {} connections, {} exchanges{pinned} since the start",
        status.version,
        status.pid,
        if status.leaving { ", leaving" } else { "" },
        sum(|worker| worker.live),
        sum(|worker| worker.connections),
        sum(|worker| worker.exchanges),
    )
}

/// Who was sent away and what failed, by why, the most frequent first.
fn refused(status: &Status) -> Option<String> {
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    for worker in &status.workers {
        let faults = worker.faults.iter().map(|(why, &count)| (&**why, count));
        let refused = CONNECTIONS_REFUSED.into_iter().zip(worker.refused);
        let displaced = CONNECTIONS_DISPLACED.into_iter().zip(worker.displaced);
        for (why, count) in faults.chain(refused).chain(displaced) {
            *by_reason.entry(why).or_default() += count;
        }
    }
    let mut by_reason: Vec<_> = by_reason.into_iter().filter(|&(_, count)| count > 0).collect();
    by_reason.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let said: Vec<String> = by_reason.iter().map(|(why, count)| format!("{count} {why}")).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

fn row(upstream: &str, node: &Node) -> [String; COLUMNS] {
    let address = node.address.clone();
    // A name with several addresses is several nodes.
    let name = if node.node == address { address } else { format!("{} ({address})", node.node) };
    let state = match (node.removed, node.draining) {
        (true, _) => format!("{}, removed", node.state),
        (false, true) => format!("{}, draining", node.state),
        (false, false) => node.state.clone(),
    };
    [
        upstream.to_owned(),
        name,
        state,
        node.cause.clone(),
        ago(Duration::from_millis(node.since_ms)),
        node.sessions.to_string(),
        node.tunnels.to_string(),
        node.in_flight.to_string(),
        node.event_streams.to_string(),
        node.long_answers.to_string(),
    ]
}

fn app_rows(app: &App) -> Vec<[String; APP_COLUMNS]> {
    let shown: Vec<_> = app.instances.iter().map(|instance| app_row(app, instance)).collect();
    if !shown.is_empty() {
        return shown;
    }
    let mut row: [String; APP_COLUMNS] = std::array::from_fn(|_| "-".to_owned());
    row[0].clone_from(&app.name);
    row[1].clone_from(&app.state);
    row[APP_COLUMNS - 1].clear();
    vec![row]
}

fn app_row(app: &App, instance: &Instance) -> [String; APP_COLUMNS] {
    let some = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let next =
        instance.next_start_ms.map(|millis| format!("next start in {}", ago(Duration::from_millis(millis))));
    let old = (!instance.current && instance.pid.is_some()).then(|| "old version".to_owned());
    let notes: Vec<String> = [Some(instance.cause.clone()).filter(|cause| !cause.is_empty()), next, old]
        .into_iter()
        .flatten()
        .collect();
    [
        format!("{}/{}", app.name, instance.slot),
        instance.state.clone(),
        some(instance.pid.map(|pid| pid.to_string())),
        some(instance.pid.map(|_| ago(Duration::from_millis(instance.uptime_ms)))),
        instance.restarts.to_string(),
        some(instance.cpu_percent.map(|percent| format!("{percent:.1}%"))),
        some(instance.memory.map(mebibytes)),
        instance.sessions.to_string(),
        instance.tunnels.to_string(),
        instance.in_flight.to_string(),
        instance.event_streams.to_string(),
        instance.long_answers.to_string(),
        notes.join(", "),
    ]
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

fn line<const N: usize>(row: &[String; N], widths: &[usize; N], numbers: &Range<usize>) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(column, (cell, &width))| match numbers.contains(&column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        })
        .collect();
    cells.join("  ").trim_end().to_owned()
}

/// The two units that matter.
fn ago(lasted: Duration) -> String {
    let seconds = lasted.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

const COLUMNS: usize = 10;
const HEADINGS: [&str; COLUMNS] = [
    "UPSTREAM",
    "NODE",
    "STATE",
    "CAUSE",
    "SINCE",
    "SESSIONS",
    "SOCKETS",
    "IN FLIGHT",
    "EVENT STREAMS",
    "LONG ANSWERS",
];
const CONNECTIONS_REFUSED: [&str; 3] = [
    "connections beyond a client's bound",
    "connections beyond a client's rate",
    "TLS handshakes beyond a client's rate",
];
const CONNECTIONS_DISPLACED: [&str; 2] =
    ["resting connections closed for new ones", "silent connections closed for new ones"];
/// From here on columns are numbers, and times, which stand at the right.
const FIRST_NUMBER: usize = 4;
const APP_COLUMNS: usize = 13;
const APP_HEADINGS: [&str; APP_COLUMNS] = [
    "APP",
    "STATE",
    "PID",
    "UPTIME",
    "RESTARTS",
    "CPU",
    "MEMORY",
    "SESSIONS",
    "SOCKETS",
    "IN FLIGHT",
    "EVENT STREAMS",
    "LONG ANSWERS",
    "NOTES",
];
const APP_NUMBERS: Range<usize> = 2..12;

#[cfg(test)]
mod tests {
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
            ..node
        };
        let upstream = Upstream {
            name: "nodes".to_owned(),
            nodes: vec![node, named],
            unverifiable: 0,
            foreign_secret: false,
        };
        let status = Status {
            version: "1.2.3".to_owned(),
            pid: 4711,
            leaving: true,
            overload: Some("all 6 places are taken".to_owned()),
            memory: 0,
            memory_max: 0,
            access_lines_lost: 0,
            log_lines_lost: 0,
            upstreams: vec![upstream],
            apps: vec![],
            workers: vec![worker.clone(), worker],
        };
        let expected = "\
tidelock 1.2.3, process 4711, leaving: 6 connections and tunnels open; 80 connections, 1000 exchanges since the start
OVERLOADED: all 6 places are taken
failed or refused since the start: 14 request head timed out, 10 silent connections closed for new ones

UPSTREAM  NODE                          STATE           CAUSE        SINCE  SESSIONS  SOCKETS  IN FLIGHT  EVENT STREAMS  LONG ANSWERS
nodes     10.0.0.1:3000                 up              never asked  3m12s        12       10          3              2             1
nodes     server2:3000 (10.0.0.2:3000)  down, draining  refused      3d00h         0       10          3              2             1

nodes: server2:3000 sent bytes behind its answers, 2 times since the start; its connections are used once for a minute \
after each
";
        assert_eq!(of(&status), expected);
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
            sessions: 12,
            tunnels: 11,
            in_flight: 1,
            event_streams: 1,
            long_answers: 0,
        };
        let crashing = Instance {
            slot: 1,
            state: "crash loop".to_owned(),
            pid: None,
            cpu_percent: None,
            memory: None,
            next_start_ms: Some(14_000),
            cause: "it ended with code 1".to_owned(),
            sessions: 0,
            tunnels: 0,
            in_flight: 0,
            event_streams: 0,
            ..ready.clone()
        };
        let old = Instance { slot: 2, current: false, state: "emptying".to_owned(), ..ready.clone() };
        let chat = App {
            name: "chat".to_owned(),
            state: "running".to_owned(),
            wanted: 3,
            last_failure: "chat/0 did not get ready within 30s".to_owned(),
            instances: vec![ready, crashing, old],
        };
        let idle = App {
            name: "mails".to_owned(),
            state: "stopped".to_owned(),
            instances: vec![],
            last_failure: String::new(),
            wanted: 3,
        };
        let status = Status {
            version: "1.2.3".to_owned(),
            pid: 4711,
            leaving: false,
            overload: None,
            memory: 0,
            memory_max: 0,
            access_lines_lost: 0,
            log_lines_lost: 0,
            upstreams: vec![],
            apps: vec![chat, idle],
            workers: vec![],
        };
        let expected = "
APP     STATE        PID  UPTIME  RESTARTS   CPU    MEMORY  SESSIONS  SOCKETS  IN FLIGHT  EVENT STREAMS  LONG ANSWERS  NOTES
chat/0  ready       4712   1m01s         2  3.2%  80.0 MiB        12       11          1              1             0
chat/1  crash loop     -       -         2     -         -         0        0          0              0             0  it ended with code 1, next start in 14s
chat/2  emptying    4712   1m01s         2  3.2%  80.0 MiB        12       11          1              1             0  old version
mails   stopped        -       -         -     -         -         -        -          -              -             -

chat: chat/0 did not get ready within 30s
";
        let shown = of(&status);
        let apps = shown.split_once("LONG ANSWERS\n").map(|(_, apps)| apps);
        assert_eq!(apps, Some(expected), "{shown}");
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
}
