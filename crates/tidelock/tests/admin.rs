//! Goal: the verbs do what they say and say what they do; a reload changes what it should and disturbs nothing else.
//! Method: the real binary twice, once as the proxy and once as the verb; raw connections on both of the proxy's ends.

use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;
use testkit::PATIENCE;
use testkit::certificates::Authority;
use testkit::origin::{Absent, Origin, ScriptedOrigin, Step};
use testkit::process::{Process, Signal};
use testkit::raw::{RawConnection, get};
use testkit::tidelock::{Tidelock, directory, listening};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;
use tokio::time::timeout;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
/// Without one every check has a note about it.
const SECRET: &str = "0123456789abcdef0123456789abcdef";
const LISTEN: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
const ADMIN: &str = "[admin]\nsocket = \"admin.sock\"\n";
const NOT_APPLIED: &str = "the file was not applied; tidelock goes on with what it had\n";

/// A file with an upstream `nodes` that every request goes to, and `more`.
fn file(nodes: &[SocketAddr], more: &str) -> String {
    let nodes: Vec<String> = nodes.iter().map(SocketAddr::to_string).collect();
    format!(
        "sticky_secret = \"{SECRET}\"\n{LISTEN}[[route]]\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = {nodes:?}\n{more}"
    )
}

async fn origin_that_says(text: &str) -> ScriptedOrigin {
    let length = text.len();
    ScriptedOrigin::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}")).await
}

/// What a verb printed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn run(arguments: &[&str], runtime_directory: &Path) -> Said {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", runtime_directory).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("the verb does not end");
    let output = output.expect("tidelock can be run");
    Said {
        code: output.status.code().expect("the verb was not killed"),
        stdout: String::from_utf8(output.stdout).expect("it prints text"),
        stderr: String::from_utf8(output.stderr).expect("it prints text"),
    }
}

/// Runs a verb against a proxy whose file has [`ADMIN`].
async fn verb(proxy: &Tidelock, arguments: &[&str]) -> Said {
    let socket = socket_of(proxy);
    run(&[arguments, &["--socket", &socket]].concat(), proxy.directory()).await
}

fn socket_of(proxy: &Tidelock) -> String {
    proxy.directory().join("admin.sock").display().to_string()
}

fn said(code: i32, stdout: &str, stderr: &str) -> Said {
    Said { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

fn applied(proxy: &Tidelock, lines: &str) -> Said {
    said(0, &format!("{}: applied\n{lines}\n", proxy.file().display()), "")
}

/// A WebSocket through the proxy, and its other end.
struct Tunnel {
    client: RawConnection,
    origin: RawConnection,
}

impl Tunnel {
    async fn open(proxy: &Tidelock, origin: &Origin) -> Self {
        let mut client = RawConnection::connect(proxy.address()).await;
        client
            .send(
                "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .await;
        let mut origin = origin.accept().await;
        origin.read_head().await;
        origin
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )
            .await;
        assert_eq!(client.read_head().await.status(), 101);
        Self { client, origin }
    }

    /// A message goes through it each way.
    async fn is_alive(&mut self) {
        self.client.send(b"\x81\x82\0\0\0\0hi").await;
        assert_eq!(self.origin.read_exactly(8).await, b"\x81\x82\0\0\0\0hi");
        self.origin.send(b"\x81\x03you").await;
        assert_eq!(self.client.read_exactly(5).await, b"\x81\x03you");
    }

    /// The client is told to come back, says goodbye, and so does the origin.
    async fn is_closed_with(&mut self, code: u16) {
        let close = self.client.read_exactly(4).await;
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, code));
        self.client.read_exactly(usize::from(close[1]) - 2).await;
        let [high, low] = code.to_be_bytes();
        self.client.send([0x88, 0x82, 0, 0, 0, 0, high, low]).await;
        let passed_on = self.origin.read_exactly(8).await;
        assert_eq!(passed_on[0], 0x88);
        self.origin.send([0x88, 2, high, low]).await;
    }
}

