//! Files that root may read and the user may not: said before they are missed, and by whom.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use testkit::certificates::Authority;
use testkit::origin::ScriptedOrigin;
use testkit::process::{Mark, tells};
use testkit::raw::RawConnection;
use testkit::tidelock::config_for;

use crate::service::{Service, account, check, folder, is_root};
use crate::{ANSWER, GET};

#[tokio::test]
async fn roots_keys_are_read_first_and_never_again() {
    if !is_root() {
        return;
    }
    let authority = Authority::new("an authority");
    let folder = folder();
    let [first, second] = ["a", "b"].map(|name| {
        let files = authority.issue(&[&format!("{name}.example")]).write(folder.path(), name);
        fs::set_permissions(&files.key, Permissions::from_mode(0o600)).expect("it is ours");
        files
    });
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let with = |files: &[&testkit::certificates::CertificateFiles]| {
        let pairs: Vec<_> = files
            .iter()
            .map(|files| format!("{{ certificate = {:?}, key = {:?} }}", files.certificate, files.key))
            .collect();
        let tls = format!("tls = [{}]\n[[route]]", pairs.join(", "));
        format!("user = \"nobody\"\n{}", config_for(&[origin.address()]).replacen("[[route]]", &tls, 1))
    };
    let config = with(&[&first]);
    let (service, address) = Service::serving(folder, &config).await;
    let told = service.process.wait_for_line(|line| tells(line, "unreadable_later")).await;
    assert!(told.contains("a.key") || told.contains(&first.key.display().to_string()), "{told}");
    assert!(told.contains("LoadCredential"), "{told}");
    let get = async || {
        let client = authority.client(&["http/1.1"]);
        let mut connection =
            RawConnection::connect_tls(address, "a.example", client).await.expect("a handshake");
        connection.try_ask(GET).await.expect("an answer")
    };
    assert!(get().await.start.contains("200 OK"));
    // What has not changed is no reason to refuse all the rest.
    service.reload(&format!("{config}\n[timeouts]\nidle = \"61s\"\n"), "reloaded").await;
    assert!(get().await.start.contains("200 OK"), "it is served as before");
    let mark = service.reload(&with(&[&first, &second]), "reload_failed").await;
    let said = service.process.lines_since(mark).join("\n");
    assert!(said.contains("as the user `nobody`") && said.contains("LoadCredential"), "{said}");
    assert!(get().await.start.contains("200 OK"));
    // And `check` has known it before.
    fs::write(service.path("tidelock.toml"), &config).expect("written");
    let checked = String::from_utf8(check(service.folder.path()).stdout).expect("text");
    assert!(checked.contains("as the user `nobody`") && checked.contains("LoadCredential"), "{checked}");
}

/// A deployment has left it so. It is no stranger's fault, and whoever looks after the machine has to hear of it.
#[tokio::test]
async fn a_file_that_its_user_may_not_read_is_an_error_that_the_log_has() {
    if !is_root() {
        return;
    }
    let folder = folder();
    let dist = folder.path().join("dist");
    fs::create_dir(&dist).expect("it is ours");
    for (name, mode) in [("shut.txt", 0o600), ("open.txt", 0o644), ("open.txt.gz", 0o600)] {
        fs::write(dist.join(name), name).expect("it is ours");
        fs::set_permissions(dist.join(name), Permissions::from_mode(mode)).expect("it is ours");
    }
    let config = "user = \"nobody\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nfiles = \"dist\"\n";
    let (service, address) = Service::serving(folder, config).await;
    let get = async |name: &str| {
        let mut client = RawConnection::connect(address).await;
        let lines = "Host: a.example\r\nAccept-Encoding: gzip\r\n\r\n";
        client.try_ask(&format!("GET /{name} HTTP/1.1\r\n{lines}")).await.expect("an answer")
    };
    assert_eq!(get("shut.txt").await.status(), 500);
    let told = service.process.wait_for_line(|line| tells(line, "file_unreadable")).await;
    assert!(told.contains("shut.txt") && told.contains("dist"), "{told}");
    // What is beside it matters to nobody.
    assert_eq!(get("open.txt").await.text(), "open.txt");
    assert_eq!(get("none.txt").await.status(), 404);
}

#[tokio::test]
async fn what_the_user_can_read_is_not_told() {
    if !is_root() {
        return;
    }
    let (folder, authority) = (folder(), Authority::new("an authority"));
    let files = authority.issue(&["a.example"]).write(folder.path(), "a");
    let nobody = account("nobody");
    std::os::unix::fs::chown(&files.key, None, Some(nobody.1)).expect("root may");
    fs::set_permissions(&files.key, Permissions::from_mode(0o640)).expect("root may");
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let pair = format!("tls = {{ certificate = {:?}, key = {:?} }}\n[[route]]", files.certificate, files.key);
    let config = config_for(&[origin.address()]).replacen("[[route]]", &pair, 1);
    let (service, _) = Service::serving(folder, &format!("user = \"nobody\"\n{config}")).await;
    let printed = service.process.lines_since(Mark::default());
    assert!(!printed.iter().any(|line| tells(line, "unreadable_later")), "{printed:?}");
    let checked = String::from_utf8(check(service.folder.path()).stdout).expect("text");
    assert!(!checked.contains("as the user"), "{checked}");
}

#[tokio::test]
async fn certificates_of_its_own_are_kept_by_the_user() {
    if !is_root() {
        return;
    }
    let origin = ScriptedOrigin::answering(ANSWER).await;
    let automatic = "tls = \"local\"\n[[route]]";
    let config = config_for(&[origin.address()]).replacen("[[route]]", automatic, 1);
    let folder = folder();
    // As a tidelock that stayed root has left it.
    fs::create_dir_all(folder.path().join("state/acme")).expect("made");
    fs::set_permissions(folder.path().join("state"), Permissions::from_mode(0o700)).expect("it is ours");
    let (service, _) = Service::serving(folder, &format!("user = \"nobody\"\n{config}")).await;
    service.process.wait_for_line(|line| tells(line, "local_authority")).await;
    let (user, group) = account("nobody");
    for place in ["state", "state/acme", "state/sticky_secret"] {
        let there = fs::metadata(service.path(place)).expect("it is there");
        assert_eq!((there.uid(), there.gid()), (user, group), "{place}");
    }
}
