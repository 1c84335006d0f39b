//! Goal: `tidelock start` does what `pm2 start` does: apps run behind whoever starts them, survive the logout, and are
//! listed, changed and taken away by verbs, while the file that says so stays the user's. Method: real apps in Node.js
//! under the real binary, in a home of the test's own.

mod beside_pm2;
mod ecosystem;
mod many;
mod races;
mod service;
mod terminal;
mod told;
mod upgraded;
mod without;
mod worker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// A user's home. What runs in its background ends with it.
#[derive(Debug)]
struct Home {
    folder: TempDir,
}

/// What a verb said, and whether it succeeded.
#[derive(Debug)]
struct Said {
    success: bool,
    stdout: String,
    text: String,
}

impl Home {
    fn new() -> Self {
        let folder = testkit::tidelock::directory();
        std::fs::create_dir(folder.path().join("run")).expect("a folder");
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What runs.
    fn file(&self) -> PathBuf {
        self.path().join("config/tidelock/upstreams.toml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file()).expect("the file is there")
    }

    /// The path of an app that answers with what `env.WORD` says.
    fn app(&self, name: &str) -> String {
        self.script(
            name,
            "require('http').createServer((_, answer) => answer.end(process.env.WORD || 'no word')).listen(3000)",
        )
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path.display().to_string()
    }

    /// The environment of a login, and nothing else of the test's.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env_clear().stdin(Stdio::null()).kill_on_drop(true);
        command
            .env("PATH", std::env::var_os("PATH").expect("a PATH"))
            .env("HOME", self.path())
            .env("LANG", "C");
        command.env("XDG_CONFIG_HOME", self.path().join("config"));
        command.env("XDG_STATE_HOME", self.path().join("state"));
        command.env("XDG_RUNTIME_DIR", self.path().join("run"));
        command
    }

    async fn say(&self, words: &[&str]) -> Said {
        self.say_with(words, &[]).await
    }

    async fn say_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Said {
        let mut command = self.command(TIDELOCK);
        command.args(words).envs(variables.iter().copied());
        said(command).await
    }

    /// Starts an app in the background, which works.
    async fn start(&self, words: &[&str]) -> Said {
        let said = self.say(&[&["start", "--background"], words].concat()).await;
        assert!(said.success, "{}", said.text);
        said
    }

    /// Waits until an app has written this: a worker is ready before it has said anything.
    async fn until_written(&self, app: &str, what: &str) {
        let mut last = String::new();
        let looking = async {
            while !last.contains(what) {
                last = self.say(&["logs", app]).await.text;
            }
        };
        let in_time = tokio::time::timeout(testkit::TIMEOUT, looking).await.is_ok();
        assert!(in_time, "{what}: {last}");
    }

    /// Waits until a file holds this; a thread of its own writes it.
    async fn until_in(&self, file: &Path, what: &str) {
        self.until(file, |text| text.contains(what)).await;
    }

    /// Waits until it does not any more.
    async fn until_gone(&self, file: &Path, what: &str) {
        self.until(file, |text| !text.contains(what)).await;
    }

    async fn until(&self, file: &Path, holds: impl Fn(&str) -> bool) {
        let looking = async {
            while !holds(&std::fs::read_to_string(file).unwrap_or_default()) {
                tokio::task::yield_now().await;
            }
        };
        let in_time = tokio::time::timeout(testkit::TIMEOUT, looking).await.is_ok();
        assert!(in_time, "{}: {:?}", file.display(), std::fs::read_to_string(file));
    }

    /// Sends a signal to the first process of an app.
    async fn signal(&self, app: &str, signal: rustix::process::Signal) {
        let status = self.say(&["status", app, "--json"]).await.stdout;
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        let pid = status["apps"][0]["instances"][0]["pid"].as_i64().expect("it runs");
        let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    /// Sends a signal to the process in the background.
    fn end(&self, signal: rustix::process::Signal) {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("it runs"), signal).expect("it runs");
    }

    /// Waits until it accepts nothing new, and ends when what runs has ended.
    async fn until_leaving(&self) {
        let looking =
            async { while !self.say(&["status", "--json"]).await.stdout.contains("\"leaving\":true") {} };
        tokio::time::timeout(testkit::TIMEOUT, looking).await.expect("it leaves");
    }

    /// The process in the background.
    fn pid(&self) -> Option<u32> {
        let lock = std::fs::read_to_string(self.path().join("state/tidelock/running.lock")).ok()?;
        lock.trim().parse().ok()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        // A test that has ended it well leaves a number that may be another's by now.
        let name = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let is_ours = name.contains(&self.path().display().to_string());
        let process = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).filter(|_| is_ours);
        if let Some(process) = process {
            let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
        }
    }
}

async fn said(mut command: Command) -> Said {
    let output = command.output().await.expect("the binary can be run");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = stdout.clone() + &String::from_utf8_lossy(&output.stderr);
    Said { success: output.status.success(), stdout, text }
}

/// An address that nobody has now. Where clients connect stands in a file here, before anybody listens.
fn address() -> SocketAddr {
    testkit::port::free_address()
}
