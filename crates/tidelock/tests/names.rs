//! Goal: nodes come and go with what their names resolve to, without a reload and without a lost request; a resolver
//! that fails changes nothing.
//! Method: a real dnsmasq that is told other things, killed and started again; nodes on several loopback addresses, and
//! a steady load. What counts is which node gets requests, and what clients see.

use std::net::SocketAddr;

use testkit::dns::{Dns, Zone};
use testkit::load::Load;
use testkit::message::Message;
use testkit::origin::{Origin, ScriptedOrigin, Step};
use testkit::process::{Signal, tells};
use testkit::raw::{RawConnection, get};
use testkit::tidelock::{Tidelock, config_for, directory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn nodes_come_and_go_with_their_addresses() {
    let [first, second] = nodes([[127, 0, 0, 2], [127, 0, 0, 3]]).await;
    let dns = Dns::start(&Zone::default(), &[("app.test", "127.0.0.2")]).await;
    let mut proxy = start(&[&format!("app.test:{}", first.address().port())], dns.address(), "").await;
    let load = Load::plain(proxy.address(), 4, 2);
    load.until_answered(10).await;
    assert!(!first.requests().is_empty() && second.requests().is_empty());

    dns.change(&[("app.test", "127.0.0.2"), ("app.test", "127.0.0.3")]).await;
    second.until_requests(10).await;
    // One on each.
    let mut tunnels = [tunnel(proxy.address()).await, tunnel(proxy.address()).await];

    dns.change(&[("app.test", "127.0.0.3")]).await;
    let drained = |line: &str| tells(line, "node_drained") && line.contains("left=0");
    let [one, other] = &mut tunnels;
    let close = tokio::select! {
        close = one.read_exactly(SERVICE_RESTART.len()) => close,
        close = other.read_exactly(SERVICE_RESTART.len()) => close,
    };
    assert_eq!(close, SERVICE_RESTART);
    drop(tunnels);
    proxy.process().wait_for_line(drained).await;
    let left = first.requests().len();
    load.until_answered(20).await;
    assert_eq!(first.requests().len(), left, "nothing more goes to an address that is gone");

    // It comes back, and the other goes.
    dns.change(&[("app.test", "127.0.0.2")]).await;
    first.until_requests(left + 10).await;
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
}

#[tokio::test]
async fn a_socket_in_a_folder_is_a_node() {
    let directory = directory();
    let path = directory.path().join("app.sock");
    let written = format!("unix:{}", path.display());
    let config = config_for(&[]).replace("nodes = []", &format!("nodes = [{written:?}]"));
    let proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
    // Its app may come later, and come again.
    assert_eq!(get(proxy.address(), "/").await.status(), 503);
    for round in 0..2 {
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).unwrap();
        let app = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut asked = Vec::new();
                    while !asked.ends_with(b"\r\n\r\n") && client.read_buf(&mut asked).await.unwrap() > 0 {}
                    client
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
                        .await
                });
            }
        });
        // A probe has to find it first.
        let answer = loop {
            match get(proxy.address(), "/").await {
                answer if answer.status() == 503 => {}
                answer => break answer,
            }
        };
        assert_eq!((answer.status(), answer.text().as_str()), (200, "ok"), "round {round}");
        let status = proxy.status().await;
        assert_eq!(status["upstreams"][0]["nodes"][0]["address"], *written, "{status:#}");
        app.abort();
        assert!(app.await.unwrap_err().is_cancelled());
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn a_name_of_this_machine_is_one_node_wherever_it_listens() {
    let dns = Dns::start(&Zone::default(), &[("both.test", "127.0.0.1"), ("both.test", "::1")]).await;
    // Node.js listens on one of the two for `listen(3000, "localhost")`, by its version.
    for name in ["localhost", "both.test"] {
        let (origin, refuses_v4) = Origin::bind_v6().await;
        let port = origin.address().port();
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        let node = ScriptedOrigin::start_on(origin, |_| vec![Step::send(answer)]);
        let proxy =
            start(&[&format!("{name}:{port}"), &format!("127.0.0.1:{port}")], dns.address(), "").await;
        for _ in 0..4 {
            assert_eq!(get(proxy.address(), "/").await.status(), 200, "{name}");
        }
        assert_eq!(node.requests().len(), 4, "{name}");
        drop(refuses_v4);
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn a_resolver_that_fails_changes_nothing() {
    let [first, second] = nodes([[127, 0, 0, 2], [127, 0, 0, 3]]).await;
    let mut dns = Dns::start(&Zone::default(), &[("app.test", "127.0.0.2")]).await;
    let mut proxy = start(&[&format!("app.test:{}", first.address().port())], dns.address(), "").await;
    let load = Load::plain(proxy.address(), 4, 2);
    load.until_answered(10).await;

    dns.kill().await;
    proxy.process().wait_for_line(|line| tells(line, "name_failed")).await;
    load.until_answered(20).await;

    // It is back, and knows nothing: that the name is asked for twice shows that the first answer has been taken.
    let dns = Dns::start_at(dns.address(), &Zone::default(), &[]).await;
    dns.until_asked("app.test", 2).await;
    load.until_answered(20).await;

    dns.change(&[("app.test", "127.0.0.3")]).await;
    second.until_requests(10).await;
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
}

/// As when a registrar, or somebody's zone file, is a step ahead of the machines. What works stays, until something of what
/// DNS says works too.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn addresses_where_nothing_is_empty_no_pool() {
    let [first, second] = nodes([[127, 0, 0, 2], [127, 0, 0, 3]]).await;
    let dns = Dns::start(&Zone::default(), &[("app.test", "127.0.0.2")]).await;
    let mut proxy = start(&[&format!("app.test:{}", first.address().port())], dns.address(), "").await;
    let load = Load::plain(proxy.address(), 4, 2);
    load.until_answered(10).await;

    // Nobody listens there.
    dns.change(&[("app.test", "127.0.0.4"), ("app.test", "127.0.0.5")]).await;
    let down = |line: &str| tells(line, "node_down") && line.contains("127.0.0.5");
    proxy.process().wait_for_line(down).await;
    let asked = first.requests().len();
    first.until_requests(asked + 20).await;

    // Now one does, and the old one goes.
    dns.change(&[("app.test", "127.0.0.3"), ("app.test", "127.0.0.5")]).await;
    proxy.process().wait_for_line(|line| tells(line, "name_trusted")).await;
    second.until_requests(10).await;
    let left = first.requests().len();
    load.until_answered(20).await;
    assert!(first.requests().len() <= left + 4, "only what was under way");
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn addresses_that_are_no_node_s_are_skipped() {
    let [node] = nodes([[127, 0, 0, 2]]).await;
    let said = [("app.test", "0.0.0.0"), ("app.test", "224.0.0.1"), ("app.test", "127.0.0.2")];
    let dns = Dns::start(&Zone::default(), &said).await;
    let mut proxy = start(&[&format!("app.test:{}", node.address().port())], dns.address(), "").await;
    node_gets_requests(&node, proxy.address()).await;
    let status = proxy.status().await;
    assert_eq!(status["upstreams"][0]["nodes"].as_array().map(Vec::len), Some(1), "{status:#}");
    for address in ["0.0.0.0", "224.0.0.1"] {
        proxy.process().wait_for_line(|line| tells(line, "address_skipped") && line.contains(address)).await;
    }
    // A name that means nothing else means nothing, and what it meant stays.
    dns.change(&[("app.test", "0.0.0.0")]).await;
    proxy.process().wait_for_line(|line| tells(line, "name_failed") && line.contains("0.0.0.0")).await;
    node_gets_requests(&node, proxy.address()).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn a_name_that_nobody_knows_yet_does_not_stop_the_start() {
    let [node] = nodes([[127, 0, 0, 2]]).await;
    let dns = Dns::start(&Zone::default(), &[]).await;
    let mut proxy = start(&[&format!("app.test:{}", node.address().port())], dns.address(), "").await;
    assert_eq!(get(proxy.address(), "/").await.status(), 503);
    dns.change(&[("app.test", "127.0.0.2")]).await;
    proxy.process().wait_for_line(|line| tells(line, "name_resolved")).await;
    node_gets_requests(&node, proxy.address()).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn srv_records_say_ports_weights_and_backups() {
    let [light, heavy, backup] = nodes([[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 4]]).await;
    let port = |node: &ScriptedOrigin| node.address().port();
    let zone = Zone::default()
        .host("a.test", "127.0.0.2", 1)
        .host("b.test", "127.0.0.3", 1)
        .host("c.test", "127.0.0.4", 1)
        .service("_chat._tcp.app.test", &format!("10 100 {} a.test", port(&light)))
        .service("_chat._tcp.app.test", &format!("10 300 {} b.test", port(&heavy)))
        .service("_chat._tcp.app.test", &format!("20 100 {} c.test", port(&backup)));
    let mut dns = Dns::start(&zone, &[]).await;
    let proxy = start(&["srv:_chat._tcp.app.test"], dns.address(), "").await;
    let mut tunnels = Vec::new();
    for _ in 0..8 {
        tunnels.push(tunnel(proxy.address()).await);
    }
    let counts = [&light, &heavy, &backup].map(|node| node.requests().len());
    assert_eq!(counts, [2, 6, 0], "a node of three times the weight has three times the tunnels");

    // Another service is there now; the nodes that it does not name go.
    dns.kill().await;
    let zone = Zone::default()
        .host("c.test", "127.0.0.4", 1)
        .service("_chat._tcp.app.test", &format!("20 0 {} c.test", port(&backup)));
    let _dns = Dns::start_at(dns.address(), &zone, &[]).await;
    for mut tunnel in tunnels {
        assert_eq!(tunnel.read_exactly(SERVICE_RESTART.len()).await, SERVICE_RESTART);
    }
    node_gets_requests(&backup, proxy.address()).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn names_are_asked_for_when_their_ttl_ends() {
    let [node] = nodes([[127, 0, 0, 1]]).await;
    let zone = Zone::default().host("short.test", "127.0.0.1", 1).host("long.test", "127.0.0.1", 3600);
    let dns = Dns::start(&zone, &[]).await;
    let port = node.address().port();
    let names = ["short.test", "long.test", "localhost", "127.0.0.1"].map(|host| format!("{host}:{port}"));
    let _proxy = start(&names.each_ref().map(String::as_str), dns.address(), "ttl_max = \"1h\"").await;
    dns.until_asked("short.test", 3).await;
    assert_eq!(dns.asked("long.test"), 1);
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(dns.asked(host), 0, "{host}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs dnsmasq: `cargo xtask test`")]
async fn a_reload_may_name_another_resolver() {
    let [first, second] = nodes([[127, 0, 0, 2], [127, 0, 0, 3]]).await;
    let one = Dns::start(&Zone::default(), &[("app.test", "127.0.0.2")]).await;
    let other = Dns::start(&Zone::default(), &[("app.test", "127.0.0.3")]).await;
    let name = format!("app.test:{}", first.address().port());
    let mut proxy = start(&[&name], one.address(), "").await;
    node_gets_requests(&first, proxy.address()).await;
    proxy.rewrite(&file(&[&name], other.address(), ""));
    proxy.process().signal(Signal::HUP);
    node_gets_requests(&second, proxy.address()).await;
}

/// What a client of a node that leaves is told: Close 1012.
const SERVICE_RESTART: &[u8] = b"\x88\x11\x03\xf4service restart";

async fn start(nodes: &[&str], dns: SocketAddr, more: &str) -> Tidelock {
    Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file(nodes, dns, more)).await
}

fn file(nodes: &[&str], dns: SocketAddr, more: &str) -> String {
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = {nodes:?}\n\
         [drain]\nwindow = \"0s\"\n[resolver]\nnameservers = [\"{dns}\"]\n{more}\n"
    )
}

async fn nodes<const N: usize>(addresses: [[u8; 4]; N]) -> [ScriptedOrigin; N] {
    Origin::bind_alike(addresses).await.map(|origin| {
        ScriptedOrigin::start_on(origin, |request: &Message| {
            let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n";
            match request.start.split(' ').next() {
                Some("HEAD") => vec![Step::send(ok)],
                _ if request.header("upgrade").is_some() => vec![Step::send(SWITCHED), Step::Echo],
                _ => vec![Step::send(&format!("{ok}ok"))],
            }
        })
    })
}

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

async fn tunnel(proxy: SocketAddr) -> RawConnection {
    let mut client = RawConnection::connect(proxy).await;
    client
        .send(format!(
            "GET /chat HTTP/1.1\r\nHost: {proxy}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        ))
        .await;
    assert_eq!(client.read_head().await.status(), 101);
    client
}

/// Asks until `node` is whom it reaches.
async fn node_gets_requests(node: &ScriptedOrigin, proxy: SocketAddr) {
    let before = node.requests().len();
    let load = Load::plain(proxy, 1, 0);
    node.until_requests(before + 1).await;
    load.stop().await;
}
