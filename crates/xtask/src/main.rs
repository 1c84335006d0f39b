//! The project's own commands. `cargo xtask --help` lists them; each lives in a file of its name.

mod alone;
mod bench;
mod boot;
mod dist;
mod floors;
mod fuzz;
mod package;
mod packages;
mod pages;
mod run;
mod simulate;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The commands of this project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Test(test::Test),
    Alone(alone::Alone),
    Bench(bench::Bench),
    Boot(boot::Boot),
    Dist(dist::Dist),
    Floors(floors::Floors),
    Fuzz(fuzz::Fuzz),
    Package(package::Package),
    Simulate(simulate::Simulate),
    Soak(soak::Soak),
}

fn main() -> ExitCode {
    let done = match Xtask::parse().command {
        Command::Test(test) => test.run(),
        Command::Alone(alone) => alone.run(),
        Command::Bench(bench) => bench.run(),
        Command::Boot(boot) => boot.run(),
        Command::Dist(dist) => dist.run(),
        Command::Floors(floors) => floors.run(),
        Command::Fuzz(fuzz) => fuzz.run(),
        Command::Package(package) => package.run(),
        Command::Simulate(simulate) => simulate.run(),
        Command::Soak(soak) => soak.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
