//! Goal: `tidelock check` finds what would keep this file from being served on this machine, all at once, and changes
//! nothing.
//! Method: the binary, files in a folder of their own, and ports that the test itself holds.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;
use testkit::certificates::Authority;

fn run(folder: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
    command.args(["check", "tidelock.toml"]).current_dir(folder).env("NO_COLOR", "1");
    command.envs(variables.iter().copied()).output().expect("it can be started")
}

/// What it says to `text`, and its exit code. Nothing in the folder is other than before.
fn check(folder: &TempDir, text: &str) -> (String, Option<i32>) {
    fs::write(folder.path().join("tidelock.toml"), text).expect("written");
    let before = listed(folder.path());
    let output = run(folder.path(), &[]);
    assert_eq!(listed(folder.path()), before);
    (String::from_utf8(output.stdout).expect("UTF-8"), output.status.code())
}

fn listed(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    let mut names: Vec<_> = names.map(|path| path.display().to_string()).collect();
    names.sort();
    names
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// `listens` and `more` around what a file cannot do without.
fn file(listens: &str, more: &str) -> String {
    format!("{listens}\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"127.0.0.1:1\"]\n{more}")
}

const ANYWHERE: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n";

#[test]
fn all_that_the_machine_lacks_is_told_at_once() {
    let folder = folder();
    fs::write(folder.path().join("plain"), "").expect("written");
    fs::write(folder.path().join("broken.env"), "no value").expect("written");
    let long = "x".repeat(120);
    let more = format!(
        "[log]\naccess = \"./no-logs/access.log\"\n[admin]\nsocket = \"/tmp/{long}/admin.sock\"\n\
         [app.a]\ncommand = \"no-such-program\"\nlogs = {{ folder = \"plain\" }}\n\
         [app.b]\ncommand = \"sh nowhere.sh\"\nuser = \"no-such-user\"\nenv_file = \"broken.env\"\n\
         [app.c]\ncommand = \"./plain\"\n[app.d]\ncommand = \"sh\"\ncwd = \"nowhere\"\n"
    );
    let (said, code) = check(&folder, &file("[[listen]]\naddress = \"192.0.2.1:80\"\n", &more));
    assert_eq!(code, Some(1), "{said}");
    for (message, source) in [
        ("no interface of this machine has the address 192.0.2.1", "address = \"192.0.2.1:80\""),
        ("there is no folder", "access = \"./no-logs/access.log\""),
        ("a Unix socket has at most 107 bytes", "xxx/admin.sock\""),
        ("`no-such-program` is not found in PATH", "command = \"no-such-program\""),
        ("its logs cannot be written", "logs = { folder = \"plain\" }"),
        ("there is no user `no-such-user`", "user = \"no-such-user\""),
        ("line 1: there is no `=`", "env_file = \"broken.env\""),
        ("nowhere.sh, which sh is to run", "command = \"sh nowhere.sh\""),
        ("chmod +x", "command = \"./plain\""),
        ("nowhere is not there", "cwd = \"nowhere\""),
    ] {
        let problem = said.split("\n\n").find(|problem| problem.contains(message));
        let problem = problem.unwrap_or_else(|| panic!("no {message:?} in\n{said}"));
        assert!(problem.starts_with("error: ") && problem.contains(source), "{problem}");
        assert!(problem.contains("^^"), "{problem}");
    }
    assert_eq!(said.matches("error: ").count(), 10, "{said}");
}

#[test]
fn a_mistake_in_the_file_hides_nothing_of_the_machine() {
    let more = "[app.a]\ncommand = \"no-such-program\"\n[app.b]\ncwd = 1\ncommand = \"sh nowhere.sh\"\n";
    let (said, code) = check(&folder(), &file(ANYWHERE, &format!("{more}[limits]\nattempts_max = 0\n")));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("`no-such-program` is not found") && said.contains("`attempts_max` is out of"),
        "{said}"
    );
    // Nobody knows in which folder the script of `b` would be.
    assert!(!said.contains("nowhere.sh, which"), "{said}");
}

