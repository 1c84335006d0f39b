//! Goal: a listen lets in whom it is told to, nodes hear who it is, and nobody can say so himself.
//! Method: rustls clients with certificates of the right authority, of another one, expired, or without; listens that ask for
//! certificates beside some that do not, with one secret, so that sessions could be carried from one to the other.

use std::net::SocketAddr;
use std::process::Stdio;

use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use testkit::TIMEOUT;
use testkit::certificates::{Authority, Certificate, DnType};
use testkit::origin::ScriptedOrigin;
use testkit::process::tells;
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, config_for, directory};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];
const LINES: [&str; 4] =
    ["x-ssl-client-verify", "x-ssl-client-subject", "x-ssl-client-fingerprint", "x-ssl-client-cert"];

const NOTHING: [Vec<String>; 4] = [const { Vec::new() }; 4];

/// Listens that ask for a certificate, take one, do not ask, and have no TLS.
struct World {
    authority: Authority,
    clients: Authority,
    proxy: Tidelock,
    origin: ScriptedOrigin,
}

impl World {
    async fn new(more: &str) -> Self {
        let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
        let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let directory = directory();
        let files = authority.issue(&["a.example", "b.example"]).write(directory.path(), "server");
        let ca = clients.write(directory.path());
        let tls = format!("tls = {{ certificate = {:?}, key = {:?} }}\n", files.certificate, files.key);
        let listen = |more: &str| format!("[[listen]]\naddress = \"127.0.0.1:0\"\n{more}");
        let asks = |mode: &str| {
            listen(&format!("{tls}client_certificates = {{ ca = {ca:?}, mode = \"{mode}\" }}\n"))
        };
        let rest = config_for(&[origin.address()]);
        let (_, rest) = rest.split_once("[[route]]").expect("it has a route");
        let config = [
            "sticky_secret = \"0123456789abcdef0123456789abcdef\"\n",
            more,
            &asks("required"),
            &asks("optional"),
            &listen(&tls),
            &listen(""),
            "[[route]]",
            rest,
        ]
        .concat();
        let proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
        Self { authority, clients, proxy, origin }
    }

    fn required(&self) -> SocketAddr {
        self.proxy.addresses()[0]
    }

    fn optional(&self) -> SocketAddr {
        self.proxy.addresses()[1]
    }

    fn unasked(&self) -> SocketAddr {
        self.proxy.addresses()[2]
    }

    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        shown: Option<&Certificate>,
    ) -> ClientConfig {
        self.authority.client_showing(&[version], &["http/1.1"], shown)
    }

    /// Asks once, and gives what kind of handshake that took.
    async fn ask(&self, to: SocketAddr, client: &ClientConfig, request: &str) -> HandshakeKind {
        let mut connection =
            RawConnection::connect_tls(to, "a.example", client.clone()).await.expect("a handshake");
        connection.send(request).await;
        assert_eq!(connection.read_message().await.text(), "ok");
        connection.tls().expect("it is TLS").handshake_kind().expect("it is over")
    }

    /// The alert that a client hears, whenever it does.
    async fn alert(&self, to: SocketAddr, client: ClientConfig) -> String {
        let refused = match RawConnection::connect_tls(to, "a.example", client).await {
            Err(refused) => refused,
            Ok(mut connection) => {
                // Of TLS 1.3 a client has ended its handshake by then.
                let _ = connection.try_send(GET).await;
                connection.read_to_end_of_tls().await.expect_err("it is not let in")
            }
        };
        refused.to_string()
    }

    /// What the node heard last, in each of the lines.
    fn heard(&self) -> [Vec<String>; 4] {
        let requests = self.origin.requests();
        let last = requests.last().expect("a request");
        LINES.map(|name| last.all(name).into_iter().map(str::to_owned).collect())
    }
}

#[tokio::test]
async fn a_node_hears_whose_certificate_it_is() {
    let world = World::new("").await;
    let shown = world.clients.issue_to(&[
        (DnType::CountryName, "DE"),
        (DnType::OrganizationName, "Ours, and others"),
        (DnType::CommonName, "Zoë"),
    ]);
    for (version, to) in
        VERSIONS.into_iter().flat_map(|version| [world.required(), world.optional()].map(|to| (version, to)))
    {
        let client = world.client(version, Some(&shown));
        for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
            assert_eq!(world.ask(to, &client, GET).await, kind, "{version:?}");
            let [verify, subject, fingerprint, certificate] = world.heard().map(|lines| lines.join("|"));
            assert_eq!(verify, "SUCCESS");
            assert_eq!(subject, "CN=Zo\\C3\\AB,O=Ours\\, and others,C=DE");
            assert!(fingerprint.len() == 64 && fingerprint.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let pem = certificate
                .replace("%0A", "\n")
                .replace("%20", " ")
                .replace("%2B", "+")
                .replace("%2F", "/")
                .replace("%3D", "=");
            assert_eq!(
                pem,
                shown.certificate.replace("\r\n", "\n"),
                "it is the PEM, and resumption keeps it"
            );
        }
    }
    let none = world.client(VERSIONS[1], None);
    world.ask(world.optional(), &none, GET).await;
    assert_eq!(world.heard(), [vec!["NONE".to_owned()], vec![], vec![], vec![]]);
    world.ask(world.unasked(), &none, GET).await;
    assert_eq!(world.heard(), NOTHING);
}

