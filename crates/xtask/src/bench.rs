//! `cargo xtask bench`: comparisons with other programs. What is measured within ours is in `benches/`.

mod apps;
mod attacks;
mod compare;
mod contender;
mod crowd;
mod drain;
mod fanout;
mod faults;
pub(crate) mod page;
pub(crate) use contender::PM2;
mod roll;
mod sessions;
mod upgrade;

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
    Attacks(attacks::Attacks),
    Compare(compare::Compare),
    Drain(drain::Drain),
    Fanout(fanout::Fanout),
    Faults(faults::Faults),
    Roll(roll::Roll),
    Sessions(sessions::Sessions),
    Upgrade(upgrade::Upgrade),
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.bench {
            Which::Attacks(attacks) => attacks.run(),
            Which::Apps(apps) => apps.run(),
            Which::Compare(compare) => compare.run(),
            Which::Drain(drain) => drain.run(),
            Which::Fanout(fanout) => fanout.run(),
            Which::Faults(faults) => faults.run(),
            Which::Roll(roll) => roll.run(),
            Which::Sessions(sessions) => sessions.run(),
            Which::Upgrade(upgrade) => upgrade.run(),
        }
    }
}
