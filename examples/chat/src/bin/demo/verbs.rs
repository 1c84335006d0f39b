//! The buttons of the page: each is a command that a person would type, run as it stands, and what it prints is shown.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use socketioxide::SocketIo;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::fleet::Fleet;

/// What a button asks for.
#[derive(Debug, Deserialize)]
pub(crate) struct Press {
    verb: Verb,
    node: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verb {
    Drain,
    Undrain,
    Roll,
    Kill,
}

/// A line for all pages.
#[derive(Debug, Serialize)]
struct Said<'a> {
    /// `typed`, `printed` or `failed`.
    kind: &'a str,
    line: &'a str,
}

/// Carries out what buttons ask for. All clones are one.
#[derive(Clone)]
pub(crate) struct Buttons {
    pub(crate) fleet: Fleet,
    pub(crate) io: SocketIo,
    under_way: Arc<Semaphore>,
}

impl Buttons {
    pub(crate) fn new(fleet: Fleet, io: SocketIo) -> Self {
        Self { fleet, io, under_way: Arc::new(Semaphore::new(UNDER_WAY_MAX)) }
    }

    /// Does it, and tells all pages how it goes. Returns whether it was done.
    pub(crate) async fn press(&self, Press { verb, node }: Press) -> bool {
        // Only what is there is talked about: whatever a page says is no option of a command.
        let Some(pid) = self.fleet.pid_of(&node).await else {
            self.say("failed", &format!("there is no process {node} at this moment")).await;
            return false;
        };
        let Ok(_permit) = self.under_way.try_acquire() else {
            self.say("failed", "a dozen commands are under way already").await;
            return false;
        };
        let words = match verb {
            Verb::Kill => return self.kill(pid).await,
            Verb::Drain => ["drain", &node],
            Verb::Undrain => ["undrain", &node],
            Verb::Roll => ["reload", &node],
        };
        self.say("typed", &format!("tidelock {} {}", words[0], words[1])).await;
        let mut command = Command::new(self.fleet.tidelock());
        command.args(words).arg("--socket").arg(self.fleet.admin()).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let Ok(mut process) = command.spawn() else {
            self.say("failed", "the command cannot be started").await;
            return false;
        };
        let (stdout, stderr) = (process.stdout.take(), process.stderr.take());
        let ended = timeout(VERB_TIMEOUT, async {
            tokio::join!(self.relay(stdout), self.relay(stderr));
            process.wait().await
        });
        let done = matches!(ended.await, Ok(Ok(status)) if status.success());
        if !done {
            self.say("failed", &format!("tidelock {} {}: not done", words[0], words[1])).await;
        }
        done
    }

    async fn kill(&self, pid: u32) -> bool {
        self.say("typed", &format!("kill -9 {pid}")).await;
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok())
    }

    async fn relay(&self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(stream) = stream else { return };
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            self.say("printed", &line).await;
        }
    }

    async fn say(&self, kind: &str, line: &str) {
        // A page that closes meanwhile does not get it.
        let _ = self.io.emit("said", &Said { kind, line }).await;
    }
}

const UNDER_WAY_MAX: usize = 12;
/// A drain has a deadline of its own, and a roll one for each of its steps.
const VERB_TIMEOUT: Duration = Duration::from_secs(120);
