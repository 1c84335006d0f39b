//! The table holds together, and stands in the documentation.

use std::collections::HashSet;

use super::*;

/// `UPDATE_REPORTS=1` writes it there.
#[test]
fn the_documentation_has_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-nginx.md");
    let text = std::fs::read_to_string(&path).expect("docs/from-nginx.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("it has a place for the table");
    let (there, after) = rest.split_once(END).expect("the place has an end");
    let row = |(names, fate): &(&str, Fate)| {
        let names = names.split(' ').map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ");
        match fate {
            Read(becomes) => format!("| {names} | {becomes} | |\n"),
            Passed(why) => format!("| {names} | nothing | {why} |\n"),
            Left(why, todo) => format!("| {names} | not translated | {why}: {todo} |\n"),
            Closed(why, todo) => {
                format!("| {names} | not translated, the location answers 403 | {why}: {todo} |\n")
            }
            Elsewhere(why, todo) => {
                format!("| {names} | not translated, the location answers 501 | {why}: {todo} |\n")
            }
        }
    };
    let rows: String = TABLE.iter().map(row).collect();
    let wanted = format!("\n| nginx | tidelock | |\n|---|---|---|\n{rows}");
    if std::env::var_os("UPDATE_REPORTS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("it can be written");
    } else {
        assert_eq!(there, wanted, "docs/from-nginx.md is old; UPDATE_REPORTS=1 writes it");
    }
}

const BEGIN: &str = "<!-- the table of directives, written by its test, from here -->";
const END: &str = "<!-- the table of directives, to here -->";

/// Beside nginx each of these files is asked the same by the tests. What is not in one is told by another test, or is of a
/// module that Debian's nginx has not, or of the whole machine.
#[test]
fn what_is_translated_is_in_a_file_that_is_asked_beside_nginx() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nginx");
    let (mut open, mut text) = (vec![folder.join("corpus"), folder.join("shapes")], String::new());
    while let Some(path) = open.pop() {
        match std::fs::read_dir(&path) {
            Ok(entries) => open.extend(entries.map(|entry| entry.expect("it can be listed").path())),
            Err(_) => text += &std::fs::read_to_string(&path).expect("it can be read"),
        }
    }
    let bare = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let bare = bare.collect::<Vec<_>>().join("\n");
    let said: HashSet<&str> =
        bare.split([';', '{', '}']).filter_map(|part| part.split_whitespace().next()).collect();
    let names = |(names, fate): &(&'static str, Fate)| match fate {
        Read(_) => names.split(' ').collect(),
        Passed(_) | Left(..) | Closed(..) | Elsewhere(..) => Vec::new(),
    };
    let missing: Vec<&str> = TABLE.iter().flat_map(names).filter(|name| !said.contains(name)).collect();
    assert_eq!(missing, ASKED_NOWHERE);
}

/// Of modules that Debian's nginx has not, or told as a whole with another.
const ASKED_NOWHERE: &[&str] = &[
    "sticky",
    "proxy_cache_key",
    "proxy_cache_lock",
    "proxy_cache_methods",
    "proxy_cache_min_uses",
    "proxy_cache_revalidate",
    "proxy_cache_background_update",
    "proxy_cache_purge",
    "more_set_headers",
    "more_clear_headers",
    "autoindex_exact_size",
    "autoindex_localtime",
    "autoindex_format",
    "brotli",
    "brotli_types",
    "brotli_min_length",
    // Asked beside nginx in tests/guards.
    "limit_conn_status",
    "limit_req_dry_run",
    "limit_conn_dry_run",
    "auth_request_set",
    "auth_request",
    "satisfy",
    "ssl_client_certificate",
    "ssl_verify_client",
    // nginx 1.25.1 is the first that has it.
    "http2",
];

#[test]
fn every_name_stands_once_and_there_are_enough() {
    let names: Vec<&str> = TABLE.iter().flat_map(|(names, _)| names.split(' ')).collect();
    let different: HashSet<&str> = names.iter().copied().collect();
    let twice: Vec<_> =
        names.iter().filter(|name| names.iter().filter(|one| one == name).count() > 1).collect();
    assert_eq!(names.len(), different.len(), "{twice:?}");
    assert!(names.len() > 120);
}
