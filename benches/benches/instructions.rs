//! How many instructions the steps of a request take, counted by valgrind's callgrind: `cargo bench --bench instructions`.
//!
//! A count hardly depends on how busy a machine is, so that it can be held to a baseline. It does depend on the compiler,
//! and a little, where code chooses by what the CPU can do, on the CPU: by a thousandth between models, a fiftieth of what
//! is allowed. So `baselines/instructions.json` has one baseline for each compiler and kind of CPU, from whichever model
//! was counted on last, and all models are held to it. Only another compiler has nothing to be held to, and says so.
//!
//! This program counts itself: it runs once more under valgrind, takes each step there inside [`counted`], and valgrind
//! writes one file at each return from it. gungraun would do that with a process for each step and a runner of its own
//! that has to be compiled on every machine and in its very version; this needs valgrind and sixty lines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use benches::{Case, Size, Step, cases};
use clap::Parser;
use serde_json::json;

/// Count the instructions of the steps of a request, and compare them with the baseline.
#[derive(Debug, Parser)]
struct Cli {
    /// Fail if a step takes more than 5 % more than in the baseline.
    #[arg(long)]
    check: bool,

    /// Make what is counted now the baseline of this compiler, in the place of that of any other CPU.
    #[arg(long, conflicts_with = "check")]
    save: bool,

    /// What runs under valgrind.
    #[arg(long, hide = true)]
    inner: bool,

    /// Cargo says so.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Instructions of one step, by its name.
type Counts = BTreeMap<String, u64>;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("instructions: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    if cli.inner {
        cases().for_each(take);
        return Ok(());
    }
    let key = key()?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines/instructions.json");
    let text = fs::read_to_string(&file).unwrap_or_else(|_| "{}".to_owned());
    let mut baselines: BTreeMap<String, Counts> =
        serde_json::from_str(&text).with_context(|| format!("{file:?}"))?;
    let baseline = baseline_for(&baselines, &key);
    let held_to = baseline.map(|(name, _)| name.to_owned());
    let baseline = baseline.map(|(_, counts)| counts);
    let mut counts = count()?;
    for _ in 1..TIMES {
        // Hash tables have other keys in each run, and memory lies elsewhere; it shows where there is much of both. So a
        // baseline is the most of a few runs, and what seems to have grown is so only if it has in each of them.
        let keeps: fn(u64, u64) -> u64 = match (cli.save, grown(&counts, baseline).is_empty()) {
            (true, _) => u64::max,
            (false, false) => u64::min,
            (false, true) => break,
        };
        for (name, again) in count()? {
            counts.entry(name).and_modify(|count| *count = keeps(*count, again));
        }
    }
    report(&counts, baseline);
    let grown = grown(&counts, baseline);
    match held_to {
        None => println!("NOT CHECKED: there is no baseline for {key}; --save makes one"),
        Some(name) if name == key => println!("beside the baseline of {key}"),
        Some(name) => println!("counted on {key}, beside the baseline of {name}"),
    }
    if cli.save {
        // One that stayed would be what other models are held to, and it is not that of this code.
        baselines.retain(|other, _| kind_of(other) != kind_of(&key));
        baselines.insert(key, counts);
        fs::write(&file, format!("{:#}\n", json!(baselines)))?;
        println!("saved in {}", file.display());
    } else if cli.check && !grown.is_empty() {
        bail!(
            "more than {GROWTH_MAX} times the instructions of before: {}. If it is worth it, say why in the commit \
             and save a new baseline: cargo bench --bench instructions -- --save",
            grown.join(", ")
        );
    }
    Ok(())
}

/// The baseline of this compiler, from this CPU or else from another one, and whose it is.
fn baseline_for<'a>(baselines: &'a BTreeMap<String, Counts>, key: &str) -> Option<(&'a str, &'a Counts)> {
    let own = baselines.get_key_value(key);
    let other = || baselines.iter().find(|(other, _)| kind_of(other) == kind_of(key));
    own.or_else(other).map(|(name, counts)| (name.as_str(), counts))
}

