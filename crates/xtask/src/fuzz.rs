//! `cargo xtask fuzz`: what strangers may send, by the million.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::{aloud, command, root};

/// Fuzz the parsers, each for an equal part of the time.
///
/// The targets are in `fuzz/`, a workspace of its own: heads of requests and answers, bodies, WebSocket frames, Engine.IO,
/// tags, hosts, paths, files, the admin socket, lines of logs, what fan-out's nodes say to each other, and whole exchanges and
/// connections through a worker. They are built with libFuzzer and, unless told otherwise, AddressSanitizer. What is found
/// is in `fuzz/artifacts`, and the line that shows it again is printed; inputs that reach something new stay in
/// `fuzz/target/corpus` for the next run. `cargo xtask test` runs each for a moment, from `fuzz/corpus`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask fuzz --minutes 60                  an hour, all targets
  cargo xtask fuzz --minutes 5 --target path     one of them")]
pub(crate) struct Fuzz {
    /// How long, all targets together.
    #[arg(long, value_name = "N", default_value_t = 5)]
    minutes: u64,

    /// One target instead of all.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,

    /// Build without AddressSanitizer: twice as fast, and blind to what only it sees.
    #[arg(long)]
    no_asan: bool,
}

/// Whether the targets are built with AddressSanitizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sanitizer {
    Address,
    None,
}

impl Fuzz {
    pub(crate) fn run(&self) -> Result<()> {
        let sanitizer = if self.no_asan { Sanitizer::None } else { Sanitizer::Address };
        let all = targets()?;
        let chosen: Vec<String> = match &self.target {
            None => all,
            Some(target) if all.contains(target) => vec![target.clone()],
            Some(target) => bail!("there is no target {target}; there is {}", all.join(", ")),
        };
        let each = Duration::from_mins(self.minutes) / u32::try_from(chosen.len())?;
        let built = build(sanitizer)?;
        let mut table = Vec::new();
        for target in &chosen {
            let corpus = root().join("fuzz/target/corpus").join(target);
            table.push((target, fuzz(&built, target, &corpus, each)?));
        }
        println!(
            "{:<14} {:>14} {:>10} {:>9} {:>8}",
            "target", "executions", "per second", "branches", "corpus"
        );
        for (target, Ran { executions, a_second, branches, corpus }) in table {
            println!("{target:<14} {executions:>14} {a_second:>10} {branches:>9} {corpus:>8}");
        }
        Ok(())
    }
}

/// Runs each target for a moment, from what is checked in, and keeps nothing.
pub(crate) fn smoke() -> Result<()> {
    let built = build(Sanitizer::None)?;
    for target in targets()? {
        let corpus = tempfile::tempdir()?;
        fuzz(&built, &target, corpus.path(), SMOKE)?;
    }
    Ok(())
}

/// The names of the targets, which are those of their files.
fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{folder:?}"))? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Builds all targets, and says where they are.
fn build(sanitizer: Sanitizer) -> Result<PathBuf> {
    let folder = match sanitizer {
        Sanitizer::Address => "target/asan",
        Sanitizer::None => "target/plain",
    };
    let mut flags: Vec<&str> = COVERAGE.to_vec();
    // With a target named, build scripts and macros are built without these flags.
    let arguments = ["build", "--release", "--bins", "--target", TRIPLE, "--target-dir", folder];
    let mut build = command("fuzz", "cargo", &arguments);
    if sanitizer == Sanitizer::Address {
        flags.push("-Zsanitizer=address");
        // A flag of nightly compilers; the stable one knows it as well.
        build.env("RUSTC_BOOTSTRAP", "1");
    }
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")).env_remove("CARGO_TARGET_DIR");
    aloud("building the fuzz targets", build)?;
    Ok(root().join("fuzz").join(folder).join(TRIPLE).join("release"))
}

/// What a target has done.
struct Ran {
    executions: u64,
    a_second: u64,
    /// Places between two branches that were reached, of the code and all that it uses.
    branches: u64,
    /// Inputs kept, because each of them reaches something that the others do not.
    corpus: u64,
}

/// Runs one target; `corpus` is where it keeps what is new.
fn fuzz(built: &Path, target: &str, corpus: &Path, time: Duration) -> Result<Ran> {
    let folder = root().join("fuzz");
    let artifacts = folder.join("artifacts").join(target);
    fs::create_dir_all(&artifacts)?;
    fs::create_dir_all(corpus)?;
    let mut run = Command::new(built.join(target));
    run.current_dir(&folder)
        // The first is the one that it writes to.
        .args([corpus, &Path::new("corpus").join(target)])
        .arg(format!("-max_total_time={}", time.as_secs().max(1)))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args(["-dict=dictionary.txt", "-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"]);
    eprintln!("xtask: fuzzing {target} for {} s", time.as_secs().max(1));
    let output = run.output().with_context(|| format!("{target} cannot be started"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{target} has found something, which is in {}; `{} FILE` shows it again:\n{said}",
        artifacts.display(),
        built.join(target).display()
    );
    let stats: BTreeMap<&str, u64> = said
        .lines()
        .filter_map(|line| line.strip_prefix("stat::")?.split_once(':'))
        .filter_map(|(name, value)| Some((name, value.trim().parse().ok()?)))
        .collect();
    let stat =
        |name| stats.get(name).copied().with_context(|| format!("{target} does not say {name}: {said}"));
    let [branches, corpus] = ["cov:", "corp:"].map(|name| last_after(&said, name).unwrap_or_default());
    let executions = stat("number_of_executed_units")?;
    Ok(Ran { executions, a_second: stat("average_exec_per_sec")?, branches, corpus })
}

/// The number behind the last `name` in what libFuzzer has said: `#65536 pulse cov: 226 ft: 838 corp: 121/3046b`.
fn last_after(said: &str, name: &str) -> Option<u64> {
    let (_, behind) = said.rsplit_once(name)?;
    behind.trim_start().split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// What libFuzzer wants to know of the code under it.
const COVERAGE: [&str; 5] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
];
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };
const SMOKE: Duration = Duration::from_secs(3);
