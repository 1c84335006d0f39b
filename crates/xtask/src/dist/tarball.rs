//! The tarball, for systems that have neither Debian's packages nor npm.

use std::path::PathBuf;

use anyhow::Result;

use super::{Parts, copy, emptied};
use crate::run::{aloud, command, root};

pub(super) fn build(parts: &Parts) -> Result<PathBuf> {
    let name = format!("tidelock-{}-x86_64-unknown-linux-gnu", parts.version);
    let within = emptied(parts.folder.join("tarball"))?;
    let folder = within.join(&name);
    copy(&parts.binary, &folder.join("bin/tidelock"))?;
    for (what, to) in [(&parts.man, "share/man/man1"), (&parts.completions, "share/completions")] {
        for entry in std::fs::read_dir(what)? {
            let path = entry?.path();
            copy(&path, &folder.join(to).join(path.file_name().unwrap_or_default()))?;
        }
    }
    copy(&parts.licences, &folder.join("LICENSES.txt"))?;
    for file in [
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "configs/full.toml",
        "configs/tidelock.service",
        "packaging/upstreams.toml",
    ] {
        let from = root().join(file);
        copy(&from, &folder.join(from.file_name().unwrap_or_default()))?;
    }
    let tarball = parts.folder.join(format!("{name}.tar.gz"));
    let (output, directory) = (tarball.display().to_string(), within.display().to_string());
    let words =
        ["--create", "--gzip", "--owner=0", "--group=0", "--file", &output, "--directory", &directory, &name];
    aloud("packing the tarball", command(".", "tar", &words))?;
    Ok(tarball)
}
