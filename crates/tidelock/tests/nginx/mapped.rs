//! A file of the corpus with the test's own ports, folders, certificates and nodes in the place of its own. The text stays
//! what it is but for those words.

use std::collections::BTreeMap;

/// What was found in a file, and where it is in the test.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Ports that it listens on.
    pub(crate) ports: Vec<u16>,
    /// Whether one of them has TLS.
    pub(crate) tls_ports: Vec<u16>,
    /// Nodes as they are written, each with the name of its pool.
    pub(crate) nodes: BTreeMap<String, String>,
    /// Those that are asked by `https://`: nodes, or names of pools.
    pub(crate) tls_nodes: Vec<String>,
    pub(crate) hosts: Vec<String>,
    pub(crate) paths: Vec<String>,
    /// Those of errors.
    pub(crate) pages: Vec<String>,
    pub(crate) certificates: Vec<(String, String)>,
    /// What `root` and `alias` name.
    pub(crate) folders: Vec<String>,
    /// Whether some server closes without an answer.
    pub(crate) closes: bool,
}

/// Each statement of the name `word` as `change` has it; nothing where it is to go.
pub(crate) fn each(text: &str, word: &str, mut change: impl FnMut(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(word) {
        let (before, here) = rest.split_at(at);
        let line = before.rsplit('\n').next().unwrap_or_default();
        let is_word = before.chars().next_back().is_none_or(|c| c.is_whitespace() || "{;}".contains(c))
            && here[word.len()..].starts_with([' ', '\t'])
            && line.rsplit(['{', ';']).next().unwrap_or_default().trim().is_empty()
            && !line.contains('#');
        let end = here.find([';', '{']).filter(|end| is_word && here[*end..].starts_with(';'));
        out.push_str(before);
        match end {
            Some(end) => {
                let arguments = here[word.len()..end].trim();
                if let Some(changed) = change(arguments) {
                    out.push_str(&format!("{word} {changed};"));
                }
                rest = &here[end + 1..];
            }
            None => {
                out.push_str(word);
                rest = &here[word.len()..];
            }
        }
    }
    out + rest
}

/// What a file listens on, whom it serves and whom it asks.
pub(crate) fn found(text: &str) -> Found {
    let mut found = Found::default();
    let is_all_tls = text.contains("ssl on;");
    each(text, "listen", |arguments| {
        let port = port(arguments)?;
        found.ports.extend((!found.ports.contains(&port)).then_some(port));
        let is_tls = is_all_tls || arguments.split_whitespace().any(|word| word == "ssl");
        found.tls_ports.extend((is_tls && !found.tls_ports.contains(&port)).then_some(port));
        None
    });
    if found.ports.is_empty() {
        found.ports.push(80);
    }
    each(text, "server_name", |arguments| {
        found.hosts.extend(arguments.split_whitespace().map(str::to_owned));
        None
    });
    each(text, "ssl_certificate", |arguments| {
        found.certificates.push((arguments.to_owned(), String::new()));
        None
    });
    let mut pool = String::new();
    let (mut pools, mut rows) = (Vec::new(), Vec::new());
    for statement in statements(text) {
        match statement.split_whitespace().collect::<Vec<_>>()[..] {
            ["upstream", name, ..] => {
                name.clone_into(&mut pool);
                pools.push(name.to_owned());
            }
            ["server", address, ..] => {
                found.nodes.insert(address.to_owned(), pool.clone());
            }
            ["location", .., path] => found.paths.push(path.to_owned()),
            ["error_page", .., page] if page.starts_with('/') => found.pages.push(page.to_owned()),
            ["root" | "alias", folder] => found.folders.push(folder.to_owned()),
            ["return", "444"] => found.closes = true,
            // Rows of a table.
            [path, to] if path.starts_with('/') && to.starts_with('/') => found.paths.push(path.to_owned()),
            [word, to] if !["return", "proxy_pass", "set"].contains(&word) && to.starts_with("http") => {
                rows.push(to.to_owned());
            }
            _ => {}
        }
    }
    let mut lone = |to: &str| {
        let bare = to.trim_start_matches("http://").trim_start_matches("https://");
        let authority = bare.split('/').next().unwrap_or_default();
        if to.starts_with("https://") {
            found.tls_nodes.push(authority.to_owned());
        }
        if !pools.iter().any(|pool| pool == authority) && !authority.contains('$') && authority.contains(':')
        {
            found.nodes.entry(authority.to_owned()).or_insert_with(|| authority.to_owned());
        }
    };
    rows.iter().for_each(|row| lone(row));
    each(text, "proxy_pass", |arguments| {
        lone(arguments);
        None
    });
    each(text, "set", |arguments| {
        lone(arguments.split_whitespace().nth(1).unwrap_or_default());
        None
    });
    found
}

fn statements(text: &str) -> Vec<String> {
    let bare: Vec<&str> = text.lines().map(|line| line.split(" #").next().unwrap_or_default()).collect();
    let bare =
        bare.into_iter().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    bare.split([';', '{', '}']).map(|statement| statement.trim().to_owned()).collect()
}

/// The port of a `listen` on every IPv4 address.
pub(crate) fn port(arguments: &str) -> Option<u16> {
    let address = arguments.split_whitespace().next()?;
    if address.starts_with('[') {
        return None;
    }
    address.rsplit(':').next()?.parse().ok()
}
