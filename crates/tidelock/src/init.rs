//! `tidelock init`: a file to begin with, by what is in a folder and a question or two. Runs nothing of what it finds, and replaces
//! no file.

mod answers;
mod found;

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

use crate::check::check;
use crate::output::{self, tell};
use crate::{colour, import, urls};
use answers::Answers;
use found::Found;

/// Writes `file`, and says what follows. Exits with 0 if tidelock would start with it.
pub(crate) fn init(file: &Path, takes_guesses: bool) -> ExitCode {
    match write(file, takes_guesses) {
        Ok(()) => next(file),
        Err(why) => {
            tell!("{}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}

fn write(file: &Path, takes_guesses: bool) -> Result<(), String> {
    let shown = file.display();
    if file.symlink_metadata().is_ok() {
        return Err(format!("{shown} is there already, and stays as it is: `tidelock check {shown}`"));
    }
    let absolute =
        std::path::absolute(file).map_err(|error| format!("the current folder is gone: {error}"))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let found = Found::look(folder)?;
    tell!("{}", found.told(folder));
    let (text, mode) = match &found {
        Found::Ecosystem(ecosystem) => {
            let (text, remarks) = import::translated(ecosystem).map_err(|why| {
                format!(
                    "{why}\n`tidelock import {} --run-node > {shown}` runs it, to see what it exports",
                    ecosystem.display()
                )
            })?;
            remarks.iter().for_each(|remark| tell!("{remark}"));
            // An app's environment is written into it, secrets too.
            (text, 0o600)
        }
        Found::App(_) | Found::Nothing => {
            let answers = if takes_guesses || !answers::is_asked() {
                Answers::guessed(&found)
            } else {
                Answers::ask(&found).map_err(|error| format!("nothing was written: {error}"))?
            };
            (answers.file(&found), 0o644)
        }
    };
    if let Err(report) = config::parse(&text, &absolute) {
        return Err(format!("{}\nnothing was written", report.render(colour::is_wanted(&io::stderr()))));
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(file);
    written.and_then(|mut written| written.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => format!("{shown} is there already, and stays as it is"),
        _ => format!("{shown} cannot be written: {error}"),
    })
}

/// What there is to be said of the file, and how it is served.
fn next(file: &Path) -> ExitCode {
    tell!("wrote {}:\n", file.display());
    let text = config::read_regular(file).unwrap_or_default();
    tell!("{}", String::from_utf8_lossy(&text).lines().map(|line| format!("  {line}\n")).collect::<String>());
    let code = check(file, None);
    let command = if file == Path::new("upstreams.toml") {
        "tidelock".to_owned()
    } else {
        format!("tidelock {}", file.display())
    };
    if let Some(plan) = config::inspect(file).plan {
        let at = urls::of(&plan);
        let at = if at.is_empty() { String::new() } else { format!(", at {}", at.join(" and ")) };
        output::err(format_args!(
            "next: `{command}` serves it{at}; after a change of the file, `tidelock reload`\n"
        ));
    }
    code
}
