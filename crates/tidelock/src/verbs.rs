//! The verbs that are said to the running tidelock, as a person sees them: what was done goes to standard output,
//! what is under way and what went wrong to standard error.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use admin::api::{Event, Leaving, LogLine, LogsWanted};
use admin::client::{self, Ask, AskProblem};
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::table;

/// Says a verb to the first tidelock that answers at one of `paths`, and shows how it goes on.
pub(crate) fn ask(paths: &[PathBuf], ask: &Ask) -> ExitCode {
    let mut progress = Progress { is_terminal: io::stderr().is_terminal(), said: None, step: String::new() };
    let done = runtime().map_err(Problem::System).and_then(|runtime| {
        let asked = client::ask(paths, ask, |event| match event {
            Event::Progress { left, nodes } => progress.show(*left, nodes),
            Event::Step { message } => progress.step(message),
            Event::Done { .. } | Event::Error { .. } => {}
        });
        runtime.block_on(asked).map_err(Problem::Ask)
    });
    progress.clear();
    end(done.and_then(|message| print(&format!("{message}\n"))))
}

/// Shows what apps write.
pub(crate) fn logs(paths: &[PathBuf], wanted: &LogsWanted, is_json: bool) -> ExitCode {
    let colour = io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
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
    end(if unread { Err(Problem::Unread) } else { shown })
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
pub(crate) fn status(paths: &[PathBuf], is_json: bool, is_watching: bool) -> ExitCode {
    let shown = runtime().map_err(Problem::System).and_then(|runtime| {
        runtime.block_on(async {
            let mut before = "";
            loop {
                print(&format!("{before}{}", status_of(paths, is_json).await?))?;
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
    end(shown)
}

async fn status_of(paths: &[PathBuf], is_json: bool) -> Result<String, Problem> {
    let status = client::status(paths).await.map_err(Problem::Ask)?;
    if !is_json {
        return Ok(table::of(&status));
    }
    serde_json::to_string(&status).map(|json| json + "\n").map_err(|error| Problem::System(error.into()))
}

/// How far a drain is: on a terminal in a line that is written again and again, elsewhere in a line for each step.
struct Progress {
    is_terminal: bool,
    said: Option<usize>,
    step: String,
}

impl Progress {
    fn show(&mut self, left: usize, nodes: &[Leaving]) {
        if self.said.replace(left) == Some(left) {
            return;
        }
        let of_each: Vec<String> =
            nodes.iter().map(|node| format!("{}/{}: {}", node.upstream, node.node, node.left)).collect();
        let text = format!("{left} left ({})", of_each.join(", "));
        if self.is_terminal { eprint!("{WIPE_LINE}{text}") } else { eprintln!("{text}") }
    }

    /// A step of an app's verb has a line of its own, once.
    fn step(&mut self, message: &str) {
        if !message.is_empty() && self.step != message {
            message.clone_into(&mut self.step);
            eprintln!("{message}");
        }
    }

    fn clear(&self) {
        if self.is_terminal && self.said.is_some() {
            eprint!("{WIPE_LINE}");
        }
    }
}

enum Problem {
    Ask(AskProblem),
    /// Nobody reads what is printed any more.
    Unread,
    System(io::Error),
}

fn end(done: Result<(), Problem>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            match problem {
                Problem::Ask(problem) => eprintln!("{problem}"),
                Problem::System(error) => eprintln!("{error}"),
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

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Cyan, green, yellow, magenta, blue, and their bright ones: what can be read on dark and on light.
const COLOURS: [u8; 8] = [36, 32, 33, 35, 34, 96, 92, 95];
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const HOME_AND_WIPE: &str = "\x1b[H\x1b[2J";
const WIPE_LINE: &str = "\r\x1b[K";
