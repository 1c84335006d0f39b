//! What the importer writes: a file of ours, with theirs beside each part, and what is left out of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use super::parse::{At, Directive};
use crate::quote::quoted;

/// Something that was not translated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) at: At,
    /// Their words.
    pub(super) what: String,
    pub(super) why: String,
    pub(super) todo: String,
}

impl Left {
    pub(super) fn of(directive: &Directive, why: &str, todo: &str) -> Self {
        Self { at: directive.at.clone(), what: directive.text(), why: why.to_owned(), todo: todo.to_owned() }
    }
}

/// Which requests a route takes, by their path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Takes {
    Prefix(String),
    Exact(String),
    Regex(String),
}

/// One `[[route]]`: its keys with their values in TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) at: At,
    /// Their words.
    pub(super) what: String,
    /// Empty for every host.
    pub(super) hosts: Vec<String>,
    /// Addresses of listens; empty for all of them.
    pub(super) listens: Vec<String>,
    pub(super) path: Takes,
    /// All that is no host, listen or path.
    pub(super) keys: Vec<(&'static str, String)>,
    pub(super) remarks: Vec<String>,
    /// Upstreams that are asked too: for its pages, whether requests may pass, or instead of its own for a share of clients.
    pub(super) asks: Vec<String>,
    /// What a node sees in the place of the location's own path, letter by letter.
    pub(super) replaced_by: Option<String>,
    /// Whether that is done only where a slash follows that path.
    pub(super) is_replaced_beneath: bool,
}

impl Route {
    pub(super) fn of(directive: &Directive, path: Takes) -> Self {
        Self {
            at: directive.at.clone(),
            what: directive.text(),
            hosts: Vec::new(),
            listens: Vec::new(),
            path,
            keys: Vec::new(),
            remarks: Vec::new(),
            asks: Vec::new(),
            replaced_by: None,
            is_replaced_beneath: false,
        }
    }

    pub(super) fn set(&mut self, key: &'static str, value: impl Into<String>) {
        self.keys.retain(|(name, _)| *name != key);
        self.keys.push((key, value.into()));
    }

    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(name, _)| *name == key).map(|(_, value)| value.as_str())
    }

    /// The name of the upstream that answers.
    pub(super) fn upstream(&self) -> Option<String> {
        serde_json::from_str(self.value("upstream")?).ok()
    }

    /// The names of all upstreams that may answer.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = String> {
        self.upstream().into_iter().chain(self.asks.iter().cloned())
    }

    /// Takes out what cannot be written yet, and says so: all of it, where nothing would be right without that key.
    pub(super) fn landed(mut self, left: &mut Vec<Left>) -> Option<Self> {
        let path = match self.path {
            Takes::Prefix(_) => "path",
            Takes::Exact(_) => "exact",
            Takes::Regex(_) => "regex",
        };
        let mut keys = vec![path];
        keys.extend((!self.listens.is_empty()).then_some("listen"));
        keys.extend(self.keys.iter().map(|(key, _)| *key));
        let missing: Vec<&str> = keys.into_iter().filter(|key| !has_landed(key)).collect();
        for key in &missing {
            left.push(Left {
                at: self.at.clone(),
                what: self.what.clone(),
                why: format!("`{key}` of a route is not supported yet"),
                todo: "keep nginx in front for it until it is".to_owned(),
            });
        }
        if missing.iter().any(|key| !ADORNMENTS.contains(key)) {
            return None;
        }
        self.keys.retain(|(key, _)| has_landed(key));
        Some(self)
    }

    /// The table, once for each host where a route has one host.
    pub(super) fn toml(&self) -> String {
        if has_landed(HOST_LISTS) || self.hosts.len() < 2 {
            return self.table(&self.hosts);
        }
        self.hosts.iter().map(|host| self.table(std::slice::from_ref(host))).collect()
    }

    fn table(&self, hosts: &[String]) -> String {
        let mut text = format!("\n# {}\n", comment(&self.at, &self.what));
        for remark in &self.remarks {
            let _ = writeln!(text, "# {remark}");
        }
        text.push_str("[[route]]\n");
        match hosts {
            [] => {}
            [host] => text += &format!("host = {}\n", quoted(host)),
            hosts => text += &format!("host = {}\n", list(hosts)),
        }
        match &self.path {
            Takes::Prefix(path) if path == "/" => {}
            Takes::Prefix(path) => text += &format!("path = {}\n", quoted(path)),
            Takes::Exact(path) => text += &format!("exact = {}\n", quoted(path)),
            Takes::Regex(regex) => text += &format!("regex = {}\n", literal(regex)),
        }
        if !self.listens.is_empty() {
            text += &format!("listen = {}\n", list(&self.listens));
        }
        for (key, value) in &self.keys {
            let _ = writeln!(text, "{key} = {value}");
        }
        text
    }
}

