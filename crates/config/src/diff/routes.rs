//! Which routes come and go, and which keys of the others differ, in words. Order alone is no difference, but among those with
//! `regex`, where the first that matches wins.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::sync::Arc;

use ipnet::IpNet;

use crate::file::declare::{Difference, optional_value, texts, value};
use crate::file::sections::route as keys;
use crate::file::sections::timeouts::{ANSWER, BODY, CONNECT, ROUTE_TIMEOUTS, TUNNEL};
use crate::plan::{MAINTENANCE_ALLOW, Plan, UpstreamId};
use crate::routing::{
    Access, Action, Cache, Edits, Files, Methods, NodeTimeouts, PathEdit, PathPattern, Policy, Redirect,
    RequestIds, Respond, Route,
};

/// Returns what a reload says of the routes, a line each.
pub(super) fn lines(old: &Plan, new: &Plan) -> Vec<String> {
    let takes = |route: &Route| (at(route), route.methods, route.ports.clone());
    let (mut both, gone, come) = paired(old.routes.iter().collect(), new.routes.iter().collect(), takes);
    // One that takes other methods, or holds for other listens, is the same route still.
    let (more, gone, come) = paired(gone, come, at);
    both.extend(more);
    let changed = both.iter().filter_map(|(before, now)| {
        let keys = differences(&Owned { plan: old, route: before }, &Owned { plan: new, route: now });
        (!keys.is_empty()).then(|| (*now, texts(&keys)))
    });
    let mut lines: Vec<String> = grouped(come.into_iter().map(|route| (route, String::new())))
        .into_iter()
        .flat_map(|(_, routes)| routes)
        .map(|route| format!("route + {route}"))
        .collect();
    let removed = grouped(gone.into_iter().map(|route| (route, String::new())));
    lines.extend(removed.into_iter().flat_map(|(_, routes)| routes).map(|route| format!("route - {route}")));
    lines.extend(grouped(changed).into_iter().map(|(text, routes)| format!("{}: {text}", listed(&routes))));
    let is_turned =
        order_of_patterns(&both, |(before, _)| before) != order_of_patterns(&both, |(_, now)| now);
    lines.extend(is_turned.then(|| "routes: those with `regex` are tried in another order".to_owned()));
    lines
}

/// A route with the plan that its ids mean something in.
struct Owned<'p> {
    plan: &'p Plan,
    route: &'p Route,
}

/// What a route does, by the keys that say so.
struct Answers<'p> {
    upstream: Option<String>,
    files: Option<&'p Files>,
    redirect: Option<&'p Redirect>,
    respond: Option<&'p Respond>,
}

impl Owned<'_> {
    fn answers(&self) -> Answers<'_> {
        let name =
            |UpstreamId(index)| self.plan.upstreams.get(index).map(|upstream| upstream.name.to_string());
        let upstream = self.route.action.upstream().and_then(name);
        let none = Answers { upstream, files: None, redirect: None, respond: None };
        match &self.route.action {
            Action::Upstream(_) => none,
            Action::Files(files) => Answers { files: Some(files), ..none },
            Action::Redirect(redirect) => Answers { redirect: Some(redirect), ..none },
            Action::Respond(respond) => Answers { respond: Some(respond), ..none },
        }
    }
}

/// Each key that differs between two routes which take the same. Whoever adds a field has to say here what is said of it.
fn differences(old: &Owned<'_>, new: &Owned<'_>) -> Vec<Difference> {
    let Route {
        // These are what they are matched by.
        host: _,
        path: _,
        methods,
        ports,
        paths,
        // What answers is compared by its keys.
        action: _,
        edits,
        body_bytes_max,
        is_logged,
        access,
        maintenance,
        error_pages,
        // It follows from others.
        is_straight: _,
        // Order alone is no difference.
        number: _,
    } = old.route;
    let now = new.route;
    let given = |methods: &Methods| (*methods != Methods::ALL).then_some(*methods);
    let given_ports = |ports: &[u16]| (!ports.is_empty()).then(|| ports.to_vec());
    let mut said = Vec::new();
    said.extend(presence(keys::METHODS.name, &given(methods), &given(&now.methods)));
    said.extend(presence(keys::LISTEN.name, &given_ports(ports), &given_ports(&now.ports)));
    said.extend((*paths != now.paths).then(|| {
        let of = |paths| value(&keys::PATHS.kind, paths);
        Difference::of_key(keys::PATHS.name, of(paths), of(&now.paths))
    }));
    said.extend(of_answers(&old.answers(), &new.answers()));
    let none = Edits::default();
    let edits_of = |edits| Option::as_deref(edits).unwrap_or(&none);
    said.extend(of_edits(edits_of(edits), edits_of(&now.edits)));
    said.extend((*body_bytes_max != now.body_bytes_max).then(|| {
        let of = |bound| optional_value(&keys::BODY_BYTES_MAX.kind, bound);
        Difference::of_key(keys::BODY_BYTES_MAX.name, of(body_bytes_max), of(&now.body_bytes_max))
    }));
    said.extend(flag(keys::ACCESS_LOG.name, *is_logged, now.is_logged));
    for (key, of) in [
        (keys::ALLOW.name, (|access| &access.allow) as fn(&Access) -> &Vec<IpNet>),
        (keys::DENY.name, |access| &access.deny),
    ] {
        let networks = |access: &Option<Arc<Access>>| {
            access.as_deref().map(of).filter(|networks| !networks.is_empty()).cloned()
        };
        said.extend(presence(key, &networks(access), &networks(&now.access)));
    }
    said.extend(flag(keys::MAINTENANCE.name, maintenance.is_some(), now.maintenance.is_some()));
    let is_kept = maintenance.is_some() && now.maintenance.is_some();
    said.extend(
        (is_kept && *maintenance != now.maintenance).then(|| Difference::other(MAINTENANCE_ALLOW.name)),
    );
    said.extend(presence(keys::ERROR_PAGES.name, error_pages, &now.error_pages));
    // As the table has them.
    said.sort_by_key(|key| {
        keys::ROUTE.section.names().position(|name| name == key.name).unwrap_or(usize::MAX)
    });
    said
}

