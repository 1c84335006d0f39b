//! A keeper by itself, for the tests of this crate. What people run is `tidelock`, which can be one too.

use std::process::ExitCode;

fn main() -> ExitCode {
    supervisor::keeper::asked_to_be_one().then(supervisor::keeper::main).unwrap_or(ExitCode::FAILURE)
}
