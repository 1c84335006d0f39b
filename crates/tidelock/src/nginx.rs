//! Translates an nginx.conf into an `upstreams.toml`, and says what it could not translate. Reads files; starts nothing.

mod geos;
mod globals;
mod headers;
mod include;
mod locations;
mod logs;
mod ours;
mod parse;
mod patterns;
mod place;
mod pools;
mod rewrites;
mod scope;
mod sites;
mod splits;
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
    let of_http =
        |directive: &Directive| ["upstream", "map", "split_clients"].contains(&directive.name.as_str());
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
    if socket.speaks_http2 {
        text += "http2 = true\n";
    }
    text
}

/// Extensions of what PM2 reads.
const PM2S: [&str; 8] = ["json", "js", "cjs", "mjs", "ts", "yml", "yaml", "pm2"];
/// Blocks whose lines are no directives.
const NOT_DIRECTIVES: [&str; 6] = ["limit_except", "map", "types", "geo", "split_clients", "upstream"];
const NOT_WHOLE: u8 = 2;

#[cfg(test)]
mod tests;
