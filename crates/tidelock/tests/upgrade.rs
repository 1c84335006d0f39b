//! Goal: a tunnel opens on a matching 101 and never before; then every byte of both ends arrives, in order, once, and
//! an end is an end, at no cost of memory however slow the other side is.
//! Method: raw WebSocket handshakes through the real binary to an origin in the test's hands, over plain TCP and TLS.

use testkit::certificates::Authority;
use testkit::origin::Origin;
use testkit::raw::{End, RawConnection};
use testkit::tidelock::{Tidelock, config_for, directory};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                         Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                        Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                        Connection: Upgrade\r\n\r\n";

async fn proxy(origin: &Origin, more: &str) -> Tidelock {
    let config = format!("workers = 1\n{}{more}", config_for(&[origin.address()]));
    Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await
}

/// Both ends of an established tunnel.
async fn tunnel(origin: &Origin, proxy: &Tidelock) -> (RawConnection, RawConnection) {
    let client = RawConnection::connect(proxy.address()).await;
    establish(client, origin).await
}

async fn establish(mut client: RawConnection, origin: &Origin) -> (RawConnection, RawConnection) {
    client.send(HANDSHAKE).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send(SWITCHED).await;
    assert_eq!(client.read_head().await.status(), 101);
    (client, node)
}

#[tokio::test]
async fn a_handshake_passes_both_ways_as_it_came() {
    let origin = Origin::bind().await;
    let proxy = proxy(&origin, "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(HANDSHAKE).await;
    let mut node = origin.accept().await;
    let asked = node.read_head().await;
    for (name, want) in [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("sec-websocket-protocol", "chat"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ] {
        assert_eq!(asked.all(name), [want], "{name}");
    }
    node.send(SWITCHED).await;
    assert_eq!(client.read_head().await.raw, SWITCHED.as_bytes());
}

/// CVE-2026-2833: what follows a handshake belongs to a tunnel that may never open.
#[tokio::test]
async fn no_byte_goes_to_the_node_before_its_101_and_none_is_lost() {
    let origin = Origin::bind().await;
    let proxy = proxy(&origin, "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(format!("{HANDSHAKE}with it")).await;
    client.send(", behind it").await;
    let mut node = origin.accept().await;
    node.read_head().await;
    client.send(", later").await;
    // The node's answer to another client shows that the proxy has been round since.
    let mut other = RawConnection::connect(proxy.address()).await;
    other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut other_node = origin.accept().await;
    other_node.read_head().await;
    other_node.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(other.read_head().await.status(), 204);
    assert!(node.is_quiet(), "it got something before it answered");
    node.send(format!("{SWITCHED}early too")).await;
    assert_eq!(node.read_exactly(25).await, b"with it, behind it, later");
    assert_eq!(client.read_head().await.status(), 101);
    assert_eq!(client.read_exactly(9).await, b"early too");
    client.send("ping").await;
    assert_eq!(node.read_exactly(4).await, b"ping");
    node.send("pong").await;
    assert_eq!(client.read_exactly(4).await, b"pong");
}

/// A node that refuses gives an answer like any other, and both connections go on.
#[tokio::test]
async fn a_refused_handshake_is_an_answer() {
    let origin = Origin::bind().await;
    let proxy = proxy(&origin, "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(HANDSHAKE).await;
    let mut node = origin.accept().await;
    for refusal in [
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
    ] {
        node.read_head().await;
        node.send(refusal).await;
        assert_eq!(client.read_message().await.raw, refusal.as_bytes());
        client.send(HANDSHAKE).await;
    }
    node.read_head().await;
    node.send(SWITCHED).await;
    assert_eq!(client.read_head().await.status(), 101);
}

/// Close 1000, as a node and as a client write it.
const NODE_CLOSES: &[u8] = b"\x88\x02\x03\xe8";
const CLIENT_CLOSES: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

#[tokio::test]
async fn either_end_may_close_first_and_the_other_goes_on() {
    let origin = Origin::bind().await;
    let proxy = proxy(&origin, "").await;
    let (mut client, mut node) = tunnel(&origin, &proxy).await;
    client.send(CLIENT_CLOSES).await;
    client.half_close().await;
    assert_eq!(node.read_to_end().await, (CLIENT_CLOSES.to_vec(), End::Closed));
    node.send(b"\x81\x04last").await;
    node.send(NODE_CLOSES).await;
    node.half_close().await;
    assert_eq!(client.read_to_end().await, ([b"\x81\x04last", NODE_CLOSES].concat(), End::Closed));

    let (mut client, mut node) = tunnel(&origin, &proxy).await;
    node.send(NODE_CLOSES).await;
    node.half_close().await;
    assert_eq!(client.read_to_end().await, (NODE_CLOSES.to_vec(), End::Closed));
    client.send(CLIENT_CLOSES).await;
    client.half_close().await;
    assert_eq!(node.read_to_end().await, (CLIENT_CLOSES.to_vec(), End::Closed));
}

/// Between two frames a client is told that its node is gone, so that it comes back at once. Inside of one nothing can
/// be said, and the end says it.
/// It is there, so that it wanted this end: `ws.terminate()` is no Close, and a client may take it for what it is.
#[tokio::test]
async fn a_node_that_lives_ends_without_a_word_as_it_means_to() {
    for says in [b"".as_slice(), b"\x81\x05Hello", b"\x81\x05Hel", b"\x81"] {
        // One each: the question whether it lives is a connection too.
        let origin = Origin::bind().await;
        let proxy = proxy(&origin, "").await;
        let (mut client, mut node) = tunnel(&origin, &proxy).await;
        node.send(says).await;
        drop(node);
        assert_eq!(client.read_to_end().await.0, says, "{}", says.escape_ascii());
    }
}

#[tokio::test]
async fn a_node_that_is_dead_is_spoken_for() {
    const NODE_LOST: &[u8] = b"\x88\x0b\x03\xf4node lost";
    for (says, want) in [
        (b"".as_slice(), NODE_LOST.to_vec()),
        (b"\x81\x05Hello", [b"\x81\x05Hello", NODE_LOST].concat()),
        (b"\x81\x05Hel", b"\x81\x05Hel".to_vec()),
        (b"\x81", b"\x81".to_vec()),
    ] {
        let origin = Origin::bind().await;
        let proxy = proxy(&origin, "").await;
        let (mut client, mut node) = tunnel(&origin, &proxy).await;
        let (mut other, other_node) = tunnel(&origin, &proxy).await;
        node.send(says).await;
        drop((node, other_node, origin));
        assert_eq!(client.read_to_end().await.0, want, "{}", says.escape_ascii());
        assert_eq!(other.read_to_end().await.0, NODE_LOST);
    }
}

#[tokio::test]
async fn a_client_that_is_gone_ends_its_tunnel() {
    let origin = Origin::bind().await;
    let proxy = proxy(&origin, "").await;
    for resets in [true, false] {
        let (client, mut node) = tunnel(&origin, &proxy).await;
        if resets {
            client.reset();
        } else {
            drop(client);
        }
        assert_eq!(node.read_to_end().await.0, b"");
    }
}

#[tokio::test]
async fn a_tunnel_that_is_silent_for_too_long_ends() {
    let origin = Origin::bind().await;
    let mut proxy = proxy(&origin, "[timeouts]\ntunnel = \"1s\"\n").await;
    let (mut client, mut node) = tunnel(&origin, &proxy).await;
    client.send("x").await;
    assert_eq!(node.read_exactly(1).await, b"x");
    assert_eq!(client.read_to_end().await.0, b"");
    assert_eq!(node.read_to_end().await.0, b"");
    proxy.process().wait_for_line(|line| line.contains("\"tunnel\":\"idle\"")).await;
}

/// With `timeouts.tunnel` at its hour: the session itself has told how long it can be silent, behind the 101.
#[tokio::test]
async fn a_session_that_began_as_a_websocket_tells_how_long_it_can_be_silent() {
    let origin = Origin::bind().await;
    let mut proxy = proxy(&origin, "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(HANDSHAKE.replace("/ws", "/socket.io/?EIO=4&transport=websocket")).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send(SWITCHED).await;
    client.read_head().await;
    let open = br#"0{"sid":"abcdefghijklmnopqrst","upgrades":[],"pingInterval":100,"pingTimeout":100}"#;
    let frame = [&[0x81, open.len() as u8], open.as_slice()].concat();
    node.send(&frame).await;
    assert_eq!(client.read_exactly(frame.len()).await, frame);
    assert_eq!(client.read_to_end().await.0, b"");
    proxy.process().wait_for_line(|line| line.contains("\"tunnel\":\"client silent\"")).await;
}

/// The proxy inflates nothing and counts no frames: RSV1, reserved opcodes, and sizes that lie are the ends' affair.
#[tokio::test]
async fn frames_are_none_of_our_business() {
    let origin = Origin::bind().await;
    let proxy = proxy(&origin, "").await;
    let (mut client, mut node) = tunnel(&origin, &proxy).await;
    // A compressed "Hello" (RFC 7692 section 7.2.3.1), masked and not; then what no frame looks like.
    let compressed = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let masked = b"\xc1\x87\x01\x02\x03\x04\xf3\x4a\xce\xcd\xc8\x05\x03";
    let garbage: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for bytes in [masked.as_slice(), compressed, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", &garbage] {
        client.send(bytes).await;
        assert_eq!(node.read_exactly(bytes.len()).await, bytes);
        node.send(bytes).await;
        assert_eq!(client.read_exactly(bytes.len()).await, bytes);
    }
    client.send_pieces(masked.chunks(1)).await;
    assert_eq!(node.read_exactly(masked.len()).await, masked);
}

#[tokio::test]
async fn through_tls_it_is_the_same() {
    let origin = Origin::bind().await;
    let authority = Authority::new("test");
    let directory = directory();
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let config = config_for(&[origin.address()]).replace(
        "[[route]]",
        &format!("tls = {{ certificate = {:?}, key = {:?} }}\n[[route]]", files.certificate, files.key),
    );
    let proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
    let client = authority.client(&["http/1.1"]);
    let connect = || RawConnection::connect_tls(proxy.address(), "a.example", client.clone());

    let mut early = connect().await.unwrap();
    early.send(format!("{HANDSHAKE}early")).await;
    let mut node = origin.accept().await;
    assert_eq!(node.read_head().await.header("x-forwarded-proto"), Some("https"));
    node.send(format!("{SWITCHED}early too")).await;
    assert_eq!(node.read_exactly(5).await, b"early");
    assert_eq!(early.read_head().await.status(), 101);
    assert_eq!(early.read_exactly(9).await, b"early too");

    // Many records, of which a read may find several decrypted at once.
    let (mut client, mut node) = establish(connect().await.unwrap(), &origin).await;
    let block = block();
    tokio::join!(client.send(&block), async { assert!(node.read_exactly(block.len()).await == block) });
    tokio::join!(node.send(&block), async { assert!(client.read_exactly(block.len()).await == block) });

    let (mut client, mut node) = establish(connect().await.unwrap(), &origin).await;
    node.send(NODE_CLOSES).await;
    node.half_close().await;
    assert_eq!(client.read_to_end_of_tls().await.expect("close_notify comes before the FIN"), NODE_CLOSES);
    client.send(CLIENT_CLOSES).await;
    client.half_close().await;
    assert_eq!(node.read_to_end().await, (CLIENT_CLOSES.to_vec(), End::Closed));
}

/// 64 MiB each way against readers that do not read: the writer is held, and the proxy's memory with it.
#[tokio::test]
async fn a_reader_that_is_slow_holds_the_writer_and_costs_no_memory() {
    let origin = Origin::bind().await;
    let mut proxy = proxy(&origin, "").await;
    let block = block();
    let blocks = (64 << 20) / block.len();
    for from_node in [true, false] {
        let (client, node) = tunnel(&origin, &proxy).await;
        let (mut writer, mut reader) = if from_node { (node, client) } else { (client, node) };
        let before = proxy.process().peak_memory();
        let (written, progress) = tokio::sync::watch::channel(0);
        let sent = block.clone();
        let writing = tokio::spawn(async move {
            for _ in 0..blocks {
                for piece in sent.chunks(16 * 1024) {
                    writer.send(piece).await;
                    written.send_modify(|written| *written += piece.len());
                }
            }
        });
        stalls(progress).await;
        for _ in 0..blocks {
            // Of an odd length, so that a piece lost or doubled shifts everything behind it.
            assert!(reader.read_exactly(block.len()).await == block, "what came is not what was sent");
        }
        writing.await.unwrap();
        let grown = proxy.process().peak_memory() - before;
        assert!(grown < 16 << 20, "{grown} bytes more for 64 MiB that nobody read");
    }
}

/// Ends when the writer has stopped for a moment, or is done. On a machine so slow that it stops by itself, the
/// reader starts early and the test sees less; it never fails for that.
async fn stalls(mut progress: tokio::sync::watch::Receiver<usize>) {
    let moment = std::time::Duration::from_millis(300);
    while let Ok(Ok(())) = tokio::time::timeout(moment, progress.changed()).await {}
}

/// A little under a MiB of bytes that repeat nowhere.
fn block() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..1_048_573).map(|_| next()).collect()
}
