//! The table of a bench, and the page that keeps it. Writes what it is given and measures nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::contender::Contender;
use super::crowd::{Seen, Size};
use crate::run::printed;

/// One contender, what it got and what was seen.
pub(crate) struct Row {
    pub(crate) contender: Contender,
    pub(crate) size: Size,
    pub(crate) seen: Seen,
}

/// The rows as a table in Markdown, which is readable as it is.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut cells = vec![HEAD.map(str::to_owned)];
    cells.extend(rows.iter().map(Row::cells));
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..HEAD.len()).map(width).collect();
    let line = |row: &[String; 10]| {
        let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        format!("| {} |\n", padded.collect::<Vec<_>>().join(" | "))
    };
    let rule: Vec<_> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let mut lines = cells.iter().map(line);
    let head = lines.next().unwrap_or_default();
    format!("{head}| {} |\n{}", rule.join(" | "), lines.collect::<String>())
}

/// Saves the page: the measured table between words that do not change.
pub(crate) fn save(file: &Path, words: &str, table: &str, versions: &[String]) -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let text = words
        .replace("{table}", table.trim_end())
        .replace("{versions}", &versions.iter().map(|line| format!("- {line}\n")).collect::<String>())
        .replace("{machine}", &machine())
        .replace("{date}", &printed("date", &["-u", "+%Y-%m-%d"]))
        .replace("{command}", &format!("cargo xtask {}", arguments.join(" ")));
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(file, text)?;
    Ok(())
}

impl Row {
    fn cells(&self) -> [String; 10] {
        let Self { contender, size, seen } = self;
        let failed = seen.failed_new + seen.failed_kept;
        let all = seen.answered + failed;
        let requests = match failed {
            0 => format!("0 of {all}"),
            _ => format!("{failed} of {all} ({} new)", seen.failed_new),
        };
        let hit = match seen.clients_hit {
            0 => "0".to_owned(),
            hit => format!("{hit}, {} twice", seen.clients_hit_again),
        };
        let codes: Vec<_> = seen.codes.iter().map(|(code, times)| format!("{times} × {code}")).collect();
        let or_dash = |text: String| if seen.disconnects == 0 { "–".to_owned() } else { text };
        [
            contender.name().to_owned(),
            format!("{} + {}", size.websocket, size.polling),
            requests,
            seen.disconnects.to_string(),
            hit,
            or_dash(codes.join(", ")),
            or_dash(seen.busiest_second.to_string()),
            or_dash(format!("{:.2} s", seen.spread.as_secs_f64())),
            seen.failed_attempts.to_string(),
            seen.lost.to_string(),
        ]
    }
}

/// The CPU, and whether it was busy with something else.
pub(crate) fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown CPU", |(_, model)| model);
    let cores = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<_> = load.split(' ').take(3).collect();
    format!("{model}, {cores} cores for everything; load averages at the end {}", load.join(", "))
}

const HEAD: [&str; 10] = [
    "what",
    "ws + polling",
    "failed requests",
    "disconnects",
    "clients hit",
    "close codes",
    "busiest second",
    "spread",
    "failed attempts",
    "lost",
];

/// Writes `text` between two marks of a page that stay.
pub(crate) fn put_between(file: &Path, [begin, end]: [&str; 2], text: &str) -> Result<()> {
    let page = fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let (before, rest) = page.split_once(begin).context("the page has lost its mark")?;
    let (_, after) = rest.split_once(end).context("the page has lost its second mark")?;
    fs::write(file, format!("{before}{begin}\n{text}\n{end}{after}"))?;
    Ok(())
}
