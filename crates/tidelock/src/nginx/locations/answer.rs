//! What answers in one location. The paths of the routes are not decided here.

use crate::nginx::headers::{Host, host, of_answers, of_requests};
use crate::nginx::ours::{Left, Route, Takes, list};
use crate::nginx::parse::Directive;
use crate::nginx::place::{Kind, Place, Work, told};
use crate::nginx::pools::Wanted;
use crate::nginx::rewrites::{Asked, METHODS, Rewritten, asked, give, rewrite, unasked};
use crate::nginx::words::{Fate, fate};
use crate::start::quoted;

/// Routes of a location.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Those with expressions of their own, which come before all others.
    pub(super) before: Vec<Route>,
    /// Those that take the location's path, the most special first.
    pub(super) here: Vec<Route>,
    /// The path without the slash at the end of the location's is sent there.
    pub(super) is_proxied: bool,
}

/// What answers in `place`.
pub(super) fn of<'f>(place: &Place<'f>, work: &mut Work<'_, 'f>) -> Answers {
    let mut answers = Answers::default();
    let mut main = Route::of(place.directive, Takes::Prefix("/".to_owned()));
    // It runs before access is asked for.
    if early(place, work, &mut answers, &mut main) {
        return answers;
    }
    if let Some(status) = closed(place, work.left) {
        main.remarks.push(
            "Closed until you have looked at it: it would be open to more people than before.".to_owned(),
        );
        let meant = content(place, work, &mut main.clone()).and_then(|route| route.upstream());
        main.remarks.extend(meant.map(|name| format!("upstream = {}", quoted(&name))));
        main.set("respond", status.to_string());
        answers.here.push(main);
        return answers;
    }
    if denies_all(place) {
        main.set("respond", "403");
        answers.here.push(main);
        return answers;
    }
    let own = place.directive.inside();
    let elsewhere = own.iter().any(|one| matches!(fate_of(one), Some(Fate::Elsewhere(..))));
    if elsewhere || own.iter().any(|one| one.name == "internal") {
        main.set("respond", if elsewhere { "501" } else { "404" });
        answers.here.push(main);
        return answers;
    }
    answers.is_proxied = own.iter().any(|one| one.name == "proxy_pass");
    let excepted = own.iter().find_map(excepted);
    answers.here.extend(content(place, work, &mut main));
    if let Some((directive, methods)) = excepted {
        if let Some(main) = answers.here.last_mut() {
            main.set("methods", methods);
        }
        let mut others = Route::of(directive, Takes::Prefix("/".to_owned()));
        others.set("respond", "403");
        answers.here.push(others);
    }
    answers
}

/// The methods that a `limit_except` lets by, where nobody may use the others.
fn excepted(directive: &Directive) -> Option<(&Directive, String)> {
    let is_it = directive.name == "limit_except";
    let denies_all = matches!(directive.inside(), [rule] if rule.name == "deny" && rule.arg() == "all");
    let are_known = directive.args.iter().all(|method| METHODS.contains(&method.as_str()));
    (is_it && denies_all && are_known).then(|| (directive, list(&directive.args)))
}

/// The fate of a directive, those of Lua included.
pub(in crate::nginx) fn fate_of(directive: &Directive) -> Option<Fate> {
    let name = directive.name.as_str();
    if name.contains("_by_lua") {
        return Some(match name.starts_with("content_by") {
            true => {
                Fate::Elsewhere("Lua is not run", "keep nginx for it, on a port of its own behind tidelock")
            }
            false => Fate::Left("Lua is not run", "do it in the app"),
        });
    }
    fate(name)
}

/// `return`, `rewrite` and `if`, in their order. Whether all is answered.
fn early<'f>(place: &Place<'f>, work: &mut Work<'_, 'f>, answers: &mut Answers, main: &mut Route) -> bool {
    for directive in place.directive.inside() {
        match directive.name.as_str() {
            "return" => {
                let has_groups = matches!(place.kind, Kind::Regex { .. });
                match give(main, directive, place, has_groups) {
                    Ok(()) => {
                        of_answers(place, main, work.left);
                        logged(place, main);
                        answers.here.push(main.clone());
                    }
                    Err(why) => work.left.push(told(directive, &why)),
                }
                return true;
            }
            "rewrite" => match rewrite(directive, place) {
                Ok(Rewritten::Before(route)) => answers.before.push(route),
                Ok(Rewritten::Replaced(by)) => {
                    main.replaced_by = Some(by);
                    main.is_replaced_beneath = true;
                }
                Ok(Rewritten::All(route)) => {
                    answers.here.push(route);
                    return true;
                }
                Err(why) => work.left.push(told(directive, &why)),
            },
            "if" => {
                let inside = Place { scope: place.scope.inner(directive.inside()), ..place.clone() };
                answers.here.extend(condition(directive, &inside, main, work.left));
            }
            _ => {}
        }
    }
    false
}

