//! The .deb, by cargo-deb, of what crates/tidelock/Cargo.toml says under `package.metadata.deb`.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::Parts;
use crate::run::{aloud, command, exists, root};

/// `revision` is Debian's part of the version, for several packages of the same one.
pub(super) fn build(parts: &Parts, revision: Option<&str>) -> Result<PathBuf> {
    let cargo_deb = cargo_deb()?;
    let version = match revision {
        Some(revision) => format!("{}-{revision}", parts.version),
        None => parts.version.clone(),
    };
    let package = parts.folder.join(format!("tidelock_{version}_amd64.deb"));
    let output = package.display().to_string();
    // What it packs lies in target/dist, stripped.
    let mut words =
        vec!["deb", "--package", "tidelock", "--no-build", "--no-strip", "--locked", "--output", &output];
    if revision.is_some() {
        words.extend(["--deb-version", &version]);
    }
    aloud("packing the .deb", command(".", &cargo_deb, &words))?;
    ensure!(package.is_file(), "cargo-deb has not written {}", package.display());
    Ok(package)
}

/// The program, which is built if it is not there.
fn cargo_deb() -> Result<String> {
    let folder = root().join("target/xtask/cargo-deb");
    let program = folder.join("bin/cargo-deb").display().to_string();
    if !exists(&program, &["--version"]) {
        let root = folder.display().to_string();
        let words = ["install", "cargo-deb", "--version", VERSION, "--locked", "--root", &root];
        aloud("building cargo-deb, which takes a minute or two", command(".", "cargo", &words))?;
    }
    Ok(program)
}

const VERSION: &str = "3.8.0";
