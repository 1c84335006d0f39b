//! What authorities do that pebble does not: say when to renew, give what was not asked for, refuse, and be down.

use std::net::SocketAddr;

use testkit::acme::AcmeServer;
use time::Duration;

use super::*;

struct Scripted {
    proxy: Tidelock,
    authority: AcmeServer,
    state: tempfile::TempDir,
    _origin: ScriptedOrigin,
}

/// A tidelock whose folder of certificates is made by `before`, and an authority in this mood.
async fn scripted(
    mood: impl FnOnce(&mut testkit::acme::Mood),
    before: impl FnOnce(&AcmeServer, &Path),
) -> Scripted {
    let authority = AcmeServer::start().await;
    authority.set(mood);
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let state = tempfile::tempdir().expect("a folder");
    let section = authority.section(state.path(), &format!("state = {:?}", state.path()));
    let folder = state.path().join(authority.folder());
    fs::create_dir_all(&folder).expect("a folder");
    before(&authority, &folder);
    let proxy = Tidelock::start(TIDELOCK, &file(&origin, PLAIN, "tls = \"auto\"", &section)).await;
    Scripted { proxy, authority, state, _origin: origin }
}

/// A certificate that ends after so long, where tidelock keeps its own.
fn keep(authority: &AcmeServer, folder: &Path, valid: Duration) {
    let one = authority.authority().issue_until(&["chat.example.com"], valid);
    fs::write(folder.join("chat.example.com.pem"), one.certificate + &one.key).expect("written");
}

async fn shown(address: SocketAddr, authority: &AcmeServer) -> CertificateDer<'static> {
    let client = authority.authority().client(&["http/1.1"]);
    let mut connection =
        RawConnection::connect_tls(address, "chat.example.com", client).await.expect("a handshake");
    connection.send("GET / HTTP/1.1\r\nHost: chat.example.com\r\n\r\n").await;
    assert_eq!(connection.read_message().await.text(), "ok");
    connection.tls().and_then(|tls| tls.peer_certificates()).expect("a server shows one")[0].clone()
}

async fn until(proxy: &Tidelock, holds: impl Fn(&Value) -> bool) -> Value {
    let looking = async {
        loop {
            let found = proxy.status().await["certificates"][0].clone();
            if holds(&found) {
                return found;
            }
        }
    };
    timeout(TIMEOUT, looking).await.expect("status says so")
}

#[tokio::test]
async fn what_ends_soon_is_renewed_and_no_handshake_lost() {
    let Scripted { proxy, authority, state: _state, _origin } =
        scripted(|_| {}, |authority, folder| keep(authority, folder, Duration::days(2))).await;
    let old = shown(proxy.address(), &authority).await;
    let exchanged = async { while shown(proxy.address(), &authority).await == old {} };
    timeout(TIMEOUT, exchanged).await.expect("it is renewed");
    let now = until(&proxy, |now| now["days_left"] == 89).await;
    assert!(now["next_attempt"].as_i64().is_some() && now.get("last_error").is_none(), "{now}");
    assert_eq!(authority.orders().len(), 1, "once");
}

#[tokio::test]
async fn an_authority_says_when_to_renew() {
    let window = Some((-Duration::hours(2), -Duration::hours(1)));
    let Scripted { proxy, authority, state: _state, _origin } = scripted(
        |mood| mood.window = window,
        |authority, folder| keep(authority, folder, Duration::days(80)),
    )
    .await;
    let orders = async {
        while authority.orders().is_empty() {
            until(&proxy, |_| true).await;
        }
    };
    timeout(TIMEOUT, orders).await.expect("long before its end");
    let (host, replaces) = authority.orders().remove(0);
    assert_eq!(host, "chat.example.com");
    assert!(replaces.is_some_and(|id| id.contains('.')), "the authority is told what it takes the place of");
}

