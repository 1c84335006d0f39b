//! Translates an nginx.conf into an `upstreams.toml`, and says what it could not translate. Reads files; starts nothing.

mod globals;
mod headers;
mod include;
mod locations;
mod ours;
mod parse;
mod patterns;
mod place;
mod pools;
mod rewrites;
mod scope;
mod sites;
mod tables;
mod vars;
mod words;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::process::ExitCode;

use include::Whole;
use locations::routes;
use ours::{Left, Route, Takes, comment};
use parse::Directive;
use place::{Index, Work};
use pools::Pools;
use scope::Scope;
use sites::{Site, Sites, Socket};
use words::Fate;

use crate::output::{self, tell};
use crate::quote::quoted;

/// Whether `file` is nginx's and not PM2's: all that is not JavaScript, JSON or YAML.
pub(crate) fn is_nginx(file: &Path) -> bool {
    let extension = file.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    let is_pm2s = extension.is_some_and(|extension| PM2S.contains(&&*extension));
    // `import pm2` is its dump.
    !is_pm2s && (file != Path::new("pm2") || file.is_file())
}

/// Prints what `file` says in our words. Exits with 2 if something of it was not translated.
pub(crate) fn import(file: &Path) -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    match include::read(file, &variable) {
        Ok(whole) => {
            let translated = translate(whole, file);
            output::out(format_args!("{}", translated.text));
            for left in &translated.left {
                tell!("not translated: {}: {}: {}", comment(&left.at, &left.what), left.why, left.todo);
            }
            if translated.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_WHOLE) }
        }
        Err(why) => {
            tell!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// A file of ours.
#[derive(Debug)]
struct Translated {
    text: String,
    left: Vec<Left>,
}

fn translate(whole: Whole, file: &Path) -> Translated {
    let Whole { directives, missing, unset } = whole;
    let mut left = Vec::new();
    for (at, name) in missing {
        let what = format!("include {name}");
        left.push(Left {
            at,
            what,
            why: "there is no such file here".to_owned(),
            todo: "import where nginx runs, or take the line out".to_owned(),
        });
    }
    for (at, name) in unset {
        let what = format!("${{{name}}}");
        let todo = format!("say it, {name}=… tidelock import {}", file.display());
        left.push(Left { at, what, why: "this variable of the template is not set".to_owned(), todo });
    }
    let (directives, is_piece) = framed(directives);
    let directives = tables::unfolded(directives);
    walk(&directives, &mut left);
    let mut sites = Sites::default();
    let mut pools = Pools::default();
    let root = Scope::default().inner(&directives);
    add(&directives, &root, &mut sites, &mut pools, &mut left);
    sites.settle();
    let mut translation = Translation { sites: &sites, pools, left, is_piece, bound: String::new() };
    let routes = translation.routes();
    translation.write(&routes, &directives, file)
}

/// Puts a server around locations that stand alone.
fn framed(directives: Vec<Directive>) -> (Vec<Directive>, bool) {
    let has_server = directives
        .iter()
        .any(|directive| ["http", "server", "stream", "mail"].contains(&directive.name.as_str()));
    let of_http = |directive: &Directive| ["upstream", "map"].contains(&directive.name.as_str());
    match directives.iter().find(|directive| directive.name == "location") {
        Some(first) if !has_server => {
            let at = first.at.clone();
            let (mut around, inside): (Vec<_>, Vec<_>) = directives.into_iter().partition(of_http);
            around.push(Directive { name: "server".to_owned(), args: Vec::new(), block: Some(inside), at });
            (around, true)
        }
        _ => (directives, false),
    }
}

/// Finds the servers and upstreams: in `http`, or where they stand alone in a file of conf.d.
fn add<'f>(
    block: &'f [Directive],
    scope: &Scope<'f>,
    sites: &mut Sites<'f>,
    pools: &mut Pools<'f>,
    left: &mut Vec<Left>,
) {
    pools.learn(block);
    for directive in block {
        match directive.name.as_str() {
            "http" => add(directive.inside(), &scope.inner(directive.inside()), sites, pools, left),
            "server" => sites.add(directive, scope.inner(directive.inside()), left),
            _ => {}
        }
    }
}

