//! As the first process of a container, which a PID namespace is enough for.

use std::fs;
use std::path::{Path, PathBuf};

use testkit::TIMEOUT;
use testkit::process::{Process, Signal, tells};
use testkit::raw::get;
use testkit::tidelock::directory;
use tokio::process::Command;
use tokio::time::timeout;

use crate::TIDELOCK;

/// Answers at once, and at /slow when it is told by SIGUSR2.
const APP: &str = "const waiting = []; process.on('SIGUSR2', () => waiting.forEach((a) => a.end('at last')));
    require('http').createServer((q, a) => {
        if (q.url === '/slow') { waiting.push(a); console.log('somebody waits'); } else a.end('at once');
    }).listen(3000)";

/// A process as it is seen from outside.
#[derive(Debug)]
struct Seen {
    pid: i32,
    parent: i32,
    /// In its own namespace.
    inner: i32,
    is_zombie: bool,
    command: String,
}

fn seen() -> Vec<Seen> {
    let all = fs::read_dir("/proc").expect("/proc is there").filter_map(|entry| Some(entry.ok()?.path()));
    let one = |process: PathBuf| {
        let status = fs::read_to_string(process.join("status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches(':').trim().to_owned())
        };
        let command =
            String::from_utf8_lossy(&fs::read(process.join("cmdline")).unwrap_or_default()).into_owned();
        Some(Seen {
            pid: field("Pid")?.parse().ok()?,
            parent: field("PPid")?.parse().ok()?,
            inner: field("NSpid")?.split_whitespace().last()?.parse().ok()?,
            is_zombie: field("State")?.starts_with('Z'),
            command,
        })
    };
    all.filter_map(one).collect()
}

fn runs_in(folder: &Path, seen: &Seen) -> bool {
    fs::read_link(format!("/proc/{}/cwd", seen.pid)).is_ok_and(|cwd| cwd == folder)
}

fn signal(pid: i32, signal: Signal) {
    let process = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(process, signal).expect("it runs");
}

/// It has a terminal, so that it would go to the background anywhere else.
fn command(folder: &Path, words: &str) -> Command {
    let mut command = Command::new("script");
    let line = format!("exec unshare --user --map-root-user --pid --fork --mount-proc {TIDELOCK} {words}");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(folder);
    command.env("SHELL", "/bin/sh").env("NO_COLOR", "1").env("HOME", folder).env("XDG_RUNTIME_DIR", folder);
    command.env("XDG_STATE_HOME", folder).env("XDG_CONFIG_HOME", folder).env_remove("PORT");
    command
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn it_waits_for_orphans_and_passes_the_end_on() {
    let folder = directory();
    fs::write(folder.path().join("app.js"), APP).expect("written");
    let at = testkit::port::free_address();
    let mut process =
        Process::spawn("tidelock", command(folder.path(), &format!("start app.js --listen {at}")));
    process.wait_for_line(|line| tells(line, "apps_ready")).await;
    assert_eq!(get(at, "/").await.text(), "at once");
    let mark = at.to_string();
    let first = seen().into_iter().find(|seen| seen.inner == 1 && seen.command.contains(&mark));
    let first = first.expect("it is the first of its namespace").pid;

    // What comes into a container from outside, and leaves something behind.
    let mut enter = Command::new("nsenter");
    enter.args(["--preserve-credentials", "--user", "--pid", "--target", &first.to_string(), "sh", "-c"]);
    enter.arg("for n in 1 2 3 4 5 6 7 8; do (exit $n) & done; exec true");
    assert!(enter.status().await.expect("nsenter runs").success());
    let zombies = || seen().into_iter().filter(|seen| seen.is_zombie && seen.parent == first).count();
    let gone = async {
        while zombies() > 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(TIMEOUT, gone).await.is_ok(), "{} zombies are left", zombies());

    // As a runtime ends a container: what runs may finish.
    let slow = tokio::spawn(async move { get(at, "/slow").await.text() });
    process.wait_for_line(|line| line.contains("somebody waits")).await;
    signal(first, Signal::TERM);
    process.wait_for_line(|line| tells(line, "leaving")).await;
    let app = seen().into_iter().find(|seen| seen.command.contains("node\0") && runs_in(folder.path(), seen));
    signal(app.expect("it runs until the end").pid, Signal::USR2);
    assert_eq!(slow.await.expect("an answer"), "at last");
    process.wait_for_line(|line| tells(line, "ended")).await;
    assert!(process.exit().await.success(), "{}", process.output());
}

/// A container lives as long as its first process, and that one longer than the tidelock that it has started.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn it_goes_on_with_the_tidelock_that_takes_over() {
    let folder = directory();
    fs::write(folder.path().join("app.js"), APP).expect("written");
    let at = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut process =
        Process::spawn("tidelock", command(folder.path(), &format!("start app.js --listen {at}")));
    process.wait_for_line(|line| tells(line, "apps_ready")).await;
    let mut upgrade = Command::new(TIDELOCK);
    upgrade.arg("upgrade").env("XDG_RUNTIME_DIR", folder.path()).stdin(std::process::Stdio::null());
    let said = upgrade.output().await.expect("the binary can be run");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    process.wait_for_line(|line| tells(line, "ended")).await;
    assert_eq!(get(at, "/").await.text(), "at once");
    let mark = at.to_string();
    let first = seen().into_iter().find(|seen| seen.inner == 1 && seen.command.contains(&mark));
    signal(first.expect("it is there").pid, Signal::TERM);
    process.wait_for_line(|line| tells(line, "leaving")).await;
    assert!(process.exit().await.success(), "{}", process.output());
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn its_exit_code_is_tidelocks() {
    let folder = directory();
    for (words, code) in [("check no-such.toml", 1), ("--version", 0), ("no-such-verb", 2)] {
        let mut process = Process::spawn("tidelock", command(folder.path(), words));
        assert_eq!(process.exit().await.code(), Some(code), "{words}: {}", process.output());
    }
    // One that is killed is not well.
    fs::write(folder.path().join("app.js"), APP).expect("written");
    let mut process = Process::spawn("tidelock", command(folder.path(), "start app.js --listen 127.0.0.1:0"));
    process.wait_for_line(|line| tells(line, "apps_ready")).await;
    let all = seen();
    let first =
        all.iter().find(|seen| seen.inner == 1 && runs_in(folder.path(), seen)).expect("it is the first").pid;
    let child =
        all.iter().find(|seen| seen.parent == first && seen.command.contains("app.js")).expect("it runs").pid;
    signal(child, Signal::KILL);
    assert_eq!(process.exit().await.code(), Some(137), "{}", process.output());
}
