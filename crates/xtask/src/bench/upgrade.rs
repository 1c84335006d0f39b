//! `cargo xtask bench upgrade`: a tidelock goes on in the place of another one under a crowd, and nobody is to notice but
//! WebSockets, which are asked to come back. The test `live_upgrade` does it with fewer clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use testkit::clients::{ClientPlan, Clients, Mode, Who};
use testkit::load::Load;
use testkit::tidelock::Tidelock;
use tokio::process::Command;
use tokio::runtime;
use tokio::time::{Instant, sleep, timeout};

use crate::packages;
use crate::run::{aloud, built, command, root};

/// Let one tidelock after another go on under a crowd, and count who notices.
///
/// A tidelock runs four processes of a Socket.IO app. Real clients stay connected, by WebSocket and by polling, beside a steady
/// load of requests over connections that are kept and over new ones, and of new sessions. Then `tidelock upgrade`, as often as is
/// wanted. It fails if a request fails or a connection is refused, if a polling session is lost or moves, if a WebSocket is closed
/// otherwise than once, by Close 1001, or does not come back at its first attempt, or if a process of the app is another one.
///
/// It takes a minute for each upgrade, and before that the time of a release build. Everything stays on loopback; the clients and
/// tidelock take some 5,000 open files.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench upgrade
  cargo xtask bench upgrade --websocket 300 --polling 60 --times 10")]
pub(crate) struct Upgrade {
    /// How many clients use WebSocket.
    #[arg(long, value_name = "COUNT", default_value_t = 1000)]
    websocket: usize,

    /// How many clients only poll.
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    polling: usize,

    /// How many upgrades, one after the other.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    times: usize,

    /// This tidelock, instead of one that is built.
    #[arg(long, value_name = "PROGRAM")]
    program: Option<PathBuf>,
}

impl Upgrade {
    pub(crate) fn run(&self) -> Result<()> {
        packages::programs(&packages::FOR_ROLL)?;
        packages::npm()?;
        let program = match &self.program {
            Some(program) => std::path::absolute(program)?,
            None => {
                let release = ["build", "--release", "--package", "tidelock"];
                aloud("building what is measured", command(".", "cargo", &release))?;
                built("tidelock", false)?
            }
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            tokio::select! {
                seen = self.upgrade(&program) => seen,
                _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that was started is ended"),
            }
        })
    }

    async fn upgrade(&self, program: &Path) -> Result<()> {
        let mut tidelock = Tidelock::start(program, &file()).await;
        let serving = Serving { tidelock: &mut tidelock, program };
        let apps = serving.pids_of_app().await?;
        let url = serving.tidelock.url();
        let plan = |mode, count| ClientPlan { count, mode, hold: true, ..ClientPlan::to(url.clone()) };
        let mut websocket = Clients::start(&plan(Mode::Websocket, self.websocket)).await;
        let mut polling = Clients::start(&plan(Mode::Polling, self.polling)).await;
        for (clients, count) in [(&websocket, self.websocket), (&polling, self.polling)] {
            let connected = clients.ready().await.connected;
            ensure!(connected == count, "{connected} of {count} clients connected");
        }
        let at = sessions(polling.who().await)?;
        let load = Load::start(serving.tidelock.address());
        load.until_answered(100).await;
        for time in 1..=self.times {
            let begun = Instant::now();
            let before = serving.pid().await?;
            serving.says(&["upgrade"]).await?;
            let serves = begun.elapsed();
            let next = serving.pid().await?;
            ensure!(next != before, "process {before} still answers verbs");
            until_gone(before).await?;
            let ended = begun.elapsed();
            websocket.until_connects((time + 1) * self.websocket).await;
            load.until_answered(100).await;
            println!(
                "upgrade {time}: process {next} served after {:.2} s, process {before} had ended after {:.1} s",
                serves.as_secs_f64(),
                ended.as_secs_f64()
            );
        }
        let seen = load.stop().await;
        let requests = seen.gets + seen.heads + seen.handshakes;
        println!("load: {requests} requests answered, {} failed", seen.failures.len());
        for failure in seen.failures.iter().take(5) {
            println!("  {failure}");
        }
        let websockets = websocket.report().await;
        let polls = polling.report().await;
        let moved = sessions(polling.who().await)
            .map_or(self.polling, |now| now.iter().zip(&at).filter(|(now, before)| now != before).count());
        let codes = websockets.close_codes.iter().filter(|code| **code == 1001).count();
        println!(
            "WebSockets: {} connected, {codes} closes by 1001 of {}, {} failed attempts",
            websockets.connected,
            websockets.disconnects.len(),
            websockets.connect_errors.len()
        );
        println!(
            "polling: {} connected, {moved} sessions are others, lost by {:?}, failed attempts {:?}",
            polls.connected, polls.disconnects, polls.connect_errors
        );
        let is_same = serving.pids_of_app().await? == apps;
        println!("the app's processes are {}", if is_same { "the same" } else { "others" });
        let closes = self.times * self.websocket;
        let is_well = seen.failures.is_empty()
            && (websockets.connected, websockets.disconnects.len(), codes)
                == (self.websocket, closes, closes)
            && websockets.connect_errors.is_empty()
            && (polls.connected, polls.disconnects.len(), moved) == (self.polling, 0, 0)
            && is_same;
        drop((websocket, polling));
        let last = serving.pid().await?;
        serving.says(&["kill"]).await?;
        until_gone(last).await?;
        if !is_well {
            println!("the log:\n{}", serving.tidelock.process().output());
        }
        ensure!(is_well, "somebody has noticed");
        Ok(())
    }
}

