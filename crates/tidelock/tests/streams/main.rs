//! Goal: a drain, a roll, a removal and tidelock's own end move each EventSource to another node between two events, and
//! never make anything else that was cut look whole.
//! Method: raw clients and nodes to the byte, and then the npm package `eventsource` and `fetch` in front of real nodes.

mod borders;
mod real;
mod whole;

use std::path::Path;

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::origin::Origin;
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock};
use tokio::process::Command;
use tokio::time::timeout;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// What EventSource says in Chromium, in Firefox and in Node.js.
const EVENT_SOURCE: &str = "Accept: text/event-stream\r\nCache-Control: no-cache\r\n";

/// An exchange whose answer goes on.
struct Stream {
    client: RawConnection,
    node: RawConnection,
}

impl Stream {
    /// Asks with these lines; the node answers with `head`, which reaches the client.
    async fn open(proxy: &Tidelock, node: &Origin, asked: &str, head: &str) -> Self {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(asked).await;
        let mut node = node.accept().await;
        node.read_message().await;
        node.send(head).await;
        assert_eq!(client.read_head().await.status(), 200);
        Self { client, node }
    }

    /// EventSource's, in chunks.
    async fn event_source(proxy: &Tidelock, node: &Origin) -> Self {
        Self::open(proxy, node, &get(EVENT_SOURCE), &events("Transfer-Encoding: chunked\r\n")).await
    }
}

fn get(lines: &str) -> String {
    format!("GET /events HTTP/1.1\r\nHost: a\r\n{lines}\r\n")
}

/// The head of an answer that is a stream of events.
fn events(lines: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{lines}\r\n")
}

fn chunk(content: &str) -> String {
    format!("{:x}\r\n{content}\r\n", content.len())
}

/// The content of chunks, and whether the last one is there.
fn unchunk(mut bytes: &[u8]) -> (String, bool) {
    let mut content = Vec::new();
    while let Some(at) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let size =
            usize::from_str_radix(std::str::from_utf8(&bytes[..at]).expect("a size"), 16).expect("a size");
        if size == 0 {
            return (String::from_utf8(content).expect("text"), true);
        }
        content.extend_from_slice(&bytes[at + 2..at + 2 + size]);
        bytes = &bytes[at + 2 + size + 2..];
    }
    assert_eq!(bytes, b"", "half a chunk");
    (String::from_utf8(content).expect("text"), false)
}

/// One node, which is the test, and a tidelock in front of it.
async fn stand(drain: &str) -> (Tidelock, Origin) {
    let node = Origin::bind().await;
    let file = FilePlan::to_addresses([node.address()]).text();
    (Tidelock::start(TIDELOCK, &format!("{file}[drain]\n{drain}")).await, node)
}

async fn verb(proxy: &Tidelock, arguments: &[&str]) -> (i32, String) {
    verb_in(proxy.directory(), arguments).await
}

async fn verb_in(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", directory).kill_on_drop(true);
    let output = timeout(TIMEOUT, command.output()).await.expect("the verb ends").expect("it can be run");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it was not killed"), String::from_utf8_lossy(&text).into_owned())
}

/// The first node as `tidelock status --json` has it, once it is as it should be.
async fn until_node(proxy: &Tidelock, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut seen = Value::Null;
    let looking = async {
        loop {
            seen = proxy.status().await["upstreams"][0]["nodes"][0].clone();
            if is_so(&seen) {
                return seen.clone();
            }
        }
    };
    match timeout(TIMEOUT, looking).await {
        Ok(node) => node,
        Err(_) => panic!("it does not come to be so: {seen:#}"),
    }
}