#[tokio::test]
async fn status_shows_every_node() {
    let (origin, gone) = (origin_that_says("a").await, Absent::bind());
    let nodes = [origin.address(), gone.address()];
    // One worker asks the nodes in turn.
    let mut proxy = Tidelock::start(TIDELOCK, &format!("workers = 1\n{}", file(&nodes, ADMIN))).await;
    for _ in 0..2 {
        assert_eq!(get(proxy.address(), "/").await.status(), 200);
    }
    let said = verb(&proxy, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!((said.code, &*said.stderr), (0, ""));
    assert_eq!(status["pid"], proxy.process().pid());
    assert_eq!(status["leaving"], false);
    assert_eq!(status["upstreams"][0]["name"], "nodes");
    let shown = &status["upstreams"][0]["nodes"];
    assert_eq!((&shown[0]["node"], &shown[0]["state"]), (&nodes[0].to_string().into(), &"up".into()));
    assert_eq!((&shown[1]["node"], &shown[1]["state"]), (&nodes[1].to_string().into(), &"down".into()));
    for count in ["sessions", "tunnels", "in_flight"] {
        assert_eq!(shown[0][count], 0, "{count}: {status}");
    }
    let exchanges: u64 =
        status["workers"].as_array().unwrap().iter().filter_map(|worker| worker["exchanges"].as_u64()).sum();
    assert_eq!(exchanges, 2);

    let table = verb(&proxy, &["status"]).await;
    let lines: Vec<Vec<&str>> = table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table.code, 0);
    assert_eq!(lines[2][..4], ["UPSTREAM", "NODE", "STATE", "CAUSE"], "{table:?}");
    assert_eq!(lines[3][..3], ["nodes", &*nodes[0].to_string(), "up"], "{table:?}");
    assert_eq!(lines[4][..3], ["nodes", &*nodes[1].to_string(), "down"], "{table:?}");
}

