//! One program of the demo: its output with its name in front, and its end.

use std::ffi::OsStr;
use std::fmt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// A command for a program that knows nothing of a lifeline: on Linux the kernel kills it when this process has gone,
/// in whatever way.
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

/// A running program. Dropping it kills it.
pub(crate) struct Child {
    name: String,
    process: tokio::process::Child,
    ready: mpsc::Receiver<()>,
    /// Closes with this process, however it ends; a chat node takes that as the sign to end too.
    _lifeline: Option<ChildStdin>,
}

/// What is left of a child.
pub(crate) struct Ended {
    pub(crate) name: String,
    status: ExitStatus,
}

impl fmt::Display for Ended {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} has ended ({})", self.name, self.status)
    }
}

impl Child {
    pub(crate) fn start(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // A Ctrl-C goes to the whole group of the terminal, and the demo wants to end its children in its own order.
        command.env("LIFELINE", "1").process_group(0);
        let mut process = command.spawn().with_context(|| format!("{name} cannot be started"))?;
        let (said_ready, ready) = mpsc::channel(1);
        if let Some(stdout) = process.stdout.take() {
            tokio::spawn(relay(name.to_owned(), stdout, said_ready.clone()));
        }
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(relay(name.to_owned(), stderr, said_ready));
        }
        let lifeline = process.stdin.take();
        Ok(Self { name: name.to_owned(), process, ready, _lifeline: lifeline })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id; 0 once its end was seen.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id().unwrap_or(0)
    }

    /// Waits until it says that it listens. Its end is the error.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        if self.ready.recv().await.is_some() {
            return Ok(());
        }
        let status = self.process.wait().await?;
        bail!("{} ended before it was ready ({status}); its last lines are above", self.name);
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        // It may have ended by itself a moment ago.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
    }
}

/// Takes those out of `children` that have ended.
pub(crate) fn take_ended(children: &mut Vec<Child>) -> Result<Vec<Ended>> {
    let mut ended = Vec::new();
    for at in (0..children.len()).rev() {
        if let Some(status) = children[at].process.try_wait()? {
            ended.push(Ended { name: children.remove(at).name, status });
        }
    }
    Ok(ended)
}

/// Asks all to end, waits a little, and kills those that do not.
pub(crate) async fn end_all(children: &mut Vec<Child>) {
    children.iter().for_each(Child::terminate);
    let deadline = Instant::now() + END_WITHIN;
    for mut child in children.drain(..) {
        if timeout_at(deadline, child.process.wait()).await.is_err() {
            println!("demo: {} takes too long and is killed", child.name);
            // Nothing can be done about a process that cannot even be killed.
            let _ = child.process.kill().await;
        }
    }
}

/// Prints the lines of one stream, and says when one of them tells that the child listens.
async fn relay(name: String, stream: impl AsyncRead + Unpin, ready: mpsc::Sender<()>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        println!("{name:8} | {line}");
        if line.contains("listening") {
            // The first one is enough; nobody reads the rest.
            let _ = ready.try_send(());
        }
    }
}

const END_WITHIN: Duration = Duration::from_secs(5);
