//! The command line. Every verb says what it did, and exits with 0 only if it did it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use admin::api::{LogsWanted, Told, Which};
use admin::client::Ask;
use clap::{Args, Parser, Subcommand};
use config::Loaded;
use config::problem::Report;

use crate::check::check;
use crate::reload::Source;
use crate::start::{Meant, What};
use crate::{import, log, run, verbs};

/// Keeps every Socket.IO session on its node, in front of any number of them, without cookies.
#[derive(Debug, Parser)]
#[command(name = "tidelock", version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// Serve what this file says, in the foreground, until SIGTERM or Ctrl-C.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Say everything that is wrong with a file, and start nothing.
    ///
    /// Reads the file and looks whether this machine goes with it: certificates, ports, log folders, the admin socket, and
    /// the command, script, folder, `env_file` and user of each app. Prints every problem with its line, a caret and what to
    /// do, and changes nothing. Exits with 0 if tidelock would start with it, as this user and with this environment, with
    /// 1 if not.
    Check {
        /// The file, usually upstreams.toml.
        file: PathBuf,
    },

    /// Run an app without a file, or start one of the running tidelock that was stopped.
    ///
    /// `tidelock start index.js -i max --listen :8080` runs the file in the foreground, one process on each core, with
    /// tidelock in front of them: an app that listens on a port of its own needs no change, and every Socket.IO session
    /// stays on its process. It ends, and all of them with it, at Ctrl-C or SIGTERM.
    ///
    /// `tidelock start chat` starts the app `[app.chat]` of the running tidelock: what was stopped or given up runs
    /// again, and what waits for its next start is started at once. Waits until all of it is ready; exits with 0 if it
    /// is, with 1 if not.
    #[command(after_help = START_EXAMPLES)]
    Start {
        #[command(flatten)]
        what: What,

        #[command(flatten)]
        at: At,
    },

    /// Stop an app of the running tidelock: its sessions leave, then its processes end.
    ///
    /// All at the same time, within the file's `[drain]`. It stays stopped, over reloads too, until `tidelock start`.
    /// Waits until the last process is gone.
    Stop {
        /// The name of an app, or `all`.
        app: String,

        #[command(flatten)]
        at: At,
    },

    /// End the processes of an app at once, and start them again. `tidelock reload APP` disturbs nobody.
    ///
    /// Nobody is served meanwhile, and every session is lost. Waits until all of them are ready.
    Restart {
        /// The name of an app, APP/NUMBER for one of its processes, or `all`.
        app: String,

        #[command(flatten)]
        at: At,
    },

    /// Run more or fewer processes of an app, until the file says another number.
    ///
    /// Those that are too many are emptied before they are stopped. Waits until it is so.
    Scale {
        /// The name of an app.
        app: String,

        /// So many processes, 1 to 1024.
        #[arg(value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
        instances: u32,

        #[command(flatten)]
        at: At,
    },

    /// Show what apps write to standard output and standard error.
    Logs {
        /// The name of an app, or APP/NUMBER for one of its processes [default: all].
        #[arg(default_value = "", hide_default_value = true)]
        app: String,

        /// Go on with what is written from now on, until Ctrl-C.
        #[arg(short, long)]
        follow: bool,

        /// So many of the last lines.
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        lines: usize,

        /// Print each line as JSON.
        #[arg(long)]
        json: bool,

        #[command(flatten)]
        at: At,
    },

    /// Translate nginx's file, or PM2's ecosystem file, into an upstreams.toml.
    ///
    /// The file goes to standard output, with all that was not translated in comments, and to standard error. What an app's
    /// environment holds is written into it, secrets too.
    /// Of nginx's, what is included is read too, and `${NAME}` of Docker's templates is taken from the environment. Exits
    /// with 2 if something of it was not translated.
    Import {
        /// nginx.conf or a part of it; PM2's ecosystem file in JSON, YAML or JavaScript, which needs --run-node if it
        /// computes anything; `pm2` for what a running PM2 has saved (~/.pm2/dump.pm2).
        file: PathBuf,

        /// Run the file with `node`, to see what it exports: it is a program, and does what it does.
        #[arg(long)]
        run_node: bool,

        /// Takes `env_NAME` over `env`, as `pm2 start --env NAME` does.
        #[arg(long, value_name = "NAME")]
        env: Option<String>,
    },

    /// Apply the changed file to the running tidelock, or roll an app.
    ///
    /// With APP its processes are replaced one after the other: a new one is started, and when it is ready the sessions
    /// of an old one move, each once, and it is stopped. Nothing is lost. If a new one does not get ready the roll ends
    /// there, the old ones stay, and it exits with 1. Without APP:
    ///
    /// The file that tidelock was started with is read again, checked as a whole and compared with what is served.
    /// Only what differs is touched: connections and tunnels go on, and a node that is in the file no more is
    /// drained. Certificates are read again even if the file is the same. A file with a mistake changes nothing; what
    /// is wrong with it is printed as `tidelock check` does. Exits with 0 if the file was applied, with 1 if not.
    #[command(
        after_help = "SIGHUP does the same, and says what it did in tidelock's log. `[admin] watch = true` in \
                            the file applies it whenever it changes."
    )]
    Reload {
        /// The name of an app, APP/NUMBER for one of its processes, or `all`.
        app: Option<String>,

        /// The whole roll's budget: sessions are spread over so long [default: drain.window for each process].
        #[arg(long, value_name = "TIME", requires = "app", value_parser = duration)]
        window: Option<Duration>,

        #[command(flatten)]
        at: At,
    },

    /// Empty a node: nothing new comes to it, and its sessions move to other nodes.
    ///
    /// Running requests finish. Each session is told to reconnect at a moment of its own within `drain.window`:
    /// WebSockets by a Close frame with code 1012, between two messages; polling sessions through their node; the
    /// stream of an EventSource by its end, between two events. Downloads and what else is read with `fetch` are waited
    /// for. Waits until the node is empty and says what is left, by kind, and exits with 0 when it is, or with 1 if
    /// something is still there after `drain.deadline`. The drain goes on if the waiting is interrupted, and the node gets nothing new
    /// until `tidelock undrain`, or a restart of tidelock.
    #[command(after_help = "Examples:
  tidelock drain 10.0.0.1:3000         the node as it is written in the file
  tidelock drain nodes/10.0.0.1:3000   the same, of one of several upstreams that have it
  tidelock drain nodes                 every node of the upstream `nodes`
  tidelock drain --no-wait 10.0.0.1:3000 && tidelock status --watch")]
    Drain {
        /// A node as in the file, its address, UPSTREAM/NODE, or the name of an upstream.
        #[arg(value_name = "NODE")]
        node: String,

        /// Begin, and do not wait for the end.
        #[arg(long)]
        no_wait: bool,

        #[command(flatten)]
        at: At,
    },

    /// Let a drained node take part again.
    ///
    /// New sessions and requests come to it at once. Sessions that were not told to leave yet stay.
    Undrain {
        /// A node as in the file, its address, UPSTREAM/NODE, or the name of an upstream.
        #[arg(value_name = "NODE")]
        node: String,

        #[command(flatten)]
        at: At,
    },

    /// Show the nodes and the apps: whether they are up, since when and why, and what they carry.
    ///
    /// SESSIONS counts Engine.IO sessions and other tunnels, SOCKETS the tunnels among them, IN FLIGHT the requests
    /// under way. A node that was removed from the file is shown until its last session has left.
    Status {
        /// Print everything there is as JSON: a line for each look.
        #[arg(long)]
        json: bool,

        /// Look again every second, until Ctrl-C.
        #[arg(long)]
        watch: bool,

        #[command(flatten)]
        at: At,
    },
}

