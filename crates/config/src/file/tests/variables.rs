//! Variables and secrets in a whole file.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::app::{Instances, Port};
use crate::file::{Disk, Loaded, read};
use crate::problem::Report;

const FILE: &str = r#"
workers = "${WORKERS}"
sticky_secret = "${SECRET}"
[[listen]]
address = ":${PORT:-8080}"
reuse_port = "${REUSE:-true}"
[[route]]
host = "${HOST}.example.com"
upstream = "nodes"
[upstream.nodes]
nodes = ["${NODE}:3000", { address = "127.0.0.1:3001", weight = "${WEIGHT:-2}" }]
[upstream.app]
app = "chat"
[[route]]
path = "/app"
upstream = "app"
[app.chat]
command = ["node", "index.js", "--token=${TOKEN}", "$${NAME}"]
env = { URL = "redis://${NODE}", PRICE = "$$5", HOME_OF = "$HOME" }
instances = "${COUNT}"
port = "${APP_PORT}"
[app.chat.restart]
max = "${RESTARTS:-none}"
[limits]
body_bytes_max = "${BODY:-10MiB}"
[timeouts]
connect = "${WAIT}"
"#;

fn variables(name: &str) -> Option<OsString> {
    let value = match name {
        "WORKERS" | "COUNT" => "3",
        "SECRET" => "0123456789abcdef0123456789abcdef",
        "HOST" => "api",
        "NODE" => "server1",
        "TOKEN" => "hunter2",
        "APP_PORT" => "4000",
        "WAIT" => "2s",
        _ => return None,
    };
    Some(value.into())
}

fn loaded(text: &str, folder: &Path, disk: Disk) -> Result<Loaded, Report> {
    read(text, &folder.join("test.toml"), disk, &variables).into_loaded()
}

#[test]
fn they_may_stand_for_any_value() {
    let plan = loaded(FILE, Path::new("/srv"), Disk::Untouched).expect("good").plan;
    assert_eq!(plan.workers.map(usize::from), Some(3));
    assert_eq!(plan.sticky_secret.iter().next(), Some(&b"0123456789abcdef0123456789abcdef"[..]));
    assert_eq!((plan.listens[0].address.port(), plan.listens[0].reuse_port), (8080, true));
    assert_eq!(plan.upstreams[0].nodes[0].written, "server1:3000");
    assert_eq!(plan.upstreams[0].nodes[1].weight, 2);
    assert_eq!(plan.limits.body_bytes_max, Some(10 << 20));
    assert_eq!(plan.timeouts.connect.as_secs(), 2);
    let app = &plan.apps[0];
    assert_eq!(app.argv()[2..], ["--token=hunter2", "${NAME}"]);
    assert_eq!(app.env["URL"], "redis://server1");
    assert_eq!((&*app.env["PRICE"], &*app.env["HOME_OF"]), ("$5", "$HOME"));
    assert!(matches!(app.instances, Instances::Count(count) if count.get() == 3));
    assert_eq!((app.port, app.restart.max), (Port::Redirect(Some(4000)), None));
}

#[test]
fn all_that_are_not_set_are_told_and_nothing_else() {
    let text = FILE
        .replace("${WORKERS}", "${NO_WORKERS}")
        .replace("${SECRET}", "${NO_SECRET}")
        .replace("${HOST}", "${NO_HOST}")
        .replace("${TOKEN}", "${NO_TOKEN}")
        .replace("{NODE}:", "{NO_NODE}:")
        .replace("${WAIT}", "${NO_WAIT}");
    let report = loaded(&text, Path::new("/srv"), Disk::Untouched).expect_err("six are not set");
    let said: Vec<_> = report.problems().iter().map(|problem| &*problem.message).collect();
    let names = ["NO_WORKERS", "NO_SECRET", "NO_HOST", "NO_NODE", "NO_TOKEN", "NO_WAIT"];
    assert_eq!(said, names.map(|name| format!("the environment variable {name} is not set")));
}

#[test]
fn what_they_hold_is_read_as_if_it_stood_there() {
    let text = FILE.replace("${WORKERS}", "${HOST}").replace("${WAIT}", "${COUNT}");
    let report = loaded(&text, Path::new("/srv"), Disk::Untouched).expect_err("two are wrong");
    let said: Vec<_> = report.problems().iter().map(|problem| &*problem.message).collect();
    assert_eq!(said, ["`workers` is out of range", "`connect` wants a duration with its unit"]);
}

#[test]
fn what_a_reload_says_of_a_command_has_no_value_in_it() {
    let new = loaded(FILE, Path::new("/srv"), Disk::Untouched).expect("good").plan;
    let old = crate::plan::Plan { apps: Vec::new(), ..new.clone() };
    let said = crate::diff::diff(&old, &new).to_string();
    assert!(said.contains("app + chat (node index.js --token=${TOKEN}"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

fn folder_with(secret: &[u8], mode: u32) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    fs::write(&path, secret).expect("written");
    fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a file of ours");
    folder
}

fn with_secret(value: &str) -> String {
    FILE.replace("\"${SECRET}\"", value)
}

#[test]
fn a_secret_may_be_in_a_file_and_is_read_anew_each_time() {
    let folder = folder_with(b"first-first-first-first-first-first\r\n", 0o600);
    let text = with_secret("[\"file:secret\", \"0123456789abcdef0123456789abcdef\"]");
    let first = loaded(&text, folder.path(), Disk::Read).expect("good");
    assert!(first.warnings.is_empty(), "{}", first.warnings);
    let secrets: Vec<_> = first.plan.sticky_secret.iter().collect();
    assert_eq!(secrets, [&b"first-first-first-first-first-first"[..], b"0123456789abcdef0123456789abcdef"]);
    fs::write(folder.path().join("secret"), "other-other-other-other-other-other\n").expect("written");
    let second = loaded(&text, folder.path(), Disk::Read).expect("good");
    let said = crate::diff::diff(&first.plan, &second.plan).to_string();
    assert_eq!(said, "changed: sticky_secret");
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    for (secret, mode, value, want) in [
        (&b"hunter2\n"[..], 0o600, "\"file:secret\"", "is 7 bytes long, and needs 32"),
        (b"hunter2", 0o600, "\"file:nowhere\"", "the secret in"),
        (b"hunter2", 0o600, "[\"hunter2\"]", "is 7 bytes long, and needs 32"),
        (
            b"hunter2hunter2hunter2hunter2hunter2",
            0o644,
            "\"file:secret\"",
            "everybody on this machine can read",
        ),
    ] {
        let folder = folder_with(secret, mode);
        let report = match loaded(&with_secret(value), folder.path(), Disk::Read) {
            Ok(loaded) => loaded.warnings,
            Err(report) => report,
        };
        let said = report.render(false);
        assert!(said.contains(want) && !said.contains("hunter2"), "{said}");
        assert_eq!(report.problems().len(), 1, "{said}");
    }
}