/// Tells what is not translated wherever it stands.
fn walk(block: &[Directive], left: &mut Vec<Left>) {
    for directive in block {
        let is_off = ["off", "0"].contains(&directive.arg()) && directive.args.len() == 1;
        let told = match locations::fate_of(directive) {
            // On is what is always so.
            Some(Fate::Left(..)) if directive.name == "merge_slashes" && directive.arg() == "on" => None,
            Some(Fate::Left(..)) if is_off && directive.name != "merge_slashes" => None,
            Some(Fate::Left(why, todo) | Fate::Closed(why, todo) | Fate::Elsewhere(why, todo)) => {
                Some((why, todo))
            }
            Some(Fate::Read(_) | Fate::Passed(_)) => None,
            None => Some((
                "tidelock does not know this directive",
                "look up in nginx's documentation whether something is lost without it",
            )),
        };
        if let Some((why, todo)) = told {
            left.push(Left {
                at: directive.at.clone(),
                what: directive.text(),
                why: why.to_owned(),
                todo: todo.to_owned(),
            });
        }
        if !NOT_DIRECTIVES.contains(&directive.name.as_str()) && told.is_none() {
            walk(directive.inside(), left);
        }
    }
}

struct Translation<'f> {
    sites: &'f Sites<'f>,
    pools: Pools<'f>,
    left: Vec<Left>,
    is_piece: bool,
    /// Of bodies, where a route says nothing else.
    bound: String,
}

impl<'f> Translation<'f> {
    /// All routes, with their hosts and listens, that this tidelock takes.
    fn routes(&mut self) -> Vec<Route> {
        let mut all: Vec<Route> = Vec::new();
        let mut known: Known = HashMap::new();
        let sites: &'f Sites<'f> = self.sites;
        for site in &sites.sites {
            let tls = site.sockets.iter().map(|number| &sites.sockets[*number]);
            let tls = tls.map(|socket| (socket.written(), socket.is_tls)).collect();
            let mut work = Work {
                site,
                pools: &mut self.pools,
                left: &mut self.left,
                places: Vec::new(),
                index: Index::default(),
                tls,
            };
            for (number, mut route) in routes(&mut work).into_iter().enumerate() {
                let is_default = site.default_of.len() == site.sockets.len() && !site.hosts.is_empty();
                if number == 0 && is_default {
                    route.remarks.push(format!(
                        "For {}, and for every host that is no other server's.",
                        site.hosts.join(", ")
                    ));
                }
                for route in self.placed(site, route) {
                    let same = known.entry((route.listens.clone(), route.path.clone())).or_default();
                    if let Some(route) = untaken(route, same, &all) {
                        same.push(all.len());
                        all.push(route);
                    }
                }
            }
        }
        self.bound = common_bound(&mut all);
        let landed = all.into_iter().filter_map(|route| route.landed(&mut self.left)).collect();
        let mut taken = Vec::new();
        for (route, verdict) in ours::verified(landed) {
            match verdict {
                Ok(()) => taken.push(route),
                Err(why) => self.left.push(Left {
                    at: route.at.clone(),
                    what: route.what.clone(),
                    why,
                    todo: "write the route by hand, see docs/routes.md".to_owned(),
                }),
            }
        }
        taken
    }