/// The compiler and the instruction set in a key.
fn kind_of(key: &str) -> &str {
    let cpu_at = key.match_indices(' ').nth(2).map_or(key.len(), |(at, _)| at);
    &key[..cpu_at]
}

/// What takes too much more than before.
fn grown(counts: &Counts, baseline: Option<&Counts>) -> Vec<String> {
    let before = |name: &String| baseline.and_then(|baseline| baseline.get(name));
    let has_grown = |(name, now): &(&String, &u64)| {
        before(name).is_some_and(|&before| **now as f64 > before as f64 * GROWTH_MAX)
    };
    counts.iter().filter(has_grown).map(|(name, _)| name.clone()).collect()
}

fn report(counts: &Counts, baseline: Option<&Counts>) {
    for (name, &now) in counts {
        match baseline.and_then(|baseline| baseline.get(name)) {
            None => println!("{name:<36} {now:>12}"),
            Some(&before) => {
                let percent = (now as f64 / before.max(1) as f64 - 1.0) * 100.0;
                println!("{name:<36} {now:>12} {percent:>+8.1} %");
            }
        }
    }
}

/// Takes one step as often as it says, after a few times that make everything warm.
fn take(case: &Case) {
    let mut step = (case.prepare)(Size::Counted);
    for _ in 0..WARM {
        step();
    }
    reported(&mut step, case.times);
}

/// Valgrind writes what it has counted at the end of this. It takes only one order for a function, hence two of them.
#[inline(never)]
fn reported(step: &mut Step, times: u32) {
    counted(step, times);
    // So that this is still here when that has returned.
    std::hint::black_box(times);
}

/// Valgrind counts between the begin and the end of this, by its name.
#[inline(never)]
fn counted(step: &mut Step, times: u32) {
    for _ in 0..times {
        step();
    }
}

/// Runs this program under valgrind and reads what it counted.
fn count() -> Result<Counts> {
    let directory = tempfile::tempdir()?;
    let out = directory.path().join("counts");
    let own = std::env::current_exe()?;
    let valgrind = Command::new("valgrind")
        .args(["--tool=callgrind", "--toggle-collect=*counted*"])
        .args(["--dump-after=*reported*"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(own)
        .arg("--inner")
        .stdin(Stdio::null())
        .output()
        .context("valgrind cannot be started; Debian has it in the package valgrind")?;
    let said = String::from_utf8_lossy(&valgrind.stderr);
    ensure!(valgrind.status.success(), "valgrind ended with {}: {said}", valgrind.status);
    let mut counts = Counts::new();
    for (index, case) in cases().enumerate() {
        let file = format!("{}.{}", out.display(), index + 1);
        let text = fs::read_to_string(&file).with_context(|| format!("{file}: {said}"))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse::<u64>().ok());
        let total = total.with_context(|| format!("{file} has no total"))?;
        ensure!(total > 0, "nothing was counted for {}", case.name);
        counts.insert(case.name.to_owned(), total / u64::from(case.times));
    }
    Ok(counts)
}

/// The compiler and the CPU.
fn key() -> Result<String> {
    let rustc = Command::new("rustc").arg("--version").output()?;
    let rustc = String::from_utf8(rustc.stdout)?;
    let version = rustc.split(' ').nth(1).context("rustc says no version")?;
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name));
        line.and_then(|line| line.split(':').nth(1)).map_or("?", str::trim).to_owned()
    };
    let (vendor, family, model) = (field("vendor_id"), field("cpu family"), field("model"));
    Ok(format!("rustc {version}, {} {vendor} family {family} model {model}", std::env::consts::ARCH))
}

const GROWTH_MAX: f64 = 1.05;
const WARM: u32 = 10;
const TIMES: usize = 3;
