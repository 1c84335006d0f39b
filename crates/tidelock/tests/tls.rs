//! Goal: every client gets the certificate it asked for, by the best that both ends know; and files that cannot work
//! are told before the first client comes.
//! Method: rustls clients that trust one authority of the test, and `check` run on every kind of bad file.

use std::process::Stdio;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use testkit::certificates::{Authority, Certificate, CertificateFiles};
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::{Signal, tells};
use testkit::raw::{End, RawConnection};
use testkit::tidelock::{Tidelock, config_for, directory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

const GET: &str = "GET /a?b HTTP/1.1\r\nHost: a.example\r\n\r\n";

/// The line of a `[[listen]]` with these certificates.
fn tls(files: &[CertificateFiles]) -> String {
    let pair = |files: &CertificateFiles| {
        format!("{{ certificate = {:?}, key = {:?} }}", files.certificate, files.key)
    };
    let pairs: Vec<_> = files.iter().map(pair).collect();
    format!("tls = [{}]\n", pairs.join(", "))
}

struct World {
    authority: Authority,
    certificates: Vec<Certificate>,
    proxy: Tidelock,
    origin: ScriptedOrigin,
}

impl World {
    /// A proxy with a certificate for each of these sets of names, in that order.
    async fn new(names: &[&[&str]], more: &str) -> Self {
        let authority = Authority::new("test");
        let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let directory = directory();
        let certificates: Vec<_> = names.iter().map(|names| authority.issue(names)).collect();
        let files: Vec<_> = certificates
            .iter()
            .enumerate()
            .map(|(index, certificate)| certificate.write(directory.path(), &index.to_string()))
            .collect();
        let config =
            config_for(&[origin.address()]).replace("[[route]]", &format!("{}[[route]]", tls(&files)));
        let proxy =
            Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &format!("{config}{more}")).await;
        Self { authority, certificates, proxy, origin }
    }

    async fn connect(&self, name: &str, client: ClientConfig) -> std::io::Result<RawConnection> {
        RawConnection::connect_tls(self.proxy.address(), name, client).await
    }

    /// Which of the certificates a client of `name` is shown. The client need not like it.
    async fn shown_to(&self, name: &str) -> usize {
        let mut client = self.authority.client(&[]);
        client.dangerous().set_certificate_verifier(std::sync::Arc::new(TrustsAll));
        let connection = self.connect(name, client).await.expect("whatever the name, there is a handshake");
        let shown =
            connection.tls().and_then(|tls| tls.peer_certificates()).expect("a server shows one")[0].clone();
        let is_shown = |certificate: &Certificate| {
            CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("it was written as PEM")
                == shown
        };
        self.certificates.iter().position(is_shown).expect("it is one of ours")
    }
}

#[tokio::test]
async fn the_name_picks_the_certificate() {
    let world = World::new(
        &[&["first.example"], &["a.example", "b.example"], &["*.example.com"], &["x.example.com"]],
        "",
    )
    .await;
    for (name, want) in [
        ("first.example", 0),
        ("a.example", 1),
        ("A.Example", 1),
        ("b.example", 1),
        ("y.example.com", 2),
        // An exact name beats a wildcard, and a wildcard stands for one label (RFC 9525 section 6.3).
        ("x.example.com", 3),
        ("y.z.example.com", 0),
        ("example.com", 0),
        ("unknown.example", 0),
        // An address is not sent as a name at all.
        ("127.0.0.1", 0),
    ] {
        assert_eq!(world.shown_to(name).await, want, "{name}");
    }
}

