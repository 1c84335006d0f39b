//! Builds the programs of the demo with cargo, and asks it where it has put them.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

pub(crate) struct Binaries {
    pub(crate) node: PathBuf,
    pub(crate) tidelock: PathBuf,
}

pub(crate) async fn build(root: &Path) -> Result<Binaries> {
    println!("demo: building tidelock and the chat node (dev profile; the first time takes a minute or two)");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    cargo.args(["build", "--quiet", "--message-format=json-render-diagnostics"]);
    cargo.args(["--package", "tidelock", "--package", "tidelock-chat", "--bin", "tidelock", "--bin", "node"]);
    let output = cargo.output().await.context("cargo cannot be started")?;
    ensure!(output.status.success(), "building failed: {}", output.status);

    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(Binaries { node: executable(&messages, "node")?, tidelock: executable(&messages, "tidelock")? })
}

#[derive(Deserialize)]
struct Artifact {
    executable: Option<PathBuf>,
}

fn executable(messages: &str, name: &str) -> Result<PathBuf> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Artifact>(line).ok());
    let mut executables = artifacts.filter_map(|artifact| artifact.executable);
    executables
        .find(|path| path.file_stem().is_some_and(|stem| stem == name))
        .with_context(|| format!("cargo did not say where it has put {name}"))
}
