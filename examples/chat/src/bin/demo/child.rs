//! The tidelock of the demo: its output, what can be told from it, and its end.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A command for a program that knows nothing of this one: on Linux the kernel kills it when this process has gone, in
/// whatever way.
pub(crate) async fn leashed(program: impl AsRef<OsStr>) -> Command {
    let setpriv = |program: &OsStr| {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program);
        command
    };
    let mut trial = setpriv("true".as_ref());
    trial.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if trial.status().await.is_ok_and(|status| status.success()) {
        // It becomes the program, under the same process id.
        setpriv(program.as_ref())
    } else {
        Command::new(program)
    }
}

/// The running tidelock. Dropping it kills it, and with it what it runs.
pub(crate) struct Child {
    process: tokio::process::Child,
    heard: mpsc::Receiver<Heard>,
}

/// What is told from a line of its log.
enum Heard {
    Listening(SocketAddr),
    AppsReady,
}

impl Child {
    pub(crate) fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A Ctrl-C goes to the whole group of the terminal, and the demo ends it in its own way.
        command.process_group(0);
        let mut process = command.spawn().context("tidelock cannot be started")?;
        let (said, heard) = mpsc::channel(HEARD_MAX);
        if let Some(stdout) = process.stdout.take() {
            tokio::spawn(relay(stdout, said.clone()));
        }
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(relay(stderr, said));
        }
        Ok(Self { process, heard })
    }

    /// Waits until it says where it listens. Its end is the error.
    pub(crate) async fn listening(&mut self) -> Result<SocketAddr> {
        loop {
            if let Heard::Listening(address) = self.next().await? {
                return Ok(address);
            }
        }
    }

    /// Waits until it says that the nodes are ready.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        while !matches!(self.next().await?, Heard::AppsReady) {}
        Ok(())
    }

    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.process.wait().await?)
    }

    /// Asks it to end, waits a little, and kills it if it does not.
    pub(crate) async fn end(mut self) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        for _ in 0..2 {
            // The second one says that no session is to be waited for. It may have ended by itself a moment ago.
            let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
            if timeout(END_WITHIN, self.process.wait()).await.is_ok() {
                return;
            }
        }
        println!("demo: tidelock takes too long and is killed");
        // Nothing can be done about a process that cannot even be killed.
        let _ = self.process.kill().await;
    }

    async fn next(&mut self) -> Result<Heard> {
        if let Some(heard) = self.heard.recv().await {
            return Ok(heard);
        }
        let status = self.process.wait().await?;
        bail!("tidelock ended before it was ready ({status}); its last lines are above");
    }
}

/// Prints the lines of one stream, and passes on what they tell.
async fn relay(stream: impl AsyncRead + Unpin, said: mpsc::Sender<Heard>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        println!("{line}");
        if let Some(heard) = heard(&line) {
            // Nobody listens any more once all of it is ready.
            let _ = said.try_send(heard);
        }
    }
}

fn heard(line: &str) -> Option<Heard> {
    if line.contains("event=\"apps_ready\"") {
        return Some(Heard::AppsReady);
    }
    let word = |word: &str| word.strip_prefix("address=")?.parse().ok();
    line.contains("event=\"listening\"")
        .then(|| line.split_whitespace().find_map(word).map(Heard::Listening))?
}

const END_WITHIN: Duration = Duration::from_secs(2);
const HEARD_MAX: usize = 4;
