//! Goal: nobody notices a reload. Two hundred of them cut no tunnel, fail no request and leave no memory behind.
//! Method: one proxy under a thousand tunnels and a steady load; before every reload a file that differs from the one
//! before it, and half way a broken one. Sums alone are compared, and the memory at two moments with the same file.

use std::net::SocketAddr;
use std::process::Output;

use testkit::load::Load;
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::{Signal, tells};
use testkit::raw::{RawConnection, get};
use testkit::tidelock::{Tidelock, listening};
use tokio::process::Command;

#[tokio::test]
async fn nobody_notices_two_hundred_reloads() {
    let nodes = [node().await, node().await, node().await];
    let mut proxy = Tidelock::start(TIDELOCK, &file(&nodes, 0)).await;
    let mut tunnels = Vec::new();
    for _ in 0..TUNNELS {
        tunnels.push(tunnel(proxy.address()).await);
    }
    echo_through(&mut tunnels).await;
    let load = Load::start(proxy.address());
    load.until_answered(10).await;

    let mut warm = 0;
    for round in 1..=RELOADS {
        if round == RELOADS / 2 {
            a_broken_file_is_refused(&mut proxy).await;
        }
        reload(&mut proxy, &nodes, round).await;
        load.until_answered(1).await;
        if round == WARM_UP {
            // What the first of everything allocates, and keeps, is there now. The allocator goes on opening pages for
            // sizes that it has not met yet for a while; of 1,000 reloads the last 700 added 1 %.
            echo_through(&mut tunnels).await;
            warm = proxy.process().resident_memory();
        }
    }
    echo_through(&mut tunnels).await;
    let last = proxy.process().resident_memory();
    assert!(last * 100 <= warm * 105, "{warm} bytes after {WARM_UP} reloads, {last} after {RELOADS}");
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
    eprintln!("memory: {warm} bytes after {WARM_UP} reloads, {last} after {RELOADS}; {seen:?}");
}

/// Puts the file of `round` in place, reloads by the verb or by the signal in turn, and looks that it counts.
async fn reload(proxy: &mut Tidelock, nodes: &[ScriptedOrigin; 3], round: usize) {
    proxy.rewrite(&file(nodes, round));
    let mark = proxy.process().mark();
    if round.is_multiple_of(2) {
        let output = verb(proxy, &["reload"]).await;
        assert!(output.status.success(), "round {round}: {output:?}");
    } else {
        proxy.process().signal(Signal::HUP);
    }
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    let extra = get(proxy.address(), &format!("/{round}")).await;
    assert_eq!(extra.status(), 200, "the route that round {round} added is there");
    if has_second_listen(round) {
        let added = listening(proxy.process(), mark, 1).await[0];
        assert_eq!(get(added, "/").await.status(), 200, "round {round} listens there as well");
    }
}

async fn a_broken_file_is_refused(proxy: &mut Tidelock) {
    proxy.rewrite("[[listen]]\nadress = \":80\"\n");
    let output = verb(proxy, &["reload"]).await;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("adress") && said.contains("the file was not applied"), "{said}");
}

/// The file of one round: in each, something else than in the one before comes, goes or has another value.
fn file(nodes: &[ScriptedOrigin; 3], round: usize) -> String {
    let [held, other, passing] = nodes.each_ref().map(ScriptedOrigin::address);
    let weight = 1 + round % 4;
    let third = if round % 5 == 1 { format!(", \"{passing}\"") } else { String::new() };
    let access = if round.is_multiple_of(2) { "off" } else { "access.log" };
    let head_kib = 16 + round % 3;
    let second = if has_second_listen(round) { LISTEN } else { "" };
    format!(
        "sticky_secret = \"a secret of 32 bytes, or of some more\"\n\
         {LISTEN}{second}\
         [[route]]\nupstream = \"nodes\"\n\
         [[route]]\npath = \"/{round}\"\nupstream = \"round\"\n\
         [upstream.nodes]\n\
         nodes = [\"{held}\", {{ address = \"{other}\", weight = {weight} }}{third}]\n\
         [upstream.round]\nnodes = [\"{other}\"]\n\
         [limits]\nhead_bytes_max = \"{head_kib}KiB\"\n\
         [log]\naccess = \"{access}\"\n\
         [drain]\nwindow = \"0s\"\n"
    )
}

fn has_second_listen(round: usize) -> bool {
    round % 2 == 1
}

/// A node that opens sessions, answers everything else at once, and echoes through every WebSocket.
async fn node() -> ScriptedOrigin {
    let mut sessions = 0;
    ScriptedOrigin::start(move |request: &Message| {
        if request.header("upgrade").is_some() {
            return vec![Step::send(SWITCHED), Step::Echo];
        }
        if request.start.starts_with("HEAD ") {
            return vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")];
        }
        if !request.start.starts_with("GET /socket.io/") {
            return vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")];
        }
        sessions += 1;
        let open = format!(
            "0{{\"sid\":\"session-{sessions:012}\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\
             \"maxPayload\":1000000}}"
        );
        vec![Step::send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{open}", open.len()))]
    })
    .await
}

async fn tunnel(address: SocketAddr) -> RawConnection {
    let mut client = RawConnection::connect(address).await;
    client.send(UPGRADE).await;
    assert_eq!(client.read_head().await.status(), 101);
    client
}

/// One message through each tunnel to its node and back. One after the other: how many buffers a crowd of messages
/// takes at once is chance, and would be in what is measured.
async fn echo_through(tunnels: &mut [RawConnection]) {
    for tunnel in tunnels {
        tunnel.send(MESSAGE).await;
        assert_eq!(tunnel.read_exactly(MESSAGE.len()).await, MESSAGE);
        assert!(tunnel.is_quiet(), "the echo and nothing else");
    }
}

async fn verb(proxy: &Tidelock, arguments: &[&str]) -> Output {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", proxy.directory()).kill_on_drop(true);
    command.output().await.expect("the binary can be run")
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const TUNNELS: usize = 1000;
const RELOADS: usize = 240;
/// After a whole number of cycles from here, of 60 rounds each, the file is the same but for the name of a path.
const WARM_UP: usize = 60;
const LISTEN: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
     Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const MESSAGE: &[u8] = b"\x81\x82\0\0\0\0hi";
