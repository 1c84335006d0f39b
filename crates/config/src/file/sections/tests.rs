//! `configs/full.toml` has the text of each section from its declaration, and the defaults.

use std::fs;
use std::ops::Range;
use std::path::Path;

use serde_json::Value as Json;

use crate::file::declared::Sub;
use crate::file::sections::{
    acme, admin, app, drain, health, limits, listen, log, outliers, rebalance, redis, resolver, route,
    timeouts, upstream,
};
use crate::plan::FILE;

#[test]
fn full_has_what_is_declared() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/full.toml");
    let mut full = fs::read_to_string(&path).expect("it is in the repository");
    let before = full.clone();
    for (header, sub) in [
        // Those of the file itself stand above all others.
        ("", &FILE),
        ("[[listen]]", &listen::LISTEN),
        ("[[route]]", &route::ROUTE),
        ("[upstream.nodes]", &upstream::UPSTREAM),
        ("[upstream.nodes.rebalance]", &rebalance::REBALANCE),
        ("[upstream.nodes.health]", &health::HEALTH),
        ("[upstream.nodes.outliers]", &outliers::OUTLIERS),
        // No app runs by default.
        ("#[app.chat]", &app::APP),
        ("#[app.chat.stop]", &app::stop::STOP),
        ("#[app.chat.restart]", &app::restart::RESTART),
        ("#[app.chat.watch]", &app::watch::WATCH),
        ("#[app.chat.logs]", &app::logs::LOGS),
        ("[limits]", &limits::LIMITS),
        ("[timeouts]", &timeouts::TIMEOUTS),
        ("[log]", &log::LOG),
        ("[drain]", &drain::DRAIN),
        ("[admin]", &admin::ADMIN),
        ("[resolver]", &resolver::RESOLVER),
        // No Redis is asked by default.
        ("#[redis]", &redis::REDIS),
        ("[acme]", &acme::ACME),
    ] {
        let blocks = blocks(&full, header);
        let before: Vec<String> = blocks.iter().map(|block| full[block.clone()].to_owned()).collect();
        // From the last to the first, so that the others stay where they are.
        for (number, block) in blocks.into_iter().enumerate().rev() {
            full.replace_range(block, &text(header, sub, &before, number));
        }
    }
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &full).expect("a writable file");
    } else {
        assert!(full == before, "run this test again with UPDATE_SCHEMA=1");
    }
}

/// Each from the comment above the header to the blank line behind the last key.
fn blocks(full: &str, header: &str) -> Vec<Range<usize>> {
    let end = |at: usize| full[at..].find("\n\n").map_or(full.len(), |blank| at + blank + 1);
    if header.is_empty() {
        // Behind what is said of the file as a whole.
        let start = full.find("\n\n").expect("a blank line") + 2;
        return std::iter::once(start..end(start)).collect();
    }
    let mark = format!("\n{header}\n");
    let headers = full.match_indices(&mark).map(|(at, _)| at + 1);
    let blocks = headers.map(|at| full[..at].rfind("\n\n").map_or(0, |blank| blank + 2)..end(at));
    blocks.collect()
}

/// The block of this number of the section as it is declared. Of several, a key is explained where it comes `before` all
/// others of its name, and one that stands nowhere in the first. Keys that have no default keep the example that stands there.
fn text(header: &str, sub: &Sub, before: &[String], number: usize) -> String {
    let mark = if header.starts_with('#') { "#" } else { "" };
    let own = &before[number];
    let mut text = match (header, number) {
        ("", _) => String::new(),
        (_, 0) => format!("{}{header}\n", comment(sub.section.doc)),
        _ => own[..own.find(header).expect("it is there") + header.len()].to_owned() + "\n",
    };
    for key in sub.section.all() {
        let Some((doc, default)) = key.in_full() else { continue };
        let at = before.iter().position(|block| example(block, key.name()).is_some()).unwrap_or(0);
        let example = example(own, key.name());
        if at != number {
            text.extend(example);
            continue;
        }
        let line = match default.as_ref().and_then(toml) {
            Some(default) => format!("{mark}{} = {default}\n", key.name()),
            None => match example {
                Some(example) => example,
                // An upstream of an app has another block, and so have most tables.
                None if key.name() == "app" || key.is_table() => continue,
                None => panic!("{header}: write an example of `{}`, and run this again", key.name()),
            },
        };
        text += &comment(&doc);
        text += &line;
    }
    text
}

/// A value that TOML writes as JSON does.
fn toml(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Object(members) if !members.is_empty() => None,
        other => Some(other.to_string()),
    }
}

/// The line with the key, in a comment or not, and those that its value goes on in.
fn example(before: &str, key: &str) -> Option<String> {
    let is_it = |line: &str| line.trim_start_matches('#').starts_with(&format!("{key} = "));
    let mut lines = before.lines().skip_while(|line| !is_it(line));
    let first = lines.next()?.to_owned() + "\n";
    Some(lines.take_while(|line| line.starts_with([' ', ']'])).fold(first, |text, line| text + line + "\n"))
}

/// Wrapped as people would; ` - ` begins an element of a list.
fn comment(doc: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (number, part) in doc.split(" - ").enumerate() {
        let (begin, go_on) = if number == 0 { ("#", "#") } else { ("# -", "#  ") };
        lines.push(begin.to_owned());
        for word in part.split_ascii_whitespace() {
            let last = lines.last_mut().expect("never empty");
            if last.chars().count() + 1 + word.chars().count() > COLUMNS {
                lines.push(format!("{go_on} {word}"));
            } else {
                *last += &format!(" {word}");
            }
        }
    }
    lines.join("\n") + "\n"
}

const COLUMNS: usize = 118;