    /// A server's route for its names, and one for the requests that name nobody, where it has those.
    fn placed(&self, site: &Site<'_>, route: Route) -> Vec<Route> {
        let written = |numbers: &[usize]| -> Vec<String> {
            numbers.iter().map(|number| self.sites.sockets[*number].written()).collect()
        };
        let narrowed = |of: Vec<String>| -> Vec<String> {
            let of: Vec<String> = of
                .into_iter()
                .filter(|one| route.listens.is_empty() || route.listens.contains(one))
                .collect();
            if of.len() == self.sites.sockets.len() { Vec::new() } else { of }
        };
        let of_names = written(&site.sockets);
        let of_default = written(&site.default_of);
        let is_for_some_host = route.hosts != site.hosts;
        let has_wildcards =
            self.sites.sites.iter().any(|other| other.hosts.iter().any(|host| host.starts_with('*')));
        let is_default = site.default_of.len() == site.sockets.len() && !is_for_some_host;
        let mut placed = Vec::new();
        let default_listens: Vec<&String> =
            of_default.iter().filter(|one| route.listens.is_empty() || route.listens.contains(one)).collect();
        if !route.hosts.is_empty() && (!is_default || has_wildcards) {
            placed.push(Route { listens: narrowed(of_names), ..route.clone() });
        }
        // What an `if` asked of one host is not for those without a name.
        let is_for_all = !is_for_some_host
            || route.hosts.is_empty()
            || !site.hosts.iter().all(|host| !route.hosts.contains(host));
        let asked_of_one = is_for_some_host
            && route.hosts.len() == 1
            && !site.hosts.is_empty()
            && route.what.starts_with("if ");
        if !default_listens.is_empty() && is_for_all && !asked_of_one {
            placed.push(Route { hosts: Vec::new(), listens: narrowed(of_default.clone()), ..route.clone() });
        }
        placed
    }

    fn write(mut self, routes: &[Route], directives: &[Directive], file: &Path) -> Translated {
        let mut flat = Vec::new();
        flatten(directives, &mut flat);
        let globals = globals::read(&flat, &self.bound, &mut self.left);
        let mut body = globals.top;
        for socket in &self.sites.sockets {
            self.left.extend(uncertified(socket));
            body += &listen(socket);
            if let Some(proxied) = socket.proxied {
                match globals.trusts {
                    true => body += "proxy_protocol = true\n",
                    false => self.left.push(Left {
                        at: proxied.at.clone(),
                        what: proxied.text(),
                        why: "no set_real_ip_from says whose word to take".to_owned(),
                        todo: "add `proxy_protocol = true` to its `[[listen]]`, and the balancer to `trusted_proxies`"
                            .to_owned(),
                    }),
                }
            }
        }
        body += &routes.iter().map(Route::toml).collect::<String>();
        let used: HashSet<String> = routes.iter().flat_map(Route::upstreams).collect();
        body += &self.pools.toml(&|name| used.contains(name));
        if routes.is_empty() {
            body += "\n# No location could be translated.\n[[route]]\nrespond = 503\n";
        }
        if used.is_empty() {
            body += "\n# tidelock wants one, though no route uses it yet.\n[upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]\n";
        }
        body += &globals.tables;
        if let Err(report) = config::parse(&body, Path::new("/import.toml")) {
            let at = directives
                .first()
                .map_or_else(|| parse::At { file: "".into(), line: 1 }, |first| first.at.clone());
            let why = format!("the whole of it is no file of tidelock's: {}", ours::sentence(&report));
            self.left.push(Left {
                at,
                what: "this file".to_owned(),
                why,
                todo: "put that right by hand; `tidelock check` shows where".to_owned(),
            });
        }
        self.left.sort_by(|a, b| (&a.at.file, a.at.line).cmp(&(&b.at.file, b.at.line)));
        self.left.dedup();
        let mut text = format!(
            "# Translated from {} by `tidelock import`. Each part stands behind the line of theirs.\n",
            file.display()
        );
        if self.is_piece {
            text += "# It is a piece of a server, which is not here: put these routes where that is, with its host and listen.\n";
        }
        for left in &self.left {
            text += &format!(
                "# Not translated: {}: {}: {}\n",
                comment(&left.at, &left.what),
                left.why,
                left.todo
            );
        }
        Translated { text: text + &body, left: self.left }
    }
}

/// Places in a list of routes, by what they take.
type Known = HashMap<(Vec<String>, Takes), Vec<usize>>;

/// A route without the hosts whose requests another one has already: nginx keeps the first server of a name. `same` are the
/// places in `all` of those with its listens and path.
fn untaken(mut route: Route, same: &[usize], all: &[Route]) -> Option<Route> {
    let same = same.iter().map(|place| &all[*place]);
    let same: Vec<&Route> = same.filter(|known| known.value("methods") == route.value("methods")).collect();
    if route.hosts.is_empty() {
        return same.iter().all(|known| !known.hosts.is_empty()).then_some(route);
    }
    route.hosts.retain(|host| same.iter().all(|known| !known.hosts.contains(host)));
    (!route.hosts.is_empty()).then_some(route)
}

