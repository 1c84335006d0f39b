//! What tests need beside Rust: programs of the system, and npm packages. Installs what is missing, and says so.

use std::fs;
use std::time::SystemTime;

use anyhow::{Result, ensure};

use crate::run::{aloud, command, exists, root};

/// Programs that tests start: what to try, the Debian package, and what it is for.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("node", "nodejs", "real Socket.IO nodes and clients"),
    ("npm", "npm", "their packages"),
    ("chromium", "chromium", "the chat page in a real browser"),
    ("redis-server", "redis-server", "fan-out between nodes"),
];

/// Directories with a package-lock.json, as seen from the root. One that is not there is passed over.
const NPM_DIRECTORIES: [&str; 3] = ["crates/testkit/js", "examples/node-chat", "examples/fanout/tests/js"];

/// The oldest Node.js that the scripts run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Installs the Debian packages whose programs are missing.
pub(crate) fn programs() -> Result<()> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, ..)| !exists(program, &["--version"])).collect();
    if !missing.is_empty() {
        for (program, package, purpose) in &missing {
            eprintln!(
                "xtask: `{program}` is missing (Debian package {package}); tests need it for {purpose}"
            );
        }
        let packages: Vec<_> = missing.iter().map(|(_, package, _)| *package).collect();
        let by_hand = format!("install {} and run this again", packages.join(", "));
        ensure!(exists("apt-get", &["--version"]), "no apt-get here: {by_hand}");
        apt("fetching the package lists", &["update", "--quiet"])?;
        let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
        apt("installing what is missing", &[&install, packages.as_slice()].concat())?;
    }
    let major = node_major();
    ensure!(major >= NODE_MAJOR_MIN, "Node.js {major} is too old: install {NODE_MAJOR_MIN} or newer");
    Ok(())
}

/// Runs `npm ci` where the installed packages are older than the lock file, or are not there.
pub(crate) fn npm() -> Result<()> {
    for directory in NPM_DIRECTORIES.into_iter().filter(|&directory| stale(directory)) {
        let ci = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
        aloud("installing npm packages", command(directory, "npm", &ci))?;
    }
    Ok(())
}

fn apt(why: &str, arguments: &[&str]) -> Result<()> {
    // In CI one is root and there is no sudo; at a desk it is the other way round.
    let sudo = exists("sudo", &["--non-interactive", "true"]);
    let (program, prefix): (_, &[&str]) = if sudo {
        ("sudo", &["--non-interactive", "--preserve-env=DEBIAN_FRONTEND", "apt-get"])
    } else {
        ("apt-get", &[])
    };
    let mut apt = command(".", program, &[prefix, arguments].concat());
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    aloud(why, apt)
}

/// npm writes `node_modules/.package-lock.json` last, when an install is complete.
fn stale(directory: &str) -> bool {
    let directory = root().join(directory);
    let modified =
        |file: &str| -> Option<SystemTime> { fs::metadata(directory.join(file)).ok()?.modified().ok() };
    match (modified("package-lock.json"), modified("node_modules/.package-lock.json")) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some(locked), Some(installed)) => locked > installed,
    }
}

fn node_major() -> u32 {
    let output = command(".", "node", &["--version"]).output();
    let version =
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0)
}
