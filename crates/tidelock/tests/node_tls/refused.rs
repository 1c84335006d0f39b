//! What is refused, and what is said of it: to the client nothing, to the log and `status` all.

use std::process::Stdio;

use testkit::TIMEOUT;
use testkit::certificates::{Authority, Certificate};
use testkit::origin::{Origin, ScriptedOrigin};
use testkit::process::tells;
use testkit::raw::get;
use testkit::tidelock::{Tidelock, config_for, directory};
use testkit::tls_front::TlsFront;
use tokio::process::Command;

use crate::{OK, TIDELOCK, World, file, trusting};

/// A node with this certificate gets no request, and it is said why.
async fn check(issue: impl FnOnce(&Authority) -> Certificate, said: &[&str]) {
    let mut world = World::new(issue, "localhost", "").await;
    let answer = get(world.proxy.address(), "/").await;
    assert_eq!(answer.status(), 502);
    assert!(!answer.text().to_lowercase().contains("certificate"), "{}", answer.text());
    assert_eq!(world.origin.requests(), []);
    let line = world.proxy.process().wait_for_line(|line| tells(line, "node_tls_failed")).await;
    for _ in 0..5 {
        assert_eq!(world.status().await, 502);
    }
    let has_cause =
        |node: &serde_json::Value| node["cause"].as_str().is_some_and(|cause| cause.contains("certificate"));
    let node = world.until_node(has_cause).await;
    let cause = node["cause"].as_str().expect("there is a cause");
    for said in said {
        assert!(line.contains(said), "{said:?} is not in {line}");
        assert!(cause.contains(said), "{said:?} is not in {cause}");
    }
    let again = world.log().matches("TLS with a node fails").count();
    assert_eq!(again, 1, "one line says it once");
    // Back with a good one, and nobody has to say so.
    world.node.show(&world.authority.issue(&["localhost"]));
    world.until_status(200).await;
    world.until_node(|node| node["state"] == "up" && !has_cause(node)).await;
}

#[tokio::test]
async fn a_certificate_of_nobody_who_is_trusted() {
    check(
        |_| Authority::new("other").issue(&["localhost"]),
        &["of localhost ", "not signed by anybody who is trusted", "`ca`"],
    )
    .await;
}

#[tokio::test]
async fn a_certificate_for_other_names() {
    check(
        |authority| authority.issue(&["a.example", "*.b.example"]),
        &["localhost was asked for", "for a.example, *.b.example;", "`server_name`"],
    )
    .await;
}

#[tokio::test]
async fn a_certificate_that_is_too_old() {
    check(|authority| authority.issue_expired(&["localhost"]), &["of localhost expired", "days ago"]).await;
}

#[tokio::test]
async fn a_certificate_of_its_own_that_is_too_old() {
    let certificate = Authority::self_signed_expired(&["localhost"]);
    let origin = ScriptedOrigin::answering(OK).await;
    let node = TlsFront::to(origin.address(), &certificate).await;
    let folder = directory();
    let files = certificate.write(folder.path(), "node");
    let more = format!("[upstream.nodes.tls]\nca = {:?}\n", files.certificate);
    let url = format!("https://localhost:{}", node.address().port());
    let mut proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&url], &more)).await;
    assert_eq!(get(proxy.address(), "/").await.status(), 502);
    let line = proxy.process().wait_for_line(|line| tells(line, "node_tls_failed")).await;
    assert!(line.contains("expired"), "{line}");
}

#[tokio::test]
async fn who_shows_nothing_to_a_node_that_demands_something() {
    let (authority, clients) = (Authority::new("test"), Authority::new("clients"));
    let origin = ScriptedOrigin::answering(OK).await;
    let node = TlsFront::demanding(origin.address(), &authority.issue(&["localhost"]), clients.pem()).await;
    let folder = directory();
    let more = trusting(&authority, folder.path());
    let url = format!("https://localhost:{}", node.address().port());
    let mut proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&url], &more)).await;
    assert_eq!(get(proxy.address(), "/").await.status(), 502);
    assert_eq!(origin.requests(), []);
    let line = proxy.process().wait_for_line(|line| tells(line, "node_tls_failed")).await;
    assert!(line.contains("CertificateRequired") && line.contains("`certificate`"), "{line}");
}

#[tokio::test]
async fn a_node_that_speaks_no_tls() {
    let origin = Origin::bind().await;
    let url = format!("https://localhost:{}", origin.address().port());
    let mut proxy = Tidelock::start(TIDELOCK, &file(&[&url], "[upstream.nodes.tls]\nverify = false\n")).await;
    let answers = async {
        // What Node.js says to a handshake.
        let mut node = origin.accept().await;
        node.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").await;
        node
    };
    let (answer, _node) = tokio::join!(get(proxy.address(), "/"), answers);
    assert_eq!(answer.status(), 502);
    let line = proxy.process().wait_for_line(|line| tells(line, "node_tls_failed")).await;
    assert!(line.contains("no TLS") && line.contains("http://"), "{line}");
}

