//! tidelock: a reverse proxy for real-time apps, and what runs them. Wiring only: the command line, the log, the file,
//! the signals.

#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "`output` prints, which does not panic where nobody reads"
)]

mod cli;
mod first;
mod words;
mod manual;
mod check;
mod apps;
mod automatic;
mod startup;
mod service;
mod change;
mod edit;
mod background;
mod certificates;
mod environment;
mod home;
mod explain;
mod start;
mod quote;
mod output;
mod colour;
mod log;
mod run;
mod admin_file;
mod collectors;
mod entrance;
mod lock;
mod urls;
mod privileges;
mod secret;
mod bridge;
mod reload;
mod watch;
mod signals;
mod systemd;
mod upgrade;
mod verbs;
mod table;
mod import;
mod init;
mod nginx;

use std::process::ExitCode;

/// Chosen for the memory of what rests, by measurement (benches/results/history.md): what is aligned takes no more than its size,
/// and what shrinks to its half gives the other half back, as rustls' buffers do after each long record.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    // Each process of an app has this program a second time beside it, as its keeper.
    if supervisor::keeper::asked_to_be_one() {
        return supervisor::keeper::main();
    }
    if upgrade::launcher::asked_to_be_one() {
        return upgrade::launcher::main();
    }
    first::main().unwrap_or_else(|| output::ended(cli::main()))
}