#[tokio::test]
async fn who_has_none_of_the_authority_hears_why() {
    let mut world = World::new("").await;
    let strangers = Authority::new("strangers");
    let foreign = strangers.issue(&["client.example"]);
    let expired = world.clients.issue_expired(&["client.example"]);
    for version in VERSIONS {
        for (to, shown, alerts) in [
            (world.required(), None, &["CertificateRequired", "HandshakeFailure"][..]),
            (world.required(), Some(&foreign), &["UnknownCA"]),
            (world.optional(), Some(&foreign), &["UnknownCA"]),
            (world.required(), Some(&expired), &["CertificateExpired"]),
            (world.optional(), Some(&expired), &["CertificateExpired"]),
        ] {
            let alert = world.alert(to, world.client(version, shown)).await;
            assert!(alerts.iter().any(|one| alert.contains(one)), "{version:?} {alerts:?}: {alert}");
        }
    }
    assert_eq!(world.origin.connections(), 0);
    let status = world.proxy.status().await;
    let faults: Vec<_> =
        status["workers"].as_array().expect("a list").iter().map(|one| &one["faults"]).collect();
    let count = |why: &str| faults.iter().filter_map(|faults| faults[why].as_u64()).sum::<u64>();
    assert_eq!(count("client certificate missing"), 2, "{faults:?}");
    assert_eq!(count("client certificate of an unknown authority"), 4, "{faults:?}");
    assert_eq!(count("client certificate expired"), 4, "{faults:?}");
    let output = world.proxy.process().output();
    let told = output.lines().filter(|line| tells(line, "client_certificate_refused")).count();
    assert!((1..10).contains(&told), "strangers fill the log: {output}");
}

#[tokio::test]
async fn a_session_is_none_where_others_are_let_in() {
    let world = World::new("").await;
    let shown = world.clients.issue(&["client.example"]);
    for version in VERSIONS {
        let none = world.client(version, None);
        for to in [world.unasked(), world.optional()] {
            world.ask(to, &none, GET).await;
            let alert = world.alert(world.required(), none.clone()).await;
            assert!(alert.contains("CertificateRequired") || alert.contains("HandshakeFailure"), "{alert}");
        }
        let client = world.client(version, Some(&shown));
        for to in [world.required(), world.optional(), world.unasked(), world.required()] {
            assert_eq!(world.ask(to, &client, GET).await, HandshakeKind::Full, "{version:?}");
        }
    }
}

#[tokio::test]
async fn no_client_says_so_himself() {
    let world = World::new("").await;
    let forged = "GET / HTTP/1.1\r\nHost: a.example\r\nX-SSL-Client-Verify: SUCCESS\r\nx-ssl-client-subject: CN=root\r\n\
                  X_SSL_Client_Fingerprint: 00\r\nX-Ssl-Client-Cert: x\r\nX-SSL-Client-S-DN: CN=root\r\nClient-Cert: :AA==:\r\nX-Other: y\r\n\
                  Connection: X-SSL-Client-Verify\r\n\r\n";
    let none = world.client(VERSIONS[1], None);
    for (to, verify) in [(world.optional(), vec!["NONE".to_owned()]), (world.unasked(), vec![])] {
        world.ask(to, &none, forged).await;
        assert_eq!(world.heard(), [verify, vec![], vec![], vec![]]);
    }
    let mut plain = RawConnection::connect(world.proxy.addresses()[3]).await;
    plain.send(forged.replace("Connection: X-SSL-Client-Verify\r\n", "")).await;
    plain.read_message().await;
    assert_eq!(world.heard(), NOTHING);
    let requests = world.origin.requests();
    for request in requests {
        let (said, head) = (request.header("x-other").map(str::to_owned), request.text());
        assert_eq!(said.as_deref(), Some("y"));
        for name in ["x_ssl_client_fingerprint", "x-ssl-client-s-dn", "client-cert"] {
            assert_eq!(request.header(name), None, "{name}: {head}");
        }
    }
}

