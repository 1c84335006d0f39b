//! tidelock: a reverse proxy for real-time apps, and what runs them. Wiring only: the command line, the log, the file,
//! the signals.

mod cli;
mod start;
mod run;
mod grant;
mod reload;
mod watch;
mod signals;
mod verbs;
mod table;
mod import;

use std::process::ExitCode;

/// Thousands of tunnels live long and allocate little; what counts is that freed pages go back and are found again. It
/// asks for no huge pages (`no_thp`): most of each would stay empty, and that was two thirds of the memory at rest.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Each process of an app has this program a second time beside it, as its keeper.
    if supervisor::keeper::asked_to_be_one() {
        return supervisor::keeper::main();
    }
    cli::main()
}