/// The bound of bodies that most routes have, which is said once.
fn common_bound(routes: &mut [Route]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for bound in routes.iter().filter_map(|route| route.value("body_bytes_max")) {
        *counts.entry(bound).or_default() += 1;
    }
    let common = counts.into_iter().max_by_key(|(_, count)| *count);
    let common = common.map_or_else(|| "\"1MiB\"".to_owned(), |(bound, _)| bound.to_owned());
    for route in routes {
        route.keys.retain(|(key, value)| *key != "body_bytes_max" || *value != common);
    }
    common
}

fn flatten<'d>(block: &'d [Directive], all: &mut Vec<&'d Directive>) {
    for directive in block {
        all.push(directive);
        if directive.name != "upstream" {
            flatten(directive.inside(), all);
        }
    }
}

/// What is told of a listen for TLS without a certificate.
fn uncertified(socket: &Socket<'_>) -> Option<Left> {
    let directive = socket.directive.filter(|_| socket.is_tls && socket.certificates.is_empty())?;
    Some(Left {
        at: directive.at.clone(),
        what: directive.text(),
        why: "its server has no certificate".to_owned(),
        todo: "write `tls = { certificate = …, key = … }` on the `[[listen]]`".to_owned(),
    })
}

fn listen(socket: &Socket<'_>) -> String {
    let said = socket.directive.map_or_else(
        || "# nginx listens here where nothing is said.".to_owned(),
        |directive| format!("# {}", comment(&directive.at, &directive.text())),
    );
    let mut text = format!("\n{said}\n[[listen]]\naddress = {}\n", quoted(&socket.written()));
    if !socket.certificates.is_empty() {
        let pair = |(certificate, key): &(String, String)| {
            format!("{{ certificate = {}, key = {} }}", quoted(certificate), quoted(key))
        };
        let pairs: Vec<String> = socket.certificates.iter().map(pair).collect();
        text += &match &pairs[..] {
            [pair] => format!("tls = {pair}\n"),
            pairs => format!("tls = [\n    {},\n]\n", pairs.join(",\n    ")),
        };
        if socket.is_modern {
            text += "tls_profile = \"modern\"\n";
        }
        if let Some((ca, mode)) = &socket.clients {
            text += &format!("client_certificates = {{ ca = {}, mode = \"{mode}\" }}\n", quoted(ca));
        }
    }
    text
}

