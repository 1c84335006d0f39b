//! The socket that verbs go through: who may use it, whose it is, and what it stands.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use testkit::TIMEOUT;
use testkit::origin::Absent;
use testkit::process::{Process, Signal, tells};
use testkit::raw::get;
use testkit::tidelock::{Tidelock, directory, listening};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::{ADMIN, TIDELOCK, file, origin_that_says, run, socket_of, verb};

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_ends_with_tidelock() {
    let folder = directory();
    let socket = folder.path().join("admin.sock");
    // What one that was killed has left is replaced.
    drop(UnixListener::bind(&socket).unwrap());
    fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
    let absent = Absent::bind();
    let nodes = [absent.address()];
    let mut proxy = Tidelock::start_in(folder, TIDELOCK, &file(&nodes, ADMIN)).await;
    assert_eq!(verb(&proxy, &["status"]).await.code, 0);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    proxy.process().signal(Signal::TERM);
    assert!(proxy.process().exit().await.success());
    assert!(!socket.exists());
}

/// Starts a tidelock that testkit's own cannot: it may not come up, or shares its runtime directory.
fn start(folder: &TempDir, runtime_directory: &Path, config: &str) -> Process {
    let path = folder.path().join("tidelock.toml");
    fs::write(&path, config).expect("the folder is there");
    let mut command = Command::new(TIDELOCK);
    command.arg(&path).env("XDG_RUNTIME_DIR", runtime_directory).env("NO_COLOR", "1");
    Process::spawn("tidelock", command)
}

#[tokio::test]
async fn a_socket_that_was_asked_for_is_there_or_tidelock_does_not_start() {
    let absent = Absent::bind();
    let nodes = [absent.address()];
    let mut first = Tidelock::start(TIDELOCK, &file(&nodes, ADMIN)).await;
    let socket = socket_of(&first);
    let folder = directory();
    let config = file(&nodes, &format!("[admin]\nsocket = \"{socket}\"\n"));
    let mut second = start(&folder, folder.path(), &config);
    assert_eq!(second.exit().await.code(), Some(1));
    let pid = first.process().pid();
    let words = format!("the process {pid} has the admin socket {socket}; end it, or say another");
    second.wait_for_line(|line| line.contains(&words)).await;
    assert_eq!(verb(&first, &["status"]).await.code, 0);

    fs::write(folder.path().join("file"), "").unwrap();
    let mut third = start(&folder, folder.path(), &file(&nodes, "[admin]\nsocket = \"file/admin.sock\"\n"));
    assert_eq!(third.exit().await.code(), Some(1));
    third.wait_for_line(|line| line.contains("cannot use") && line.contains("for the admin socket")).await;
}

#[tokio::test]
async fn a_socket_that_nobody_asked_for_is_no_reason_not_to_serve() {
    let origin = origin_that_says("a").await;
    let config = file(&[origin.address()], "");
    let folder = directory();
    let not_a_folder = folder.path().join("file");
    fs::write(&not_a_folder, "").unwrap();
    let proxy = start(&folder, &not_a_folder, &config);
    let address = listening(&proxy, Default::default(), 1).await[0];
    proxy.wait_for_line(|line| tells(line, "admin_absent")).await;
    assert_eq!(get(address, "/").await.text(), "a");
}

#[tokio::test]
async fn the_second_tidelock_takes_the_default_socket_when_the_first_ends() {
    let absent = Absent::bind();
    let nodes = [absent.address()];
    let mut first = Tidelock::start(TIDELOCK, &file(&nodes, "")).await;
    let folder = directory();
    let second = start(&folder, first.directory(), &file(&nodes, ""));
    second.wait_for_line(|line| tells(line, "admin_waits")).await;
    let who = async || {
        let status = run(&["status", "--json"], first.directory()).await.stdout;
        serde_json::from_str::<Value>(&status).unwrap()["pid"].clone()
    };
    let first_pid = who().await;
    assert_ne!(first_pid, second.pid());
    first.process().signal(Signal::TERM);
    assert!(first.process().exit().await.success());
    second.wait_for_line(|line| tells(line, "admin_listening")).await;
    let status = run(&["status", "--json"], first.directory()).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["pid"], second.pid());
}

#[tokio::test]
async fn whoever_speaks_http_can_ask() {
    let absent = Absent::bind();
    let nodes = [absent.address()];
    let proxy = Tidelock::start(TIDELOCK, &file(&nodes, ADMIN)).await;
    for (request, status, body) in [
        ("GET /v1/status HTTP/1.1", 200, "{\"version\":\""),
        ("GET /v1/reload HTTP/1.1", 405, "{\"event\":\"error\",\"message\":\"this takes POST\"}\n"),
        (
            "GET / HTTP/1.1",
            404,
            "{\"event\":\"error\",\"message\":\"there is GET /v1/status and /metrics, and ",
        ),
        (
            "GET /metrics HTTP/1.1",
            404,
            "{\"event\":\"error\",\"message\":\"metrics are counted where the file has `listen` ",
        ),
        ("POST /metrics HTTP/1.1", 405, "{\"event\":\"error\",\"message\":\"this takes GET\"}\n"),
        ("POST /v1/drain HTTP/1.1", 400, "{\"event\":\"error\",\"message\":\"the body is not like "),
        ("POST /v1/reload HTTP/1.1", 200, "{\"event\":\"done\",\"message\":\""),
        ("nonsense", 400, ""),
    ] {
        let mut stream = UnixStream::connect(socket_of(&proxy)).await.unwrap();
        stream.write_all(format!("{request}\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(TIMEOUT, stream.read_to_string(&mut answer)).await.expect("it ends").unwrap();
        let (head, said) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {answer}"));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(said.starts_with(body), "{request}: {answer}");
    }
}

/// However many connect and say nothing, who says something gets its turn.
#[tokio::test]
async fn silent_connections_do_not_shut_verbs_out() {
    let absent = Absent::bind();
    let proxy = Tidelock::start(TIDELOCK, &file(&[absent.address()], ADMIN)).await;
    let mut silent = Vec::new();
    // As many as it serves at once, and as many as its queue holds.
    while silent.len() < 128 + 65 {
        match UnixStream::connect(socket_of(&proxy)).await {
            Ok(stream) => silent.push(stream),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "after {}", silent.len());
                tokio::task::yield_now().await;
            }
        }
    }
    let status = verb(&proxy, &["status"]).await;
    assert_eq!((status.code, status.stderr.as_str()), (0, ""));
}

/// A socket that takes nobody is told from one that another program has left.
#[tokio::test]
async fn a_socket_that_is_too_busy_is_told_as_what_it_is() {
    let folder = directory();
    let path = folder.path().join("admin.sock");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    let _first = UnixStream::connect(&path).await.unwrap();
    let path = path.display().to_string();
    let said_no = run(&["status", "--socket", &path], folder.path()).await;
    assert_eq!(said_no.code, 1);
    let expected = format!("{path} (too many others wait there to be let in; try again)");
    assert!(said_no.stderr.contains(&expected), "{said_no:?}");
}
