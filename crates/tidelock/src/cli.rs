//! The command line. Every verb says what it did, and exits with 0 only if it did it.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::run;

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

Signals:
  SIGTERM, SIGINT   accept no more, finish what runs (for at most drain.deadline), end; again: end at once
  SIGUSR1           open the access log's file again, after a rotation

The log goes to standard error; TIDELOCK_LOG=debug says more, TIDELOCK_LOG=warn less."#;

pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    match (cli.verb, cli.file) {
        (Some(Verb::Check { file }), _) => check(&file),
        (None, Some(file)) => serve(&file),
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

fn serve(file: &Path) -> ExitCode {
    let colour = std::io::stderr().is_terminal();
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(report) => {
            eprint!("{}", report.render(colour));
            return ExitCode::FAILURE;
        }
    };
    run::start_log(colour);
    eprint!("{}", loaded.warnings.render(colour));
    match run::until_told(loaded.plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            tracing::error!("{problem}");
            ExitCode::FAILURE
        }
    }
}
