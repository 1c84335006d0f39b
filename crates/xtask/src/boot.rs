//! `cargo xtask boot`: a small Debian with a systemd of its own, made by mmdebstrap and booted eight times by systemd-nspawn,
//! in which two users start apps, log out, install the unit, reboot, and take the unit away; then the units of `configs/` are
//! used; then the .deb is installed, survives a reboot, becomes another version, and is purged; then somebody types what the
//! pages say for a server, and for one with nginx and PM2. What they expect is in `boot/inside.sh`, `boot/packaged.sh` and
//! `boot/pages.sh`. Needs root, fetches some 100 MB of packages, and takes some minutes, so that it is no
//! test of every commit.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use crate::bench::PM2;
use crate::dist;
use crate::packages::{self, FOR_BOOT};
use crate::pages;
use crate::run::{aloud, command, root};

/// Boots a machine with systemd in it, and tries `tidelock startup`, reboots, cron and logouts there.
#[derive(Debug, Args)]
pub(crate) struct Boot {
    /// Use this root, which an earlier run has left under target/boot, instead of making one.
    #[arg(long)]
    keep_root: bool,
    /// Boot it these times only, separated by commas, instead of one time after the other: `fourth` for the units of `configs/`,
    /// `fifth,sixth` for the .deb, `seventh` and `eighth` for the pages.
    #[arg(long, value_name = "WHICH", value_delimiter = ',')]
    only: Vec<String>,
}

impl Boot {
    pub(crate) fn run(&self) -> Result<()> {
        packages::programs(&FOR_BOOT)?;
        aloud("building tidelock", command(".", "cargo", &["build", "--quiet", "--package", "tidelock"]))?;
        let machine = root().join("target/boot/root");
        if !self.keep_root || !machine.exists() {
            make(&machine)?;
        }
        furnish(&machine)?;
        let is_wanted = |boot: &&str| self.only.is_empty() || self.only.iter().any(|only| only == boot);
        let mut has_packages = false;
        for boot in BOOTS.into_iter().filter(is_wanted) {
            if PACKAGED.contains(&boot) && !has_packages {
                bring_packages(&machine)?;
                has_packages = true;
            }
            let said = after(boot, &machine)?;
            eprintln!("{said}");
            ensure!(
                said.contains(&format!("WELL after the {boot} boot")),
                "something does not hold after the {boot} boot"
            );
        }
        Ok(())
    }
}

fn make(machine: &Path) -> Result<()> {
    if machine.exists() {
        fs::remove_dir_all(machine)?;
    }
    fs::create_dir_all(machine)?;
    let packages = "--include=systemd,systemd-sysv,dbus,libpam-systemd,nodejs,curl,cron,passwd,login,util-linux,procps,\
                    adduser,init-system-helpers,ca-certificates,sudo,nginx-light";
    let path = machine.display().to_string();
    let words = ["--quiet", "--variant=minbase", packages, "bookworm", &path];
    aloud("making a small Debian", command(".", "mmdebstrap", &words))?;
    inside(machine, "adding a user", &["useradd", "--create-home", "--shell", "/bin/bash", "ann"])?;
    fs::write(machine.join("etc/sudoers.d/ann"), "ann ALL=(ALL) NOPASSWD: ALL\n")?;
    // It would have the port in every boot.
    inside(machine, "disabling nginx", &["systemctl", "disable", "--quiet", "nginx"])
}

fn inside(machine: &Path, why: &str, words: &[&str]) -> Result<()> {
    let path = machine.display().to_string();
    aloud(why, command(".", "chroot", &[&[path.as_str()], words].concat()))
}

