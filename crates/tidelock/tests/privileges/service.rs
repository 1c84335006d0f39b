//! A tidelock that was started as root, and what /proc says of who runs as what.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tempfile::TempDir;
use testkit::TIMEOUT;
use testkit::process::{Mark, Process, Signal, tells};
use testkit::tidelock::listening;
use tokio::process::Command;
use tokio::time::{interval, timeout};

pub(crate) const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// User and group of an account that every system has.
pub(crate) fn account(name: &str) -> (u32, u32) {
    let accounts = fs::read_to_string("/etc/passwd").expect("accounts");
    let line = accounts.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("the account");
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].parse().expect("a number"), fields[3].parse().expect("a number"))
}

/// A tidelock that was started as root, as a service of systemd is: it has a folder for its socket and one for its state.
pub(crate) struct Service {
    pub(crate) process: Process,
    pub(crate) folder: TempDir,
}

impl Service {
    pub(crate) fn start(folder: TempDir, config: &str) -> Self {
        fs::write(folder.path().join("tidelock.toml"), config).expect("written");
        let process = Process::spawn("tidelock", command(folder.path(), &[]));
        Self { process, folder }
    }

    pub(crate) async fn serving(folder: TempDir, config: &str) -> (Self, SocketAddr) {
        let service = Self::start(folder, config);
        let addresses =
            listening(&service.process, Mark::default(), config.matches("[[listen]]").count()).await;
        service.process.wait_for_line(|line| tells(line, "ready")).await;
        (service, addresses[0])
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn reload(&self, config: &str, event: &str) -> Mark {
        fs::write(self.path("tidelock.toml"), config).expect("written");
        let mark = self.process.mark();
        self.process.signal(Signal::HUP);
        self.process.wait_for_lines_since(mark, 1, |line| tells(line, event)).await.remove(0);
        mark
    }

    /// The process of the app that has said `word` and its number.
    pub(crate) async fn said(&self, mark: Mark, word: &str) -> u32 {
        let line = self.process.wait_for_lines_since(mark, 1, |line| line.contains(word)).await.remove(0);
        let (_, number) = line.split_once(word).expect("it is in there");
        number.trim().parse().unwrap_or_else(|_| panic!("no number: {line}"))
    }

    pub(crate) async fn verb(&self, words: &[&str]) -> Output {
        let words: Vec<_> = words.iter().copied().chain(["--socket", "run/admin.sock"]).collect();
        let mut command = Command::new(TIDELOCK);
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        timeout(TIMEOUT, command.output()).await.expect("it ends").expect("it can be started")
    }
}

/// A folder that any user may pass.
pub(crate) fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

pub(crate) fn command(folder: &Path, before: &[&str]) -> Command {
    let words: Vec<_> = before.iter().copied().chain([TIDELOCK, "tidelock.toml"]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(folder).env("NO_COLOR", "1").env("HOME", "/root");
    command.env("RUNTIME_DIRECTORY", folder.join("run")).env("STATE_DIRECTORY", folder.join("state"));
    command
}

pub(crate) fn check(folder: &Path) -> std::process::Output {
    let mut check = std::process::Command::new(TIDELOCK);
    check.args(["check", "tidelock.toml"]).current_dir(folder).env("NO_COLOR", "1").output().expect("it runs")
}

/// An app that says its process and then waits.
pub(crate) fn app(name: &str, more: &str) -> String {
    format!(
        "\n[app.{name}]\ncommand = [\"sh\", \"-c\", \"echo {name}-is $$$$; echo home-of-{name} $$HOME; exec sleep 3600\"]\n\
         cwd = \"/\"\nready = \"running\"\n{more}\n"
    )
}

/// What /proc says of a thread or process.
pub(crate) struct Rights(pub(crate) BTreeMap<String, String>);

impl Rights {
    pub(crate) fn of(status: &Path) -> Self {
        let text = fs::read_to_string(status).unwrap_or_else(|error| panic!("{}: {error}", status.display()));
        let split =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self(text.lines().filter_map(split).collect())
    }

    pub(crate) fn of_process(pid: u32) -> Self {
        Self::of(Path::new(&format!("/proc/{pid}/status")))
    }

    /// Of each thread.
    pub(crate) fn of_threads(pid: u32) -> Vec<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
        tasks.map(|task| Self::of(&task.expect("a thread").path().join("status"))).collect()
    }

    pub(crate) fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(&self.0[set], 16).expect("hexadecimal")
    }

    pub(crate) fn numbers(&self, name: &str) -> Vec<u32> {
        self.0[name].split_whitespace().map(|number| number.parse().expect("a number")).collect()
    }

    /// jemalloc's own thread is there before `main`, and executes nothing; it has no rights at all.
    pub(crate) fn is_allocators(&self) -> bool {
        let is_it = self.0["Name"].starts_with("jemalloc");
        if is_it {
            for set in ["CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(self.capabilities(set), 0, "{set} of the allocator's thread");
            }
        }
        is_it
    }

    pub(crate) fn parent(&self) -> u32 {
        self.numbers("PPid")[0]
    }

    pub(crate) fn assert_user(&self, (user, group): (u32, u32)) {
        let name = &self.0["Name"];
        assert_eq!(self.numbers("Uid"), [user; 4], "{name}");
        assert_eq!(self.numbers("Gid"), [group; 4], "{name}");
        assert!(!self.numbers("Groups").contains(&0), "{name}: root's groups");
    }

    /// It has `held`, and can get nothing by whatever it executes.
    pub(crate) fn assert_bounded(&self, held: u64) {
        let name = &self.0["Name"];
        for (set, want) in [("CapPrm", held), ("CapEff", held), ("CapAmb", 0), ("CapBnd", 0)] {
            assert_eq!(self.capabilities(set), want, "{set} of {name}: {:x}", self.capabilities(set));
        }
        assert_eq!(self.0["NoNewPrivs"], "1", "{name}");
    }
}

pub(crate) async fn until_gone(pid: u32) {
    let mut turn = interval(std::time::Duration::from_millis(20));
    let gone = async {
        while Path::new(&format!("/proc/{pid}")).exists() {
            turn.tick().await;
        }
    };
    timeout(TIMEOUT, gone).await.expect("it ends");
}
