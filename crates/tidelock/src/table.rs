//! The status as a table that a person reads. Pure.

mod grid;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

use admin::api::{App, Instance, Node, Redis, Status, Upstream};

use crate::certificates;
use crate::colour::{RED, paint};
use crate::table::grid::{Columns, colour_of};

/// A line for each node under a line of headings, and above them what the whole of it does.
pub(crate) fn of(status: &Status, is_coloured: bool) -> String {
    let rows: Vec<_> = status.upstreams.iter().flat_map(rows).collect();
    let mut text = summary(status) + "\n";
    if let Some(cause) = &status.overload {
        let line = format!("OVERLOADED: {cause}");
        text += &(if is_coloured { paint(&line, RED) } else { line } + "\n");
    }
    if status.access_lines_lost > 0 {
        text += &count(status.access_lines_lost, "line");
        text += " of the access log could not be written\n";
    }
    if let Some(refused) = refused(status) {
        text += &format!("failed or refused since the start: {refused}\n");
    }
    let guarded = status.workers.iter().flat_map(|worker| &worker.guarded);
    if let Some(guarded) = counted(guarded.map(|(what, &count)| (&**what, count))) {
        text += &format!("guards of routes since the start: {guarded}\n");
    }
    if !rows.is_empty() {
        text += "\n";
        text += &NODES.show(&rows, is_coloured);
    }
    for upstream in status.upstreams.iter().filter(|upstream| upstream.foreign_secret) {
        text += &format!(
            "\n{}: session ids or cookies that another secret has signed, {}; do several tidelocks in front of these \
             nodes have one `sticky_secret`?\n",
            upstream.name,
            times(upstream.unverifiable)
        );
    }
    for upstream in &status.upstreams {
        for node in upstream.nodes.iter().filter(|node| node.surplus > 0) {
            text += &format!(
                "\n{}: {} sent bytes behind its answers, {} since the start; its connections are used once for a \
                 minute after each\n",
                upstream.name,
                node.node,
                times(node.surplus)
            );
        }
    }
    if let Some(redis) = &status.redis {
        text += &shared_limits(redis);
    }
    text += &certificates::of(&status.certificates, now_s());
    if !status.apps.is_empty() {
        text += "\n";
        text += &apps(status, is_coloured);
    }
    text
}

/// Where limits are counted together, or why they are not.
fn shared_limits(Redis { url, state, since_ms, reason, alone }: &Redis) -> String {
    let since = ago(Duration::from_millis(*since_ms));
    let alone = match alone {
        0 => String::new(),
        alone => format!("; {} counted here alone since the start", count(*alone, "request")),
    };
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("\nshared limits: {url} {state} for {since}{reason}{alone}\n")
}

/// Seconds since 1970.
fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// A line for each process of the apps, and what went wrong with them.
pub(crate) fn apps(status: &Status, is_coloured: bool) -> String {
    if status.apps.is_empty() {
        return "no app runs\n".to_owned();
    }
    let rows: Vec<_> = status.apps.iter().flat_map(app_rows).collect();
    let mut text = APPS.show(&rows, is_coloured);
    for app in status.apps.iter().filter(|app| !app.last_failure.is_empty()) {
        text += &format!("\n{}: {}\n", app.name, app.last_failure);
    }
    for (app, rooms) in status.apps.iter().filter_map(|app| Some((app, app.rooms.as_ref()?))) {
        text += &format!("\n{}: rooms: {rooms}\n", app.name);
    }
    text
}

/// All there is to know of one app, a line for each thing.
pub(crate) fn description(app: &App, is_coloured: bool) -> String {
    let state = |state: &str| match colour_of(state).filter(|_| is_coloured) {
        Some(colour) => paint(state, colour),
        None => state.to_owned(),
    };
    let wanted = count(app.wanted.into(), "process");
    let mut text = format!("{}: {}, {wanted} wanted\n", app.name, state(&app.state));
    let headings = APPS.headings.map(str::to_lowercase);
    for instance in &app.instances {
        let row = app_row(app, instance);
        text += &format!("\n{}\n", row[0]);
        text += &format!("  {:<14} {}\n", headings[1], state(&row[1]));
        for (heading, cell) in headings.iter().zip(&row).skip(2).filter(|(_, cell)| !cell.is_empty()) {
            text += &format!("  {heading:<14} {cell}\n");
        }
        if let Some(address) = &instance.address {
            text += &format!("  {:<14} {address}\n", "listens on");
        }
        text += &format!("  {:<14} {}\n", "generation", instance.generation);
    }
    if let Some(rooms) = &app.rooms {
        text += &format!("\nrooms: {rooms}\n");
    }
    if !app.last_failure.is_empty() {
        text += &format!("\nits last roll has failed: {}\n", app.last_failure);
    }
    text + "\n"
}

fn summary(status: &Status) -> String {
    let sum = |count: fn(&admin::api::Worker) -> u64| status.workers.iter().map(count).sum::<u64>();
    let pinned = sum(|worker| worker.pinned);
    let pinned = if pinned > 0 { format!(" ({pinned} by our cookie)") } else { String::new() };
    format!(
        "tidelock {}, process {}{}: {} and tunnels open; {}, {}{pinned} since the start",
        status.version,
        status.pid,
        if status.leaving { ", leaving" } else { "" },
        count(sum(|worker| worker.live), "connection"),
        count(sum(|worker| worker.connections), "connection"),
        count(sum(|worker| worker.exchanges), "exchange"),
    )
}

