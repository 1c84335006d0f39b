//! `map` where it is a table over the host or the path: what it decides becomes servers and locations of their own, before
//! anything else looks at them. Other maps stay, and are told where their variable is used.

use super::parse::{At, Directive};
use super::scope::variable;

/// One `map`.
#[derive(Debug)]
struct Table {
    over: Over,
    /// Without its dollar sign.
    variable: String,
    rows: Vec<(String, String)>,
    default: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Host,
    Path,
}

/// The same without the tables that could be written out.
pub(super) fn unfolded(directives: Vec<Directive>) -> Vec<Directive> {
    let mut tables = Vec::new();
    learn(&directives, &mut tables);
    if tables.is_empty() { directives } else { servers(directives, &tables) }
}

fn learn(block: &[Directive], tables: &mut Vec<Table>) {
    for directive in block {
        match directive.name.as_str() {
            "http" => learn(directive.inside(), tables),
            "map" => tables.extend(Table::of(directive)),
            _ => {}
        }
    }
}

impl Table {
    fn of(map: &Directive) -> Option<Self> {
        let [over, variable] = &map.args[..] else { return None };
        let over = match over.as_str() {
            "$host" | "$http_host" => Over::Host,
            "$uri" | "$document_uri" => Over::Path,
            _ => return None,
        };
        let (mut rows, mut default, mut has_hostnames) = (Vec::new(), String::new(), false);
        for row in map.inside() {
            match (row.name.as_str(), &row.args[..]) {
                ("hostnames", []) => has_hostnames = true,
                ("default", [value]) => default.clone_from(value),
                (key, [value]) => rows.push((key.trim_start_matches('\\').to_owned(), value.clone())),
                _ => return None,
            }
        }
        let is_host = |key: &str| {
            let is_name = !key.starts_with('~') && !key.contains(['$', '/']);
            is_name && (has_hostnames || !key.starts_with(['*', '.'])) && !key.ends_with(".*")
        };
        let fits = match over {
            Over::Host => rows.iter().all(|(key, _)| is_host(key)) && rows.len() <= ROWS_MAX,
            // Only where it is no path of the table nothing is done.
            Over::Path => default.is_empty() && rows.iter().all(|(key, _)| key.starts_with(['/', '~'])),
        };
        let variable = variable.strip_prefix('$')?.to_owned();
        fits.then_some(Self { over, variable, rows, default })
    }

    fn value(&self, host: &str) -> &str {
        let row = self.rows.iter().find(|(key, _)| key.eq_ignore_ascii_case(host));
        row.map_or(&self.default, |(_, value)| value)
    }
}

fn servers(block: Vec<Directive>, tables: &[Table]) -> Vec<Directive> {
    let mut all = Vec::with_capacity(block.len());
    for mut directive in block {
        match directive.name.as_str() {
            "http" => {
                directive.block = directive.block.map(|inside| servers(inside, tables));
                all.push(directive);
            }
            "server" => all.extend(by_host(by_path(directive, tables), tables)),
            _ => all.push(directive),
        }
    }
    all
}

/// A server, once for each host that a table which it uses tells apart, and once for the others.
fn by_host(server: Directive, tables: &[Table]) -> Vec<Directive> {
    let used: Vec<&Table> =
        tables.iter().filter(|table| table.over == Over::Host && uses(&server, &table.variable)).collect();
    if used.is_empty() {
        return vec![server];
    }
    let names: Vec<String> = names(&server).map(|name| name.to_ascii_lowercase()).collect();
    let is_anybody = names.iter().all(|name| name == "_" || name.is_empty());
    let mut hosts: Vec<String> = Vec::new();
    for key in used.iter().flat_map(|table| &table.rows).map(|(key, _)| key.to_ascii_lowercase()) {
        if (is_anybody || names.iter().any(|name| covers(name, &key))) && !hosts.contains(&key) {
            hosts.push(key);
        }
    }
    let others: Vec<String> = names.into_iter().filter(|name| !hosts.contains(name)).collect();
    let of = |host: Option<&String>| {
        let mut own = server.clone();
        let named = host.map_or_else(|| others.clone(), |host| vec![host.clone()]);
        rename(&mut own, named, host.is_some());
        for table in &used {
            put(&mut own, &table.variable, host.map_or(&table.default, |host| table.value(host)));
        }
        own
    };
    // The first of an address has the requests for nobody.
    std::iter::once(None).chain(hosts.iter().map(Some)).map(of).collect()
}

