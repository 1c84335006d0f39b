//! tidelock: a reverse proxy for real-time apps. Wiring only: the command line, the log, the file, the signals.

mod cli;
mod run;
mod reload;
mod watch;
mod signals;
mod verbs;
mod table;

use std::process::ExitCode;

/// Thousands of tunnels live long and allocate little; what counts is that freed pages go back and are found again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::main()
}
