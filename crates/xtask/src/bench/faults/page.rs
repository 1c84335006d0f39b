//! The table of the faults, what it says of tidelock, and the page that keeps it. Measures nothing.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::super::page::machine;
use super::contender::Contender;
use super::rows::{Back, Fault, Seen};
use super::sockets::Ends;
use crate::run::printed;

/// One contender in one row: the worst of all rounds.
pub(crate) struct Line {
    pub(crate) fault: Fault,
    pub(crate) which: Contender,
    pub(crate) seen: Seen,
}

/// All lines as a table in Markdown.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut text = "| # | fault | who | requests | lost GET + POST | why | slow | max ms | twice | torn | back | WebSockets |\n\
                    |---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut last = None;
    for Line { fault, which, seen } in lines {
        let (number, says) = match last.replace(*fault) {
            Some(before) if before == *fault => (String::new(), ""),
            _ => (fault.number().to_string(), fault.says()),
        };
        let cells = cells(seen).join(" | ");
        text += &format!("| {number} | {says} | {} | {cells} |\n", which.name());
    }
    text
}

/// What is asked in each row, and where tidelock falls short of it.
pub(crate) fn verdicts(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { fault, seen, .. } in lines.iter().filter(|line| line.which == Contender::Tidelock) {
        let misses = fault.misses(seen);
        let verdict =
            if misses.is_empty() { "met".to_owned() } else { format!("**missed**: {}", misses.join(", ")) };
        text += &format!("- {}: {}. tidelock: {verdict}.\n", fault.number(), fault.bar());
    }
    text
}

/// One line for whoever looks on.
pub(crate) fn said(fault: Fault, seen: &Seen) -> String {
    let misses = fault.misses(seen);
    let misses = if misses.is_empty() { String::new() } else { format!("  [{}]", misses.join(", ")) };
    format!("{}{misses}", cells(seen).join(" · "))
}

fn cells(seen: &Seen) -> [String; 9] {
    let tally = &seen.tally;
    let requests = tally.gets + tally.posts;
    let or_dash = |is_there: bool, text: String| if is_there { text } else { "–".to_owned() };
    let there = requests > 0;
    let why: Vec<_> = tally.why.iter().map(|(why, times)| format!("{times} × {why}")).collect();
    [
        or_dash(there, requests.to_string()),
        or_dash(there, format!("{} + {}", tally.lost_gets, tally.lost_posts)),
        or_dash(!why.is_empty(), why.join(", ")),
        or_dash(there, tally.slow.to_string()),
        or_dash(there, tally.max.as_millis().to_string()),
        or_dash(there, tally.twice.to_string()),
        or_dash(there, tally.torn.to_string()),
        seen.back.map_or("–".to_owned(), Back::said),
        seen.sockets.as_ref().map_or("–".to_owned(), |ends| sockets(ends, seen)),
    ]
}

fn sockets(ends: &Ends, seen: &Seen) -> String {
    let mut said = Vec::new();
    let codes = ends.closed.iter().map(|(code, times)| format!("{times} × {code}"));
    said.extend((ends.alive > 0).then(|| format!("{} alive", ends.alive)));
    said.extend(codes);
    said.extend((ends.cut > 0).then(|| format!("{} cut", ends.cut)));
    if ends.last > Duration::ZERO {
        said.push(format!("from {} to {}", seconds(ends.first), seconds(ends.last)));
    }
    said.extend(seen.ended.map(|ended| format!("exit after {}", seconds(ended))));
    said.extend(
        seen.processes
            .filter(|(before, after)| before != after)
            .map(|(before, after)| format!("{before} processes became {after}")),
    );
    said.join(", ")
}

impl Back {
    fn said(self) -> String {
        match self {
            Self::After(after) => seconds(after),
            Self::NotWithin(timeout) => format!("> {}", seconds(timeout)),
        }
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// Saves the page: what was measured between words that do not change.
pub(crate) fn save(file: &Path, lines: &[Line], rounds: usize, versions: &[String]) -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let settings = Contender::ALL.map(|which| {
        let text = which.file(address(8080), [address(3001), address(3002)], 0);
        format!("{}:\n\n```\n{}\n```\n", which.name(), text.trim_end())
    });
    let text = include_str!("faults.md")
        .replace("{table}", table(lines).trim_end())
        .replace("{verdicts}", verdicts(lines).trim_end())
        .replace("{versions}", &versions.iter().map(|line| format!("- {line}\n")).collect::<String>())
        .replace("{machine}", &machine())
        .replace("{rounds}", &rounds.to_string())
        .replace("{date}", &printed("date", &["-u", "+%Y-%m-%d"]))
        .replace("{command}", &format!("cargo xtask {}", arguments.join(" ")))
        .replace("{settings}", &settings.join("\n"));
    fs::write(file, text)?;
    Ok(())
}
