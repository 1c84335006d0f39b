//! Goal: started as root with `user`, tidelock goes on without root's rights, and what it keeps reaches no app. Method: what
//! /proc says of each of its threads, of keepers and of apps; reloads that need what root could do. Only root can show it:
//! for anybody else these tests have nothing to look at, but for the one that needs no root.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use tempfile::TempDir;
use testkit::TIMEOUT;
use testkit::certificates::Authority;
use testkit::origin::ScriptedOrigin;
use testkit::process::{Mark, Process, Signal, tells};
use testkit::raw::RawConnection;
use testkit::tidelock::{config_for, listening};
use tokio::process::Command;
use tokio::time::{interval, timeout};

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// Bits of capabilities(7).
const KILL: u64 = 1 << 5;
const SETGID: u64 = 1 << 6;
const SETUID: u64 = 1 << 7;
const NET_BIND_SERVICE: u64 = 1 << 10;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// User and group of an account that every system has.
fn account(name: &str) -> (u32, u32) {
    let accounts = fs::read_to_string("/etc/passwd").expect("accounts");
    let line = accounts.lines().find(|line| line.starts_with(&format!("{name}:"))).expect("the account");
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].parse().expect("a number"), fields[3].parse().expect("a number"))
}

/// A tidelock that was started as root, as a service of systemd is: it has a folder for its socket and one for its state.
struct Service {
    process: Process,
    folder: TempDir,
}

impl Service {
    fn start(folder: TempDir, config: &str) -> Self {
        fs::write(folder.path().join("tidelock.toml"), config).expect("written");
        let process = Process::spawn("tidelock", command(folder.path(), &[]));
        Self { process, folder }
    }

    async fn serving(folder: TempDir, config: &str) -> (Self, SocketAddr) {
        let service = Self::start(folder, config);
        let addresses =
            listening(&service.process, Mark::default(), config.matches("[[listen]]").count()).await;
        service.process.wait_for_line(|line| tells(line, "ready")).await;
        (service, addresses[0])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn reload(&self, config: &str, event: &str) -> Mark {
        fs::write(self.path("tidelock.toml"), config).expect("written");
        let mark = self.process.mark();
        self.process.signal(Signal::HUP);
        self.process.wait_for_lines_since(mark, 1, |line| tells(line, event)).await.remove(0);
        mark
    }

    /// The process of the app that has said `word` and its number.
    async fn said(&self, mark: Mark, word: &str) -> u32 {
        let line = self.process.wait_for_lines_since(mark, 1, |line| line.contains(word)).await.remove(0);
        let (_, number) = line.split_once(word).expect("it is in there");
        number.trim().parse().unwrap_or_else(|_| panic!("no number: {line}"))
    }

    async fn verb(&self, words: &[&str]) -> Output {
        let words: Vec<_> = words.iter().copied().chain(["--socket", "run/admin.sock"]).collect();
        let mut command = Command::new(TIDELOCK);
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null()).kill_on_drop(true);
        timeout(TIMEOUT, command.output()).await.expect("it ends").expect("it can be started")
    }
}

/// A folder that any user may pass.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
    folder
}

fn command(folder: &Path, before: &[&str]) -> Command {
    let words: Vec<_> = before.iter().copied().chain([TIDELOCK, "tidelock.toml"]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).current_dir(folder).env("NO_COLOR", "1").env("HOME", "/root");
    command.env("RUNTIME_DIRECTORY", folder.join("run")).env("STATE_DIRECTORY", folder.join("state"));
    command
}

fn check(folder: &Path) -> std::process::Output {
    let mut check = std::process::Command::new(TIDELOCK);
    check.args(["check", "tidelock.toml"]).current_dir(folder).env("NO_COLOR", "1").output().expect("it runs")
}

/// An app that says its process and then waits.
fn app(name: &str, more: &str) -> String {
    format!(
        "\n[app.{name}]\ncommand = [\"sh\", \"-c\", \"echo {name}-is $$$$; echo home-of-{name} $$HOME; exec sleep 3600\"]\n\
         cwd = \"/\"\nready = \"running\"\n{more}\n"
    )
}

/// What /proc says of a thread or process.
struct Rights(BTreeMap<String, String>);

impl Rights {
    fn of(status: &Path) -> Self {
        let text = fs::read_to_string(status).unwrap_or_else(|error| panic!("{}: {error}", status.display()));
        let split =
            |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Self(text.lines().filter_map(split).collect())
    }

    fn of_process(pid: u32) -> Self {
        Self::of(Path::new(&format!("/proc/{pid}/status")))
    }