#[tokio::test]
async fn a_request_goes_through_with_the_best_that_both_know() {
    let format = "[log]\nformat = 'done $scheme $ssl_protocol $ssl_cipher $connection_requests'\n";
    let mut world = World::new(&[&["a.example"]], format).await;
    for (version, want, logged) in [
        (
            &rustls::version::TLS12,
            ProtocolVersion::TLSv1_2,
            "done https TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 1",
        ),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3, "done https TLSv1.3 TLS_AES_256_GCM_SHA384 1"),
    ] {
        let client = world.authority.client_of(&[version], &["http/1.1"]);
        let mut connection = world.connect("a.example", client).await.unwrap();
        connection.send(GET).await;
        assert_eq!(connection.read_message().await.text(), "ok");
        let tls = connection.tls().unwrap();
        assert_eq!(tls.protocol_version(), Some(want));
        assert_eq!(tls.alpn_protocol(), Some(b"http/1.1".as_slice()));
        let group = tls.negotiated_key_exchange_group().expect("the handshake is over").name();
        if want == ProtocolVersion::TLSv1_3 {
            assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        }
        world.proxy.process().wait_for_line(|line| line == logged).await;
    }
    let seen = world.origin.requests();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].header("x-forwarded-proto"), Some("https"));
    // Host names no port, so that it is the scheme's own that was asked, wherever that leads.
    assert_eq!(seen[0].header("x-forwarded-port"), Some("443"));
}

#[tokio::test]
async fn a_client_that_comes_back_resumes() {
    let world = World::new(&[&["a.example", "b.example"]], "").await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = world.authority.client_of(&[version], &["http/1.1"]);
        let mut kinds = Vec::new();
        for name in ["a.example", "a.example", "b.example"] {
            let mut connection = world.connect(name, client.clone()).await.unwrap();
            // The tickets of TLS 1.3 come behind the handshake, with the first answer.
            connection.send(GET).await;
            connection.read_message().await;
            kinds.push(connection.tls().unwrap().handshake_kind().unwrap());
        }
        // CVE-2025-23419: a session of one name is none of another.
        assert_eq!(kinds, [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Full], "{version:?}");
    }
}

