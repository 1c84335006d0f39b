//! `cargo xtask alone`: whether `cargo test` passes on a machine that has Rust and no other program.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::packages;
use crate::run::{aloud, command};

/// Run the tests that need nothing but Rust, where there is nothing else.
///
/// Tests that start other people's programs say so, and `cargo test` leaves them out. Whether all of them do is only seen where
/// those programs are not: the tests run with a PATH on which everything is but what `cargo xtask test` installs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask alone                        all of them, and the examples in the documentation
  cargo xtask alone -- -p tidelock         those of one crate")]
pub(crate) struct Alone {
    /// For `cargo test`, as it is.
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Alone {
    pub(crate) fn run(&self) -> Result<()> {
        let folder = tempfile::tempdir()?;
        link_all_others(folder.path())?;
        let mut test = command(".", "cargo", &["test", "--no-fail-fast"]);
        if self.arguments.is_empty() {
            test.arg("--workspace");
        }
        test.args(&self.arguments).env("PATH", folder.path());
        aloud("testing with nothing but Rust", test)
    }
}

/// Links to all programs on the PATH, the first of a name as a shell finds it, but for those that tests say they need.
fn link_all_others(folder: &Path) -> Result<()> {
    let path = env::var_os("PATH").context("there is no PATH")?;
    for place in env::split_paths(&path) {
        // A folder that is not there has no programs.
        for entry in fs::read_dir(&place).into_iter().flatten() {
            let name = entry?.file_name();
            let link = folder.join(&name);
            let is_there = link.symlink_metadata().is_ok();
            if !is_there && !name.to_str().is_some_and(packages::is_for_tests) {
                symlink(place.join(&name), link)?;
            }
        }
    }
    Ok(())
}
