//! Goal: tidelock runs an app as PM2 did, and nobody notices when its processes are replaced, die, or end.
//! Method: real apps in Node.js under the real binary, real clients on both transports and a load of requests in front of
//! it, and the verbs that a person would type. What is counted is counted by the clients and by the apps.

mod first;
mod foreground;
mod lives;
mod rolling;
mod rooms;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value as Json;
use testkit::TIMEOUT;
use testkit::tidelock::Tidelock;
use tokio::process::Command;
use tokio::time::{interval, timeout};

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// What a verb said, and whether it succeeded.
#[derive(Debug)]
struct Said {
    success: bool,
    text: String,
}

/// Runs a verb against `tidelock`.
async fn verb(tidelock: &Tidelock, arguments: &[&str]) -> Said {
    let mut command = Command::new(TIDELOCK);
    command
        .args(arguments)
        .env("XDG_RUNTIME_DIR", tidelock.directory())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = command.output().await.expect("the binary can be run");
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Said { success: output.status.success(), text }
}

/// The only app, as `tidelock status --json` shows it.
async fn app(tidelock: &Tidelock) -> Json {
    let said = verb(tidelock, &["status", "--json"]).await;
    assert!(said.success, "{}", said.text);
    let mut status: Json = serde_json::from_str(&said.text).expect("JSON");
    status["apps"][0].take()
}

/// Its instances, once `holds` says so of all of them.
async fn until(tidelock: &Tidelock, holds: impl Fn(&[Json]) -> bool) -> Vec<Json> {
    let mut seen = Json::Null;
    let looking = async {
        loop {
            seen = app(tidelock).await;
            if let Some(instances) = seen["instances"].as_array().filter(|instances| holds(instances)) {
                return instances.clone();
            }
        }
    };
    match timeout(TIMEOUT, looking).await {
        Ok(instances) => instances,
        Err(_) => panic!("the app does not come to be as it should: {seen:#}"),
    }
}

/// So many, and all of them ready.
async fn ready(tidelock: &Tidelock, count: usize) -> Vec<Json> {
    until(tidelock, |all| all.len() == count && all.iter().all(|instance| instance["state"] == "ready")).await
}

fn pid(instance: &Json) -> u64 {
    instance["pid"].as_u64().unwrap_or_else(|| panic!("no pid in {instance:#}"))
}

/// Waits until no process is left that was started, by whomever, below the tidelock of this directory.
async fn until_nothing_is_left_of(directory: &Path) {
    // Every process below it has inherited this.
    let mark = format!("XDG_RUNTIME_DIR={}", directory.display());
    let mut left = Vec::new();
    let looking = async {
        let mut turn = interval(Duration::from_millis(10));
        loop {
            turn.tick().await;
            left = processes_with(&mark);
            if left.is_empty() {
                return;
            }
        }
    };
    let gone = timeout(TIMEOUT, looking).await;
    assert!(gone.is_ok(), "left behind: {left:?}");
}

/// The command lines of the processes that have `mark` in their environment.
fn processes_with(mark: &str) -> Vec<String> {
    let processes =
        std::fs::read_dir("/proc").expect("/proc is there").filter_map(|entry| Some(entry.ok()?.path()));
    let has_it = |process: &PathBuf| {
        let environment = std::fs::read(process.join("environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let command = |process: PathBuf| {
        let command = std::fs::read(process.join("cmdline")).unwrap_or_default();
        format!("{}: {}", process.display(), String::from_utf8_lossy(&command).replace('\0', " "))
    };
    processes.filter(has_it).map(command).collect()
}

/// A file of the repository.
fn repository(path: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path).display().to_string()
}

/// A file whose only app runs `command`, with more keys of the app, and short waits.
fn file_of(command: &str, keys: &str) -> String {
    format!(
        "sticky_secret = \"a secret of 32 bytes, or of some more\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nupstream = \"nodes\"\n[upstream.nodes]\napp = \"chat\"\n[log]\naccess = \"off\"\n\
         [drain]\nwindow = \"2s\"\n[app.chat]\ncommand = {command}\nlogs = {{ folder = \"off\" }}\n{keys}\n"
    )
}

/// The testkit's Socket.IO node, which listens where PORT says.
fn node() -> String {
    format!("[\"node\", {:?}]", repository("crates/testkit/js/node.mjs"))
}