/// A proxy that is trusted may say it of its own clients, but not of ours.
#[tokio::test]
async fn a_trusted_proxy_speaks_of_its_own_clients() {
    let world = World::new("trusted_proxies = [\"127.0.0.1\"]\n").await;
    let told = "GET / HTTP/1.1\r\nHost: a.example\r\nX-SSL-Client-Verify: SUCCESS\r\n\r\n";
    let none = world.client(VERSIONS[1], None);
    for (to, verify) in [(world.optional(), "NONE"), (world.unasked(), "SUCCESS")] {
        world.ask(to, &none, told).await;
        assert_eq!(world.heard()[0], [verify]);
    }
}

#[tokio::test]
async fn a_request_for_another_host_than_the_handshake_is_misdirected() {
    let world = World::new("").await;
    let shown = world.clients.issue(&["client.example"]);
    let client = world.client(VERSIONS[1], Some(&shown));
    for (to, name, host, status) in [
        (world.required(), "a.example", "A.example.:443", 200),
        (world.required(), "a.example", "b.example", 421),
        (world.optional(), "b.example", "a.example", 421),
        (world.unasked(), "a.example", "b.example", 200),
    ] {
        let mut connection = RawConnection::connect_tls(to, name, client.clone()).await.expect("a handshake");
        connection.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(connection.read_message().await.status(), status, "{name} {host}");
    }
}

/// Listens of one certificate whose routes are others: what belongs to the other one is not just unknown here.
#[tokio::test]
async fn a_request_for_the_host_of_another_listen_is_misdirected() {
    let authority = Authority::new("servers");
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let directory = directory();
    let files = authority.issue(&["a.example", "b.example", "c.example"]).write(directory.path(), "server");
    let ports = [(); 2].map(|()| testkit::port::free());
    let listens = ports.map(|port| {
        format!(
            "[[listen]]\naddress = \"127.0.0.1:{port}\"\ntls = {{ certificate = {:?}, key = {:?} }}\n",
            files.certificate, files.key
        )
    });
    let routes = [("a.example", ports[0]), ("b.example", ports[1])].map(|(host, port)| {
        format!("[[route]]\nhost = \"{host}\"\nlisten = [\"127.0.0.1:{port}\"]\nupstream = \"nodes\"\n")
    });
    let config = format!(
        "{}{}[upstream.nodes]\nnodes = [\"{}\"]\n",
        listens.concat(),
        routes.concat(),
        origin.address()
    );
    let proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
    for (name, host, status) in [
        ("a.example", "a.example", 200),
        ("a.example", "b.example", 421),
        // It has come where it wanted to.
        ("b.example", "b.example", 404),
        ("a.example", "c.example", 404),
    ] {
        let client = authority.client(&["http/1.1"]);
        let mut connection =
            RawConnection::connect_tls(proxy.addresses()[0], name, client).await.expect("a handshake");
        connection.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(connection.read_message().await.status(), status, "{name} {host}");
    }
}

/// An authority that looks whose a name is (TLS-ALPN-01) shows no certificate, and whoever plays one gets nothing that is good later.
#[tokio::test]
async fn who_comes_to_see_whose_a_name_is_is_asked_for_nothing() {
    let (authority, clients) = (Authority::new("servers"), Authority::new("clients"));
    let directory = directory();
    let ca = clients.write(directory.path());
    let pair = authority.issue(&["a.example"]);
    for folder in ["state/challenges/tls-alpn-01", "state/127.0.0.1_1_directory"] {
        let folder = directory.path().join(folder);
        std::fs::create_dir_all(&folder).expect("the directory is ours");
        std::fs::write(folder.join("a.example.pem"), format!("{}{}", pair.certificate, pair.key))
            .expect("it too");
    }
    let config = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = \"auto\"\nclient_certificates = {{ ca = {ca:?} }}\n\
         [[route]]\nhost = \"a.example\"\nrespond = 200\n\
         [acme]\ndirectory = \"https://127.0.0.1:1/directory\"\nstate = {:?}\n\
         [upstream.nodes]\nnodes = [\"127.0.0.1:1\"]\n",
        directory.path().join("state")
    );
    let mut proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
    for version in VERSIONS {
        let mut client = authority.client_showing(&[version], &["acme-tls/1"], None);
        let mark = proxy.process().mark();
        let looked = RawConnection::connect_tls(proxy.address(), "a.example", client.clone()).await;
        let mut looked = looked.expect("an authority shows no certificate");
        proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "challenge_answered")).await;
        let _ = looked.read_to_end_of_tls().await;
        client.alpn_protocols = vec![b"http/1.1".to_vec()];
        let refused = match RawConnection::connect_tls(proxy.address(), "a.example", client).await {
            Err(refused) => refused,
            Ok(mut connection) => {
                let _ = connection.try_send(GET).await;
                connection.read_to_end_of_tls().await.expect_err("it is not let in")
            }
        };
        let refused = refused.to_string();
        assert!(refused.contains("CertificateRequired") || refused.contains("HandshakeFailure"), "{refused}");
    }
}

