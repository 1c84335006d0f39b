//! `cargo xtask soak`: everything at once, for a long time, and then the question whether anything is left of it.

mod failures;
mod journal;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use load::processes::Processes;
use serde_json::{Value, json};
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::dns::{Dns, Zone};
use testkit::load::Load;
use testkit::node::{Node, NodePlan};
use testkit::process::Signal;
use testkit::tidelock::Tidelock;
use tokio::process::Command;
use tokio::runtime;
use tokio::time::{Instant, sleep, timeout};

use self::failures::{Judged, Log};
use self::journal::{Change, Journal, NODES};
use self::report::{Report, Sample};
use crate::bench::page::{machine, put_between};
use crate::packages;
use crate::run::{aloud, built, command, printed, root};

/// Run mixed load for a long time while everything changes, and see that nothing is left of it.
///
/// Socket.IO clients over WebSocket and polling, GETs, HEADs, POSTs and handshakes go on all the time, to four nodes,
/// two of which are known by a name, and to an app of two processes. Every two seconds one thing happens, at random: a
/// reload, a drain or its end, a node's death (SIGKILL) or return, another answer of DNS, a roll of the app, a rotation of
/// the access log. In the end all clients leave; then counts of sessions, sockets, requests and connections must be
/// zero, the open files as many as in the beginning, and the memory of the last quarter not more than that of the second.
///
/// Each request that failed is judged by what was done at that moment: a POST may fail that was under way at a node that
/// was killed, and so may a session's request; anything may get a 503 that has waited while no node lived, was named and
/// did not drain. Whatever else fails is told with all that is known of it, and fails the soak; so does a client of
/// Socket.IO that has heard nothing for too long.
///
/// Everything stays on loopback, and ends with this command.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask soak --minutes 30 --save     half an hour, and keep the report in docs/hardening.md
  cargo xtask soak --minutes 2 --seed 7    the same changes in the same order once more")]
pub(crate) struct Soak {
    /// For how many minutes. Memory is judged from five on: before, some of it grows into its size.
    #[arg(long, value_name = "N", default_value_t = 30.0)]
    minutes: f64,

    /// Seconds between two changes.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    every: f64,

    /// Which changes come, and in which order. Left out: others each time.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Keep the report in docs/hardening.md.
    #[arg(long)]
    save: bool,

    /// Soak the build for tests, as it lies there, and build nothing.
    #[arg(long)]
    debug: bool,

    /// Install nothing.
    #[arg(long)]
    offline: bool,
}

impl Soak {
    pub(crate) fn run(&self) -> Result<()> {
        ensure!((0.1..=1e5).contains(&self.minutes), "so many minutes are no use: 0.1 to 100000");
        ensure!((0.01..=1e3).contains(&self.every), "changes come every 0.01 to 1000 seconds");
        if !self.offline {
            packages::programs(&packages::FOR_SOAK)?;
            packages::npm()?;
        }
        if !self.debug {
            let release = ["build", "--release", "--package", "tidelock"];
            aloud("building what is soaked", command(".", "cargo", &release))?;
        }
        let seed = self.seed.unwrap_or_else(|| fastrand::u64(..));
        eprintln!("xtask: --seed {seed}");
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let report = runtime.block_on(async {
            let every = Duration::from_secs_f64(self.every);
            let mut stand = Stand::new(seed, every, built("tidelock", self.debug)?).await?;
            tokio::select! {
                report = stand.soak(Duration::from_secs_f64(self.minutes * 60.0)) => report,
                _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that was started is ended"),
            }
        })?;
        let text = report.text();
        println!("{text}");
        if self.save {
            let file = root().join("docs/hardening.md");
            let arguments: Vec<_> = std::env::args().skip(1).collect();
            let head = format!(
                "`cargo xtask {}` with --seed {seed}, on {}, {}:",
                arguments.join(" "),
                printed("date", &["-u", "+%Y-%m-%d"]),
                machine()
            );
            put_between(&file, [BEGIN, END], &format!("{head}\n\n{text}"))?;
            eprintln!("xtask: saved in {}", file.display());
        }
        report.verdict(self.minutes >= 5.0)
    }
}

/// What is soaked, and what is around it.
struct Stand {
    dice: fastrand::Rng,
    every: Duration,
    program: PathBuf,
    proxy: Tidelock,
    dns: Dns,
    nodes: [Node; 4],
    is_dead: [bool; 4],
    weights: [u32; 2],
    journal: Journal,
    log: Log,
}