#[test]
fn a_port_that_somebody_has_is_a_warning_with_a_name() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let (said, code) = check(&folder(), &file(&format!("[[listen]]\naddress = \"{address}\"\n"), ""));
    let expected = format!("warning: the process {} (", std::process::id());
    assert!(said.starts_with(&expected) && said.contains(&format!(") has {address}")), "{said}");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("tidelock.toml: good"), "{said}");
}

#[test]
fn certificates_are_told_where_the_file_names_them() {
    let folder = folder();
    let authority = Authority::new("ca");
    let _ = authority.issue_with_wrong_key(&["localhost"]).write(folder.path(), "wrong");
    fs::write(folder.path().join("empty.pem"), "").expect("written");
    let tls = |certificate: &str, key: &str| {
        format!("{ANYWHERE}tls = {{ certificate = \"{certificate}\", key = \"{key}\" }}\n")
    };
    let listens =
        [tls("wrong.pem", "wrong.key"), tls("empty.pem", "wrong.key"), tls("gone.pem", "wrong.key")];
    let (said, code) = check(&folder, &file(&listens.concat(), ""));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("is not the key of") && said.contains("holds no certificate"), "{said}");
    assert!(said.contains("there is no file") && said.matches("error: ").count() == 3, "{said}");
    assert!(said.matches("^^").count() >= 3, "{said}");
}

#[test]
fn what_certificates_need_is_told() {
    let folder = folder();
    fs::write(folder.path().join("plain"), "").expect("written");
    let text = |acme: &str| {
        format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = \"auto\"\n[[route]]\nhost = \"a.example.com\"\nrespond = 200\n\
             [acme]\n{acme}\n"
        )
    };
    let (said, code) = check(&folder, &text("state = \"plain/acme\"\ndns_program = \"plain\""));
    assert_eq!(code, Some(1), "{said}");
    for want in ["certificates cannot be kept: ", "plain is no folder", "cannot be run", "chmod +x"] {
        assert!(said.contains(want), "{want}: {said}");
    }
    let (said, code) = check(&folder, &text("state = \"acme\""));
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn neither_variables_nor_secrets_are_shown() {
    let folder = folder();
    fs::write(folder.path().join("secret"), "hunter2\n").expect("written");
    fs::set_permissions(folder.path().join("secret"), Permissions::from_mode(0o600)).expect("ours");
    let text = file(
        &format!("sticky_secret = [\"file:secret\", \"${{SECRET}}\", \"hunter2\"]\n{ANYWHERE}"),
        "[limits]\nattempts_max = \"${ATTEMPTS}\"\nconnections_max = \"${NOT_SET}\"\n",
    );
    fs::write(folder.path().join("tidelock.toml"), text).expect("written");
    let output = run(folder.path(), &[("SECRET", "hunter2"), ("ATTEMPTS", "3")]);
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.matches("is 7 bytes long, and needs 32").count(), 3, "{said}");
    assert!(said.contains("the environment variable NOT_SET is not set"), "{said}");
    assert!(!said.contains("hunter2") && said.matches("error: ").count() == 4, "{said}");
}

#[test]
fn a_folder_or_a_page_that_is_not_there_is_told_and_stops_nothing() {
    let folder = folder();
    fs::create_dir(folder.path().join("dist")).expect("made");
    fs::write(folder.path().join("plain"), "").expect("written");
    let routes = "[[route]]\npath = \"/a\"\nfiles = \"nowhere\"\n[[route]]\nfiles = \"dist\"\nfallback = \"index.html\"\n\
                  [[route]]\npath = \"/b\"\nfiles = \"plain\"\n";
    let (said, code) = check(&folder, &format!("{ANYWHERE}{routes}"));
    assert_eq!(code, Some(0), "{said}");
    for (line, message) in [
        (5, "there is no folder nowhere"),
        (8, "there is no file dist/index.html"),
        (11, "plain cannot be read: Not a directory"),
    ] {
        assert!(said.contains(&format!("warning: {message}")), "{said}");
        assert!(said.contains(&format!("tidelock.toml:{line}:")), "{said}");
    }
    fs::write(folder.path().join("dist/index.html"), "").expect("written");
    let (said, _) =
        check(&folder, &format!("{ANYWHERE}[[route]]\nfiles = \"dist\"\nfallback = \"index.html\"\n"));
    assert!(!said.contains("warning"), "{said}");
}

