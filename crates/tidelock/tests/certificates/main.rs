//! Goal: a certificate that is renewed is served without anybody's doing and without a handshake lost, and one that is bad
//! stops no other host.
//! Method: files that are written anew, or exchanged behind links, as certbot and Kubernetes do it; rustls clients that look
//! at what they are shown; `check` and `status`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, HandshakeKind};
use tempfile::TempDir;
use testkit::TIMEOUT;
use testkit::certificates::{Authority, Certificate, CertificateFiles};
use testkit::origin::ScriptedOrigin;
use testkit::process::tells;
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, config_for, directory};
use tokio::process::Command;
use tokio::time::timeout;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const GET: &str = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";

struct World {
    authority: Authority,
    proxy: Tidelock,
    origin: ScriptedOrigin,
}

impl World {
    /// A tidelock that serves these files in `directory`.
    async fn new(directory: TempDir, authority: Authority, files: &[CertificateFiles]) -> Self {
        let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let proxy = Tidelock::start_in(directory, TIDELOCK, &config(&origin, files)).await;
        Self { authority, proxy, origin }
    }

    async fn connect(&self, name: &str, client: ClientConfig) -> std::io::Result<RawConnection> {
        RawConnection::connect_tls(self.proxy.address(), name, client).await
    }

    /// What a client of `name` is shown, which must be good.
    async fn shown(&self, name: &str) -> CertificateDer<'static> {
        let connection = self.connect(name, self.authority.client(&["http/1.1"])).await.expect("a handshake");
        connection.tls().and_then(|tls| tls.peer_certificates()).expect("a server shows one")[0].clone()
    }

    async fn until_shown(&self, name: &str, want: &Certificate) {
        let shown = async { while self.shown(name).await != der(want) {} };
        timeout(TIMEOUT, shown).await.expect("the new certificate is served");
    }

    /// The faults that `status` shows.
    async fn faults(&self) -> Vec<Option<String>> {
        let status = self.proxy.status().await;
        let all = status["certificates"].as_array().expect("certificates");
        all.iter().map(|certificate| certificate["fault"].as_str().map(str::to_owned)).collect()
    }
}

fn config(origin: &ScriptedOrigin, files: &[CertificateFiles]) -> String {
    let pair = |files: &CertificateFiles| {
        format!("{{ certificate = {:?}, key = {:?} }}", files.certificate, files.key)
    };
    let tls = format!("tls = [{}]\n", files.iter().map(pair).collect::<Vec<_>>().join(", "));
    config_for(&[origin.address()]).replace("[[route]]", &format!("{tls}[[route]]"))
}

fn der(certificate: &Certificate) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).expect("PEM")
}

async fn run(arguments: &[&str], runtime: &Path) -> Output {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("NO_COLOR", "1").env("XDG_RUNTIME_DIR", runtime);
    command.stdin(Stdio::null()).kill_on_drop(true);
    timeout(TIMEOUT, command.output()).await.expect("it ends by itself").expect("it can be started")
}

#[tokio::test]
async fn a_renewed_certificate_is_served_by_itself() {
    let (authority, directory) = (Authority::new("test"), directory());
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let world = World::new(directory, authority, &[files]).await;
    let renewed = world.authority.issue(&["a.example"]);
    let _ = renewed.write(world.proxy.directory(), "a");
    world.until_shown("a.example", &renewed).await;
    assert_eq!(world.faults().await, [None]);
}

/// certbot has `live/NAME/fullchain.pem` point into `archive`, and Kubernetes exchanges the folder behind `..data`: no file is
/// written, and the times of what comes may be older than those of what was there.
#[tokio::test]
async fn what_is_exchanged_behind_links_is_seen() {
    let (authority, directory) = (Authority::new("test"), directory());
    let versions = ["1", "2"].map(|version| directory.path().join(version));
    let [old, new] = [authority.issue(&["a.example"]), authority.issue(&["a.example"])];
    // The new one first, so that it is the older file.
    for (folder, certificate) in [(&versions[1], &new), (&versions[0], &old)] {
        fs::create_dir(folder).expect("a folder");
        let _ = certificate.write(folder, "tls");
    }
    let data = directory.path().join("..data");
    symlink("1", &data).expect("a link");
    let link = |name: &str| -> PathBuf {
        let link = directory.path().join(name);
        symlink(Path::new("..data").join(name), &link).expect("a link");
        link
    };
    let files = CertificateFiles { certificate: link("tls.pem"), key: link("tls.key") };
    let world = World::new(directory, authority, &[files]).await;
    assert_eq!(world.shown("a.example").await, der(&old));
    let next = world.proxy.directory().join("..data_tmp");
    symlink("2", &next).expect("a link");
    fs::rename(&next, &data).expect("the link is exchanged");
    world.until_shown("a.example", &new).await;
}

