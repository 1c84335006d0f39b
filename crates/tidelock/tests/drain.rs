//! How tunnels end when tidelock wants them to: between two messages, with a Close that says why, and within the
//! deadline. Frame by frame, with a raw client and a raw origin.

use std::net::SocketAddr;

use testkit::origin::Origin;
use testkit::process::{Signal, tells};
use testkit::raw::{End, RawConnection};
use testkit::tidelock::{FilePlan, Tidelock};

/// A tunnel through a tidelock of its own.
struct Tunnel {
    tidelock: Tidelock,
    client: RawConnection,
    origin: RawConnection,
}

impl Tunnel {
    async fn open(more: &str) -> Self {
        let node = Origin::bind().await;
        let config = FilePlan::to_addresses([node.address()]).text();
        let tidelock = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &format!("{config}{more}")).await;
        let mut client = RawConnection::connect(tidelock.address()).await;
        client.send(handshake(tidelock.address())).await;
        let mut origin = node.accept().await;
        origin.read_head().await;
        origin
            .send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            )
            .await;
        assert_eq!(client.read_head().await.status(), 101);
        let mut tunnel = Self { tidelock, client, origin };
        // What has gone there and back shows that the tunnel stands.
        tunnel.say_to_origin(&masked(0x81, b"hello")).await;
        tunnel.say_to_client(&[b"\x81\x05".as_slice(), b"hello"].concat()).await;
        tunnel
    }

    async fn say_to_origin(&mut self, frame: &[u8]) {
        self.client.send(frame).await;
        assert_eq!(self.origin.read_exactly(frame.len()).await, frame);
    }

    async fn say_to_client(&mut self, frame: &[u8]) {
        self.origin.send(frame).await;
        assert_eq!(self.client.read_exactly(frame.len()).await, frame);
    }

    async fn leave(&mut self) {
        self.tidelock.process().signal(Signal::TERM);
        self.tidelock.process().wait_for_line(|line| tells(line, "tunnels_told")).await;
    }
}

fn handshake(host: SocketAddr) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A client's frame: masked with zeros, so that it can be read here.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

/// A Close to a client.
fn close(code: u16, words: &str) -> Vec<u8> {
    [&[0x88, 2 + words.len() as u8], code.to_be_bytes().as_slice(), words.as_bytes()].concat()
}