/// Whether tidelock takes each route; the error is its word. Thousands are looked at as one, and one by one only where one of
/// them is not taken.
pub(super) fn verified(routes: Vec<Route>) -> Vec<(Route, Result<(), String>)> {
    fn look(routes: &[Route], verdicts: &mut Vec<Result<(), String>>) {
        match (verify(routes), routes) {
            (_, []) => {}
            (Ok(()), _) => verdicts.extend(routes.iter().map(|_| Ok(()))),
            (Err(why), [_]) => verdicts.push(Err(why)),
            (Err(_), _) => {
                let (first, second) = routes.split_at(routes.len() / 2);
                look(first, verdicts);
                look(second, verdicts);
            }
        }
    }
    let mut verdicts = Vec::with_capacity(routes.len());
    look(&routes, &mut verdicts);
    routes.into_iter().zip(verdicts).collect()
}

fn verify(routes: &[Route]) -> Result<(), String> {
    let mut listens: BTreeSet<&str> =
        routes.iter().flat_map(|route| &route.listens).map(String::as_str).collect();
    if routes.iter().any(|route| route.listens.is_empty()) || listens.is_empty() {
        listens.insert("127.0.0.1:1");
    }
    let listens = listens.into_iter().map(|address| format!("[[listen]]\naddress = {}\n", quoted(address)));
    let mut upstreams: BTreeSet<String> = routes.iter().flat_map(Route::upstreams).collect();
    if upstreams.is_empty() {
        upstreams.insert("nodes".to_owned());
    }
    let upstreams = upstreams
        .into_iter()
        .map(|name| format!("[upstream.{}]\nnodes = [\"127.0.0.1:1\"]\n", quoted(&name)));
    let text: String = listens.chain(routes.iter().map(Route::toml)).chain(upstreams).collect();
    match config::parse(&text, Path::new("/import.toml")) {
        Ok(_) => Ok(()),
        Err(report) => Err(sentence(&report)),
    }
}

/// The first of what is wrong, without the picture.
pub(super) fn sentence(report: &config::problem::Report) -> String {
    let first = report.problems().iter().find(|problem| problem.severity == config::problem::Severity::Error);
    first.map_or_else(|| "tidelock does not take it".to_owned(), |problem| problem.message.clone())
}

/// Whether a key of routes is one that this tidelock has. What is `false` is told as not supported yet: when a key is there,
/// say `true` here.
pub(super) fn has_landed(key: &str) -> bool {
    LANDED.iter().any(|(name, has_landed)| *name == key && *has_landed)
}

/// A place and their words, as they stand in a comment.
pub(super) fn comment(at: &At, what: &str) -> String {
    let what: String =
        what.chars().map(|c| if c.is_control() { ' ' } else { c }).take(COMMENT_CHARS_MAX).collect();
    format!("{at}: {what}")
}

/// A list of strings.
pub(super) fn list<T: AsRef<str>>(of: &[T]) -> String {
    format!("[{}]", of.iter().map(|one| quoted(one.as_ref())).collect::<Vec<_>>().join(", "))
}

/// In single quotes where it can be: expressions are full of backslashes.
fn literal(text: &str) -> String {
    if text.contains(['\'', '\n', '\r']) { quoted(text) } else { format!("'{text}'") }
}

/// Keys of a route, and whether tidelock has them.
pub(super) const LANDED: &[(&str, bool)] = &[
    ("path", true),
    ("upstream", true),
    ("split", true),
    ("mirror", true),
    (HOST_LISTS, true),
    ("exact", true),
    ("regex", true),
    ("methods", true),
    ("listen", true),
    ("redirect", true),
    ("respond", true),
    ("strip", true),
    ("rewrite", true),
    ("request_headers", true),
    ("response_headers", true),
    ("body_bytes_max", true),
    ("access_log", true),
    ("files", true),
    ("index", true),
    ("fallback", true),
    ("cache", true),
    ("allow", true),
    ("deny", true),
    ("auth", true),
    ("satisfy", true),
    ("limit", true),
    ("error_pages", true),
    ("intercept_errors", true),
    ("compress", true),
];
/// Without these a request is still answered by whoever should.
const ADORNMENTS: [&str; 8] = [
    "request_headers",
    "response_headers",
    "body_bytes_max",
    "access_log",
    "index",
    "error_pages",
    "intercept_errors",
    "compress",
];
pub(super) const HOST_LISTS: &str = "host = [ … ]";
const COMMENT_CHARS_MAX: usize = 120;