fn names(server: &Directive) -> impl Iterator<Item = &String> {
    server.inside().iter().filter(|one| one.name == "server_name").flat_map(|one| &one.args)
}

/// Whether a name of a server takes a host, or those that a wildcard stands for.
fn covers(name: &str, host: &str) -> bool {
    let under = |apex: &str| {
        host.strip_suffix(apex).is_some_and(|before| before.ends_with('.')) && !host.starts_with("*.")
    };
    match (name.strip_prefix("*."), name.strip_prefix('.')) {
        (Some(apex), _) => name == host || under(apex),
        (None, Some(apex)) => name == host || host == apex || under(apex),
        (None, None) => name == host,
    }
}

fn rename(server: &mut Directive, names: Vec<String>, is_one: bool) {
    let at = server.at.clone();
    let Some(inside) = &mut server.block else { return };
    inside.retain(|one| one.name != "server_name");
    if is_one {
        for listen in inside.iter_mut().filter(|one| one.name == "listen") {
            listen.args.retain(|arg| arg != "default_server" && arg != "default");
        }
    }
    let names = if names.is_empty() { vec!["_".to_owned()] } else { names };
    inside.insert(0, Directive { name: "server_name".to_owned(), args: names, block: None, at });
}

/// A server whose `if ($new) { return 301 $new; }` is a location for each path of the table.
fn by_path(mut server: Directive, tables: &[Table]) -> Directive {
    let Some(inside) = server.block.take() else { return server };
    let mut own = Vec::with_capacity(inside.len());
    for directive in inside {
        match moved(&directive, tables) {
            Some(moves) => own.extend(moves),
            None => own.push(directive),
        }
    }
    server.block = Some(own);
    server
}

/// What stands in the place of such an `if`.
fn moved(directive: &Directive, tables: &[Table]) -> Option<Vec<Directive>> {
    let asked = (directive.name == "if").then(|| directive.args.join(" "))?;
    let asked = asked.trim().strip_prefix('(')?.strip_suffix(')')?.trim();
    let asked = asked.strip_suffix("!= \"\"").or_else(|| asked.strip_suffix("!= ''")).unwrap_or(asked);
    let (name, "") = variable(asked.trim().trim_end_matches("!=").trim().strip_prefix('$')?) else {
        return None;
    };
    let table = tables.iter().find(|table| table.over == Over::Path && table.variable == name)?;
    let [answer] = directive.inside() else { return None };
    let flag = match (answer.name.as_str(), answer.arg()) {
        ("return", "301") => Some("permanent"),
        ("return", "302") => Some("redirect"),
        ("return", _) => None,
        _ => return None,
    };
    let rows = table.rows.iter().map(|(key, value)| {
        let mut answer = answer.clone();
        put(&mut answer, name, value);
        row(&directive.at, key, answer, flag)
    });
    rows.collect()
}

/// What one row does.
fn row(at: &At, key: &str, answer: Directive, flag: Option<&str>) -> Option<Directive> {
    let directive = |name: &str, args: Vec<String>, block| Directive {
        name: name.to_owned(),
        args,
        block,
        at: at.clone(),
    };
    match key.strip_prefix("~*").map(|key| format!("(?i){key}")).or(key.strip_prefix('~').map(str::to_owned))
    {
        None => Some(directive("location", vec!["=".to_owned(), key.to_owned()], Some(vec![answer]))),
        Some(pattern) => {
            let to = answer.args.get(1)?.clone();
            Some(directive("rewrite", vec![pattern, to, flag?.to_owned()], None))
        }
    }
}

/// Whether a variable stands somewhere in a block.
fn uses(directive: &Directive, name: &str) -> bool {
    directive.args.iter().any(|arg| refers(arg, name))
        || directive.inside().iter().any(|inside| uses(inside, name))
}

