//! `auth_basic` and `auth_request`: who may, by a name and a password, or by somebody else's word; and `satisfy`.

use std::path::Path;

use super::access::Access;
use super::node::proxied;
use crate::nginx::ours::{Route, Takes, list};
use crate::nginx::parse::Directive;
use crate::nginx::place::{Location, Work};
use crate::quote::quoted;

/// What `auth` of a route is, and the upstream that is asked, if one is.
#[derive(Debug, Default)]
pub(super) struct Auth {
    value: Option<String>,
    upstream: Option<String>,
}

/// What is to blame, and why.
type Unsaid<'f> = (&'f Directive, &'static str);

impl Auth {
    /// What a place asks for beside the address. The error is why that cannot be said.
    pub(super) fn of<'f>(place: &Location<'f>, work: &mut Work<'_, 'f>) -> Result<Self, Unsaid<'f>> {
        let users = users(place)?;
        let Some(request) = place.scope.one("auth_request").filter(|one| one.arg() != "off") else {
            return Ok(Self { value: users, upstream: None });
        };
        if users.is_some() {
            return Err((request, "a route asks for passwords or somebody else, not both"));
        }
        let asked = work.answering(request.arg()).cloned().ok_or((request, "no location answers that"))?;
        let pass = asked.directive.inside().iter().find(|one| one.name == "proxy_pass");
        let pass = pass.ok_or((request, "whoever is asked is no node"))?;
        let mut route = Route::of(asked.directive, Takes::Prefix("/".to_owned()));
        let is_said = proxied(&asked, pass, work, &mut route);
        let name = route.upstream().filter(|_| is_said).ok_or((request, "whoever is asked is no node"))?;
        let path = route.replaced_by.as_deref().unwrap_or(request.arg());
        let mut value = format!("{{ ask = {}", quoted(&format!("http://{name}{path}")));
        let copied = copied(place)?;
        if !copied.is_empty() {
            value += &format!(", copy = {}", list(&copied));
        }
        Ok(Self { value: Some(value + " }"), upstream: Some(name) })
    }
}

/// The names of lines of the answer that nodes get, where they are told by the same names.
fn copied<'f>(place: &Location<'f>) -> Result<Vec<String>, Unsaid<'f>> {
    let mut copied = Vec::new();
    for line in place.scope.list("proxy_set_header") {
        let (name, value) = (line.arg(), line.args.get(1).map_or("", String::as_str));
        let Some(said) = place.answered(value) else { continue };
        if said != name.to_ascii_lowercase() {
            return Err((line, "nodes get a line of the answer by its own name"));
        }
        copied.push(name.to_owned());
    }
    Ok(copied)
}

/// What `auth` of a route is, if its place asks for passwords. The error is why that cannot be said, beside what is to blame.
fn users<'f>(place: &Location<'f>) -> Result<Option<String>, Unsaid<'f>> {
    let Some(basic) = place.scope.one("auth_basic").filter(|one| one.arg() != "off") else { return Ok(None) };
    let users = place.scope.one("auth_basic_user_file").ok_or((basic, "no file says who may"))?;
    if [basic.arg(), users.arg()].iter().any(|text| text.contains('$')) {
        return Err((basic, "realms and files have no variables here"));
    }
    // nginx looks beside its own file.
    let beside = Path::new(&*users.at.file).parent().unwrap_or(Path::new(""));
    let path = beside.join(users.arg()).display().to_string();
    let realm: String = basic.arg().chars().filter(|c| !matches!(c, '"' | '\\')).collect();
    Ok(Some(format!("{{ users = {}, realm = {} }}", quoted(&path), quoted(&realm))))
}

/// Says it of a route, with who may by address. Returns whether anybody may.
pub(super) fn say(place: &Location<'_>, access: &Access, auth: Auth, route: &mut Route) -> bool {
    let Some(value) = auth.value else {
        access.say(route);
        return *access != Access::Nobody;
    };
    let is_enough = place.scope.one("satisfy").is_some_and(|one| one.arg() == "any");
    match Access::beside_password(place) {
        _ if !is_enough => access.say(route),
        Some(Access::Everybody) => return true,
        Some(access) => {
            access.say(route);
            route.set("satisfy", quoted("any"));
        }
        None => {}
    }
    route.asks.extend(auth.upstream);
    route.set("auth", value);
    is_enough || *access != Access::Nobody
}
