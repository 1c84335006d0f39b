//! `cargo xtask soak`: everything at once, for a long time, and then the question whether anything is left of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
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

use crate::bench::page::{machine, put_between};
use crate::packages;
use crate::run::{aloud, built, command, printed, root};

/// Run mixed load for a long time while everything changes, and see that nothing is left of it.
///
/// Socket.IO clients over WebSocket and polling, plain requests, HEADs and handshakes go on all the time, to four nodes,
/// two of which are known by a name, and to an app of two processes. Every two seconds one thing happens, at random: a
/// reload, a drain or its end, a node's death (SIGKILL) or return, another answer of DNS, a roll of the app, a rotation of
/// the access log. In the end all clients leave; then counts of sessions, sockets, requests and connections must be
/// zero, the open files as many as in the beginning, and the memory of the last quarter not more than that of the second.
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
            let mut stand = Stand::new(seed, built("tidelock", self.debug)?).await?;
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
    program: PathBuf,
    proxy: Tidelock,
    dns: Dns,
    nodes: [Node; 4],
    is_dead: [bool; 4],
    weights: [u32; 2],
    happened: BTreeMap<&'static str, usize>,
    samples: Vec<Sample>,
    slow: Vec<String>,
}

/// What the process holds at one moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    memory_bytes: u64,
    files: usize,
}

/// What came of it.
struct Report {
    happened: BTreeMap<&'static str, usize>,
    samples: Vec<Sample>,
    end: Sample,
    answered: usize,
    failures: BTreeMap<String, usize>,
    disconnects: usize,
    /// Counts that are not zero at the end.
    left: Vec<String>,
    /// Lines of the log that are about very slow requests.
    slow: Vec<String>,
}

impl Stand {
    async fn new(seed: u64, program: PathBuf) -> Result<Self> {
        let at = |name: &str, host: &str| NodePlan::js(name).env("HOST", host);
        let a = Node::start(at("a", "127.0.0.1")).await;
        let b = Node::start(at("b", "127.0.0.1")).await;
        let c = Node::start(at("c", "127.0.2.1")).await;
        let d = Node::start(at("d", "127.0.2.2").port(c.address().port())).await;
        let nodes = [a, b, c, d];
        let dns = Dns::start(&Zone::default(), &NAMES).await;
        let weights = [1, 1];
        let proxy = Tidelock::start(&program, &file_of(&nodes, &dns, weights)).await;
        let (happened, samples) = (BTreeMap::new(), Vec::new());
        let dice = fastrand::Rng::with_seed(seed);
        let (is_dead, slow) = ([false; 4], Vec::new());
        Ok(Self { dice, program, proxy, dns, nodes, is_dead, weights, happened, samples, slow })
    }

    async fn soak(&mut self, length: Duration) -> Result<Report> {
        let url = self.proxy.url();
        let of_app = json!({ "extraHeaders": { "Host": "app.example" } });
        let mut crowds = Vec::new();
        for (count, mode, options) in [
            (30, Mode::Default, json!({})),
            (20, Mode::Polling, json!({})),
            (15, Mode::Default, of_app.clone()),
            (10, Mode::Polling, of_app),
        ] {
            let plan =
                ClientPlan { count, mode, options, echoes: 1, hold: true, ..ClientPlan::to(url.clone()) };
            let crowd = Clients::start(&plan).await;
            crowd.ready().await;
            crowds.push(crowd);
        }
        let load = Load::start(self.proxy.address());
        let end = Instant::now() + length;
        while Instant::now() < end {
            sleep(EVERY).await;
            let sample = self.sample()?;
            self.samples.push(sample);
            let what = self.change().await?;
            *self.happened.entry(what).or_default() += 1;
            let left = (end - Instant::now().min(end)).as_secs();
            eprintln!(
                "xtask: {left} s to go, {} MiB, {} files: {what}",
                sample.memory_bytes >> 20,
                sample.files
            );
        }
        // Everybody is back before everybody leaves.
        for node in 0..4 {
            self.revive(node).await;
        }
        let mut disconnects = 0;
        for crowd in crowds {
            disconnects += crowd.end().await.disconnects.len();
        }
        let seen = load.stop().await;
        let mut failures = BTreeMap::new();
        for failure in seen.failures {
            *failures.entry(failure).or_default() += 1;
        }
        let left = self.until_empty().await;
        self.note_slow(&self.proxy.directory().join("access.log"))?;
        let slow = self.slow.clone();
        let answered = seen.gets + seen.heads + seen.handshakes;
        let (happened, samples, end) = (self.happened.clone(), self.samples.clone(), self.sample()?);
        Ok(Report { happened, samples, end, answered, failures, disconnects, left, slow })
    }

