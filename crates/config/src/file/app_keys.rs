//! The keys of `[app.NAME]`, declared as in `keys`. Nothing here reads.

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::process::Signal;

use super::app_kinds::{
    AppName, Command, Cron, Env, Folder, FolderOrOff, InstanceCount, Person, PortRange, PortWay, ReadyWay,
    Target, Texts,
};
use super::declared::{Key, Optional, Or, Required, Section, Shape, Sub};
use super::kinds::{Count, FilePath, Flag, OrNone, Size, Time, Word};
use crate::app::{Instances, LogFormat, Port, Socket};

pub(crate) static APP: Sub = Sub {
    name: "app",
    shape: Shape::Named,
    section: &Section {
        doc: "A command of which tidelock runs some processes, each of them a node of the upstreams with `app = \
              \"NAME\"`.",
        keys: &[
            &COMMAND,
            &ARGS,
            &CWD,
            &ENV,
            &ENV_FILE,
            &USER,
            &GROUP,
            &NO_NEW_PRIVS,
            &INSTANCES,
            &PORT,
            &PORTS,
            &SOCKET,
            &READY,
            &STOP,
            &RESTART,
            &MEMORY_MAX,
            &CRON,
            &WATCH,
            &LOGS,
        ],
        later: &[],
    },
};
/// The key of an upstream whose nodes are an app's processes.
pub(crate) static UPSTREAM_APP: Key<AppName, Optional> = Key {
    name: "app",
    kind: AppName,
    absent: Optional("the nodes are those in `nodes`"),
    doc: "The NAME of an `[app.NAME]`, whose processes are the nodes, in the place of `nodes`.",
};
pub(crate) static COMMAND: Key<Command, Required> = Key {
    name: "command",
    kind: Command,
    absent: Required("[\"node\", \"index.js\"]"),
    doc: "The program and its arguments: a list, or a string that is split at spaces as a shell would, quotes \
          respected and nothing else. The program is looked up in PATH unless it has a slash.",
};
pub(crate) static ARGS: Key<Texts, Or<Vec<String>>> = Key {
    name: "args",
    kind: Texts { example: "[\"--verbose\"]" },
    absent: Or(Vec::new()),
    doc: "More arguments, behind those of `command`.",
};
pub(crate) static CWD: Key<Folder, Optional> = Key {
    name: "cwd",
    kind: Folder,
    absent: Optional("the folder of this file"),
    doc: "The folder that it runs in. Relative to the folder of this file.",
};
pub(crate) static ENV: Key<Env, Or<BTreeMap<String, String>>> = Key {
    name: "env",
    kind: Env,
    absent: Or(BTreeMap::new()),
    doc: "Added to tidelock's own environment, and stronger than `env_file`. PORT, HOST, NODE_APP_INSTANCE and \
          INSTANCE_ID are tidelock's to set.",
};
pub(crate) static ENV_FILE: Key<FilePath, Optional> = Key {
    name: "env_file",
    kind: FilePath,
    absent: Optional("none is read"),
    doc: "A file of lines `NAME=value`, read at every start of a process: with the rights of `user` if others than root \
          may write to a folder on its way. Relative to the folder of this file.",
};
pub(crate) static USER: Key<Person, Optional> = Key {
    name: "user",
    kind: Person,
    absent: Optional("tidelock's own"),
    doc: "Whom it runs as; tidelock must be root for another than its own.",
};
pub(crate) static GROUP: Key<Person, Optional> = Key {
    name: "group",
    kind: Person,
    absent: Optional("the user's own"),
    doc: "The group that it runs as.",
};
pub(crate) static NO_NEW_PRIVS: Key<Flag, Or<bool>> = Key {
    name: "no_new_privs",
    kind: Flag,
    absent: Or(false),
    doc: "Whether it can gain no rights by the programs that it runs: set-user-ID bits and file capabilities then count \
          for nothing, so that `sudo` and `ping` do not work in it.",
};
pub(crate) static INSTANCES: Key<InstanceCount, Or<Instances>> = Key {
    name: "instances",
    kind: InstanceCount { most: 1024 },
    absent: Or(Instances::ONE),
    doc: "How many processes of it run: \"max\" is one for each core that tidelock may use.",
};
pub(crate) static PORT: Key<PortWay, Or<Port>> = Key {
    name: "port",
    kind: PortWay,
    absent: Or(Port::Redirect(None)),
    doc: "How a process learns where to listen. PORT in its environment says it. \"redirect\": a Node.js app that \
          listens on a port of its own all the same is redirected, at its first listen; a number: at its listen on \
          that port. \"env\": PORT alone.",
};
pub(crate) static PORTS: Key<PortRange, Optional> = Key {
    name: "ports",
    kind: PortRange,
    absent: Optional("any that are free"),
    doc: "Where the ports of its processes are taken from: \"4000-4099\". A rolling restart needs one more than \
          there are processes.",
};
pub(crate) static SOCKET: Key<Word<Socket>, Or<Socket>> = Key {
    name: "socket",
    kind: Word(&[("tcp", Socket::Tcp), ("unix", Socket::Unix)]),
    absent: Or(Socket::Tcp),
    doc: "What a process listens on: a port of its own on loopback, or a Unix socket, where `remoteAddress` is \
          undefined for the app.",
};
pub(crate) static READY: Key<ReadyWay, Optional> = Key {
    name: "ready",
    kind: ReadyWay,
    absent: Optional("\"port\"; \"running\" if no upstream uses the app"),
    doc: "When a process is given requests: its port is open, it answers a GET, it answers an Engine.IO handshake, \
          it has said `process.send('ready')` as under PM2, or it just runs. A table says more.",
};

