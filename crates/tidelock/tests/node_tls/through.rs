//! What goes through: requests, tunnels, whole clients, probes; and what stays of it over a reload.

use testkit::certificates::Authority;
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::node::{Node, NodePlan};
use testkit::origin::{Origin, ScriptedOrigin};
use testkit::process::Signal;
use testkit::raw::{RawConnection, get};
use testkit::tidelock::{Tidelock, directory};
use testkit::tls_front::{Handshake, TlsFront};

use crate::{OK, TIDELOCK, World, file, trusting};

/// The handshake of a client that asks for `name` and shows nothing.
fn full(name: &str) -> Handshake {
    Handshake {
        name: Some(name.to_owned()),
        alpn: Some("http/1.1".to_owned()),
        is_resumed: false,
        has_shown: false,
    }
}

#[tokio::test]
async fn requests_go_over_one_connection_and_the_next_resumes() {
    let mut world = World::new(|authority| authority.issue(&["localhost"]), "localhost", "").await;
    let mut client = RawConnection::connect(world.proxy.address()).await;
    for _ in 0..20 {
        client.send("GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
        assert_eq!(client.read_message().await.text(), "ok");
    }
    assert_eq!(world.node.handshakes(), [full("localhost")]);
    assert_eq!(world.origin.requests()[0].header("host"), Some("a.example"));
    // The node says that its idle connections end; that is no surplus, and the next one is another.
    world.node.close_all();
    world.origin.until_ended(1).await;
    for _ in 0..3 {
        client.send("POST /a HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(client.read_message().await.text(), "ok");
    }
    assert_eq!(
        world.node.handshakes(),
        [full("localhost"), Handshake { is_resumed: true, ..full("localhost") }]
    );
    let log = world.log();
    assert!(!log.contains("more than its answer"), "{log}");
}

#[tokio::test]
async fn an_address_is_looked_for_among_the_addresses_of_the_certificate() {
    let world = World::new(|authority| authority.issue(&["127.0.0.1"]), "127.0.0.1", "").await;
    assert_eq!(world.status().await, 200);
    assert_eq!(
        world.node.handshakes()[0].name,
        None,
        "an address is no name to ask for (RFC 6066 section 3)"
    );
}

#[tokio::test]
async fn another_name_is_asked_for_and_looked_for() {
    let issue = |authority: &Authority| authority.issue(&["app.internal"]);
    let world = World::new(issue, "127.0.0.1", "server_name = \"app.internal\"\n").await;
    assert_eq!(world.status().await, 200);
    assert_eq!(world.node.handshakes(), [full("app.internal")]);
}

#[tokio::test]
async fn a_certificate_of_its_own_is_trusted_by_name() {
    let certificate = Authority::self_signed(&["localhost"]);
    let origin = ScriptedOrigin::answering(OK).await;
    let node = TlsFront::to(origin.address(), &certificate).await;
    let folder = directory();
    let files = certificate.write(folder.path(), "node");
    let more = format!("[upstream.nodes.tls]\nca = {:?}\n", files.certificate);
    let url = format!("https://localhost:{}", node.address().port());
    let proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&url], &more)).await;
    assert_eq!(get(proxy.address(), "/").await.status(), 200);
    // Another that says the same of itself is another all the same.
    node.show(&Authority::self_signed(&["localhost"]));
    node.close_all();
    origin.until_ended(1).await;
    assert_eq!(get(proxy.address(), "/").await.status(), 502);
}

#[tokio::test]
async fn nothing_is_looked_at_where_that_is_said() {
    let origin = ScriptedOrigin::answering(OK).await;
    let node = TlsFront::to(origin.address(), &Authority::new("unknown").issue_expired(&["b.example"])).await;
    let url = format!("https://localhost:{}", node.address().port());
    let text = file(&[&url], "[upstream.nodes.tls]\nverify = false\n");
    let proxy = Tidelock::start(TIDELOCK, &text).await;
    // That this is warned of is the report's business.
    assert_eq!(get(proxy.address(), "/").await.status(), 200);
}

#[tokio::test]
async fn a_certificate_is_shown_to_a_node_that_demands_one() {
    let (authority, clients) = (Authority::new("test"), Authority::new("clients"));
    let origin = ScriptedOrigin::answering(OK).await;
    let node = TlsFront::demanding(origin.address(), &authority.issue(&["localhost"]), clients.pem()).await;
    let folder = directory();
    let own = clients.issue(&["tidelock"]).write(folder.path(), "own");
    let more = format!(
        "{}certificate = {:?}\nkey = {:?}\n",
        trusting(&authority, folder.path()),
        own.certificate,
        own.key
    );
    let url = format!("https://localhost:{}", node.address().port());
    let proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&url], &more)).await;
    assert_eq!(get(proxy.address(), "/").await.status(), 200);
    assert_eq!(node.handshakes(), [Handshake { has_shown: true, ..full("localhost") }]);
}

