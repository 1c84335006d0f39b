//! What tests of tidelock stand on: both ends of a proxy, scripted or real. For tests only; nothing here ships.
//!
//! - [`raw`]: one connection, byte by byte, as a client or as an origin; and [`message`], what was said on it.
//! - [`origin`]: an origin that plays a script and records every request it got whole.
//! - [`process`]: a child process whose output is kept, whose lines can be waited for, and that dies with its guard.
//! - [`node`], [`clients`]: unmodified Socket.IO nodes and real `socket.io-client`s, run by Node.js.
//! - [`talkers`]: clients of an app with rooms.
//! - [`page`]: two tabs of a real browser on the chat page.
//! - [`tidelock`]: the binary itself, on ports of its own.
//! - [`engineio`]: one Engine.IO session by hand; [`load`]: plain requests without a pause.
//! - [`port`]: ports that are known before anybody listens there.
//! - [`relay`]: what stands in front of two tidelocks and sends new connections to one of them.
//! - [`tls_front`]: what makes a node of http one of https.
//! - [`dns`]: a DNS resolver that knows what the test tells it.
//! - [`certificates`]: an authority for one test, and every kind of bad certificate.
//!
//! Nothing sleeps. A test waits for something that happens, for at most [`TIMEOUT`], and a wait that fails panics
//! with everything that was seen until then.
//!
//! ```no_run
//! # async fn example(tidelock: &str) {
//! use tidelock_testkit::{clients::{ClientPlan, Clients}, node::{Node, NodePlan}, tidelock::Tidelock};
//!
//! let nodes = [Node::start(NodePlan::js("a")).await, Node::start(NodePlan::js("b")).await];
//! let proxy = Tidelock::start(tidelock, &format!(
//!     "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"{}\", \"{}\"]",
//!     nodes[0].address(), nodes[1].address(),
//! )).await;
//! let mut clients = Clients::start(&ClientPlan { count: 6, echoes: 2, ..ClientPlan::to(proxy.url()) }).await;
//! let report = clients.result().await;
//! assert_eq!((report.connected, report.connect_errors.len()), (6, 0));
//! # }
//! ```

pub mod acme;
pub mod certificates;
pub mod clients;
pub mod dns;
pub mod engineio;
pub mod http2;
pub mod load;
pub mod message;
pub mod node;
pub mod origin;
pub mod page;
pub mod pebble;
pub mod port;
pub mod process;
pub mod raw;
pub mod relay;
pub mod talkers;
pub mod tidelock;
pub mod tls_front;

use std::path::Path;
use std::time::Duration;

/// Waits until the file at `path` exists and `holds` says so of its text, which it then returns. Looks again and
/// again: files tell nobody when they change.
///
/// # Panics
/// After [`TIMEOUT`], with the last text.
pub async fn until_file(path: &Path, holds: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let looking = async {
        let mut turn = tokio::time::interval(Duration::from_millis(10));
        loop {
            turn.tick().await;
            if let Ok(read) = std::fs::read_to_string(path) {
                text = read;
                if holds(&text) {
                    return;
                }
            }
        }
    };
    let found = tokio::time::timeout(TIMEOUT, looking).await;
    assert!(found.is_ok(), "{path:?} has not come to hold what was wanted: {text:?}");
    text
}

/// Says which row of a table failed: what it holds is printed if the test panics while it lives.
#[derive(Debug)]
pub struct Row(pub String);

impl Drop for Row {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the row that failed: {}", self.0);
        }
    }
}

/// How long any wait may take before the test fails: far more than a slow machine needs.
pub const TIMEOUT: Duration = Duration::from_secs(30);
