//! Which routes come and go, and which keys of the others differ, in words. Order alone is no difference, but among those with
//! `regex`, where the first that matches wins.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use crate::file::declare::{Difference, texts};
use crate::file::sections::route as keys;
use crate::plan::{Plan, RouteTable};
use crate::routing::{PathPattern, Route};

/// What a reload says of the routes, a line each: those that came, went and changed, by where they match.
pub(super) fn lines(old: &Plan, new: &Plan) -> Vec<String> {
    let takes = |route: &Route| (at(route), route.methods, route.ports.clone(), route.matches.clone());
    let (mut both, gone, come) = paired(looked_up(old), looked_up(new), takes);
    // One that takes other methods, or header lines, or holds for other listens, is the same route still.
    let (more, gone, come) = paired(gone, come, at);
    both.extend(more);
    let changed = both.iter().filter_map(|(before, now)| {
        let keys = differences(old.table_of(before), new.table_of(now));
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

/// Each key that differs between two routes which take the same, and that they are not matched by.
fn differences(old: &RouteTable, new: &RouteTable) -> Vec<Difference> {
    let matched_by = [keys::HOST.name, keys::PATH.name, keys::EXACT.name, keys::REGEX.name];
    let mut said = old.differences(new);
    said.retain(|key| !matched_by.contains(&key.name));
    keys::ROUTE.section.sort(&mut said, |key| key.name);
    said
}

/// Sides are said with the route that has them.
fn looked_up(plan: &Plan) -> Vec<&Route> {
    plan.routes.iter().filter(|route| !route.is_side).collect()
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
    patterns.sort_by_key(|route| route.number);
    let mut of_hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for route in patterns {
        let (host, path) = at(route);
        let known = of_hosts.entry(host).or_default();
        if !known.contains(&path) {
            known.push(path);
        }
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