#[tokio::test]
async fn a_websocket_goes_both_ways() {
    let authority = Authority::new("test");
    let origin = Origin::bind().await;
    let node = TlsFront::to(origin.address(), &authority.issue(&["localhost"])).await;
    let folder = directory();
    let more = trusting(&authority, folder.path());
    let url = format!("https://localhost:{}", node.address().port());
    let proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&url], &more)).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(HANDSHAKE).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send(SWITCHED).await;
    assert_eq!(client.read_head().await.status(), 101);
    let long = vec![b'x'; 300_000];
    let frame = [&[0x82, 127, 0, 0, 0, 0, 0, 4, 0x93, 0xe0][..], &long].concat();
    // Both at once, so that neither waits for the other.
    let (_, came) = tokio::join!(node.send(&frame), client.read_exactly(frame.len()));
    assert!(came == frame);
    let masked = [&[0x82, 0xff, 0, 0, 0, 0, 0, 4, 0x93, 0xe0, 0, 0, 0, 0][..], &long].concat();
    let (_, came) = tokio::join!(client.send(&masked), node.read_exactly(masked.len()));
    assert!(came == masked);
    node.send(b"\x88\x02\x03\xe8").await;
    assert_eq!(client.read_exactly(4).await, b"\x88\x02\x03\xe8");
}

/// Everything that keeps a client on its node is there, and its close and its drain, with a plain node beside those of TLS.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn clients_of_socket_io_are_at_home() {
    let authority = Authority::new("test");
    let nodes = [
        Node::start(NodePlan::js("a")).await,
        Node::start(NodePlan::js("b")).await,
        Node::start(NodePlan::js("c")).await,
    ];
    let certificate = authority.issue(&["localhost"]);
    let fronts = [
        TlsFront::to(nodes[0].address(), &certificate).await,
        TlsFront::to(nodes[1].address(), &certificate).await,
    ];
    let folder = directory();
    let more = trusting(&authority, folder.path());
    let [a, b] = fronts.each_ref().map(|front| format!("https://localhost:{}", front.address().port()));
    let c = nodes[2].address().to_string();
    let mut proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&a, &b, &c], &more)).await;
    for mode in [Mode::Default, Mode::Polling, Mode::Websocket] {
        let plan =
            ClientPlan { count: 12, mode, echoes: 2, binary_bytes: 50_000, ..ClientPlan::to(proxy.url()) };
        let report = Clients::start(&plan).await.result().await;
        assert_eq!((report.connect_errors.len(), report.upgrade_errors.len()), (0, 0), "{report:#?}");
        assert_eq!((report.connected, report.echoes_failed), (12, 0), "{report:#?}");
        assert!(report.is_even(3), "{report:#?}");
    }
    // A node that leaves is left politely: its polling sessions are closed by requests of tidelock's own.
    let plan = ClientPlan { count: 6, mode: Mode::Polling, hold: true, ..ClientPlan::to(proxy.url()) };
    let clients = Clients::start(&plan).await;
    clients.ready().await;
    proxy.rewrite(&format!("{}\n[drain]\nwindow = \"200ms\"\n", file(&[&b, &c], &more)));
    proxy.process().signal(Signal::HUP);
    nodes[0].until_sessions(0).await;
    let report = clients.end().await;
    assert_eq!(report.connect_errors, [""; 0], "{report:#?}");
}

#[tokio::test]
async fn a_probe_speaks_tls() {
    let authority = Authority::new("test");
    let origin = ScriptedOrigin::answering(OK).await;
    let node = TlsFront::to(origin.address(), &authority.issue(&["localhost"])).await;
    let folder = directory();
    let probe = "[upstream.nodes.health]\nprobe = \"http\"\npath = \"/healthy\"\ninterval = \"100ms\"\n";
    let more = format!("{}{probe}", trusting(&authority, folder.path()));
    let url = format!("https://localhost:{}", node.address().port());
    let proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&url], &more)).await;
    let probes = origin.until_requests(3).await;
    assert!(probes.iter().all(|probe| probe.start.starts_with("GET /healthy ")), "{probes:#?}");
    assert_eq!(probes[0].header("host"), Some(&*url["https://".len()..].to_owned()));
    let state = &proxy.status().await["upstreams"][0]["nodes"][0]["state"];
    assert_eq!(state, "up");
}

/// What a reload does not change goes on over the connections that are there; what it changes is shown at once.
#[tokio::test]
async fn a_reload_opens_anew_what_has_changed() {
    let mut world = World::new(|authority| authority.issue(&["localhost"]), "localhost", "").await;
    assert_eq!(world.status().await, 200);
    world.reload().await;
    assert_eq!(world.status().await, 200);
    assert_eq!(world.node.handshakes().len(), 1, "nothing has changed");
    // Another authority in the same file.
    let other = Authority::new("other");
    let _ = other.write(world.proxy.directory());
    world.reload().await;
    assert_eq!(world.status().await, 502, "the node is of nobody who is trusted now");
    world.node.show(&other.issue(&["localhost"]));
    world.until_status(200).await;
    let _ = world.authority.write(world.proxy.directory());
    world.reload().await;
    assert_eq!(world.status().await, 502);
}

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nConnection: Upgrade\r\n\r\n";