    /// Of each thread.
    fn of_threads(pid: u32) -> Vec<Self> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
        tasks.map(|task| Self::of(&task.expect("a thread").path().join("status"))).collect()
    }

    fn capabilities(&self, set: &str) -> u64 {
        u64::from_str_radix(&self.0[set], 16).expect("hexadecimal")
    }

    fn numbers(&self, name: &str) -> Vec<u32> {
        self.0[name].split_whitespace().map(|number| number.parse().expect("a number")).collect()
    }

    /// jemalloc's own thread is there before `main`, and executes nothing; it has no rights at all.
    fn is_allocators(&self) -> bool {
        let is_it = self.0["Name"].starts_with("jemalloc");
        if is_it {
            for set in ["CapPrm", "CapEff", "CapAmb"] {
                assert_eq!(self.capabilities(set), 0, "{set} of the allocator's thread");
            }
        }
        is_it
    }

    fn parent(&self) -> u32 {
        self.numbers("PPid")[0]
    }

    fn assert_user(&self, (user, group): (u32, u32)) {
        let name = &self.0["Name"];
        assert_eq!(self.numbers("Uid"), [user; 4], "{name}");
        assert_eq!(self.numbers("Gid"), [group; 4], "{name}");
        assert!(!self.numbers("Groups").contains(&0), "{name}: root's groups");
    }

    /// It has `held`, and can get nothing by whatever it executes.
    fn assert_bounded(&self, held: u64) {
        let name = &self.0["Name"];
        for (set, want) in [("CapPrm", held), ("CapEff", held), ("CapAmb", 0), ("CapBnd", 0)] {
            assert_eq!(self.capabilities(set), want, "{set} of {name}: {:x}", self.capabilities(set));
        }
        assert_eq!(self.0["NoNewPrivs"], "1", "{name}");
    }
}

async fn until_gone(pid: u32) {
    let mut turn = interval(std::time::Duration::from_millis(20));
    let gone = async {
        while Path::new(&format!("/proc/{pid}")).exists() {
            turn.tick().await;
        }
    };
    timeout(TIMEOUT, gone).await.expect("it ends");
}

#[tokio::test]
async fn it_goes_on_as_the_user_and_keeps_low_ports() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let config = format!("user = \"nobody\"\n{}{}", config_for(&[origin.address()]), app("worker", ""));
    let (service, address) = Service::serving(folder(), &config).await;
    let nobody = account("nobody");
    let worker = service.said(Mark::default(), "worker-is ").await;
    let answer = RawConnection::connect(address).await.try_ask(GET).await.expect("an answer");
    assert!(answer.start.contains("200 OK"), "{}", answer.start);
    let threads = Rights::of_threads(service.process.pid());
    assert!(threads.len() > 2, "workers run");
    for thread in &threads {
        thread.assert_user(nobody);
        if thread.is_allocators() {
            continue;
        }
        thread.assert_bounded(NET_BIND_SERVICE);
        // What the next tidelock of an upgrade is lent, and nobody else gets by it: see below.
        assert_eq!(thread.capabilities("CapInh"), NET_BIND_SERVICE);
    }
    let of_app = Rights::of_process(worker);
    for rights in [&of_app, &Rights::of_process(of_app.parent())] {
        rights.assert_user(nobody);
        rights.assert_bounded(0);
        assert_eq!(rights.capabilities("CapInh"), 0);
    }
    let home = service.process.wait_for_line(|line| line.contains("home-of-worker")).await;
    assert!(!home.contains("/root"), "root's home is nothing to it: {home}");
    // Its own, and root's by what root may: nobody else talks to it.
    let socket = fs::metadata(service.path("run/admin.sock")).expect("it is there");
    assert_eq!((socket.uid(), socket.mode() & 0o777), (nobody.0, 0o600));
    assert!(service.verb(&["status"]).await.status.success());
    assert_eq!(fs::metadata(service.path("state/sticky_secret")).expect("kept").uid(), nobody.0);
}

/// A program that nobody but root can change, in a folder that is gone with the guard.
fn roots_program() -> (TempDir, PathBuf) {
    // Whatever is below /tmp, everybody could move away.
    let folder = tempfile::Builder::new().prefix("tidelock-").tempdir_in("/var/lib").expect("root has it");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let program = folder.path().join("tidelock");
    fs::copy(TIDELOCK, &program).expect("it fits");
    (folder, program)
}

/// Kills a process that is no child of the test.
struct Ended(u32);

impl Drop for Ended {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0).ok().and_then(rustix::process::Pid::from_raw);
        pid.map(|pid| rustix::process::kill_process(pid, Signal::KILL));
    }
}