fn of_answers(old: &Answers<'_>, new: &Answers<'_>) -> Vec<Difference> {
    let Answers { upstream, files, redirect, respond } = old;
    let mut said = Vec::new();
    said.extend((*upstream != new.upstream).then(|| {
        let of = |name| optional_value(&keys::UPSTREAM.kind, name);
        Difference::of_key(keys::UPSTREAM.name, of(upstream), of(&new.upstream))
    }));
    said.extend(presence(keys::REDIRECT.name, redirect, &new.redirect));
    said.extend(presence(keys::RESPOND.name, respond, &new.respond));
    let (Some(old), Some(new)) = (files, new.files) else {
        said.extend(presence(keys::FILES.name, files, &new.files));
        return said;
    };
    // The upstream has been said.
    let Files { folder, index, fallback, cache, upstream: _ } = old;
    let given = |cache: Cache| (cache != Cache::Unsaid).then_some(cache);
    said.extend((*folder != new.folder).then(|| Difference::other(keys::FILES.name)));
    said.extend((*index != new.index).then(|| {
        let of = |index| value(&keys::INDEX.kind, index);
        Difference::of_key(keys::INDEX.name, of(index), of(&new.index))
    }));
    said.extend(presence(keys::FALLBACK.name, fallback, &new.fallback));
    said.extend(presence(keys::CACHE.name, &given(*cache), &given(new.cache)));
    said
}

fn of_edits(old: &Edits, new: &Edits) -> Vec<Difference> {
    let Edits {
        path,
        // It is the upstream's.
        base: _,
        host,
        request,
        response,
        policy: Policy { is_secure, hsts, cors },
        request_ids,
        compress,
        timeouts,
        intercepts,
    } = old;
    let strips =
        |edit: &Option<PathEdit>| matches!(edit, Some(PathEdit::Prefix(prefix)) if prefix.is_empty());
    let rewrite = |edit: &Option<PathEdit>| edit.clone().filter(|_| !strips(edit));
    // Those that only a variable asks for come and go with its text.
    let ids = |ids: &Option<RequestIds>| ids.filter(|ids| ids.is_sent);
    let to_nodes = (!request.is_empty() || host.is_some()).then_some((request, host));
    let to_nodes_now = (!new.request.is_empty() || new.host.is_some()).then_some((&new.request, &new.host));
    let to_clients = Some(response).filter(|lines| !lines.is_empty());
    let mut said = Vec::new();
    said.extend(flag(keys::STRIP.name, strips(path), strips(&new.path)));
    said.extend(presence(keys::REWRITE.name, &rewrite(path), &rewrite(&new.path)));
    said.extend(presence(keys::REQUEST_HEADERS.name, &to_nodes, &to_nodes_now));
    let to_clients_now = Some(&new.response).filter(|lines| !lines.is_empty());
    said.extend(presence(keys::RESPONSE_HEADERS.name, &to_clients, &to_clients_now));
    said.extend(presence(keys::COMPRESS.name, compress, &new.compress));
    said.extend(of_timeouts(timeouts.as_deref(), new.timeouts.as_deref()));
    said.extend(presence(keys::REQUEST_ID.name, &ids(request_ids), &ids(&new.request_ids)));
    said.extend(flag(keys::SECURE_HEADERS.name, *is_secure, new.policy.is_secure));
    said.extend(presence(keys::HSTS.name, hsts, &new.policy.hsts));
    said.extend(presence(keys::CORS.name, cors, &new.policy.cors));
    // Which pages they are is said of the pages.
    said.extend(flag(keys::INTERCEPT_ERRORS.name, intercepts.is_some(), new.intercepts.is_some()));
    said
}