/// Whoever serves by now, of those that have gone on one after the other.
struct Serving<'a> {
    tidelock: &'a mut Tidelock,
    program: &'a Path,
}

impl Serving<'_> {
    async fn says(&self, words: &[&str]) -> Result<()> {
        let mut command = Command::new(self.program);
        command.args(words).env("XDG_RUNTIME_DIR", self.tidelock.directory()).kill_on_drop(true);
        let output = command.output().await?;
        ensure!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    }

    async fn pid(&self) -> Result<u64> {
        self.tidelock.status().await["pid"].as_u64().context("a status has a process id")
    }

    /// Once all of them are ready.
    async fn pids_of_app(&self) -> Result<Vec<u64>> {
        let ready = async {
            loop {
                let status = self.tidelock.status().await;
                let all = status["apps"][0]["instances"].as_array().map_or(&[][..], Vec::as_slice);
                if all.len() == INSTANCES && all.iter().all(|one| one["state"] == "ready") {
                    return all.iter().filter_map(|one| one["pid"].as_u64()).collect();
                }
                sleep(LOOK_EVERY).await;
            }
        };
        timeout(testkit::TIMEOUT, ready).await.context("the app does not get ready")
    }
}

async fn until_gone(pid: u64) -> Result<()> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let gone = async {
        // A child of ours that nobody has waited for is there as a zombie.
        let is_there = || {
            let stat = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        while is_there() {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(testkit::TIMEOUT, gone).await.with_context(|| format!("process {pid} does not end"))
}

/// Which process each client is on, and its session's id at both ends.
fn sessions(answers: Vec<Option<Who>>) -> Result<Vec<(String, String)>> {
    let all = answers.into_iter().map(|who| who.map(|who| (who.sid, who.client_sid)));
    all.collect::<Option<_>>().context("a client is not connected")
}

fn file() -> String {
    let node = root().join("crates/testkit/js/node.mjs");
    // A poll ends with the node's next ping at the latest.
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\napp = \"chat\"\n\
         [log]\naccess = \"off\"\n[app.chat]\ncommand = [\"node\", {:?}]\ninstances = {INSTANCES}\n\
         logs = {{ folder = \"off\" }}\nenv = {{ PING_INTERVAL = \"5000\" }}\n",
        node.display().to_string()
    )
}

const INSTANCES: usize = 4;
const LOOK_EVERY: Duration = Duration::from_millis(20);
