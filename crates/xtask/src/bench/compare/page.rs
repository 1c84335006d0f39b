//! The table of the comparison, and the two files that keep it: one to read, one with all that was measured.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::super::page::machine;
use super::contender::{Contender, Programs, SETTINGS};
use super::rows::{Bar, Metric, Row};
use super::summary::{Sample, middle, ratio, values, verdict};
use crate::run::{printed, root};

/// What came of a comparison.
pub(crate) struct Page<'p> {
    rows: &'p [&'static Row],
    samples: &'p [Sample],
    versions: Vec<String>,
    rounds: usize,
}

impl<'p> Page<'p> {
    pub(crate) fn new(
        rows: &'p [&'static Row],
        samples: &'p [Sample],
        programs: &Programs,
        rounds: usize,
    ) -> Self {
        Self { rows, samples, versions: programs.versions(), rounds }
    }

    /// The page, which is readable as it is.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!(
            "Medians of {} rounds, ± half the distance between the quartiles. Ratios are tidelock's, medians of those within each \
             round; A/A is nginx beside nginx. A bar is met when the ratio is at most the bar and what A/A is from 1.\n\n",
            self.rounds
        );
        let columns = self.columns();
        let names = columns.iter().map(|which| which.name()).collect::<Vec<_>>().join(" | ");
        text += &format!("| row | {names} | to nginx | to HAProxy | A/A | bar |\n");
        text += &format!("|---|{}---|---|---|---|\n", "---|".repeat(columns.len()));
        for &row in self.rows {
            for &metric in row.shows {
                for grown in 0..row.cells().len() {
                    text += &self.line(row, metric, grown > 0, &columns);
                }
            }
        }
        text += &format!("\nMachine: {}.\n\n", machine());
        text += &self.versions.iter().map(|line| format!("- {line}\n")).collect::<String>();
        text
    }

    fn columns(&self) -> Vec<Contender> {
        let took_part = |which: &Contender| self.samples.iter().any(|sample| sample.which == *which);
        Contender::ALL.into_iter().filter(took_part).collect()
    }

    fn line(&self, row: &Row, metric: Metric, grown: bool, columns: &[Contender]) -> String {
        let of = |which| values(self.samples, row, which, grown, metric);
        let cell = |which: &Contender| {
            let middle = middle(of(*which).into_iter().map(|(_, value)| value));
            middle.map_or("–".to_owned(), |middle| {
                format!("{} ±{:.0} %", number(middle.median), middle.spread * 100.0)
            })
        };
        let cells = columns.iter().map(cell).collect::<Vec<_>>().join(" | ");
        let ratio_of =
            |which, to| ratio(&of(which), &of(to)).map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        let to_nginx = ratio_of(Contender::Tidelock, Contender::Nginx);
        let to_haproxy = ratio_of(Contender::Tidelock, Contender::Haproxy);
        let same = ratio(&of(Contender::NginxAgain), &of(Contender::Nginx));
        let same = same.map_or("–".to_owned(), |same| format!("{same:.3}"));
        let of_this = |bar: &&Bar| {
            let on_grown = matches!(bar, Bar::Growth(..));
            bar.metric() == metric && grown == on_grown
        };
        let bars: Vec<_> = row.bars.iter().filter(of_this).map(|&bar| self.bar(row, bar)).collect();
        let says = if grown { "… grown" } else { row.says };
        format!(
            "| {says}: {} | {cells} | {to_nginx} | {to_haproxy} | {same} | {} |\n",
            metric.name(),
            bars.join(", ")
        )
    }

    fn bar(&self, row: &Row, bar: Bar) -> String {
        let limit = match bar {
            Bar::Nginx(_, limit) => format!("≤ {limit:.2} nginx"),
            Bar::Haproxy(_, limit) => format!("≤ {limit:.2} HAProxy"),
            Bar::AtMost(_, limit) => format!("≤ {}", number(limit)),
            Bar::Growth(_, limit) => format!("≤ {limit:.2} of ungrown"),
        };
        let reached = |verdict: super::summary::Verdict| match bar {
            Bar::AtMost(..) => number(verdict.reached),
            Bar::Nginx(..) | Bar::Haproxy(..) | Bar::Growth(..) => format!("{:.2}", verdict.reached),
        };
        let of_others = match bar {
            Bar::Growth(metric, _) => self.growth_of_nginx(row, metric).unwrap_or_default(),
            Bar::Nginx(..) | Bar::Haproxy(..) | Bar::AtMost(..) => String::new(),
        };
        match verdict(self.samples, row, bar) {
            None => limit,
            Some(verdict) if verdict.is_met => format!("{limit}: met, {}{of_others}", reached(verdict)),
            Some(verdict) => format!("{limit}: **missed**, {}{of_others}", reached(verdict)),
        }
    }

    fn growth_of_nginx(&self, row: &Row, metric: Metric) -> Option<String> {
        let of = |grown| values(self.samples, row, Contender::Nginx, grown, metric);
        Some(format!("; nginx itself {:.2}", ratio(&of(true), &of(false))?))
    }

    /// Keeps the page and all samples in `benches/results/`.
    pub(crate) fn save(&self) -> Result<[PathBuf; 2]> {
        let date = printed("date", &["-u", "+%Y-%m-%d"]);
        let directory = root().join("benches/results");
        fs::create_dir_all(&directory)?;
        let (page, raw) =
            (directory.join(format!("{date}-compare.md")), directory.join(format!("{date}-compare.json")));
        let command = format!("cargo xtask {}", std::env::args().skip(1).collect::<Vec<_>>().join(" "));
        let settings = SETTINGS.map(|(name, text)| format!("{name}:\n\n```\n{}\n```\n", text.trim_end()));
        let text = format!(
            "# tidelock beside nginx and HAProxy, {date}\n\n`{command}`\n\n{}\n\
             What the load did is in the other file, command by command, with every sample.\n\n{}",
            self.markdown(),
            settings.join("\n")
        );
        fs::write(&page, text)?;
        fs::write(&raw, serde_json::to_string_pretty(&self.raw(&date, &command))? + "\n")?;
        Ok([page, raw])
    }

    fn raw(&self, date: &str, command: &str) -> Value {
        let sample = |sample: &Sample| {
            let Sample { row, which, grown, round, measured } = sample;
            json!({ "row": row, "contender": which.name(), "grown": grown, "round": round, "measured": measured })
        };
        json!({
            "date": date,
            "command": command,
            "machine": machine(),
            "versions": self.versions,
            "samples": self.samples.iter().map(sample).collect::<Vec<_>>(),
        })
    }
}

/// As many digits as one wants to read.
fn number(value: f64) -> String {
    match value {
        value if value >= 1000.0 => {
            let digits = format!("{value:.0}");
            let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
            groups.join(",")
        }
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_have_the_digits_that_one_reads() {
        let check = |value, want| assert_eq!(number(value), want);
        check(9.876, "9.88");
        check(98.76, "98.8");
        check(987.6, "988");
        check(9876.0, "9,876");
        check(1_234_567.0, "1,234,567");
    }
}