/// Puts in what is tried, as it is now, and takes out what was left of a run before.
fn furnish(machine: &Path) -> Result<()> {
    for left in [
        "etc/tidelock",
        "var/lib/tidelock",
        "var/lib/systemd/linger",
        "root/.local",
        "home/ann/.config",
        "home/ann/.local",
    ] {
        let left = machine.join(left);
        if left.exists() {
            fs::remove_dir_all(left)?;
        }
    }
    let _ = fs::remove_file(machine.join("etc/systemd/system/tidelock.service"));
    let _ = fs::remove_file(machine.join("etc/systemd/system/multi-user.target.wants/tidelock.service"));
    let binary = tidelock()?;
    fs::copy(&binary, machine.join("usr/local/bin/tidelock"))
        .with_context(|| format!("{} cannot be copied", binary.display()))?;
    let units = machine.join("opt/units");
    fs::create_dir_all(&units)?;
    for unit in ["tidelock.service", "tidelock.socket"] {
        fs::copy(root().join("configs").join(unit), units.join(unit))?;
        let _ = fs::remove_file(machine.join("etc/systemd/system").join(unit));
    }
    fs::write(machine.join("opt/app.js"), APP)?;
    fs::write(machine.join("home/ann/app.js"), APP)?;
    fs::write(machine.join("opt/inside.sh"), INSIDE)?;
    // As nvm does it.
    let nvm = machine.join("home/ann/.nvm/versions/node/v18/bin");
    fs::create_dir_all(&nvm)?;
    fs::copy(machine.join("usr/bin/node"), nvm.join("node"))?;
    fs::write(machine.join("home/ann/.profile"), PROFILE)?;
    inside(machine, "giving them to their user", &["chown", "--recursive", "ann:ann", "/home/ann"])
}

/// Two versions of the .deb, which differ in nothing else.
fn bring_packages(machine: &Path) -> Result<()> {
    let debs = dist::two_debs()?;
    for (deb, name) in debs.iter().zip(["first.deb", "second.deb"]) {
        fs::copy(deb, machine.join("opt").join(name))?;
    }
    for page in ["on-a-server.md", "from-nginx-and-pm2.md"] {
        fs::write(machine.join("opt").join(page), pages::script(page)?)?;
    }
    packages::npm_aside(PM2)?;
    let pm2 = root().join(packages::aside(PM2)).join("node_modules").display().to_string();
    fs::create_dir_all(machine.join("opt/pm2"))?;
    let there = machine.join("opt/pm2/node_modules").display().to_string();
    aloud("bringing PM2", command(".", "cp", &["--recursive", "--no-target-directory", &pm2, &there]))
}

/// The one that was built a moment ago, wherever Cargo builds.
fn tidelock() -> Result<PathBuf> {
    crate::run::built("tidelock", true)
}

/// Boots the machine, which turns itself off when all is tried, and gives back what was said in it.
fn after(boot: &str, machine: &Path) -> Result<String> {
    let said = machine.join("opt/said");
    let _ = fs::remove_file(&said);
    let units = machine.join("etc/systemd/system");
    fs::write(units.join("inside.service"), unit(boot))?;
    let wants = units.join("graphical.target.wants");
    fs::create_dir_all(&wants)?;
    let link = wants.join("inside.service");
    if fs::symlink_metadata(&link).is_err() {
        symlink("../inside.service", &link)?;
    }
    let path = machine.display().to_string();
    let words = [
        "--kill-after=10",
        "400",
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--register=no",
        "--keep-unit",
        "--private-network",
        "--directory",
        &path,
    ];
    // What it prints while it boots is in its journal, too.
    let mut machine = command(".", "timeout", &words);
    machine.stdout(std::process::Stdio::null());
    aloud(&format!("booting, the {boot} time"), machine)?;
    fs::read_to_string(&said).with_context(|| format!("nothing was said in {}", said.display()))
}

fn unit(boot: &str) -> String {
    format!(
        "[Unit]\nAfter=multi-user.target\n[Service]\nType=oneshot\nTimeoutStartSec=300\nKillMode=process\n\
         ExecStart=/bin/bash -c '/bin/bash /opt/inside.sh {boot} > /opt/said 2>&1; systemctl poweroff'\n\
         [Install]\nWantedBy=graphical.target\n"
    )
}

const BOOTS: [&str; 8] = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];
/// Those with the .deb.
const PACKAGED: [&str; 4] = ["fifth", "sixth", "seventh", "eighth"];
const INSIDE: &str = concat!(
    include_str!("boot/inside.sh"),
    include_str!("boot/packaged.sh"),
    include_str!("boot/pages.sh"),
    "\n\"after_$1_boot\" && echo \"WELL after the $1 boot\"\n"
);
const APP: &str = include_str!("boot/app.js");
const PROFILE: &str = "export NVM_DIR=\"$HOME/.nvm\" PATH=\"$HOME/.nvm/versions/node/v18/bin:$PATH\"\n";
