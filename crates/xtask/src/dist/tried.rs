//! Whether what was built can be installed and used: each package where nothing else of tidelock is.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::image::{self, buildah};
use super::{Parts, copy, emptied};
use crate::pages;
use crate::run::{aloud, command};

/// Installed, used, upgraded, removed and purged in a Debian of its own. `cargo xtask boot` does it on a machine that boots.
pub(super) fn deb(package: &Path, parts: &Parts) -> Result<()> {
    let debian = emptied(parts.folder.join("debian"))?;
    let path = debian.display().to_string();
    let packages = "--include=adduser,init-system-helpers";
    let words = ["--quiet", "--variant=minbase", packages, "bookworm", &path];
    aloud("making a small Debian", command(".", "mmdebstrap", &words))?;
    let inside = |words: &[&str]| command(".", "chroot", &[&[path.as_str()], words].concat());
    let before = named_like_it(&debian)?;
    copy(package, &debian.join("tmp/tidelock.deb"))?;

    let install = ["dpkg", "--install", "/tmp/tidelock.deb"];
    aloud("installing the .deb", inside(&install))?;
    fs::write(debian.join("tmp/any.toml"), ANY)?;
    let user = ["setpriv", "--reuid=tidelock", "--regid=tidelock", "--clear-groups", "--"];
    serves(
        inside(&[&user[..], &["env", "XDG_STATE_HOME=/tmp/tried", "tidelock", "/tmp/any.toml"]].concat()),
        None,
    )?;
    let unit = fs::read_to_string(debian.join("usr/lib/systemd/system/tidelock.service"))?;
    for file in documentation(&unit)? {
        ensure!(
            debian.join(&file).is_file(),
            "the unit's Documentation= names /{file}, which the .deb lacks"
        );
    }
    let enabled = debian.join("etc/systemd/system/multi-user.target.wants/tidelock.service");
    ensure!(fs::symlink_metadata(enabled).is_ok(), "the unit is not enabled");

    // What the administrator has written stays over an upgrade.
    let file = debian.join("etc/tidelock/upstreams.toml");
    let changed = fs::read_to_string(&file)? + "# changed\n";
    fs::write(&file, &changed)?;
    aloud("installing it again", inside(&install))?;
    ensure!(fs::read_to_string(&file)? == changed, "an upgrade has replaced /etc/tidelock/upstreams.toml");

    aloud("removing it", inside(&["dpkg", "--remove", "tidelock"]))?;
    ensure!(file.is_file(), "`dpkg --remove` has removed a file of the administrator's");
    aloud("purging it", inside(&["dpkg", "--purge", "tidelock"]))?;
    for left in ["tmp/tidelock.deb", "tmp/any.toml"] {
        fs::remove_file(debian.join(left))?;
    }
    fs::remove_dir_all(debian.join("tmp/tried"))?;
    let left = named_like_it(&debian)?;
    ensure!(left == before, "the purge leaves {left:?}");
    let users = fs::read_to_string(debian.join("etc/passwd"))?;
    ensure!(!users.contains("tidelock"), "the purge leaves its user");
    Ok(fs::remove_dir_all(debian)?)
}

/// The files that `Documentation=` of a unit names, below its root.
fn documentation(unit: &str) -> Result<Vec<String>> {
    let line = unit.lines().find_map(|line| line.strip_prefix("Documentation="));
    let line = line.context("the unit has no Documentation=")?;
    let file = |word: &str| match (word.strip_prefix("file:///"), word.strip_prefix("man:")) {
        (Some(file), _) => Ok(file.to_owned()),
        (None, Some(page)) => Ok(format!("usr/share/man/man1/{}.1.gz", page.trim_end_matches("(1)"))),
        (None, None) => bail!("Documentation= of the unit says {word}"),
    };
    line.split_whitespace().map(file).collect()
}

/// Files of a root that are named after tidelock.
fn named_like_it(root: &Path) -> Result<String> {
    let root = root.display().to_string();
    image::said(command(".", "find", &[&root, "-name", "*tidelock*"]))
}

