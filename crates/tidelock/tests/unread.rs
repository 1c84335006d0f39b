//! Goal: whoever stops reading what tidelock prints stops nothing but what is printed. Method: the real binary with a
//! pipe as standard error, or as standard output, that is filled to its brim and never read again.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{ExitStatus, Output, Stdio};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::TIMEOUT;
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::{config_for, directory};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

const BINARY: &str = env!("CARGO_BIN_EXE_tidelock");
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A tidelock whose standard error was read until it listened, and standard output not at all.
struct Unread {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
    stderr: (pipe::Receiver, OwnedFd),
    stdout: (pipe::Receiver, OwnedFd),
}

impl Unread {
    async fn start(config: &str) -> Self {
        Self::run("tidelock.toml", config, &["tidelock.toml"]).await
    }

    /// Writes `text` into `file`, and starts tidelock with `arguments` beside it.
    async fn run(file: &str, text: &str, arguments: &[&str]) -> Self {
        let directory = directory();
        std::fs::write(directory.path().join(file), text).expect("the directory can be written to");
        let (stderr, stdout) = (pipe_of_one_page(), pipe_of_one_page());
        let child = Command::new(BINARY)
            .args(arguments)
            .current_dir(directory.path())
            .env("XDG_RUNTIME_DIR", directory.path())
            .env("XDG_STATE_HOME", directory.path())
            .env_remove("STATE_DIRECTORY")
            .stdin(Stdio::null())
            .stderr(Stdio::from(stderr.1.try_clone().expect("a file more")))
            .stdout(Stdio::from(stdout.1.try_clone().expect("a file more")))
            .kill_on_drop(true)
            .spawn()
            .expect("tidelock can be run");
        let mut unread =
            Self { child, directory, address: SocketAddr::from(([127, 0, 0, 1], 0)), stderr, stdout };
        let log = unread.read_until("verbs are taken").await;
        let address = log.split_once("address=").and_then(|(_, rest)| rest.split_whitespace().next());
        unread.address = address.and_then(|address| address.parse().ok()).expect("it says where it listens");
        unread
    }

    async fn read_until(&mut self, wanted: &str) -> String {
        let mut text = Vec::new();
        let reading = async {
            while !String::from_utf8_lossy(&text).contains(wanted) {
                let read = self.stderr.0.read_buf(&mut text).await.expect("a pipe can be read");
                assert_ne!(read, 0, "its log ends");
            }
        };
        let is_there = timeout(TIMEOUT, reading).await;
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(is_there.is_ok(), "nobody says {wanted:?}: {text}");
        text
    }

    fn fill_stderr(&self) {
        fill(&self.stderr.1);
    }

    fn fill_stdout(&self) {
        fill(&self.stdout.1);
    }

    async fn verb(&self, words: &[&str]) -> Output {
        let mut verb = Command::new(BINARY);
        verb.args(words).env("XDG_RUNTIME_DIR", self.directory.path()).kill_on_drop(true);
        let output = timeout(TIMEOUT, verb.output()).await;
        output.unwrap_or_else(|_| panic!("{words:?} is not answered")).expect("tidelock can be run")
    }

    async fn ask(&self) -> Message {
        let mut client = RawConnection::connect(self.address).await;
        client.send(GET).await;
        client.read_message().await
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it runs"), signal).expect("it is ours");
    }

    async fn exit(&mut self) -> ExitStatus {
        let ended = timeout(TIMEOUT, self.child.wait()).await;
        ended.expect("it does not end").expect("a child can be waited for")
    }
}

fn pipe_of_one_page() -> (pipe::Receiver, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe().expect("two files more");
    rustix::pipe::fcntl_setpipe_size(&writer, 4096).expect("a page is the least");
    (pipe::Receiver::from_owned_fd(reader).expect("it is a pipe"), writer)
}