/// `ready`, where it is more than a word.
pub(crate) static READY_TABLE: Section = Section {
    doc: "When a process is given requests.",
    keys: &[&READY_WHEN, &READY_PATH, &READY_STATUS, &READY_DEADLINE],
    later: &[],
};
pub(crate) static READY_WHEN: Key<Word<When>, Optional> = Key {
    name: "when",
    kind: Word(&[
        ("port", When::Port),
        ("http", When::Http),
        ("engineio", When::EngineIo),
        ("told", When::Told),
        ("running", When::Running),
    ]),
    absent: Optional("\"http\" beside a `path`, and else as if `ready` were left out"),
    doc: "What it must have done.",
};
pub(crate) static READY_PATH: Key<Target, Optional> = Key {
    name: "path",
    kind: Target,
    absent: Optional("\"/\" for \"http\", \"/socket.io/\" for \"engineio\""),
    doc: "The path that is asked for, with its query.",
};
pub(crate) static READY_STATUS: Key<Count, Optional> = Key {
    name: "status",
    kind: Count { least: 100, most: 599 },
    absent: Optional("any from 200 to 399"),
    doc: "The status that \"http\" waits for.",
};
pub(crate) static READY_DEADLINE: Key<Time, Or<Duration>> = Key {
    name: "deadline",
    kind: Time { least: Duration::from_millis(100), most: Duration::from_hours(1) },
    absent: Or(Duration::from_secs(30)),
    doc: "So long after its start it must have done it; a process that has not is stopped and started again.",
};
/// The words of `ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    Port,
    Http,
    EngineIo,
    Told,
    Running,
}

pub(crate) static STOP: Sub = Sub {
    name: "stop",
    shape: Shape::One,
    section: &Section {
        doc: "How a process is stopped, after its sessions have left it.",
        keys: &[&STOP_SIGNAL, &STOP_TIMEOUT, &STOP_TELL],
        later: &[],
    },
};
pub(crate) static STOP_SIGNAL: Key<Word<i32>, Or<i32>> = Key {
    name: "signal",
    kind: Word(&[
        ("SIGTERM", Signal::TERM.as_raw()),
        ("SIGINT", Signal::INT.as_raw()),
        ("SIGQUIT", Signal::QUIT.as_raw()),
        ("SIGHUP", Signal::HUP.as_raw()),
        ("SIGUSR1", Signal::USR1.as_raw()),
        ("SIGUSR2", Signal::USR2.as_raw()),
        ("SIGWINCH", Signal::WINCH.as_raw()),
        ("SIGKILL", Signal::KILL.as_raw()),
    ]),
    absent: Or(Signal::TERM.as_raw()),
    doc: "Sent to it and its descendants first.",
};
pub(crate) static STOP_TIMEOUT: Key<Time, Or<Duration>> = Key {
    name: "timeout",
    kind: Time { least: Duration::ZERO, most: Duration::from_hours(1) },
    absent: Or(Duration::from_secs(30)),
    doc: "SIGKILL comes so long after the signal.",
};
pub(crate) static STOP_TELL: Key<Flag, Or<bool>> = Key {
    name: "tell",
    kind: Flag,
    absent: Or(false),
    doc: "Whether a Node.js app gets the message \"shutdown\" as well, as PM2 sends it with `shutdown_with_message`.",
};

