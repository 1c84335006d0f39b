//! Who ended it, as the log has it: whoever wanted the end first, whoever closes the connection then.

use serde_json::Value;
use testkit::certificates::Authority;
use testkit::origin::{Origin, ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock, directory};

use crate::{GET, POST, WEBSOCKET, start};

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const CLIENTS_CLOSE: [u8; 8] = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
const NODES_CLOSE: [u8; 4] = [0x88, 0x02, 0x03, 0xe9];

/// How a tunnel ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    ClientCloses,
    ClientLeaves,
    ClientResets,
    /// Of a node that is about to end, and listens no more.
    ClientLeavesTheLast,
    NodeCloses,
    NodeLeaves,
    NodeResets,
    /// And the client, which could go on, resets what is left.
    NodeLeavesClientResets,
    /// It listens no more.
    NodeDies,
    ClientSaysTooMuch,
}

impl Ending {
    const ALL: [(Self, &str, Option<u64>); 10] = [
        (Self::ClientCloses, "client", Some(1000)),
        (Self::ClientLeaves, "client", None),
        (Self::ClientResets, "client", None),
        (Self::ClientLeavesTheLast, "client", None),
        (Self::NodeCloses, "origin", Some(1001)),
        (Self::NodeLeaves, "origin", None),
        (Self::NodeResets, "origin", None),
        (Self::NodeLeavesClientResets, "origin", None),
        (Self::NodeDies, "node lost", Some(1012)),
        (Self::ClientSaysTooMuch, "message too big", Some(1009)),
    ];

    async fn happen(self, mut client: RawConnection, mut node: RawConnection, origin: Origin) {
        match self {
            Self::ClientCloses => {
                client.send(CLIENTS_CLOSE).await;
                node.read_exactly(CLIENTS_CLOSE.len()).await;
                node.send([0x88, 0x02, 0x03, 0xe8]).await;
                drop(node);
                client.read_to_end().await;
            }
            Self::ClientLeaves => {
                drop(client);
                node.read_to_end().await;
            }
            Self::ClientResets => {
                client.reset();
                node.read_to_end().await;
            }
            Self::ClientLeavesTheLast => {
                drop(origin);
                client.half_close().await;
                node.read_to_end().await;
                drop(node);
                client.read_to_end().await;
            }
            Self::NodeCloses => {
                node.send(NODES_CLOSE).await;
                client.read_exactly(NODES_CLOSE.len()).await;
                client.send(CLIENTS_CLOSE).await;
                drop(client);
                node.read_to_end().await;
            }
            Self::NodeLeaves => {
                drop(node);
                client.read_to_end().await;
            }
            Self::NodeResets => {
                node.reset();
                client.read_to_end().await;
            }
            Self::NodeLeavesClientResets => {
                node.half_close().await;
                client.read_to_end().await;
                client.reset();
                node.read_to_end().await;
            }
            Self::NodeDies => {
                drop((origin, node));
                client.read_to_end().await;
            }
            Self::ClientSaysTooMuch => {
                client.send([0x82, 0xfe, 0xff, 0xff, 0, 0, 0, 0]).await;
                client.read_exactly(4).await;
                node.read_exactly(8).await;
            }
        }
    }
}

/// A proxy, one socket through which is a tunnel now.
async fn tunnel(origin: &Origin, over_tls: bool) -> (Tidelock, RawConnection, RawConnection) {
    let directory = directory();
    let authority = Authority::new("ends");
    let mut plan = FilePlan::to_addresses([origin.address()]).top("workers = 1");
    if over_tls {
        plan = plan.tls(&authority.issue(&["a.example"]).write(directory.path(), "a"));
    }
    let file = format!("{}\n[limits]\nmessage_bytes_max = \"1000B\"\n", plan.text());
    let proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &file).await;
    let mut client = match over_tls {
        false => RawConnection::connect(proxy.address()).await,
        true => RawConnection::connect_tls(proxy.address(), "a.example", authority.client(&[]))
            .await
            .expect("the certificate is good"),
    };
    client.send(WEBSOCKET).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send(SWITCHED).await;
    assert_eq!(client.read_head().await.status(), 101);
    // Both directions are open, and at the edge of a message.
    client.send([0x81, 0x80, 0, 0, 0, 0]).await;
    node.read_exactly(6).await;
    node.send([0x81, 0]).await;
    client.read_exactly(2).await;
    (proxy, client, node)
}