/// Extensions of what PM2 reads.
const PM2S: [&str; 8] = ["json", "js", "cjs", "mjs", "ts", "yml", "yaml", "pm2"];
/// Blocks whose lines are no directives.
const NOT_DIRECTIVES: [&str; 6] = ["limit_except", "map", "types", "geo", "split_clients", "upstream"];
const NOT_WHOLE: u8 = 2;

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use proptest::prelude::{Strategy, prop, proptest};

    use super::*;

    fn translated(text: &str) -> Translated {
        let directives = parse::parse(text, &Rc::from("nginx.conf")).expect("it is nginx's");
        translate(Whole { directives, ..Whole::default() }, Path::new("nginx.conf"))
    }

    fn server(inside: &str) -> Translated {
        translated(&format!("server {{ listen 80; location / {{ proxy_pass http://a:1; }} {inside} }}"))
    }

    #[test]
    fn a_listen_asks_for_the_certificates_that_all_its_servers_ask_for() {
        let server = |name: &str, asks: &str| {
            format!(
                "server {{ listen 443 ssl; listen 80; server_name {name}; ssl_certificate c.pem; ssl_certificate_key c.key; {asks} \
                 location / {{ proxy_pass http://a:1; }} }}"
            )
        };
        let (on, optional) = (
            "ssl_verify_client on; ssl_client_certificate /etc/ca.pem;",
            "ssl_verify_client optional; ssl_client_certificate /etc/ca.pem;",
        );
        for (servers, mode, is_told) in [
            (vec![on], Some("required"), false),
            (vec![optional, optional], Some("optional"), false),
            (vec![on, optional], None, true),
            (vec![on, ""], None, true),
            (vec!["ssl_verify_client optional_no_ca;"], None, true),
            (vec!["ssl_verify_client on; ssl_client_certificate /a.pem; ssl_crl /b.pem;"], None, true),
            (vec!["ssl_verify_client off; ssl_protocols TLSv1.2 TLSv1.3;"], None, false),
        ] {
            let text: String = servers
                .iter()
                .enumerate()
                .map(|(at, asks)| server(&format!("a{at}.example"), asks))
                .collect();
            let Translated { text, left, .. } = translated(&text);
            let want = mode
                .map(|mode| format!("client_certificates = {{ ca = \"/etc/ca.pem\", mode = \"{mode}\" }}\n"));
            let said: Vec<&str> =
                text.split_inclusive('\n').filter(|line| line.starts_with("client_")).collect();
            assert_eq!(said, want.as_deref().into_iter().collect::<Vec<_>>(), "{servers:?}\n{text}");
            assert_eq!(text.contains("respond = 403"), is_told, "{servers:?}\n{text}");
            assert_eq!(!left.is_empty(), is_told, "{left:?}");
            assert!(!text.contains("tls_profile"), "{text}");
        }
        let modern = translated(&server("a.example", "ssl_protocols TLSv1.3;"));
        assert!(
            modern.text.contains("\ntls_profile = \"modern\"\n") && modern.left.is_empty(),
            "{}",
            modern.text
        );
    }

    #[test]
    fn what_nobody_may_see_is_closed_and_told() {
        for (inside, status, is_told) in [
            ("location /x { auth_basic \"x\"; proxy_pass http://a:1; }", "403", true),
            ("location /x { allow 10.0.0.0/8; deny all; proxy_pass http://a:1; }", "", false),
            ("location /x { allow 10.0.0.1; deny 10.0.0.0/8; proxy_pass http://a:1; }", "403", true),
            ("location /x { allow 10.0.0.x; deny all; proxy_pass http://a:1; }", "403", true),
            (
                "root /w; location @n { allow 10.0.0.0/8; deny all; proxy_pass http://a:1; } location /x { try_files $uri @n; }",
                "501",
                true,
            ),
            (
                "root /w; location = /p.html { auth_basic \"x\"; } location /x { try_files $uri /p.html; }",
                "501",
                true,
            ),
            ("location /x { deny all; proxy_pass http://a:1; }", "403", false),
            ("deny all; location /x { allow all; proxy_pass http://a:1; }", "", false),
            ("auth_basic \"x\"; location /x { auth_basic off; proxy_pass http://a:1; }", "", true),
            ("location /x { auth_request /ask; proxy_pass http://a:1; }", "403", true),
            ("ssl_verify_client on; location /x { proxy_pass http://a:1; }", "403", true),
            (
                "location /x { limit_except GET { allow 10.0.0.1; deny all; } proxy_pass http://a:1; }",
                "403",
                true,
            ),
            ("location /x { internal; proxy_pass http://a:1; }", "404", false),
            ("location /x { fastcgi_pass 127.0.0.1:9000; }", "501", true),
            ("location /x { content_by_lua_block { ngx.say(1) } }", "501", true),
            ("location /x { proxy_pass http://$somewhere; }", "501", true),
        ] {
            let Translated { text, left } = server(inside);
            let route =
                text.split("[[route]]").find(|route| route.contains("\npath = \"/x\"")).expect(inside);
            match status {
                "" => assert!(route.contains("\nupstream ="), "{inside}: {text}"),
                status => {
                    assert!(route.contains(&format!("\nrespond = {status}")), "{inside}: {text}");
                    assert!(!route.contains("\nupstream ="), "{inside}: {text}");
                }
            }
            assert_eq!(!left.is_empty(), is_told, "{inside}: {left:?}");
        }
    }

    #[test]
    fn addresses_are_told_apart_as_the_first_rule_does() {
        for (rules, written) in [
            ("allow 10.0.0.0/8; allow 127.0.0.1; deny all;", "allow = [\"10.0.0.0/8\", \"127.0.0.1\"]\n"),
            (
                "deny 10.0.0.1; allow 10.0.0.0/8; deny all;",
                "allow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.1\"]\n",
            ),
            ("deny 10.0.0.1; deny fd00::/8;", "deny = [\"10.0.0.1\", \"fd00::/8\"]\n"),
            ("allow 192.0.2.1; deny 10.0.0.1; allow all; deny all;", "deny = [\"10.0.0.1\"]\n"),
            ("allow unix:; allow 10.0.0.1;", ""),
        ] {
            let Translated { text, left } =
                server(&format!("location /x {{ {rules} proxy_pass http://a:1; }}"));
            assert!(left.is_empty(), "{rules}: {left:?}");
            let route = text.split("[[route]]").find(|route| route.contains("\npath = \"/x\"")).expect(rules);
            let said: String = route
                .split_inclusive('\n')
                .filter(|line| line.starts_with("allow") || line.starts_with("deny"))
                .collect();
            assert_eq!(said, written, "{rules}: {text}");
            config::parse(&text, Path::new("/import.toml")).expect("a good file");
        }
    }

    #[test]
    fn a_balancers_word_is_taken_where_it_is_said_whose() {
        let server = "server { listen 80 proxy_protocol; location / { proxy_pass http://a:1; } }";
        let Translated { text, left } = translated(server);
        assert!(!text.contains("\nproxy_protocol = true") && left.len() == 1, "{left:?}\n{text}");
        let Translated { text, left } =
            translated(&format!("set_real_ip_from 10.0.0.5; real_ip_header proxy_protocol; {server}"));
        assert!(text.contains("\nproxy_protocol = true") && left.is_empty(), "{left:?}\n{text}");
        config::parse(&text, Path::new("/import.toml")).expect("a good file");
    }

    /// Whatever keeps a browser on its node there is kept, and not needed by most.
    #[test]
    fn what_auto_does_better_is_said() {
        for (keeps, line) in [
            ("ip_hash;", "sticky = \"ip\""),
            ("hash $remote_addr consistent;", "sticky = \"ip\""),
            ("hash $cookie_user;", "balance = \"hash:cookie:user\""),
            ("sticky cookie route;", "sticky = \"cookie:route\""),
        ] {
            let servers = "server a:1; server b:1;";
            let of = format!("upstream n {{ {keeps} {servers} }}");
            let Translated { text, .. } =
                translated(&format!("{of} server {{ listen 80; location / {{ proxy_pass http://n; }} }}"));
            let (before, _) = text.split_once(line).unwrap_or_else(|| panic!("{keeps}: {text}"));
            assert!(
                before.trim_end().lines().last().is_some_and(|line| line.contains("\"auto\" is better")),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_lost_is_told() {
        for (inside, is_told) in [
            ("location /x { proxy_redirect off; proxy_pass http://a:1; }", false),
            ("location /x { proxy_redirect http://a:1/ https://b/; proxy_pass http://a:1; }", true),
            ("location /x { proxy_next_upstream error timeout; proxy_pass http://a:1; }", false),
            ("location /x { proxy_next_upstream error http_502; proxy_pass http://a:1; }", true),
            ("root /w; location /x { try_files $uri /index.html; }", false),
            (
                "root /w; location /x { try_files $uri /index.html; } location = /index.html { expires -1; }",
                true,
            ),
            ("root /w; location /x { try_files $uri /index.html; } location = /index.html { }", false),
            ("root /w; location /x { try_files $uri /$host.html; }", true),
            ("error_page 404 =200 /index.html; root /w; location /x { }", false),
            ("error_page 404 = /index.html; root /w; location /x { }", false),
            ("error_page 404 =200 /index.html; location /x { proxy_pass http://a:1; }", false),
            (
                "error_page 404 =200 /index.html; location /x { proxy_intercept_errors on; proxy_pass http://a:1; }",
                false,
            ),
            ("root /w; location /x { try_files /up.html $uri =404; }", true),
            ("root /w; location /x { try_files $uri =410; }", true),
            ("location /x { root /w/$host; }", true),
            ("location ~ ^/x/(.*)$ { alias /w/$1; }", true),
            ("location ~ ^/x/ { alias /w/; }", true),
            ("location /x/ { alias /w/; try_files $uri /x/index.html; }", false),
            ("location /x/ { alias /w/; try_files $uri /index.html; }", true),
            (
                "root /w; location /x/ { add_header A b; try_files $uri @n; } location @n { proxy_pass http://a:1; }",
                true,
            ),
            (
                "root /w; location /x/ { expires 1d; try_files $uri @n; } location @n { proxy_pass http://a:1; }",
                false,
            ),
        ] {
            let Translated { text, left } = server(inside);
            assert_eq!(!left.is_empty(), is_told, "{inside}: {left:?}\n{text}");
        }
    }

    #[test]
    fn pages_for_errors_are_files() {
        for (inside, written) in [
            (
                "error_page 404 /404.html; location = /404.html { root /w; }",
                Some("error_pages = { 404 = \"/w/404.html\" }"),
            ),
            (
                "error_page 500 502 /e/50x.html; location /e/ { alias /w/; }",
                Some("error_pages = { 500 = \"/w/50x.html\", 502 = \"/w/50x.html\", 503 = \"/w/50x.html\" }"),
            ),
            (
                "error_page 502 /x.html; error_page 503 /y.html; location ~ \\.html$ { root /w; }",
                Some("error_pages = { 502 = \"/w/x.html\", 503 = \"/w/y.html\" }"),
            ),
            ("error_page 404 /404.html;", Some("error_pages = { 404 = { path = \"/404.html\" } }")),
            (
                "error_page 404 =200 /x.html; location /x { return 404; }",
                Some("error_pages = { 404 = { path = \"/x.html\", status = 200 } }"),
            ),
            (
                "error_page 404 =200 /x.html; location /x { root /w; } location = /x.html { root /v; }",
                Some("error_pages = { 404 = { path = \"/x.html\", status = 200 } }"),
            ),
            (
                "error_page 404 = /x.php?a=b; location /x { root /w; }",
                Some("error_pages = { 404 = { path = \"/x.php?a=b\", status = \"own\" } }"),
            ),
            (
                "error_page 404 =410 /404.html; location = /404.html { root /w; }",
                Some("error_pages = { 404 = { path = \"/404.html\", status = 410 } }"),
            ),
            (
                "error_page 404 /404.html; location = /404.html { return 200 x; }",
                Some("error_pages = { 404 = { path = \"/404.html\" } }"),
            ),
            (
                "error_page 502 = @b; location @b { proxy_pass http://b:1; }",
                Some("error_pages = { 502 = { upstream = \"b-1\" }, 503 = { upstream = \"b-1\" } }"),
            ),
            (
                "error_page 502 504 @b; location @b { proxy_pass http://b:1; }",
                Some(
                    "error_pages = { 502 = { upstream = \"b-1\", status = 502 }, 503 = { upstream = \"b-1\", status = 502 }, 504 = { upstream = \"b-1\", status = 504 } }",
                ),
            ),
            (
                "error_page 503 @m; location @m { root /w; rewrite ^(.*)$ /m.html break; }",
                Some("error_pages = { 503 = \"/w/m.html\" }"),
            ),
            (
                "error_page 503 @m; location @m { root /w; try_files /m.html =503; }",
                Some("error_pages = { 503 = \"/w/m.html\" }"),
            ),
            (
                "error_page 503 = @m; location @m { default_type text/html; return 503 '<p>soon'; }",
                Some("error_pages = { 503 = { text = \"<p>soon\", content_type = \"text/html\" } }"),
            ),
            // As with `try_files`.
            (
                "location /x { root /w; error_page 404 = @b; } location @b { proxy_pass http://b:1; }",
                Some("files = \"/w\"\nupstream = \"b-1\""),
            ),
            ("error_page 404 @app;", None),
            ("error_page 502 @b; location @b { proxy_pass http://b:1; allow 10.0.0.1; deny all; }", None),
            ("error_page 502 @b; location @b { proxy_pass http://b:1/x; }", None),
            ("error_page 502 @b; location @b { proxy_pass http://b:1; add_header A b; }", None),
            ("error_page 502 = @m; location @m { root /w; rewrite ^ /m.html break; }", None),
            ("error_page 502 @m; location @m { return 302 /x; }", None),
            ("error_page 404 https://example.com/;", None),
            ("error_page 404 /x$uri;", None),
            ("error_page 404 =204 /x;", None),
            ("error_page 404 /i; location = /i { internal; proxy_pass http://a:1; }", None),
            ("error_page 301 /404.html; location = /404.html { root /w; }", None),
            ("error_page 404 /404.html; location = /404.html { root /w/$host; }", None),
        ] {
            let Translated { text, left } = server(inside);
            match written {
                Some(written) => {
                    assert!(text.contains(&format!("\n{written}\n")), "{inside}: {text}");
                    assert!(left.is_empty(), "{inside}: {left:?}");
                }
                None => {
                    assert!(!text.contains("\nerror_pages"), "{inside}: {text}");
                    assert!(
                        left.iter().any(|left| left.what.starts_with("error_page")),
                        "{inside}: {left:?}"
                    );
                }
            }
        }
        // A page that is not there is none in nginx either.
        let folder = tempfile::tempdir().expect("a folder");
        let inside =
            format!("error_page 404 /404.html; location = /404.html {{ root {}; }}", folder.path().display());
        let Translated { text, left } = server(&inside);
        assert!(!text.contains("\nerror_pages") && text.contains("# There is no "), "{text}");
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn gzip_is_compression() {
        for (inside, written) in [
            ("gzip on; gzip_vary on; gzip_comp_level 6;", "compress = true"),
            (
                "gzip on; gzip_types text/css text/html; gzip_min_length 1k;",
                "compress = { types = [\"text/html\", \"text/css\"], bytes_min = \"1024B\" }",
            ),
            ("brotli on;", "compress = true"),
            ("gzip off; gzip_types text/css;", ""),
        ] {
            let Translated { text, left } = server(inside);
            assert!(left.is_empty(), "{inside}: {left:?}");
            match written {
                "" => assert!(!text.contains("\ncompress"), "{inside}: {text}"),
                written => assert!(text.contains(&format!("\n{written}\n")), "{inside}: {text}"),
            }
        }
    }

    #[test]
    fn what_is_written_is_what_tidelock_has() {
        let schema = config::schema::schema();
        for (key, has_landed) in ours::LANDED {
            let is_there = schema.contains(&format!("\"{key}\""));
            assert!(!has_landed || is_there || *key == ours::HOST_LISTS, "{key}");
        }
    }

    /// Lines that people write, some of them broken.
    const LINES: [&str; 26] = [
        "listen 80;",
        "listen 443 ssl;",
        "listen [::]:80;",
        "listen x;",
        "server_name a.example *.b.example;",
        "server_name ~^(.+)\\.c$;",
        "return 301 https://$host$request_uri;",
        "return 200 'a{b}';",
        "return 999;",
        "location / { proxy_pass http://n/; }",
        "location /a/ { proxy_pass http://n/b; }",
        "location /a { proxy_pass http://1.2.3.4; }",
        "location = /a/ { return 204; }",
        "location ~ \\.(js|css)$ { deny all; }",
        "location ~ (?!a)(b { return 404; }",
        "location ^~ /s { proxy_pass http://x:99999; proxy_set_header X \"{$foo\"; }",
        "rewrite ^/(.*)$ /x/$1 permanent;",
        "rewrite ^/o/(.*) /$2 redirect;",
        "if ($host = a.example) { return 302 /x; }",
        "add_header X-Y \"a b\" always;",
        "client_max_body_size 99999999999999g;",
        "proxy_read_timeout 400d;",
        "location /é { root /var; }",
        "resolver 1.1.1.1 [::1]:53 x;",
        "set $a b;",
        "proxy_set_header \"Bad Name\" x;",
    ];

    proptest! {
        #[test]
        fn whatever_is_in_it_the_result_is_a_file(lines in prop::collection::vec((0..LINES.len()).prop_map(|line| LINES[line]), 0..12)) {
            let text = format!("upstream n {{ server a:1 weight=0 max_conns=x; server b:2 backup; }} server {{ {} }} server {{ listen 80; {} }}", lines.concat(), lines.iter().rev().copied().collect::<String>());
            let Translated { text: ours, .. } = translated(&text);
            if let Err(report) = config::parse(&ours, Path::new("/x.toml")) {
                panic!("{report}\n{ours}\n{text}");
            }
        }
    }
}