#[tokio::test]
async fn a_reload_touches_only_what_the_file_changes() {
    let (held, other, late) =
        (Origin::bind().await, origin_that_says("other").await, origin_that_says("late").await);
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folder = directory();
    let _ = old.issue(&["localhost"]).write(folder.path(), "site");
    // The node that comes is to get the next session, and not only its share of those that follow.
    let at_once = "[upstream.nodes.health]\nslow_start = \"0s\"\n";
    let tls = format!("{at_once}{LISTEN}tls = {{ certificate = \"site.pem\", key = \"site.key\" }}\n{ADMIN}");
    let held_node = held.address();
    let mut proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[held_node], &tls)).await;
    let mut tunnel = Tunnel::open(&proxy, &held).await;
    tunnel.is_alive().await;
    let secure = proxy.addresses()[1];
    assert!(RawConnection::connect_tls(secure, "localhost", old.client(&[])).await.is_ok());

    // A listen, a route, an upstream, a node and a certificate come.
    let _ = new.issue(&["localhost"]).write(proxy.directory(), "site");
    let route = format!(
        "[[route]]\npath = \"/other\"\nupstream = \"other\"\n[upstream.other]\nnodes = [\"{}\"]\n",
        other.address(),
    );
    let nodes = [held_node, late.address()];
    let mark = proxy.process().mark();
    proxy.rewrite(&file(&nodes, &format!("{tls}{route}{LISTEN}")));
    let expected = format!(
        "listen + 127.0.0.1:0 (http)\nupstream + other ({})\nupstream nodes: + {}\nchanged: routes",
        other.address(),
        late.address(),
    );
    assert_eq!(verb(&proxy, &["reload"]).await, applied(&proxy, &expected));
    let added = listening(proxy.process(), mark, 1).await[0];
    assert_eq!(get(added, "/other").await.text(), "other");
    assert_eq!(get(proxy.address(), "/other").await.text(), "other");
    // The other node has a session already, so that this one begins on the new node.
    assert_eq!(get(proxy.address(), "/socket.io/?EIO=4&transport=polling").await.text(), "late");
    assert!(RawConnection::connect_tls(secure, "localhost", new.client(&[])).await.is_ok());
    assert!(RawConnection::connect_tls(secure, "localhost", old.client(&[])).await.is_err());
    tunnel.is_alive().await;

    // All of them go.
    proxy.rewrite(&file(&[held_node], &tls));
    let expected = format!(
        "listen - 127.0.0.1:0 (http)\nupstream - other ({})\nupstream nodes: - {}\nchanged: routes",
        other.address(),
        late.address(),
    );
    assert_eq!(verb(&proxy, &["reload"]).await, applied(&proxy, &expected));
    assert!(TcpStream::connect(added).await.is_err(), "nobody listens there any more");
    tunnel.is_alive().await;

    // The tunnel's own node goes, and the tunnel politely with it.
    proxy.rewrite(&file(&[late.address()], &format!("{tls}[drain]\nwindow = \"0s\"\n")));
    let reloaded = verb(&proxy, &["reload"]).await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    tunnel.is_closed_with(1012).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "late");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told_as_check_tells_it() {
    let origin = origin_that_says("a").await;
    let good = file(&[origin.address()], ADMIN);
    let mut proxy = Tidelock::start(TIDELOCK, &good).await;
    let broken = "[[listen]]\nadress = \":80\"\n[[route]]\nupstream = \"nobody\"\n";
    proxy.rewrite(broken);
    let path = proxy.file().display().to_string();
    let check = run(&["check", &path], proxy.directory()).await;
    assert_eq!(check.code, 1);
    assert!(check.stdout.contains("adress") && check.stdout.contains("nobody"), "{check:?}");
    let mark = proxy.process().mark();
    let reload = verb(&proxy, &["reload"]).await;
    assert_eq!(reload, said(1, "", &format!("{}{NOT_APPLIED}", check.stdout)));
    // The same is on the proxy's own standard error.
    proxy.process().wait_for_lines_since(mark, 1, |line| line.ends_with(NOT_APPLIED.trim_end())).await;
    let printed = proxy.process().lines_since(mark).join("\n");
    assert!(printed.contains(check.stdout.trim_end()), "{printed}");
    assert_eq!(get(proxy.address(), "/").await.text(), "a");

    // A certificate that does not fit its key is found before anything is changed.
    let wrong = Authority::new("ca").issue_with_wrong_key(&["localhost"]);
    let _ = wrong.write(proxy.directory(), "site");
    let tls = "tls = { certificate = \"site.pem\", key = \"site.key\" }\n";
    proxy.rewrite(&format!("{good}{LISTEN}{tls}"));
    let check = run(&["check", &path], proxy.directory()).await;
    let reload = verb(&proxy, &["reload"]).await;
    assert_eq!(reload, said(1, "", &format!("{}{NOT_APPLIED}", check.stdout)));
    assert_eq!(get(proxy.address(), "/").await.text(), "a");

    proxy.rewrite(&good);
    let nothing = format!("{path}: nothing changed; certificates were read again\n");
    assert_eq!(verb(&proxy, &["reload"]).await, said(0, &nothing, ""));
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let absent = Absent::bind();
    let nodes = [absent.address()];
    let proxy = Tidelock::start(TIDELOCK, &file(&nodes, ADMIN)).await;
    proxy.rewrite(&format!("workers = 3\n{}", file(&nodes, "[admin]\nsocket = \"other.sock\"\n")));
    let expected = applied(&proxy, "needs a restart: workers, admin.socket");
    assert_eq!(verb(&proxy, &["reload"]).await, expected);
}

#[tokio::test]
async fn sighup_reloads() {
    let (before, after) = (origin_that_says("before").await, origin_that_says("after").await);
    let mut proxy = Tidelock::start(TIDELOCK, &file(&[before.address()], ADMIN)).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "before");
    proxy.rewrite(&file(&[after.address()], ADMIN));
    let mark = proxy.process().mark();
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| line.contains("reloaded")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "after");
}

