//! What is started, why it was not, and how it ended.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use config::app::App;
use config::roster::InstanceId;

use crate::ports::NoPort;

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// Of which app.
    pub app: Arc<App>,
    /// Which of its instances. No two that run at once have the same.
    pub id: InstanceId,
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
    /// Tidelock was root, and kept only what its apps took then.
    #[error(
        "it cannot run as {0}: no app ran as another user when tidelock was started, which has given up the right to become one since; restart tidelock"
    )]
    GaveUp(String),
    /// Tidelock was root, and has not the right to connect to everybody's sockets.
    #[error(
        "it cannot run as another user than tidelock's with `socket = \"unix\"`: tidelock is not root any more, and may not connect to a socket of that user; use `socket = \"tcp\"`"
    )]
    SocketOfAnother,
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
