//! `cargo xtask bench`: comparisons with other programs. What is measured within ours is in `benches/`.

mod apps;
mod compare;
mod contender;
mod crowd;
mod drain;
mod faults;
mod page;
mod roll;

use anyhow::Result;
use clap::Subcommand;

/// Compare tidelock with other programs, on this machine.
#[derive(Debug, clap::Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    bench: Which,
}

#[derive(Debug, Subcommand)]
enum Which {
    Apps(apps::Apps),
    Compare(compare::Compare),
    Drain(drain::Drain),
    Faults(faults::Faults),
    Roll(roll::Roll),
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.bench {
            Which::Apps(apps) => apps.run(),
            Which::Compare(compare) => compare.run(),
            Which::Drain(drain) => drain.run(),
            Which::Faults(faults) => faults.run(),
            Which::Roll(roll) => roll.run(),
        }
    }
}
