//! The command line. Every verb says what it did, and exits with 0 only if it did it.

mod at;
mod verb;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use admin::api::{AppRequest, LogsWanted, NodeSelector, Upgrade};
use admin::client::Ask;
use clap::{CommandFactory, Parser};
use config::plan::Acme;

use crate::check::check;
use crate::home::{Home, SYSTEM_FILE};
use crate::import::Listens;
use crate::output::{self, tell};
use crate::reload::Source;
use crate::start::{Meant, Program, What};
use crate::{
    apps, automatic, background, colour, import, init, manual, privileges, run, startup, upgrade, verbs,
    words,
};
use verb::Verb;

/// Keeps every Socket.IO session on its node, in front of any number of them, without cookies.
#[derive(Debug, Parser)]
#[command(name = "tidelock", version, args_conflicts_with_subcommands = true)]
#[command(after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,

    /// Serve what this file says, in the foreground, until SIGTERM or Ctrl-C [default: upstreams.toml, here
    /// or in $CONFIGURATION_DIRECTORY or /etc/tidelock, if there is one].
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(crate) fn main() -> ExitCode {
    let arguments = match upgrade::listen(std::env::args_os().collect()) {
        Ok(arguments) => arguments,
        Err(why) => {
            tell!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let first = arguments.get(1).and_then(|first| first.to_str());
    if let Some(answer) = first.and_then(|first| words::answer(first, &Cli::command())) {
        tell!("{answer}");
        return ExitCode::from(USAGE);
    }
    let cli = Cli::parse_from(arguments);
    match (cli.verb, cli.file) {
        (Some(verb), _) => obey(verb),
        (None, Some(file)) => serve_file(file),
        (None, None) => serve_usual(),
    }
}

fn obey(verb: Verb) -> ExitCode {
    match verb {
        Verb::Check { file, explain, method, header } => {
            check(&file, explain.as_ref().map(|url| (url, &*method, &header[..])))
        }
        Verb::Trust { file } => trust(file.as_deref()),
        Verb::Start { what, at } => start(*what, &at.paths()),
        Verb::Stop { app, at } => verbs::ask(&at.paths(), &Ask::Stop(told(app))),
        Verb::Restart { app, at } => verbs::ask(&at.paths(), &Ask::Restart(told(app))),
        Verb::Scale { app, instances, at } => apps::scale(&app, instances, at.socket),
        Verb::Delete { apps } => apps::delete(&apps),
        Verb::Set { app, key, value } => apps::set(&app, &key, Some(&value)),
        Verb::Unset { app, key } => apps::set(&app, &key, None),
        Verb::List { at } => apps::list(&at.paths()),
        Verb::Describe { app, at } => apps::describe(&app, &at.paths()),
        Verb::Env { app, at } => apps::env(&app, &at.paths()),
        Verb::Flush { app, at } => verbs::ask(&at.paths(), &Ask::Flush(told(app))),
        Verb::Kill { now, at } => apps::kill(&at.paths(), now),
        Verb::Resurrect => apps::resurrect(),
        Verb::Startup { print } => startup::startup(print),
        Verb::Unstartup => startup::unstartup(),
        Verb::Completions { shell } => manual::completions(shell, Cli::command()),
        Verb::Man { folder } => manual::pages(&folder, Cli::command()),
        Verb::Background { file, state } => background::serve(&Home { file, state }),
        Verb::Logs { app, follow, lines, grep, stdout, stderr, json, at } => {
            let stream = match (stdout, stderr) {
                (true, _) => Some("stdout".to_owned()),
                (false, true) => Some("stderr".to_owned()),
                (false, false) => None,
            };
            verbs::logs(&at.paths(), &LogsWanted { app, lines, follow, stream, text: grep }, json)
        }
        Verb::Init { file, yes } => init::init(&file, yes),
        Verb::Import { file, run_node, env } => import::import(&file, run_node, env.as_deref()),
        Verb::Upgrade { binary, timeout, at } => {
            // Whoever types it has the new one in front of them.
            let binary = binary.map(std::path::absolute).unwrap_or_else(std::env::current_exe);
            let timeout_ms = timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
            match binary {
                Ok(binary) => {
                    verbs::ask(&at.paths(), &Ask::Upgrade(Upgrade { binary: Some(binary), timeout_ms }))
                }
                Err(error) => {
                    tell!("where is the new program? {error}");
                    ExitCode::FAILURE
                }
            }
        }
        Verb::Reload { app: None, at, .. } => verbs::ask(&at.paths(), &Ask::Reload),
        Verb::Reload { app: Some(app), window, at } => {
            let window_ms = window.map(|window| u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
            verbs::ask(&at.paths(), &Ask::Roll(AppRequest { window_ms, ..told(app) }))
        }
        Verb::Drain { node, no_wait, at } => {
            verbs::ask(&at.paths(), &Ask::Drain(NodeSelector { node, wait: !no_wait }))
        }
        Verb::Undrain { node, at } => {
            verbs::ask(&at.paths(), &Ask::Undrain(NodeSelector { node, wait: false }))
        }
        Verb::Status { name, json, watch, at } => verbs::status(&at.paths(), name.as_deref(), json, watch),
        Verb::Monit { at } => verbs::status(&at.paths(), None, false, true),
    }
}

/// Prints how the authority of this machine's own is made known.
fn trust(file: Option<&Path>) -> ExitCode {
    let acme = match file.map(config::load) {
        None => Acme::default(),
        Some(Ok(loaded)) => {
            privileges::look_where_it_serves(&loaded.plan);
            loaded.plan.acme
        }
        Some(Err(report)) => {
            output::err(format_args!("{}", report.render(colour::is_wanted(&std::io::stderr()))));
            return ExitCode::FAILURE;
        }
    };
    match automatic::authority(acme) {
        Ok(file) => {
            output::out(format_args!("{}", automatic::how_to_trust(&file)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            tell!("there is no authority: {error}");
            ExitCode::FAILURE
        }
    }
}

fn told(app: String) -> AppRequest {
    AppRequest { app, ..AppRequest::default() }
}

/// Runs a file, here or in the background, or an app there.
fn start(what: What, paths: &[PathBuf]) -> ExitCode {
    let is_in_background = what.is_in_background() && !upgrade::has_predecessor();
    let remarks = what.remarks();
    let program = match what.meant() {
        Ok(Meant::App(app)) => return apps::start_again(&app, paths),
        Ok(Meant::Ecosystem { file, env, only }) => {
            return apps::start_ecosystem(&file, env.as_deref(), &only, is_in_background);
        }
        Ok(Meant::Run(program)) => with_script(program),
        Err(why) => {
            tell!("{why}");
            return ExitCode::FAILURE;
        }
    };
    for remark in remarks {
        tell!("{remark}");
    }
    if is_in_background {
        return apps::start(program);
    }
    let loaded = config::parse(&program.file(), Path::new("what `tidelock start` was told"));
    run::loaded(loaded, Source::none(), None)
}

/// What its script says of where it listens.
fn with_script(mut program: Program) -> Program {
    let Some(script) = program.script.clone().filter(|_| program.may_be_worker() && !program.is_worker)
    else {
        return program;
    };
    match import::listens(&script) {
        Listens::At(address) => program.known_listen = Some(address),
        Listens::Perhaps => {}
        Listens::Nowhere => {
            tell!(
                "{}: nothing in {} says that it listens, so that it runs as a worker, to which nobody connects; if clients \
                 do, `--listen :PORT` says where",
                program.name,
                script.display()
            );
            program.is_worker = true;
        }
    }
    program
}

fn serve_file(file: PathBuf) -> ExitCode {
    let mut source = Source::new(file);
    let loaded = source.load();
    run::loaded(loaded, source, None)
}

/// What is served when nothing is said.
fn serve_usual() -> ExitCode {
    let of_service = std::env::var_os("CONFIGURATION_DIRECTORY").filter(|folder| !folder.is_empty());
    let of_service = of_service.map(|folder| Path::new(&folder).join("upstreams.toml"));
    let usual = ["upstreams.toml", SYSTEM_FILE].map(PathBuf::from);
    let [here, of_system] = usual;
    if let Some(file) =
        [Some(here), of_service, Some(of_system)].into_iter().flatten().find(|file| file.is_file())
    {
        return serve_file(file);
    }
    // Whoever types a program's name alone wants to know what it is.
    let _ = Cli::command().print_help();
    ExitCode::from(USAGE)
}

/// As clap has it.
const USAGE: u8 = 2;
const EXAMPLES: &str = r#"A file of ten lines is enough:

  [[listen]]
  address = ":80"

  [[route]]
  host = "api.example.com"
  upstream = "nodes"

  [upstream.nodes]
  nodes = ["server1:3000", "server2:3000", "server3:3000"]

With `app = "chat"` in the place of `nodes`, and `[app.chat]`, it runs the processes as well.

Examples:
  tidelock init                     writes that file, for the app in this folder
  tidelock start index.js -i max    one app, in the background
  tidelock list                     what runs there?
  tidelock check upstreams.toml     is it right? With --explain URL: which route answers?
  tidelock upstreams.toml           serve it
  tidelock reload                   apply it after a change, without disturbing anybody
  tidelock reload chat              replace the processes of an app, the same way
  tidelock logs -f chat             what do they write?
  tidelock upgrade                  go on with a new version, without disturbing anybody
  tidelock drain server1:3000       empty a node, to restart it
  tidelock import nginx.conf        what would it be in our words?
  tidelock status                   which nodes are up, and what do they carry?

Signals:
  SIGTERM, SIGINT   accept no more, finish what runs (for at most drain.deadline), end; again: end at once
  SIGHUP            apply the changed file, as `tidelock reload` does
  SIGUSR1           open the access log's file again, after a rotation
  SIGUSR2           let the program go on that is there now, as `tidelock upgrade` does

The log goes to standard error; TIDELOCK_LOG=debug says more, TIDELOCK_LOG=warn less."#;
