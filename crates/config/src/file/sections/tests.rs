//! `configs/full.toml` has the text of each declared section.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use crate::file::declared::Sub;
use crate::file::sections::{limits, outliers, rebalance, timeouts};

#[test]
fn full_has_what_is_declared() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/full.toml");
    let mut full = fs::read_to_string(&path).expect("it is in the repository");
    let before = full.clone();
    for (header, sub) in [
        ("upstream.nodes.rebalance", &rebalance::REBALANCE),
        ("upstream.nodes.outliers", &outliers::OUTLIERS),
        ("limits", &limits::LIMITS),
        ("timeouts", &timeouts::TIMEOUTS),
    ] {
        let (start, end) = block(&full, &format!("[{header}]"));
        full.replace_range(start..end, &text(header, sub));
    }
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &full).expect("a writable file");
    } else {
        assert!(full == before, "run this test again with UPDATE_SCHEMA=1");
    }
}

/// From the comment above the header to the blank line behind the last key.
fn block(full: &str, header: &str) -> (usize, usize) {
    let at = full.find(&format!("\n{header}\n")).expect("a header") + 1;
    let start = full[..at].rfind("\n\n").map_or(0, |blank| blank + 2);
    let end = full[at..].find("\n\n").map_or(full.len(), |blank| at + blank + 1);
    (start, end)
}

fn text(header: &str, sub: &Sub) -> String {
    let mut text = format!("{}[{header}]\n", comment(sub.section.doc));
    for key in sub.section.keys {
        let (doc, default) = key.in_full().expect("no tables");
        text += &comment(&doc);
        let example = || EXAMPLES.iter().find(|(name, _)| *name == key.name()).map(|(_, value)| *value);
        match default {
            Some(default) => {
                text += &format!("{} = {default}\n", key.name());
                assert!(
                    matches!(default, Json::String(_) | Json::Number(_)),
                    "{default} is TOML as well as JSON"
                );
            }
            None => text += &format!("#{} = {}\n", key.name(), example().expect("an example")),
        }
    }
    text
}

/// Wrapped as people would.
fn comment(doc: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in doc.split_ascii_whitespace() {
        let last = lines.last_mut().expect("never empty");
        if last.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(format!("# {word}"));
        } else {
            *last += &format!(" {word}");
        }
    }
    lines.join("\n") + "\n"
}

/// Of keys that have no default.
const EXAMPLES: [(&str, &str); 1] = [("memory", "\"512MiB\"")];
const COLUMNS: usize = 118;
