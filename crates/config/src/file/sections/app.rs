//! `[app.NAME]`, and apps and the upstreams that use them held together.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::upstream;
use crate::app::values::{Instances, Port, Ready, ReadyWhen, Socket};
use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::app::{Arguments, Command, Cron, Env, InstanceCount, Person, PortRange, PortWay};
use crate::file::kinds::paths::{ExistingFile, Folder};
use crate::file::kinds::ready::{READY_DEADLINE, Readiness, ReadyWay, When};
use crate::file::kinds::{Flag, Size, Word};
use crate::problem::Problem;

pub(crate) mod logs;
pub(crate) mod restart;
pub(crate) mod stop;
pub(crate) mod watch;

use logs::{LOGS, Logs};
use restart::{RESTART, Restart};
use stop::{STOP, Stop};
use watch::{WATCH, Watch};

declare! {
    /// An `[app.NAME]`: a command of which some processes run, each of them a node.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct App in APP = "app", Named:
        "A command of which tidelock runs some processes, each of them a node of the upstreams with `app = \"NAME\"`; one that no upstream uses is a worker process. No app runs by default.";
    given AppParts {
        /// Its key in the file, or the stem of the file that `tidelock start` was given.
        name: String;
        /// Its command and arguments for people: as the file has them, with the names of variables and not what they hold.
        shown: String;
        /// Rolled when a file changes; for development.
        watch: Option<Watch>;
    }
    handed {
        /// The program and its arguments: a list, or a string that is split at spaces as a shell would, quotes respected and
        /// nothing else. The program is looked up in PATH unless it has a slash. `$PORT` is the port of the process.
        COMMAND command: Vec<String> => required "[\"node\", \"index.js\"]", Command;
        /// The folder that it runs in. Relative to the folder of this file.
        CWD cwd: PathBuf => "the folder of this file", Folder;
        /// A file of lines `NAME=value`, read at every start of a process: with the rights of `user` if others than root may
        /// write to a folder on its way. Relative to the folder of this file.
        ENV_FILE env_file: Option<PathBuf> => "none is read", ExistingFile;
        /// When a process is given requests: "port", its port is open; "http", it answers a GET; "engineio", it answers a
        /// handshake; "told", it has said `process.send('ready')` as under PM2; "running", it runs. A table says more: `path`
        /// is what is asked for, `status` (100 to 599) what "http" waits for, and a process that is not ready after `deadline`
        /// (100ms to 1h, 30s if it is left out) is stopped and started again.
        READY ready: Ready => "\"port\"; \"running\" if no upstream uses the app", ReadyWay;
    }
    keys {
        /// More arguments, behind those of `command`.
        ARGS args: Vec<String> = Vec::new(), Arguments;
        /// Added to tidelock's own environment, and stronger than `env_file`. NODE_APP_INSTANCE and INSTANCE_ID are
        /// tidelock's to set; so is PORT, and HOST unless it stands here, in `env_file` or in the app's own `.env`. A worker
        /// (`ready = "running"`) gets neither.
        ENV env: BTreeMap<String, String> = BTreeMap::new(), Env;
        /// Whom it runs as; tidelock must be root for another than its own.
        USER user: Option<String> => "tidelock's own", Person;
        /// The group that it runs as.
        GROUP group: Option<String> => "the user's own", Person;
        /// Whether it can gain no rights by the programs that it runs: set-user-ID bits and file capabilities then count
        /// for nothing, so that `sudo` and `ping` do not work in it.
        NO_NEW_PRIVS no_new_privs: bool = false, Flag;
        /// How many processes of it run: "max" is one for each core that tidelock may use.
        INSTANCES instances: Instances = Instances::ONE, InstanceCount { most: 1024 };
        /// Whether a Socket.IO app without an adapter shares its rooms over all of its processes: they get one on top of Socket.IO's
        /// own ClusterAdapter (4.6 and later), without Redis. Connection state recovery is off then. It does not reach an app
        /// that is bundled into one file; `status` says whether rooms are shared.
        FANOUT fanout: bool = false, Flag;
        /// How a process learns where to listen. PORT in its environment says it, and `$PORT` in its command. "redirect": a
        /// Node.js app that listens on a port of its own all the same is redirected; of several that is the one that
        /// answers as `ready` asks, no metrics, and is open to more than its own machine. A number: at its listen on that
        /// port. "env": PORT alone. What has a port in its code and is no Node.js app is served there if it is the only
        /// process.
        PORT port: Port = Port::Redirect(None), PortWay;
        /// Where the ports of its processes are taken from: "4000-4099". A rolling restart needs one more than there are
        /// processes.
        PORTS ports: Option<RangeInclusive<u16>> => "any that are free", PortRange;
        /// What a process listens on: "tcp", a port of its own on loopback, or "unix", a Unix socket, where `remoteAddress` is undefined
        /// for the app.
        SOCKET socket: Socket = Socket::Tcp, Word<Socket>(&[("tcp", Socket::Tcp), ("unix", Socket::Unix)]);
        /// More resident memory than this, of a process and its descendants, and it is replaced: a new one is started,
        /// and its sessions move.
        MEMORY_MAX memory_max: Option<u64> => "no bound", Size { least: 1 << 20, most: 1 << 40 };
        /// When all of it is replaced, one process after the other, without anybody asking: minute, hour, day of month,
        /// month, day of week, in local time.
        CRON cron: Option<String> => "never", Cron;
    }
    order {
        COMMAND, ARGS, CWD, ENV_FILE, READY, RESTART, WATCH, LOGS, ENV, USER, GROUP, NO_NEW_PRIVS, INSTANCES, FANOUT, PORT, PORTS, SOCKET,
        MEMORY_MAX, CRON, STOP
    }
    tables {
        /// How it is stopped.
        STOP stop: Stop;
        /// What happens when it ends by itself.
        RESTART restart: Restart, checked;
        /// What becomes of its output.
        LOGS logs: Logs, of;
    }
}

