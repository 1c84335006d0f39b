//! `cargo xtask package`: whether the crates that others may use can leave this workspace.

use anyhow::Result;

use crate::run::{aloud, command};

/// Package the crates that stand alone, and build them from their packages, without a network.
///
/// `cargo package` leaves out what is not the crate's own: a crate that needs a file beside it, or another crate of this workspace,
/// does not build any more.
#[derive(Debug, clap::Args)]
pub(crate) struct Package {}

const ALONE: [&str; 2] = ["tidelock-broker", "tidelock-fanout"];

impl Package {
    pub(crate) fn run(&self) -> Result<()> {
        for name in ALONE {
            // What is not committed yet is what one wants to know of.
            let package = ["package", "--offline", "--allow-dirty", "--package", name];
            aloud("packaging a crate, and building the package", command(".", "cargo", &package))?;
        }
        Ok(())
    }
}
