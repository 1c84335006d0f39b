//! `cargo xtask test`: everything that a change must pass beside the lints.

use anyhow::Result;

use crate::run::{aloud, command, exists};
use crate::{floors, fuzz, packages, run};

/// Run all tests, and install first what they need.
///
/// Tests start real programs: Node.js with socket.io and its clients, Chromium, redis-server, and the binaries of this
/// workspace. What is missing is installed with apt-get and npm; what is there is left alone. Then it is looked whether each
/// crate's files use only what is below them (`cargo xtask floors`). Then come the tests, with
/// cargo-nextest if it is installed and with `cargo test` otherwise, the examples in the documentation, a moment of fuzzing
/// for each parser, and the count of instructions: a step of a request that takes 5 % more of them than before, by the same compiler on whatever CPU, is a
/// failure.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask test                              everything
  cargo xtask test -- -p tidelock-wire          the tests of one crate
  cargo xtask test -- -E 'test(drain)'          those with `drain` in their name (nextest's filters)
  cargo xtask test --offline                    install nothing, trust what is there")]
pub(crate) struct Test {
    /// Install nothing.
    #[arg(long)]
    offline: bool,

    /// For the test runner, as it is; doc tests, fuzzing and the count run only when there is nothing here.
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Test {
    pub(crate) fn run(&self) -> Result<()> {
        if !self.offline {
            packages::programs(&packages::FOR_TESTS)?;
            packages::npm()?;
        }
        floors::check(&run::root())?;
        // Cargo builds the binaries of a package for its own tests, but those of other packages are started too.
        let build = ["build", "--workspace", "--bins", "--features", "programs"];
        aloud("building the binaries", command(".", "cargo", &build))?;
        self.tests()?;
        if self.arguments.is_empty() {
            aloud("testing the documentation", command(".", "cargo", &["test", "--doc", "--workspace"]))?;
            fuzz::smoke()?;
            let count =
                ["bench", "--package", "tidelock-benches", "--bench", "instructions", "--", "--check"];
            let mut count = command(".", "cargo", &count);
            // An incremental build cuts crates into pieces, and a piece inlines nothing of another.
            count.env("CARGO_INCREMENTAL", "0");
            aloud("counting instructions beside the baseline", count)?;
        }
        eprintln!("xtask: all tests passed");
        Ok(())
    }

    fn tests(&self) -> Result<()> {
        let nextest = exists("cargo", &["nextest", "--version"]);
        let runner: &[&str] = if nextest {
            &["nextest", "run"]
        } else {
            eprintln!("xtask: cargo-nextest is not installed; `cargo test` shows less, and runs slower");
            &["test", "--lib", "--bins", "--tests"]
        };
        let mut command = run::command(".", "cargo", runner);
        // `-p` among the arguments says which packages; cargo takes either that or all of them.
        let is_package = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
        if !self.arguments.iter().any(is_package) {
            command.arg("--workspace");
        }
        // Cargo refuses a feature that none of the packages has.
        let starts_programs = self.arguments.iter().any(|argument| starts_programs(argument));
        if starts_programs || !self.arguments.iter().any(is_package) {
            command.args(["--features", "programs"]);
        }
        command.args(&self.arguments);
        aloud("running the tests", command)
    }
}

/// Whether this says, alone or behind its option, a package whose tests start other people's programs.
fn starts_programs(argument: &str) -> bool {
    let name = argument.trim_start_matches("--package").trim_start_matches("-p").trim_start_matches('=');
    WITH_PROGRAMS.contains(&name)
}

/// The packages that have the feature `programs`.
const WITH_PROGRAMS: [&str; 7] = [
    "tidelock",
    "tidelock-broker",
    "tidelock-chat",
    "tidelock-fanout",
    "tidelock-supervisor",
    "tidelock-testkit",
    "tidelock-xtask",
];
