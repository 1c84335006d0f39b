//! `cargo xtask bench sessions`: what a drain costs tidelock where very many polling sessions are open.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use load::processes::Processes;
use testkit::process::Process;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;
use tokio::process::Command;
use tokio::runtime;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::run::{aloud, built, command};

/// Fill the memory of sessions, drain one node of three, and measure what that costs.
///
/// An origin that is three nodes opens the sessions: a handshake each, as clients do it, and none polls. Then one node is
/// drained over a window of ten minutes, of which one is measured: the CPU time of the thread that drains, the closes
/// (POSTs to the node) included, and how long the verbs take meanwhile. Prints one line for each.
///
/// A million sessions take about two minutes, and before that the time of a release build. Everything stays on loopback.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench sessions
  cargo xtask bench sessions --count 30000 --seconds 10")]
pub(crate) struct Sessions {
    /// How many sessions are opened.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    count: usize,

    /// For how many seconds of the drain its cost is measured.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u64,
}

impl Sessions {
    pub(crate) fn run(&self) -> Result<()> {
        let release = ["build", "--release", "--package", "tidelock", "--package", "tidelock-load"];
        aloud("building what is measured", command(".", "cargo", &release))?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                measured = self.measure() => measured,
                _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that was started is ended"),
            }
        })
    }

    async fn measure(&self) -> Result<()> {
        let program = built("tidelock", false)?;
        let (_origin, nodes) = origin(&program.with_file_name("tidelock-load")).await?;
        let mut proxy = Tidelock::start(&program, &file_of(&nodes, self.count)).await;
        let id = proxy.process().pid();
        let empty = Processes::of(&[id]).memory_bytes()?;
        eprintln!("xtask: opening {} sessions", self.count);
        let begun = Instant::now();
        open(proxy.address(), self.count).await?;
        let took = begun.elapsed().as_secs_f64();
        let bytes = (Processes::of(&[id]).memory_bytes()? - empty) as f64 / self.count as f64;
        println!("sessions: {} opened in {took:.0} s, {bytes:.0} bytes each", self.count);

        let verbs = Verbs { program, directory: proxy.directory().to_owned() };
        let on_node = |status: &serde_json::Value| status["upstreams"][0]["nodes"][0]["sessions"].as_u64();
        let before = on_node(&proxy.status().await).context("a count of sessions")?;
        println!("verbs before: {}", verbs.slowest(&[&["status"]], 5).await?);
        let node = nodes[0].to_string();
        let first_drain = verbs.time(&["drain", "--no-wait", &node]).await?;
        let mut took = Vec::new();
        let (first, begun) = (control_ns(id)?, Instant::now());
        while begun.elapsed() < Duration::from_secs(self.seconds) {
            took.push(verbs.time(&["status"]).await?);
            sleep(Duration::from_secs(1)).await;
        }
        let percent = (control_ns(id)? - first) as f64 / begun.elapsed().as_nanos() as f64 * 100.0;
        let after = on_node(&proxy.status().await).context("a count of sessions")?;
        let closed = before - after;
        println!(
            "drain: {closed} of {before} closed in {} s, {percent:.1} % of a core with their POSTs",
            self.seconds
        );
        println!("status meanwhile: {}", slowest(&took));
        let undrain = verbs.time(&["undrain", &node]).await?;
        let after_undrain = verbs.time(&["status"]).await?;
        let drain = verbs.time(&["drain", "--no-wait", &node]).await?;
        let after_drain = verbs.time(&["status"]).await?;
        let others = [first_drain, undrain, after_undrain, drain, after_drain].map(|took| took.as_millis());
        println!("drain, undrain, status, drain again, status took {others:?} ms");
        ensure!(closed > 0, "nothing was closed");
        Ok(())
    }
}

/// One process that is three nodes, at as many addresses.
async fn origin(program: &Path) -> Result<(Process, Vec<SocketAddr>)> {
    let mut command = Command::new(program);
    command.args(["origin", "--lifeline", "--listen", "127.0.1.1:0", "--addresses", "3"]);
    let process = Process::spawn("origin", command);
    let line = process.wait_for_line(|line| line.starts_with(LISTENING)).await;
    let first: SocketAddr = line.trim_start_matches(LISTENING).parse()?;
    Ok((process, (1..=3).map(|host| SocketAddr::from(([127, 0, 1, host], first.port()))).collect()))
}

async fn open(proxy: SocketAddr, count: usize) -> Result<()> {
    let mut opening = JoinSet::new();
    for index in 0..CONNECTIONS {
        let share = count / CONNECTIONS + usize::from(index < count % CONNECTIONS);
        opening.spawn(async move {
            let mut connection = RawConnection::connect(proxy).await;
            for _ in 0..share {
                let answer = connection.try_ask(HANDSHAKE).await.map_err(anyhow::Error::msg)?;
                ensure!(answer.status() == 200, "a handshake is answered {}", answer.start);
            }
            Ok(())
        });
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    Ok(())
}

/// The program, asked in the way its users ask it.
struct Verbs {
    program: PathBuf,
    directory: PathBuf,
}

impl Verbs {
    /// How long one takes, its process included.
    async fn time(&self, words: &[&str]) -> Result<Duration> {
        let mut command = Command::new(&self.program);
        command.args(words).env("XDG_RUNTIME_DIR", &self.directory).kill_on_drop(true);
        let begun = Instant::now();
        let output = command.output().await?;
        let took = begun.elapsed();
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(took)
    }

    async fn slowest(&self, words: &[&[&str]], times: usize) -> Result<String> {
        let mut took = Vec::new();
        for words in words.iter().cycle().take(words.len() * times) {
            took.push(self.time(words).await?);
        }
        Ok(slowest(&took))
    }
}

fn slowest(took: &[Duration]) -> String {
    let most = took.iter().max().copied().unwrap_or_default();
    format!("{} took {} ms at most", took.len(), most.as_millis())
}

/// What the thread that drains has used: the first of the process.
fn control_ns(id: u32) -> Result<u64> {
    let file = format!("/proc/{id}/task/{id}/schedstat");
    let text = fs::read_to_string(&file).with_context(|| file.clone())?;
    text.split(' ').next().and_then(|ns| ns.parse().ok()).with_context(|| file)
}

fn file_of(nodes: &[SocketAddr], count: usize) -> String {
    let nodes: Vec<_> = nodes.iter().map(ToString::to_string).collect();
    let max = count.max(1000) * 2;
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = {nodes:?}\n\
         sticky = \"engineio\"\n[drain]\nwindow = \"10m\"\ndeadline = \"15m\"\n[limits]\nsessions_max = {max}\n"
    )
}

const CONNECTIONS: usize = 32;
const HANDSHAKE: &str = "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n";
const LISTENING: &str = "listening on ";
