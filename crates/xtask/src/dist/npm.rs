//! The packages for npm: one with the binary for each platform, and `tidelock`, which has npm install the one that fits.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::{Parts, copy, emptied};
use crate::run::{command, root};

pub(super) fn build(parts: &Parts) -> Result<Vec<PathBuf>> {
    let from = root().join("packaging/npm");
    let folder = emptied(parts.folder.join("npm"))?;

    let platform = folder.join("linux-x64");
    described(&from.join("platform/package.json"), &platform, parts)?;
    copy(&parts.binary, &platform.join("bin/tidelock"))?;
    copy(&parts.licences, &platform.join("LICENSES.txt"))?;

    let main = folder.join("tidelock");
    described(&from.join("tidelock/package.json"), &main, parts)?;
    for file in ["bin/tidelock", "install.js", "platform.js"] {
        copy(&from.join("tidelock").join(file), &main.join(file))?;
    }
    fs::set_permissions(main.join("bin/tidelock"), fs::Permissions::from_mode(0o755))?;
    for file in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        copy(&root().join(file), &main.join(file))?;
    }
    Ok(vec![packed(&main)?, packed(&platform)?])
}

/// Its package.json, with this version in it.
fn described(from: &Path, to: &Path, parts: &Parts) -> Result<()> {
    let text = fs::read_to_string(from)?;
    let text = text.replace("VERSION", &parts.version).replace("REPOSITORY", env!("CARGO_PKG_REPOSITORY"));
    fs::create_dir_all(to)?;
    fs::write(to.join("package.json"), text)?;
    Ok(())
}

fn packed(package: &Path) -> Result<PathBuf> {
    let directory = package.display().to_string();
    let mut npm = command(".", "npm", &["pack", "--loglevel=error", "--pack-destination", ".."]);
    npm.current_dir(package);
    let output = npm.output()?;
    anyhow::ensure!(
        output.status.success(),
        "`npm pack` in {directory} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8_lossy(&output.stdout);
    let file = said.lines().last().context("npm pack says which file it wrote")?;
    Ok(package.parent().context("it lies in a folder")?.join(file))
}
