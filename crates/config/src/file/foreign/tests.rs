use std::collections::HashSet;
use std::path::Path;

use super::row::Ours::Key;
use super::*;
use crate::file::declared::Section;
use crate::file::parse;
use crate::file::sections::{
    admin, app, drain, health, limits, listen, log, outliers, resolver, route, timeouts, upstream,
};

/// A file with every section that a row names, each with what it cannot do without.
const FILE: [(&str, &str, &[&str]); 15] = [
    ("", "", &[]),
    ("listen", "[[listen]]", &["address = \":8080\""]),
    ("route", "[[route]]", &["upstream = \"nodes\""]),
    ("more", "[[route]]", &["path = \"/app\"", "upstream = \"app\""]),
    ("upstream.nodes", "[upstream.nodes]", &["nodes = [\"127.0.0.1:1\"]"]),
    ("upstream.nodes.health", "[upstream.nodes.health]", &[]),
    ("upstream.nodes.outliers", "[upstream.nodes.outliers]", &[]),
    ("app", "[upstream.app]", &["app = \"chat\""]),
    ("limits", "[limits]", &[]),
    ("timeouts", "[timeouts]", &[]),
    ("log", "[log]", &[]),
    ("drain", "[drain]", &[]),
    ("admin", "[admin]", &[]),
    ("resolver", "[resolver]", &[]),
    ("app.chat", "[app.chat]", &["command = \"node\""]),
];
const OF_APPS: [&str; 4] = ["app.chat.stop", "app.chat.restart", "app.chat.watch", "app.chat.logs"];

fn section(name: &str) -> &'static Section {
    match name {
        "" => crate::plan::FILE.section,
        "listen" => listen::LISTEN.section,
        "route" => route::ROUTE.section,
        "upstream.nodes" => upstream::UPSTREAM.section,
        "upstream.nodes.health" => health::HEALTH.section,
        "upstream.nodes.outliers" => outliers::OUTLIERS.section,
        "limits" => limits::LIMITS.section,
        "timeouts" => timeouts::TIMEOUTS.section,
        "log" => log::LOG.section,
        "drain" => drain::DRAIN.section,
        "admin" => admin::ADMIN.section,
        "resolver" => resolver::RESOLVER.section,
        "app.chat" => app::APP.section,
        "app.chat.stop" => app::stop::STOP.section,
        "app.chat.restart" => app::restart::RESTART.section,
        "app.chat.watch" => app::watch::WATCH.section,
        "app.chat.logs" => app::logs::LOGS.section,
        other => panic!("no section {other}"),
    }
}

/// The file with `lines` in `section`, in the place of what says the same there.
fn file_with(section: &str, lines: &str) -> String {
    let keys: Vec<&str> =
        lines.lines().filter_map(|line| line.split_once(" = ")).map(|(key, _)| key).collect();
    let mut text = String::new();
    for (name, header, needs) in FILE {
        text += &format!("{header}\n");
        // A route does one thing.
        let in_place = |key: &str| {
            if ["redirect", "respond", "files"].contains(&key) { "upstream" } else { key }.to_owned()
        };
        let is_said =
            |line: &&&str| keys.iter().any(|key| line.starts_with(&format!("{} = ", in_place(key))));
        let is_here = name == section;
        for line in needs.iter().filter(|line| !is_here || !is_said(line)) {
            text += &format!("{line}\n");
        }
        text += if is_here { lines } else { "" };
        text += "\n";
    }
    match OF_APPS.contains(&section) {
        true => text + &format!("[{section}]\n{lines}\n"),
        false => text,
    }
}

#[test]
fn every_row_is_answered_with_what_can_be_written() {
    for Word { names, ours, .. } in words() {
        let Key(place, key, lines) = ours else { continue };
        assert!(section(place).has(key), "{names:?}: there is no `{key}` in {place}");
        assert!(lines.contains(&format!("{key} = ")), "{names:?}: {lines}");
        if let Err(report) = parse(&file_with(place, lines), Path::new("test.toml")) {
            panic!("{names:?}: {report}");
        }
    }
}

#[test]
fn every_word_is_told_in_any_section() {
    for row in words() {
        for name in row.names {
            assert_eq!(*name, name.to_lowercase());
            for place in ["", "listen", "upstream.nodes", "app.chat", "timeouts"] {
                if section(place).has(name) {
                    continue;
                }
                let text = file_with(place, &format!("\"{name}\" = 1"));
                let report = parse(&text, Path::new("test.toml")).expect_err(name);
                let [problem] = report.problems() else { panic!("{name}: {report}") };
                assert_eq!(problem.message, row.message(name));
                assert!(problem.message.contains(row.of), "{name}");
                assert_eq!(problem.hint.as_deref(), Some(&*row.hint()));
            }
        }
    }
}

#[test]
fn no_word_is_in_two_rows() {
    let mut seen = HashSet::new();
    assert!(words().flat_map(|row| row.names).all(|name| seen.insert(*name)), "{seen:?}");
    assert!(seen.len() > 150, "{}", seen.len());
}

#[test]
fn values_of_others_are_told_too() {
    for (names, line) in BALANCES.iter().chain(STICKIES) {
        parse(&file_with("upstream.nodes", line), Path::new("test.toml")).expect(line);
        assert!(
            names
                .iter()
                .all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
        );
    }
    assert_eq!(value("balance", "least_conn"), Some("balance = \"least-requests\""));
    assert_eq!(value("balance", "static-rr"), Some("balance = \"round-robin\""));
    assert_eq!(value("sticky", "ip_hash"), Some("sticky = \"ip\""));
    assert_eq!(value("balance", "least-sessions"), None);
}
