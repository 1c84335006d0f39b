//! `cargo xtask bench fanout`: what fan-out between Rust nodes costs beside Node.js. `examples/fanout/examples/bars.rs`
//! is where it is measured, since this crate does not depend on the examples.

use anyhow::Result;

use crate::run;

/// Compare fan-out in Rust with Node.js, through redis-server and the embedded broker.
#[derive(Debug, clap::Args)]
pub(crate) struct Fanout {}

impl Fanout {
    pub(crate) fn run(&self) -> Result<()> {
        let arguments = ["run", "--quiet", "--release", "--package", "tidelock-fanout", "--example", "bars"];
        run::aloud("measuring fan-out", run::command(".", "cargo", &arguments))
    }
}
