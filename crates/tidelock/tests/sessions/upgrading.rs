//! Goal: a drain that comes while a client is on its way from polling to a WebSocket ends its session once, and leaves no
//! client deaf. Method: an upgrade by hand on a real node, real clients that have just come, and a node whose 101 is late.

use testkit::TIMEOUT;
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::engineio::PollingSession;
use testkit::node::NodePlan;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock};
use tokio::time::timeout;

use crate::logins::two;
use crate::stand::{SECRET, SWITCHED, TIDELOCK, file_of, verb};

const DRAIN: &str = "[drain]\nwindow = \"0s\"\ndeadline = \"20s\"\n";

/// A WebSocket at `target`, after its 101.
async fn websocket(proxy: &Tidelock, target: &str) -> RawConnection {
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(opening(target)).await;
    assert_eq!(client.read_head().await.status(), 101);
    client
}

fn opening(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A text of less than 126 bytes, as clients frame it.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).expect("short");
    [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat()
}

/// The payload of the next frame, and whether it is a Close.
async fn frame(client: &mut RawConnection) -> (bool, String) {
    let head = client.read_exactly(2).await;
    let payload = client.read_exactly(head[1].into()).await;
    (head[0] == 0x88, String::from_utf8_lossy(&payload).into_owned())
}

/// The client has stopped polling, as it is told to upgrade, and has not said so.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_tunnel_is_not_closed_before_its_session_has_come_over() {
    let nodes = two(NodePlan::js).await;
    let proxy = Tidelock::start(TIDELOCK, &(FilePlan::to(&nodes).text() + DRAIN)).await;
    let session = PollingSession::open(proxy.address(), "EIO=4").await;
    let here = usize::from(nodes[1].sessions().await.sessions == 1);
    assert_eq!(session.post("40").await.text(), "ok");
    assert!(session.poll().await.text().starts_with("40"));
    let mut polling = RawConnection::connect(proxy.address()).await;
    session.begin_poll(&mut polling).await;
    let mut probe =
        websocket(&proxy, &format!("/socket.io/?EIO=4&transport=websocket&sid={}", session.sid)).await;
    probe.send(text("2probe")).await;
    assert_eq!(frame(&mut probe).await, (false, "3probe".to_owned()));
    assert_eq!(polling.read_message().await.text(), "6", "the node ends the poll");
    // Of three sessions more, one at least is on the same node, and shows when the turn of all has come.
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = websocket(&proxy, "/socket.io/?EIO=4&transport=websocket").await;
        assert!(frame(&mut other).await.1.starts_with("0{"));
        others.push(other);
    }
    let address = nodes[here].address().to_string();
    let arguments = ["drain", &address];
    let draining = verb(proxy.directory(), &arguments);
    let upgrading = async {
        let [one, two, three] = &mut others[..] else { unreachable!("three were opened") };
        let (is_close, _) = tokio::select! {
            told = frame(one) => told,
            told = frame(two) => told,
            told = frame(three) => told,
        };
        assert!(is_close);
        proxy.status().await;
        assert!(probe.is_quiet(), "nobody has told it anything");
        probe.send([text("5"), text("421[\"echo\",\"x\"]")].concat()).await;
        loop {
            if let (true, _) = frame(&mut probe).await {
                break;
            }
        }
        probe.half_close().await;
        drop(others);
    };
    let ((code, said), ()) = tokio::join!(draining, upgrading);
    assert_eq!(code, 0, "{said}");
    nodes[here].until_sessions(0).await;
    let closed = nodes[here].sessions().await.closed;
    let sids: Vec<_> = closed.iter().filter(|closed| session.sid.starts_with(&closed.sid)).collect();
    assert_eq!(sids.len(), 1, "{closed:?}");
    assert_eq!(sids[0].reason, "transport close", "it had come over");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn clients_that_have_just_come_move_on() {
    const CLIENTS: usize = 20;
    let nodes = two(NodePlan::js).await;
    let proxy = Tidelock::start(TIDELOCK, &(FilePlan::to(&nodes).text() + DRAIN)).await;
    let plan = ClientPlan { count: CLIENTS, mode: Mode::Default, hold: true, ..ClientPlan::to(proxy.url()) };
    let mut clients = Clients::start(&plan).await;
    clients.until_connects(1).await;
    let (code, said) = verb(proxy.directory(), &["drain", &nodes[0].address().to_string()]).await;
    assert_eq!(code, 0, "{said}");
    let gone = nodes[0].sessions().await;
    assert_eq!((gone.sessions, gone.closed.len()), (0, gone.opened), "each ends once: {gone:?}");
    clients.ready().await;
    let all_are_back = async {
        loop {
            let report = clients.report().await;
            if report.connected == CLIENTS {
                break report;
            }
        }
    };
    let report = timeout(TIMEOUT, all_are_back).await.expect("all come back");
    assert!(report.disconnects.iter().all(|reason| reason == "transport close"), "{report:#?}");
    assert_eq!(report.connect_errors, [""; 0], "{report:#?}");
}