/// The payload of a Close to an origin, unmasked.
fn unmask(frame: &[u8]) -> Vec<u8> {
    assert_eq!((frame[0], frame[1] & 0x80), (0x88, 0x80), "a masked Close: {frame:x?}");
    frame[6..].iter().zip(frame[2..6].iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

const NOW: &str = "[drain]\nwindow = \"0s\"\ndeadline = \"20s\"\n";

#[tokio::test]
async fn a_message_that_is_half_sent_comes_whole_and_then_the_close() {
    let mut tunnel = Tunnel::open(NOW).await;
    tunnel.say_to_client(b"\x01\x03one").await;
    tunnel.leave().await;
    // A control frame and half a fragment between the fragments change nothing.
    tunnel.say_to_client(b"\x89\x01p").await;
    tunnel.say_to_client(b"\x00\x03t").await;
    tunnel.say_to_client(b"wo").await;
    // The last fragment, and in the same packet a message that comes too late.
    tunnel.origin.send(b"\x80\x05three\x81\x04late").await;
    let want = [b"\x80\x05three".as_slice(), &close(1001, "going away")].concat();
    assert_eq!(tunnel.client.read_exactly(want.len()).await, want);
    // What the client still says reaches the node, up to its own Close.
    tunnel.say_to_origin(&masked(0x81, b"last words")).await;
    tunnel.say_to_origin(&masked(0x88, &1001_u16.to_be_bytes())).await;
    // The node's answer to that Close is swallowed, and both are let go.
    tunnel.origin.send(close(1001, "")).await;
    assert_eq!(tunnel.client.read_to_end().await, (Vec::new(), End::Closed));
    assert_eq!(tunnel.origin.read_to_end().await, (Vec::new(), End::Closed));
    drop((tunnel.client, tunnel.origin));
    assert!(tunnel.tidelock.process().exit().await.success());
}

/// Binary and compressed messages, whole and in fragments, as fast as they go, and the turn comes somewhere in between.
#[tokio::test]
async fn of_a_stream_that_is_ended_every_message_comes_whole() {
    let tunnel = Tunnel::open(NOW).await;
    let Tunnel { mut client, mut origin, mut tidelock } = tunnel;
    let sending = tokio::spawn(async move {
        // More than all buffers on the way hold, so that it is being written when the turn comes.
        for number in 0..ENDLESS {
            if origin.try_send(message(number)).await.is_err() {
                break;
            }
        }
    });
    let mut seen = client.read_exactly(message(0).len() + message(1).len()).await;
    tidelock.process().signal(Signal::TERM);
    tidelock.process().wait_for_line(|line| tells(line, "tunnels_told")).await;
    let goodbye = close(1001, "going away");
    seen.extend(client.read_until(&goodbye).await);
    let mut rest = &seen[..seen.len() - goodbye.len()];
    let mut whole = 0;
    while let Some(after) = rest.strip_prefix(message(whole).as_slice()) {
        rest = after;
        whole += 1;
    }
    assert_eq!(rest, b"", "{whole} messages came whole, and then something else");
    assert!((2..ENDLESS).contains(&whole), "the turn came in the middle: {whole}");
    client.send(masked(0x88, &1001_u16.to_be_bytes())).await;
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
    sending.abort();
}

const ENDLESS: u32 = 200_000;

/// Messages of every form; none of their payloads looks like a Close.
fn message(number: u32) -> Vec<u8> {
    let payload = vec![(number % 100) as u8; number as usize % 300];
    let frame = |first: u8, payload: &[u8]| {
        let length = payload.len() as u16;
        let mut frame = vec![first];
        if length < 126 {
            frame.push(length as u8);
        } else {
            frame.extend_from_slice(&[126, (length >> 8) as u8, length as u8]);
        }
        frame.extend_from_slice(payload);
        frame
    };
    match number % 3 {
        0 => frame(0x82, &payload),
        1 => frame(0xc1, &payload),
        _ => [frame(0x02, &payload), frame(0x8a, b""), frame(0x80, &payload)].concat(),
    }
}

#[tokio::test]
async fn who_never_answers_the_close_is_ended_at_the_deadline() {
    let mut tunnel = Tunnel::open("[drain]\nwindow = \"0s\"\ndeadline = \"500ms\"\n").await;
    tunnel.leave().await;
    let goodbye = close(1001, "going away");
    assert_eq!(tunnel.client.read_exactly(goodbye.len()).await, goodbye);
    let (at_origin, _) = tunnel.origin.read_to_end().await;
    assert_eq!(unmask(&at_origin), [1001_u16.to_be_bytes().as_slice(), b"going away"].concat());
    assert!(tunnel.tidelock.process().exit().await.success());
}

#[tokio::test]
async fn a_close_that_is_under_way_is_left_alone() {
    let mut tunnel = Tunnel::open(NOW).await;
    tunnel.say_to_origin(&masked(0x88, &1000_u16.to_be_bytes())).await;
    tunnel.leave().await;
    tunnel.origin.send(close(1000, "bye")).await;
    tunnel.origin.half_close().await;
    let (at_client, end) = tunnel.client.read_to_end().await;
    // Ours may come first, for the node had not closed when it was told to leave; never both, and nothing behind it.
    assert!([close(1000, "bye"), close(1001, "going away")].contains(&at_client), "{at_client:x?}");
    assert_eq!(end, End::Closed);
}

#[tokio::test]
async fn a_node_that_is_lost_is_told_to_its_client_at_once() {
    // What it listened on is closed since the tunnel stands.
    let mut tunnel = Tunnel::open("").await;
    tunnel.origin.reset();
    let (at_client, end) = tunnel.client.read_to_end().await;
    assert_eq!((at_client, end), (close(1012, "node lost"), End::Closed));
}

#[tokio::test]
async fn a_node_that_is_lost_between_two_fragments_is_told_as_well() {
    let mut tunnel = Tunnel::open("").await;
    tunnel.say_to_client(b"\x01\x03one").await;
    tunnel.origin.half_close().await;
    assert_eq!(tunnel.client.read_to_end().await, (close(1012, "node lost"), End::Closed));
}

#[tokio::test]
async fn inside_a_frame_nothing_is_told_but_the_end() {
    let mut tunnel = Tunnel::open("").await;
    tunnel.say_to_client(b"\x81\x05ab").await;
    tunnel.origin.half_close().await;
    assert_eq!(tunnel.client.read_to_end().await, (Vec::new(), End::Closed));
}

#[tokio::test]
async fn a_node_that_closes_properly_is_not_lost() {
    let mut tunnel = Tunnel::open("").await;
    tunnel.origin.send(close(1000, "bye")).await;
    tunnel.origin.half_close().await;
    assert_eq!(tunnel.client.read_to_end().await, (close(1000, "bye"), End::Closed));
}

#[tokio::test]
async fn a_message_that_is_too_long_closes_both_ends() {
    let mut tunnel = Tunnel::open("[limits]\nmessage_bytes_max = \"100B\"\n").await;
    tunnel.say_to_origin(&masked(0x01, &[b'a'; 60])).await;
    tunnel.client.send(masked(0x80, &[b'b'; 60])).await;
    let goodbye = close(1009, "message too big");
    assert_eq!(tunnel.client.read_exactly(goodbye.len()).await, goodbye);
    let (at_origin, _) = tunnel.origin.read_to_end().await;
    assert_eq!(unmask(&at_origin), [1009_u16.to_be_bytes().as_slice(), b"message too big"].concat());
}

#[tokio::test]
async fn messages_that_come_too_fast_close_both_ends() {
    let mut tunnel = Tunnel::open("[limits]\nmessages_per_second_max = 10\n").await;
    tunnel.client.send(masked(0x81, b"x").repeat(50)).await;
    let goodbye = close(1008, "too many messages");
    assert_eq!(tunnel.client.read_exactly(goodbye.len()).await, goodbye);
}

/// A library that sends a message in parts, and one that pings, say no more by that.
#[tokio::test]
async fn parts_of_a_message_and_pings_are_no_messages() {
    let mut tunnel = Tunnel::open("[limits]\nmessages_per_second_max = 5\n").await;
    let parts: Vec<Vec<u8>> =
        [0x01].into_iter().chain([0x00; 30]).chain([0x80]).map(|first| masked(first, b"part")).collect();
    tunnel.say_to_origin(&parts.concat()).await;
    tunnel.say_to_origin(&masked(0x89, b"ping").repeat(50)).await;
    // Beyond any sense they are a flood all the same.
    tunnel.client.send(masked(0x89, b"").repeat(200)).await;
    let goodbye = close(1008, "too many messages");
    assert_eq!(tunnel.client.read_exactly(goodbye.len()).await, goodbye);
}

#[tokio::test]
async fn a_tunnel_of_great_age_is_asked_to_come_back() {
    let mut tunnel = Tunnel::open("[limits]\ntunnel_age_max = \"1s\"\n").await;
    let goodbye = close(1012, "connection age");
    assert_eq!(tunnel.client.read_exactly(goodbye.len()).await, goodbye);
    tunnel.say_to_origin(&masked(0x88, &1012_u16.to_be_bytes())).await;
    assert_eq!(tunnel.client.read_to_end().await, (Vec::new(), End::Closed));
}
