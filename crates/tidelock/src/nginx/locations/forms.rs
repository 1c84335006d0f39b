//! Which of our paths take what a location took, and in which order.
//!
//! A prefix of theirs ends anywhere, one of ours at the end of a segment; and theirs with a slash at its end takes the path
//! without it only to send the client there.

use std::collections::{BTreeMap, HashSet};

use super::answer::{self, Answers};
use crate::nginx::headers::of_answers;
use crate::nginx::ours::{Route, Takes, has_landed};
use crate::nginx::patterns::{escaped, whole};
use crate::nginx::place::{Kind, Location, Work};
use crate::quote::quoted;

/// The routes of all locations.
pub(super) fn of_all<'f>(work: &mut Work<'_, 'f>, root: &Location<'f>) -> Vec<Route> {
    let mut places = work.places.clone();
    let is_whole =
        places.iter().any(|place| place.path == "/" && matches!(place.kind, Kind::Prefix | Kind::Firm));
    if !is_whole && (has_landed("respond") || root.scope.one("root").is_some() || places.is_empty()) {
        places.push(Location { path: "/".to_owned(), ..root.clone() });
    }
    let answered: Vec<(Location<'f>, Answers)> = places
        .into_iter()
        .filter(|place| place.kind != Kind::Named)
        .map(|place| {
            let answers = answer::of(&place, work);
            (place, answers)
        })
        .collect();
    let forms = Forms::of(&answered);
    let has_regexes = answered.iter().any(|(place, _)| matches!(place.kind, Kind::Regex { .. }));
    let (mut before, mut regexes, mut between, mut others) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (place, answers) in &answered {
        before.extend(answers.before.iter().cloned());
        match place.kind {
            Kind::Regex { is_any_case } => {
                let pattern = forms.pattern(place, is_any_case);
                regexes.extend(answers.here.iter().map(|route| with(route, Takes::Regex(pattern.clone()))));
            }
            Kind::Exact => others.extend(answers.here.iter().map(|route| forms.exact(place, route))),
            Kind::Prefix | Kind::Firm => {
                forms.prefix(place, answers, &mut between, &mut others);
                if place.kind == Kind::Firm && has_regexes {
                    before.extend(answers.here.iter().map(|route| firm(route, &place.path)));
                }
            }
            Kind::Named => {}
        }
    }
    // The longest wins, as between prefixes.
    between.sort_by_key(|route: &Route| std::cmp::Reverse(pattern_len(route)));
    [before, regexes, between, others].concat()
}

/// All locations, and where they are by their paths: there may be thousands.
struct Forms<'a, 'f> {
    all: &'a [(Location<'f>, Answers)],
    prefixes: BTreeMap<&'a str, usize>,
    exacts: HashSet<&'a str>,
}

impl<'a, 'f> Forms<'a, 'f> {
    fn of(all: &'a [(Location<'f>, Answers)]) -> Self {
        let of_kind =
            |is_it: fn(Kind) -> bool| all.iter().enumerate().filter(move |(_, (place, _))| is_it(place.kind));
        let prefixes = of_kind(|kind| matches!(kind, Kind::Prefix | Kind::Firm));
        let exacts = of_kind(|kind| kind == Kind::Exact);
        Self {
            all,
            prefixes: prefixes.map(|(number, (place, _))| (place.path.as_str(), number)).collect(),
            exacts: exacts.map(|(_, (place, _))| place.path.as_str()).collect(),
        }
    }
}

impl Forms<'_, '_> {
    fn pattern(&self, place: &Location<'_>, is_any_case: bool) -> String {
        let pattern = whole(&place.path, is_any_case);
        match &place.within {
            Some(prefix) if !place.path.starts_with('^') && prefix != "/" => {
                let (case, pattern) = match pattern.strip_prefix("(?i)") {
                    Some(pattern) => ("(?i)", pattern),
                    None => ("", pattern.as_str()),
                };
                format!("{case}{}{}", escaped(prefix), pattern)
            }
            _ => pattern,
        }
    }

    fn exact(&self, place: &Location<'_>, route: &Route) -> Route {
        let mut route = with(route, Takes::Exact(place.path.clone()));
        if let Some(to) = route.replaced_by.take().filter(|to| *to != place.path) {
            route.set("rewrite", quoted(&to));
        }
        route
    }

    /// The answers of the location that would have `path` if `but` were not there.
    fn beneath(&self, path: &str, but: &str) -> Option<&(Location<'_>, Answers)> {
        let starts = (0..=path.len()).rev().filter_map(|end| path.get(..end));
        let mut found = starts.filter(|start| *start != but).filter_map(|start| self.prefixes.get(start));
        found.next().map(|number| &self.all[*number])
    }

    fn has_prefix(&self, path: &str) -> bool {
        self.prefixes.contains_key(path)
    }

    fn has_exact(&self, path: &str) -> bool {
        self.exacts.contains(path)
    }

