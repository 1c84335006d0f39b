//! The verbs that are said to the running tidelock, as a person sees them: what was done goes to standard output,
//! what is under way and what went wrong to standard error.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use admin::api::{DrainingNode, Event, LogLine, LogsWanted, Status};
use admin::client::{self, Ask, AskProblem};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::output::{self, tell};
use crate::{colour, table};

/// Says a verb to the first tidelock that answers at one of `paths`, and shows how it goes on.
pub(crate) fn ask(paths: &[PathBuf], ask: &Ask) -> ExitCode {
    let done = runtime()
        .map_err(|error| error.to_string())
        .and_then(|runtime| tell(&runtime, paths, ask))
        .map_err(Problem::Said);
    self::done(done.and_then(|message| print(&format!("{message}\n"))))
}

/// The same for whoever goes on then. Gives back what was done; `Err` is why it was not.
pub(crate) fn tell(runtime: &Runtime, paths: &[PathBuf], ask: &Ask) -> Result<String, String> {
    let mut progress = Progress { is_terminal: io::stderr().is_terminal(), said: None, step: String::new() };
    let asked = client::ask(paths, ask, |event| match event {
        Event::Progress { left, nodes } => progress.show(*left, nodes),
        Event::Step { message } => progress.step(message),
        Event::Done { .. } | Event::Error { .. } => {}
    });
    let done = runtime.block_on(asked).map_err(|problem| problem.to_string());
    progress.clear();
    done
}

/// Tells the tidelock at `socket` to end, and waits until it has. Its sessions leave first, or everything ends at once.
pub(crate) fn end(runtime: &Runtime, socket: &Path, at_once: bool) -> Result<String, String> {
    let pid = runtime.block_on(client::process(socket)).map_err(|problem| problem.to_string())?;
    let process = pid.and_then(Pid::from_raw).ok_or("the system does not say which process it is")?;
    let signal =
        || kill_process(process, Signal::TERM).map_err(|error| format!("process {process}: {error}"));
    signal()?;
    let mut waited = Duration::ZERO;
    while is_there(process) {
        runtime.block_on(async { sleep(IS_IT_THERE).await });
        waited += IS_IT_THERE;
        if at_once && waited == AGAIN {
            // If it is not there any more, all the better.
            let _ = signal();
        }
        if waited == SAY_SO && !at_once {
            tell!("its sessions leave; `tidelock kill --now` waits for nobody");
        }
    }
    Ok(format!("tidelock has ended, process {process}, and all that it ran"))
}

/// Waits for the end of a process, whoever told it to.
pub(crate) fn until_gone(runtime: &Runtime, pid: u32) {
    let Some(process) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    while is_there(process) {
        runtime.block_on(async { sleep(IS_IT_THERE).await });
    }
}

