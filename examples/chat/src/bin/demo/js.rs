//! Whether `examples/node-chat` can run here: Node.js, and the packages it needs, which are installed if they are not.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use tokio::process::Command;

/// The error says why it cannot run.
pub(crate) async fn prepare(node_chat: &Path) -> Result<()> {
    let output = Command::new("node").arg("--version").output().await.context("there is no `node`")?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    ensure!(
        major.is_some_and(|major: u32| major >= MAJOR_MIN),
        "Node.js is {version:?}, not {MAJOR_MIN} or later"
    );
    if installed(node_chat) {
        return Ok(());
    }
    println!("demo: installing the packages of examples/node-chat with `npm ci`");
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(node_chat);
    let status = npm.stdin(Stdio::null()).kill_on_drop(true).status().await.context("there is no `npm`")?;
    ensure!(status.success(), "`npm ci` failed ({status}); its words are above");
    Ok(())
}

/// npm writes this file last, when an install is complete.
fn installed(node_chat: &Path) -> bool {
    let modified =
        |file: &str| -> Option<SystemTime> { fs::metadata(node_chat.join(file)).ok()?.modified().ok() };
    modified("node_modules/.package-lock.json") >= modified("package-lock.json")
}

const MAJOR_MIN: u32 = 18;