/// Which of the running tidelocks is meant.
#[derive(Debug, Args)]
struct At {
    /// Where the running tidelock listens for verbs, if its file says another `admin.socket` than the default:
    /// tidelock/admin.sock under $XDG_RUNTIME_DIR, or /run/tidelock/admin.sock.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

impl At {
    fn paths(self) -> Vec<PathBuf> {
        self.socket.map_or_else(admin::paths_to_ask, |path| vec![path])
    }
}

/// At the end, for the last lines of the log.
const LOG_PATIENCE: Duration = Duration::from_secs(1);
const START_EXAMPLES: &str = "Examples:
  tidelock start index.js                         one process, behind the port that it has always had
  tidelock start index.js -i max -l :80           one on each core
  tidelock start app.py -l 127.0.0.1:8080 -e DEBUG=1 -- --verbose
  tidelock start ./server -n chat                 any program
  tidelock start chat                             an app of the running tidelock";

const EXAMPLES: &str = r#"A file of ten lines is enough:

  [[listen]]
  address = "0.0.0.0:80"

  [[route]]
  host = "api.example.com"
  upstream = "nodes"

  [upstream.nodes]
  nodes = ["server1:3000", "server2:3000", "server3:3000"]

With `app = "chat"` in the place of `nodes`, and `[app.chat]`, it runs the processes as well.

Examples:
  tidelock start index.js -i max    one app, without a file
  tidelock check upstreams.toml     is it right?
  tidelock upstreams.toml           serve it
  tidelock reload                   apply it after a change, without disturbing anybody
  tidelock reload chat              replace the processes of an app, the same way
  tidelock logs -f chat             what do they write?
  tidelock drain server1:3000       empty a node, to restart it
  tidelock import nginx.conf        what would it be in our words?
  tidelock status                   which nodes are up, and what do they carry?

Signals:
  SIGTERM, SIGINT   accept no more, finish what runs (for at most drain.deadline), end; again: end at once
  SIGHUP            apply the changed file, as `tidelock reload` does
  SIGUSR1           open the access log's file again, after a rotation

The log goes to standard error; TIDELOCK_LOG=debug says more, TIDELOCK_LOG=warn less."#;

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match (cli.verb, cli.file) {
        (Some(Verb::Check { file }), _) => check(&file),
        (Some(Verb::Start { what, at }), _) => start(what, &at.paths()),
        (Some(Verb::Stop { app, at }), _) => verbs::ask(&at.paths(), &Ask::Stop(told(app))),
        (Some(Verb::Restart { app, at }), _) => verbs::ask(&at.paths(), &Ask::Restart(told(app))),
        (Some(Verb::Scale { app, instances, at }), _) => {
            verbs::ask(&at.paths(), &Ask::Scale(Told { instances: Some(instances), ..told(app) }))
        }
        (Some(Verb::Logs { app, follow, lines, json, at }), _) => {
            verbs::logs(&at.paths(), &LogsWanted { app, lines, follow }, json)
        }
        (Some(Verb::Import { file, run_node, env }), _) => import::import(&file, run_node, env.as_deref()),
        (Some(Verb::Reload { app: None, at, .. }), _) => verbs::ask(&at.paths(), &Ask::Reload),
        (Some(Verb::Reload { app: Some(app), window, at }), _) => {
            let window_ms = window.map(|window| u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
            verbs::ask(&at.paths(), &Ask::Roll(Told { window_ms, ..told(app) }))
        }
        (Some(Verb::Drain { node, no_wait, at }), _) => {
            verbs::ask(&at.paths(), &Ask::Drain(Which { node, wait: !no_wait }))
        }
        (Some(Verb::Undrain { node, at }), _) => {
            verbs::ask(&at.paths(), &Ask::Undrain(Which { node, wait: false }))
        }
        (Some(Verb::Status { json, watch, at }), _) => verbs::status(&at.paths(), json, watch),
        (None, Some(file)) => serve_file(file),
        (None, None) => ExitCode::FAILURE,
    }
}

fn told(app: String) -> Told {
    Told { app, ..Told::default() }
}

fn duration(text: &str) -> Result<Duration, String> {
    config::duration(text).ok_or_else(|| "a time has a unit: \"60s\", \"2m\"".to_owned())
}

/// Runs a file here, or an app there.
fn start(what: What, paths: &[PathBuf]) -> ExitCode {
    let remarks = what.remarks();
    match what.meant() {
        Ok(Meant::App(app)) => {
            let ended = verbs::ask(paths, &Ask::Start(told(app.clone())));
            if ended != ExitCode::SUCCESS && Path::new(&app).exists() {
                eprintln!("the file {app} here is run by `tidelock start ./{app}`");
            }
            ended
        }
        Ok(Meant::Foreground(text)) => {
            for remark in remarks {
                eprintln!("{remark}");
            }
            let colour = std::io::stderr().is_terminal();
            serve(config::parse(&text, Path::new("what `tidelock start` was told")), Source::none(), colour)
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn serve_file(file: PathBuf) -> ExitCode {
    let colour = std::io::stderr().is_terminal();
    let mut source = Source::new(file);
    let loaded = source.load();
    serve(loaded, source, colour)
}

fn serve(loaded: Result<Loaded, Report>, source: Source, colour: bool) -> ExitCode {
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(report) => {
            eprint!("{}", report.render(colour));
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = log::start(colour) {
        eprintln!("cannot start a thread for the log: {error}");
        return ExitCode::FAILURE;
    }
    log::say(&loaded.warnings.render(colour));
    let code = match run::until_told(loaded.plan, source) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!("{problem}");
            ExitCode::FAILURE
        }
    };
    log::finish(LOG_PATIENCE);
    code
}
