//! Goal: no file of a product crate uses one that stands above it, and whoever plants such an arrow is told where it is.
//! Method: the check over this tree, and over copies of it in which one line was added.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// What the check says of the tree under `root`: nothing if its floors hold.
fn check(root: &Path) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_tidelock-xtask"))
        .args(["floors", "--tree"])
        .arg(root)
        .output()
        .expect("xtask can be started");
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn own_tree() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// A copy of all crates' sources and of their map, with `line` at the end of one file.
fn planted(file: &str, line: &str) -> TempDir {
    let tree = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(own_tree().join("crates")).expect("the crates") {
        let from = entry.expect("an entry").path().join("src");
        if from.is_dir() {
            copy(&from, &tree.path().join(from.strip_prefix(own_tree()).expect("it is below")));
        }
    }
    fs::copy(own_tree().join("ARCHITECTURE.md"), tree.path().join("ARCHITECTURE.md"))
        .expect("the map of the code");
    let file = tree.path().join(file);
    let source = fs::read_to_string(&file).expect("the file is there");
    fs::write(&file, format!("{source}\n{line}\n")).expect("it can be written");
    tree
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("a file");
        }
    }
}

#[test]
fn the_floors_of_this_tree_hold() {
    assert_eq!(check(own_tree()), Ok(()));
}

#[test]
fn an_arrow_that_runs_back_up_is_found() {
    let check = |file: &str, line: &str, wants: &[&str]| {
        let tree = planted(file, line);
        let said = check(tree.path()).expect_err(line);
        for want in wants {
            assert!(said.contains(want), "{line:?} in {file}: {want:?} is not in\n{said}");
        }
    };
    // An import, and a path in the midst of code.
    check(
        "crates/proxy/src/net/clock.rs",
        "use crate::control::proxy::Proxy;",
        &[
            "crates/proxy/src/net/clock.rs:",
            "`Proxy` of crates/proxy/src/control/proxy.rs:",
            "`net`",
            "`control`",
        ],
    );
    check(
        "crates/proxy/src/upstream/node.rs",
        "fn planted(_: &crate::state::local::Local) {}",
        &["crates/proxy/src/upstream/node.rs:", "`Local` of crates/proxy/src/state/local.rs:"],
    );
    check(
        "crates/config/src/file/kinds/hosts.rs",
        "use crate::file::hide::without_secrets;",
        &[
            "crates/config/src/file/kinds/hosts.rs:",
            "`without_secrets` of crates/config/src/file/hide.rs:",
            "`file/kinds`",
            "`file/hide`",
        ],
    );
    // Two files of one floor that need each other.
    check(
        "crates/proxy/src/upstream/close_signal.rs",
        "use super::node::Node;",
        &["a circle", "crates/proxy/src/upstream/close_signal.rs:", "crates/proxy/src/upstream/node.rs:"],
    );
    // Nobody stands above the crate's root.
    check(
        "crates/proxy/src/fault.rs",
        "use crate::Counts;",
        &["the crate's root", "crates/proxy/src/lib.rs"],
    );
}

#[test]
fn what_is_for_tests_only_may_use_what_it_likes() {
    let lines = "#[cfg(test)]\nmod planted {\n    use crate::control::proxy::Proxy;\n}\n/// As [`crate::control::proxy::Proxy`].\nconst PLANTED: &str = \"crate::control::proxy::Proxy\";";
    let tree = planted("crates/proxy/src/net/clock.rs", lines);
    assert_eq!(check(tree.path()), Ok(()));
}

#[test]
fn a_file_belongs_to_a_floor() {
    let tree = planted("crates/proxy/src/lib.rs", "mod planted;");
    fs::write(tree.path().join("crates/proxy/src/planted.rs"), "").expect("it can be written");
    let said = check(tree.path()).expect_err("it has no floor");
    assert!(said.contains("crates/proxy/src/planted.rs is on no floor"), "{said}");
}
