//! Goal: the verbs do what they say and say what they do; a reload changes what it should and disturbs nothing else.
//! Method: the real binary twice, once as the proxy and once as the verb; raw connections on both of the proxy's ends.

mod ready;
mod socket;
mod verbs;

use std::net::SocketAddr;
use std::path::Path;

use testkit::TIMEOUT;
use testkit::origin::{Origin, ScriptedOrigin};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;
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
    let output = timeout(TIMEOUT, command.output()).await.expect("the verb does not end");
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
