//! The status as a table that a person reads. Pure.

use std::time::Duration;

use admin::api::{Node, Status};

/// A line for each node under a line of headings, and above them what the whole of it does.
pub(crate) fn of(status: &Status) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    for upstream in &status.upstreams {
        rows.extend(upstream.nodes.iter().map(|node| row(&upstream.name, node)));
    }
    let widths: [usize; COLUMNS] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let lines = rows.iter().map(|row| line(row, &widths) + "\n");
    summary(status) + "\n\n" + &lines.collect::<String>()
}

fn summary(status: &Status) -> String {
    let sum = |count: fn(&admin::api::Worker) -> u64| status.workers.iter().map(count).sum::<u64>();
    format!(
        "tidelock {}, process {}{}: {} connections and tunnels open; {} connections, {} exchanges since the start",
        status.version,
        status.pid,
        if status.leaving { ", leaving" } else { "" },
        sum(|worker| worker.live),
        sum(|worker| worker.connections),
        sum(|worker| worker.exchanges),
    )
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
    ]
}

fn line(row: &[String; COLUMNS], widths: &[usize; COLUMNS]) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip(widths)
        .enumerate()
        .map(|(column, (cell, &width))| match column < FIRST_NUMBER {
            true => format!("{cell:width$}"),
            false => format!("{cell:>width$}"),
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

const COLUMNS: usize = 8;
const HEADINGS: [&str; COLUMNS] =
    ["UPSTREAM", "NODE", "STATE", "CAUSE", "SINCE", "SESSIONS", "SOCKETS", "IN FLIGHT"];
/// From here on columns are numbers, and times, which stand at the right.
const FIRST_NUMBER: usize = 4;

#[cfg(test)]
mod tests {
    use admin::api::{Upstream, Worker};

    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let worker = Worker {
            live: 3,
            connections: 40,
            exchanges: 500,
            by_class: [0; 6],
            bytes_in: 0,
            bytes_out: 0,
            tunnels: [0; 4],
            frames_in: 0,
            frames_out: 0,
            closes: [0; 17],
            log_lines_lost: 0,
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
        };
        let named = Node {
            node: "server2:3000".to_owned(),
            address: "10.0.0.2:3000".to_owned(),
            state: "down".to_owned(),
            draining: true,
            cause: "refused".to_owned(),
            since_ms: 86_400_000 * 3,
            sessions: 0,
            ..node
        };
        let upstream = Upstream { name: "nodes".to_owned(), nodes: vec![node, named] };
        let status = Status {
            version: "1.2.3".to_owned(),
            pid: 4711,
            leaving: true,
            upstreams: vec![upstream],
            workers: vec![worker.clone(), worker],
        };
        let expected = "\
tidelock 1.2.3, process 4711, leaving: 6 connections and tunnels open; 80 connections, 1000 exchanges since the start

UPSTREAM  NODE                          STATE           CAUSE        SINCE  SESSIONS  SOCKETS  IN FLIGHT
nodes     10.0.0.1:3000                 up              never asked  3m12s        12       10          3
nodes     server2:3000 (10.0.0.2:3000)  down, draining  refused      3d00h         0       10          3
";
        assert_eq!(of(&status), expected);
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