pub(crate) static RESTART: Sub = Sub {
    name: "restart",
    shape: Shape::One,
    section: &Section {
        doc: "What happens when a process ends by itself.",
        keys: &[&RESTART_PAUSE_MIN, &RESTART_PAUSE_MAX, &RESTART_STABLE, &RESTART_MAX],
        later: &[],
    },
};
pub(crate) static RESTART_PAUSE_MIN: Key<Time, Or<Duration>> = Key {
    name: "pause_min",
    kind: Time { least: Duration::ZERO, most: Duration::from_hours(1) },
    absent: Or(Duration::from_millis(100)),
    doc: "The pause before the first start again. It is doubled with each that follows, and a part of it is chance.",
};
pub(crate) static RESTART_PAUSE_MAX: Key<Time, Or<Duration>> = Key {
    name: "pause_max",
    kind: Time { least: Duration::ZERO, most: Duration::from_hours(1) },
    absent: Or(Duration::from_secs(15)),
    doc: "The longest pause. Not shorter than `pause_min`, and as long as it when left out beside a longer one.",
};
pub(crate) static RESTART_STABLE: Key<Time, Or<Duration>> = Key {
    name: "stable",
    kind: Time { least: Duration::from_millis(100), most: Duration::from_hours(24) },
    absent: Or(Duration::from_secs(30)),
    doc: "A process that has run for so long begins again with the first pause.",
};
pub(crate) static RESTART_MAX: Key<OrNone<Count>, Or<Option<u64>>> = Key {
    name: "max",
    kind: OrNone(Count { least: 0, most: 1_000_000 }),
    absent: Or(None),
    doc: "So many starts again in a row without a stable time, and it is given up; or \"none\": never.",
};

pub(crate) static MEMORY_MAX: Key<Size, Optional> = Key {
    name: "memory_max",
    kind: Size { least: 1 << 20, most: 1 << 40 },
    absent: Optional("no bound"),
    doc: "More resident memory than this, of a process and its descendants, and it is replaced: a new one is started, \
          and its sessions move.",
};
pub(crate) static CRON: Key<Cron, Optional> = Key {
    name: "cron",
    kind: Cron,
    absent: Optional("never"),
    doc: "When all of it is replaced, one process after the other, without anybody asking: minute, hour, day of \
          month, month, day of week, in local time.",
};

pub(crate) static WATCH: Sub = Sub {
    name: "watch",
    shape: Shape::One,
    section: &Section {
        doc: "Replaces the processes whenever a file changes; for development. Left out: nothing is watched.",
        keys: &[&WATCH_PATHS, &WATCH_IGNORE],
        later: &[],
    },
};
pub(crate) static WATCH_PATHS: Key<Texts, Optional> = Key {
    name: "paths",
    kind: Texts { example: "[\"src\"]" },
    absent: Optional("`cwd`"),
    doc: "Files and folders, with all that is in them. Relative to `cwd`.",
};
pub(crate) static WATCH_IGNORE: Key<Texts, Or<Vec<String>>> = Key {
    name: "ignore",
    kind: Texts { example: "[\"logs\"]" },
    absent: Or(Vec::new()),
    doc: "Names of files and folders in them that do not count; `node_modules` and those that begin with a dot never \
          do.",
};

pub(crate) static LOGS: Sub = Sub {
    name: "logs",
    shape: Shape::One,
    section: &Section {
        doc: "What becomes of its output.",
        keys: &[
            &LOGS_FOLDER,
            &LOGS_FILE_BYTES_MAX,
            &LOGS_FILES_MAX,
            &LOGS_RING_LINES_MAX,
            &LOGS_FORMAT,
            &LOGS_TIME,
        ],
        later: &[],
    },
};
pub(crate) static LOGS_FOLDER: Key<FolderOrOff, Optional> = Key {
    name: "folder",
    kind: FolderOrOff,
    absent: Optional("`logs` in the folder of this file"),
    doc: "The folder of its files, or \"off\" to keep lines in memory only. They are written with the rights of `user` if \
          others than root may write to a folder on the way, and links are never followed. Relative to the folder of \
          this file.",
};
pub(crate) static LOGS_FILE_BYTES_MAX: Key<Size, Or<u64>> = Key {
    name: "file_bytes_max",
    kind: Size { least: 64 << 10, most: 1 << 40 },
    absent: Or(10 << 20),
    doc: "A file is followed by another one at this size.",
};
pub(crate) static LOGS_FILES_MAX: Key<Count, Or<u64>> = Key {
    name: "files_max",
    kind: Count { least: 1, most: 1000 },
    absent: Or(5),
    doc: "So many files are kept for each process, the current one included.",
};
pub(crate) static LOGS_RING_LINES_MAX: Key<Count, Or<u64>> = Key {
    name: "ring_lines_max",
    kind: Count { least: 0, most: 100_000 },
    absent: Or(1000),
    doc: "So many lines are kept in memory for each process.",
};
pub(crate) static LOGS_FORMAT: Key<Word<LogFormat>, Or<LogFormat>> = Key {
    name: "format",
    kind: Word(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
    absent: Or(LogFormat::Text),
    doc: "How a line looks: as the app wrote it, or a JSON object with time, app, instance, stream and line.",
};
pub(crate) static LOGS_TIME: Key<Flag, Or<bool>> =
    Key { name: "time", kind: Flag, absent: Or(true), doc: "Whether lines in files begin with the time." };