#[tokio::test]
async fn a_watched_file_is_applied_when_it_is_replaced() {
    let texts = ["a", "b", "c", "d"];
    let mut origins = Vec::new();
    for text in texts {
        origins.push(origin_that_says(text).await);
    }
    let watched = |index: usize| {
        let more = format!("{ADMIN}watch = true\n");
        file(&[origins[index].address()], &more)
    };
    // As Kubernetes has it: the file is a link through a link, and the second one is replaced.
    let folder = directory();
    for version in ["1", "2"] {
        fs::create_dir(folder.path().join(version)).unwrap();
    }
    symlink("1", folder.path().join("..data")).unwrap();
    symlink("..data/tidelock.toml", folder.path().join("tidelock.toml")).unwrap();
    let mut proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[origins[0].address()], ADMIN)).await;
    // The file itself says that it is watched, from the reload on that a person asked for.
    fs::write(proxy.file(), watched(0)).unwrap();
    assert_eq!(verb(&proxy, &["reload"]).await, applied(&proxy, "changed: admin.watch"));
    assert_eq!(get(proxy.address(), "/").await.text(), "a");

    let mark = proxy.process().mark();
    let inside = |name: &str| proxy.directory().join(name);
    fs::write(inside("2/tidelock.toml"), watched(1)).unwrap();
    symlink("2", inside("..next")).unwrap();
    fs::rename(inside("..next"), inside("..data")).unwrap();
    proxy.process().wait_for_lines_since(mark, 1, |line| line.contains("reloaded")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "b");

    // As an editor does it, with a mistake first.
    let mark = proxy.process().mark();
    proxy.rewrite("nonsense");
    proxy.process().wait_for_lines_since(mark, 1, |line| line.ends_with(NOT_APPLIED.trim_end())).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "b");
    let mark = proxy.process().mark();
    proxy.rewrite(&watched(2));
    proxy.process().wait_for_lines_since(mark, 1, |line| line.contains("reloaded")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "c");

    // As a shell does it, in place.
    let mark = proxy.process().mark();
    fs::write(proxy.file(), watched(3)).unwrap();
    proxy.process().wait_for_lines_since(mark, 1, |line| line.contains("reloaded")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "d");
}

#[tokio::test]
async fn a_drain_waits_until_the_node_is_empty() {
    let (held, other) = (Origin::bind().await, origin_that_says("other").await);
    let node = held.address();
    let nodes = [node, other.address()];
    let more = format!("{ADMIN}[drain]\nwindow = \"0s\"\n");
    let proxy = Tidelock::start(TIDELOCK, &file(&nodes, &more)).await;
    let mut tunnel = Tunnel::open(&proxy, &held).await;
    tunnel.is_alive().await;

    let mut command = Command::new(TIDELOCK);
    command.args(["drain", &node.to_string(), "--socket", &socket_of(&proxy)]);
    let mut drain = Process::spawn("drain", command);
    drain.wait_for_line(|line| *line == format!("1 left (nodes/{node}: 1)")).await;
    tunnel.is_closed_with(1012).await;
    drop(tunnel);
    let empty = format!("nodes/{node}: empty, with nothing new until `tidelock undrain`");
    drain.wait_for_line(|line| line == empty).await;
    assert_eq!(drain.exit().await.code(), Some(0));

    let table = verb(&proxy, &["status"]).await;
    assert!(table.stdout.contains("up, draining"), "{table:?}");
    for _ in 0..4 {
        assert_eq!(get(proxy.address(), "/").await.text(), "other");
    }
    // One that is empty already is at once.
    assert_eq!(verb(&proxy, &["drain", &format!("nodes/{node}")]).await.stdout, format!("{empty}\n"));

    let expected = said(0, &format!("nodes/{node}: taking part again\n"), "");
    assert_eq!(verb(&proxy, &["undrain", &node.to_string()]).await, expected);
    let table = verb(&proxy, &["status"]).await;
    assert!(!table.stdout.contains("draining"), "{table:?}");
    assert_eq!(verb(&proxy, &["drain", &other.address().to_string()]).await.code, 0);
    Tunnel::open(&proxy, &held).await.is_alive().await;
}

