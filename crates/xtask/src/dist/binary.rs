//! The binary that packages carry, and what is promised of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::run::{aloud, command, printed};

/// Builds the binary, and puts it into `folder` without its debug information, which goes into a file beside it that gdb finds.
/// One of a debug build is as large as it likes.
pub(super) fn build(folder: &Path, is_debug: bool) -> Result<PathBuf> {
    let (profile, profile_folder) = if is_debug { ("dev", "debug") } else { ("dist", "dist") };
    let build = ["build", "--locked", "--package", "tidelock", "--profile", profile];
    aloud("building tidelock", command(".", "cargo", &build))?;
    let built = crate::run::built_in(profile_folder, "tidelock")?.display().to_string();
    let (binary, debug) = (folder.join("tidelock"), folder.join("tidelock.debug"));
    let (stripped, split) = (binary.display().to_string(), debug.display().to_string());
    let objcopy = |why, words: &[&str]| aloud(why, command(".", "objcopy", words));
    objcopy(
        "splitting off its debug information",
        &["--only-keep-debug", "--compress-debug-sections", &built, &split],
    )?;
    let link = format!("--add-gnu-debuglink={split}");
    objcopy("stripping it", &["--strip-all", &link, &built, &stripped])?;

    let size = fs::metadata(&binary)?.len();
    ensure!(is_debug || size < SIZE_MAX, "the binary takes {size} bytes, of {SIZE_MAX} that it may");
    let glibc = glibc(&printed("readelf", &["--version-info", "--wide", &stripped]))?;
    ensure!(glibc <= GLIBC_MAX, "the binary needs glibc {}.{}, later than it may", glibc.0, glibc.1);
    eprintln!("xtask: {:.1} MB, needs glibc {}.{}", size as f64 / 1e6, glibc.0, glibc.1);
    Ok(binary)
}

/// The latest version of glibc that one of its symbols is of.
fn glibc(readelf: &str) -> Result<(u32, u32)> {
    let versions = readelf.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
        let (major, minor) = rest[..end].split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    versions.max().context("readelf names no version of glibc")
}

/// The aim was 15 MB: docs/decisions.md says what it is made of.
const SIZE_MAX: u64 = 19_500_000;

/// That of Debian 12 is 2.36, of Ubuntu 22.04 2.35, of RHEL 9 2.34.
const GLIBC_MAX: (u32, u32) = (2, 34);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_version_counts() {
        let readelf = "0x0010:   Name: GLIBC_2.2.5  Flags: none\n0x0020: Name: GLIBC_2.34  Flags: none\n Name: GLIBC_2.4 ";
        assert_eq!(glibc(readelf).unwrap(), (2, 34));
        assert!(glibc("nothing").is_err());
    }
}
