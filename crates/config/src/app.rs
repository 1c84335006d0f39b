//! The apps of a plan: what the supervisor runs. Validated and immutable like the rest of the plan.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// An `[app.NAME]`: a command of which some processes run, each of them a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its key in the file, or the stem of the file that `tidelock start` was given.
    pub name: String,
    /// The program and its arguments; never empty. The program is looked up in PATH unless it has a slash.
    pub command: Vec<String>,
    /// The same for people: as the file has it, with the names of variables and not what they hold.
    pub shown: String,
    /// Where it runs, absolute (default: the folder of the file).
    pub cwd: PathBuf,
    /// Added to tidelock's own environment, and stronger than `env_file`.
    pub env: BTreeMap<String, String>,
    /// Lines of `NAME=value`, read at every start of a process.
    pub env_file: Option<PathBuf>,
    /// Whom it runs as; tidelock must be root for another than its own.
    pub user: Option<String>,
    /// Its group (default: the user's own).
    pub group: Option<String>,
    /// Whether it can gain no rights by what it executes (PR_SET_NO_NEW_PRIVS): `sudo` and `ping` do not work in it then.
    pub no_new_privs: bool,
    /// How many processes (default one).
    pub instances: Instances,
    /// How a process learns where to listen.
    pub port: Port,
    /// Where ports of instances are taken from; `None` is any free one.
    pub ports: Option<RangeInclusive<u16>>,
    /// TCP on loopback or a Unix socket.
    pub socket: Socket,
    /// When an instance counts as ready.
    pub ready: Ready,
    /// How it is stopped.
    pub stop: Stop,
    /// What happens when it ends by itself.
    pub restart: Restart,
    /// More resident memory than this, in bytes, of a process and its descendants, and the instance is replaced.
    pub memory_max: Option<u64>,
    /// When it is rolled, without anybody asking: five fields, minute to day of week, local time.
    pub cron: Option<String>,
    /// Rolled when a file changes; for development.
    pub watch: Option<Watch>,
    /// What becomes of its output.
    pub logs: Logs,
}

/// How many processes of an app run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// One for each core this process may use.
    Max,
    /// So many, 1 to 1,024.
    Count(NonZeroU32),
}

impl Instances {
    /// What an app has that says nothing.
    pub const ONE: Self = Self::Count(NonZeroU32::MIN);
}

/// How a process learns where to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Port {
    /// By PORT, and a Node.js app that listens on a port of its own is redirected: the listen on this port, or else its
    /// first.
    Redirect(Option<u16>),
    /// By PORT alone.
    Env,
}

/// What an instance listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Socket {
    /// A loopback port of its own.
    Tcp,
    /// A Unix socket; `remoteAddress` is undefined there, and apps notice.
    Unix,
}

/// When an instance counts as ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// What it must have done.
    pub when: ReadyWhen,
    /// So long after its start it must have done it (default 30 s, 100 ms to 1 h).
    pub deadline: Duration,
}

/// What an instance must have done to be ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadyWhen {
    /// Its port is open.
    Port,
    /// A GET of this path is answered with this status; `None` is any from 200 to 399.
    Http {
        /// Path and query.
        path: String,
        /// 100 to 599.
        status: Option<u16>,
    },
    /// An Engine.IO handshake on this path is answered with an open packet; it is closed again.
    EngineIo {
        /// Usually `/socket.io/`.
        path: String,
    },
    /// It has said `process.send('ready')` over NODE_CHANNEL_FD, as under PM2.
    Told,
    /// Its process runs: for an app that listens nowhere, and that no upstream uses.
    Running,
}

/// How an instance is stopped, after it was emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// Sent to its process group first; the number of the signal on this system (default SIGTERM).
    pub signal: i32,
    /// SIGKILL comes so long after it (default 30 s, 0 s to 1 h).
    pub timeout: Duration,
    /// Whether `shutdown` is sent over NODE_CHANNEL_FD as well, as PM2 does with `shutdown_with_message`.
    pub tell: bool,
}

/// What happens when an instance ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restart {
    /// The first pause before a start (default 100 ms); doubled with each, with jitter.
    pub pause_min: Duration,
    /// The longest (default 15 s).
    pub pause_max: Duration,
    /// After so long without an end the next pause is the first again (default 30 s).
    pub stable: Duration,
    /// So many restarts in a row without a stable time, and it is given up; `None` is never.
    pub max: Option<u32>,
}

/// Which files are watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Files and folders, whole trees; never empty.
    pub paths: Vec<PathBuf>,
    /// Names of files and folders in them that do not count; `node_modules` and those that begin with a dot never do.
    pub ignore: Vec<String>,
}

/// What becomes of an app's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logs {
    /// The folder of its files; `None` keeps lines in memory only.
    pub folder: Option<PathBuf>,
    /// A file is rotated at this size, in bytes (default 10 MiB).
    pub file_bytes_max: u64,
    /// So many files are kept, the current one included (default 5).
    pub files_max: u32,
    /// So many lines are kept in memory for each instance (default 1,000).
    pub ring_lines_max: usize,
    /// How a line looks.
    pub format: LogFormat,
    /// Whether lines in files begin with the time (default true).
    pub time: bool,
}

/// How a line of an app's output looks in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// As the app wrote it.
    #[default]
    Text,
    /// A JSON object a line: time, app, instance, stream, line.
    Json,
}