/// Two files are never written at once, and a disk may be full in the middle.
#[tokio::test]
async fn half_a_renewal_changes_nothing_and_is_told() {
    let (authority, directory) = (Authority::new("test"), directory());
    let old = authority.issue(&["a.example"]);
    let files = old.write(directory.path(), "a");
    let mut world = World::new(directory, authority, std::slice::from_ref(&files)).await;
    let renewed = world.authority.issue(&["a.example"]);
    fs::write(&files.certificate, &renewed.certificate).expect("ours");
    let told = |line: &str| tells(line, "certificate_kept") && line.contains("is not the key of");
    world.proxy.process().wait_for_line(told).await;
    assert_eq!(world.shown("a.example").await, der(&old));
    let faults = world.faults().await;
    assert!(faults[0].as_ref().is_some_and(|fault| fault.contains("is not the key of")), "{faults:?}");
    // A reload in between has nothing better.
    let reloaded = run(&["reload"], world.proxy.directory()).await;
    assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");
    assert_eq!(world.shown("a.example").await, der(&old));
    fs::write(&files.key, &renewed.key[..renewed.key.len() / 2]).expect("ours");
    world
        .proxy
        .process()
        .wait_for_line(|line| tells(line, "certificate_kept") && line.contains("is cut"))
        .await;
    fs::write(&files.key, &renewed.key).expect("ours");
    world.until_shown("a.example", &renewed).await;
    assert_eq!(world.faults().await, [None]);
    // One that has expired is no better than one that has not.
    let _ = world.authority.issue_expired(&["a.example"]).write(world.proxy.directory(), "a");
    world
        .proxy
        .process()
        .wait_for_line(|line| tells(line, "certificate_kept") && line.contains("expired"))
        .await;
    assert_eq!(world.shown("a.example").await, der(&renewed));
    let reloaded = run(&["reload"], world.proxy.directory()).await;
    assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");
    assert_eq!(world.shown("a.example").await, der(&renewed));
}

/// Each of them is an error for `check`.
#[tokio::test]
async fn a_bad_certificate_stops_no_other_host() {
    let (authority, directory) = (Authority::new("test"), directory());
    let good = authority.issue(&["a.example"]);
    let bad = [
        ("expired", authority.issue_expired(&["b.example"]), "days ago"),
        ("wrong", authority.issue_with_wrong_key(&["c.example"]), "is not the key of"),
        ("later", authority.issue_for_later(&["d.example"]), "is not valid before"),
    ];
    let mut files = vec![good.write(directory.path(), "good")];
    files.extend(bad.iter().map(|(name, certificate, _)| certificate.write(directory.path(), name)));
    let mut world = World::new(directory, authority, &files).await;
    assert_eq!(world.shown("a.example").await, der(&good));
    let faults = world.faults().await;
    assert_eq!(faults[0], None);
    for (fault, (name, _, reason)) in faults[1..].iter().zip(&bad) {
        assert!(fault.as_ref().is_some_and(|fault| fault.contains(reason)), "{name}: {fault:?}");
    }
    let file = world.proxy.file().to_owned();
    let checked = run(&["check", &file.to_string_lossy()], world.proxy.directory()).await;
    let said = String::from_utf8_lossy(&checked.stdout);
    assert_eq!(checked.status.code(), Some(1), "{said}");
    for (name, _, reason) in &bad {
        let line = said.lines().find(|line| line.contains(&format!("{name}.")) && line.contains(reason));
        assert!(line.is_some(), "{name}: {said}");
    }
    let log = world.proxy.process().output();
    for (name, _, reason) in &bad {
        let line = log.lines().find(|line| line.contains(&format!("{name}.")) && line.contains(reason));
        assert!(line.is_some(), "{name} is told at the start: {log}");
    }
    // Nor a reload.
    let reloaded = run(&["reload"], world.proxy.directory()).await;
    assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");
    assert_eq!(world.shown("a.example").await, der(&good));
    let shown = run(&["status"], world.proxy.directory()).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("certificate a.example: ") && shown.contains(" days left, from test"), "{shown}");
    assert!(shown.contains("certificate b.example: FAULT: expired"), "{shown}");
}