fn count(count: u64, what: &str) -> String {
    let ending = match what {
        _ if count == 1 => "",
        what if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{count} {what}{ending}")
}

fn times(count: u64) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

/// Who was sent away and what failed, by why, the most frequent first; `None` where nobody was.
fn refused(status: &Status) -> Option<String> {
    counted(status.workers.iter().flat_map(|worker| {
        let faults = worker.faults.iter().map(|(why, &count)| (&**why, count));
        let refused = CONNECTIONS_REFUSED.into_iter().zip(worker.refused);
        let displaced = CONNECTIONS_DISPLACED.into_iter().zip(worker.displaced);
        faults.chain(refused).chain(displaced)
    }))
}

/// The counts of all workers, the greatest first.
fn counted<'s>(all: impl Iterator<Item = (&'s str, u64)>) -> Option<String> {
    let mut by_reason: BTreeMap<&str, u64> = BTreeMap::new();
    for (why, count) in all {
        *by_reason.entry(why).or_default() += count;
    }
    let mut by_reason: Vec<_> = by_reason.into_iter().filter(|&(_, count)| count > 0).collect();
    by_reason.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let said: Vec<String> = by_reason.iter().map(|(why, count)| format!("{count} {why}")).collect();
    (!said.is_empty()).then(|| said.join(", "))
}

/// A line for each node, and under several of them one for all; for an upstream without a node one that says so.
fn rows(upstream: &Upstream) -> Vec<[String; COLUMNS]> {
    let nodes = &upstream.nodes;
    let mut last: [String; COLUMNS] = std::array::from_fn(|_| "-".to_owned());
    last[0].clone_from(&upstream.name);
    let sum = |of: fn(&Node) -> usize| nodes.iter().map(of).sum::<usize>().to_string();
    match &nodes[..] {
        [] if upstream.stopped => {
            last[2] = "stopped".to_owned();
            last[3] = "its app is stopped or given up".to_owned();
        }
        [] => last[2] = "no node".to_owned(),
        [one] => return vec![row(&upstream.name, one)],
        several => {
            let up = several.iter().filter(|node| node.state == "up" && !node.draining).count();
            let traffic = traffic(upstream.answers_per_s, upstream.p50_ms, upstream.p99_ms);
            last[1] = "(all)".to_owned();
            last[2] = format!("{up} of {} up", several.len());
            last[5..8].clone_from_slice(&traffic);
            last[8] = sum(|node| node.sessions);
            last[9] = sum(|node| node.tunnels);
            last[10] = sum(|node| node.in_flight);
            last[11] = sum(|node| node.event_streams);
            last[12] = sum(|node| node.long_answers);
        }
    }
    nodes.iter().map(|node| row(&upstream.name, node)).chain([last]).collect()
}

/// Answers in a second, and how long they took.
fn traffic(per_second: f64, p50_ms: Option<f64>, p99_ms: Option<f64>) -> [String; 3] {
    let per_second = match per_second {
        few if few < 0.05 => "0".to_owned(),
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    };
    let within = |millis: Option<f64>| match millis {
        None => "-".to_owned(),
        Some(few) if few < 10.0 => format!("{few:.1}ms"),
        Some(many) if many < 1000.0 => format!("{many:.0}ms"),
        Some(seconds) => format!("{:.1}s", seconds / 1e3),
    };
    [per_second, within(p50_ms), within(p99_ms)]
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
    let [per_second, p50, p99] = traffic(node.answers_per_s, node.p50_ms, node.p99_ms);
    [
        upstream.to_owned(),
        name,
        state,
        node.cause.clone(),
        ago(Duration::from_millis(node.since_ms)),
        per_second,
        p50,
        p99,
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
    let lost = (instance.messages_lost > 0).then(|| format!("{} messages lost", instance.messages_lost));
    let cause = Some(instance.cause.clone()).filter(|cause| !cause.is_empty());
    let notes: Vec<String> = [cause, next, old, lost].into_iter().flatten().collect();
    let [per_second, p50, p99] = traffic(instance.answers_per_s, instance.p50_ms, instance.p99_ms);
    [
        format!("{}/{}", app.name, instance.slot),
        instance.state.clone(),
        some(instance.pid.map(|pid| pid.to_string())),
        some(instance.pid.map(|_| ago(Duration::from_millis(instance.uptime_ms)))),
        instance.restarts.to_string(),
        some(instance.cpu_percent.map(|percent| format!("{percent:.1}%"))),
        some(instance.memory.map(mebibytes)),
        per_second,
        p50,
        p99,
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

const COLUMNS: usize = 13;
const NODES: Columns<COLUMNS> = Columns {
    headings: [
        "UPSTREAM",
        "NODE",
        "STATE",
        "CAUSE",
        "SINCE",
        "REQ/S",
        "P50",
        "P99",
        "SESSIONS",
        "SOCKETS",
        "IN FLIGHT",
        "EVENT STREAMS",
        "LONG ANSWERS",
    ],
    numbers: 4..COLUMNS,
    rare: 11..COLUMNS,
    state: 2,
};
const CONNECTIONS_REFUSED: [&str; 3] = [
    "connections beyond a client's bound",
    "connections beyond a client's rate",
    "TLS handshakes beyond a client's rate",
];
const CONNECTIONS_DISPLACED: [&str; 2] =
    ["resting connections closed for new ones", "silent connections closed for new ones"];
const APP_COLUMNS: usize = 16;
const APPS: Columns<APP_COLUMNS> = Columns {
    headings: [
        "APP",
        "STATE",
        "PID",
        "UPTIME",
        "RESTARTS",
        "CPU",
        "MEMORY",
        "REQ/S",
        "P50",
        "P99",
        "SESSIONS",
        "SOCKETS",
        "IN FLIGHT",
        "EVENT STREAMS",
        "LONG ANSWERS",
        "NOTES",
    ],
    numbers: 2..15,
    rare: 13..15,
    state: 1,
};