fn of_timeouts(old: Option<&NodeTimeouts>, new: Option<&NodeTimeouts>) -> Vec<Difference> {
    let (Some(old), Some(new)) = (old, new) else {
        return presence(ROUTE_TIMEOUTS.name, &old, &new).into_iter().collect();
    };
    let NodeTimeouts { connect, body, answer, tunnel } = old;
    let each = [
        (&CONNECT, connect, &new.connect),
        (&BODY, body, &new.body),
        (&ANSWER, answer, &new.answer),
        (&TUNNEL, tunnel, &new.tunnel),
    ];
    let differing = each.into_iter().filter(|(_, old, new)| old != new);
    let keys = differing
        .map(|(key, old, new)| Difference::of_key(key.name, value(&key.kind, old), value(&key.kind, new)));
    Difference::of_table(ROUTE_TIMEOUTS.name, keys.collect())
}

/// Of a key whose values say too much for a line: that it is there now, or is not any more, or is another one.
fn presence<T: PartialEq>(name: &'static str, old: &Option<T>, new: &Option<T>) -> Option<Difference> {
    let said = |text| Difference { name, text, needs_restart: false };
    match (old, new) {
        (None, Some(_)) => Some(said(format!("+ {name}"))),
        (Some(_), None) => Some(said(format!("- {name}"))),
        (old, new) => (old != new).then(|| Difference::other(name)),
    }
}

fn flag(name: &'static str, old: bool, new: bool) -> Option<Difference> {
    (old != new).then(|| Difference { name, text: format!("{name} {old} to {new}"), needs_restart: false })
}

type Pairs<'p> = Vec<(&'p Route, &'p Route)>;

/// Those of the same key, in the new one's order, and those that only one side has. Of several the first is the first.
fn paired<'p, K: Hash + Eq>(
    old: Vec<&'p Route>,
    new: Vec<&'p Route>,
    key: impl Fn(&Route) -> K,
) -> (Pairs<'p>, Vec<&'p Route>, Vec<&'p Route>) {
    let mut before: HashMap<K, VecDeque<&Route>> = HashMap::new();
    for route in old {
        before.entry(key(route)).or_default().push_back(route);
    }
    let (mut both, mut come) = (Vec::new(), Vec::new());
    for route in new {
        match before.get_mut(&key(route)).and_then(VecDeque::pop_front) {
            Some(old) => both.push((old, route)),
            None => come.push(route),
        }
    }
    let mut gone: Vec<&Route> = before.into_values().flatten().collect();
    gone.sort_by_key(|route| route.number);
    (both, gone, come)
}

fn at(route: &Route) -> (String, String) {
    (route.host.written(), route.path.written())
}

/// The patterns that both plans have, in the order in which one of them tries them, for each host.
fn order_of_patterns<'p>(
    both: &Pairs<'p>,
    of: impl Fn(&(&'p Route, &'p Route)) -> &'p Route,
) -> BTreeMap<String, Vec<String>> {
    let mut patterns: Vec<&Route> =
        both.iter().map(of).filter(|route| matches!(route.path, PathPattern::Regex(_))).collect();
    patterns.sort_by_key(|route| (route.methods == Methods::ALL, route.ports.is_empty(), route.number));
    let mut of_hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for route in patterns {
        let (host, path) = at(route);
        of_hosts.entry(host).or_default().push(path);
    }
    of_hosts
}

/// Routes of which the same is said, one after the other: a table with several hosts is several of them, and a key of the file
/// may mean many.
fn grouped<'p>(routes: impl Iterator<Item = (&'p Route, String)>) -> Vec<(String, Vec<String>)> {
    let mut hosts: BTreeMap<(usize, String, String), Vec<String>> = BTreeMap::new();
    for (route, text) in routes {
        let path = match &route.path {
            PathPattern::Exact(path) => format!("{} {path}", keys::EXACT.name),
            PathPattern::Regex(pattern) => format!("{} {}", keys::REGEX.name, pattern.written()),
            PathPattern::Prefix(path) => format!("{} {path}", keys::PATH.name),
        };
        hosts.entry((route.number, path, text)).or_default().push(route.host.written());
    }
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    let mut group_of: HashMap<String, usize> = HashMap::new();
    for ((number, path, text), mut hosts) in hosts {
        hosts.retain(|host| !host.is_empty());
        hosts.sort();
        let named = match bounded(&hosts) {
            hosts if hosts.is_empty() => format!("{number} ({path})"),
            hosts => format!("{number} ({} {hosts}, {path})", keys::HOST.name),
        };
        let group = *group_of.entry(text).or_insert_with_key(|text| {
            groups.push((text.clone(), Vec::new()));
            groups.len() - 1
        });
        groups[group].1.push(named);
    }
    groups
}

fn listed(routes: &[String]) -> String {
    let noun = if routes.len() == 1 { "route" } else { "routes" };
    format!("{noun} {}", bounded(routes))
}

/// The first of them, and how many more there are.
fn bounded(all: &[String]) -> String {
    match all.get(..NAMED_MAX) {
        Some(first) if all.len() > NAMED_MAX => {
            format!("{} and {} more", first.join(", "), all.len() - NAMED_MAX)
        }
        _ => all.join(", "),
    }
}

/// Most routes, or hosts of one, that a line names.
const NAMED_MAX: usize = 4;

#[cfg(test)]
mod tests;
