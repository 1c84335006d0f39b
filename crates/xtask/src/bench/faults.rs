//! `cargo xtask bench faults`: the order of things. What happens is in `faults/rows`, who it happens to in
//! `faults/contender`, and what is counted in `faults/load` and `faults/sockets`.

mod contender;
mod load;
mod origin;
mod page;
mod rows;
mod sockets;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::runtime;

use self::contender::Contender;
use self::page::Line;
use self::rows::Fault;
use crate::packages;
use crate::run::{aloud, command, root};

/// Count what clients see of twelve faults: tidelock beside nginx and HAProxy.
///
/// Two nodes in processes of their own stand behind each proxy, and ten clients send two hundred requests a second,
/// half of them POSTs. Then a node is killed, stopped, slow, resets its answers or closes too early, or the proxy is
/// reloaded or stopped. What is counted: requests without a 200 and their whole body, slow ones, POSTs that were done
/// twice, bodies that were cut and look complete, how soon a node that is back is asked again, and how WebSockets end.
///
/// Each contender is measured so many rounds as --rounds says, in turn, and the worst of each number counts. Three
/// rounds take about ten minutes. nginx and HAProxy are installed from Debian if they are missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench faults --save                 all of it, and save the table as docs/faults.md
  cargo xtask bench faults --rows 1,3,7 --rounds 1 a look
  cargo xtask bench faults --rows 3 --only tidelock --debug")]
pub(crate) struct Faults {
    /// How often each is measured; the worst counts.
    #[arg(long, value_name = "COUNT", default_value_t = 3)]
    rounds: usize,

    /// Rows by number, with commas between them.
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    rows: Vec<usize>,

    /// Only these: tidelock, nginx, haproxy.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// Keep the table in docs/faults.md.
    #[arg(long)]
    save: bool,

    /// Measure the build for tests, as it lies there, and build nothing.
    #[arg(long)]
    debug: bool,

    /// Install nothing.
    #[arg(long)]
    offline: bool,
}

impl Faults {
    pub(crate) fn run(&self) -> Result<()> {
        ensure!(self.rounds > 0, "no round, no result");
        let count = Fault::ALL.len();
        ensure!(self.rows.iter().all(|row| (1..=count).contains(row)), "rows are 1 to {count}");
        if !self.offline {
            packages::programs(&packages::FOR_FAULTS)?;
        }
        if !self.debug {
            let release = ["build", "--release", "--package", "tidelock"];
            aloud("building what is measured", command(".", "cargo", &release))?;
        }
        let tidelock = contender::tidelock(if self.debug { "debug" } else { "release" })?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let lines = runtime.block_on(async {
            // Guards end what was started; a process that is killed by Ctrl-C runs none of them.
            tokio::select! {
                lines = self.measure(&tidelock) => lines,
                _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that was started is ended"),
            }
        })?;
        println!("{}\n{}", page::table(&lines), page::verdicts(&lines));
        if self.save {
            let file = root().join("docs/faults.md");
            page::save(&file, &lines, self.rounds, &contender::versions(&tidelock)?)?;
            eprintln!("xtask: saved as {}", file.display());
        }
        Ok(())
    }

    async fn measure(&self, tidelock: &Path) -> Result<Vec<Line>> {
        let mut lines: Vec<Line> = Vec::new();
        for round in 1..=self.rounds {
            for fault in Fault::ALL {
                if !self.rows.is_empty() && !self.rows.contains(&fault.number()) {
                    continue;
                }
                for which in Contender::ALL {
                    if !self.only.is_empty() && !self.only.iter().any(|name| name == which.name()) {
                        continue;
                    }
                    let (number, name) = (fault.number(), which.name());
                    let seen = fault.play(which, tidelock).await;
                    let seen = seen.with_context(|| format!("row {number} with {name}"))?;
                    eprintln!("xtask: round {round}, row {number}, {name}: {}", page::said(fault, &seen));
                    match lines.iter_mut().find(|line| line.fault == fault && line.which == which) {
                        Some(line) => line.seen = std::mem::take(&mut line.seen).worse(seen),
                        None => lines.push(Line { fault, which, seen }),
                    }
                }
            }
        }
        Ok(lines)
    }
}
