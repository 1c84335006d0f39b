//! `cargo xtask dist`: everything that a stranger installs, in `target/dist`, and a try of each of it.

mod binary;
mod deb;
mod image;
mod licences;
mod npm;
mod tarball;
mod tried;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use crate::packages::{self, FOR_DIST};
use crate::run::{aloud, command, root};

/// Build the packages: a .deb, two npm packages, a tarball and a container image, in target/dist.
///
/// First the binary, as `cargo build --profile dist` makes it, with its debug information in a file of its own, the pages of the manual, the
/// completions of three shells, and the licences of everything inside. What the packages are made with is installed: Debian's
/// packages by apt-get, cargo-deb under target/xtask. With --try, each of them is installed and used where nothing else of tidelock is: the .deb in a
/// Debian that mmdebstrap makes, the npm packages by a user without rights, the image by buildah. That needs root.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  cargo xtask dist                     all of them
  cargo xtask dist --only deb          one of them
  cargo xtask dist --try               all of them, and try each")]
pub(crate) struct Dist {
    /// Only these, separated by commas.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    only: Vec<Kind>,

    /// Install and use what was built.
    #[arg(long = "try")]
    is_tried: bool,

    /// Pack a debug build, which takes less time: for a try, and not for use.
    #[arg(long)]
    debug: bool,
}

/// Two versions of the .deb of a debug build, which differ in nothing but that. For `cargo xtask boot`.
pub(crate) fn two_debs() -> Result<[PathBuf; 2]> {
    packages::programs(&FOR_DIST)?;
    let parts = Parts::made(true)?;
    Ok([deb::build(&parts, Some("1"))?, deb::build(&parts, Some("2"))?])
}

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Deb,
    Npm,
    Tarball,
    Image,
}

impl Dist {
    pub(crate) fn run(&self) -> Result<()> {
        packages::programs(&FOR_DIST)?;
        let parts = Parts::made(self.debug)?;
        for kind in Kind::value_variants() {
            if !self.only.is_empty() && !self.only.contains(kind) {
                continue;
            }
            let files = match kind {
                Kind::Deb => vec![deb::build(&parts, None)?],
                Kind::Npm => npm::build(&parts)?,
                Kind::Tarball => vec![tarball::build(&parts)?],
                Kind::Image => vec![image::build(&parts)?],
            };
            for file in &files {
                let size = fs::metadata(file)?.len() as f64 / 1e6;
                eprintln!("xtask: {} is built, {size:.1} MB", file.display());
            }
            if self.is_tried {
                match kind {
                    Kind::Deb => tried::deb(&files[0], &parts)?,
                    Kind::Npm => tried::npm(&files)?,
                    Kind::Tarball => tried::tarball(&files[0], &parts)?,
                    Kind::Image => tried::image(&files[0], &parts)?,
                }
                eprintln!("xtask: {kind:?} was tried, and does what it should");
            }
        }
        if self.is_tried {
            crate::pages::kubernetes()?;
        }
        Ok(())
    }
}

/// What packages are made of.
#[derive(Debug)]
struct Parts {
    /// `target/dist`, which holds all of the following.
    folder: PathBuf,
    version: String,
    /// Without debug information, which is in `tidelock.debug` beside it.
    binary: PathBuf,
    /// The licences of everything inside.
    licences: PathBuf,
    /// The pages of the manual.
    man: PathBuf,
    /// `tidelock.bash`, `_tidelock`, `tidelock.fish`.
    completions: PathBuf,
    /// The unit, for a binary in /usr/bin.
    unit: PathBuf,
}

impl Parts {
    /// Builds the binary, and what is made with it.
    fn made(is_debug: bool) -> Result<Self> {
        let folder = root().join("target/dist");
        fs::create_dir_all(&folder)?;
        let parts = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            binary: binary::build(&folder, is_debug)?,
            licences: folder.join("LICENSES.txt"),
            man: emptied(folder.join("man"))?,
            completions: emptied(folder.join("completions"))?,
            unit: folder.join("tidelock.service"),
            folder,
        };
        licences::write(&parts.licences)?;
        let binary = parts.binary.display().to_string();
        aloud("writing the manual", command(".", &binary, &["man", &parts.man.display().to_string()]))?;
        for (shell, file) in [("bash", "tidelock.bash"), ("zsh", "_tidelock"), ("fish", "tidelock.fish")] {
            let output = command(".", &binary, &["completions", shell]).output()?;
            anyhow::ensure!(output.status.success(), "`tidelock completions {shell}` failed");
            fs::write(parts.completions.join(file), output.stdout)?;
        }
        let unit = fs::read_to_string(root().join("configs/tidelock.service"))?;
        let unit = unit.replace("/usr/local/bin/tidelock", "/usr/bin/tidelock");
        let manual = "Documentation=man:tidelock(1)";
        anyhow::ensure!(unit.contains(manual), "configs/tidelock.service does not say `{manual}`");
        fs::write(&parts.unit, unit.replace(manual, &format!("{manual} file://{OPERATING}")))?;
        Ok(parts)
    }
}

/// Where the .deb puts the page that somebody needs who looks at the unit.
const OPERATING: &str = "/usr/share/doc/tidelock/docs/operating.md";

/// `folder`, with nothing in it.
fn emptied(folder: PathBuf) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Copies a file, whose folder is made.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(from, to).with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))?;
    Ok(())
}
