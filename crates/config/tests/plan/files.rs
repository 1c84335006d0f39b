//! What stands in other files than the one that is read, and what is said of a file that cannot be.

use std::path::Path;

use tidelock_config::routing::{Page, PagePiece, TextPage};
use tidelock_config::{load, parse};

use crate::{LISTEN_AND_UPSTREAM, NOTHING_BY_DEFAULT};

#[test]
fn loading_misses_files_that_do_not_exist() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("upstreams.toml");
    std::fs::write(&path, NOTHING_BY_DEFAULT.replace("/etc/a.key", "a.key")).expect("a written file");
    std::fs::write(folder.path().join("a.pem"), "").expect("a written file");
    let report = load(&path).expect_err("a.key is not there");
    let message = format!("there is no file {}", folder.path().join("a.key").display());
    let messages: Vec<&str> = report.problems().iter().map(|problem| &*problem.message).collect();
    assert_eq!(messages, [message]);
    assert!(report.to_string().contains("upstreams.toml:8:38"), "{report}");

    std::fs::write(folder.path().join("a.key"), "").expect("a written file");
    assert!(load(&path).expect("now it is").warnings.is_empty());
}

#[test]
fn a_file_that_cannot_be_read_is_a_report_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("upstreams.toml");
    let report = load(&path).expect_err("it is not there");
    assert!(report.to_string().contains("the file cannot be read: No such file"), "{report}");

    std::fs::write(&path, b"workers = 2\n# caf\xe9\n").expect("a written file");
    let report = load(&path).expect_err("it is Latin-1");
    assert!(report.to_string().contains("upstreams.toml:2:6"), "{report}");
}

#[test]
fn a_report_is_in_colour_only_when_asked() {
    let report = parse("colour = true", Path::new("test.toml")).expect_err("no such key");
    assert!(!report.to_string().contains('\x1b'));
    assert!(report.render(true).contains('\x1b'));
}

#[test]
fn lists_of_proxies_may_be_another_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let load_with = |lists: &str, top: &str| {
        std::fs::write(folder.path().join("lists.toml"), lists).expect("a writable folder");
        let file = format!(
            "proxy_lists = \"lists.toml\"\n{top}\n[[listen]]\naddress = \":80\"\n[[route]]\nupstream = \"nodes\"\n\
             [upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]\n"
        );
        let path = folder.path().join("upstreams.toml");
        std::fs::write(&path, file).expect("a writable folder");
        load(&path).map(|loaded| loaded.plan.trusted_proxies).map_err(|report| report.to_string())
    };
    let networks = load_with(
        "[office]\nnetworks = [\"192.0.2.1\", \"2001:db8::1/32\"]",
        "trusted_proxies = [\"office\"]",
    );
    let networks: Vec<String> = networks.expect("a good file").iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["192.0.2.1/32", "2001:db8::/32"]);
    let report =
        load_with("[office]\nnetworks = []", "trusted_proxies = [\"cloudflare\"]").expect_err("not there");
    assert!(report.contains("there is no list of proxies named \"cloudflare\""), "{report}");
    let report =
        load_with("[office]\nnetworks = [\"x\"]", "trusted_proxies = [\"office\"]").expect_err("no list");
    assert!(report.contains("\"office\" has something that is no network"), "{report}");
    assert!(!report.contains("there is no list"), "one mistake is told once: {report}");
}

#[test]
fn pages_are_read_from_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("upstreams.toml");
    let file = format!(
        "error_pages = {{ 404 = \"404.html\" }}\n{LISTEN_AND_UPSTREAM}[[route]]\nupstream = \"nodes\"\n"
    );
    std::fs::write(&path, file).expect("a writable folder");
    let load_with = |page: &[u8]| {
        std::fs::write(folder.path().join("404.html"), page).expect("a writable folder");
        load(&path).map(|loaded| loaded.plan.error_pages).map_err(|report| report.to_string())
    };
    let pages = load_with(b"<p>{status}").expect("a page");
    let text = vec![PagePiece::Text("<p>".to_owned()), PagePiece::Status];
    let page = TextPage { pieces: text, content_type: "text/html; charset=utf-8".to_owned() };
    assert_eq!(pages.find(404), Some(&Page::Text(page)));
    assert_eq!(pages.find(400), None);
    let report = load_with(&[b'x'; (1 << 20) + 1]).expect_err("it is too long");
    assert!(report.contains("404.html is longer than 1 MiB"), "{report}");
    let report = load_with(b"caf\xe9").expect_err("it is Latin-1");
    assert!(report.contains("404.html is not UTF-8"), "{report}");
    std::fs::remove_file(folder.path().join("404.html")).expect("it is there");
    let report = load(&path).expect_err("it is not there").to_string();
    assert!(report.contains("404.html cannot be read: No such file"), "{report}");
    assert!(report.contains("upstreams.toml:1:23"), "{report}");
}