#[tokio::test]
async fn a_drain_that_does_not_end_in_time_fails() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let node = origin.address();
    let more = format!("{ADMIN}[drain]\ndeadline = \"0s\"\n");
    let proxy = Tidelock::start(TIDELOCK, &file(&[node], &more)).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.until_requests(1).await;
    let expected = said(0, &format!("nodes/{node}: draining, 1 left\n"), "");
    assert_eq!(verb(&proxy, &["drain", "nodes", "--no-wait"]).await, expected);
    let late = format!(
        "nodes/{node}: 1 request under way left after 0ns, the drain.deadline; nothing new comes. To wait on, say \
         `tidelock drain nodes/{node}` again; what still runs when the node is stopped is cut\n"
    );
    let expected = said(1, "", &format!("1 left (nodes/{node}: 1)\n{late}"));
    assert_eq!(verb(&proxy, &["drain", "nodes"]).await, expected);
}

#[tokio::test]
async fn whoever_waits_for_a_drain_hears_that_it_was_called_off() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let node = origin.address();
    let proxy = Tidelock::start(TIDELOCK, &file(&[node], ADMIN)).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.until_requests(1).await;
    let mut command = Command::new(TIDELOCK);
    command.args(["drain", "nodes", "--socket", &socket_of(&proxy)]);
    let mut drain = Process::spawn("drain", command);
    drain.wait_for_line(|line| line.starts_with("1 left")).await;
    assert_eq!(verb(&proxy, &["undrain", "nodes"]).await.code, 0);
    drain
        .wait_for_line(|line| {
            *line == format!("nodes/{node}: told to take part again, 1 request under way left")
        })
        .await;
    assert_eq!(drain.exit().await.code(), Some(1));
}

#[tokio::test]
async fn one_that_leaves_is_still_looked_at() {
    let answer = Step::send("HTTP/1.1 204 No Content\r\n\r\n");
    let origin = ScriptedOrigin::start(move |_| vec![Step::Hold, answer.clone()]).await;
    let mut proxy = Tidelock::start(TIDELOCK, &file(&[origin.address()], ADMIN)).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.until_requests(1).await;
    proxy.process().signal(Signal::TERM);
    proxy.process().wait_for_line(|line| line.contains("leaving: ")).await;
    let status: Value = serde_json::from_str(&verb(&proxy, &["status", "--json"]).await.stdout).unwrap();
    assert_eq!(
        (&status["leaving"], &status["upstreams"][0]["nodes"][0]["in_flight"]),
        (&true.into(), &1.into())
    );
    let refused = said(1, "", "tidelock is leaving, and reads no file any more\n");
    assert_eq!(verb(&proxy, &["reload"]).await, refused);
    origin.release();
    assert_eq!(client.read_message().await.status(), 204);
    assert!(proxy.process().exit().await.success());
}

#[tokio::test]
async fn an_unknown_node_is_told_what_there_is() {
    let (a, b) = (Absent::bind(), Absent::bind());
    let nodes = [a.address(), b.address()];
    let proxy = Tidelock::start(TIDELOCK, &file(&nodes, ADMIN)).await;
    let expected = said(
        1,
        "",
        &format!("no node or upstream is called c; there is nodes, {}, {}\n", nodes[0], nodes[1]),
    );
    assert_eq!(verb(&proxy, &["drain", "c"]).await, expected);
    assert_eq!(verb(&proxy, &["undrain", "c"]).await, expected);
}

#[tokio::test]
async fn a_verb_that_nobody_answers_fails() {
    let folder = directory();
    let path = folder.path().join("none.sock").display().to_string();
    let expected =
        said(1, "", &format!("no tidelock answers at {path} (nothing is there); is it running?\n"));
    for arguments in [&["reload"] as &[_], &["drain", "a"], &["undrain", "a"], &["status"]] {
        assert_eq!(run(&[arguments, &["--socket", &path]].concat(), folder.path()).await, expected);
    }
    let wrong = run(&["drain"], folder.path()).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

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
    proxy.wait_for_line(|line| line.contains("WARN no verb can reach this tidelock")).await;
    assert_eq!(get(address, "/").await.text(), "a");
}

