//! Goal: whoever points a name here is on HTTPS, without a certificate of theirs: `tls = "auto"` gets it and renews it, whatever
//! goes wrong on the way, and `tls = "local"` makes one.
//! Method: pebble, which is Let's Encrypt's authority for tests, on this machine; rustls clients that trust its root.

mod scripted;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use testkit::TIMEOUT;
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::node::{Node, NodePlan};
use testkit::origin::ScriptedOrigin;
use testkit::pebble::{Pebble, PebblePlan};
use testkit::process::tells;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;
use tokio::time::timeout;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// A tidelock with a listen for HTTP and one for HTTPS, and an authority that looks at them.
struct World {
    proxy: Tidelock,
    pebble: Pebble,
    origin: ScriptedOrigin,
}

/// What the file says beside its listens and nodes.
#[derive(Clone, Copy)]
struct Says<'a> {
    hosts: &'a [&'a str],
    /// Of the listen without TLS; empty for none.
    http: &'a str,
    acme: &'a str,
}

const PLAIN: Says<'static> =
    Says { hosts: &["chat.example.com"], http: "[[listen]]\naddress = \"127.0.0.1:0\"\n", acme: "" };
const REDIRECTS: Says<'static> =
    Says { http: "[[listen]]\naddress = \"127.0.0.1:0\"\nredirect = \"https\"\n", ..PLAIN };

impl World {
    /// Starts without an authority, since each has to know where the other is.
    async fn new(accounts: &[(&str, &str)]) -> Self {
        let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let file = file(&origin, PLAIN, "tls = \"local\"", "");
        let proxy = Tidelock::start(TIDELOCK, &file).await;
        let (tls, http) = (proxy.addresses()[0], proxy.addresses()[1]);
        let accounts = accounts.iter().map(|(id, key)| ((*id).to_owned(), (*key).to_owned())).collect();
        let pebble = Pebble::start(PebblePlan { accounts, ..PebblePlan::looking_at(http, tls) }).await;
        Self { proxy, pebble, origin }
    }

    fn file(&self, says: Says<'_>) -> String {
        file(&self.origin, says, "tls = \"auto\"", &self.pebble.section(says.acme))
    }

    /// Applies a file.
    async fn reload(&mut self, says: Says<'_>) {
        self.apply(&self.file(says)).await;
    }

    async fn apply(&mut self, text: &str) {
        self.proxy.rewrite(text);
        let process = self.proxy.process();
        let mark = process.mark();
        process.signal(testkit::process::Signal::HUP);
        process
            .wait_for_lines_since(mark, 1, |line| tells(line, "reloaded") || tells(line, "reload_failed"))
            .await;
    }

    /// What `status` says of the certificate of a host, once `holds` holds for it.
    async fn until(&mut self, host: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let looking = async {
            loop {
                let status = self.proxy.status().await;
                let all = status["certificates"].as_array().cloned().unwrap_or_default();
                let found = all.into_iter().find(|one| one["names"][0] == host);
                if let Some(found) = found.filter(|found| holds(found)) {
                    return found;
                }
            }
        };
        let found = timeout(TIMEOUT, looking).await;
        found.unwrap_or_else(|_| panic!("{host}: {}", self.proxy.process().output()))
    }

    /// What a client of `name` is answered that trusts the authority.
    async fn ask(&self, name: &str) -> std::io::Result<CertificateDer<'static>> {
        ask(self.proxy.addresses()[0], name, self.pebble.roots().await).await
    }
}

async fn ask(
    address: std::net::SocketAddr,
    name: &str,
    roots: RootCertStore,
) -> std::io::Result<CertificateDer<'static>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has both")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut connection = RawConnection::connect_tls(address, name, client).await?;
    connection.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n")).await;
    assert_eq!(connection.read_message().await.text(), "ok");
    Ok(connection.tls().and_then(|tls| tls.peer_certificates()).expect("a server shows one")[0].clone())
}

fn file(origin: &ScriptedOrigin, says: Says<'_>, tls: &str, acme: &str) -> String {
    let hosts: Vec<String> = says.hosts.iter().map(|host| format!("{host:?}")).collect();
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{tls}\n{}\n[[route]]\nhost = [{}]\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n{acme}",
        says.http,
        hosts.join(", "),
        origin.address()
    )
}

fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let mode = entry.metadata().expect("it is there").permissions().mode() & 0o777;
        all.push((entry.path().display().to_string(), mode));
        if entry.path().is_dir() {
            all.extend(modes(&entry.path()));
        }
    }
    all
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble: `cargo xtask test`")]
async fn a_name_that_points_here_is_on_https() {
    let mut world = World::new(&[]).await;
    for says in [PLAIN, REDIRECTS] {
        world.reload(Says { acme: "email = \"ops@example.com\"", ..says }).await;
        let got = world.until("chat.example.com", |now| now.get("fault").is_none()).await;
        assert!(got["issuer"].as_str().is_some_and(|issuer| issuer.contains("Pebble")), "{got}");
        assert!(got.get("last_error").is_none(), "{got}");
        world.ask("chat.example.com").await.expect("it is served");
        // With a redirecting listen it has to be got once more.
        fs::remove_dir_all(world.proxy.directory().join("tidelock/acme")).expect("it is there");
        world.reload(Says { hosts: &["other.example.com"], ..says }).await;
        world.until("other.example.com", |now| now.get("fault").is_none()).await;
        for (path, mode) in modes(&world.proxy.directory().join("tidelock/acme")) {
            assert_eq!(mode & 0o077, 0, "{path} is nobody else's");
        }
        let left = fs::read_dir(world.proxy.directory().join("tidelock/acme/challenges/http-01"));
        assert_eq!(left.expect("a folder").count(), 0, "no challenge is left");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble: `cargo xtask test`")]
async fn a_name_is_proved_over_tls_where_there_is_nothing_else() {
    let mut world = World::new(&[]).await;
    world.reload(Says { http: "", ..PLAIN }).await;
    world.until("chat.example.com", |now| now.get("fault").is_none()).await;
    world.ask("chat.example.com").await.expect("it is served");
    let answered = world.proxy.process().lines_since(testkit::process::Mark::default());
    assert!(answered.iter().any(|line| tells(line, "challenge_answered") && line.contains("over TLS")));
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble and curl: `cargo xtask test`")]
async fn wildcards_are_proved_by_a_program() {
    let mut world = World::new(&[]).await;
    let program = format!("dns_program = {:?}", world.pebble.dns_program());
    world.reload(Says { hosts: &["*.example.com"], acme: &program, ..PLAIN }).await;
    world.until("*.example.com", |now| now.get("fault").is_none()).await;
    world.ask("a.example.com").await.expect("it is served");
    // One that fails is told by its last words.
    let broken = world.proxy.directory().join("broken");
    fs::write(&broken, "#!/bin/sh\necho 'no such zone' >&2\nexit 3\n").expect("written");
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).expect("it can be run");
    let program = format!("dns_program = {broken:?}");
    world.reload(Says { hosts: &["*.example.org"], acme: &program, ..PLAIN }).await;
    let failed = world.until("*.example.org", |now| now.get("last_error").is_some()).await;
    let said = failed["last_error"].as_str().expect("words");
    assert!(said.contains("set: exit status: 3: no such zone"), "{said}");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble: `cargo xtask test`")]
async fn an_authority_that_knows_its_accounts_is_told_which() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let mut world = World::new(&[("kid-1", key)]).await;
    world.reload(PLAIN).await;
    let failed = world.until("chat.example.com", |now| now.get("last_error").is_some()).await;
    assert!(failed["last_error"].as_str().expect("words").contains("eab_key_id"), "{failed}");
    let section = format!("eab_key_id = \"kid-1\"\neab_secret = \"{key}\"");
    // Another name, for this one has just failed.
    world.reload(Says { hosts: &["other.example.com"], acme: &section, ..PLAIN }).await;
    world.until("other.example.com", |now| now.get("fault").is_none()).await;
    assert!(!world.proxy.process().output().contains(key), "secrets are not told");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble: `cargo xtask test`")]
async fn a_host_without_a_certificate_stops_no_other() {
    let mut world = World::new(&[]).await;
    world.reload(PLAIN).await;
    world.until("chat.example.com", |now| now.get("fault").is_none()).await;
    world.pebble.kill().await;
    world.reload(Says { hosts: &["chat.example.com", "new.example.com"], ..PLAIN }).await;
    let failed = world.until("new.example.com", |now| now.get("last_error").is_some()).await;
    assert!(failed["last_error"].as_str().expect("words").contains("cannot be asked"), "{failed}");
    assert_eq!(failed["fault"], "there is none yet");
    assert!(failed["next_attempt"].as_i64().is_some(), "{failed}");
    let roots = RootCertStore::empty();
    let address = world.proxy.addresses()[0];
    let error =
        ask(address, "new.example.com", roots.clone()).await.expect_err("it has no certificate").to_string();
    assert!(
        error.contains("AccessDenied") || error.contains("alert"),
        "an alert, and not another's: {error}"
    );
    let error = ask(address, "chat.example.com", roots).await.expect_err("nobody is trusted").to_string();
    assert!(error.contains("UnknownIssuer"), "it shows its certificate: {error}");
}

/// The same, at addresses that are known before it is started.
fn at(file: &str, addresses: &[std::net::SocketAddr]) -> String {
    addresses.iter().fold(file.to_owned(), |file, at| file.replacen("127.0.0.1:0", &at.to_string(), 1))
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble: `cargo xtask test`")]
async fn one_that_is_killed_at_any_step_gets_it_in_the_end() {
    let mut world = World::new(&[]).await;
    let state = tempfile::tempdir().expect("a folder");
    let section = format!("state = {:?}", state.path());
    let addresses = world.proxy.addresses().to_vec();
    let file = at(&world.file(Says { acme: &section, ..PLAIN }), &addresses);
    world.proxy.process().kill().await;
    for event in ["acme_began", "acme_account", "challenge_answered", "acme_obtained"] {
        let mut proxy = Tidelock::start(TIDELOCK, &file).await;
        proxy.process().wait_for_line(|line| tells(line, event)).await;
        proxy.process().kill().await;
        for (path, _) in modes(state.path()) {
            if path.ends_with(".json") {
                let text = fs::read(&path).expect("read");
                serde_json::from_slice::<Value>(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
            } else if path.ends_with(".pem") {
                let text = fs::read_to_string(&path).expect("read");
                assert!(text.trim_end().ends_with("-----END PRIVATE KEY-----"), "{path}: {text}");
            }
        }
    }
    let proxy = Tidelock::start(TIDELOCK, &file).await;
    ask(proxy.address(), "chat.example.com", world.pebble.roots().await).await.expect("it is served at once");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble: `cargo xtask test`")]
async fn those_that_share_a_folder_answer_for_each_other() {
    let mut world = World::new(&[]).await;
    let state = tempfile::tempdir().expect("a folder");
    let section = format!("state = {:?}", state.path());
    // The authority looks at the first one alone, and this one is another.
    let file = world.file(Says { acme: &section, ..PLAIN });
    world.reload(Says { hosts: &["first.example.com"], acme: &section, ..PLAIN }).await;
    world.until("first.example.com", |now| now.get("fault").is_none()).await;
    let second = Tidelock::start(TIDELOCK, &file).await;
    second_has(&second, "chat.example.com").await;
    ask(second.address(), "chat.example.com", world.pebble.roots().await).await.expect("it is served");
    let first = world.proxy.process().lines_since(testkit::process::Mark::default());
    let target = |line: &String| Some(line.split_once("/acme-challenge/")?.1.split_once('"')?.0.to_owned());
    let tokens: std::collections::BTreeSet<String> = first.iter().filter_map(target).collect();
    assert_eq!(tokens.len(), 2, "the first one has answered for both: {first:?}");
    // What one has got, another one only reads.
    world.reload(Says { hosts: &["first.example.com", "chat.example.com"], acme: &section, ..PLAIN }).await;
    world.until("chat.example.com", |now| now.get("fault").is_none()).await;
    world.ask("chat.example.com").await.expect("it is served here as well");
}

async fn second_has(proxy: &Tidelock, host: &str) {
    let looking = async {
        loop {
            let status = proxy.status().await;
            let all = status["certificates"].as_array().cloned().unwrap_or_default();
            if all.iter().any(|one| one["names"][0] == host && one.get("fault").is_none()) {
                return;
            }
        }
    };
    timeout(TIMEOUT, looking).await.expect("it gets one");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble: `cargo xtask test`")]
async fn an_authority_that_has_forgotten_us_gets_a_new_account() {
    let mut world = World::new(&[]).await;
    world.reload(PLAIN).await;
    world.until("chat.example.com", |now| now.get("fault").is_none()).await;
    world.pebble.replace().await;
    world.reload(Says { hosts: &["other.example.com"], ..PLAIN }).await;
    let failed = world.until("other.example.com", |now| now.get("last_error").is_some()).await;
    assert!(failed["last_error"].as_str().expect("words").contains("account"), "{failed}");
    world.reload(Says { hosts: &["third.example.com"], ..PLAIN }).await;
    world.until("third.example.com", |now| now.get("fault").is_none()).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble and Node.js: `cargo xtask test`")]
async fn clients_of_socket_io_are_at_home_on_it() {
    let node = Node::start(NodePlan::js("node")).await;
    let mut world = World::new(&[]).await;
    let hosts = &["localhost"];
    let file = world
        .file(Says { hosts, ..PLAIN })
        .replace(&world.origin.address().to_string(), &node.address().to_string());
    world.apply(&file).await;
    world.until("localhost", |now| now.get("fault").is_none()).await;
    let ca = world.proxy.directory().join("pebble-root.pem");
    fs::write(&ca, world.pebble.root_pem().await).expect("written");
    let url = format!("https://localhost:{}", world.proxy.address().port());
    for mode in [Mode::Default, Mode::Polling, Mode::Websocket] {
        let ca = Some(ca.display().to_string());
        let plan = ClientPlan { ca, mode, count: 4, echoes: 4, ..ClientPlan::to(&url) };
        let report = Clients::start(&plan).await.result().await;
        assert_eq!((report.connected, report.connect_errors.len()), (4, 0), "{report:?}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs pebble: `cargo xtask test`")]
async fn the_file_of_the_documentation_does_it() {
    let mut world = World::new(&[]).await;
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/automatic.toml"));
    let text = text.expect("it is in the repository");
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/https.md"));
    let lines = text.split_once("[[listen]]").expect("a listen").1;
    assert!(document.expect("it is in the repository").contains(lines), "docs/https.md has the same file");
    let nodes = text.lines().find(|line| line.starts_with("nodes = ")).expect("nodes");
    let here = text
        .replace("\":443\"", "\"127.0.0.1:0\"")
        .replace("\":80\"", "\"127.0.0.1:0\"")
        .replace(nodes, &format!("nodes = [\"{}\"]", world.origin.address()))
        .replace("[acme]\n", &world.pebble.section(""));
    world.apply(&here).await;
    world.until("chat.example.com", |now| now.get("fault").is_none()).await;
    world.ask("chat.example.com").await.expect("it is served");
}
