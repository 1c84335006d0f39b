//! `cargo xtask bench apps`: installs the applications and hands over to `benches/apps/run.mjs`, which starts them, uses
//! them and writes the tables.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::page::machine;
use crate::packages;
use crate::run::{aloud, command, printed, root};

/// Use real applications from npm and PyPI on two nodes behind tidelock.
///
/// Each is started as its users start it, on two nodes, and used with its own client or in Chromium: logins, Socket.IO
/// in Node.js and Python through drains and rolls, Streamlit, Gradio, SockJS and others, and the close codes that client
/// libraries report.
///
/// The installs are large, about 1 GB, and go into apps/ in the target directory, where the next run finds them. The
/// table is printed, and saved as docs/apps.md and in docs/drain.md with --save. It takes about ten minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench apps --save           all of them, and save the tables
  cargo xtask bench apps logins sockjs    some of the folders in benches/apps")]
pub(crate) struct Apps {
    /// Folders of benches/apps; all of them if none is named.
    folders: Vec<String>,

    /// Save the tables, with what was last seen of folders that are not named.
    #[arg(long)]
    save: bool,

    /// The tidelock to use. Left out: the build for tests, which is built first.
    #[arg(long, value_name = "PATH")]
    tidelock: Option<PathBuf>,

    /// Install nothing.
    #[arg(long)]
    offline: bool,
}

impl Apps {
    pub(crate) fn run(&self) -> Result<()> {
        let here = std::env::current_exe()?;
        let target = here.ancestors().nth(2).context("this program lies in a target directory")?;
        let cache = target.join("apps");
        let source = root().join("benches/apps");
        let known = folders(&source)?;
        for name in &self.folders {
            ensure!(known.contains(name), "there is no benches/apps/{name}, only {}", known.join(", "));
        }
        copy(&source, &cache)?;
        if !self.offline {
            packages::programs(&packages::FOR_APPS)?;
            self.install(&cache, &known)?;
        }
        let tidelock = match &self.tidelock {
            Some(path) => {
                path.canonicalize().with_context(|| format!("{} cannot be used", path.display()))?
            }
            None => {
                aloud("building what is used", command(".", "cargo", &["build", "--package", "tidelock"]))?;
                target.join("debug/tidelock")
            }
        };
        let plan = json!({
            "tidelock": tidelock,
            "names": self.folders,
            "words": source.join("apps.md"),
            "page": self.save.then(|| root().join("docs/apps.md")),
            "drain": root().join("docs/drain.md"),
            "versions": versions(&tidelock)?,
            "lifeline": true,
        });
        let status = play(&cache, &plan.to_string())?;
        ensure!(status.success(), "not everything that was asked for was seen; the table has it");
        Ok(())
    }

    fn install(&self, cache: &Path, known: &[String]) -> Result<()> {
        eprintln!("xtask: packages go into {}; all of them take about 1 GB", cache.display());
        install(cache)?;
        for name in known.iter().filter(|name| self.folders.is_empty() || self.folders.contains(name)) {
            install(&cache.join(name))?;
        }
        Ok(())
    }
}

/// Runs the runner. It reads a pipe that is held here until it has ended: if this program is killed, which can clean up nothing
/// then, the runner ends what it has started, and itself.
fn play(cache: &Path, plan: &str) -> Result<ExitStatus> {
    let mut run = Command::new("node");
    run.arg("run.mjs").arg(plan).current_dir(cache).stdin(Stdio::piped());
    let mut runner = run.spawn().context("node cannot be started")?;
    let lifeline = runner.stdin.take();
    let status = runner.wait();
    drop(lifeline);
    Ok(status?)
}

fn folders(source: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        if entry.path().join("proof.mjs").exists() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// Copies the sources to where their packages are; what was installed there stays.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let goal = to.join(entry.file_name());
        if entry.file_name() == "node_modules" {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &goal)?;
        } else {
            fs::copy(entry.path(), goal)?;
        }
    }
    Ok(())
}

/// Installs what `package.json` and `requirements.txt` name, unless just that is installed.
fn install(folder: &Path) -> Result<()> {
    let wanted = [read(&folder.join("package.json"))?, read(&folder.join("requirements.txt"))?];
    let mark = folder.join(".installed");
    let marked = wanted.join("\n");
    if read(&mark)? == marked {
        return Ok(());
    }
    let at = folder.to_string_lossy();
    let [npm, pypi] = wanted;
    if !npm.is_empty() {
        let install =
            ["install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", "."];
        aloud(&format!("installing npm packages for {at}"), command(&at, "npm", &install))?;
    }
    if !pypi.is_empty() {
        aloud("making a place for Python packages", command(&at, "python3", &["-m", "venv", "venv"]))?;
        let install = ["install", "--disable-pip-version-check", "--requirement", "requirements.txt"];
        let pip = folder.join("venv/bin/pip");
        aloud("installing from PyPI", command(&at, &pip.to_string_lossy(), &install))?;
    }
    fs::write(mark, marked)?;
    Ok(())
}

/// The text of a file, or nothing if there is none.
fn read(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.with_context(|| format!("{} cannot be read", file.display())),
    }
}

fn versions(tidelock: &Path) -> Result<Vec<String>> {
    let tidelock = tidelock.to_str().context("the path of tidelock is not UTF-8")?;
    let commit = printed("git", &["rev-parse", "--short", "HEAD"]);
    Ok(vec![
        machine(),
        format!("{}, commit {commit}", printed(tidelock, &["--version"])),
        format!("Node.js {}, {}", printed("node", &["--version"]), printed("python3", &["--version"])),
        // Debian's wrapper may complain on the lines after it.
        printed("chromium", &["--version"]).lines().next().unwrap_or_default().to_owned(),
    ])
}