#[tokio::test]
async fn an_upgrade_goes_on_as_the_user_with_what_it_has() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let config = format!("user = \"nobody\"\n{}{}", config_for(&[origin.address()]), app("worker", ""));
    let (mut service, address) = Service::serving(folder(), &config).await;
    let worker = service.said(Mark::default(), "worker-is ").await;
    let keeper = Rights::of_process(worker).parent();
    let before = service.process.pid();

    let everybodys = service.path("everybodys");
    fs::copy(TIDELOCK, &everybodys).expect("it fits");
    let refused = service.verb(&["upgrade", &everybodys.display().to_string()]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("others than root can change"), "{why}");

    let (_folder, program) = roots_program();
    let upgraded = service.verb(&["upgrade", &program.display().to_string()]).await;
    assert!(upgraded.status.success(), "{upgraded:?}");
    assert!(service.process.exit().await.success());
    let status = service.verb(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    let next = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a process id");
    let _ended = Ended(next);
    assert_ne!(next, before);
    for thread in Rights::of_threads(next) {
        thread.assert_user(account("nobody"));
        // The allocator's was there before the rights were laid down that it was started with; it runs nothing of ours.
        if !thread.0["Name"].starts_with("jemalloc") {
            thread.assert_bounded(NET_BIND_SERVICE);
            assert_eq!(thread.capabilities("CapInh"), NET_BIND_SERVICE);
        }
    }
    let of_app = Rights::of_process(worker);
    assert_eq!(of_app.parent(), keeper, "the app's process goes on, with its keeper");
    of_app.assert_bounded(0);
    let answer = RawConnection::connect(address).await.try_ask(GET).await.expect("an answer");
    assert!(answer.start.contains("200 OK"), "{}", answer.start);

    // It can do what the one before could: bind a low port, and hand that on in its turn.
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut tried: Vec<u16> = (600..1000).collect();
    fastrand::shuffle(&mut tried);
    let port = tried.into_iter().find(free).expect("one is free");
    let more = format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[route]]");
    fs::write(service.path("tidelock.toml"), config.replacen("[[route]]", &more, 1)).expect("written");
    let reloaded = service.verb(&["reload"]).await;
    assert!(reloaded.status.success(), "{reloaded:?}");
    let upgraded = service.verb(&["upgrade", &program.display().to_string()]).await;
    assert!(upgraded.status.success(), "{upgraded:?}");
    until_gone(next).await;
    let low = RawConnection::connect((Ipv4Addr::LOCALHOST, port).into()).await.try_ask(GET).await;
    assert!(low.expect("an answer").start.contains("200 OK"));
    let killed = service.verb(&["kill"]).await;
    assert!(killed.status.success(), "{killed:?}");
    until_gone(worker).await;
}

#[tokio::test]
async fn an_app_of_another_user_is_started_and_stopped() {
    if !is_root() {
        return;
    }
    let config = format!("user = \"nobody\"\n{}{}", app("own", ""), app("other", "user = \"daemon\""));
    let service = Service::start(folder(), &config);
    let (own, other) =
        (service.said(Mark::default(), "own-is ").await, service.said(Mark::default(), "other-is ").await);
    for thread in Rights::of_threads(service.process.pid()) {
        // The one that writes an app's log may have the rights of the app's user, to open files.
        if thread.0["Name"] == "logs-files" {
            assert!(!thread.numbers("Uid").contains(&0) && !thread.numbers("Gid").contains(&0));
            continue;
        }
        thread.assert_user(account("nobody"));
        if thread.is_allocators() {
            continue;
        }
        thread.assert_bounded(NET_BIND_SERVICE | SETUID | SETGID | KILL);
    }
    for (pid, of) in [(own, "nobody"), (other, "daemon")] {
        let rights = Rights::of_process(pid);
        rights.assert_user(account(of));
        rights.assert_bounded(0);
        assert_eq!(rights.capabilities("CapInh"), 0, "{of}");
    }
    let keeper = Rights::of_process(Rights::of_process(other).parent());
    keeper.assert_user(account("nobody"));
    keeper.assert_bounded(KILL);
    Rights::of_process(Rights::of_process(own).parent()).assert_bounded(0);
    let stopped = service.verb(&["stop", "other"]).await;
    assert!(stopped.status.success(), "{stopped:?}");
    until_gone(other).await;
    service.process.signal(Signal::TERM);
    until_gone(own).await;
}