#[tokio::test]
async fn the_log_names_who_ended_a_tunnel() {
    for over_tls in [false, true] {
        for (ending, want, code) in Ending::ALL {
            let origin = Origin::bind().await;
            let (mut proxy, client, node) = tunnel(&origin, over_tls).await;
            ending.happen(client, node, origin).await;
            let line = log_line(&mut proxy, "\"tunnel\":").await;
            assert_eq!(line["tunnel"], want, "{ending:?}, over TLS: {over_tls}: {line}");
            assert_eq!(line["close"].as_u64(), code, "{ending:?}, over TLS: {over_tls}: {line}");
        }
    }
}

async fn log_line(proxy: &mut Tidelock, about: &str) -> Value {
    let is_it = |line: &str| line.starts_with('{') && line.contains(about);
    let line = proxy.process().wait_for_lines_since(Default::default(), 1, is_it).await.remove(0);
    serde_json::from_str(&line).expect("a line is an object")
}

/// Of one exchange, by what the node does with a request.
async fn check(request: &str, steps: &[Step], client: Leaves, want: (u64, &str)) {
    let steps = steps.to_vec();
    let origin = ScriptedOrigin::start(move |_| steps.clone()).await;
    let mut proxy = start(&[origin.address()], "[timeouts]\nbody = \"300ms\"\nanswer = \"1s\"\n").await;
    let mut connection = RawConnection::connect(proxy.address()).await;
    connection.send(request).await;
    let mut stays = None;
    match client {
        Leaves::Not => drop(connection.read_to_end().await),
        Leaves::OnceAsked => {
            origin.until_requests(1).await;
            drop(connection);
        }
        Leaves::ByReset => {
            origin.until_requests(1).await;
            connection.reset();
        }
        Leaves::OnceAnswered => {
            connection.read_head().await;
            drop(connection);
        }
        Leaves::TakesNothing => stays = Some(connection),
    }
    let line = log_line(&mut proxy, "\"status\":").await;
    assert_eq!((line["status"].as_u64(), line["fault"].as_str()), (Some(want.0), Some(want.1)), "{line}");
    drop(stays);
}

/// How the client of an exchange ends it.
#[derive(Debug, Clone, Copy)]
enum Leaves {
    Not,
    OnceAsked,
    ByReset,
    OnceAnswered,
    /// It stays, and reads nothing.
    TakesNothing,
}

#[tokio::test]
async fn the_log_names_who_ended_an_exchange() {
    let closing = POST.replace("Host", "Connection: close\r\nHost");
    let begun = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc";
    let get = GET.replace("Host", "Connection: close\r\nHost");
    check(GET, &[Step::Hold], Leaves::OnceAsked, (499, "client closed")).await;
    check(GET, &[Step::Hold], Leaves::ByReset, (499, "client closed")).await;
    check(GET, &[Step::send(begun), Step::Hold], Leaves::OnceAnswered, (200, "client closed")).await;
    let half = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc";
    check(half, &[], Leaves::Not, (408, "request body timed out")).await;
    check(&closing, &[Step::Close], Leaves::Not, (502, "node closed without an answer")).await;
    check(&closing, &[Step::Reset], Leaves::Not, (502, "node closed without an answer")).await;
    check(&closing, &[Step::Hold], Leaves::Not, (504, "node did not answer in time")).await;
    check(&get, &[Step::send(begun), Step::Close], Leaves::Not, (200, "node cut its answer short")).await;
    check(&get, &[Step::send(begun), Step::Reset], Leaves::Not, (200, "node cut its answer short")).await;
    check(&get, &[Step::send(begun), Step::Hold], Leaves::Not, (200, "node stopped in its answer")).await;
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n{}", "x".repeat(30_000_000));
    let stays = Leaves::TakesNothing;
    check(&get, &[Step::send(&long)], stays, (200, "client did not take the answer")).await;
}

/// A node that reads nothing, and a client that would send more.
#[tokio::test]
async fn the_log_names_a_node_that_takes_no_request() {
    let origin = Origin::bind().await;
    let mut proxy = start(&[origin.address()], "[timeouts]\nbody = \"300ms\"\n").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000000\r\n\r\n").await;
    let _node = origin.accept().await;
    let body = vec![b'x'; 1 << 20];
    while client.try_send(&body).await.is_ok() {}
    let line = log_line(&mut proxy, "\"status\":").await;
    assert_eq!(
        (line["status"].as_u64(), line["fault"].as_str()),
        (Some(504), Some("node did not take the request"))
    );
}
