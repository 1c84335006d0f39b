//! One server's locations to routes: what answers each, and which of our paths takes what theirs took.

mod access;
mod answer;
mod auth;
mod compress;
mod disk;
mod forms;
mod limits;
mod mirror;
mod node;
mod node_tls;
mod pages;

use super::geos;
use super::ours::{Left, Route, Takes};
use super::parse::Directive;
use super::place::{Kind, Location, Work, told};
use super::rewrites::{Condition, Rewritten, asked, give, rewrite, unasked, unrewritten};

pub(super) use answer::fate_of;

/// The routes of a server, in the order in which they have to stand. Hosts are theirs that have others than the server's;
/// listens are those of an `if` on the scheme.
pub(super) fn routes<'f>(work: &mut Work<'_, 'f>) -> Vec<Route> {
    let site = work.site;
    let whole = Location {
        directive: site.directive,
        scope: site.scope.clone(),
        kind: Kind::Prefix,
        path: String::new(),
        within: None,
        server_name: &site.name,
        site_is_on_usual_ports: work
            .tls
            .iter()
            .all(|(address, _)| address.ends_with(":80") || address.ends_with(":443")),
    };
    let mut early = Early { routes: Vec::new(), hosts: site.hosts.clone(), only_tls: false, is_all: false };
    for directive in site.directive.inside() {
        if early.is_all {
            break;
        }
        match directive.name.as_str() {
            "return" => early.all(directive, &whole, work.left),
            "rewrite" => early.rewrite(directive, &whole, work.left),
            "if" => early.condition(directive, &whole, work),
            _ => {}
        }
    }
    if !early.is_all {
        collect(site.directive.inside(), &whole, &mut work.places);
        let routes = forms::of_all(work, &whole);
        early.routes.extend(routes);
    }
    let tls: Vec<String> =
        work.tls.iter().filter(|(_, is_tls)| *is_tls).map(|(address, _)| address.clone()).collect();
    for route in &mut early.routes {
        if route.hosts.is_empty() {
            route.hosts.clone_from(&early.hosts);
        }
        if early.only_tls && route.listens.is_empty() {
            route.listens.clone_from(&tls);
        }
    }
    early.routes
}

/// All locations, those in others too.
fn collect<'f>(block: &'f [Directive], around: &Location<'f>, places: &mut Vec<Location<'f>>) {
    for directive in block.iter().filter(|directive| directive.name == "location") {
        let (sign, path) = match &directive.args[..] {
            [path] => ("", path.as_str()),
            [sign, path, ..] => (sign.as_str(), path.as_str()),
            [] => continue,
        };
        // `location ~*\.js$` is written, too.
        let (sign, path) = match (sign, path.strip_prefix('=').filter(|path| path.starts_with('/'))) {
            ("", Some(path)) => ("=", path),
            _ => (sign, path),
        };
        let kind = match sign {
            "=" => Kind::Exact,
            "^~" => Kind::Firm,
            "~" => Kind::Regex { is_any_case: false },
            "~*" => Kind::Regex { is_any_case: true },
            _ if path.starts_with('@') => Kind::Named,
            _ => Kind::Prefix,
        };
        let is_regex = matches!(kind, Kind::Regex { .. });
        let place = Location {
            directive,
            scope: around.scope.inner(directive.inside()),
            kind,
            path: path.to_owned(),
            within: (is_regex && !around.path.is_empty()).then(|| around.path.clone()),
            ..around.clone()
        };
        // Expressions in a location are tried before those beside it.
        collect(directive.inside(), &place, places);
        places.push(place);
    }
}

struct Early {
    routes: Vec<Route>,
    hosts: Vec<String>,
    only_tls: bool,
    is_all: bool,
}

impl Early {
    fn all(&mut self, directive: &Directive, whole: &Location<'_>, left: &mut Vec<Left>) {
        let mut route = Route::of(directive, Takes::Prefix("/".to_owned()));
        match give(&mut route, directive, whole, false) {
            Ok(()) => {
                super::headers::of_answers(whole, &mut route, left);
                self.routes.push(route);
            }
            Err(why) => left.push(told(directive, &why)),
        }
        self.is_all = true;
    }

