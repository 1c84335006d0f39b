//! Nodes: `upstream` blocks, and the names that stand in `proxy_pass` alone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;

use super::ours::{Left, comment, list, sentence};
use super::parse::{At, Directive};
use super::scope::Scope;
use crate::quote::{key, quoted};

/// All upstreams that some route uses, in the order of their use.
#[derive(Debug, Default)]
pub(super) struct Pools<'f> {
    blocks: BTreeMap<&'f str, &'f Directive>,
    /// The `split_clients`, whose variables may name several of them.
    pub(super) splits: Vec<&'f Directive>,
    used: Vec<Pool>,
    /// Their places in `used`, by what makes one another.
    places: HashMap<Same, usize>,
    names: HashSet<String>,
}

/// What locations of one pool have in common: what `proxy_pass` says, the Host, and how TLS is spoken.
type Same = (String, Option<String>, Option<Vec<String>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pool {
    name: String,
    host: Option<String>,
    /// Lines of how TLS is spoken with its nodes, if it is.
    tls: Option<Vec<String>>,
    at: At,
    what: String,
    /// Lines of the table.
    lines: Vec<String>,
    more: Vec<String>,
    /// Seconds of connect, answer, tunnel and body, by key; the longest of all locations.
    waits: BTreeMap<&'static str, u64>,
}

/// What a location wants of its nodes.
#[derive(Debug, Clone)]
pub(super) struct Wanted<'w, 'f> {
    pub(super) directive: &'w Directive,
    /// `name`, `host:port` or `unix:/path`, without scheme and path.
    pub(super) authority: &'w str,
    pub(super) host: Option<String>,
    /// Lines of how TLS is spoken with them, if it is.
    pub(super) tls: Option<Vec<String>>,
    pub(super) scope: &'w Scope<'f>,
}

impl<'f> Pools<'f> {
    /// Knows the blocks of `upstream` and `split_clients` among these.
    pub(super) fn learn(&mut self, directives: &'f [Directive]) {
        for block in directives.iter().filter(|directive| directive.name == "upstream") {
            self.blocks.insert(block.arg(), block);
        }
        self.splits.extend(directives.iter().filter(|directive| directive.name == "split_clients"));
    }

    /// The name of our upstream for a location, or nothing if it was left out.
    pub(super) fn name(&mut self, wanted: &Wanted<'_, 'f>, left: &mut Vec<Left>) -> Option<String> {
        let waits = waits(wanted.scope);
        let same = (wanted.authority.to_owned(), wanted.host.clone(), wanted.tls.clone());
        if let Some(pool) = self.places.get(&same).map(|place| &mut self.used[*place]) {
            for (key, seconds) in waits {
                let longest = pool.waits.entry(key).or_insert(seconds);
                *longest = seconds.max(*longest);
            }
            return Some(pool.name.clone());
        }
        let block = self.blocks.get(wanted.authority).copied();
        let directive = block.unwrap_or(wanted.directive);
        let (lines, more) = match block {
            Some(block) => of_block(block, wanted.tls.is_some(), left)?,
            None => (vec![nodes_of(wanted, left)?], Vec::new()),
        };
        let host = wanted.host.as_ref().map(|host| format!("host = {}\n", quoted(host))).unwrap_or_default();
        let tls = wanted.tls.iter().map(|lines| format!("[upstream.nodes.tls]\n{}\n", lines.join("\n")));
        if let Err(why) = verified(&format!("{}\n{host}{}", lines.join("\n"), tls.collect::<String>())) {
            let todo = "write the upstream by hand, see configs/full.toml".to_owned();
            left.push(Left { at: directive.at.clone(), what: directive.text(), why, todo });
            return None;
        }
        let name = self.free_name(wanted.authority);
        let (at, what) = (directive.at.clone(), directive.text());
        let (host, tls) = (wanted.host.clone(), wanted.tls.clone());
        self.places.insert(same, self.used.len());
        self.names.insert(name.clone());
        self.used.push(Pool { name: name.clone(), host, tls, at, what, lines, more, waits });
        Some(name)
    }

    fn free_name(&self, authority: &str) -> String {
        let plain: String = authority
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' })
            .collect();
        let mut names = (1..).map(|n| if n == 1 { plain.clone() } else { format!("{plain}-{n}") });
        names.find(|name| !self.names.contains(name)).unwrap_or(plain)
    }

    /// The tables of those that `is_used`.
    pub(super) fn toml(&self, is_used: &dyn Fn(&str) -> bool) -> String {
        let mut text = String::new();
        for pool in self.used.iter().filter(|pool| is_used(&pool.name)) {
            let name = key(&pool.name);
            let _ = write!(text, "\n# {}\n[upstream.{name}]\n", comment(&pool.at, &pool.what));
            for line in &pool.lines {
                let _ = writeln!(text, "{line}");
            }
            if let Some(host) = &pool.host {
                let _ = write!(
                    text,
                    "# Without `proxy_set_header Host $host` nodes hear this name.\nhost = {}\n",
                    quoted(host)
                );
            }
            for lines in pool.tls.iter().filter(|lines| !lines.is_empty()) {
                let _ = writeln!(text, "[upstream.{name}.tls]\n{}", lines.join("\n"));
            }
            if !pool.waits.is_empty() {
                let _ = writeln!(text, "[upstream.{name}.timeouts]");
            }
            for (key, seconds) in &pool.waits {
                let _ = writeln!(text, "{key} = \"{seconds}s\"");
            }
            if !pool.more.is_empty() {
                let _ = writeln!(text, "[upstream.{name}.outliers]\n{}", pool.more.join("\n"));
            }
        }
        text
    }
}

/// Whether tidelock takes an upstream of these lines; the error is its word.
fn verified(lines: &str) -> Result<(), String> {
    let around =
        "[[listen]]\naddress = \"127.0.0.1:80\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\n";
    match config::parse(&format!("{around}{lines}\n"), std::path::Path::new("/import.toml")) {
        Ok(_) => Ok(()),
        Err(report) => Err(sentence(&report)),
    }
}

/// Ours for what nginx's three waits are; nothing where nginx's default holds, 60 s.
fn waits(scope: &Scope<'_>) -> BTreeMap<&'static str, u64> {
    let mut waits = BTreeMap::new();
    let mut put = |name: &str, keys: &[(&'static str, u64, u64)]| {
        let Some(seconds) = scope.one(name).and_then(|wait| seconds(wait.arg())) else { return };
        for (key, least, most) in keys {
            waits.insert(*key, seconds.clamp(*least, *most));
        }
    };
    put("proxy_connect_timeout", &[("connect", 1, 60)]);
    put("proxy_send_timeout", &[("body", 1, 3600)]);
    put("proxy_read_timeout", &[("answer", 1, 86_400), ("tunnel", 1, 604_800)]);
    waits
}

/// "1h 30m", "60s", "500ms", "60".
pub(super) fn seconds(text: &str) -> Option<u64> {
    let mut sum = 0_u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum = sum.checked_add(match rest[..unit].trim() {
            "" | "s" => number,
            "ms" => number.div_ceil(1000),
            "m" => number.checked_mul(60)?,
            "h" => number.checked_mul(3600)?,
            "d" => number.checked_mul(86_400)?,
            "w" => number.checked_mul(604_800)?,
            "M" => number.checked_mul(2_592_000)?,
            "y" => number.checked_mul(31_536_000)?,
            _ => return None,
        })?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(sum)
}

fn nodes_of(wanted: &Wanted<'_, '_>, left: &mut Vec<Left>) -> Option<String> {
    let address = node(wanted.authority, if wanted.tls.is_some() { "443" } else { "80" });
    let address = address.map(|address| spoken(address, wanted.tls.is_some()));
    match address {
        Ok(address) => Some(format!("nodes = {}", list(&[address]))),
        Err((why, todo)) => {
            left.push(Left { at: wanted.directive.at.clone(), what: wanted.directive.text(), why, todo });
            None
        }
    }
}

/// A node as we write it, or why it cannot be one.
fn node(server: &str, port: &str) -> Result<String, (String, String)> {
    if server.starts_with("unix:") {
        return Ok(server.trim_end_matches(':').to_owned());
    }
    if server.contains('$') {
        let why = "which node it is, is decided by a variable".to_owned();
        return Err((why, "write a route for each of its values".to_owned()));
    }
    let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
        && (!server.starts_with('[') || server.contains("]:"));
    Ok(if has_port { server.to_owned() } else { format!("{server}:{port}") })
}

/// The same with how it is spoken with.
fn spoken(address: String, is_tls: bool) -> String {
    if is_tls { format!("https://{address}") } else { address }
}

type Lines = (Vec<String>, Vec<String>);

fn of_block(block: &Directive, is_tls: bool, left: &mut Vec<Left>) -> Option<Lines> {
    let mut nodes = Vec::new();
    let (mut fails, mut pause) = (None, None);
    let mut lines = Vec::new();
    for server in block.inside().iter().filter(|directive| directive.name == "server") {
        let parameters: Vec<(&str, &str)> =
            server.args.iter().skip(1).map(|arg| arg.split_once('=').unwrap_or((arg, ""))).collect();
        if parameters.iter().any(|(name, _)| *name == "down") {
            lines.push(format!("# Down: {}", server.arg()));
            continue;
        }
        let address = match node(server.arg(), "80") {
            Ok(address) if is_tls && address.starts_with("unix:") => {
                let why = "TLS is not spoken on Unix sockets".to_owned();
                let todo = "let the node speak HTTP there: nobody is on the way".to_owned();
                left.push(Left { at: server.at.clone(), what: server.text(), why, todo });
                continue;
            }
            Ok(address) => spoken(address, is_tls),
            Err((why, todo)) => {
                left.push(Left { at: server.at.clone(), what: server.text(), why, todo });
                continue;
            }
        };
        let mut keys = vec![format!("address = {}", quoted(&address))];
        for (name, value) in parameters {
            match name {
                "weight" => {
                    keys.push(format!("weight = {}", value.parse::<u32>().unwrap_or(1).clamp(1, 256)));
                }
                "backup" => keys.push("backup = true".to_owned()),
                "max_conns" => {
                    let most = value.parse::<u32>().ok().filter(|most| *most > 0);
                    keys.extend(most.map(|most| format!("max_connections = {}", most.min(1_000_000))));
                }
                "max_fails" => fails = value.parse::<u32>().ok().or(fails),
                "fail_timeout" => pause = seconds(value).or(pause),
                _ => {}
            }
        }
        nodes.push(match &keys[..] {
            [_] => quoted(&address),
            keys => format!("{{ {} }}", keys.join(", ")),
        });
    }
    if nodes.is_empty() {
        return None;
    }
    lines.push(match nodes.len() {
        1 => format!("nodes = [{}]", nodes.concat()),
        _ => format!("nodes = [\n    {},\n]", nodes.join(",\n    ")),
    });
    if nodes.len() > 1 {
        lines.extend(policy(block, left));
    }
    let mut more = Vec::new();
    if let Some(fails) = fails.filter(|fails| *fails > 0 && nodes.len() > 1) {
        more.push(format!("failures = {}", fails.min(1000)));
    }
    if let Some(pause) = pause.filter(|pause| *pause > 0 && nodes.len() > 1) {
        more.push(format!("ejection = \"{}s\"", pause.min(3600)));
    }
    Some((lines, more))
}

/// Who gets the next one.
fn policy(block: &Directive, left: &mut Vec<Left>) -> Vec<String> {
    let one = |line: &str| vec![line.to_owned()];
    let auto = "# For Socket.IO, \"auto\" is better (leave it out): sessions hold though addresses change, and are spread evenly.";
    for directive in block.inside() {
        let of = directive.arg();
        let after = |prefix: &str| of.strip_prefix(prefix).map(|name| name.replace('_', "-"));
        match directive.name.as_str() {
            "least_conn" => return one("balance = \"least-requests\""),
            "random" => return one("balance = \"random-two\""),
            "ip_hash" => return vec![auto.to_owned(), "sticky = \"ip\"".to_owned()],
            "sticky" if of == "cookie" => {
                let name = directive.args.get(1).map_or("route", String::as_str);
                return vec![
                    AUTO_FOR_COOKIES.to_owned(),
                    format!("sticky = {}", quoted(&format!("cookie:{name}"))),
                ];
            }
            "hash" if ["$remote_addr", "$binary_remote_addr"].contains(&of) => {
                return vec![auto.to_owned(), "sticky = \"ip\"".to_owned()];
            }
            "hash" if of.starts_with("$cookie_") => {
                let balance = quoted(&format!("hash:cookie:{}", &of["$cookie_".len()..]));
                return vec![AUTO_FOR_COOKIES.to_owned(), format!("balance = {balance}")];
            }
            "hash" if of.starts_with("$http_") => {
                let header = after("$http_").unwrap_or_default();
                return vec![format!("sticky = {}", quoted(&format!("header:{header}")))];
            }
            "hash" if of.starts_with("$arg_") => {
                return vec![format!("sticky = {}", quoted(&format!("query:{}", &of["$arg_".len()..])))];
            }
            "hash" | "sticky" => {
                left.push(Left {
                    at: directive.at.clone(),
                    what: directive.text(),
                    why: "nodes are not chosen by that".to_owned(),
                    todo: "choose one of `sticky` and `balance` in configs/full.toml; sessions of Socket.IO hold anyway"
                        .to_owned(),
                });
                return one("balance = \"round-robin\"");
            }
            _ => {}
        }
    }
    one("balance = \"round-robin\"")
}

const AUTO_FOR_COOKIES: &str = "# If it keeps logins or Socket.IO on their node, \"auto\" is better (leave the line out): the app's own cookie brings one of ours.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_nginx_writes_them() {
        for (text, want) in [
            ("60", Some(60)),
            ("60s", Some(60)),
            ("1h30m", Some(5400)),
            ("500ms", Some(1)),
            ("1d", Some(86_400)),
            ("x", None),
            ("", None),
            ("99999999999999999999y", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }
}
