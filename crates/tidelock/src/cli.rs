//! The command line. Every verb says what it did, and exits with 0 only if it did it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use admin::api::Which;
use admin::client::Ask;
use clap::{Args, Parser, Subcommand};

use crate::reload::Source;
use crate::{run, verbs};

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
    /// Reads the file, the certificates it names included, and prints every problem with its line, a caret and what
    /// to do. Exits with 0 if tidelock would start with it, with 1 if not.
    Check {
        /// The file, usually upstreams.toml.
        file: PathBuf,
    },

    /// Apply the changed file to the running tidelock.
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
        #[command(flatten)]
        at: At,
    },

    /// Empty a node: nothing new comes to it, and its sessions move to other nodes.
    ///
    /// Running requests finish. Each session is told to reconnect at a moment of its own within `drain.window`:
    /// WebSockets by a Close frame with code 1012, between two messages; polling sessions through their node. Waits
    /// until the node is empty and says what is left, and exits with 0 when it is, or with 1 if something is still
    /// there after `drain.deadline`. The drain goes on if the waiting is interrupted, and the node gets nothing new
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

    /// Show the nodes: whether they are up, since when and why, and what they carry.
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

const EXAMPLES: &str = r#"A file of ten lines is enough:

  [[listen]]
  address = "0.0.0.0:80"

  [[route]]
  host = "api.example.com"
  upstream = "nodes"

  [upstream.nodes]
  nodes = ["server1:3000", "server2:3000", "server3:3000"]

Examples:
  tidelock check upstreams.toml     is it right?
  tidelock upstreams.toml           serve it
  tidelock reload                   apply it after a change, without disturbing anybody
  tidelock drain server1:3000       empty a node, to restart it
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
        (Some(Verb::Reload { at }), _) => verbs::ask(&at.paths(), &Ask::Reload),
        (Some(Verb::Drain { node, no_wait, at }), _) => {
            verbs::ask(&at.paths(), &Ask::Drain(Which { node, wait: !no_wait }))
        }
        (Some(Verb::Undrain { node, at }), _) => {
            verbs::ask(&at.paths(), &Ask::Undrain(Which { node, wait: false }))
        }
        (Some(Verb::Status { json, watch, at }), _) => verbs::status(&at.paths(), json, watch),
        (None, Some(file)) => serve(file),
        (None, None) => ExitCode::FAILURE,
    }
}

fn check(file: &Path) -> ExitCode {
    let colour = std::io::stdout().is_terminal();
    match config::load(file) {
        Ok(loaded) => {
            print!("{}", loaded.warnings.render(colour));
            if let Err(problems) = proxy::check_certificates(&loaded.plan) {
                for problem in problems {
                    println!("error: {problem}");
                }
                return ExitCode::FAILURE;
            }
            println!("{}: good, {}", file.display(), run::summary(&loaded.plan));
            ExitCode::SUCCESS
        }
        Err(report) => {
            print!("{}", report.render(colour));
            ExitCode::FAILURE
        }
    }
}

fn serve(file: PathBuf) -> ExitCode {
    let colour = std::io::stderr().is_terminal();
    let mut source = Source::new(file);
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(report) => {
            eprint!("{}", report.render(colour));
            return ExitCode::FAILURE;
        }
    };
    run::start_log(colour);
    eprint!("{}", loaded.warnings.render(colour));
    match run::until_told(loaded.plan, source) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!("{problem}");
            ExitCode::FAILURE
        }
    }
}