impl Stand {
    async fn new(seed: u64, every: Duration, program: PathBuf) -> Result<Self> {
        let at = |name: &str, host: &str| NodePlan::js(name).env("HOST", host);
        let a = Node::start(at("a", "127.0.0.1")).await;
        let b = Node::start(at("b", "127.0.0.1")).await;
        let c = Node::start(at("c", "127.0.2.1")).await;
        let d = Node::start(at("d", "127.0.2.2").port(c.address().port())).await;
        let nodes = [a, b, c, d];
        let dns = Dns::start(&Zone::default(), &NAMES).await;
        let weights = [1, 1];
        let proxy = Tidelock::start(&program, &file_of(&nodes, &dns, weights)).await;
        let dice = fastrand::Rng::with_seed(seed);
        let (is_dead, journal, log) = ([false; 4], Journal::new(Instant::now()), Log::new());
        Ok(Self { dice, every, program, proxy, dns, nodes, is_dead, weights, journal, log })
    }

    async fn soak(&mut self, length: Duration) -> Result<Report> {
        let crowds = crowds(&self.proxy.url()).await;
        let load = Load::numbered(self.proxy.address());
        let mut report = Report::default();
        let end = Instant::now() + length;
        while Instant::now() < end {
            sleep(self.every).await;
            let sample = self.sample()?;
            report.samples.push(sample);
            let begun = Instant::now();
            let what = self.change().await?;
            self.journal.note(what, [begun, Instant::now()]);
            *report.happened.entry(what.called()).or_default() += 1;
            let left = (end - Instant::now().min(end)).as_secs();
            let Sample { memory_bytes, files } = sample;
            eprintln!("xtask: {left} s to go, {} MiB, {files} files: {what:?}", memory_bytes >> 20);
        }
        // Everybody is back before everybody leaves.
        for node in 0..NODES {
            self.revive(node).await;
        }
        for crowd in crowds {
            let seen = crowd.end().await;
            count(&mut report.disconnects, seen.disconnects);
            count(&mut report.connect_errors, seen.connect_errors);
        }
        let seen = load.stop().await;
        report.answered = seen.gets + seen.heads + seen.posts + seen.handshakes;
        report.left = self.until_empty().await;
        self.log.read(&self.proxy.directory().join("access.log"))?;
        let nodes = self.nodes.each_ref().map(Node::address);
        report.failures = Judged::new(&seen.failures, &self.log, &self.journal, &nodes);
        report.slow = std::mem::take(&mut self.log.slow);
        report.end = self.sample()?;
        Ok(report)
    }

    /// One thing that happens.
    async fn change(&mut self) -> Result<Change> {
        let node = self.dice.usize(..4);
        match self.dice.u32(..7) {
            0 => {
                self.weights = [self.dice.u32(1..4), self.dice.u32(1..4)];
                self.proxy.rewrite(&file_of(&self.nodes, &self.dns, self.weights));
                self.verb(&["reload"]).await?;
                Ok(Change::Reload)
            }
            1 => {
                let node = self.dice.usize(..2);
                self.verb(&["drain", "--no-wait", &self.nodes[node].address().to_string()]).await?;
                Ok(Change::Drain(node))
            }
            2 => {
                for node in 0..2 {
                    self.verb(&["undrain", &self.nodes[node].address().to_string()]).await?;
                }
                Ok(Change::EndOfDrains)
            }
            3 => {
                // One at least lives, or the clients would have nowhere to be.
                if !self.is_dead[node] && self.is_dead.iter().filter(|is_dead| **is_dead).count() < 2 {
                    self.nodes[node].kill().await;
                    self.is_dead[node] = true;
                    Ok(Change::Death(node))
                } else {
                    self.revive(node).await;
                    Ok(Change::Return(node))
                }
            }
            4 => {
                let (hosts, named) =
                    [(&NAMES[..1], [true, false]), (&NAMES[1..], [false, true]), (&NAMES[..], [true, true])]
                        [self.dice.usize(..3)];
                self.dns.change(hosts).await;
                Ok(Change::Names(named))
            }
            5 => {
                self.verb(&["reload", "chat"]).await?;
                Ok(Change::Roll)
            }
            _ => {
                let log = self.proxy.directory().join("access.log");
                fs::rename(&log, log.with_extension("old")).context("the access log")?;
                self.proxy.process().signal(Signal::USR1);
                while !log.exists() {
                    sleep(Duration::from_millis(5)).await;
                }
                self.log.read(&log.with_extension("old"))?;
                Ok(Change::Rotation)
            }
        }
    }

