//! The table of the attacks, and the page that keeps it. Measures nothing.

use std::path::Path;

use anyhow::Result;

use super::super::page::{machine, put_between};
use super::Seen;
use super::attack::Attack;
use super::contender::{Contender, SETTINGS};
use crate::run::printed;

/// One contender in one row, with what was seen in each round.
pub(crate) struct Line {
    pub(crate) attack: Attack,
    pub(crate) which: Contender,
    pub(crate) seen: Vec<Seen>,
}

/// All lines as a table in Markdown: the most lost requests of any round, and the median of all else.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut text = "| row | attack | who | asked | lost | p99 ms | PSS MiB | CPU s |\n\
                    |---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut last = None;
    for Line { attack, which, seen } in lines {
        let (name, says) = match last.replace(*attack) {
            Some(before) if before == *attack => ("", ""),
            _ => (attack.name(), attack.says()),
        };
        let worst = seen.iter().max_by_key(|seen| seen.answers.lost());
        let (lost, asked) = worst.map_or((0, 0), |seen| (seen.answers.lost(), seen.answers.asked()));
        let p99 = median(seen, |seen| seen.answers.p99().as_secs_f64() * 1e3);
        let memory = median(seen, |seen| (seen.memory_bytes >> 20) as f64);
        let cpu = median(seen, |seen| seen.cpu_ns as f64 / 1e9);
        let who = which.name();
        text +=
            &format!("| {name} | {says} | {who} | {asked} | {lost} | {p99:.1} | {memory:.0} | {cpu:.1} |\n");
    }
    text
}

fn median(seen: &[Seen], of: impl Fn(&Seen) -> f64) -> f64 {
    let mut all: Vec<_> = seen.iter().map(of).collect();
    all.sort_unstable_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// Puts the table into the page, between two marks that stay.
pub(crate) fn save(file: &Path, lines: &[Line], versions: &[String]) -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let mut text = table(lines) + "\n";
    text += &format!(
        "Measured on {} with `cargo xtask {}`, on {}.\n\n",
        printed("date", &["-u", "+%Y-%m-%d"]),
        arguments.join(" "),
        machine()
    );
    for line in versions {
        text += &format!("- {line}\n");
    }
    for (name, settings) in SETTINGS {
        text += &format!("\n{name}:\n\n```\n{settings}```\n");
    }
    put_between(file, [BEGIN, END], text.trim_end())
}

const BEGIN: &str = "<!-- written by `cargo xtask bench attacks`, from here -->";
const END: &str = "<!-- to here, attacks -->";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::honest::Answers;
    use super::*;

    #[test]
    fn of_several_rounds_the_worst_loss_and_the_medians_are_told() {
        let round = |p99_ms, lost, memory_mib: u64, cpu_s: u64| Seen {
            answers: Answers::of(&[Duration::from_millis(p99_ms)], lost),
            cpu_ns: cpu_s * 1_000_000_000,
            memory_bytes: memory_mib << 20,
        };
        let tidelock = vec![
            round(3, 0, 9, 4),
            round(90, 1, 7, 1),
            round(4, 7, 8, 2),
            round(2, 0, 1, 3),
            round(5, 0, 10, 5),
        ];
        let nginx = vec![round(6, 0, 5, 2)];
        let line = |which, seen| Line { attack: Attack::ALL[0], which, seen };
        let [first, second, ..] = Contender::ALL;
        let said = table(&[line(first, tidelock), line(second, nginx)]);
        let cells: Vec<_> = said.lines().skip(2).map(|line| line.splitn(4, " | ").last().unwrap()).collect();
        assert_eq!(cells, ["8 | 7 | 4.0 | 8 | 3.0 |", "1 | 0 | 6.0 | 5 | 2.0 |"], "{said}");
    }
}
