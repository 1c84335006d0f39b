//! Goal: behind a load balancer that speaks the PROXY protocol the app knows its clients, and nobody else can say who they are.
//! Method: raw connections that begin with a header, whole or in pieces, good or bad, on plain and TLS listens.

use testkit::certificates::Authority;
use testkit::origin::ScriptedOrigin;
use testkit::process::tells;
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, config_for, directory};

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

struct World {
    proxy: Tidelock,
    origin: ScriptedOrigin,
}

impl World {
    async fn new(top: &str, listen: &str) -> Self {
        let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let config = config_for(&[origin.address()])
            .replace("[[route]]", &format!("proxy_protocol = true\n{listen}[[route]]"));
        Self { proxy: Tidelock::start_in(directory(), TIDELOCK, &format!("{top}{config}")).await, origin }
    }

    async fn connect(&self) -> RawConnection {
        RawConnection::connect(self.proxy.address()).await
    }

    /// What the node heard of the client, the last time: X-Forwarded-For and X-Real-IP.
    fn heard(&self) -> (Option<String>, Option<String>) {
        let requests = self.origin.requests();
        let last = requests.last().expect("a request");
        let line = |name: &str| last.header(name).map(str::to_owned);
        (line("x-forwarded-for"), line("x-real-ip"))
    }
}

const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]\n";

fn v2(command: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", &[command, 0x11][..], &length, rest].concat()
}