/// A node that takes connections and says nothing is told from one that cannot be reached.
#[tokio::test]
async fn a_handshake_that_does_not_end() {
    let origin = Origin::bind().await;
    let url = format!("https://localhost:{}", origin.address().port());
    let more = "down_wait = \"0s\"\n[upstream.nodes.tls]\nverify = false\n\
                [upstream.nodes.health]\nprobe = \"none\"\n[upstream.nodes.timeouts]\nconnect = \"300ms\"\n";
    let mut proxy = Tidelock::start(TIDELOCK, &file(&[&url], more)).await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!(answer.status(), 504);
    assert!(!answer.text().contains("TLS"), "{}", answer.text());
    let line = proxy.process().wait_for_line(|line| tells(line, "node_tls_failed")).await;
    assert!(line.contains("the TLS handshake does not end in time"), "{line}");
    proxy.process().wait_for_line(|line| line.contains("TLS handshake with node timed out")).await;
    let node = proxy.status().await["upstreams"][0]["nodes"][0].clone();
    assert!(node["cause"].as_str().is_some_and(|cause| cause.contains("TLS")), "{node}");
}

/// What speaks first in another protocol, or nothing that is one.
#[tokio::test]
async fn a_node_that_speaks_something_else() {
    for says in ["SSH-2.0-OpenSSH_9.2p1\r\n", "220 mail.example.com ESMTP\r\n", "\u{0}\u{0}\u{0}\u{0}\u{0}"] {
        let origin = Origin::bind().await;
        let url = format!("https://localhost:{}", origin.address().port());
        let more = "down_wait = \"0s\"\n[upstream.nodes.tls]\nverify = false\n";
        let mut proxy = Tidelock::start(TIDELOCK, &file(&[&url], more)).await;
        let answers = async {
            let mut node = origin.accept().await;
            node.send(says).await;
            node
        };
        let (answer, _node) = tokio::join!(get(proxy.address(), "/"), answers);
        assert_eq!(answer.status(), 502, "{says:?}");
        let line = proxy.process().wait_for_line(|line| tells(line, "node_tls_failed")).await;
        assert!(line.contains("no TLS"), "{line}");
    }
}

/// A chain without an end takes no memory here.
#[tokio::test]
async fn a_chain_of_a_thousand_certificates() {
    let authority = Authority::new("test");
    let leaf = authority.issue(&["localhost"]);
    let chain = std::iter::repeat_n(authority.pem(), 1000).collect::<String>();
    let certificate = Certificate { certificate: leaf.certificate + &chain, ..leaf };
    check(move |_| certificate, &["more certificates than"]).await;
}

/// One bad node among good ones costs nobody a request.
#[tokio::test]
async fn another_node_answers() {
    let authority = Authority::new("test");
    let origin = ScriptedOrigin::answering(OK).await;
    let bad = TlsFront::to(origin.address(), &authority.issue_expired(&["localhost"])).await;
    let good = TlsFront::to(origin.address(), &authority.issue(&["localhost"])).await;
    let folder = directory();
    let more = trusting(&authority, folder.path());
    let urls = [&bad, &good].map(|front| format!("https://localhost:{}", front.address().port()));
    let proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[&urls[0], &urls[1]], &more)).await;
    for _ in 0..20 {
        assert_eq!(get(proxy.address(), "/").await.status(), 200);
    }
    let nodes = proxy.status().await["upstreams"][0]["nodes"].clone();
    assert_eq!((&nodes[0]["state"], &nodes[1]["state"]), (&"down".into(), &"up".into()));
    let cause = nodes[0]["cause"].as_str().expect("there is a cause");
    assert!(cause.contains("TLS") && cause.contains("expired"), "{cause}");
}

/// What `check` says of a file with this table, and how it ends.
async fn told(tls: &str, folder: &std::path::Path) -> (i32, String) {
    let config = config_for(&[([127, 0, 0, 1], 1).into()]).replace("127.0.0.1:1\"", "https://localhost:1\"");
    let path = folder.join("tidelock.toml");
    std::fs::write(&path, format!("{config}[upstream.nodes.tls]\n{tls}")).expect("the directory is ours");
    let mut command = Command::new(TIDELOCK);
    command.arg("check").arg(&path).env("NO_COLOR", "1").stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await.expect("it ends").expect("it starts");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test]
async fn files_that_cannot_work_are_told_by_check() {
    let folder = directory();
    let authority = Authority::new("test");
    let ca = authority.write(folder.path());
    let own = authority.issue(&["tidelock"]).write(folder.path(), "own");
    let wrong = authority.issue_with_wrong_key(&["tidelock"]).write(folder.path(), "wrong");
    let expired = authority.issue_expired(&["tidelock"]).write(folder.path(), "expired");
    let text = folder.path().join("text.pem");
    std::fs::write(&text, "hello\n").expect("the directory is ours");
    let pair = |files: &testkit::certificates::CertificateFiles| {
        format!("certificate = {:?}\nkey = {:?}\n", files.certificate, files.key)
    };
    for (tls, code, want) in [
        (format!("ca = {ca:?}\n{}", pair(&own)), 0, ""),
        (format!("ca = {text:?}\n"), 1, "text.pem: holds no certificate"),
        (pair(&wrong), 1, "wrong.key: is not the key of"),
        (pair(&expired), 1, "expired.pem: expired"),
        ("ca = \"missing.pem\"\n".to_owned(), 1, "there is no file"),
        (format!("certificate = {:?}\n", own.certificate), 1, "`certificate` is nothing without `key`"),
        ("server_name = \"https://a\"\n".to_owned(), 1, "cannot be the name in a certificate"),
        ("verify = false\n".to_owned(), 0, "nobody looks whose certificate it is"),
        (format!("verify = false\nca = {ca:?}\n"), 1, "`ca` is for what is verified"),
    ] {
        let (got, said) = told(&tls, folder.path()).await;
        assert!(got == code && said.contains(want), "{tls}: {got}, {said}");
    }
}