/// An `if` on the method: a route for those methods, or for those that are not allowed.
fn condition(
    directive: &Directive,
    place: &Place<'_>,
    main: &mut Route,
    left: &mut Vec<Left>,
) -> Option<Route> {
    let returned = directive.inside().iter().find(|inside| inside.name == "return");
    let (Some(asked), Some(returned)) = (asked(directive), returned) else {
        left.push(unasked(directive));
        return None;
    };
    let mut route = Route::of(directive, Takes::Prefix("/".to_owned()));
    if let Err(why) = give(&mut route, returned, place, false) {
        left.push(told(returned, &why));
        return None;
    }
    of_answers(place, &mut route, left);
    match asked {
        Asked::Methods(names) => route.set("methods", list(&names)),
        // Those go on, the others come here.
        Asked::AllMethodsBut(names) => main.set("methods", list(&names)),
        Asked::Host(_) | Asked::AnyWww | Asked::Plain => {
            left.push(unasked(directive));
            return None;
        }
    }
    Some(route)
}

fn denies_all(place: &Place<'_>) -> bool {
    let rules = rules(place);
    matches!(&rules[..], [rule] if rule.name == "deny" && rule.arg() == "all")
}

fn rules<'f>(place: &Place<'f>) -> Vec<&'f Directive> {
    let (allowed, denied) = (place.scope.list("allow"), place.scope.list("deny"));
    let all = [allowed, denied].concat();
    // `allow all` alone opens what the blocks around it have closed.
    let own: Vec<&Directive> =
        place.directive.inside().iter().filter(|one| one.name == "allow" || one.name == "deny").collect();
    if own.is_empty() { all } else { own }
}

/// The status of a location that more people would get into than before, if it is one.
fn closed(place: &Place<'_>, left: &mut Vec<Left>) -> Option<u16> {
    let mut why: Vec<(&Directive, &str)> = Vec::new();
    let rules = rules(place);
    let says_nothing = rules.iter().all(|rule| rule.name == "allow" && rule.arg() == "all");
    if !says_nothing && !denies_all(place) {
        why.extend(rules.first().map(|rule| (*rule, "addresses are not told apart yet")));
    }
    for (name, off, reason) in [
        ("auth_basic", "off", "passwords are not asked for yet"),
        ("auth_request", "off", "nobody else is asked yet"),
        ("ssl_verify_client", "off", "clients are not asked for certificates yet"),
    ] {
        why.extend(place.scope.one(name).filter(|one| one.arg() != off).map(|one| (one, reason)));
    }
    for (directive, reason) in &why {
        let todo = "let the app ask; the location answers 403 until you have written its route".to_owned();
        left.push(Left { at: directive.at.clone(), what: directive.text(), why: (*reason).to_owned(), todo });
    }
    let own = place.directive.inside();
    let is_closed = own.iter().any(|one| match one.name.as_str() {
        "limit_except" if excepted(one).is_none() => {
            left.push(told(one, "methods are not told apart by who asks"));
            true
        }
        _ => matches!(fate_of(one), Some(Fate::Closed(..))),
    });
    (is_closed || !why.is_empty()).then_some(403)
}

/// The node or the folder that answers.
fn content<'f>(place: &Place<'f>, work: &mut Work<'_, 'f>, main: &mut Route) -> Option<Route> {
    let pass = place.directive.inside().iter().find(|one| one.name == "proxy_pass");
    let is_there = match pass {
        Some(pass) => proxied(place, pass, work, main),
        None => from_disk(place, work, main),
    };
    if !is_there {
        main.set("respond", "501");
    }
    if let Some(cache) = place.scope.one("proxy_cache").filter(|cache| cache.arg() != "off" && pass.is_some())
    {
        let todo = "let the app say Cache-Control and a CDN in front keep answers".to_owned();
        work.left.push(Left {
            at: cache.at.clone(),
            what: cache.text(),
            why: "nothing is cached".to_owned(),
            todo,
        });
    }
    of_answers(place, main, work.left);
    logged(place, main);
    Some(main.clone())
}

fn logged(place: &Place<'_>, route: &mut Route) {
    if place.scope.one("access_log").is_some_and(|log| log.arg() == "off") {
        route.set("access_log", "false");
    }
}

