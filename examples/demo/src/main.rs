//! `cargo demo`: builds the programs of the demo with one call of cargo, whose progress is seen, and becomes the demo, which is
//! in `examples/chat`. It depends on nothing, so that it runs within a second or two, and can say what is coming.

use std::env;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(why) => {
            eprintln!("demo: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Comes back only if something went wrong.
fn start() -> Result<ExitCode, String> {
    let here = env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    // All binaries of a workspace lie in one folder.
    let demo = here.with_file_name("demo");
    let is_first = !demo.is_file() || !here.with_file_name("tidelock").is_file();
    println!("{}", if is_first { FIRST } else { "demo: building what has changed" });
    let built = build(&here).map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !built {
        // It has said why.
        return Ok(ExitCode::FAILURE);
    }
    let error = Command::new(&demo).args(env::args_os().skip(1)).exec();
    Err(format!("{} cannot be started: {error}", demo.display()))
}

/// Two packages in one call: built apart, they would ask for other features of what they share, and have it built twice.
fn build(here: &Path) -> io::Result<bool> {
    let cargo = env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from);
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "tidelock", "--package", "tidelock-chat"]);
    command.args(["--bin", "tidelock", "--bin", "node", "--bin", "demo"]);
    // Beside this program, wherever that is: the folder of a profile, in the target folder.
    if let Some(target) = here.ancestors().nth(2) {
        command.arg("--target-dir").arg(target);
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    Ok(command.status()?.success())
}

const FIRST: &str = "demo: the first time, tidelock and the chat are built: two to three minutes on two cores, and offline if need be \
                     from then on";