    /// One thing that happens, and what it is called.
    async fn change(&mut self) -> Result<&'static str> {
        let node = self.dice.usize(..4);
        match self.dice.u32(..7) {
            0 => {
                self.weights = [self.dice.u32(1..4), self.dice.u32(1..4)];
                self.proxy.rewrite(&file_of(&self.nodes, &self.dns, self.weights));
                self.verb(&["reload"]).await?;
                Ok("reloads")
            }
            1 => {
                let at = self.nodes[self.dice.usize(..2)].address().to_string();
                self.verb(&["drain", "--no-wait", &at]).await?;
                Ok("drains")
            }
            2 => {
                for node in 0..2 {
                    self.verb(&["undrain", &self.nodes[node].address().to_string()]).await?;
                }
                Ok("ends of drains")
            }
            3 => {
                // One at least lives, or the clients would have nowhere to be.
                if !self.is_dead[node] && self.is_dead.iter().filter(|is_dead| **is_dead).count() < 2 {
                    self.nodes[node].kill().await;
                    self.is_dead[node] = true;
                } else {
                    self.revive(node).await;
                }
                Ok("deaths and returns of nodes")
            }
            4 => {
                let hosts = [&NAMES[..1], &NAMES[1..], &NAMES[..]][self.dice.usize(..3)];
                self.dns.change(hosts).await;
                Ok("answers of DNS")
            }
            5 => {
                self.verb(&["reload", "chat"]).await?;
                Ok("rolls of the app")
            }
            _ => {
                let log = self.proxy.directory().join("access.log");
                fs::rename(&log, log.with_extension("old")).context("the access log")?;
                self.proxy.process().signal(Signal::USR1);
                while !log.exists() {
                    sleep(Duration::from_millis(5)).await;
                }
                self.note_slow(&log.with_extension("old"))?;
                Ok("rotations of the log")
            }
        }
    }

    /// Keeps what the log says of requests that took very long: the load asks for nothing that does.
    fn note_slow(&mut self, log: &Path) -> Result<()> {
        for line in fs::read_to_string(log)?.lines() {
            let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
            let is_poll = entry["target"].as_str().is_some_and(|target| target.contains("sid="));
            let is_slow = entry["ms"].as_f64().is_some_and(|ms| ms > SLOW_MS);
            if is_slow && !is_poll && entry["method"].is_string() && self.slow.len() < SLOW_MAX {
                self.slow.push(line.to_owned());
            }
        }
        Ok(())
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

impl Report {
    fn text(&self) -> String {
        let Self { happened, answered, failures, disconnects, left, end, .. } = self;
        let mut text = String::new();
        for (what, count) in happened {
            text += &format!("- {count} {what}\n");
        }
        text += &format!(
            "- {answered} requests answered; {disconnects} times a Socket.IO client had to come back\n"
        );
        for (failure, count) in failures {
            text += &format!("- {count} requests not answered as wanted: {}\n", failure.trim());
        }
        for line in &self.slow {
            text += &format!("- took very long: `{line}`\n");
        }
        let [first, last] = self.memory();
        text += &format!(
            "- memory {:.1} MiB in the second quarter, {:.1} MiB in the last\n",
            mib(first),
            mib(last)
        );
        let begin = self.samples.first().map_or(0, |sample| sample.files);
        text += &format!(
            "- open files {begin} in the beginning, with clients; {} in the end, without\n",
            end.files
        );
        match left.as_slice() {
            [] => text += "- in the end all counts were zero\n",
            left => text += &format!("- in the end there were left: {}\n", left.join(", ")),
        }
        text
    }

    /// The medians of the second quarter and of the last.
    fn memory(&self) -> [u64; 2] {
        let quarter = self.samples.len() / 4;
        let median = |samples: &[Sample]| {
            let mut all: Vec<_> = samples.iter().map(|sample| sample.memory_bytes).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        [median(&self.samples[quarter..2 * quarter]), median(&self.samples[3 * quarter..])]
    }

    fn verdict(&self, is_long: bool) -> Result<()> {
        ensure!(self.left.is_empty(), "something is left: {}", self.left.join(", "));
        let [first, last] = self.memory();
        ensure!(
            !is_long || last <= first + first / 10,
            "memory grew from {:.1} to {:.1} MiB",
            mib(first),
            mib(last)
        );
        let begin = self.samples.first().map_or(0, |sample| sample.files);
        ensure!(self.end.files <= begin, "{} files are open, {begin} were with clients", self.end.files);
        Ok(())
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
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
const SLOW_MS: f64 = 10_000.0;
const SLOW_MAX: usize = 20;
const EVERY: Duration = Duration::from_secs(2);
/// A roll empties two processes, one after the other.
const VERB_MAX: Duration = Duration::from_secs(120);
/// A session whose client is gone without a word is silent for 45 s, and is looked at every few seconds.
const SILENCE_MAX: Duration = Duration::from_secs(90);
const BEGIN: &str = "<!-- written by `cargo xtask soak`, from here -->";
const END: &str = "<!-- to here, soak -->";