fn proxied<'f>(place: &Place<'f>, pass: &'f Directive, work: &mut Work<'_, 'f>, main: &mut Route) -> bool {
    let to = place.scope.filled_in(pass.arg());
    let Some((scheme, rest)) = to.split_once("://") else {
        work.left.push(told(pass, "which node it is, is decided by a variable"));
        return false;
    };
    if scheme != "http" {
        let mut left = told(pass, "nodes that speak TLS are not supported yet");
        left.todo = "let the node speak HTTP to tidelock on a private network".to_owned();
        work.left.push(left);
        return false;
    }
    let (authority, uri) =
        match rest.strip_prefix("unix:").map(|rest| rest.split_once(':').unwrap_or((rest, ""))) {
            Some((path, uri)) => (format!("unix:{path}"), uri),
            None => {
                let at = rest.find('/').or_else(|| rest.find("$request_uri")).unwrap_or(rest.len());
                (rest[..at].to_owned(), &rest[at..])
            }
        };
    let uri = if uri == "$request_uri" { "" } else { uri };
    if uri.contains('$') {
        work.left.push(told(pass, "the path for the node is made of variables"));
        return false;
    }
    let host = host(place, &authority);
    let fixed = match &host {
        Host::Fixed(name) => Some(name.clone()),
        Host::Passed | Host::Made(_) => None,
    };
    let wanted = Wanted { directive: pass, authority: &authority, host: fixed, scope: &place.scope };
    let Some(name) = work.pools.name(&wanted, work.left) else { return false };
    main.set("upstream", quoted(&name));
    if !uri.is_empty() {
        main.replaced_by = Some(uri.to_owned());
    }
    of_requests(place, &host, main, work.left);
    let bytes =
        place.scope.one("client_max_body_size").and_then(|one| super::super::globals::bytes(one.arg()));
    main.set("body_bytes_max", body_bytes_max(bytes.unwrap_or(1 << 20)));
    true
}

/// A bound of a body, as we write it.
pub(in crate::nginx) fn body_bytes_max(bytes: u64) -> String {
    // What `[limits]` takes, too.
    let bytes = if bytes == 0 { 0 } else { bytes.clamp(1 << 10, 1 << 40) };
    match bytes {
        0 => "\"none\"".to_owned(),
        bytes if bytes % (1 << 30) == 0 => format!("\"{}GiB\"", bytes >> 30),
        bytes if bytes % (1 << 20) == 0 => format!("\"{}MiB\"", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("\"{}KiB\"", bytes >> 10),
        bytes => format!("\"{bytes}B\""),
    }
}

/// What a folder holds. Without one nginx has its own, in which such a file is seldom.
fn from_disk<'f>(place: &Place<'f>, work: &mut Work<'_, 'f>, main: &mut Route) -> bool {
    let alias = place.directive.inside().iter().find(|one| one.name == "alias");
    let Some(root) = alias.or_else(|| place.scope.one("root")) else {
        main.set("respond", "404");
        return true;
    };
    main.set("files", quoted(root.arg()));
    if alias.is_some() {
        main.set("strip", "true");
    }
    if let Some(autoindex) = place.scope.one("autoindex").filter(|one| one.arg() == "on") {
        work.left.push(told(autoindex, "folders are not listed"));
    }
    let index = place.scope.one("index").map(|index| index.args.clone()).unwrap_or_default();
    if !index.is_empty() && index.first().map(String::as_str) != Some("index.html") {
        main.set("index", list(&index));
    }
    let Some(tried) = place.scope.one("try_files") else { return true };
    let last = tried.args.last().map_or("", String::as_str);
    if let Some(named) = last.strip_prefix('@') {
        return named_location(named, work, main).is_some() || {
            work.left.push(told(tried, "there is no node in that named location"));
            false
        };
    }
    let page = last.split('?').next().unwrap_or_default().trim_start_matches('/');
    if page.ends_with(".php") {
        work.left.push(told(tried, "FastCGI is not spoken"));
    } else if !last.starts_with('=') && !page.is_empty() && !page.contains('$') {
        main.set("fallback", quoted(page));
    }
    true
}

/// Nodes beside the files.
fn named_location<'f>(name: &str, work: &mut Work<'_, 'f>, main: &mut Route) -> Option<()> {
    let named =
        work.places.iter().find(|place| place.kind == Kind::Named && place.path[1..] == *name)?.clone();
    let pass = named.directive.inside().iter().find(|one| one.name == "proxy_pass")?;
    proxied(&named, pass, work, main).then_some(())
}
