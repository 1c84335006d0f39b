//! Goal: what SECURITY.md promises is held by tests that are there. Method: each name behind `Test:` or `Tests:` is that of
//! a function in the sources.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_promise_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = String::new();
    read_all(&root.join("crates"), &mut sources);
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
            let is_there =
                sources.contains(&format!("fn {name}(")) || sources.contains(&format!("mod {name};"));
            assert!(is_there, "SECURITY.md names {name}, which is no test");
        }
    }
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

fn read_all(folder: &Path, into: &mut String) {
    let entries: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder of sources")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    for path in entries {
        if path.is_dir() && !path.ends_with("node_modules") {
            read_all(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(&path).expect("sources are text"));
        }
    }
}
