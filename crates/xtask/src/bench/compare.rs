//! `cargo xtask bench compare`: the order of things. What is measured is in `rows`, who in `contender`, how in `stage`,
//! and what comes of it in `summary` and `page`.

mod contender;
mod page;
mod rows;
mod stage;
mod summary;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime;

use crate::packages;
use crate::run::{aloud, command};
use contender::Contender;
use rows::{Beside, ROWS, Row};
use stage::Stage;
use summary::Sample;

/// Measure tidelock beside nginx and HAProxy: CPU time, latency and memory, row by row.
///
/// Everything runs on loopback: three origins in one process, one proxy with one worker, and one load generator
/// (benches/load). The proxy has a core for itself, origin and load share another one, or have one each where there are
/// three. For each row each contender starts afresh, warms up and is measured, in turn, A B C A B C, as many rounds as
/// --rounds says; nginx takes part twice, so that the table shows how far two equal things are apart.
///
/// CPU time is what the scheduler counts for all threads of the proxy's processes between the two moments between which
/// requests are counted. tidelock runs with everything on: access log to a file, counters, stickiness, forwarded
/// headers. nginx and HAProxy write access logs too, and keep their connections to the origins.
///
/// What is missing is installed from Debian: nginx, haproxy. Then tidelock and the load are built for release.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench compare --rows core --save          the rows that have a bar, 9 rounds, and save the table
  cargo xtask bench compare --rows http-128 --rounds 3  one row, to look at
  cargo xtask bench compare --rows all --seconds 2      all of them
  cargo xtask bench compare --rows echo --only tidelock --before /tmp/tidelock-of-yesterday
                                                        a change beside what was there before it")]
pub(crate) struct Compare {
    /// How often each is measured.
    #[arg(long, value_name = "COUNT", default_value_t = 9)]
    rounds: usize,

    /// How long each is measured, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    seconds: f64,

    /// How long each is warmed up before, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.3)]
    warm: f64,

    /// Rows, by group (`core`, `more`, `growth`, `all`) by their name or its begin, with commas between them.
    #[arg(long, value_name = "ROWS", value_delimiter = ',', default_value = "core")]
    rows: Vec<String>,

    /// Only these contenders: tidelock, nginx, nginx-again, haproxy, before; and `direct`, which is no proxy at all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// Another tidelock to measure beside the one that is built, such as that of the commit before.
    #[arg(long, value_name = "BINARY")]
    before: Option<PathBuf>,

    /// Keep the table and all that was measured in benches/results/.
    #[arg(long)]
    save: bool,

    /// At most so many connections or sessions, for a look at the command itself.
    #[arg(long, value_name = "COUNT")]
    connections_max: Option<usize>,

    /// Measure the build for tests, as it lies there, and build nothing.
    #[arg(long)]
    debug: bool,

    /// Install nothing.
    #[arg(long)]
    offline: bool,

    /// Say which rows there are, and measure nothing.
    #[arg(long)]
    list: bool,
}

impl Compare {
    pub(crate) fn run(&self) -> Result<()> {
        let rows = self.rows()?;
        if self.list {
            rows.iter().for_each(|row| println!("{:<20} {:<7} {}", row.name, row.group.name(), row.says));
            return Ok(());
        }
        ensure!(self.rounds > 0, "no round, no result");
        if !self.offline {
            packages::programs(&packages::FOR_COMPARE)?;
        }
        if !self.debug {
            let release = ["build", "--release", "--package", "tidelock", "--package", "tidelock-load"];
            aloud("building what is measured", command(".", "cargo", &release))?;
        }
        let programs = contender::Programs::find(self.debug, self.before.clone())?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let samples = runtime.block_on(async {
            // Guards end what was started; a process that is killed by Ctrl-C runs none of them.
            tokio::select! {
                samples = self.measure(&programs, &rows) => samples,
                _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that was started is ended"),
            }
        })?;
        let result = page::Page::new(&rows, &samples, &programs, self.rounds);
        println!("{}", result.markdown());
        if self.save {
            for file in result.save()? {
                eprintln!("xtask: saved as {}", file.display());
            }
        }
        Ok(())
    }

    fn rows(&self) -> Result<Vec<&'static Row>> {
        let names = |row: &Row, wanted: &String| {
            let is_a_name = ROWS.iter().any(|row| row.name == wanted);
            let begins = !is_a_name && row.name.starts_with(wanted.as_str());
            wanted == "all" || wanted == row.group.name() || wanted == row.name || begins
        };
        for wanted in &self.rows {
            ensure!(
                ROWS.iter().any(|row| names(row, wanted)),
                "no row is called {wanted:?}; --list shows them"
            );
        }
        Ok(ROWS.iter().filter(|row| self.rows.iter().any(|wanted| names(row, wanted))).collect())
    }

    fn contenders(&self, row: &Row) -> Vec<Contender> {
        let takes_part = |which: &Contender| match self.only.as_slice() {
            [] => match which {
                Contender::Before => self.before.is_some(),
                // Only what is said about a proxy can be said of one that is not there.
                Contender::Direct => false,
                Contender::Nginx => row.beside != Beside::Nobody,
                Contender::NginxAgain => matches!(row.beside, Beside::All | Beside::NginxTwice),
                Contender::Haproxy => row.beside == Beside::All,
                Contender::Tidelock => true,
            },
            only => {
                only.iter().any(|name| name == which.name())
                    || (*which == Contender::Before && self.before.is_some())
            }
        };
        Contender::ALL.into_iter().filter(takes_part).collect()
    }

    async fn measure(&self, programs: &contender::Programs, rows: &[&'static Row]) -> Result<Vec<Sample>> {
        let stage = Stage::new(programs, [self.warm, self.seconds], self.connections_max)?;
        let mut samples = Vec::new();
        for round in 0..self.rounds {
            // What nginx reaches in this round is what the paced rows of this round take their share of.
            let mut capacity = None;
            for &row in rows {
                let per_second = match (row.rate_of, capacity) {
                    (None, _) => None,
                    (Some(share), Some(capacity)) => Some(share * capacity),
                    (Some(share), None) => {
                        let reached = stage.capacity_of_nginx().await?;
                        capacity = Some(reached);
                        Some(share * reached)
                    }
                };
                for sample in self.measure_row(&stage, row, round, per_second).await? {
                    if row.name == rows::CAPACITY && sample.which == Contender::Nginx {
                        capacity = Some(sample.measured.report.per_second());
                    }
                    samples.push(sample);
                }
            }
        }
        Ok(samples)
    }

    async fn measure_row(
        &self,
        stage: &Stage<'_>,
        row: &Row,
        round: usize,
        per_second: Option<f64>,
    ) -> Result<Vec<Sample>> {
        let mut contenders = self.contenders(row);
        ensure!(!contenders.is_empty(), "nobody takes part in {}", row.name);
        // Who goes first changes, for whatever the one before leaves behind.
        let first = round % contenders.len();
        contenders.rotate_left(first);
        let mut samples = Vec::new();
        for which in contenders {
            for (index, cell) in row.cells().into_iter().enumerate() {
                let measured = stage.measure(row, cell, which, per_second).await;
                let measured = measured.with_context(|| format!("{} with {}", row.name, which.name()))?;
                let sample = Sample { row: row.name, which, grown: index > 0, round, measured };
                eprintln!("xtask: round {} of {}: {}", round + 1, self.rounds, sample.line());
                samples.push(sample);
            }
        }
        Ok(samples)
    }
}
