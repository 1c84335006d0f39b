//! The nodes of the fault bench: processes that are killed, stopped and started again, and what reached them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use testkit::process::{Mark, Process, Signal};
use tokio::process::Command;
use tokio::time::{Instant, sleep};

use crate::run::root;

/// How a node behaves. All times in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Manner {
    /// Until it answers.
    pub(crate) delay_ms: u64,
    /// It closes connections that rest so long.
    pub(crate) idle_ms: u64,
    /// For so long after its start an answer takes [`Manner::slow_ms`].
    pub(crate) slow_for_ms: u64,
    pub(crate) slow_ms: u64,
    /// Of its answers so many percent are reset in the middle of their body.
    pub(crate) reset_percent: u64,
}

impl Default for Manner {
    fn default() -> Self {
        Self { delay_ms: 2, idle_ms: 60_000, slow_for_ms: 0, slow_ms: 0, reset_percent: 0 }
    }
}

/// A node, and all that it said in its lives.
pub(crate) struct Origin {
    /// `None` while it is dead.
    process: Option<Process>,
    address: SocketAddr,
    /// In lives that have ended.
    said: Vec<String>,
}

/// What reached the nodes.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// How often each POST came whole.
    pub(crate) posts: BTreeMap<String, usize>,
    /// How many answers were reset.
    pub(crate) resets: usize,
}

impl Origin {
    pub(crate) async fn start(manner: Manner) -> Result<Self> {
        let (process, address) = spawn(manner, 0).await?;
        Ok(Self { process: Some(process), address, said: Vec::new() })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// SIGKILL; returns when it was dead.
    pub(crate) async fn kill(&mut self) -> Instant {
        let Some(mut process) = self.process.take() else { return Instant::now() };
        process.kill().await;
        let dead = Instant::now();
        self.said.extend(last_words(&process).await);
        dead
    }

    /// Starts it again where it was, and returns when it listens.
    pub(crate) async fn start_again(&mut self, manner: Manner) -> Result<()> {
        let (process, _) = spawn(manner, self.address.port()).await?;
        self.process = Some(process);
        Ok(())
    }

    /// SIGSTOP, for so long.
    pub(crate) async fn stand_still(&self, long: Duration) {
        let Some(process) = &self.process else { return };
        process.signal(Signal::STOP);
        sleep(long).await;
        process.signal(Signal::CONT);
    }

    /// Whether a request reaches it in this life within `timeout`.
    pub(crate) async fn is_asked(&self, timeout: Duration) -> bool {
        let Some(process) = &self.process else { return false };
        let asked = process.wait_for_line(|line| line.starts_with("GET ") || line.starts_with("POST "));
        tokio::time::timeout(timeout, asked).await.is_ok()
    }

    /// Adds what reached it until now.
    pub(crate) fn tell(&self, reached: &mut Reached) {
        let now = self.process.as_ref().map_or_else(Vec::new, |process| process.lines_since(Mark::default()));
        for line in self.said.iter().chain(&now) {
            match line.split_once(' ') {
                Some(("POST", id)) => *reached.posts.entry(id.to_owned()).or_default() += 1,
                Some(("RESET", _)) => reached.resets += 1,
                _ => {}
            }
        }
    }
}

/// All that a process said that is dead: some of it may still be in the pipe.
async fn last_words(process: &Process) -> Vec<String> {
    let mut lines = process.lines_since(Mark::default());
    loop {
        sleep(Duration::from_millis(50)).await;
        let more = process.lines_since(Mark::default());
        if more.len() == lines.len() {
            return lines;
        }
        lines = more;
    }
}

async fn spawn(manner: Manner, port: u16) -> Result<(Process, SocketAddr)> {
    let mut plan = serde_json::to_value(manner)?;
    plan["port"] = port.into();
    let mut command = Command::new("node");
    command.arg(root().join("crates/xtask/src/bench/faults/origin.mjs")).arg(plan.to_string());
    let process = Process::spawn("origin", command);
    let line = process.wait_for_line(|line| line.starts_with(LISTENING)).await;
    let address = line.trim_start_matches(LISTENING).parse().context("where the origin listens")?;
    Ok((process, address))
}

const LISTENING: &str = "listening on ";
