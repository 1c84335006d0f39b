//! What answers in one location. The paths of the routes are not decided here.

use super::access::Access;
use super::auth::{self, Auth};
use super::compress;
use super::disk;
use super::limits;
use super::mirror;
use super::node::proxied;
use super::pages;
use crate::nginx::geos;
use crate::nginx::headers::of_answers;
use crate::nginx::ours::{Left, Route, Takes, list};
use crate::nginx::parse::Directive;
use crate::nginx::place::{Kind, Location, Work, told};
use crate::nginx::rewrites::{Condition, METHODS, Rewritten, asked, give, rewrite, unasked, unrewritten};
use crate::nginx::words::{Fate, fate};
use crate::quote::quoted;

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
pub(super) fn of<'f>(place: &Location<'f>, work: &mut Work<'_, 'f>) -> Answers {
    let mut answers = Answers::default();
    let mut main = Route::of(place.directive, Takes::Prefix("/".to_owned()));
    // It runs before access is asked for.
    if early(place, work, &mut answers, &mut main) {
        return answers;
    }
    let auth = Auth::of(place, work);
    let unsaid = auth.as_ref().err().copied();
    if let Some(status) = closed(place, unsaid, work.site.asks_clients, work.left) {
        main.remarks.push(
            "Closed until you have looked at it: it would be open to more people than before.".to_owned(),
        );
        let meant = content(place, work, &mut main.clone()).and_then(|route| route.upstream());
        main.remarks.extend(meant.map(|name| format!("upstream = {}", quoted(&name))));
        main.set("respond", status.to_string());
        answers.here.push(main);
        return answers;
    }
    // Those that cannot be said have closed it.
    let access = Access::of(place).unwrap_or(Access::Nobody);
    if !auth::say(place, &access, auth.unwrap_or_default(), &mut main) {
        main.set("respond", "403");
        pages::of_errors(place, work, &mut main);
        answers.here.push(main);
        return answers;
    }
    limits::say(place, &mut main, work.left);
    let own = place.directive.inside();
    let elsewhere = own.iter().any(|one| matches!(fate_of(one), Some(Fate::Elsewhere(..))));
    if elsewhere || own.iter().any(|one| one.name == "internal") {
        main.set("respond", if elsewhere { "501" } else { "404" });
        pages::of_errors(place, work, &mut main);
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
fn early<'f>(place: &Location<'f>, work: &mut Work<'_, 'f>, answers: &mut Answers, main: &mut Route) -> bool {
    for directive in place.directive.inside() {
        match directive.name.as_str() {
            "return" => {
                let has_groups = matches!(place.kind, Kind::Regex { .. });
                match give(main, directive, place, has_groups) {
                    Ok(()) => {
                        of_answers(place, main, work.left);
                        pages::of_errors(place, work, main);
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
                Err(why) => work.left.push(unrewritten(directive, &why)),
            },
            // It is a part of who may, by address.
            "if" if matches!(geos::refused(directive, &place.scope), Some(Ok(_))) => {}
            "if" => {
                let inside = Location { scope: place.scope.inner(directive.inside()), ..place.clone() };
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
    place: &Location<'_>,
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
        Condition::Methods(names) => route.set("methods", list(&names)),
        // Those go on, the others come here.
        Condition::AllMethodsBut(names) => main.set("methods", list(&names)),
        Condition::Host(_) | Condition::AnyWww | Condition::Plain => {
            left.push(unasked(directive));
            return None;
        }
    }
    Some(route)
}

/// The status of a location that more people would get into than before, if it is one.
fn closed<'f>(
    place: &Location<'f>,
    unsaid: Option<(&'f Directive, &'static str)>,
    asks_clients: bool,
    left: &mut Vec<Left>,
) -> Option<u16> {
    let mut why: Vec<(&Directive, &str)> = Access::of(place).err().into_iter().chain(unsaid).collect();
    if !asks_clients {
        let verify = place.scope.one("ssl_verify_client").filter(|one| one.arg() != "off");
        why.extend(verify.map(|one| (one, "its listens cannot ask clients for these certificates")));
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
fn content<'f>(place: &Location<'f>, work: &mut Work<'_, 'f>, main: &mut Route) -> Option<Route> {
    let pass = place.directive.inside().iter().find(|one| one.name == "proxy_pass");
    let is_there = match pass {
        Some(pass) => proxied(place, pass, work, main),
        None => disk::answers(place, work, main),
    };
    if !is_there {
        main.keys.retain(|(key, _)| GUARDS.contains(key));
        main.set("respond", "501");
    }
    if pass.is_some() && is_there {
        mirror::say(place, work, main);
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
    pages::of_errors(place, work, main);
    compress::compressed(place, work.left, main);
    if pass.is_none() {
        disk::keeps_from_nodes(place, work, main);
    }
    logged(place, main);
    Some(main.clone())
}

fn logged(place: &Location<'_>, route: &mut Route) {
    if place.scope.one("access_log").is_some_and(|log| log.arg() == "off") {
        route.set("access_log", "false");
    }
}

/// Keys of a route that stay whatever answers.
const GUARDS: [&str; 5] = ["allow", "deny", "auth", "satisfy", "limit"];
