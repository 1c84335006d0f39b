//! What tests need beside Rust: programs of the system, and npm packages. Installs what is missing, and says so.

use std::fs;
use std::time::SystemTime;

use anyhow::{Result, ensure};

use crate::run::{aloud, command, exists, root};

/// A program that is started: what to try, the Debian package, and what it is for.
pub(crate) struct Program {
    name: &'static str,
    asks_version: &'static str,
    package: &'static str,
    purpose: &'static str,
}

/// What tests start.
pub(crate) const FOR_TESTS: [Program; 14] = [
    NODE,
    NPM,
    program("chromium", "--version", "chromium", "the chat page in a real browser"),
    program(
        "redis-server",
        "--version",
        "redis-server",
        "fan-out between nodes, limits that tidelocks share",
    ),
    program("dnsmasq", "--version", "dnsmasq-base", "names of nodes that change"),
    program("pebble", "-h", "pebble", "certificates from an ACME authority"),
    program("pebble-challtestsrv", "-h", "pebble", "names that the authority looks at"),
    program("curl", "--version", "curl", "HTTPS with other people's clients"),
    program("promtool", "--version", "prometheus", "metrics, read by who collects them"),
    program("openssl", "version", "openssl", "HTTPS with other people's clients"),
    program("h2load", "--version", "nghttp2-client", "HTTP/2 with other people's clients"),
    VALGRIND,
    NGINX,
    HAPROXY,
];

/// What the drain is compared with. PM2 comes from npm.
pub(crate) const FOR_DRAIN: [Program; 3] = [NODE, NPM, NGINX];

/// What packages are made with, and tried in.
pub(crate) const FOR_DIST: [Program; 8] = [
    NPM,
    MMDEBSTRAP,
    program("buildah", "--version", "buildah", "the container image"),
    program("dpkg-shlibdeps", "--version", "dpkg-dev", "what the .deb depends on"),
    program("objcopy", "--version", "binutils", "debug information in a file of its own"),
    program("setpriv", "--version", "util-linux", "a user without rights"),
    program("kubectl", "help", "kubernetes-client", "what the page about Kubernetes tells to type"),
    program("python3", "--version", "python3-venv", "what validates files for Kubernetes and Compose"),
];

/// What a machine is made of and booted by.
pub(crate) const FOR_BOOT: [Program; 2] =
    [MMDEBSTRAP, program("systemd-nspawn", "--version", "systemd-container", "a machine that boots it")];

/// What tidelock is compared with.
pub(crate) const FOR_COMPARE: [Program; 2] = [NGINX, HAPROXY];

/// What faults are played on.
pub(crate) const FOR_FAULTS: [Program; 3] = [
    NODE,
    program("nginx", "-v", "nginx", "a proxy to compare with"),
    program("haproxy", "-v", "haproxy", "a proxy to compare with"),
];

/// What a long run needs.
pub(crate) const FOR_SOAK: [Program; 3] =
    [NODE, NPM, program("dnsmasq", "--version", "dnsmasq-base", "names of nodes that change")];

/// What is attacked, and one attacker.
pub(crate) const FOR_ATTACKS: [Program; 3] =
    [NGINX, HAPROXY, program("slowhttptest", "-h", "slowhttptest", "slow heads, bodies and reads")];

/// What real applications are started and used with.
pub(crate) const FOR_APPS: [Program; 4] = [
    NODE,
    NPM,
    program("chromium", "--version", "chromium", "applications in a real browser"),
    program("python3", "--version", "python3-venv", "applications from PyPI"),
];

/// What a roll is compared with.
pub(crate) const FOR_ROLL: [Program; 2] = [NODE, NPM];

const MMDEBSTRAP: Program = program("mmdebstrap", "--version", "mmdebstrap", "a small Debian");
const NODE: Program = program("node", "--version", "nodejs", "real Socket.IO nodes and clients");
const NPM: Program = program("npm", "--version", "npm", "their packages");

const NGINX: Program = program("nginx", "-v", "nginx", "a proxy to compare with");
const HAPROXY: Program = program("haproxy", "-v", "haproxy", "a proxy to compare with");
const VALGRIND: Program = program("valgrind", "--version", "valgrind", "counting instructions");

const fn program(
    name: &'static str,
    asks_version: &'static str,
    package: &'static str,
    purpose: &'static str,
) -> Program {
    Program { name, asks_version, package, purpose }
}

/// Directories with a package-lock.json, as seen from the root. One that is not there is passed over.
const NPM_DIRECTORIES: [&str; 3] = ["crates/testkit/js", "examples/node-chat", "examples/fanout/tests/js"];

/// The oldest Node.js that the scripts run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Whether a program is one of those that tests start, or comes with one.
pub(crate) fn is_for_tests(name: &str) -> bool {
    FOR_TESTS.iter().any(|program| program.name == name)
        || ["npx", "nodejs", "redis-cli", "prometheus"].contains(&name)
}

/// Installs the Debian packages whose programs are missing.
pub(crate) fn programs(wanted: &[Program]) -> Result<()> {
    let missing: Vec<_> =
        wanted.iter().filter(|program| !exists(program.name, &[program.asks_version])).collect();
    if !missing.is_empty() {
        for Program { name, package, purpose, .. } in &missing {
            eprintln!("xtask: `{name}` is missing (Debian package {package}); it is needed for {purpose}");
        }
        let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
        let by_hand = format!("install {} and run this again", packages.join(", "));
        ensure!(exists("apt-get", &["--version"]), "no apt-get here: {by_hand}");
        apt("fetching the package lists", &["update", "--quiet"])?;
        let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
        apt("installing what is missing", &[&install, packages.as_slice()].concat())?;
    }
    if wanted.iter().any(|program| program.name == NODE.name) {
        let major = node_major();
        ensure!(major >= NODE_MAJOR_MIN, "Node.js {major} is too old: install {NODE_MAJOR_MIN} or newer");
    }
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

/// Installs `package`, such as `pm2@7.0.4`, where [`aside`] says.
pub(crate) fn npm_aside(package: &str) -> Result<()> {
    let directory = aside(package);
    let seen = root().join(&directory);
    if !seen.join("node_modules/.package-lock.json").exists() {
        fs::create_dir_all(&seen)?;
        let install = ["install", "--prefix", ".", "--no-audit", "--no-fund", "--loglevel=error", package];
        aloud("installing an npm package under target/", command(&directory, "npm", &install))?;
    }
    Ok(())
}

/// The directory under `target/`, as seen from the root, of an npm package that no lock file of ours knows.
pub(crate) fn aside(package: &str) -> String {
    format!("target/xtask/{}", package.replace('@', "-"))
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