/// Installed by a user without rights, into a prefix of its own; with npm's scripts and without them.
pub(super) fn npm(packages: &[PathBuf]) -> Result<()> {
    for ignores_scripts in [false, true] {
        // Somebody who is not root must get there.
        let home = tempfile::tempdir()?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777))?;
        let mut words = vec![
            "npm",
            "install",
            "--global",
            "--no-audit",
            "--no-fund",
            "--loglevel=error",
            "--prefix",
            "prefix",
        ];
        if ignores_scripts {
            words.push("--ignore-scripts");
        }
        let mut install = as_nobody(home.path(), &words);
        for package in packages {
            let seen = home.path().join(package.file_name().unwrap_or_default());
            fs::copy(package, &seen)?;
            install.arg(seen);
        }
        aloud("installing the npm packages as nobody", install)?;
        let program = home.path().join("prefix/bin/tidelock").display().to_string();
        let is_binary = fs::read(&program)?.starts_with(b"\x7fELF");
        ensure!(is_binary != ignores_scripts, "{program} is not what it should be");
        fs::write(home.path().join("any.toml"), ANY)?;
        serves(as_nobody(home.path(), &[&program, "any.toml"]), None)?;
    }
    Ok(())
}

fn as_nobody(home: &Path, words: &[&str]) -> Command {
    let mut setpriv = command(".", "setpriv", &["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    setpriv
        .args(words)
        .current_dir(home)
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", home)
        .env("npm_config_cache", home.join("cache"));
    setpriv
}

/// Unpacked and used.
pub(super) fn tarball(tarball: &Path, parts: &Parts) -> Result<()> {
    let folder = emptied(parts.folder.join("tarball-tried"))?;
    let words = [
        "--extract",
        "--strip-components=1",
        "--file",
        &tarball.display().to_string(),
        "--directory",
        &folder.display().to_string(),
    ];
    aloud("unpacking the tarball", command(".", "tar", &words))?;
    let program = folder.join("bin/tidelock").display().to_string();
    let any = folder.join("any.toml");
    fs::write(&any, ANY)?;
    serves(command(".", &program, &[&any.display().to_string()]), None)?;
    Ok(fs::remove_dir_all(folder)?)
}

/// Run by buildah, as its own user; and used as the pages about containers say.
pub(super) fn image(archive: &Path, parts: &Parts) -> Result<()> {
    image_alone(parts)?;
    image::node(&parts.folder)?;
    pages::containers(archive, &parts.version, &image::store())?;
    pages::containerfile(&parts.binary, &image::store())
}

fn image_alone(parts: &Parts) -> Result<()> {
    let name = image::name(parts);
    let container = image::said(buildah(&["from", "--pull-never", &name]))?;
    let any = parts.folder.join("any.toml");
    fs::write(&any, ANY)?;
    let done = (|| {
        aloud(
            "adding a file",
            buildah(&["add", "--quiet", &container, &any.display().to_string(), "/any.toml"]),
        )?;
        let run =
            |words: &[&str]| buildah(&[&["run", &container, "--", "/usr/bin/tidelock"], words].concat());
        serves(run(&["/any.toml"]), Some(run(&["kill"])))
    })();
    aloud("removing the container", buildah(&["rm", &container]))?;
    fs::remove_file(any)?;
    done
}

/// Whether a tidelock that is started so answers, and ends when it is told to: by `end`, or by SIGTERM.
fn serves(mut tidelock: Command, end: Option<Command>) -> Result<()> {
    eprintln!("xtask: serving with {tidelock:?}");
    let mut running = Running(tidelock.stderr(Stdio::piped()).spawn()?);
    let address = running.listens_at()?;
    let mut client = TcpStream::connect(&address)?;
    client.set_read_timeout(Some(TIMEOUT))?;
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    client.read_to_string(&mut answer)?;
    ensure!(answer.ends_with("it serves"), "it answered {answer:?}");
    match end {
        Some(end) => aloud("ending it", end)?,
        None => kill_process(Pid::from_child(&running.0), Signal::TERM)?,
    }
    let ended = running.0.wait()?;
    ensure!(ended.success(), "it ended with {ended}");
    Ok(())
}

/// Kills what was started, if nobody has waited for its end.
struct Running(Child);

impl Running {
    /// What it says on standard error, which is read on until it ends.
    fn listens_at(&mut self) -> Result<String> {
        let stderr = self.0.stderr.take().context("its standard error is piped")?;
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let mut seen = String::new();
        while let Ok(line) = lines.recv_timeout(TIMEOUT) {
            if line.contains("event=\"listening\"")
                && let Some((_, rest)) = line.split_once("address=")
            {
                return Ok(rest.split(' ').next().unwrap_or_default().to_owned());
            }
            seen = seen + &line + "\n";
        }
        bail!("it does not listen:\n{seen}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file that needs nothing.
const ANY: &str =
    "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nrespond = { status = 200, text = \"it serves\" }\n";
const TIMEOUT: Duration = Duration::from_secs(60);