/// The tunnel gets its turn when it is there.
#[tokio::test]
async fn a_101_that_comes_in_the_midst_of_a_drain_opens_a_tunnel_that_is_told() {
    let hello = [&b"\x81\x01"[..], b"a"].concat();
    let late = vec![Step::Hold, Step::send(SWITCHED), Step::Send(hello), Step::Echo];
    let node = ScriptedOrigin::start(move |_| late.clone()).await;
    let other = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let entries = [&node, &other].map(|node| format!("\"{}\"", node.address()));
    // The other one stands in for it, so that the first client goes there.
    let backup = format!("{{ address = {}, backup = true }}", entries[1]);
    let proxy = Tidelock::start(TIDELOCK, &file_of(&[&entries[0], &backup], SECRET, "")).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(opening("/chat")).await;
    node.until_requests(1).await;
    let address = node.address().to_string();
    let arguments = ["drain", &address];
    let draining = verb(proxy.directory(), &arguments);
    let opening = async {
        let is_draining = |status: &serde_json::Value| status["upstreams"][0]["nodes"][0]["draining"] == true;
        while !is_draining(&proxy.status().await) {}
        node.release();
        assert_eq!(client.read_head().await.status(), 101);
        assert_eq!(frame(&mut client).await, (false, "a".to_owned()));
        let (is_close, close) = frame(&mut client).await;
        assert!(is_close, "{close}");
        client.half_close().await;
    };
    let ((code, said), ()) = tokio::join!(draining, opening);
    assert_eq!(code, 0, "{said}");
}

/// As behind a front door that lets no WebSocket live: its ids have no tags, so that only the session table knows its node.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_probe_that_fails_between_two_polls_costs_no_session() {
    let nodes = two(NodePlan::js).await;
    let learned = FilePlan::to(&nodes).text() + "sticky = \"engineio-learned\"\n";
    let proxy = Tidelock::start(TIDELOCK, &learned).await;
    for _ in 0..8 {
        let session = PollingSession::open(proxy.address(), "EIO=4").await;
        assert_eq!(session.post("40").await.text(), "ok");
        assert!(session.poll().await.text().starts_with("40"));
        let mut probe =
            websocket(&proxy, &format!("/socket.io/?EIO=4&transport=websocket&sid={}", session.sid)).await;
        probe.send(text("2probe")).await;
        assert_eq!(frame(&mut probe).await, (false, "3probe".to_owned()));
        probe.half_close().await;
        probe.read_to_end().await;
        assert_eq!(session.post("421[\"echo\",\"x\"]").await.text(), "ok", "its node knows it");
    }
    let status = proxy.status().await;
    let counted: u64 =
        (0..2).filter_map(|node| status["upstreams"][0]["nodes"][node]["sessions"].as_u64()).sum();
    assert_eq!(counted, 8, "{status}");
}
