//! One process of an app, with everything that comes of it: started under a keeper, signalled, watched until all of it
//! is gone. Knows nothing of why it is started or stopped.

mod start;
mod strays;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use config::app::{App, Stop};
use config::roster::{InstanceAddress, InstanceId};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::census::{Census, Usage};
use crate::ground::Ground;
use crate::keeper::order::Command;
use crate::ports::NoPort;
use crate::told::Channel;

pub(crate) use start::{check_cwd, find};

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Of which app.
    pub app: Arc<App>,
    /// Which of its instances. No two that run at once have the same.
    pub id: InstanceId,
}

/// A process that was started, and its descendants. Dropping it kills them all; whoever wants to know when they are
/// gone asks [`Self::ended`] before.
#[derive(Debug)]
pub struct Process {
    launch: Launch,
    address: InstanceAddress,
    pid: i32,
    keeper: i32,
    commands: mpsc::Sender<Command>,
    ending: watch::Receiver<Option<Ending>>,
    pub(crate) channel: Option<Channel>,
}

/// How the app's own process ended. Its descendants are gone too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// Somebody killed its keeper, and tidelock what was left; nobody knows how it ended.
    KeeperLost,
}

/// Why nothing was started. What it says is a whole sentence about the app, without its name.
#[derive(Debug, thiserror::Error)]
pub enum StartProblem {
    /// The program is nowhere.
    #[error("`{0}` is not found in PATH ({1}); if it is a file, write ./{0}")]
    NoCommand(String, String),
    /// The program is not where its path says.
    #[error("there is no {}", .0.display())]
    NoProgram(PathBuf),
    /// It is there, and cannot be run.
    #[error("{} cannot be executed: it is {}", .path.display(), .why)]
    NotExecutable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Its `cwd` is not there.
    #[error("its cwd {} {}", .path.display(), .why)]
    Cwd {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No such user.
    #[error("there is no user `{0}`; `getent passwd` lists those that this system knows")]
    NoUser(String),
    /// No such group.
    #[error("there is no group `{0}`; `getent group` lists those that this system knows")]
    NoGroup(String),
    /// The system cannot say whether there is such a user or group: a directory service does not answer.
    #[error("the system cannot look up `{name}`: {error}")]
    Account {
        /// Who.
        name: String,
        /// The system's reason.
        error: io::Error,
    },
    /// Only root may become somebody else.
    #[error("it cannot run as {0}: only root may become another user, and tidelock does not run as root")]
    NotRoot(String),
    /// `env_file` cannot be read.
    #[error("its env_file {}: {}", .0.display(), .1)]
    EnvFile(PathBuf, io::Error),
    /// `env_file` says something that is no variable.
    #[error("its env_file {} line {line}: {why}", .path.display())]
    EnvFileLine {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        why: &'static str,
    },
    /// Nowhere to listen.
    #[error(transparent)]
    NoPort(#[from] NoPort),
    /// A Unix socket has a path of at most 107 bytes.
    #[error("its socket would be {}, which is longer than the 107 bytes that a Unix socket may have: let XDG_RUNTIME_DIR or TMPDIR be a shorter path, or use `socket = \"tcp\"`", .0.display())]
    SocketPath(PathBuf),
    /// The system would not start it.
    #[error("the system does not start {}: {}", .program.display(), .error)]
    Refused {
        /// What was to be started.
        program: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// No keeper, and so no process.
    #[error("its keeper cannot be started: {0}")]
    Keeper(io::Error),
}

impl Process {
    /// Looks everything up and starts it. Its output runs into the logs of `ground` until its end.
    ///
    /// Not cancel-safe in one way: what was begun is ended by itself, but its port is given out again at once.
    ///
    /// # Errors
    /// If it does not start; one that starts and ends at once is no error here, but its ending.
    pub async fn start(ground: &Ground, launch: Launch) -> Result<Self, StartProblem> {
        start::start(ground, launch).await
    }

    /// Its process id; the leader of its process group.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// What was started.
    #[must_use]
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Where it was told to listen. No other instance is told the same while this is there.
    #[must_use]
    pub fn address(&self) -> &InstanceAddress {
        &self.address
    }

    /// Asks it to end: the signal to its process group, and PM2's `shutdown` if `stop` says so. The time that it has
    /// is the caller's to measure.
    pub fn stop(&self, stop: &Stop) {
        if stop.tell {
            self.tell_shutdown();
        }
        self.signal(stop.signal);
    }

    /// Sends a signal to its process group, once it is stopped on purpose: from now on descendants may outlive its own
    /// process.
    pub fn signal(&self, signal: i32) {
        // The last place is for a kill; a keeper that does not even take so many signals is not helped by one more.
        if self.commands.capacity() > 1 {
            let _ = self.commands.try_send(Command::Signal(signal));
        }
    }

    /// Kills (SIGKILL) it and everything that came of it.
    pub fn kill(&self) {
        // If there is no place there is a kill among those that wait.
        let _ = self.commands.try_send(Command::Kill);
    }

    /// Waits until it and everything that came of it is gone. Cancel-safe; may be asked again.
    pub async fn ended(&self) -> Ending {
        let mut ending = self.ending.clone();
        match ending.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(Ending::KeeperLost),
            // Only the end of the whole runtime takes that task away.
            Err(_) => std::future::pending().await,
        }
    }

    /// What it takes now, its descendants included and its keeper not; nothing once it ended.
    pub async fn usage(&self) -> Usage {
        let keeper = self.keeper;
        // Whoever asks while the runtime ends gets nothing.
        spawn_blocking(move || Census::take().usage(keeper)).await.unwrap_or_default()
    }

    /// The process id of its keeper: what the usage of many processes is read by from one [`Census`].
    #[must_use]
    pub fn keeper(&self) -> i32 {
        self.keeper
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.app.name, self.id.slot)
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Code(code) => write!(formatter, "ended with code {code}"),
            Self::Signal(signal) => match signal_name(signal) {
                Some(name) => write!(formatter, "was ended by {name}"),
                None => write!(formatter, "was ended by signal {signal}"),
            },
            Self::KeeperLost => formatter.write_str("was killed, because somebody killed its keeper"),
        }
    }
}

/// Those that people meet; the others are told by number.
fn signal_name(signal: i32) -> Option<&'static str> {
    use rustix::process::Signal;
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
    ];
    names.into_iter().find(|(named, _)| named.as_raw() == signal).map(|(_, name)| name)
}
