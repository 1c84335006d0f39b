//! Goal: a full disk costs lines of logs, and nothing else. Method: tidelock alone with a small tmpfs, in a mount namespace of
//! its own, into which the test looks through /proc; full from before the start until somebody clears it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::origin::ScriptedOrigin;
use testkit::process::{Mark, Process, tells};
use testkit::raw::get;
use testkit::tidelock::{config_for, directory, listening};
use tokio::process::Command;
use tokio::time::timeout;

const BINARY: &str = env!("CARGO_BIN_EXE_tidelock");
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Mounts a disk of 8 MiB at the first argument, fills it, and becomes the rest.
const ON_A_FULL_DISK: &str = "set -e; mount -t tmpfs -o size=8m,mode=700 tmpfs \"$1\"\n\
    head -c 9000000 /dev/zero > \"$1/fill\" 2>/dev/null || true; shift; exec \"$@\"";

/// A tidelock whose log and state are on `disk`.
fn start(folder: &Path, disk: &Path) -> Process {
    let mut command = Command::new("unshare");
    // As root there is no need of a user namespace, and elsewhere one makes root of us.
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_A_FULL_DISK, "sh"]);
    command.arg(disk).arg(BINARY).arg(folder.join("tidelock.toml"));
    command.env("XDG_RUNTIME_DIR", folder).env("NO_COLOR", "1");
    command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", disk);
    Process::spawn("tidelock", command)
}

async fn verb(folder: &Path, words: &[&str]) -> Vec<u8> {
    let mut verb = Command::new(BINARY);
    verb.args(words).env("XDG_RUNTIME_DIR", folder).kill_on_drop(true);
    let done = timeout(TIMEOUT, verb.output()).await.expect("the verb ends").expect("tidelock can be run");
    assert!(done.status.success(), "{done:?}");
    done.stdout
}

async fn lines_lost(folder: &Path) -> u64 {
    let status: Value = serde_json::from_slice(&verb(folder, &["status", "--json"]).await).expect("JSON");
    status["access_lines_lost"].as_u64().unwrap_or_else(|| panic!("lines lost in {status:#}"))
}

fn count(process: &Process, event: &str) -> usize {
    process.lines_since(Mark::default()).iter().filter(|line| tells(line, event)).count()
}

#[tokio::test]
async fn a_full_disk_costs_lines_and_nothing_else() {
    let folder = directory();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let origin = ScriptedOrigin::answering(OK).await;
    let config =
        format!("{}[log]\naccess = {:?}\n", config_for(&[origin.address()]), disk.join("access.log"));
    fs::write(folder.path().join("tidelock.toml"), config).expect("written");
    let process = start(folder.path(), &disk);
    let address = listening(&process, Mark::default(), 1).await[0];
    // As seen by that process.
    let disk = PathBuf::from(format!("/proc/{}/root{}", process.pid(), disk.display()));

    process.wait_for_line(|line| tells(line, "secret_unkept")).await;
    let state = fs::read_dir(disk.join("tidelock")).map(|entries| entries.count()).unwrap_or(0);
    assert_eq!(state, 0, "nothing half is left where the secret should be");

    let mut asked = 0;
    let lost = async {
        while lines_lost(folder.path()).await < 100 {
            for _ in 0..50 {
                assert_eq!(get(address, "/full").await.text(), "ok");
                asked += 1;
            }
        }
    };
    timeout(TIMEOUT, lost).await.expect("lines that are lost are counted");
    verb(folder.path(), &["reload"]).await;

    fs::remove_file(disk.join("fill")).expect("there is room again");
    let log = disk.join("access.log");
    let written = async {
        while !fs::read_to_string(&log).unwrap_or_default().contains("\"/room\"") {
            assert_eq!(get(address, "/room").await.text(), "ok");
            asked += 1;
        }
    };
    timeout(TIMEOUT, written).await.expect("lines are written again");
    process.wait_for_line(|line| tells(line, "access_log_back")).await;
    assert_eq!(count(&process, "access_log_failed"), 1, "it is said once");

    // Every line is whole, and either there or counted.
    let all = async {
        loop {
            let lines = fs::read_to_string(&log).expect("it can be read");
            let whole = lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_ok()).count();
            assert_eq!(whole, lines.lines().count(), "{lines}");
            if whole as u64 + lines_lost(folder.path()).await == asked {
                return;
            }
        }
    };
    timeout(TIMEOUT, all).await.expect("every line is accounted for");
}

/// What an app says goes on, too: into memory while its file takes nothing, and into the file again with the number of lines
/// that it misses.
#[tokio::test]
async fn an_apps_log_tells_how_many_lines_a_full_disk_has_cost() {
    let folder = directory();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a folder");
    let origin = ScriptedOrigin::answering(OK).await;
    let says = "i=0; while :; do i=$((i+1)); echo said $i; sleep 0.01; done";
    let config = format!(
        "{}[app.talk]\ncommand = [\"sh\", \"-c\", {says:?}]\n[app.talk.logs]\nfolder = {disk:?}\ntime = false\n",
        config_for(&[origin.address()])
    );
    fs::write(folder.path().join("tidelock.toml"), config).expect("written");
    let process = start(folder.path(), &disk);
    let address = listening(&process, Mark::default(), 1).await[0];
    let disk = PathBuf::from(format!("/proc/{}/root{}", process.pid(), disk.display()));

    process.wait_for_line(|line| tells(line, "app_log_failed")).await;
    let heard = verb(folder.path(), &["logs", "talk"]).await;
    assert!(String::from_utf8_lossy(&heard).contains("said 1"), "in memory they are");
    assert_eq!(get(address, "/").await.text(), "ok");

    fs::remove_file(disk.join("fill")).expect("there is room again");
    process.wait_for_line(|line| tells(line, "app_log_back")).await;
    let text = fs::read_to_string(disk.join("talk-0.log")).expect("it is there");
    let mut lines = text.lines();
    let lost =
        lines.next().and_then(|line| line.strip_prefix("tidelock: lines lost here: ")?.parse::<u64>().ok());
    let lost = lost.unwrap_or_else(|| panic!("how many are lost: {text}"));
    for (number, line) in (lost + 1..).zip(lines) {
        assert_eq!(line, format!("said {number}"), "every line is there or counted");
    }
    assert_eq!(count(&process, "app_log_failed"), 1, "it is said once");
}
