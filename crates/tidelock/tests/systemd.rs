//! Goal: systemd knows how tidelock is, and may bind its ports. Method: the real binary with what systemd gives to a service: the
//! path of a datagram socket, and listening sockets from the third file on. `cargo xtask boot` does it with systemd itself.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use testkit::TIMEOUT;
use testkit::process::Signal;
use testkit::raw::get;
use testkit::tidelock::directory;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// What systemd hears.
struct Notified {
    socket: UnixDatagram,
    /// Lines that were heard and not asked for yet.
    heard: Vec<String>,
}

impl Notified {
    fn at(path: &Path) -> Self {
        Self { socket: UnixDatagram::bind(path).expect("a socket"), heard: Vec::new() }
    }

    /// Waits until a line is heard that begins so; gives back all until then.
    async fn until(&mut self, begin: &str) -> Vec<String> {
        let hearing = async {
            loop {
                if let Some(at) = self.heard.iter().position(|line| line.starts_with(begin)) {
                    return self.heard.drain(..=at).collect();
                }
                let mut text = vec![0; 4096];
                let length = self.socket.recv(&mut text).await.expect("a datagram");
                let text = String::from_utf8(text[..length].to_vec()).expect("text");
                self.heard.extend(text.lines().map(str::to_owned));
            }
        };
        match timeout(TIMEOUT, hearing).await {
            Ok(lines) => lines,
            Err(_) => panic!("nothing begins with {begin}: {:?}", self.heard),
        }
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(TIDELOCK);
    command.arg("tidelock.toml").current_dir(folder).kill_on_drop(true).stdin(Stdio::null());
    command.env("XDG_RUNTIME_DIR", folder).env("XDG_STATE_HOME", folder).env("NO_COLOR", "1");
    command
}

fn file(address: SocketAddr, body: &str) -> String {
    format!(
        "[log]\naccess = \"off\"\n[[listen]]\naddress = \"{address}\"\n[[route]]\nrespond = {{ text = \"{body}\" }}\n"
    )
}

async fn verb(folder: &Path, arguments: &[&str]) -> bool {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", folder).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.expect("the binary can be run").success()
}

fn pid(child: &Child) -> rustix::process::Pid {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(rustix::process::Pid::from_raw).expect("it runs")
}

fn parent(of: rustix::process::Pid) -> Option<rustix::process::Pid> {
    let status = std::fs::read_to_string(format!("/proc/{of}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("its parent");
    rustix::process::Pid::from_raw(line.trim().parse().expect("a number"))
}

#[tokio::test]
async fn systemd_hears_how_it_is() {
    let folder = directory();
    let mut notified = Notified::at(&folder.path().join("notify"));
    let at = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    std::fs::write(folder.path().join("tidelock.toml"), file(at, "one")).expect("written");
    let mut command = command(folder.path());
    command.env("NOTIFY_SOCKET", folder.path().join("notify")).env("WATCHDOG_USEC", "3000000");
    let mut child = command.spawn().expect("the binary can be run");
    notified.until("READY=1").await;
    assert_eq!(get(at, "/").await.text(), "one", "it serves by then");
    notified.until("STATUS=0 of 0 nodes up, 0 sessions").await;
    // More than once, so that the workers have moved in between.
    notified.until("WATCHDOG=1").await;
    notified.until("WATCHDOG=1").await;

    std::fs::write(folder.path().join("tidelock.toml"), file(at, "two")).expect("written");
    assert!(verb(folder.path(), &["reload"]).await);
    notified.until("RELOADING=1").await;
    notified.until("MONOTONIC_USEC=").await;
    notified.until("READY=1").await;
    // Also where it changes nothing, and by a signal.
    std::fs::write(folder.path().join("tidelock.toml"), "nonsense").expect("written");
    rustix::process::kill_process(pid(&child), Signal::HUP).expect("it runs");
    notified.until("RELOADING=1").await;
    notified.until("READY=1").await;
    assert_eq!(get(at, "/").await.text(), "two");

    std::fs::write(folder.path().join("tidelock.toml"), file(at, "three")).expect("written");
    assert!(verb(folder.path(), &["upgrade"]).await);
    let told = notified.until("MAINPID=").await;
    let next = told.last().and_then(|line| line.strip_prefix("MAINPID=")?.parse::<i32>().ok());
    let next = next.and_then(rustix::process::Pid::from_raw).expect("a process id");
    assert_ne!(next, pid(&child));
    // systemd waits for the end of a main process only if it is its own child when it hears of it.
    assert_ne!(parent(next), Some(pid(&child)), "it is still a child of the one before");
    notified.until("READY=1").await;
    assert!(child.wait().await.expect("it ends").success());
    assert_eq!(get(at, "/").await.text(), "three");
    notified.until("WATCHDOG=1").await;
    rustix::process::kill_process(next, Signal::TERM).expect("it runs");
    notified.until("STOPPING=1").await;
}

#[tokio::test]
async fn it_serves_on_sockets_that_it_is_given() {
    let folder = directory();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (at, other) = (listener.local_addr().expect("an address"), TcpListener::bind("127.0.0.1:0"));
    std::fs::create_dir(folder.path().join("tidelock")).expect("a folder");
    let admin = UnixListener::bind(folder.path().join("tidelock/admin.sock")).expect("a socket");
    std::fs::write(folder.path().join("tidelock.toml"), file(at, "here")).expect("written");
    // The shell puts them where systemd does, and becomes the program that they are said to.
    let script = format!(
        "exec 3<&0 4<&1 5<&2 0</dev/null 1>log 2>&1; LISTEN_PID=$$ LISTEN_FDS=3 LISTEN_FDNAMES=web:other:admin exec {TIDELOCK} \
         tidelock.toml"
    );
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).current_dir(folder.path()).kill_on_drop(true);
    command.env("XDG_RUNTIME_DIR", folder.path()).env("XDG_STATE_HOME", folder.path()).env("NO_COLOR", "1");
    let other = other.expect("a port");
    command.stdin(Stdio::from(OwnedFd::from(listener)));
    command.stdout(Stdio::from(OwnedFd::from(other)));
    command.stderr(Stdio::from(OwnedFd::from(admin)));
    let mut child = command.spawn().expect("the binary can be run");
    drop(command);
    assert_eq!(get(at, "/").await.text(), "here");
    assert!(verb(folder.path(), &["status"]).await, "verbs come in at the socket that is called admin");
    assert!(verb(folder.path(), &["upgrade"]).await);
    assert!(child.wait().await.expect("it ends").success());
    assert_eq!(get(at, "/").await.text(), "here");
    assert!(verb(folder.path(), &["kill"]).await);
    assert!(folder.path().join("tidelock/admin.sock").exists(), "it is systemd's");
    let log = std::fs::read_to_string(folder.path().join("log")).expect("a log");
    assert!(log.contains("event=\"socket_unused\""), "{log}");
}