#[tokio::test]
async fn a_node_hears_of_the_client_that_the_header_names() {
    let world = World::new(TRUSTED, "").await;
    let binary = v2(0x21, &[&[203, 0, 113, 9, 192, 0, 2, 2, 1, 2, 1, 187][..], b"\xee\0\x03abc"].concat());
    let local = v2(0x20, &[]);
    for (header, client) in [
        (b"PROXY TCP4 203.0.113.7 192.0.2.2 56324 443\r\n".to_vec(), "203.0.113.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n".to_vec(), "2001:db8::7"),
        (binary, "203.0.113.9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (local, "127.0.0.1"),
    ] {
        // In one piece with the first request, and cut in the middle.
        for cut in [header.len(), header.len() / 2, 1] {
            let mut client_end = world.connect().await;
            client_end.send(&header[..cut]).await;
            client_end.send([&header[cut..], GET.as_bytes()].concat()).await;
            assert_eq!(client_end.read_message().await.status(), 200);
            assert_eq!(world.heard(), (Some(client.to_owned()), Some(client.to_owned())));
            // The connection goes on as any other.
            client_end.send(GET).await;
            assert_eq!(client_end.read_message().await.status(), 200);
        }
    }
}

/// Whoever is named is a stranger, unless he is a trusted proxy, too.
#[tokio::test]
async fn what_the_client_says_of_itself_is_judged_by_the_header() {
    let top = "trusted_proxies = [\"127.0.0.1\", \"198.51.100.1\"]\n";
    let world = World::new(top, "").await;
    let lying = "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 10.0.0.1\r\n\r\n";
    for (source, heard) in [("203.0.113.7", "203.0.113.7"), ("198.51.100.1", "10.0.0.1, 198.51.100.1")] {
        let mut client = world.connect().await;
        client.send(format!("PROXY TCP4 {source} 192.0.2.2 56324 443\r\n{lying}")).await;
        assert_eq!(client.read_message().await.status(), 200);
        assert_eq!(world.heard().0.as_deref(), Some(heard));
    }
}

#[tokio::test]
async fn whoever_has_no_header_or_no_right_to_one_gets_nothing() {
    let world = World::new(TRUSTED, "[timeouts]\nhead = \"200ms\"\n").await;
    let wrong_checksum = [&[203, 0, 113, 9, 192, 0, 2, 2, 1, 2, 1, 187][..], b"\x03\0\x04\0\0\0\0"].concat();
    for nonsense in [
        GET.as_bytes().to_vec(),
        b"PROXY TCP4 nobody 192.0.2.2 56324 443\r\n".to_vec(),
        b"PROXY TCP4 203.0.113.7".to_vec(),
        v2(0x21, &wrong_checksum),
        v2(0x2f, &[]),
        vec![],
    ] {
        let mut client = world.connect().await;
        client.send(&nonsense).await;
        assert_eq!(client.read_to_end().await.0, b"", "{}", String::from_utf8_lossy(&nonsense));
    }
    let mut stranger = World::new("trusted_proxies = [\"192.0.2.1\"]\n", "").await;
    let mut client = stranger.connect().await;
    client.send(format!("PROXY TCP4 203.0.113.7 192.0.2.2 56324 443\r\n{GET}")).await;
    assert_eq!(client.read_to_end().await.0, b"");
    let line = stranger.proxy.process().wait_for_line(|line| tells(line, "proxy_header_unbelieved")).await;
    assert!(line.contains("trusted_proxies"), "{line}");
    assert_eq!(world.origin.connections() + stranger.origin.connections(), 0);
}

/// The bounds are the client's, and not the load balancer's.
#[tokio::test]
async fn a_client_has_no_more_connections_than_without_a_balancer() {
    let world = World::new(TRUSTED, "[limits]\nconnections_per_client_max = 2\n").await;
    let mut open = Vec::new();
    for _ in 0..2 {
        for client in ["203.0.113.7", "203.0.113.8"] {
            let mut connection = world.connect().await;
            connection.send(format!("PROXY TCP4 {client} 192.0.2.2 56324 443\r\n{GET}")).await;
            assert_eq!(connection.read_message().await.status(), 200);
            open.push(connection);
        }
    }
    let mut refused = world.connect().await;
    refused.send(format!("PROXY TCP4 203.0.113.7 192.0.2.2 56324 443\r\n{GET}")).await;
    assert_eq!(refused.read_to_end().await.0, b"");
}

#[tokio::test]
async fn tls_begins_behind_the_header() {
    let (authority, directory) = (Authority::new("test"), directory());
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let tls = format!("tls = {{ certificate = {:?}, key = {:?} }}\n", files.certificate, files.key);
    let world = World::new(TRUSTED, &tls).await;
    let header = b"PROXY TCP4 203.0.113.7 192.0.2.2 56324 443\r\n";
    let mut client = RawConnection::connect_tls_behind(
        world.proxy.address(),
        header,
        "a.example",
        authority.client(&["http/1.1"]),
    )
    .await
    .expect("a handshake");
    client.send(GET).await;
    assert_eq!(client.read_message().await.status(), 200);
    assert_eq!(world.heard().0.as_deref(), Some("203.0.113.7"));
}

/// RFC 7239, where an upstream asks for it: the one with the words of `Forwarded`, the other without.
#[tokio::test]
async fn forwarded_is_said_to_those_that_want_it() {
    for (top, said, wants, want) in [
        ("", "", true, Some("for=127.0.0.1;host=a.example;proto=http")),
        ("", "", false, None),
        // A stranger says nothing of itself.
        ("", "Forwarded: for=10.0.0.1\r\n", true, Some("for=127.0.0.1;host=a.example;proto=http")),
        (
            TRUSTED,
            "X-Forwarded-For: 2001:db8::7, nobody\r\n",
            true,
            Some("for=\"[2001:db8::7]\", for=unknown, for=127.0.0.1;host=a.example;proto=http"),
        ),
    ] {
        let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let config = format!("{top}{}forwarded = {wants}\n", config_for(&[origin.address()]));
        let proxy = Tidelock::start_in(directory(), TIDELOCK, &config).await;
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(format!("GET / HTTP/1.1\r\nHost: a.example\r\n{said}\r\n")).await;
        assert_eq!(client.read_message().await.status(), 200);
        let heard =
            origin.requests().last().and_then(|request| request.header("forwarded").map(str::to_owned));
        assert_eq!(heard.as_deref(), want, "{said}{wants}");
    }
}
