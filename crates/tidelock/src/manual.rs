//! What shells and `man` read of the command line. It is made of the same declarations as `--help`.

use std::path::Path;
use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use crate::output::{self, tell};

/// Prints what makes `shell` complete tidelock's verbs and options.
pub(crate) fn completions(shell: Shell, mut command: Command) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    output::out(format_args!("{}", String::from_utf8_lossy(&script)));
    ExitCode::SUCCESS
}

/// Writes `tidelock.1` and a page for each verb into `folder`.
pub(crate) fn pages(folder: &Path, command: Command) -> ExitCode {
    // A page cannot wrap what was wrapped for a terminal.
    match clap_mangen::generate_to(command.disable_help_subcommand(true), folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tell!("{}: the pages cannot be written: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
