//! Each directive that docs/from-nginx.md says is not translated is told, and closes its location where it says so.

use std::path::Path;

use testkit::tidelock::directory;

use crate::stand::import;

/// What stands in the documentation's table: a name, and the status that its location answers.
fn left_out() -> Vec<(String, Option<u16>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-nginx.md");
    let text = std::fs::read_to_string(path).expect("docs/from-nginx.md is there");
    let mut left = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split(" | ").collect();
        let [names, becomes, _] = cells[..] else { continue };
        let Some(rest) = becomes.strip_prefix("not translated") else { continue };
        let status = rest.strip_prefix(", the location answers ").and_then(|status| status.parse().ok());
        let names = names.trim_start_matches("| ").split(' ').map(|name| name.trim_matches('`').to_owned());
        left.extend(names.map(|name| (name, status)));
    }
    left
}

/// A file that has it where nginx would take it.
fn file_with(name: &str) -> String {
    let (http, location) = match name {
        "stream" | "mail" => {
            return format!(
                "{name} {{ }}\nhttp {{ server {{ listen 80; location / {{ proxy_pass http://127.0.0.1:3000; }} }} }}\n"
            );
        }
        "geoip_country" => ("geoip_country /geo.dat;".to_owned(), String::new()),
        "geoip2" => ("geoip2 /geo.mmdb { $where country iso_code; }".to_owned(), String::new()),
        "merge_slashes" => (String::new(), "merge_slashes off;".to_owned()),
        "proxy_protocol" => (String::new(), "proxy_protocol on;".to_owned()),
        name => (String::new(), format!("{name} on;")),
    };
    format!(
        "{http}\nserver {{\n    listen 80;\n    location /here/ {{ {location} proxy_pass http://127.0.0.1:3000; }}\n}}\n"
    )
}

#[tokio::test]
async fn what_is_left_out_is_told() {
    let left = left_out();
    assert!(left.len() >= 45, "{}", left.len());
    let folder = directory();
    let path = folder.path().join("one.conf");
    let mut wrong = Vec::new();
    for (name, status) in left {
        std::fs::write(&path, file_with(&name)).expect("a writable folder");
        let (code, ours, said) = import(&path).await;
        let is_told = said.contains("not translated: one.conf:") && said.contains(&name);
        let is_closed = status.is_none_or(|status| ours.contains(&format!("respond = {status}")));
        if code != 2 || !is_told || !is_closed {
            wrong.push(format!("{name}: {code}, {status:?}: {said}{ours}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
