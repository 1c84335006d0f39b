//! Two nodes that write down what reaches them, a proxy in front of them, and sessions of every kind on both.

use std::path::Path;

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::engineio::PollingSession;
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;
use tokio::process::Command;
use tokio::time::timeout;

/// Two nodes and the proxy in front of them.
pub(crate) struct Stand {
    pub(crate) a: ScriptedOrigin,
    pub(crate) b: ScriptedOrigin,
    pub(crate) proxy: Tidelock,
}

/// [`EACH`] sessions of each kind on each node.
pub(crate) struct Crowd {
    pub(crate) tunnels: Vec<Tunnel>,
    pub(crate) polling: Vec<PollingSession>,
}

impl Crowd {
    /// The tunnels to node A.
    pub(crate) fn of_a(&mut self) -> impl Iterator<Item = &mut Tunnel> {
        self.tunnels.iter_mut().filter(|tunnel| tunnel.node == b'a')
    }
}

/// A WebSocket, and the name of the node at its other end.
pub(crate) struct Tunnel {
    client: RawConnection,
    pub(crate) node: u8,
}

impl Tunnel {
    pub(crate) async fn open(proxy: &Tidelock) -> Self {
        Self::try_open(proxy).await.unwrap_or_else(|answer| panic!("no WebSocket: {}", answer.start))
    }

    /// Or the answer that says why not.
    pub(crate) async fn try_open(proxy: &Tidelock) -> Result<Self, Message> {
        let mut client = RawConnection::connect(proxy.address()).await;
        client
            .send(
                "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .await;
        let answer = client.read_head().await;
        if answer.status() != 101 {
            return Err(answer);
        }
        let hello = client.read_exactly(3).await;
        Ok(Self { client, node: hello[2] })
    }

    /// Whether nothing was said to its client yet.
    pub(crate) fn is_quiet(&self) -> bool {
        self.client.is_quiet()
    }

    /// Its client leaves without a word.
    pub(crate) async fn leave(mut self) {
        self.client.half_close().await;
        self.client.read_to_end().await;
    }

    /// Its connection ends, whatever was said before.
    pub(crate) async fn until_over(mut self) {
        self.client.read_to_end().await;
    }

    /// It is told to come back, and answers.
    pub(crate) async fn is_told(&mut self) {
        let close = self.client.read_exactly(4).await;
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1012));
        self.client.send([&[0x88, 0x82, 0, 0, 0, 0], 1012_u16.to_be_bytes().as_slice()].concat()).await;
        self.client.half_close().await;
    }
}

impl Stand {
    pub(crate) async fn new(more: &str) -> Self {
        let (a, b) = (node("a").await, node("b").await);
        let entry = format!("\"{}\"", a.address());
        let proxy =
            Tidelock::start(TIDELOCK, &file_of(&[&entry, &format!("\"{}\"", b.address())], SECRET, more))
                .await;
        Self { a, b, proxy }
    }

    /// Reloads with another word on node A.
    pub(crate) async fn change(&self, (name, secret, entry): (&str, &str, &str), more: &str) {
        let address = self.a.address();
        // Another spelling of the same loopback address.
        let spelt = format!("localhost:{}", address.port());
        let entry = entry.replace("{a}", &address.to_string()).replace("{spelt}", &spelt);
        let other = format!("\"{}\"", self.b.address());
        self.proxy.rewrite(&file_of(&[&entry, &other], secret, more));
        let said = self.verb(&["reload"]).await;
        assert_eq!(said.0, 0, "{name}: {}", said.1);
    }

    pub(crate) async fn verb(&self, arguments: &[&str]) -> (i32, String) {
        verb(self.proxy.directory(), arguments).await
    }

    pub(crate) async fn crowd(&self) -> Crowd {
        let mut crowd = Crowd { tunnels: Vec::new(), polling: Vec::new() };
        for _ in 0..2 * EACH {
            crowd.tunnels.push(Tunnel::open(&self.proxy).await);
        }
        for query in ["EIO=4", "EIO=3", "EIO=3&j=0"] {
            for _ in 0..2 * EACH {
                let session = PollingSession::open(self.proxy.address(), query).await;
                assert_eq!(session.poll().await.status(), 200);
                crowd.polling.push(session);
            }
        }
        crowd
    }

    /// A node's line of the status.
    pub(crate) async fn status_of(&self, node: &ScriptedOrigin) -> Value {
        let (_, text) = self.verb(&["status", "--json"]).await;
        let status: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let nodes = status["upstreams"][0]["nodes"].as_array().expect("nodes").clone();
        let address = node.address().to_string();
        let found: Vec<_> = nodes.iter().filter(|seen| seen["address"] == address.as_str()).collect();
        assert_eq!(found.len(), 1, "one line a node: {nodes:#?}");
        found[0].clone()
    }
}

pub(crate) const SECRET: &str = "sticky_secret = \"0123456789abcdef0123456789abcdef\"";

pub(crate) const EACH: usize = 3;

pub(crate) fn file_of(nodes: &[&str], secret: &str, more: &str) -> String {
    format!(
        "{secret}\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [{}]\n{more}[drain]\nwindow = \"0s\"\ndeadline = \"20s\"\n",
        nodes.join(", ")
    )
}

/// A node that opens sessions, answers their polls, takes their posts, and says its name through every WebSocket.
pub(crate) async fn node(name: &'static str) -> ScriptedOrigin {
    let mut sessions = 0;
    ScriptedOrigin::start(move |request: &Message| {
        if request.header("upgrade").is_some() {
            let hello = [b"\x81\x01", name.as_bytes()].concat();
            return vec![Step::send(SWITCHED), Step::Send(hello), Step::Echo];
        }
        let target = request.start.split(' ').nth(1).unwrap_or_default();
        let body = if target.starts_with("/echo") {
            format!("you asked for {target}")
        } else if target.contains("sid=") {
            if request.start.starts_with("POST") { "ok".to_owned() } else { "6".to_owned() }
        } else {
            sessions += 1;
            open_packet(&format!("session-{name}-{sessions:08}"), target)
        };
        let length = body.len();
        vec![Step::send(&format!(
            "HTTP/1.1 200 OK\r\nX-Node: {name}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))]
    })
    .await
}

pub(crate) async fn verb(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", directory).kill_on_drop(true);
    let output =
        timeout(TIMEOUT, command.output()).await.expect("the verb ends").expect("the binary can be run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it was not killed"), String::from_utf8_lossy(&text).into_owned())
}

pub(crate) const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

pub(crate) const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// The answer to a handshake at `target`.
pub(crate) fn open_packet(sid: &str, target: &str) -> String {
    let open = format!(r#"0{{"sid":"{sid}","upgrades":[],"pingInterval":25000,"pingTimeout":20000}}"#);
    let payload = if target.contains("EIO=4") { open } else { format!("{}:{open}", open.len()) };
    match target.split_once("j=") {
        Some((_, script)) => {
            let digits: String = script.chars().take_while(char::is_ascii_digit).collect();
            format!("___eio[{digits}](\"{}\");", payload.replace('"', "\\\""))
        }
        None => payload,
    }
}