/// Some 20 MiB of routes, whatever else the process takes.
#[test]
fn a_budget_of_memory_that_is_taken_at_rest_is_told() {
    let folder = folder();
    let routes: String = (0..6_000)
        .map(|number| format!("[[route]]\npath = \"/{number}{}\"\nupstream = \"nodes\"\n", "x".repeat(100)))
        .collect();
    let with = |memory: &str| check(&folder, &file(ANYWHERE, &format!("{routes}{memory}")));
    let (said, code) = with("[limits]\nmemory = \"16MiB\"\n");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("warning: tidelock may take 16 MiB of memory, and takes "), "{said}");
    assert!(said.contains("before anybody has come") && said.contains("memory = \"16MiB\""), "{said}");
    assert!(!with("[limits]\nmemory = \"1GiB\"\n").0.contains("warning"));
}

#[test]
fn a_url_is_explained() {
    let folder = folder();
    let file = "[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [[route]]\nupstream = \"nodes\"\n\
                [[route]]\npath = \"/api\"\nupstream = \"nodes\"\n\
                [[route]]\npath = \"/api/v1\"\nmethods = [\"POST\"]\nrespond = 403\n\
                [[route]]\nexact = \"/api/x\"\nrespond = 204\n\
                [[route]]\nhost = \"b.example\"\npath = \"/b\"\npaths = \"strict\"\nrespond = 204\n\
                [[route]]\npath = \"/v\"\nheaders = { X-Version = \"2\" }\nrespond = 204\n\
                [[route]]\npath = \"/v\"\nheaders = { X-Version = \"2\", X-Debug = true }\nrespond = 204\n\
                [[route]]\npath = \"/v\"\nquery = { version = \"2\" }\nrespond = 204\n\
                [upstream.nodes]\nnodes = [\"127.0.0.1:1\"]\n";
    fs::write(folder.path().join("tidelock.toml"), file).expect("written");
    let explained = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command.args(["check", "tidelock.toml", "--explain"]).args(arguments).current_dir(folder.path());
        let output = command.env("NO_COLOR", "1").output().expect("it can be started");
        String::from_utf8(output.stdout).expect("UTF-8") + &String::from_utf8_lossy(&output.stderr)
    };
    let told = explained(&["http://a.example/x/../api/x"]);
    for line in [
        "is decided by the path \"/api/x\"",
        "is taken by route 4 (exact = \"/api/x\"): it is answered 204",
        "route 2 (path = \"/api\") would take it, too, but `exact` comes before `regex`",
        "route 1 (path = \"/\") would take it, too",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let told = explained(&["http://a.example/api/v1/z"]);
    assert!(
        told.contains("is taken by route 2 (path = \"/api\"): a node of upstream \"nodes\" answers"),
        "{told}"
    );
    let told = explained(&["http://a.example/api/v1/z", "--method", "POST"]);
    assert!(told.contains("is taken by route 3"), "{told}");
    assert!(
        told.contains("route 2 (path = \"/api\") would take it, too, but the longer path comes first"),
        "{told}"
    );
    let told = explained(&["http://b.example/b/%2e%2e%2fx"]);
    assert!(told.contains("is refused with 400 by route 5 (host = \"b.example\", path = \"/b\")"), "{told}");
    let told = explained(&["http://a.example/v?version=%32"]);
    assert!(told.contains("is taken by route 8 (path = \"/v\", query = { version = \"2\" })"), "{told}");
    let told =
        explained(&["http://a.example/v?version=2", "--header", "X-Version: 2", "--header", "X-Debug:"]);
    for line in [
        "with X-Version: 2",
        "is taken by route 7 (path = \"/v\", headers = { x-debug = true, x-version = \"2\" })",
        "route 6 (path = \"/v\", headers = { x-version = \"2\" }) would take it, too, but more `headers` come first",
        "route 8 (path = \"/v\", query = { version = \"2\" }) would take it, too, but more `headers` come first",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }
    let told = explained(&["http://a.example/v", "--header", "X-Version 2"]);
    assert!(told.contains("write each as \"Name: value\""), "{told}");
    let told = explained(&["example.com"]);
    assert!(told.contains("write it whole: https://example.com/path"), "{told}");
}