#[tokio::test]
async fn the_second_tidelock_takes_the_default_socket_when_the_first_ends() {
    let absent = Absent::bind();
    let nodes = [absent.address()];
    let mut first = Tidelock::start(TIDELOCK, &file(&nodes, "")).await;
    let folder = directory();
    let second = start(&folder, first.directory(), &file(&nodes, ""));
    second.wait_for_line(|line| line.contains("until the other one ends")).await;
    let who = async || {
        let status = run(&["status", "--json"], first.directory()).await.stdout;
        serde_json::from_str::<Value>(&status).unwrap()["pid"].clone()
    };
    let first_pid = who().await;
    assert_ne!(first_pid, second.pid());
    first.process().signal(Signal::TERM);
    assert!(first.process().exit().await.success());
    second.wait_for_line(|line| line.contains("verbs are taken")).await;
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
        ("GET / HTTP/1.1", 404, "{\"event\":\"error\",\"message\":\"there is GET /v1/status, and "),
        ("POST /v1/drain HTTP/1.1", 400, "{\"event\":\"error\",\"message\":\"the body is not like "),
        ("POST /v1/reload HTTP/1.1", 200, "{\"event\":\"done\",\"message\":\""),
        ("nonsense", 400, ""),
    ] {
        let mut stream = UnixStream::connect(socket_of(&proxy)).await.unwrap();
        stream.write_all(format!("{request}\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("it ends").unwrap();
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

/// What would wait for a writer, or never end, is refused before it is read.
#[tokio::test]
async fn check_reads_regular_files_only() {
    let folder = directory();
    let fifo = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let path = fifo.display().to_string();
    for (path, what) in [(path.as_str(), "a FIFO"), ("/dev/zero", "a device")] {
        let said_no = run(&["check", path], folder.path()).await;
        let expected = format!("the file cannot be read: it is {what}, and no regular file");
        assert!(said_no.code == 1 && said_no.stdout.contains(&expected), "{said_no:?}");
    }
    let with_fifo = format!("{LISTEN}tls = {{ certificate = \"fifo\", key = \"fifo\" }}\n");
    let config = file(&[Absent::bind().address()], "").replace(LISTEN, &with_fifo);
    let path = folder.path().join("tidelock.toml");
    fs::write(&path, config).unwrap();
    let said_no = run(&["check", &path.display().to_string()], folder.path()).await;
    assert!(said_no.code == 1 && said_no.stdout.contains("is a FIFO, and no regular file"), "{said_no:?}");
}

/// The kernel had let them in when the listen was still there. A stopped process accepts nothing, and meets the changed
/// file and its full queues at once when it goes on.
#[tokio::test]
async fn who_waits_at_a_listen_that_is_removed_is_answered() {
    for workers in [1, 4] {
        let origin = origin_that_says("a").await;
        let two = format!("{LISTEN}{LISTEN}");
        let config = |listens: &str| {
            let config = file(&[origin.address()], ADMIN).replace(LISTEN, listens);
            format!("workers = {workers}\n{config}")
        };
        let mut proxy = Tidelock::start(TIDELOCK, &config(&two)).await;
        let (stays, goes) = (proxy.addresses()[0], proxy.addresses()[1]);
        proxy.rewrite(&config(LISTEN));
        proxy.process().signal(Signal::STOP);
        let mut clients = Vec::new();
        for number in 0..40 {
            let mut client = RawConnection::connect(goes).await;
            // Whoever has given up meanwhile is no reason to send away the others.
            if number % 8 == 0 {
                client.reset();
                continue;
            }
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            clients.push(client);
        }
        proxy.process().signal(Signal::HUP);
        proxy.process().signal(Signal::CONT);
        for mut client in clients {
            assert_eq!(client.read_message().await.text(), "a");
        }
        proxy.process().wait_for_line(|line| line.contains("listens no more")).await;
        assert!(RawConnection::try_connect(goes).await.is_err());
        assert_eq!(get(stays, "/").await.text(), "a");
    }
}