    fn prefix(
        &self,
        place: &Location<'_>,
        answers: &Answers,
        between: &mut Vec<Route>,
        others: &mut Vec<Route>,
    ) {
        let path = place.path.as_str();
        let base = path.trim_end_matches('/');
        let main = if base.is_empty() { "/" } else { base };
        // `/foo` beside `/foo/` is the path itself, and what goes on without a slash.
        if path == base && !base.is_empty() && self.has_prefix(&format!("{base}/")) {
            others.extend(answers.here.iter().map(|route| self.exact(place, route)));
        } else {
            others.extend(
                answers.here.iter().map(|route| with(&edited(route, path), Takes::Prefix(main.to_owned()))),
            );
        }
        if base.is_empty() {
            return;
        }
        if path == base && has_landed("exact") && !self.has_exact(base) {
            let itself = answers.here.iter().filter(|route| route.is_replaced_beneath).map(unreplaced);
            others.extend(itself.map(|route| with(&route, Takes::Exact(base.to_owned()))));
        }
        if path != base {
            self.without_slash(place, answers, others);
            return;
        }
        if answers.here.iter().any(is_alias) && !self.has_exact(base) {
            others.push(to_slash(place));
        }
        let Some((_, beneath)) = self.beneath(path, path) else { return };
        let differs = keys_of(&beneath.here) != keys_of(&answers.here);
        if !has_landed("regex") || !differs {
            return;
        }
        // Locations that begin in the midst of a segment of this one.
        let pattern = format!("{}([^/].*)", escaped(path));
        for route in &answers.here {
            let mut route = if route.is_replaced_beneath { unreplaced(route) } else { route.clone() };
            if is_alias(&route) {
                // Beside the folder of the `alias`, where there is nothing.
                route.keys.clear();
                route.set("respond", "404");
            }
            let mut route = with(&route, Takes::Regex(pattern.clone()));
            if let Some(to) = route.replaced_by.take() {
                route.set("rewrite", quoted(&format!("{to}{{1}}")));
            }
            between.push(route);
        }
        let longer = self.prefixes.range(path..).take_while(|(other, _)| other.starts_with(path));
        let longer = longer
            .filter(|(other, _)| !other[path.len()..].is_empty() && !other[path.len()..].starts_with('/'));
        let longer = longer.map(|(_, number)| &self.all[*number]);
        for (other, answers) in longer {
            let pattern = format!("{}.*", escaped(&other.path));
            let plain = answers.here.iter().filter(|route| route.replaced_by.is_none());
            between.extend(plain.map(|route| with(route, Takes::Regex(pattern.clone()))));
        }
    }

    /// `/foo` of a location `/foo/`.
    fn without_slash(&self, place: &Location<'_>, answers: &Answers, others: &mut Vec<Route>) {
        let base = place.path.trim_end_matches('/');
        if !has_landed("exact") || self.has_exact(base) || self.has_prefix(base) {
            return;
        }
        if answers.is_proxied {
            others.push(to_slash(place));
            return;
        }
        if let Some((_, beneath)) = self.beneath(base, &place.path) {
            let plain = beneath.here.iter().filter(|route| route.replaced_by.is_none());
            others.extend(plain.map(|route| with(route, Takes::Exact(base.to_owned()))));
        }
    }
}

/// Whether a folder stands for the path.
fn is_alias(route: &Route) -> bool {
    route.value("files").is_some() && route.value("strip").is_some()
}

/// Sends the path without its last slash to the one with it.
fn to_slash(place: &Location<'_>) -> Route {
    let base = place.path.trim_end_matches('/');
    let mut route = Route::of(place.directive, Takes::Exact(base.to_owned()));
    route.set("redirect", format!("{{ path = {}, status = 301 }}", quoted(&format!("{base}/"))));
    // What cannot be said has been told of the location itself.
    of_answers(place, &mut route, &mut Vec::new());
    route
}

/// A route that is asked before all expressions.
fn firm(route: &Route, path: &str) -> Route {
    let mut firm = route.clone();
    let base = path.trim_end_matches('/');
    // What is put in the place of the path.
    let to = match (firm.replaced_by.take(), firm.value("strip")) {
        (Some(to), _) => to,
        (None, Some(_)) if path.ends_with('/') => "/".to_owned(),
        (None, Some(_)) => String::new(),
        (None, None) => return with(&firm, Takes::Regex(format!("{}.*", escaped(path)))),
    };
    firm.keys.retain(|(key, _)| *key != "strip");
    let rest = match (path.ends_with('/'), firm.is_replaced_beneath || to.is_empty()) {
        (false, true) => "(/.*)",
        _ => "(.*)",
    };
    let to = if firm.is_replaced_beneath && base == path { to.trim_end_matches('/').to_owned() } else { to };
    firm.set("rewrite", quoted(&format!("{to}{{1}}")));
    with(&firm, Takes::Regex(format!("{}{rest}", escaped(path))))
}

/// What routes do, whatever they take.
fn keys_of(routes: &[Route]) -> Vec<impl PartialEq> {
    routes.iter().map(|route| (&route.keys[..], route.replaced_by.as_ref())).collect()
}

/// The same with the path that came.
fn unreplaced(route: &Route) -> Route {
    Route { replaced_by: None, is_replaced_beneath: false, ..route.clone() }
}

fn with(route: &Route, path: Takes) -> Route {
    Route { path, ..route.clone() }
}

/// The same with the path for the node in our words, where the location's own is replaced.
fn edited(route: &Route, path: &str) -> Route {
    let mut route = route.clone();
    let Some(to) = route.replaced_by.take() else { return route };
    let (from, to_base) = (path.trim_end_matches('/'), to.trim_end_matches('/'));
    if to == path || (from == to_base && path.ends_with('/') == to.ends_with('/')) {
        return route;
    }
    if path.ends_with('/') != to.ends_with('/') && !from.is_empty() && !route.is_replaced_beneath {
        route
            .remarks
            .push(format!("nginx puts {to:?} in the place of {path:?} letter by letter, slashes too."));
    }
    match to_base {
        "" => route.set("strip", "true"),
        base => route.set("rewrite", format!("{{ prefix = {} }}", quoted(base))),
    }
    route
}

fn pattern_len(route: &Route) -> usize {
    match &route.path {
        Takes::Regex(pattern) => pattern.trim_end_matches("([^/].*)").trim_end_matches(".*").len(),
        Takes::Prefix(_) | Takes::Exact(_) => 0,
    }
}
