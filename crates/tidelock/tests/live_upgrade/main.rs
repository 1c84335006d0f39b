//! Goal: a new version of tidelock goes on in the place of the running one, and nobody notices; one that cannot changes nothing.
//! Method: the real binary takes over from itself under real clients and a steady load, and so do programs that are no tidelock.

mod crowd;
mod refused;
mod kept;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value as Json;
use testkit::TIMEOUT;
use testkit::process::{Process, Signal, tells};
use testkit::tidelock::Tidelock;
use tokio::process::Command;
use tokio::time::timeout;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// What a verb said, and whether it succeeded.
#[derive(Debug)]
struct Said {
    success: bool,
    text: String,
}

async fn verb_in(directory: &Path, arguments: &[&str]) -> Said {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", directory).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.expect("the binary can be run");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Said { success: output.status.success(), text }
}

async fn verb(tidelock: &Tidelock, arguments: &[&str]) -> Said {
    verb_in(tidelock.directory(), arguments).await
}

/// Everything that `tidelock status --json` shows.
async fn status(tidelock: &Tidelock) -> Json {
    let said = verb(tidelock, &["status", "--json"]).await;
    assert!(said.success, "{}", said.text);
    serde_json::from_str(&said.text).expect("JSON")
}

/// The process ids of the instances of the only app, once all `count` of them are ready.
async fn pids(tidelock: &Tidelock, count: usize) -> Vec<u64> {
    let mut seen = Json::Null;
    let looking = async {
        loop {
            seen = status(tidelock).await["apps"][0].take();
            let instances = seen["instances"].as_array().map_or(&[][..], Vec::as_slice);
            if instances.len() == count && instances.iter().all(|one| one["state"] == "ready") {
                return instances.iter().map(|one| one["pid"].as_u64().expect("a pid")).collect();
            }
        }
    };
    let found = timeout(TIMEOUT, looking).await;
    found.unwrap_or_else(|_| panic!("not {count} instances are ready: {seen:#}"))
}

/// The tidelock that goes on, which is no child of the test. Dropped, it is killed.
#[derive(Debug)]
struct Successor(rustix::process::Pid);

impl Successor {
    /// Whoever answers verbs now.
    async fn of(tidelock: &Tidelock) -> Self {
        let pid = status(tidelock).await["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        Self(pid.and_then(rustix::process::Pid::from_raw).expect("a process id"))
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.0, signal).expect("it runs");
    }

    async fn until_gone(&self) {
        let is_there = || PathBuf::from(format!("/proc/{}", self.0)).exists();
        let gone = async {
            while is_there() {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(TIMEOUT, gone).await.is_ok(), "process {} does not end", self.0);
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        let _ = rustix::process::kill_process(self.0, Signal::KILL);
    }
}

/// Lets the same program go on, and gives back who does.
async fn upgrade(tidelock: &Tidelock) -> Successor {
    let before = status(tidelock).await["pid"].take();
    let said = verb(tidelock, &["upgrade"]).await;
    assert!(said.success, "{}", said.text);
    assert_ne!(status(tidelock).await["pid"], before);
    Successor::of(tidelock).await
}

/// Waits until the tidelock that was started first has ended, by itself.
async fn until_ended(process: &mut Process) {
    let status = process.exit().await;
    assert!(status.success(), "{status}: {}", process.output());
}

async fn until_told(process: &Process, event: &str) {
    process.wait_for_line(|line| tells(line, event)).await;
}

fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).display().to_string()
}

/// A file whose only app is the testkit's Socket.IO node, so many times.
fn app_file(instances: usize, keys: &str) -> String {
    let node = repository("crates/testkit/js/node.mjs");
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\napp = \"chat\"\n\
         [log]\naccess = \"off\"\n[drain]\nwindow = \"3s\"\n[app.chat]\ncommand = [\"node\", {node:?}]\n\
         instances = {instances}\nlogs = {{ folder = \"off\" }}\n{keys}\n"
    )
}