/// One that has ended and that nobody has asked about counts as gone.
fn is_there(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

/// Shows what apps write.
pub(crate) fn logs(paths: &[PathBuf], wanted: &LogsWanted, is_json: bool) -> ExitCode {
    let colour = colour::is_wanted(&io::stdout());
    let mut unread = false;
    let shown = runtime().map_err(Problem::System).and_then(|runtime| {
        let asked = client::logs(paths, wanted, |line| {
            let text =
                if is_json { serde_json::to_string(&line).unwrap_or_default() } else { look(&line, colour) };
            unread = print(&(text + "\n")).is_err();
            !unread
        });
        runtime.block_on(asked).map_err(Problem::Ask)
    });
    done(if unread { Err(Problem::Unread) } else { shown })
}

/// A line with who wrote it before it: in a colour of its own for each process, in red what went to standard error.
fn look(line: &LogLine, colour: bool) -> String {
    let LogLine { time, app, instance, stream, line } = line;
    if app.is_empty() {
        return format!("... {line}");
    }
    let time = time.get(11..23).unwrap_or(time);
    if !colour {
        return format!("{time} {app}/{instance} | {line}");
    }
    let of_its_own = COLOURS[*instance as usize % COLOURS.len()];
    let mark = if stream == "stderr" { "\x1b[31m!\x1b[0m" } else { "|" };
    // What the app has coloured ends with its line.
    format!("\x1b[2m{time}\x1b[0m \x1b[{of_its_own}m{app}/{instance}\x1b[0m {mark} {line}\x1b[0m")
}

/// Shows what there is, once or every second.
pub(crate) fn status(paths: &[PathBuf], name: Option<&str>, is_json: bool, is_watching: bool) -> ExitCode {
    let shown = runtime().map_err(Problem::System).and_then(|runtime| {
        runtime.block_on(async {
            let mut before = "";
            loop {
                print(&format!("{before}{}", status_of(paths, name, is_json).await?))?;
                if !is_watching {
                    return Ok(());
                }
                // On a terminal a look takes the place of the one before; elsewhere one follows the other.
                before = match (is_json, io::stdout().is_terminal()) {
                    (true, _) => "",
                    (false, true) => HOME_AND_WIPE,
                    (false, false) => "\n",
                };
                sleep(LOOK_AGAIN).await;
            }
        })
    });
    done(shown)
}

async fn status_of(paths: &[PathBuf], name: Option<&str>, is_json: bool) -> Result<String, Problem> {
    let mut status = client::status(paths).await.map_err(Problem::Ask)?;
    if let Some(name) = name {
        narrow(&mut status, name)?;
    }
    if !is_json {
        return Ok(table::of(&status, colour::is_wanted(&io::stdout())));
    }
    serde_json::to_string(&status).map(|json| json + "\n").map_err(|error| Problem::System(error.into()))
}

/// To an app and what goes to it, or to an upstream.
fn narrow(status: &mut Status, name: &str) -> Result<(), Problem> {
    let (apps, upstreams) = (&status.apps, &status.upstreams);
    let names = apps.iter().map(|app| &app.name).chain(upstreams.iter().map(|upstream| &upstream.name));
    let mut names: Vec<String> = names.cloned().collect();
    if !names.iter().any(|known| known == name) {
        names.sort();
        names.dedup();
        return Err(Problem::Said(format!(
            "there is no app or upstream `{name}`; there are: {}",
            names.join(", ")
        )));
    }
    let of_it = format!("{name}/");
    status.apps.retain(|app| app.name == name);
    status.upstreams.retain(|upstream| {
        upstream.name == name || upstream.nodes.iter().any(|node| node.node.starts_with(&of_it))
    });
    Ok(())
}

/// How far a drain is: on a terminal in a line that is written again and again, elsewhere in a line for each step.
struct Progress {
    is_terminal: bool,
    said: Option<usize>,
    step: String,
}

impl Progress {
    fn show(&mut self, left: usize, nodes: &[DrainingNode]) {
        if self.said.replace(left) == Some(left) {
            return;
        }
        let of_each: Vec<String> =
            nodes.iter().map(|node| format!("{}: {}", node.called(), node.left)).collect();
        let text = format!("{left} left ({})", of_each.join(", "));
        if self.is_terminal { output::err(format_args!("{WIPE_LINE}{text}")) } else { tell!("{text}") }
    }

    /// A step of an app's verb has a line of its own, once.
    fn step(&mut self, message: &str) {
        if !message.is_empty() && self.step != message {
            message.clone_into(&mut self.step);
            tell!("{message}");
        }
    }

    fn clear(&self) {
        if self.is_terminal && self.said.is_some() {
            output::err(format_args!("{WIPE_LINE}"));
        }
    }
}

enum Problem {
    Ask(AskProblem),
    Said(String),
    /// Nobody reads what is printed any more.
    Unread,
    System(io::Error),
}

fn done(done: Result<(), Problem>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            match problem {
                Problem::Ask(problem) => tell!("{problem}"),
                Problem::Said(why) => tell!("{why}"),
                Problem::System(error) => tell!("{error}"),
                Problem::Unread => {}
            }
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> Result<(), Problem> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|_| Problem::Unread)
}

pub(crate) fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Cyan, green, yellow, magenta, blue, and their bright ones: what can be read on dark and on light.
const COLOURS: [u8; 8] = [36, 32, 33, 35, 34, 96, 92, 95];
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const HOME_AND_WIPE: &str = "\x1b[H\x1b[2J";
const WIPE_LINE: &str = "\r\x1b[K";
/// Two signals that come together may be taken for one.
const AGAIN: Duration = Duration::from_millis(200);
const IS_IT_THERE: Duration = Duration::from_millis(20);
const SAY_SO: Duration = Duration::from_secs(2);
