//! A supervisor for one test, apps to run under it, and the proof that nothing of them is left.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::app::{App, Instances, LogFormat, Logs, Port, Ready, ReadyWhen, Restart, Socket, Stop};
use config::plan::Drain;
use config::roster::Instance;
use supervisor::host::{Host, HostPlan};
use supervisor::requests::DataPlaneRequest;
use supervisor::{AppStatus, InstanceState, InstanceStatus, Progress, Supervisor, Verb};
use tempfile::TempDir;
use testkit::TIMEOUT;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Sessions leave at once where nobody says otherwise.
pub(crate) const DRAIN: Drain = Drain { window: Duration::ZERO, deadline: TIMEOUT, announce: Duration::ZERO };

pub(crate) struct Stand {
    pub(crate) supervisor: Supervisor,
    pub(crate) folder: TempDir,
    plane: Rc<RefCell<Plane>>,
}

/// What the data plane was told.
#[derive(Debug, Default)]
struct Plane {
    reachable: BTreeMap<String, Vec<Instance>>,
    /// Instances as they came, were emptied and went, by slot and generation.
    journal: Vec<String>,
}

/// Runs a test on a runtime like that of the control thread.
pub(crate) fn on_stand<F: Future<Output = ()>>(apps: &[App], test: impl FnOnce(Rc<Stand>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .expect("a runtime can be built");
    runtime.block_on(async {
        let stand = Rc::new(Stand::new(apps));
        let mark = stand.folder.path().to_owned();
        test(stand.clone()).await;
        in_time("the end", stand.supervisor.end(false)).await;
        nothing_is_left(&mark).await;
    });
}

impl Stand {
    fn new(apps: &[App]) -> Self {
        let folder = testkit::tidelock::directory();
        let plan = HostPlan {
            under: Some(folder.path().join("run")),
            keeper: Some(env!("CARGO_BIN_EXE_tidelock-keeper").into()),
            echo: None,
        };
        let host = Host::with(plan).expect("the test's folder is writable");
        let (supervisor, mut requests) = Supervisor::start_on(host, &arcs(apps), DRAIN);
        let plane = Rc::new(RefCell::new(Plane::default()));
        let serving = plane.clone();
        tokio::task::spawn_local(async move {
            while let Some(request) = requests.recv().await {
                serving.borrow_mut().grant(request);
            }
        });
        Self { supervisor, folder, plane }
    }

    pub(crate) async fn status(&self, app: &str) -> AppStatus {
        let all = self.supervisor.status().await;
        all.iter().find(|status| status.name == app).cloned().unwrap_or_else(|| panic!("no {app} in {all:?}"))
    }

    /// Waits until an app looks so.
    pub(crate) async fn until(&self, app: &str, what: &str, is_so: impl Fn(&AppStatus) -> bool) -> AppStatus {
        let looking = async {
            loop {
                let status = self.status(app).await;
                if is_so(&status) {
                    return status;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        match timeout(TIMEOUT, looking).await {
            Ok(status) => status,
            Err(_) => panic!("{app} is not {what}: {:#?}", self.status(app).await),
        }
    }

    /// Waits until so many instances are ready and there is nothing else.
    pub(crate) async fn until_ready(&self, app: &str, instances: usize) -> Vec<InstanceStatus> {
        let is_so = |status: &AppStatus| {
            status.instances.len() == instances
                && status.instances.iter().all(|instance| instance.state == InstanceState::Ready)
        };
        self.until(app, "ready", is_so).await.instances
    }

    /// Tells an app something, and waits until that has ended.
    pub(crate) async fn tell(&self, app: &str, verb: Verb) -> Progress {
        ended(self.supervisor.tell(app, verb)).await
    }

    pub(crate) async fn apply(&self, apps: &[App]) -> Progress {
        ended(self.supervisor.apply(&arcs(apps), DRAIN)).await
    }

    /// What the data plane was told so far.
    pub(crate) fn journal(&self) -> Vec<String> {
        self.plane.borrow().journal.clone()
    }

    pub(crate) fn reachable(&self, app: &str) -> usize {
        self.plane.borrow().reachable.get(app).map_or(0, Vec::len)
    }
}

impl Plane {
    fn grant(&mut self, request: DataPlaneRequest) {
        let called = |instance: &Instance| format!("{}.{}", instance.id.slot, instance.id.generation);
        match request {
            DataPlaneRequest::Publish { app, instances, .. } => {
                let before = self.reachable.insert(app, instances.clone()).unwrap_or_default();
                let is_in = |all: &[Instance], one: &Instance| all.iter().any(|other| other.id == one.id);
                let come = instances
                    .iter()
                    .filter(|one| !is_in(&before, one))
                    .map(|one| format!("+{}", called(one)));
                let gone = before
                    .iter()
                    .filter(|one| !is_in(&instances, one))
                    .map(|one| format!("-{}", called(one)));
                self.journal.extend(come.chain(gone));
            }
            DataPlaneRequest::Empty { app, instance, emptied, .. } => {
                assert!(
                    self.reachable[&app].iter().any(|one| one.id == instance),
                    "{instance:?} is not published"
                );
                self.journal.push(format!("empty {}.{}", instance.slot, instance.generation));
                // A test may end while something is emptied.
                let _ = emptied.send(None);
            }
        }
    }
}

pub(crate) async fn ended(mut progress: mpsc::Receiver<Progress>) -> Progress {
    let mut last = None;
    while let Some(step) = in_time("the next step", progress.recv()).await {
        last = Some(step);
    }
    last.expect("the end is always told")
}

pub(crate) fn failure(progress: Progress) -> String {
    match progress {
        Progress::Failed(why) => why,
        other => panic!("that has not failed: {other:?}"),
    }
}

pub(crate) fn done(progress: Progress) -> String {
    match progress {
        Progress::Done(done) => done,
        other => panic!("that is not done: {other:?}"),
    }
}

/// What is waited for comes in good time.
pub(crate) async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    timeout(TIMEOUT, future).await.unwrap_or_else(|_| panic!("{what} has not come"))
}

pub(crate) fn pids(instances: &[InstanceStatus]) -> Vec<u32> {
    instances.iter().filter_map(|instance| instance.pid).collect()
}

pub(crate) fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).expect("no process is 0");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
}

/// Waits until no process is left in whose environment `mark` is, and fails if that does not come to be.
pub(crate) async fn nothing_is_left(mark: &Path) {
    let gone = async {
        while !processes_with(mark).is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    let is_gone = timeout(TIMEOUT, gone).await.is_ok();
    assert!(is_gone, "these are left: {:?}", processes_with(mark));
}

fn processes_with(mark: &Path) -> Vec<String> {
    let mark = mark.as_os_str().as_encoded_bytes();
    let bears = |folder: &PathBuf| {
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|part| part == mark)
    };
    let shown = |folder: PathBuf| {
        let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
        format!("{} {}", folder.display(), String::from_utf8_lossy(&line).replace('\0', " "))
    };
    let all = std::fs::read_dir("/proc").expect("there is a /proc").flatten().map(|entry| entry.path());
    all.filter(bears).map(shown).collect()
}

fn arcs(apps: &[App]) -> Vec<Arc<App>> {
    apps.iter().cloned().map(Arc::new).collect()
}

/// A Node.js process that listens where it is told, after it has run this.
pub(crate) fn node(name: &str, instances: u32, first: &str) -> App {
    let script = format!(
        "{first}; require('net').createServer(s => s.end()).listen(process.env.PORT, process.env.HOST)"
    );
    app(name, instances, &["node", "-e", &script])
}

pub(crate) fn sh(name: &str, instances: u32, script: &str) -> App {
    app(name, instances, &["sh", "-c", script])
}

fn app(name: &str, instances: u32, command: &[&str]) -> App {
    App {
        name: name.to_owned(),
        command: command.iter().map(|&part| part.to_owned()).collect(),
        args: Vec::new(),
        shown: command.join(" "),
        cwd: "/".into(),
        env: BTreeMap::new(),
        env_file: None,
        user: None,
        group: None,
        no_new_privs: false,
        instances: Instances::Count(NonZeroU32::new(instances).expect("at least one")),
        fanout: false,
        port: Port::Env,
        ports: None,
        socket: Socket::Tcp,
        ready: Ready { when: ReadyWhen::Port, deadline: TIMEOUT },
        stop: Stop { signal: 15, timeout: TIMEOUT, tell: false },
        restart: Restart {
            pause_min: Duration::from_millis(10),
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