impl App {
    /// What is executed: the command and behind it the arguments. Never empty.
    pub fn argv(&self) -> Vec<&str> {
        self.command.iter().chain(&self.args).map(String::as_str).collect()
    }
}

/// Reads every app. Apps that cannot be read are left out, and have been told then; so have upstreams that use an app that is not
/// there.
pub(crate) fn read(root: &Fields<'_>, upstreams: &[Fields<'_>]) -> Vec<App> {
    let tables = root.many(&APP);
    let names: Vec<&str> = tables.iter().map(|fields| fields.name).collect();
    let known: HashSet<&str> = names.iter().copied().collect();
    let mut used = HashSet::new();
    for fields in upstreams {
        if let Some(name) = fields.text_again(&upstream::APP) {
            if !known.contains(name) {
                dangling(fields, name, &names);
            }
            used.insert(name);
        }
    }
    tables.iter().filter_map(|fields| one(fields, used.contains(fields.name))).collect()
}

fn dangling(fields: &Fields<'_>, name: &str, names: &[&str]) {
    let hint = fields.reading.instead(name, names).unwrap_or_else(|| {
        format!("write one: `[app.{name}]`, and `command = [\"node\", \"index.js\"]` under it")
    });
    fields.push(
        Problem::error(fields.span_of(upstream::APP.name), format!("there is no app \"{name}\"")).hint(hint),
    );
}

/// `tidelock delete all` is not meant for one of that name.
fn is_no_word_for_all(fields: &Fields<'_>) -> Option<()> {
    if fields.name != "all" {
        return Some(());
    }
    fields.push(
        Problem::error(fields.span.clone(), "\"all\" cannot be the name of an app")
            .hint("verbs take it for all apps, as in `tidelock stop all`; `--name NAME` says another to `tidelock start`"),
    );
    None
}

fn one(fields: &Fields<'_>, is_used: bool) -> Option<App> {
    let has_name = upstream::check_name(fields, "an app").and_then(|()| is_no_word_for_all(fields));
    let command = fields.required(&COMMAND);
    let cwd = fields.optional(&CWD).unwrap_or_else(|| fields.reading.absolute(""));
    let parts = AppParts {
        name: fields.name.to_owned(),
        command: command.clone().unwrap_or_default(),
        shown: [fields.as_written(COMMAND.name), fields.as_written(ARGS.name)].concat().join(" "),
        env_file: fields.optional(&ENV_FILE).map(|path| std::path::absolute(&path).unwrap_or(path)),
        ready: ready(fields, is_used),
        watch: fields.has(WATCH.name).then(|| Watch::of(&fields.one(&WATCH), &cwd)),
        cwd,
    };
    let app = App::read(fields, parts);
    demand_ports(fields, &app);
    has_name?;
    command?;
    Some(app)
}

fn demand_ports(fields: &Fields<'_>, app: &App) {
    let (Some(ports), Instances::Count(count)) = (&app.ports, app.instances) else { return };
    let there_are = ports.len();
    if there_are > usize::try_from(count.get()).unwrap_or(usize::MAX) {
        return;
    }
    let message = match there_are {
        1 => "one port is too few for one process and one more".to_owned(),
        _ => format!("{there_are} ports are too few for {count} processes and one more"),
    };
    fields.push(
        Problem::error(fields.span_of(PORTS.name), message)
            .hint("a process is started before the one that it replaces is stopped; widen the range"),
    );
}

fn ready(fields: &Fields<'_>, is_used: bool) -> Ready {
    let said = fields.optional(&READY).unwrap_or_default();
    let deadline = said.deadline.unwrap_or(READY_DEADLINE.absent.0);
    if is_used && said.when == Some(When::Running) {
        fields.push(
            Problem::error(fields.span_of(READY.name), "an app that an upstream uses has to listen")
                .hint("leave `ready` out, and it is given requests once its port is open"),
        );
    }
    Ready { when: when(said, is_used), deadline }
}

fn when(said: Readiness, is_used: bool) -> ReadyWhen {
    let path = |default: &str| said.path.clone().unwrap_or_else(|| default.to_owned());
    match said.when {
        Some(When::Port) => ReadyWhen::Port,
        Some(When::Http) => ReadyWhen::Http { path: path("/"), status: said.status },
        Some(When::EngineIo) => ReadyWhen::EngineIo { path: path("/socket.io/") },
        Some(When::Message) => ReadyWhen::Message,
        Some(When::Running) => ReadyWhen::Running,
        None if is_used => ReadyWhen::Port,
        None => ReadyWhen::Running,
    }
}