    fn rewrite(&mut self, directive: &Directive, whole: &Location<'_>, left: &mut Vec<Left>) {
        match rewrite(directive, whole) {
            Ok(Rewritten::Before(route)) => self.routes.push(route),
            Ok(Rewritten::All(route)) => {
                self.routes.push(route);
                self.is_all = true;
            }
            Ok(Rewritten::Replaced(_)) => left.push(unrewritten(directive, "it is for all locations")),
            Err(why) => left.push(unrewritten(directive, &why)),
        }
    }

    fn condition<'f>(&mut self, directive: &'f Directive, whole: &Location<'f>, work: &mut Work<'_, 'f>) {
        let inside = whole.scope.inner(directive.inside());
        let place = Location { scope: inside, ..whole.clone() };
        // Each of the locations asks it for itself.
        if let Some(Ok(_)) = geos::refused(directive, &whole.scope) {
            return;
        }
        let Some(asked) = asked(directive) else {
            work.left.push(unasked(directive));
            return;
        };
        let names: Vec<String> = match &asked {
            Condition::Host(name) => vec![name.clone()],
            Condition::AnyWww => self.hosts.iter().filter(|host| host.starts_with("www.")).cloned().collect(),
            Condition::Plain => Vec::new(),
            Condition::Methods(_) | Condition::AllMethodsBut(_) => {
                work.left.push(unasked(directive));
                return;
            }
        };
        let plain: Vec<String> =
            work.tls.iter().filter(|(_, is_tls)| !is_tls).map(|(address, _)| address.clone()).collect();
        if asked == Condition::Plain && plain.is_empty() {
            return;
        }
        let mut done = false;
        let each: Vec<Option<&String>> =
            if names.is_empty() { vec![None] } else { names.iter().map(Some).collect() };
        for name in each {
            let apex = name.filter(|_| asked == Condition::AnyWww).and_then(|name| name.strip_prefix("www."));
            let Some(mut route) = answer_of(directive, &place, apex, work.left) else { continue };
            route.hosts.extend(name.cloned());
            if asked == Condition::Plain {
                route.listens.clone_from(&plain);
            }
            self.routes.push(route);
            done = true;
        }
        if !done {
            return;
        }
        self.hosts.retain(|host| !names.contains(host));
        self.only_tls |= asked == Condition::Plain && plain.len() < work.tls.len();
        // A server whose every name was asked for has nobody left, nor has one that is asked for without TLS only.
        let is_plain_only = asked == Condition::Plain && plain.len() == work.tls.len();
        let is_used_up = self.hosts.is_empty() && !names.is_empty() && work.site.default_of.is_empty();
        self.is_all = is_plain_only || is_used_up;
    }
}

/// The route that the block of an `if` makes. `apex` is what its $1 stands for.
fn answer_of(
    directive: &Directive,
    place: &Location<'_>,
    apex: Option<&str>,
    left: &mut Vec<Left>,
) -> Option<Route> {
    for inside in directive.inside() {
        let mut inside = inside.clone();
        if let Some(apex) = apex {
            for arg in &mut inside.args {
                *arg = arg.replace("$1", apex);
            }
        }
        let mut route = Route::of(directive, Takes::Prefix("/".to_owned()));
        match inside.name.as_str() {
            "return" => match give(&mut route, &inside, place, false) {
                Ok(()) => return Some(route),
                Err(why) => {
                    left.push(told(&inside, &why));
                    return None;
                }
            },
            "rewrite" => match rewrite(&inside, place) {
                Ok(Rewritten::All(mut made)) => {
                    made.what = route.what;
                    return Some(made);
                }
                Ok(_) => left.push(told(&inside, "it is for some paths of a condition")),
                Err(why) => left.push(told(&inside, &why)),
            },
            _ => {}
        }
    }
    left.push(unasked(directive));
    None
}
