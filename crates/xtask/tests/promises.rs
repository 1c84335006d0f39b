//! Goal: what SECURITY.md and docs/hardening.md promise is held by tests that are there. Method: each name behind `Test:` or
//! `Tests:`, or in the last column of a table, is that of a function in the sources, or of a row of `bench attacks`. What
//! can be seen in the sources alone is looked for there.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_promise_names_tests_that_are_there() {
    let (root, sources) = sources();
    let page = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, promises) = page.split_once("## What is promised").unwrap();
    let numbered: Vec<_> =
        promises.split("\n\n").filter(|text| is_numbered(text)).flat_map(split_items).collect();
    assert!(numbered.len() >= 15, "{}", numbered.len());
    for promise in numbered {
        let (_, tests) = promise.split_once("Test").unwrap_or_else(|| panic!("no test holds {promise:?}"));
        let names: Vec<_> = tests.split('`').skip(1).step_by(2).filter(|name| name.contains('_')).collect();
        assert!(!names.is_empty(), "no test holds {promise:?}");
        for name in names {
            assert!(is_there(name, &sources), "SECURITY.md names {name}, which is no test");
        }
    }
}

#[test]
fn every_row_of_hardening_names_what_holds_it() {
    let (root, sources) = sources();
    let attacks = fs::read_to_string(root.join("crates/xtask/src/bench/attacks/attack.rs")).unwrap();
    let page = fs::read_to_string(root.join("docs/hardening.md")).unwrap();
    let (_, table) = page.split_once("| promise | held by |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<(&str, &str)> =
        rows.map(|row| row.trim_matches(['|', ' ']).rsplit_once(" | ").expect("two columns")).collect();
    assert!(rows.len() >= 25, "{}", rows.len());
    for (promise, held_by) in rows {
        let names: Vec<_> = held_by.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "nothing holds {promise:?}");
        for name in names {
            let is_row = attacks.contains(&format!("\"{name}\""));
            assert!(is_row || is_there(name, &sources), "{name} is neither a test nor a row");
        }
    }
}

/// A test that is ignored is one that nobody misses, unless it says what it needs and `cargo xtask test` has it.
#[test]
fn no_test_is_ignored_but_for_want_of_a_program() {
    let (_, sources) = sources();
    // Not as one word, or this file had one.
    let attribute = ["ig", "nore"].concat();
    for line in
        sources.lines().map(str::trim).filter(|line| line.starts_with("#[") && line.contains(&attribute))
    {
        let is_wanting = format!("#[cfg_attr(not(feature = \"programs\"), {attribute} = \"needs ");
        assert!(line.starts_with(&is_wanting) && line.contains("cargo xtask test"), "{line}");
    }
}

/// Whoever reads a stream slowly, or not at all, would stop a worker or the control thread that writes to it.
#[test]
fn nothing_that_serves_writes_to_a_stream_of_the_process() {
    /// Each has a thread of its own, and a queue with a bound in front of it.
    const WRITERS: [&str; 2] =
        ["crates/proxy/src/observe/access/writer.rs", "crates/supervisor/src/logs/echo.rs"];
    let (root, _) = sources();
    let mut found = Vec::new();
    for product in ["proxy", "supervisor", "admin", "client", "config", "wire"] {
        for (path, text) in files(&root.join("crates").join(product).join("src")) {
            let path = path.strip_prefix(&root).expect("it is in there").display().to_string();
            // Tests may say what they like.
            let served = text.split("#[cfg(test)]").next().unwrap_or_default();
            let says = |line: &&str| {
                let is_written = ["println!", "print!(", "dbg!(", "stdout()", "stderr()"];
                let is_code = !line.trim_start().starts_with("//") && !line.contains("is_terminal(");
                is_code && is_written.iter().any(|word| line.contains(word))
            };
            let is_for_tests = path.contains("/stand/") || path.contains("/tests");
            if !is_for_tests && !WRITERS.contains(&&*path) {
                found.extend(served.lines().filter(says).map(|line| format!("{path}: {}", line.trim())));
            }
        }
    }
    assert_eq!(found, [""; 0]);
}

fn sources() -> (PathBuf, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let texts: Vec<String> = files(&root.join("crates")).into_iter().map(|(_, text)| text).collect();
    (root, texts.concat())
}

/// Whether a test is called so, or a module of tests.
fn is_there(name: &str, sources: &str) -> bool {
    sources.contains(&format!("fn {name}(")) || sources.contains(&format!("mod {name};"))
}

fn is_numbered(text: &str) -> bool {
    text.trim_start().starts_with(|first: char| first.is_ascii_digit())
}

/// One item each: a line that begins with a number begins another one.
fn split_items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        match items.last_mut() {
            Some(item) if !is_numbered(line) => *item += line,
            _ => items.push(line.to_owned()),
        }
    }
    items
}

/// All files with sources below `folder`.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("node_modules") {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("sources are text");
            files.push((path, text));
        }
    }
    files
}