#[tokio::test]
async fn an_app_of_another_user_that_a_reload_brings_is_refused_with_the_reason() {
    if !is_root() {
        return;
    }
    let config = format!("user = \"nobody\"\n{}", app("own", ""));
    let service = Service::start(folder(), &config);
    service.said(Mark::default(), "own-is ").await;
    let mark = service.reload(&(config.clone() + &app("other", "user = \"daemon\"")), "reloaded").await;
    let line = service
        .process
        .wait_for_lines_since(mark, 1, |line| line.contains("cannot run as daemon"))
        .await
        .remove(0);
    assert!(line.contains("restart tidelock"), "{line}");
}

#[tokio::test]
async fn a_low_port_is_bound_at_a_reload() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let config = format!("user = \"nobody\"\n{}", config_for(&[origin.address()]));
    let (service, _) = Service::serving(folder(), &config).await;
    // Other tests of this machine may want one, too.
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut tried: Vec<u16> = (600..1000).collect();
    fastrand::shuffle(&mut tried);
    let port = tried.into_iter().find(free).expect("one is free");
    let more = format!("[[listen]]\naddress = \"127.0.0.1:{port}\"\n[[route]]");
    service.reload(&config.replacen("[[route]]", &more, 1), "reloaded").await;
    let answer = RawConnection::connect((Ipv4Addr::LOCALHOST, port).into())
        .await
        .try_ask(GET)
        .await
        .expect("an answer");
    assert!(answer.start.contains("200 OK"), "{}", answer.start);
}

#[tokio::test]
async fn roots_keys_are_read_first_and_never_again() {
    if !is_root() {
        return;
    }
    let authority = Authority::new("an authority");
    let folder = folder();
    let [first, second] = ["a", "b"].map(|name| {
        let files = authority.issue(&[&format!("{name}.example")]).write(folder.path(), name);
        fs::set_permissions(&files.key, Permissions::from_mode(0o600)).expect("it is ours");
        files
    });
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let with = |files: &[&testkit::certificates::CertificateFiles]| {
        let pairs: Vec<_> = files
            .iter()
            .map(|files| format!("{{ certificate = {:?}, key = {:?} }}", files.certificate, files.key))
            .collect();
        let tls = format!("tls = [{}]\n[[route]]", pairs.join(", "));
        format!("user = \"nobody\"\n{}", config_for(&[origin.address()]).replacen("[[route]]", &tls, 1))
    };
    let config = with(&[&first]);
    let (service, address) = Service::serving(folder, &config).await;
    let told = service.process.wait_for_line(|line| tells(line, "unreadable_later")).await;
    assert!(told.contains("a.key") || told.contains(&first.key.display().to_string()), "{told}");
    assert!(told.contains("LoadCredential"), "{told}");
    let get = async || {
        let client = authority.client(&["http/1.1"]);
        let mut connection =
            RawConnection::connect_tls(address, "a.example", client).await.expect("a handshake");
        connection.try_ask(GET).await.expect("an answer")
    };
    assert!(get().await.start.contains("200 OK"));
    // What has not changed is no reason to refuse all the rest.
    service.reload(&format!("{config}\n[timeouts]\nidle = \"61s\"\n"), "reloaded").await;
    assert!(get().await.start.contains("200 OK"), "it is served as before");
    let mark = service.reload(&with(&[&first, &second]), "reload_failed").await;
    let said = service.process.lines_since(mark).join("\n");
    assert!(said.contains("as the user `nobody`") && said.contains("LoadCredential"), "{said}");
    assert!(get().await.start.contains("200 OK"));
    // And `check` has known it before.
    fs::write(service.path("tidelock.toml"), &config).expect("written");
    let checked = String::from_utf8(check(service.folder.path()).stdout).expect("text");
    assert!(checked.contains("as the user `nobody`") && checked.contains("LoadCredential"), "{checked}");
}

/// A deployment has left it so. It is no stranger's fault, and whoever looks after the machine has to hear of it.
#[tokio::test]
async fn a_file_that_its_user_may_not_read_is_an_error_that_the_log_has() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let dist = folder.path().join("dist");
    fs::create_dir(&dist).expect("it is ours");
    for (name, mode) in [("shut.txt", 0o600), ("open.txt", 0o644), ("open.txt.gz", 0o600)] {
        fs::write(dist.join(name), name).expect("it is ours");
        fs::set_permissions(dist.join(name), Permissions::from_mode(mode)).expect("it is ours");
    }
    let config = "user = \"nobody\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nfiles = \"dist\"\n";
    let (service, address) = Service::serving(folder, config).await;
    let get = async |name: &str| {
        let mut client = RawConnection::connect(address).await;
        let lines = "Host: a.example\r\nAccept-Encoding: gzip\r\n\r\n";
        client.try_ask(&format!("GET /{name} HTTP/1.1\r\n{lines}")).await.expect("an answer")
    };
    assert_eq!(get("shut.txt").await.status(), 500);
    let told = service.process.wait_for_line(|line| tells(line, "file_unreadable")).await;
    assert!(told.contains("shut.txt") && told.contains("dist"), "{told}");
    // What is beside it matters to nobody.
    assert_eq!(get("open.txt").await.text(), "open.txt");
    assert_eq!(get("none.txt").await.status(), 404);
}