#[tokio::test]
async fn a_listen_whose_only_certificate_is_unusable_gives_an_alert() {
    let (authority, directory) = (Authority::new("test"), directory());
    let files = authority.issue_with_wrong_key(&["a.example"]).write(directory.path(), "a");
    let world = World::new(directory, authority, &[files]).await;
    let refused = world.connect("a.example", world.authority.client(&["http/1.1"])).await.unwrap_err();
    assert!(refused.to_string().contains("alert"), "{refused}");
    let mended = world.authority.issue(&["a.example"]);
    let _ = mended.write(world.proxy.directory(), "a");
    let served =
        async { while world.connect("a.example", world.authority.client(&["http/1.1"])).await.is_err() {} };
    timeout(TIMEOUT, served).await.expect("it is served once it is whole");
    assert_eq!(world.shown("a.example").await, der(&mended));
}

/// Two hundred times under clients that come without a pause.
#[tokio::test]
async fn an_exchange_loses_no_handshake() {
    let (authority, directory) = (Authority::new("test"), directory());
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let world = World::new(directory, authority, std::slice::from_ref(&files)).await;
    let all: Vec<_> = (0..8).map(|_| world.authority.issue(&["a.example"])).collect();
    let mut exchanged = 0;
    let exchange = async {
        while exchanged < 200 {
            let new = &all[exchanged % all.len()];
            let staged = new.write(world.proxy.directory(), "staged");
            fs::rename(&staged.key, &files.key).expect("ours");
            fs::rename(&staged.certificate, &files.certificate).expect("ours");
            // SIGHUP reads them at once, where the look would come some time later.
            let reloaded = run(&["reload"], world.proxy.directory()).await;
            assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");
            exchanged += 1;
        }
    };
    let mut handshakes = 0;
    let clients = async {
        loop {
            let mut client =
                world.connect("a.example", world.authority.client(&["http/1.1"])).await.expect("a handshake");
            client.send(GET).await;
            assert_eq!(client.read_message().await.status(), 200);
            handshakes += 1;
        }
    };
    tokio::select! {
        () = exchange => {}
        () = clients => {}
    }
    assert!(handshakes > 0, "clients came meanwhile");
    let last = &all[199 % all.len()];
    assert_eq!(world.shown("a.example").await, der(last));
}

#[tokio::test]
async fn a_session_is_resumed_after_a_reload_and_at_another_tidelock() {
    let (authority, directory) = (Authority::new("test"), directory());
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let world = World::new(directory, authority, std::slice::from_ref(&files)).await;
    let secret = "sticky_secret = \"0123456789abcdef0123456789abcdef\"\n";
    let text = format!("{secret}{}", config(&world.origin, std::slice::from_ref(&files)));
    world.proxy.rewrite(&text);
    assert_eq!(run(&["reload"], world.proxy.directory()).await.status.code(), Some(0));
    let other = Tidelock::start(TIDELOCK, &text).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = world.authority.client_of(&[version], &["http/1.1"]);
        let mut kinds = Vec::new();
        for address in [world.proxy.address(), world.proxy.address(), other.address()] {
            let mut connection =
                RawConnection::connect_tls(address, "a.example", client.clone()).await.expect("a handshake");
            // The tickets of TLS 1.3 come behind the handshake, with the first answer.
            connection.send(GET).await;
            connection.read_message().await;
            kinds.push(connection.tls().and_then(|tls| tls.handshake_kind()));
            let reloaded = run(&["reload"], world.proxy.directory()).await;
            assert_eq!(reloaded.status.code(), Some(0), "{reloaded:?}");
        }
        let want = [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed].map(Some);
        assert_eq!(kinds, want, "{version:?}");
    }
}
