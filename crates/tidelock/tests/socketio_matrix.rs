//! Goal: every Socket.IO client comes through at its first attempt, on every transport, and nothing of what it or its
//! node says is changed but what must be.
//! Method: real clients of both protocol revisions, 60 at a time, in front of three real nodes of each kind.
//!
//! The node in Rust speaks EIO=3 as well; only binary answers to EIO=3 polls are wrong there, in engineioxide itself.

use std::path::PathBuf;

use testkit::certificates::Authority;
use testkit::clients::{ClientPlan, Clients, Mode, Report, Who};
use testkit::node::{self, Node, NodePlan};
use testkit::tidelock::{FilePlan, Tidelock, directory};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sixty_clients_on_nodes_in_node_js_over_http() {
    sixty_clients(Kind::NodeJs, Scheme::Http).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sixty_clients_on_nodes_in_node_js_over_https() {
    sixty_clients(Kind::NodeJs, Scheme::Https).await;
}

/// `engine.generateId`: colons, base64 with its `+`, `/` and `=`, 130 characters, quotes, blanks and an é.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sixty_clients_with_ids_of_the_apps_own_making() {
    sixty_clients(Kind::OddIds, Scheme::Http).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sixty_clients_on_nodes_in_rust_over_http() {
    sixty_clients(Kind::Rust, Scheme::Http).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sixty_clients_on_nodes_in_rust_over_https() {
    sixty_clients(Kind::Rust, Scheme::Https).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn large_payloads_pass_nodes_in_node_js() {
    large_payloads(Kind::NodeJs, Scheme::Http).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn large_payloads_pass_nodes_in_node_js_over_https() {
    large_payloads(Kind::NodeJs, Scheme::Https).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn large_payloads_pass_nodes_in_rust() {
    large_payloads(Kind::Rust, Scheme::Http).await;
}

async fn sixty_clients(kind: Kind, scheme: Scheme) {
    let nodes = nodes(kind).await;
    for (version, mode) in VERSIONS_AND_MODES {
        // A tidelock of its own for each: what the clients before have left behind must not make this spread even.
        let front = Front::start(&nodes, scheme).await;
        let plan = ClientPlan {
            count: CLIENTS,
            version,
            mode,
            echoes: ECHOES,
            binary_bytes: if echoes_binary(kind, version, mode) { 32 } else { 0 },
            hold: true,
            ca: front.ca_path(),
            // What a client claims about itself must not reach the node.
            options: serde_json::json!({ "extraHeaders": {
                "X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "gopher", "X-Real-IP": "203.0.113.9",
            } }),
            ..ClientPlan::to(&front.url)
        };
        let before = opened(&nodes).await;
        let mut clients = Clients::start(&plan).await;
        let report = clients.ready().await;
        let what = format!("version {version}, {mode:?}, {scheme:?}, {kind:?}: {report:#?}");
        assert_first_attempt(&report, mode, &what);
        assert!(report.is_even(nodes.len()), "{what}");
        let echoes_each = if plan.binary_bytes == 0 { ECHOES } else { 2 * ECHOES };
        assert_eq!((report.echoes_ok, report.echoes_failed), (CLIENTS * echoes_each, 0), "{what}");
        if kind != Kind::Rust {
            assert_eq!(opened(&nodes).await - before, CLIENTS, "one handshake each; {what}");
        }
        for who in clients.who().await {
            assert_node_sees(&who.expect("it is connected"), &front, mode);
        }
        assert_eq!(clients.end().await.disconnects, [""; 0], "{what}");
    }
}

async fn large_payloads(kind: Kind, scheme: Scheme) {
    let nodes = nodes(kind).await;
    let front = Front::start(&nodes, scheme).await;
    for (version, mode) in VERSIONS_AND_MODES {
        let binary_bytes = match mode {
            // In a poll bytes are base64, which grows them by a third; a node takes no more than 1 MB.
            Mode::Polling if echoes_binary(kind, version, mode) => 700_000,
            Mode::Polling => 0,
            Mode::Websocket | Mode::Default => 900_000,
        };
        let plan = ClientPlan {
            count: 3,
            version,
            mode,
            echoes: 1,
            text_bytes: 900_000,
            binary_bytes,
            ca: front.ca_path(),
            ..ClientPlan::to(&front.url)
        };
        let report = Clients::start(&plan).await.result().await;
        let what = format!("version {version}, {mode:?}, {kind:?}: {report:#?}");
        assert_eq!(report.connected, 3, "{what}");
        let echoes_each = if binary_bytes == 0 { 1 } else { 2 };
        assert_eq!((report.echoes_ok, report.echoes_failed), (3 * echoes_each, 0), "{what}");
        assert_eq!(report.disconnects, [""; 0], "{what}");
    }
}

/// Nothing failed on the way, and nobody had to settle for less than the best transport allowed.
fn assert_first_attempt(report: &Report, mode: Mode, what: &str) {
    assert_eq!(report.connected, CLIENTS, "{what}");
    assert_eq!(report.connect_errors, [""; 0], "{what}");
    assert_eq!(report.upgrade_errors, [""; 0], "{what}");
    assert_eq!(report.disconnects, [""; 0], "{what}");
    let upgraded = if mode == Mode::Default { CLIENTS } else { 0 };
    assert_eq!(report.upgraded, upgraded, "{what}");
    assert_eq!(report.transports.get(transport(mode)), Some(&CLIENTS), "{what}");
}

fn assert_node_sees(who: &Who, front: &Front, mode: Mode) {
    let header = |name: &str| who.headers.get(name).and_then(|value| value.as_str());
    assert_eq!(header("host"), Some(front.host.as_str()), "{who:?}");
    assert_eq!(header("x-forwarded-for"), Some("127.0.0.1"), "{who:?}");
    assert_eq!(header("x-forwarded-proto"), front.url.split(':').next(), "{who:?}");
    assert_eq!(header("x-real-ip"), Some("127.0.0.1"), "{who:?}");
    assert_eq!(who.transport, transport(mode), "{who:?}");
}

fn transport(mode: Mode) -> &'static str {
    match mode {
        Mode::Polling => "polling",
        Mode::Websocket | Mode::Default => "websocket",
    }
}

/// engineioxide 0.17.9 leaves the packet type out of binary answers to EIO=3 polls: `bAAEC` for `b4AAEC`.
fn echoes_binary(kind: Kind, version: u8, mode: Mode) -> bool {
    (kind, version, mode) != (Kind::Rust, 2, Mode::Polling)
}

/// All sessions that the nodes ever had.
async fn opened(nodes: &[Node]) -> usize {
    let mut opened = 0;
    for node in nodes {
        opened += node.sessions().await.opened;
    }
    opened
}

async fn nodes(kind: Kind) -> [Node; 3] {
    node::three(|name| match kind {
        Kind::NodeJs => NodePlan::js(name),
        Kind::OddIds => NodePlan::js(name).env("ODD_IDS", "1"),
        Kind::Rust => NodePlan::chat(name, TIDELOCK),
    })
    .await
}

/// A tidelock, and how clients get to it.
struct Front {
    _tidelock: Tidelock,
    url: String,
    host: String,
    ca: Option<PathBuf>,
}

impl Front {
    async fn start(nodes: &[Node], scheme: Scheme) -> Self {
        let directory = directory();
        let file = FilePlan::to(nodes);
        let (file, ca) = match scheme {
            Scheme::Http => (file, None),
            Scheme::Https => {
                let authority = Authority::new("matrix");
                let files = authority.issue(&["localhost"]).write(directory.path(), "leaf");
                (file.tls(&files), Some(authority.write(directory.path())))
            }
        };
        let tidelock = Tidelock::start_in(directory, TIDELOCK, &file.text()).await;
        // Names are what certificates are for; and a Host that is not the address shows that it is passed on.
        let host = format!("localhost:{}", tidelock.address().port());
        let url = match scheme {
            Scheme::Http => format!("http://{host}"),
            Scheme::Https => format!("https://{host}"),
        };
        Self { _tidelock: tidelock, url, host, ca }
    }

    fn ca_path(&self) -> Option<String> {
        self.ca.as_ref().map(|path| path.display().to_string())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NodeJs,
    /// The same, with ids of the app's own making.
    OddIds,
    Rust,
}

#[derive(Clone, Copy, Debug)]
enum Scheme {
    Http,
    Https,
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const CLIENTS: usize = 60;
const ECHOES: usize = 2;
const VERSIONS_AND_MODES: [(u8, Mode); 6] = [
    (4, Mode::Polling),
    (4, Mode::Websocket),
    (4, Mode::Default),
    (2, Mode::Polling),
    (2, Mode::Websocket),
    (2, Mode::Default),
];
