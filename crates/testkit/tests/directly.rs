//! Goal: the kit itself is sound, so that a red test elsewhere means the proxy.
//! Method: each part pointed directly at its other end, with no proxy between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidelock_testkit::certificates::{Authority, Certificate};
use tidelock_testkit::clients::{ClientPlan, Clients, Mode};
use tidelock_testkit::engineio::PollingSession;
use tidelock_testkit::load::Load;
use tidelock_testkit::node::{Node, NodePlan};
use tidelock_testkit::origin::{Origin, ScriptedOrigin, Step};
use tidelock_testkit::raw::{End, RawConnection, get};
use tidelock_testkit::relay::Relay;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

async fn nodes() -> [Node; 3] {
    tokio::join!(
        Node::start(NodePlan::js("a")),
        Node::start(NodePlan::js("b")),
        Node::start(NodePlan::js("c"))
    )
    .into()
}

fn plan_for(nodes: &[Node]) -> ClientPlan {
    ClientPlan { urls: nodes.iter().map(Node::url).collect(), count: 3, ..ClientPlan::to("") }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn clients_of_both_versions_echo_in_every_mode() {
    let nodes = nodes().await;
    for version in [4, 2] {
        for mode in [Mode::Polling, Mode::Websocket, Mode::Default] {
            let plan = ClientPlan { version, mode, echoes: 2, text_bytes: 900_000, ..plan_for(&nodes) };
            let report = Clients::start(&plan).await.result().await;
            let seen =
                (report.connected, report.echoes_ok, report.echoes_failed, report.connect_errors.len());
            assert_eq!(seen, (3, 12, 0, 0), "version {version}, {mode:?}: {report:#?}");
            assert_eq!(report.nodes, BTreeMap::from(["a", "b", "c"].map(|name| (name.to_owned(), 1))));
            assert_eq!(report.upgraded, if mode == Mode::Default { 3 } else { 0 });
        }
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn held_clients_come_back_when_their_node_does() {
    let mut nodes = nodes().await;
    let plan = ClientPlan { hold: true, ..plan_for(&nodes) };
    let mut clients = Clients::start(&plan).await;
    assert_eq!(clients.ready().await.connected, 3);
    nodes[1].kill().await;
    clients.until_disconnects(1).await;
    assert_eq!(clients.report().await.nodes.get("b"), None);
    nodes[1].restart().await;
    clients.until_connects(4).await;
    let who = clients.who().await;
    assert_eq!(who[1].as_ref().map(|who| who.node.as_str()), Some("b"));
    assert_eq!(nodes[1].sessions().await.sessions, 1, "it was restarted, and its counts with it");
    assert_eq!(clients.end().await.disconnects, ["transport close"]);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_node_counts_the_sessions_that_ended() {
    let node = Node::start(NodePlan::js("a").env("PING_INTERVAL", "300")).await;
    let report = Clients::start(&ClientPlan::to(node.url())).await.result().await;
    assert_eq!(report.connected, 1);
    node.until_sessions_closed(1).await;
    let sessions = node.sessions().await;
    assert_eq!((sessions.sessions, sessions.opened), (0, 1));
    assert_eq!(sessions.closed.len(), 1);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_event_comes_when_it_is_asked_for() {
    let node = Node::start(NodePlan::js("a")).await;
    let mut events = RawConnection::connect(node.address()).await;
    events.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n").await;
    events.read_until("data: 0\n\n").await;
    let mut next = RawConnection::connect(node.address()).await;
    next.send("POST /events/next HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(next.read_message().await.text(), r#"{"streams":1}"#);
    events.read_until("data: 1\n\n").await;
}

#[tokio::test]
async fn a_scripted_origin_records_whole_requests_and_plays_its_script() {
    let origin = ScriptedOrigin::start(|request| match request.start.as_str() {
        "POST /chunks HTTP/1.1" => vec![Step::byte_by_byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
        "GET /held HTTP/1.1" => vec![Step::Hold, Step::send("HTTP/1.1 204 No Content\r\n\r\n")],
        "GET /tunnel HTTP/1.1" => vec![Step::send("HTTP/1.1 101 Switching Protocols\r\n\r\n"), Step::Echo],
        _ => vec![Step::Reset],
    })
    .await;
    let mut client = RawConnection::connect(origin.address()).await;
    client
        .send_pieces([
            "POST /chunks HTTP/1.1\r\nTransfer-Enc",
            "oding: chunked\r\n\r\n3\r\nabc",
            "\r\n0\r\n\r\n",
        ])
        .await;
    assert_eq!(client.read_message().await.text(), "ok");
    client.send("GET /held HTTP/1.1\r\n\r\n").await;
    let requests = origin.until_requests(2).await;
    assert_eq!(requests[0].body, b"abc");
    assert!(requests[0].raw.ends_with(b"0\r\n\r\n"));
    origin.release();
    assert_eq!(client.read_message().await.status(), 204);
    client.send("GET /tunnel HTTP/1.1\r\n\r\nearly").await;
    assert_eq!(client.read_head().await.status(), 101);
    assert_eq!(client.read_exactly(5).await, b"early");
    client.half_close().await;
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
    origin.until_ended(1).await;

    let mut reset = RawConnection::connect(origin.address()).await;
    reset.send("GET /reset HTTP/1.1\r\n\r\n").await;
    assert_eq!(reset.read_to_end().await, (Vec::new(), End::Reset));
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_ends_a_held_answer() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let mut client = RawConnection::connect(origin.address()).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    origin.until_requests(1).await;
    client.reset();
    origin.until_ended(1).await;
}

#[tokio::test]
async fn an_origin_can_be_driven_line_by_line() {
    let origin = Origin::bind().await;
    let (answer, ()) = tokio::join!(get(origin.address(), "/x"), async {
        let mut connection = origin.accept().await;
        assert_eq!(connection.read_head().await.start, "GET /x HTTP/1.1");
        connection.send("HTTP/1.1 200 OK\r\n\r\nuntil the end").await;
        connection.half_close().await;
    });
    assert_eq!(answer.text(), "until the end");
}

#[tokio::test]
async fn a_tls_client_trusts_its_authority_and_refuses_what_has_expired() {
    let authority = Authority::new("test");
    for (certificate, trusted) in [
        (authority.issue(&["localhost", "127.0.0.1"]), true),
        (authority.issue_expired(&["localhost"]), false),
        (Authority::new("another").issue(&["localhost"]), false),
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(&certificate);
        let answering = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await?;
            stream.write_all(b"hello").await?;
            stream.shutdown().await
        });
        match RawConnection::connect_tls(address, "localhost", authority.client(&["http/1.1"])).await {
            Ok(mut client) => {
                assert!(trusted);
                assert_eq!(client.alpn(), Some(b"http/1.1".as_slice()));
                assert_eq!(client.read_to_end().await, (b"hello".to_vec(), End::Closed));
            }
            Err(error) => assert!(!trusted, "{error}"),
        }
        assert_eq!(answering.await.unwrap().is_ok(), trusted);
    }
}

fn acceptor(certificate: &Certificate) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(certificate.certificate.as_bytes())
        .collect::<Result<_, _>>()
        .expect("the certificate is PEM");
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("the key is PEM");
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key is that of the certificate");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

#[test]
fn certificates_are_written_as_pem() {
    let directory = tidelock_testkit::tidelock::directory();
    let authority = Authority::new("test");
    let _trusted = authority.write(directory.path());
    let _client = authority.client(&["h2", "http/1.1"]);
    for certificate in [
        authority.issue(&["localhost", "127.0.0.1", "*.example.com"]),
        authority.issue_expired(&["localhost"]),
        authority.issue_with_wrong_key(&["localhost"]),
    ] {
        let files = certificate.write(directory.path(), "leaf");
        let written = std::fs::read_to_string(files.certificate).unwrap();
        assert!(written.starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(certificate.key.contains("PRIVATE KEY"));
    }
}

#[tokio::test]
async fn a_relay_sends_new_connections_to_where_it_was_switched() {
    let (first, second) = (ScriptedOrigin::answering(OK).await, ScriptedOrigin::answering(OK).await);
    let relay = Relay::to(first.address()).await;
    let mut kept = RawConnection::connect(relay.address()).await;
    assert_eq!(kept.try_ask("GET /1 HTTP/1.1\r\n\r\n").await.unwrap().status(), 200);
    relay.switch(second.address());
    assert_eq!(get(relay.address(), "/2").await.status(), 200);
    assert_eq!(kept.try_ask("HEAD /3 HTTP/1.1\r\n\r\n").await.unwrap().status(), 200);
    let starts = |origin: &ScriptedOrigin| {
        origin.requests().into_iter().map(|request| request.start).collect::<Vec<_>>()
    };
    assert_eq!(starts(&first), ["GET /1 HTTP/1.1", "HEAD /3 HTTP/1.1"]);
    assert_eq!(starts(&second), ["GET /2 HTTP/1.1"]);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_load_tells_what_failed() {
    let mut node = Node::start(NodePlan::js("a")).await;
    let load = Load::start(node.address());
    load.until_answered(10).await;
    let report = load.stop().await;
    assert!(report.gets >= 10 && report.heads >= 10 && report.handshakes >= 10, "{report:?}");
    assert_eq!(report.failures, [""; 0]);
    node.kill().await;
    let refusing = ScriptedOrigin::answering("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let load = Load::start(refusing.address());
    load.until_answered(1).await;
    assert!(!load.stop().await.failures.is_empty());
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_session_by_hand_is_a_session() {
    let node = Node::start(NodePlan::js("a").env("LOG_POLLS", "1")).await;
    // The node connects a session of EIO=3 to the main namespace by itself.
    for (query, connect, close) in [("EIO=4", "40", "1"), ("EIO=4&j=0", "40", "1"), ("EIO=3", "", "1:1")] {
        let session = PollingSession::open(node.address(), query).await;
        if !connect.is_empty() {
            assert_eq!(session.post(connect).await.text(), "ok", "{query}");
        }
        assert!(session.poll().await.text().contains("40"), "{query}");
        let mut pending = RawConnection::connect(node.address()).await;
        session.begin_poll(&mut pending).await;
        node.until_polled(&session.sid, 2).await;
        assert_eq!(session.post(close).await.text(), "ok", "{query}");
        assert_eq!(pending.read_message().await.status(), 200, "{query}");
        assert_eq!(session.with_sid("nobody").poll().await.status(), 400, "{query}");
    }
    node.until_sessions_closed(3).await;
    node.until_sessions(0).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn clients_leave_one_node() {
    let nodes = nodes().await;
    let mut clients = Clients::start(&ClientPlan { hold: true, ..plan_for(&nodes) }).await;
    assert!(clients.ready().await.is_even(3));
    assert_eq!(clients.leave("b").await, 1);
    nodes[1].until_sessions_closed(1).await;
    let report = clients.end().await;
    assert_eq!((report.connected, report.disconnects.len()), (2, 0), "leaving is no loss");
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