/// OpenSSL as it was with TLS 1.2 for its best, curl and Node.js, each with a certificate and without.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs openssl, curl and Node.js: `cargo xtask test`")]
async fn programs_show_certificates() {
    let world = World::new("").await;
    let shown = world.clients.issue(&["client.example"]).write(world.proxy.directory(), "client");
    let (cert, key) = (shown.certificate.display().to_string(), shown.key.display().to_string());
    let trusts = world.proxy.directory().join("servers.pem");
    std::fs::write(&trusts, world.authority.pem()).expect("the directory is ours");
    let (ca, port) = (trusts.display().to_string(), world.optional().port());
    for is_shown in [false, true] {
        let of = |flags: [&'static str; 2]| {
            let values = [cert.clone(), key.clone()];
            let pairs = flags.into_iter().zip(values).flat_map(|(flag, value)| [flag.to_owned(), value]);
            pairs.filter(|_| is_shown).collect::<Vec<_>>()
        };
        let verify = if is_shown { "SUCCESS" } else { "NONE" };
        for suite in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", OPENSSL_1_1] {
            let mut openssl = Command::new("openssl");
            openssl.args(["s_client", "-quiet", "-verify_return_error", "-tls1_2", "-cipher", suite]);
            openssl.args(["-curves", "P-256:P-521:P-384", "-servername", "a.example", "-CAfile", &ca]);
            openssl.args(["-connect", &format!("127.0.0.1:{port}")]).args(of(["-cert", "-key"]));
            let said = run(openssl, &GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
            assert!(said.contains("ok"), "{suite}: {said}");
            assert_eq!(world.heard()[0], [verify], "{suite}");
        }
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--cacert", &ca, "--resolve", &format!("a.example:{port}:127.0.0.1")]);
            curl.args(version).args(of(["--cert", "--key"])).arg(format!("https://a.example:{port}/"));
            let said = run(curl, "").await;
            assert!(said.contains("ok"), "{version:?}: {said}");
            assert_eq!(world.heard()[0], [verify], "{version:?}");
        }
        let mut node = Command::new("node");
        node.args(["-e", NODE, &port.to_string(), &ca])
            .args([cert.as_str(), &key].iter().filter(|_| is_shown));
        let said = run(node, "").await;
        assert_eq!(said.matches("ok").count(), 2, "{said}");
        assert_eq!(world.heard()[0], [verify]);
    }
}

/// What the program says.
async fn run(mut command: Command, input: &str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the program is installed");
    let mut stdin = child.stdin.take().expect("it is a pipe");
    stdin.write_all(input.as_bytes()).await.expect("it reads what it is told");
    let output =
        timeout(TIMEOUT, child.wait_with_output()).await.expect("it ends").expect("it can be waited for");
    drop(stdin);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The suites that OpenSSL 1.1.0 offered by itself, in its order.
const OPENSSL_1_1: &str = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:DHE-RSA-AES256-GCM-SHA384:\
     ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:\
     ECDHE-RSA-AES128-GCM-SHA256:DHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-SHA384:ECDHE-RSA-AES256-SHA384:\
     DHE-RSA-AES256-SHA256:ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:DHE-RSA-AES128-SHA256:AES256-GCM-SHA384:\
     AES128-GCM-SHA256:AES256-SHA256:AES128-SHA256:AES256-SHA:AES128-SHA";

/// Asks once in each version.
const NODE: &str = "
const [port, ca, cert, key] = process.argv.slice(1);
const read = (file) => file && require('fs').readFileSync(file);
const ask = (version) => new Promise((done) => require('https').get({
    host: '127.0.0.1', port, servername: 'a.example', headers: { host: 'a.example' }, agent: false,
    ca: read(ca), cert: read(cert), key: read(key), minVersion: version, maxVersion: version,
}, (answer) => answer.on('data', (data) => console.log(String(data))).on('end', done)));
ask('TLSv1.2').then(() => ask('TLSv1.3'));
";
