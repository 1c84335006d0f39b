//! The container image: a small Debian, made by mmdebstrap, and the binary, put together by buildah. No registry is asked.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Parts, emptied};
use crate::run::{aloud, command, root};

pub(super) fn build(parts: &Parts) -> Result<PathBuf> {
    let folder = emptied(parts.folder.join("image"))?;
    let debian = folder.join("debian.tar").display().to_string();
    let words = [
        "--quiet",
        "--variant=minbase",
        "--include=ca-certificates,tzdata",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "bookworm",
        &debian,
    ];
    aloud("making a small Debian", command(".", "mmdebstrap", &words))?;

    let container = said(buildah(&["from", "scratch"]))?;
    let put = |from: &str, to: &str| {
        aloud("adding to the image", buildah(&["add", "--quiet", &container, from, to]))
    };
    put(&debian, "/")?;
    put(&parts.binary.display().to_string(), "/usr/bin/tidelock")?;
    put(&parts.licences.display().to_string(), "/usr/share/doc/tidelock/LICENSES.txt")?;
    put(&root().join("packaging/upstreams.toml").display().to_string(), "/etc/tidelock/upstreams.toml")?;
    let inside = [
        "run",
        &container,
        "--",
        "useradd",
        "--system",
        "--uid",
        UID,
        "--home-dir",
        STATE,
        "--create-home",
        "tidelock",
    ];
    aloud("adding its user", buildah(&inside))?;
    let state = format!("STATE_DIRECTORY={STATE}");
    let config = [
        "config",
        "--entrypoint",
        r#"["/usr/bin/tidelock"]"#,
        "--cmd",
        "/etc/tidelock/upstreams.toml",
        "--user",
        UID,
        "--env",
        &state,
        "--env",
        "RUNTIME_DIRECTORY=/tmp",
        "--port",
        "80",
        "--port",
        "443",
        "--stop-signal",
        "SIGTERM",
        "--label",
        "org.opencontainers.image.title=tidelock",
        "--label",
        "org.opencontainers.image.licenses=MIT OR Apache-2.0",
        &container,
    ];
    aloud("saying how it is started", buildah(&config))?;
    let name = name(parts);
    aloud("keeping the image", buildah(&["commit", "--quiet", "--rm", &container, &name]))?;
    let archive = parts.folder.join(format!("tidelock-{}-image.tar", parts.version));
    // An archive that is there is added to.
    let _ = std::fs::remove_file(&archive);
    // Docker, Podman and buildah load it; of an OCI archive Docker knows only since its version 25.
    let to = format!("docker-archive:{}:tidelock:{}", archive.display(), parts.version);
    aloud("writing it into a file", buildah(&["push", "--quiet", &name, &to]))?;
    ensure!(archive.is_file(), "buildah has not written {}", archive.display());
    Ok(archive)
}

/// The image's name where buildah keeps it.
pub(super) fn name(parts: &Parts) -> String {
    format!("localhost/tidelock:{}", parts.version)
}

/// What stands in for Docker Hub's `node:20-slim`: a Debian with its own Node.js, and the user `node`.
pub(super) fn node(folder: &Path) -> Result<()> {
    let debian = folder.join("node.tar").display().to_string();
    let words = ["--quiet", "--variant=minbase", "--include=nodejs", "bookworm", &debian];
    aloud("making a small Debian with Node.js", command(".", "mmdebstrap", &words))?;
    let container = said(buildah(&["from", "scratch"]))?;
    aloud("adding it to an image", buildah(&["add", "--quiet", &container, &debian, "/"]))?;
    // That of this machine is younger than Debian's, and has no other packages with it.
    let npm = said(command(".", "npm", &["root", "--global"]))?.trim().to_owned() + "/npm";
    let add = ["add", "--quiet", &container, &npm, "/usr/lib/node_modules/npm"];
    aloud("adding npm", buildah(&add))?;
    let cli = "../lib/node_modules/npm/bin/npm-cli.js";
    aloud("linking it", buildah(&["run", &container, "--", "ln", "--symbolic", cli, "/usr/bin/npm"]))?;
    let user = ["run", &container, "--", "useradd", "--create-home", "node"];
    aloud("adding its user", buildah(&user))?;
    aloud("keeping it", buildah(&["commit", "--quiet", "--rm", &container, "localhost/node:20-slim"]))?;
    Ok(std::fs::remove_file(debian)?)
}

/// buildah with what it keeps under target/dist, in a way that works inside of containers and without overlay file systems.
pub(super) fn buildah(words: &[&str]) -> Command {
    let store = store();
    let mut buildah = command(".", "buildah", &[]);
    buildah.arg("--root").arg(store.join("storage")).arg("--runroot").arg(store.join("run"));
    buildah.args(["--storage-driver", "vfs"]).args(words).env("BUILDAH_ISOLATION", "chroot");
    buildah
}

/// Where buildah keeps what it has.
pub(super) fn store() -> PathBuf {
    root().join("target/dist/buildah")
}

/// What it prints.
pub(super) fn said(mut command: Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?} cannot be started"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A number, so that Kubernetes can see that it is not root's.
const UID: &str = "10001";
const STATE: &str = "/var/lib/tidelock";
