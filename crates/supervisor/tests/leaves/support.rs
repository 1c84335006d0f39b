//! A host for one test, apps to start on it, and the proof that nothing of them is left.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use config::app::{App, Instances, LogFormat, Logs, Port, Ready, ReadyWhen, Restart, Socket, Stop};
use config::roster::{InstanceAddress, InstanceId};
use supervisor::host::{Host, HostPlan};
use supervisor::logs::{Line, LogSelector, Reader, Said};
use supervisor::process::{Launch, Process, StartProblem};
use tempfile::TempDir;
use testkit::TIMEOUT;
use tokio::time::{sleep, timeout};

/// What one test starts its processes on.
#[derive(Debug)]
pub(crate) struct Stand {
    pub(crate) host: Host,
    pub(crate) folder: TempDir,
    generation: AtomicU64,
}

impl Stand {
    pub(crate) fn new() -> Self {
        let folder = testkit::tidelock::directory();
        let host = host(folder.path());
        Self { host, folder, generation: AtomicU64::new(0) }
    }

    /// One whose marks begin with a folder that belongs to somebody else.
    pub(crate) fn under(folder: &Path) -> Self {
        let folder = tempfile::tempdir_in(folder).unwrap();
        Self { host: host(folder.path()), folder, generation: AtomicU64::new(0) }
    }

    /// Starts the app as its instance 0.
    pub(crate) async fn start(&self, app: App) -> Process {
        self.start_at(app, 0).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    pub(crate) async fn start_at(&self, app: App, slot: u32) -> Result<Process, StartProblem> {
        let generation = 1 + self.generation.fetch_add(1, Ordering::Relaxed);
        let id = InstanceId { slot, generation };
        in_time("the start", Process::start(&self.host, Launch { app: Arc::new(app), id })).await
    }

    /// A reader of all that is written from the beginning on.
    pub(crate) fn reader(&self) -> Reader {
        self.host.logs().read(&LogSelector::default(), usize::MAX, true).unwrap()
    }

    /// The text of the lines that `wanted` counts, and of all before it.
    pub(crate) async fn lines_until(&self, wanted: impl Fn(&Line) -> bool) -> Vec<String> {
        let mut reader = self.reader();
        let mut lines = Vec::new();
        let reading = async {
            loop {
                if let Some(Said::Line(line)) = reader.next().await {
                    lines.push(line.text());
                    if wanted(&line) {
                        return;
                    }
                }
            }
        };
        let found = timeout(TIMEOUT, reading).await;
        assert!(found.is_ok(), "the line did not come: {lines:#?}");
        lines
    }

    /// The first so many lines.
    pub(crate) async fn lines(&self, count: usize) -> Vec<String> {
        let seen = std::cell::Cell::new(0);
        self.lines_until(|_| {
            seen.set(seen.get() + 1);
            seen.get() == count
        })
        .await
    }

    /// The first line that holds `what`.
    pub(crate) async fn line_with(&self, what: &str) -> String {
        self.lines_until(|line| line.text().contains(what)).await.pop().unwrap()
    }

    /// Waits until no process is left that was started on this stand, and fails if that does not come to be.
    pub(crate) async fn is_empty(&self) {
        until_none_with(self.mark()).await;
    }

    /// By which everything that was started here can be told: it is in the environment of all of it.
    pub(crate) fn mark(&self) -> &Path {
        self.folder.path()
    }
}

fn host(folder: &Path) -> Host {
    let keeper = Some(env!("CARGO_BIN_EXE_tidelock-keeper").into());
    Host::with(HostPlan { under: Some(folder.join("run")), keeper, echo: None }).unwrap()
}

/// Waits until no process is left that has `mark` in its environment.
pub(crate) async fn until_none_with(mark: &Path) {
    let gone = async {
        while !processes_with(mark).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let is_gone = timeout(TIMEOUT, gone).await.is_ok();
    assert!(is_gone, "these are left: {:?}", processes_with(mark));
}

/// What is waited for comes in good time.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, future).await.unwrap_or_else(|_| panic!("{what} has not come"))
}

/// The command lines of processes in whose environment `mark` is.
pub(crate) fn processes_with(mark: &Path) -> Vec<String> {
    let mark = mark.as_os_str().as_encoded_bytes();
    let pids = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let bears = |folder: &PathBuf| {
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|part| part == mark)
    };
    let shown = |folder: PathBuf| {
        let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        format!("{} {}", folder.display(), String::from_utf8_lossy(&line).replace('\0', " "))
    };
    pids.filter(bears).map(shown).collect()
}

/// The port that a process was told.
pub(crate) fn port(process: &Process) -> u16 {
    match process.address() {
        InstanceAddress::Tcp(address) => address.port(),
        InstanceAddress::Unix(path) => panic!("{path:?} is no port"),
    }
}

pub(crate) fn sh(script: &str) -> App {
    app(&["sh", "-c", script])
}

/// Node.js with a script; it finds the packages that testkit has.
pub(crate) fn node(script: &str) -> App {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/js/node_modules");
    assert!(
        packages.join("fastify").is_dir(),
        "run `cargo xtask test` once: it installs what is missing in {packages:?}"
    );
    let env = [("NODE_PATH".to_owned(), packages.to_str().unwrap().to_owned())];
    App { env: env.into(), ..app(&["node", "-e", script]) }
}

/// A script of Node.js with HTTP servers `a` and `b`, which answer their letter, that listen as `listen` says. What
/// they listen on is printed.
pub(crate) fn listens(listen: &str) -> String {
    format!("{}\n{listen}", include_str!("../apps/servers.cjs"))
}

/// A script of this folder's neighbour.
pub(crate) fn script(name: &str) -> String {
    format!("{}/tests/apps/{name}", env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn app(command: &[&str]) -> App {
    App {
        name: "chat".to_owned(),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        args: Vec::new(),
        shown: command.join(" "),
        cwd: "/".into(),
        env: BTreeMap::new(),
        env_file: None,
        user: None,
        group: None,
        no_new_privs: false,
        instances: Instances::Count(NonZeroU32::MIN),
        fanout: false,
        port: Port::Env,
        ports: None,
        socket: Socket::Tcp,
        ready: Ready { when: ReadyWhen::Port, deadline: TIMEOUT },
        stop: Stop { signal: 15, timeout: TIMEOUT, tell: false },
        restart: Restart {
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(15),
            stable: Duration::from_secs(30),
            max: None,
            stop_exit_codes: config::app::ExitCodes::NONE,
        },
        memory_max: None,
        cron: None,
        watch: None,
        logs: Logs {
            folder: None,
            file_bytes_max: 10 << 20,
            files_max: 5,
            ring_lines_max: 1000,
            format: LogFormat::Text,
            time: false,
        },
    }
}
