//! Goal: guards of routes let pass whom they should, whatever the request is, and say why they refuse; what they let pass is
//! as it would be without them.
//! Method: requests by hand, of which a node must see those that pass and no other; the same requests to nginx with the file
//! that was imported; and real Socket.IO clients behind each guard.

mod asked;
mod beside_nginx;
mod crowd;
mod limits;
mod listens;
mod mirror;
mod passwords;
mod shared;
mod sides;

use testkit::message::Message;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
/// What makes a request the handshake of a WebSocket.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
/// What a node says to it.
const UPGRADED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Asks on a connection of its own. `lines` are whole header lines.
async fn ask(proxy: &Tidelock, start: &str, lines: &str) -> Message {
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(format!("{start} HTTP/1.1\r\nHost: h\r\n{lines}\r\n")).await;
    if start.starts_with("HEAD ") || lines.contains("websocket") {
        client.read_head().await
    } else {
        client.read_message().await
    }
}

/// How often workers have counted something, by its words.
async fn counted(proxy: &Tidelock, table: &str, what: &str) -> u64 {
    let status = proxy.status().await;
    let workers = status["workers"].as_array().expect("there are workers");
    workers.iter().filter_map(|worker| worker[table][what].as_u64()).sum()
}
