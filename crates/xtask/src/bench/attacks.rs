//! `cargo xtask bench attacks`: the order of things. Who is attacked is in `attacks/contender`, how in `attacks/attack`, and
//! what the others see of it in `attacks/honest`.

mod attack;
mod contender;
mod honest;
mod page;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use load::processes::Processes;
use testkit::process::Process;
use tokio::process::Command;
use tokio::runtime;
use tokio::time::{Instant, sleep_until};

use self::attack::Attack;
use self::contender::Contender;
use self::page::Line;
use crate::packages;
use crate::run::{aloud, built, command, root};

/// Count what honest clients see of an attack: tidelock beside nginx and HAProxy.
///
/// A hundred honest clients, each at an address of its own, ask for 128 bytes five times a second, half of them over a new
/// connection each time. Meanwhile one attacker, at another address, does what the row says. Each proxy has one core
/// and room for 3,000 connections; attacker, clients and origin share the other core. What is counted: requests without a
/// 200 within three seconds, the 99th percentile of the others' latency from when they were due, the proxy's memory (PSS)
/// at the end of the attack and its CPU time during it.
///
/// One round takes about eight minutes. A round is each row with tidelock, nginx and HAProxy in turn, so that what else the
/// machine does meets all of them. Of several rounds the worst count of lost requests stands in the table, and the median
/// of all else. nginx, HAProxy and slowhttptest are installed from Debian if they are missing. Everything stays on
/// loopback, is bounded in time, and ends with this command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench attacks --save                  all of it, and save the table in docs/hardening.md
  cargo xtask bench attacks --rows chunks,frames    some rows, to look at
  cargo xtask bench attacks --rounds 5 --rows pings the median of five, in one run
  cargo xtask bench attacks --only tidelock --rows silent --seconds 3")]
pub(crate) struct Attacks {
    /// How many rounds there are in this run.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    rounds: usize,

    /// For how many seconds each attack lasts.
    #[arg(long, value_name = "SECONDS", default_value_t = 8)]
    seconds: u64,

    /// Rows by name, with commas between them.
    #[arg(long, value_name = "ROWS", value_delimiter = ',')]
    rows: Vec<String>,

    /// Only these: tidelock, nginx, haproxy.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// Keep the table in docs/hardening.md.
    #[arg(long)]
    save: bool,

    /// Measure the build for tests, as it lies there, and build nothing.
    #[arg(long)]
    debug: bool,

    /// Install nothing.
    #[arg(long)]
    offline: bool,
}

impl Attacks {
    pub(crate) fn run(&self) -> Result<()> {
        ensure!(self.rounds > 0 && self.seconds > 0, "no round, no result");
        for wanted in &self.rows {
            let names = || Attack::ALL.map(Attack::name).join(", ");
            ensure!(Attack::ALL.iter().any(|attack| attack.name() == wanted), "rows are {}", names());
        }
        if !self.offline {
            packages::programs(&packages::FOR_ATTACKS)?;
        }
        if !self.debug {
            let release = ["build", "--release", "--package", "tidelock", "--package", "tidelock-load"];
            aloud("building what is measured", command(".", "cargo", &release))?;
        }
        let tidelock = built("tidelock", self.debug)?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let lines = runtime.block_on(async {
            // Guards end what was started; a process that is killed by Ctrl-C runs none of them.
            tokio::select! {
                lines = self.measure(&tidelock) => lines,
                _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that was started is ended"),
            }
        })?;
        println!("{}", page::table(&lines));
        if self.save {
            let file = root().join("docs/hardening.md");
            page::save(&file, &lines, &contender::versions(&tidelock))?;
            eprintln!("xtask: saved as {}", file.display());
        }
        Ok(())
    }

    async fn measure(&self, tidelock: &Path) -> Result<Vec<Line>> {
        let wanted = |names: &[String], name: &str| names.is_empty() || names.iter().any(|one| one == name);
        let cores = contender::Cores::choose()?;
        let mut lines: Vec<Line> = Vec::new();
        for round in 1..=self.rounds {
            for attack in Attack::ALL.into_iter().filter(|attack| wanted(&self.rows, attack.name())) {
                for which in Contender::ALL.into_iter().filter(|which| wanted(&self.only, which.name())) {
                    let seen = self.play(attack, which, tidelock, cores.proxy).await;
                    let seen = seen.with_context(|| format!("{} with {}", attack.name(), which.name()))?;
                    let (row, name) = (attack.name(), which.name());
                    eprintln!("xtask: round {round}, {row}, {name}: {}", seen.said());
                    match lines.iter_mut().find(|line| line.attack == attack && line.which == which) {
                        Some(line) => line.seen.push(seen),
                        None => lines.push(Line { attack, which, seen: vec![seen] }),
                    }
                }
            }
        }
        Ok(lines)
    }

    /// One attack on one proxy, from their start to their end.
    async fn play(&self, attack: Attack, which: Contender, tidelock: &Path, core: usize) -> Result<Seen> {
        let (_origin, node) = origin(&tidelock.with_file_name("tidelock-load")).await?;
        let proxy = which.start(tidelock, node, core).await?;
        let attacking = attack.begin(proxy.address(), proxy.tls_address(), self.seconds)?;
        // Where an attack needs a moment to stand, it is not measured.
        let begun = Instant::now() + SETTLE;
        sleep_until(begun).await;
        // By now each has the children that it wants.
        let processes = Processes::of(&[proxy.pid()]);
        let first = processes.cpu_ns()?;
        let honest = honest::Crowd::begin(proxy.address());
        sleep_until(begun + Duration::from_secs(self.seconds)).await;
        let cpu_ns = processes.cpu_ns()? - first;
        let memory_bytes = processes.memory_bytes()?;
        let answers = honest.end().await;
        drop(attacking);
        Ok(Seen { answers, cpu_ns, memory_bytes })
    }
}

/// What one attack did.
pub(crate) struct Seen {
    answers: honest::Answers,
    cpu_ns: u64,
    memory_bytes: u64,
}

impl Seen {
    fn said(&self) -> String {
        let Self { answers, cpu_ns, memory_bytes } = self;
        format!(
            "{} of {} lost, p99 {} ms, {} MiB, {:.1} s of CPU{}",
            answers.lost(),
            answers.asked(),
            answers.p99().as_millis(),
            memory_bytes >> 20,
            *cpu_ns as f64 / 1e9,
            answers.first_failure().map(|why| format!(" ({why})")).unwrap_or_default(),
        )
    }
}

async fn origin(program: &Path) -> Result<(Process, SocketAddr)> {
    let mut command = Command::new(program);
    command.args(["origin", "--lifeline", "--listen", "127.0.1.1:0"]);
    let process = Process::spawn("origin", command);
    let line = process.wait_for_line(|line| line.starts_with(LISTENING)).await;
    Ok((process, line.trim_start_matches(LISTENING).parse()?))
}

const LISTENING: &str = "listening on ";
const SETTLE: Duration = Duration::from_secs(2);
