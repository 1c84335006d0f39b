//! Goal: what breaks behind, before or inside the proxy costs as little as it can, and nobody is left without a word.
//! Method: scripted origins that refuse, die, hang and come back; raw clients that leave, drip and wait; the real
//! binary with deadlines short enough to be waited for. No test says how long anything takes.

mod deadlines;
mod ends;
mod gone;
mod leaving;
mod limits;
mod lines;
mod log;
mod nodes;
mod parked;
mod poison;
mod surplus;

use std::net::SocketAddr;

use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, config_for};

/// A proxy with one worker, so that one pool sees everything, in front of `nodes`.
async fn start(nodes: &[SocketAddr], more: &str) -> Tidelock {
    let config = format!("workers = 1\n{}{more}", config_for(nodes));
    Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await
}

/// An origin that answers everything.
async fn answering() -> ScriptedOrigin {
    ScriptedOrigin::answering(OK).await
}

/// Sends `request` on a connection of its own and reads the answer.
async fn ask(proxy: &Tidelock, request: impl AsRef<[u8]>) -> Message {
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(request).await;
    client.read_message().await
}

fn starts(origin: &ScriptedOrigin) -> Vec<String> {
    origin.requests().into_iter().map(|request| request.start).collect()
}

/// How many requests an origin got from clients; tidelock's own probes say who they are.
fn asked(origin: &ScriptedOrigin) -> usize {
    let requests = origin.requests();
    requests.iter().filter(|request| request.header("user-agent") != Some("tidelock")).count()
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
const HANDSHAKE: &str =
    "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nOrigin: https://page.example\r\n\r\n";
const WEBSOCKET: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a Socket.IO node answers to a handshake.
fn opened(sid: &str) -> Step {
    let body = format!(
        r#"0{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
    );
    Step::send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

/// The 101 that answers [`WEBSOCKET`].
fn switched() -> Step {
    Step::send(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
}

/// The session id that a handshake's answer told, tag included.
fn sid_of(answer: &Message) -> String {
    let text = answer.text();
    let sid = text.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next());
    sid.unwrap_or_else(|| panic!("no sid in {text:?}")).to_owned()
}