#[tokio::test]
async fn what_the_user_can_read_is_not_told() {
    if !is_root() {
        return;
    }
    let (folder, authority) = (folder(), Authority::new("an authority"));
    let files = authority.issue(&["a.example"]).write(folder.path(), "a");
    let nobody = account("nobody");
    std::os::unix::fs::chown(&files.key, None, Some(nobody.1)).expect("root may");
    fs::set_permissions(&files.key, Permissions::from_mode(0o640)).expect("root may");
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let pair = format!("tls = {{ certificate = {:?}, key = {:?} }}\n[[route]]", files.certificate, files.key);
    let config = config_for(&[origin.address()]).replacen("[[route]]", &pair, 1);
    let (service, _) = Service::serving(folder, &format!("user = \"nobody\"\n{config}")).await;
    let printed = service.process.lines_since(Mark::default());
    assert!(!printed.iter().any(|line| tells(line, "unreadable_later")), "{printed:?}");
    let checked = String::from_utf8(check(service.folder.path()).stdout).expect("text");
    assert!(!checked.contains("as the user"), "{checked}");
}

#[tokio::test]
async fn certificates_of_its_own_are_kept_by_the_user() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let automatic = "tls = \"local\"\n[[route]]";
    let config = config_for(&[origin.address()]).replacen("[[route]]", automatic, 1);
    let folder = folder();
    // As a tidelock that stayed root has left it.
    fs::create_dir_all(folder.path().join("state/acme")).expect("made");
    fs::set_permissions(folder.path().join("state"), Permissions::from_mode(0o700)).expect("it is ours");
    let (service, _) = Service::serving(folder, &format!("user = \"nobody\"\n{config}")).await;
    service.process.wait_for_line(|line| tells(line, "local_authority")).await;
    let (user, group) = account("nobody");
    for place in ["state", "state/acme", "state/sticky_secret"] {
        let there = fs::metadata(service.path(place)).expect("it is there");
        assert_eq!((there.uid(), there.gid()), (user, group), "{place}");
    }
}

#[tokio::test]
async fn a_user_that_is_not_there_is_said() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let config = format!("user = \"no-such-user\"\n{}", config_for(&[origin.address()]));
    let mut service = Service::start(folder(), &config);
    service.process.wait_for_line(|line| line.contains("there is no user `no-such-user`")).await;
    assert!(!service.process.exit().await.success());
    let checked = check(service.folder.path());
    assert!(!checked.status.success());
    assert!(String::from_utf8_lossy(&checked.stdout).contains("there is no user `no-such-user`"));
}

#[tokio::test]
async fn without_a_user_root_is_told_how_to_be_less() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let (service, _) = Service::serving(folder(), &config_for(&[origin.address()])).await;
    let line = service.process.wait_for_line(|line| tells(line, "runs_as_root")).await;
    assert!(line.contains("user = "), "{line}");
}

/// As systemd starts it with `User=` and `AmbientCapabilities=CAP_NET_BIND_SERVICE`.
#[tokio::test]
async fn ambient_capabilities_of_a_service_reach_no_app() {
    if !is_root() {
        return;
    }
    let folder = folder();
    for name in ["run", "state"] {
        fs::create_dir(folder.path().join(name)).expect("made");
        let (user, group) = account("nobody");
        std::os::unix::fs::chown(folder.path().join(name), Some(user), Some(group)).expect("root may");
    }
    fs::write(folder.path().join("tidelock.toml"), app("worker", "")).expect("written");
    let as_service = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
    let as_service =
        as_service.into_iter().chain(["--inh-caps=+net_bind_service", "--ambient-caps=+net_bind_service"]);
    let words: Vec<_> = as_service.collect();
    let process = Process::spawn("tidelock", command(folder.path(), &words));
    let service = Service { process, folder };
    let worker = service.said(Mark::default(), "worker-is ").await;
    assert_eq!(Rights::of_process(service.process.pid()).capabilities("CapEff"), NET_BIND_SERVICE);
    let of_app = Rights::of_process(worker);
    for rights in [&of_app, &Rights::of_process(of_app.parent())] {
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            assert_eq!(rights.capabilities(set), 0, "{set} of {}", rights.0["Name"]);
        }
    }
}
