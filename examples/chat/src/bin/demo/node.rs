//! What tidelock runs as the app: each instance becomes the node of its slot, in Rust or in Node.js.

use std::env::{var, var_os};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::beside;

/// Comes back only if it cannot.
pub(crate) fn become_one() -> Result<()> {
    let slot: u16 = var("NODE_APP_INSTANCE").ok().and_then(|slot| slot.parse().ok()).unwrap_or_default();
    let mut command = match var_os(JS_FOLDER).filter(|_| slot == JS_SLOT) {
        Some(folder) => {
            let mut node = Command::new("node");
            node.arg(Path::new(&folder).join("index.js"));
            node
        }
        None => Command::new(beside("node")?),
    };
    // What it calls itself to clients is what tidelock calls it.
    Err(command.env("NODE_NAME", format!("chat/{slot}")).exec()).context("the chat node cannot be started")
}

/// Where the chat in Node.js is, if it can run.
pub(crate) const JS_FOLDER: &str = "DEMO_NODE_CHAT";
/// Which of the instances it is.
pub(crate) const JS_SLOT: u16 = 2;