#[tokio::test]
async fn an_authority_that_has_had_enough_is_left_alone() {
    let refusal = serde_json::json!({ "type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates" });
    let refuses = Some((429, "Retry-After: 7200\r\n".to_owned(), refusal.to_string()));
    let Scripted { mut proxy, authority, state: _state, _origin } =
        scripted(|mood| mood.refuses = refuses, |_, _| {}).await;
    let failed = until(&proxy, |now| now.get("last_error").is_some()).await;
    let said = failed["last_error"].as_str().expect("words");
    assert!(said.contains("too many certificates") && said.contains("letsencrypt-staging"), "{said}");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("now").as_secs() as i64;
    let in_s = failed["next_attempt"].as_i64().expect("a time") - now;
    assert!((6000..=7200).contains(&in_s), "in {in_s} s");
    // Whoever reloads over and over is no burden to it.
    for _ in 0..3 {
        let mark = proxy.process().mark();
        proxy.process().signal(testkit::process::Signal::HUP);
        proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    }
    until(&proxy, |now| now["next_attempt"] == failed["next_attempt"]).await;
    assert_eq!(authority.orders().len(), 1);
}

#[tokio::test]
async fn what_an_authority_gives_is_looked_at() {
    let Scripted { proxy, authority, state, _origin } = scripted(
        |mood| mood.instead = Some("evil.example".to_owned()),
        |authority, folder| keep(authority, folder, Duration::days(2)),
    )
    .await;
    let old = shown(proxy.address(), &authority).await;
    let failed = until(&proxy, |now| now.get("last_error").is_some()).await;
    let said = failed["last_error"].as_str().expect("words");
    assert!(said.contains("a certificate that is not for chat.example.com"), "{said}");
    assert_eq!(shown(proxy.address(), &authority).await, old, "the old one goes on");
    assert!(state.path().join(authority.folder()).join("chat.example.com.pem").exists());
}

#[tokio::test]
async fn an_authority_that_is_down_is_told_of() {
    let refuses = Some((503, String::new(), "<html>Down for maintenance</html>".to_owned()));
    let Scripted { proxy, authority: _authority, state: _state, _origin } = scripted(
        |mood| mood.refuses = refuses,
        |authority, folder| keep(authority, folder, Duration::days(2)),
    )
    .await;
    let failed = until(&proxy, |now| now.get("last_error").is_some()).await;
    assert!(failed["last_error"].as_str().expect("words").contains("answers 503"), "{failed}");
    assert!(failed.get("fault").is_none(), "what is there is good: {failed}");
}

#[tokio::test]
async fn local_certificates_are_there_at_once() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let state = tempfile::tempdir().expect("a folder");
    let says = Says { hosts: &["localhost", "chat.lan"], ..PLAIN };
    let text = file(&origin, says, "tls = \"local\"", &format!("[acme]\nstate = {:?}\n", state.path()));
    let proxy = Tidelock::start(TIDELOCK, &text).await;
    let mut command = tokio::process::Command::new(TIDELOCK);
    let told = command.arg("trust").arg(proxy.file()).output().await.expect("it ends");
    let told = String::from_utf8(told.stdout).expect("text");
    let authority = state.path().join("local/authority.crt");
    assert!(
        told.contains(&authority.display().to_string()) && told.contains("NODE_EXTRA_CA_CERTS"),
        "{told}"
    );
    let mut roots = RootCertStore::empty();
    let pem = fs::read(&authority).expect("it is there");
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&pem).expect("PEM")).expect("a root");
    for name in ["localhost", "127.0.0.1", "chat.lan"] {
        let asked = match name {
            "127.0.0.1" => handshake(proxy.address(), name, roots.clone()).await,
            _ => ask(proxy.address(), name, roots.clone()).await.map(drop),
        };
        asked.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (path, mode) in modes(state.path()) {
        assert_eq!(mode & 0o077, 0, "{path} is nobody else's");
    }
}

async fn handshake(address: SocketAddr, name: &str, roots: RootCertStore) -> std::io::Result<()> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has both")
        .with_root_certificates(roots)
        .with_no_client_auth();
    RawConnection::connect_tls(address, name, client).await.map(drop)
}