/// Writes until not a byte fits. Through a file description of its own: the process keeps one that waits.
fn fill(pipe: &OwnedFd) {
    let path = format!("/proc/self/fd/{}", pipe.as_raw_fd());
    let nonblocking = OFlags::NONBLOCK.bits().try_into().expect("a flag is small");
    let mut pipe = OpenOptions::new()
        .write(true)
        .custom_flags(nonblocking)
        .open(Path::new(&path))
        .expect("its own file");
    loop {
        match pipe.write(b"full ") {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nothing() {
    let origin = ScriptedOrigin::answering(OK).await;
    let mut proxy = Unread::start(&config_for(&[origin.address()])).await;
    proxy.fill_stderr();
    for _ in 0..20 {
        let reloaded = proxy.verb(&["reload"]).await;
        assert!(reloaded.status.success(), "{reloaded:?}");
    }
    // A worker and the control thread say so when nodes go, too.
    let node = origin.address().to_string();
    assert!(proxy.verb(&["drain", "--no-wait", &node]).await.status.success());
    assert!(proxy.verb(&["undrain", &node]).await.status.success());
    for _ in 0..20 {
        assert_eq!(proxy.ask().await.status(), 200);
    }
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

/// What was lost is said where it is missing.
#[tokio::test]
async fn lines_that_were_lost_are_counted() {
    let origin = ScriptedOrigin::answering(OK).await;
    let mut proxy = Unread::start(&config_for(&[origin.address()])).await;
    proxy.fill_stderr();
    // Each reload that is refused says all that is wrong with the file.
    let wrong: String = (0..90).map(|number| format!("unheard_of_{number} = 1\n")).collect();
    let wrong = config_for(&[origin.address()]) + &wrong;
    std::fs::write(proxy.directory.path().join("tidelock.toml"), wrong).unwrap();
    for _ in 0..40 {
        assert!(!proxy.verb(&["reload"]).await.status.success());
    }
    let status = proxy.verb(&["status", "--json"]).await;
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["log_lines_lost"].as_u64().is_some_and(|lost| lost > 0), "{status:#}");
    proxy.signal(Signal::HUP);
    proxy.read_until("lines of the log lost here").await;
}

#[tokio::test]
async fn an_access_log_that_nobody_reads_does_not_keep_it() {
    let origin = ScriptedOrigin::answering(OK).await;
    let config = format!("{}\n[log]\naccess = \"stdout\"\n", config_for(&[origin.address()]));
    let mut proxy = Unread::start(&config).await;
    proxy.fill_stdout();
    proxy.fill_stderr();
    for _ in 0..100 {
        assert_eq!(proxy.ask().await.status(), 200);
    }
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

/// However little is read, and whatever still runs.
#[tokio::test]
async fn a_second_signal_ends_it_at_once_always() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let config = format!("{}\n[drain]\ndeadline = \"1h\"\n", config_for(&[origin.address()]));
    let mut proxy = Unread::start(&config).await;
    proxy.fill_stdout();
    proxy.fill_stderr();
    let mut client = RawConnection::connect(proxy.address).await;
    client.send(GET).await;
    origin.until_requests(1).await;
    proxy.signal(Signal::TERM);
    // The first was taken once nobody is let in any more.
    until_refused(proxy.address).await;
    proxy.signal(Signal::TERM);
    proxy.exit().await;
    assert_eq!(client.read_to_end().await.0, b"");
}

/// What an app in the foreground prints is shown on the same streams, however much it is.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_app_whose_output_nobody_reads_goes_on() {
    let mut proxy =
        Unread::run("app.js", LOUD, &["start", "app.js", "--port", "env", "--listen", "127.0.0.1:0"]).await;
    proxy.fill_stdout();
    proxy.fill_stderr();
    for _ in 0..20 {
        assert_eq!(proxy.ask().await.status(), 200);
    }
    // It has written more by now than any queue keeps: it says so itself once it has.
    while proxy.ask().await.text() != "loud" {}
    assert!(proxy.verb(&["restart", "app"]).await.status.success());
    assert_eq!(proxy.ask().await.status(), 200);
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.exit().await.code(), Some(0));
}

/// Writes to a pipe wait for its reader in Node.js, so that an app whose output is not taken answers nobody.
const LOUD: &str = r#"
let written = 0;
const say = () => {
  for (let line = 0; line < 100; line += 1) console.log("x".repeat(1000));
  written += 100_000;
};
require("http").createServer((_request, response) => {
  say();
  response.end(written > 16 << 20 ? "loud" : "ok");
}).listen(process.env.PORT);
"#;

async fn until_refused(address: SocketAddr) {
    let refused = async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(TIMEOUT, refused).await.is_ok(), "it lets people in for ever");
}
