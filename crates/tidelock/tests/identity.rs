//! Goal: whatever a reload says of a node, it stays the node that it was: what is on it is counted, bounded, drained and
//! found again. Method: for each kind of change, sessions of each kind on two nodes, a reload with that change, and then
//! the questions that people ask; the nodes write down what reaches them.

use std::path::Path;

use serde_json::Value;
use testkit::PATIENCE;
use testkit::engineio::PollingSession;
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::{RawConnection, get};
use testkit::tidelock::Tidelock;
use tokio::process::Command;
use tokio::time::timeout;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// What a reload changes about node A. `{a}` is its address.
const CHANGES: [(&str, &str, &str); 6] = [
    ("weight", SECRET, r#"{ address = "{a}", weight = 2 }"#),
    ("bounds", SECRET, r#"{ address = "{a}", max_connections = 100, max_sessions = 100 }"#),
    ("backup", SECRET, r#"{ address = "{a}", backup = true }"#),
    ("spelling", SECRET, r#""{spelt}""#),
    ("secret", NEW_SECRET, r#""{a}""#),
    ("everything", NEW_SECRET, r#"{ address = "{spelt}", weight = 3, max_sessions = 50 }"#),
];
const SECRET: &str = "sticky_secret = \"0123456789abcdef0123456789abcdef\"";
/// The old one is still believed.
const NEW_SECRET: &str =
    "sticky_secret = [\"another secret of 32 bytes or more\", \"0123456789abcdef0123456789abcdef\"]";

/// Two nodes and the proxy in front of them.
struct Stand {
    a: ScriptedOrigin,
    b: ScriptedOrigin,
    proxy: Tidelock,
}

/// [`EACH`] sessions of each kind on each node.
struct Crowd {
    tunnels: Vec<Tunnel>,
    polling: Vec<PollingSession>,
}

impl Crowd {
    /// The tunnels to node A.
    fn of_a(&mut self) -> impl Iterator<Item = &mut Tunnel> {
        self.tunnels.iter_mut().filter(|tunnel| tunnel.node == b'a')
    }
}

/// A WebSocket, and the name of the node at its other end.
struct Tunnel {
    client: RawConnection,
    node: u8,
}

impl Tunnel {
    async fn open(proxy: &Tidelock) -> Self {
        let mut client = RawConnection::connect(proxy.address()).await;
        client
            .send(
                "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            )
            .await;
        assert_eq!(client.read_head().await.status(), 101);
        let hello = client.read_exactly(3).await;
        Self { client, node: hello[2] }
    }

    /// It is told to come back, and answers.
    async fn is_told(&mut self) {
        let close = self.client.read_exactly(4).await;
        assert_eq!((close[0], u16::from_be_bytes([close[2], close[3]])), (0x88, 1012));
        self.client.send([&[0x88, 0x82, 0, 0, 0, 0], 1012_u16.to_be_bytes().as_slice()].concat()).await;
    }
}

impl Stand {
    async fn new(more: &str) -> Self {
        let (a, b) = (node("a").await, node("b").await);
        let entry = format!("\"{}\"", a.address());
        let proxy =
            Tidelock::start(TIDELOCK, &file_of(&[&entry, &format!("\"{}\"", b.address())], SECRET, more))
                .await;
        Self { a, b, proxy }
    }

    /// Reloads with another word on node A.
    async fn change(&self, (name, secret, entry): (&str, &str, &str), more: &str) {
        let address = self.a.address();
        // Another spelling of the same loopback address.
        let spelt = format!("localhost:{}", address.port());
        let entry = entry.replace("{a}", &address.to_string()).replace("{spelt}", &spelt);
        let other = format!("\"{}\"", self.b.address());
        self.proxy.rewrite(&file_of(&[&entry, &other], secret, more));
        let said = self.verb(&["reload"]).await;
        assert_eq!(said.0, 0, "{name}: {}", said.1);
    }

    async fn verb(&self, arguments: &[&str]) -> (i32, String) {
        verb(self.proxy.directory(), arguments).await
    }

    async fn crowd(&self) -> Crowd {
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
    async fn status_of(&self, node: &ScriptedOrigin) -> Value {
        let (_, text) = self.verb(&["status", "--json"]).await;
        let status: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        let nodes = status["upstreams"][0]["nodes"].as_array().expect("nodes").clone();
        let address = node.address().to_string();
        let found: Vec<_> = nodes.iter().filter(|seen| seen["address"] == address.as_str()).collect();
        assert_eq!(found.len(), 1, "one line a node: {nodes:#?}");
        found[0].clone()
    }
}

#[tokio::test]
async fn whatever_is_said_of_a_node_it_stays_the_one_it_was() {
    for change in CHANGES {
        let name = change.0;
        let stand = Stand::new("").await;
        let mut crowd = stand.crowd().await;
        let before = stand.status_of(&stand.a).await;
        assert_eq!((&before["sessions"], &before["tunnels"]), (&(4 * EACH).into(), &EACH.into()), "{name}");
        stand.change(change, "").await;

        // What is on it is counted, and nothing of its past is forgotten.
        let after = stand.status_of(&stand.a).await;
        for what in ["sessions", "tunnels", "state", "cause"] {
            assert_eq!(after[what], before[what], "{name}: {what}");
        }
        // Every id leads where it did.
        for session in &crowd.polling {
            let answer = session.poll().await;
            assert_eq!(
                (answer.status(), answer.header("x-node")),
                (200, session.handshake.header("x-node")),
                "{name}"
            );
        }
        // A drain waits for what is there, and tells it.
        let node = stand.a.address().to_string();
        let telling = async {
            for tunnel in crowd.of_a() {
                tunnel.is_told().await;
            }
        };
        let ((code, said), ()) = tokio::join!(async { stand.verb(&["drain", &node]).await }, telling);
        assert!(code == 0 && said.contains("empty"), "{name}: {said}");
        let left = stand.status_of(&stand.a).await;
        assert_eq!((&left["sessions"], &left["tunnels"]), (&0.into(), &0.into()), "{name}");
    }
}

#[tokio::test]
async fn a_node_that_a_reload_takes_out_after_a_change_is_drained() {
    for change in CHANGES {
        let stand = Stand::new("").await;
        let mut crowd = stand.crowd().await;
        stand.change(change, "").await;
        // Out of the file altogether.
        let only_b = format!("\"{}\"", stand.b.address());
        stand.proxy.rewrite(&file_of(&[&only_b], change.1, ""));
        assert_eq!(stand.verb(&["reload"]).await.0, 0);
        assert_eq!(crowd.of_a().count(), EACH, "{}", change.0);
        for tunnel in crowd.of_a() {
            tunnel.is_told().await;
        }
    }
}

#[tokio::test]
async fn bounds_that_a_reload_brings_count_what_is_there() {
    let stand = Stand::new("").await;
    let _crowd = stand.crowd().await;
    // Both nodes carry as much as they may from now on.
    let bounds = 4 * EACH;
    let entry =
        |node: &ScriptedOrigin| format!("{{ address = \"{}\", max_sessions = {bounds} }}", node.address());
    stand.proxy.rewrite(&file_of(&[&entry(&stand.a), &entry(&stand.b)], SECRET, "full_wait = \"0s\"\n"));
    let (code, said) = stand.verb(&["reload"]).await;
    assert_eq!(code, 0, "{said}");
    let answer = get(stand.proxy.address(), "/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(answer.status(), 503, "{}", answer.text());
}

#[tokio::test]
async fn new_sessions_are_spread_evenly_after_a_change() {
    let stand = Stand::new("").await;
    let _crowd = stand.crowd().await;
    stand.change(CHANGES[3], "").await;
    for _ in 0..2 * EACH {
        PollingSession::open(stand.proxy.address(), "EIO=4").await;
    }
    let (a, b) = (stand.status_of(&stand.a).await, stand.status_of(&stand.b).await);
    assert_eq!((&a["sessions"], &b["sessions"]), (&(5 * EACH).into(), &(5 * EACH).into()));
}

#[tokio::test]
async fn a_drain_that_follows_an_undrain_at_once_counts() {
    let stand = Stand::new("").await;
    let node = stand.a.address().to_string();
    let mut crowd = stand.crowd().await;
    let telling = async {
        for tunnel in crowd.of_a() {
            tunnel.is_told().await;
        }
    };
    let draining = async {
        for _ in 0..5 {
            assert_eq!(stand.verb(&["drain", "--no-wait", &node]).await.0, 0);
            assert_eq!(stand.verb(&["undrain", &node]).await.0, 0);
        }
        stand.verb(&["drain", &node]).await
    };
    let ((code, said), ()) = tokio::join!(draining, telling);
    assert_eq!(code, 0, "{said}");
    assert_eq!(stand.status_of(&stand.a).await["draining"], true);
}

const EACH: usize = 3;

fn file_of(nodes: &[&str], secret: &str, more: &str) -> String {
    format!(
        "{secret}\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [{}]\n{more}[drain]\nwindow = \"0s\"\ndeadline = \"20s\"\n",
        nodes.join(", ")
    )
}

/// A node that opens sessions, answers their polls, takes their posts, and says its name through every WebSocket.
async fn node(name: &'static str) -> ScriptedOrigin {
    let mut sessions = 0;
    ScriptedOrigin::start(move |request: &Message| {
        if request.header("upgrade").is_some() {
            let hello = [b"\x81\x01", name.as_bytes()].concat();
            return vec![Step::send(SWITCHED), Step::Send(hello), Step::Echo];
        }
        let target = request.start.split(' ').nth(1).unwrap_or_default();
        let body = if target.contains("sid=") {
            if request.start.starts_with("POST") { "ok".to_owned() } else { "6".to_owned() }
        } else {
            sessions += 1;
            let open = format!(
                r#"0{{"sid":"session-{name}-{sessions:08}","upgrades":[],"pingInterval":25000,"pingTimeout":20000}}"#
            );
            match (target.contains("EIO=4"), target.contains("j=0")) {
                (true, _) => open,
                (false, false) => format!("{}:{open}", open.len()),
                (false, true) => {
                    format!("___eio[0](\"{}:{}\");", open.len(), open.replace('"', "\\\""))
                }
            }
        };
        let length = body.len();
        vec![Step::send(&format!("HTTP/1.1 200 OK\r\nX-Node: {name}\r\nContent-Length: {length}\r\n\r\n{body}"))]
    })
    .await
}

async fn verb(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", directory).kill_on_drop(true);
    let output =
        timeout(PATIENCE, command.output()).await.expect("the verb ends").expect("the binary can be run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it was not killed"), String::from_utf8_lossy(&text).into_owned())
}

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
