//! tidelock: a reverse proxy for real-time apps. Wiring only: the command line, the log, the signals.

mod cli;
mod run;
mod signals;

use std::process::ExitCode;

/// Thousands of tunnels live long and allocate little; what counts is that freed pages go back and are found again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