/// What is sent before the handshake is over could be sent again by anybody (RFC 8446 section 8).
#[tokio::test]
async fn nobody_is_offered_early_data() {
    let world = World::new(&[&["a.example"]], "").await;
    let mut client = world.authority.client(&["http/1.1"]);
    client.enable_early_data = true;
    let mut connection = world.connect("a.example", client.clone()).await.unwrap();
    connection.send(GET).await;
    connection.read_message().await;
    let name = "a.example".try_into().unwrap();
    let mut next = rustls::ClientConnection::new(client.clone().into(), name).expect("a configuration");
    assert!(next.early_data().is_none(), "the ticket allows it");
    let again = world.connect("a.example", client).await.unwrap();
    assert_eq!(again.tls().unwrap().handshake_kind(), Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn a_profile_says_which_versions_are_spoken() {
    let authority = Authority::new("test");
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    for (profile, has_12) in [("", true), ("intermediate", true), ("modern", false)] {
        let directory = directory();
        let files = authority.issue(&["a.example"]).write(directory.path(), "a");
        let line = if profile.is_empty() { String::new() } else { format!("tls_profile = \"{profile}\"\n") };
        let config = config_for(&[origin.address()])
            .replace("[[route]]", &format!("{}{line}[[route]]", tls(&[files])));
        let proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
        for (version, is_spoken) in [(&rustls::version::TLS12, has_12), (&rustls::version::TLS13, true)] {
            let client = authority.client_of(&[version], &["http/1.1"]);
            let connected = RawConnection::connect_tls(proxy.address(), "a.example", client).await;
            assert_eq!(connected.is_ok(), is_spoken, "{profile} {version:?}: {connected:?}");
            let refused = connected.err().map(|error| error.to_string());
            assert!(refused.is_none_or(|refused| refused.contains("ProtocolVersion")), "{profile}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_must_be_stapled_is_warned_of() {
    let authority = Authority::new("test");
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let directory = directory();
    let files = authority.issue_must_staple(&["a.example"]).write(directory.path(), "a");
    let config = config_for(&[origin.address()]).replace("[[route]]", &format!("{}[[route]]", tls(&[files])));
    let mut proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
    proxy.process().wait_for_line(|line| tells(line, "certificate_must_staple")).await;
    let mut check = Command::new(env!("CARGO_BIN_EXE_tidelock"));
    check.arg("check").arg(proxy.file()).env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
    let output = check.output().await.expect("it can be started");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("must-staple"), "{said}");
    assert_eq!(output.status.code(), Some(0), "it stops nothing: {said}");
}

/// Guessing that the client means HTTP/1.1 would be wrong (RFC 7301).
#[tokio::test]
async fn a_client_of_another_protocol_is_refused_in_the_handshake() {
    let world = World::new(&[&["a.example"]], "").await;
    let refused = world.connect("a.example", world.authority.client(&["spdy/3.1"])).await.unwrap_err();
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    let none = world.connect("a.example", world.authority.client(&[])).await.unwrap();
    assert_eq!(none.alpn(), None);
}

#[tokio::test]
async fn what_is_not_tls_is_let_go_without_harm() {
    let world = World::new(&[&["a.example"]], "[timeouts]\nhead = \"200ms\"\n").await;
    for nonsense in [GET.as_bytes(), b"\x16\x03\x01", b"\x16\x03\x01\xff\xff\0\0", b"\0\0\0\0", b""] {
        let mut client = RawConnection::connect(world.proxy.address()).await;
        client.send(nonsense).await;
        client.read_to_end().await;
        let mut innocent = world.connect("a.example", world.authority.client(&["http/1.1"])).await.unwrap();
        innocent.send(GET).await;
        assert_eq!(innocent.read_message().await.text(), "ok");
    }
    assert_eq!(world.origin.requests().len(), 5);
}

/// A FIN without close_notify is an attacker's to send, and so no end of anything.
#[tokio::test]
async fn every_end_of_ours_is_a_close_notify() {
    let world = World::new(&[&["a.example"]], "").await;
    let mut client = world.connect("a.example", world.authority.client(&["http/1.1"])).await.unwrap();
    client.send(GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).await;
    assert_eq!(client.read_message().await.status(), 200);
    assert_eq!(client.read_to_end_of_tls().await.expect("close_notify comes before the FIN"), b"");
    let mut client = world.connect("a.example", world.authority.client(&["http/1.1"])).await.unwrap();
    client.send("nonsense\r\n\r\n").await;
    assert_eq!(client.read_message().await.status(), 400);
    assert_eq!(client.read_to_end_of_tls().await.expect("close_notify comes before the FIN"), b"");
}

/// Without a frame the end is the connection's, and neither a FIN nor a close_notify may stand for a cut.
#[tokio::test]
async fn a_cut_is_no_close_notify() {
    let authority = Authority::new("test");
    let directory = directory();
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let cut = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc";
    let origin = ScriptedOrigin::start(move |_| vec![Step::send(cut), Step::Close]).await;
    let config = config_for(&[origin.address()]).replace("[[route]]", &format!("{}[[route]]", tls(&[files])));
    let proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
    let client = authority.client(&["http/1.1"]);
    let mut client = RawConnection::connect_tls(proxy.address(), "a.example", client).await.unwrap();
    client.send("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(client.read_head().await.status(), 200);
    assert!(client.read_to_end_of_tls().await.is_err(), "it looks complete");
}

/// Runs `check` and a start on a config with these files, and wants both to fail and to name `file`.
async fn check_refused(files: &CertificateFiles, file: &std::path::Path, reason: &str) {
    let directory = directory();
    let config = config_for(&[([127, 0, 0, 1], 1).into()])
        .replace("[[route]]", &format!("{}[[route]]", tls(std::slice::from_ref(files))));
    let path = directory.path().join("tidelock.toml");
    std::fs::write(&path, config).expect("the directory is ours");
    for verb in [&["check"][..], &[]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command.args(verb).arg(&path).env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(testkit::TIMEOUT, command.output())
            .await
            .expect("it ends by itself")
            .expect("it can be started");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(1), "{said}");
        let names = said.lines().any(|line| line.contains(&*file.to_string_lossy()) && line.contains(reason));
        assert!(names, "{verb:?} does not name {file:?} with {reason:?}: {said}");
        assert!(!said.contains("listening"), "{said}");
    }
}

#[tokio::test]
async fn files_that_cannot_work_are_refused_by_name() {
    let directory = directory();
    let authority = Authority::new("test");
    let write = |certificate: Certificate, name: &str| certificate.write(directory.path(), name);

    let good = write(authority.issue(&["a.example"]), "good");
    let missing = directory.path().join("missing.pem");
    let pair = CertificateFiles { certificate: missing.clone(), ..good.clone() };
    check_refused(&pair, &missing, "there is no file").await;
    let pair = CertificateFiles { key: missing.clone(), ..good.clone() };
    check_refused(&pair, &missing, "there is no file").await;

    // Not even root can read a directory.
    let pair = CertificateFiles { key: directory.path().to_owned(), ..good.clone() };
    check_refused(&pair, directory.path(), "cannot be read").await;

    // The two exchanged, and what is no PEM at all.
    let pair = CertificateFiles { certificate: good.key.clone(), key: good.certificate.clone() };
    check_refused(&pair, &good.key, "certificate").await;
    let text = directory.path().join("text.pem");
    std::fs::write(&text, "hello\n").unwrap();
    let pair = CertificateFiles { certificate: text.clone(), ..good.clone() };
    check_refused(&pair, &text, "certificate").await;
    let pair = CertificateFiles { key: text.clone(), ..good.clone() };
    check_refused(&pair, &text, "private key").await;
    let torn = directory.path().join("torn.pem");
    let whole = std::fs::read_to_string(&good.certificate).unwrap();
    std::fs::write(&torn, &whole[..whole.len() / 2]).unwrap();
    let pair = CertificateFiles { certificate: torn.clone(), ..good.clone() };
    check_refused(&pair, &torn, "is cut: its -----END line is missing").await;
}

#[tokio::test]
async fn a_plain_listen_sends_everybody_to_https() {
    let authority = Authority::new("test");
    let directory = directory();
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let config = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{}[[listen]]\naddress = \"[::1]:0\"\nredirect = \"https\"\nredirect_port = 8443\n{}",
        tls(&[files]),
        config_for(&[origin.address()])
            .split_once("[[route]]")
            .map(|(_, rest)| format!("[[route]]{rest}"))
            .unwrap(),
    );
    let proxy = Tidelock::start_in(directory, env!("CARGO_BIN_EXE_tidelock"), &config).await;
    let plain = proxy.addresses()[1];
    let mut client = RawConnection::connect(plain).await;
    for (request, location) in [
        (GET, "https://a.example:8443/a?b"),
        (
            "GET //evil.example/ HTTP/1.1\r\nHost: a.example:80\r\n\r\n",
            "https://a.example:8443//evil.example/",
        ),
        ("GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n", "https://a.example:8443/x"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", "https://a.example:8443/"),
        ("HEAD / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", "https://[::1]:8443/"),
    ] {
        client.send(request).await;
        let answer = client.read_head().await;
        assert_eq!((answer.status(), answer.header("location")), (308, Some(location)), "{request:?}");
        assert_eq!(answer.header("content-length"), Some("0"));
    }
    // A body that nobody reads ends the connection, and is not read as a request.
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 46\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\nX: smuggled\r\n\r\n").await;
    let answer = client.read_head().await;
    assert_eq!((answer.status(), answer.header("connection")), (308, Some("close")));
    assert_eq!(client.read_to_end().await, (Vec::new(), End::Closed));
    let mut client = RawConnection::connect(plain).await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.read_message().await.status(), 400, "there is no name to send it to");
    assert_eq!(origin.connections(), 0);
}

/// Whoever says hello and leaves has the other side reckon for nobody.
#[tokio::test]
async fn a_client_that_is_gone_by_its_turn_gets_no_handshake() {
    let mut world = World::new(&[&["a.example"]], "").await;
    let name = "a.example".try_into().unwrap();
    let mut client =
        rustls::ClientConnection::new(world.authority.client(&[]).into(), name).expect("a configuration");
    let (mut hello, mut answer) = (Vec::new(), Vec::new());
    client.write_tls(&mut hello).unwrap();
    // Both are there when the proxy looks.
    world.proxy.process().signal(Signal::STOP);
    let mut stream = TcpStream::connect(world.proxy.address()).await.unwrap();
    stream.write_all(&hello).await.unwrap();
    stream.shutdown().await.unwrap();
    world.proxy.process().signal(Signal::CONT);
    // A reset is as good an end.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{} bytes of a handshake", answer.len());
    assert_eq!(world.shown_to("a.example").await, 0, "the next client is served");
}

#[derive(Debug)]
struct TrustsAll;

impl rustls::client::danger::ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
