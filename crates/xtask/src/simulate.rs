//! `cargo xtask simulate`: scenarios of clients, nodes, reloads and drains, drawn by a seed.

use anyhow::Result;

use crate::run::{aloud, command};

/// Play scenarios of clients, nodes, reloads, drains and a lack of memory against a worker, by a paused clock.
///
/// What each scenario is follows from its seed alone. One that leaves an exchange without an end, or a lease, a session or a
/// connection behind, fails, and the command that plays it again is printed. As many single exchanges follow, of which both sides
/// must see what the other said. `cargo xtask test` plays the first hundreds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask simulate                                   10,000 scenarios
  cargo xtask simulate --scenarios 1000 --seed 50000     those from 50000 on
  cargo xtask simulate --scenarios 1 --seed 7253         one again")]
pub(crate) struct Simulate {
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    scenarios: u64,

    /// The seed of the first one; each other one has the next.
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,
}

impl Simulate {
    pub(crate) fn run(&self) -> Result<()> {
        let tests = ["simulation", "oracle", "--nocapture"];
        let simulation = [&["test", "--package", "tidelock-proxy", "--lib", "--"], &tests[..]].concat();
        let mut simulation = command(".", "cargo", &simulation);
        simulation.env("TIDELOCK_SCENARIOS", self.scenarios.to_string());
        simulation.env("TIDELOCK_SEED", self.seed.to_string());
        aloud("playing scenarios", simulation)
    }
}
