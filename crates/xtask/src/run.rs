//! Running other programs in the root of the repository, aloud.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// A program of this workspace: it lies beside the profile that this one was built with, wherever Cargo builds.
pub(crate) fn built(name: &str, debug: bool) -> Result<PathBuf> {
    built_in(if debug { "debug" } else { "release" }, name)
}

/// The same, of the profile whose folder is given.
pub(crate) fn built_in(folder: &str, name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let target = here.ancestors().nth(2).context("this program lies in a target directory")?;
    let program = target.join(folder).join(name);
    ensure!(program.is_file(), "{} is not built", program.display());
    Ok(program)
}

/// A command that runs in `directory`, seen from the root, and asks nobody anything.
pub(crate) fn command(directory: &str, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root().join(directory)).stdin(Stdio::null());
    command
}

/// Says what is done and why, does it, and fails with a sentence if it fails.
pub(crate) fn aloud(why: &str, mut command: Command) -> Result<()> {
    let line = shown(&command);
    eprintln!("xtask: {why}: {line}");
    let status = command.status().with_context(|| format!("`{line}` cannot be started"))?;
    ensure!(status.success(), "{why} failed: `{line}` ended with {status}");
    Ok(())
}

/// Whether `program` can be started, which `--version` tries.
pub(crate) fn exists(program: &str, arguments: &[&str]) -> bool {
    let mut command = command(".", program, arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// What `program` prints on either stream, without the space around it; nothing if it cannot be started.
pub(crate) fn printed(program: &str, arguments: &[&str]) -> String {
    let output = command(".", program, arguments).output();
    let bytes = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