    async fn revive(&mut self, node: usize) {
        if std::mem::take(&mut self.is_dead[node]) {
            self.nodes[node].restart().await;
        }
    }

    async fn verb(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args(words).env("XDG_RUNTIME_DIR", self.proxy.directory()).kill_on_drop(true);
        let output = timeout(VERB_MAX, command.output()).await.context("a verb does not end")??;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    fn sample(&mut self) -> Result<Sample> {
        let id = self.proxy.process().pid();
        // Its app's processes are its children, and their memory is not its own.
        let memory_bytes = Processes::alone(id).memory_bytes()?;
        Ok(Sample { memory_bytes, files: fs::read_dir(format!("/proc/{id}/fd"))?.count() })
    }

    /// Waits until nothing is counted any more, and says what still is when a silent session would be long over.
    async fn until_empty(&self) -> Vec<String> {
        let end = Instant::now() + SILENCE_MAX;
        loop {
            let left = left(&self.proxy.status().await);
            if left.is_empty() || Instant::now() > end {
                return left;
            }
            sleep(Duration::from_millis(500)).await;
        }
    }
}

/// Socket.IO clients of all kinds, to the nodes and to the app.
async fn crowds(url: &str) -> Vec<Clients> {
    let of_app = json!({ "extraHeaders": { "Host": "app.example" } });
    let mut crowds = Vec::new();
    for (count, mode, options) in [
        (30, Mode::Default, json!({})),
        (20, Mode::Polling, json!({})),
        (15, Mode::Default, of_app.clone()),
        (10, Mode::Polling, of_app),
    ] {
        let plan = ClientPlan { count, mode, options, echoes: 1, hold: true, ..ClientPlan::to(url) };
        let crowd = Clients::start(&plan).await;
        crowd.ready().await;
        crowds.push(crowd);
    }
    crowds
}

fn count(counts: &mut BTreeMap<String, usize>, all: Vec<String>) {
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
}

/// Counts that are not zero.
fn left(status: &Value) -> Vec<String> {
    let mut left = Vec::new();
    let lists = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for upstream in lists(&status["upstreams"]) {
        for node in lists(&upstream["nodes"]) {
            for what in ["sessions", "tunnels", "in_flight", "event_streams", "long_answers"] {
                if node[what].as_u64() != Some(0) {
                    left.push(format!("{} of {}: {}", what, node["node"], node[what]));
                }
            }
        }
    }
    let live: u64 = lists(&status["workers"]).iter().filter_map(|worker| worker["live"].as_u64()).sum();
    if live > 0 {
        left.push(format!("connections: {live}"));
    }
    left
}

fn file_of(nodes: &[Node; 4], dns: &Dns, [first, second]: [u32; 2]) -> String {
    let [a, b, c, _] = nodes.each_ref().map(Node::address);
    let script = root().join("crates/testkit/js/node.mjs");
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nhost = \"app.example\"\nupstream = \"chat\"\n[[route]]\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [{{ address = \"{a}\", weight = {first} }}, {{ address = \"{b}\", weight = {second} }}, \
         \"app.test:{}\"]\n[upstream.chat]\napp = \"chat\"\n\
         [app.chat]\ncommand = [\"node\", {script:?}]\nenv = {{ LIFELINE = \"0\" }}\ninstances = 2\n\
         [drain]\nwindow = \"2s\"\ndeadline = \"10s\"\n[resolver]\nnameservers = [\"{}\"]\n[log]\naccess = \"access.log\"\n",
        c.port(),
        dns.address()
    )
}

const NAMES: [(&str, &str); 2] = [("app.test", "127.0.2.1"), ("app.test", "127.0.2.2")];
/// A roll empties two processes, one after the other.
const VERB_MAX: Duration = Duration::from_secs(120);
/// A session whose client is gone without a word is silent for 45 s, and is looked at every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(90);
const BEGIN: &str = "<!-- written by `cargo xtask soak`, from here -->";
const END: &str = "<!-- to here, soak -->";