pub(super) fn refers(text: &str, name: &str) -> bool {
    text.split('$').skip(1).any(|behind| variable(behind).0 == name)
}

/// Puts a value in the place of a variable, wherever it stands.
fn put(directive: &mut Directive, name: &str, value: &str) {
    for arg in directive.args.iter_mut().filter(|arg| refers(arg, name)) {
        *arg = put_in(arg, name, value);
    }
    for inside in directive.block.iter_mut().flatten() {
        put(inside, name, value);
    }
}

/// The text with a value in the place of each mention of a variable, be it `$name` or `${name}`.
pub(super) fn put_in(text: &str, name: &str, value: &str) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('$') {
        filled.push_str(before);
        let (found, after) = variable(behind);
        match found == name {
            true => filled.push_str(value),
            false => filled.extend(["$", &behind[..behind.len() - after.len()]]),
        }
        rest = after;
    }
    filled + rest
}

/// More hosts than that are a data base: the server would be there once for each.
const ROWS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::parse::parse;
    use super::*;

    /// What becomes of a text, on one line for each directive of the first floor.
    fn check(text: &str, want: &[&str]) {
        let read = parse(text, &Rc::from("f")).expect("it is nginx's");
        let lines: Vec<String> = unfolded(read).iter().filter(|one| one.name != "map").map(shown).collect();
        assert_eq!(lines, want, "{text}");
    }

    fn shown(directive: &Directive) -> String {
        match &directive.block {
            None => format!("{};", directive.text()),
            Some(inside) => {
                let inside: Vec<String> = inside.iter().map(shown).collect();
                format!("{} {{ {} }}", directive.text(), inside.join(" "))
            }
        }
    }

    #[test]
    fn a_table_of_hosts_is_a_server_for_each() {
        let table = "map $host $to { default http://z:1; a.example http://a:1; b.example http://b:1; c.example http://c:1; }";
        check(
            &format!(
                "{table} server {{ listen 80 default_server; server_name a.example .b.example d.example; location / {{ proxy_pass $to; }} }}"
            ),
            &[
                "server { server_name .b.example d.example; listen 80 default_server; location / { proxy_pass http://z:1; } }",
                "server { server_name a.example; listen 80; location / { proxy_pass http://a:1; } }",
                "server { server_name b.example; listen 80; location / { proxy_pass http://b:1; } }",
            ],
        );
        check(
            &format!("{table} server {{ listen 80; location / {{ proxy_pass ${{to}}/x; }} }}")
                .replace("default http://z:1;", ""),
            &[
                "server { server_name _; listen 80; location / { proxy_pass /x; } }",
                "server { server_name a.example; listen 80; location / { proxy_pass http://a:1/x; } }",
                "server { server_name b.example; listen 80; location / { proxy_pass http://b:1/x; } }",
                "server { server_name c.example; listen 80; location / { proxy_pass http://c:1/x; } }",
            ],
        );
        // A server that does not use it, and a table that is none.
        check(&format!("{table} server {{ listen 80; }}"), &["server { listen 80; }"]);
        check(
            "map $host $to { ~^a http://a:1; } server { location / { proxy_pass $to; } }",
            &["server { location / { proxy_pass $to; } }"],
        );
    }

    #[test]
    fn a_table_of_paths_is_a_location_for_each() {
        check(
            "map $uri $new { /old /new; ~^/u/(.*)$ /users/$1; } server { listen 80; if ($new) { return 301 $new; } }",
            &[
                "server { listen 80; location = /old { return 301 /new; } rewrite ^/u/(.*)$ /users/$1 permanent; }",
            ],
        );
        check(
            "map $uri $new { /old https://b.example/new; } server { if ($new != \"\") { return 308 $new; } }",
            &["server { location = /old { return 308 https://b.example/new; } }"],
        );
        let other = "server { if ($new) { return 301 $new; } }";
        check(&format!("map $uri $new {{ default /x; /old /new; }} {other}"), &[other]);
    }
}
