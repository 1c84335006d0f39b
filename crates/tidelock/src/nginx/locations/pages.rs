//! `error_page`: files, what other locations answer, and what named ones do.

use std::path::Path;

use super::access::asks_who;
use super::node::proxied;
use crate::nginx::ours::{Route, Takes};
use crate::nginx::parse::Directive;
use crate::nginx::place::{Kind, Location, Work, told};
use crate::quote::quoted;

/// The pages that answers of ours have in this place.
pub(super) fn of_errors<'f>(place: &Location<'f>, work: &mut Work<'_, 'f>, route: &mut Route) {
    let mut pages: Vec<(u16, String)> = Vec::new();
    for directive in place.scope.list("error_page") {
        if is_for_all(directive) && for_all(place, directive, work, route) {
            continue;
        }
        match page(place, directive, work, route) {
            Ok(Some(Page { value, statuses })) => {
                // The first of a status wins.
                let new =
                    statuses.into_iter().filter(|status| !pages.iter().any(|(known, _)| known == status));
                let new: Vec<u16> = new.collect();
                pages.extend(new.into_iter().map(|status| (status, value.written(status))));
            }
            Ok(None) => {}
            Err(why) => work.left.push(told(directive, &why)),
        }
    }
    // Where no node can be reached nginx says 502, and we say 503.
    if let Some((_, page)) = pages.iter().find(|(status, _)| *status == 502).cloned()
        && !pages.iter().any(|(status, _)| *status == 503)
    {
        pages.push((503, page));
    }
    if !pages.is_empty() {
        pages.sort_unstable();
        let table = pages.iter().map(|(status, page)| format!("{status} = {page}"));
        route.set("error_pages", format!("{{ {} }}", table.collect::<Vec<_>>().join(", ")));
        let intercepts = place.scope.one("proxy_intercept_errors").is_some_and(|one| one.arg() == "on");
        if intercepts && route.value("upstream").is_some() {
            route.set("intercept_errors", "true");
            route.remarks.push(
                "Clients that ask for JSON get the answer of the node, and so do those of Engine.IO."
                    .to_owned(),
            );
        }
    }
}

/// `error_page 404 =200 /index.html`: what is not there is the page of a single-page app.
fn is_for_all(directive: &Directive) -> bool {
    matches!(&directive.args[..], [status, becomes, page] if status == "404" && ["=200", "="].contains(&becomes.as_str()) && page.starts_with('/'))
}

/// Whether it is done with, as the `fallback` of a folder.
fn for_all(place: &Location<'_>, directive: &Directive, work: &Work<'_, '_>, route: &mut Route) -> bool {
    let Some(files) = route.value("files") else { return false };
    if route.value("fallback").is_some() || route.value("upstream").is_some() {
        return true;
    }
    let page = directive.args.last().map_or("", String::as_str);
    let is_here = place.scope.one("root").is_some_and(|root| quoted(root.arg()) == files)
        && route.value("strip").is_none();
    let is_of_folder =
        work.answering(page).is_none_or(|other| other.scope.one("root") == place.scope.one("root"));
    if is_of_folder && is_here {
        route.set("fallback", quoted(page.trim_start_matches('/')));
        route.remarks.push(super::disk::NO_PAGE_FOR_SCRIPTS.to_owned());
    }
    is_of_folder && is_here
}

/// What stands for the answers of these statuses.
struct Page {
    statuses: Vec<u16>,
    value: Value,
}

/// Who has the page, in our words.
enum Value {
    File(String),
    /// The value without its status, and that where it is another than that of the fault.
    Table(String, Option<String>),
    /// One whose status is its own unless another is said.
    Upstream(String, Option<String>),
}

impl Value {
    fn written(&self, of_fault: u16) -> String {
        match self {
            Self::File(path) => quoted(path),
            Self::Table(table, None) => format!("{{ {table} }}"),
            Self::Table(table, Some(status)) => format!("{{ {table}, status = {status} }}"),
            Self::Upstream(name, Some(status)) if status == OWN => {
                format!("{{ upstream = {} }}", quoted(name))
            }
            Self::Upstream(name, status) => {
                let status = status.clone().unwrap_or_else(|| of_fault.to_string());
                format!("{{ upstream = {}, status = {status} }}", quoted(name))
            }
        }
    }
}

/// What a page is for.
struct Faults<'s> {
    statuses: &'s [u16],
    /// What the client gets in the place of theirs: a number, or [`OWN`].
    status: Option<String>,
}

/// The page of one directive; nothing if there is none in nginx either, or if the route has it in another way.
fn page<'f>(
    place: &Location<'f>,
    directive: &Directive,
    work: &mut Work<'_, 'f>,
    route: &mut Route,
) -> Result<Option<Page>, String> {
    let (uri, codes) = directive.args.split_last().ok_or("it names no page")?;
    let (becomes, codes) = match codes.split_last() {
        Some((last, codes)) if last.starts_with('=') => (Some(&last[1..]), codes),
        _ => (None, codes),
    };
    let status = match becomes {
        None => None,
        Some("") => Some(OWN.to_owned()),
        Some(code) => {
            let known = code
                .parse::<u16>()
                .ok()
                .filter(|code| (200..600).contains(code) && ![204, 205, 304].contains(code));
            Some(known.ok_or("such a status is not put in the place of another")?.to_string())
        }
    };
    let read = |code: &String| code.parse().ok().filter(|status| (400..600).contains(status));
    let statuses: Option<Vec<u16>> = codes.iter().map(read).collect();
    let statuses = statuses.ok_or("pages are for 400 to 599")?;
    let value = match uri.strip_prefix('@') {
        Some(name) => named(name, Faults { statuses: &statuses, status }, work, route)?,
        None if !uri.starts_with('/') => {
            return Err("a client is not sent to another host for a fault".to_owned());
        }
        None if uri.contains(['$', '#']) => return Err("the page is made of variables".to_owned()),
        None => by_path(place, uri, status, work, route)?,
    };
    Ok(value.map(|value| Page { statuses, value }))
}

/// The page of a path: a file, where it is one and has the status of the fault, or what its location answers.
fn by_path(
    place: &Location<'_>,
    uri: &str,
    status: Option<String>,
    work: &Work<'_, '_>,
    route: &mut Route,
) -> Result<Option<Value>, String> {
    let path = uri.split('?').next().unwrap_or_default();
    let answers = work.answering(path);
    let is_internal =
        answers.is_some_and(|it| it.directive.inside().iter().any(|one| one.name == "internal"));
    match file(place, path, answers, work)? {
        Some(path) if is_missing(&path) => {
            route.remarks.push(format!("There is no {path}, and nginx has no page in its place either."));
            Ok(None)
        }
        Some(path) if status.is_none() => Ok(Some(Value::File(path))),
        _ if is_internal => Err("the page is of an internal location, and none of a path".to_owned()),
        found => {
            if found.is_none() && status.is_none() {
                route.remarks.push(
                    "Clients that ask for JSON are told of faults in JSON, and get no page.".to_owned(),
                );
            }
            let status = status.map(|status| if status == OWN { quoted(OWN) } else { status });
            Ok(Some(Value::Table(format!("path = {}", quoted(uri)), status)))
        }
    }
}

/// The file that a page is, by the location that answers its path; nothing if that is another's answer.
fn file(
    place: &Location<'_>,
    uri: &str,
    answers: Option<&Location<'_>>,
    work: &Work<'_, '_>,
) -> Result<Option<String>, String> {
    if answers.is_some_and(|it| asks_who(it.directive.inside())) {
        return Ok(None);
    }
    let is_no_file = |one: &Directive| one.name.ends_with("_pass") || one.name == "return";
    if answers.is_some_and(|it| it.directive.inside().iter().any(is_no_file)) {
        return Ok(None);
    }
    let scope = answers.map_or(&work.site.scope, |it| &it.scope);
    let alias =
        answers.and_then(|it| Some((it, it.directive.inside().iter().find(|one| one.name == "alias")?)));
    let path = match alias {
        Some((it, alias)) if matches!(it.kind, Kind::Prefix | Kind::Firm | Kind::Exact) => {
            format!("{}{}", alias.arg(), uri.strip_prefix(&*it.path).unwrap_or_default())
        }
        Some(_) => return Err("an `alias` beside an expression".to_owned()),
        None => {
            let root = scope.one("root").or_else(|| place.scope.one("root"));
            let root = root.ok_or("there is no `root` that it is under")?;
            format!("{}{uri}", root.arg().trim_end_matches('/'))
        }
    };
    if path.contains('$') {
        return Err("which file it is, is decided by a variable".to_owned());
    }
    let tries = answers.and_then(|it| it.scope.one("try_files"));
    if is_missing(&path) && tries.is_some_and(|tries| tries.args.last().is_some_and(|last| last != "=404")) {
        return Ok(None);
    }
    Ok(Some(path))
}

/// What a named location has for these statuses; nothing where the route has come to have it.
fn named<'f>(
    name: &str,
    faults: Faults<'_>,
    work: &mut Work<'_, 'f>,
    route: &mut Route,
) -> Result<Option<Value>, String> {
    let named = work.alone(&format!("@{name}")).filter(|place| place.kind == Kind::Named).cloned();
    let named = named.ok_or("there is no such named location")?;
    let inside = named.directive.inside();
    let one = |name: &str| inside.iter().find(|one| one.name == name);
    if asks_who(inside) || one("if").is_some() {
        return Err("the named location asks who may".to_owned());
    }
    if let Some(pass) = one("proxy_pass") {
        return by_nodes(&named, pass, faults, work, route);
    }
    let Faults { statuses, status } = faults;
    let is_its_own =
        status.as_ref().is_none_or(|status| statuses.iter().all(|one| one.to_string() == *status));
    if let Some(returned) = one("return") {
        let [code, text] = &returned.args[..] else {
            return Err("the named location sends the client elsewhere, or says nothing".to_owned());
        };
        let is_said = is_its_own
            || (status.as_deref() == Some(OWN) && statuses.iter().all(|one| one.to_string() == *code));
        if !is_said || !code.starts_with(['2', '4', '5']) || text.contains('$') {
            return Err("the named location has a status or variables of its own".to_owned());
        }
        let kind = named.scope.one("default_type").map_or("text/plain", |one| one.arg());
        return Ok(Some(Value::Table(
            format!("text = {}, content_type = {}", quoted(text), quoted(kind)),
            None,
        )));
    }
    let page = match (one("rewrite"), one("try_files")) {
        (Some(rewrite), None) if ["^", "^(.*)$", ".*", "^.*$", "^/"].contains(&rewrite.arg()) => {
            rewrite.args.get(1).filter(|_| rewrite.args.get(2).is_some_and(|flag| flag == "break"))
        }
        (None, Some(tried)) => tried.args.first(),
        _ => None,
    };
    let page = page.filter(|page| page.starts_with('/') && !page.contains('$'));
    let root = named.scope.one("root").filter(|root| !root.arg().contains('$'));
    match (page, root) {
        (Some(page), Some(root)) if is_its_own => {
            Ok(Some(Value::File(format!("{}{page}", root.arg().trim_end_matches('/')))))
        }
        _ => Err("what the named location answers is neither a node nor one page".to_owned()),
    }
}

/// Nodes that are asked in the place of a fault.
fn by_nodes<'f>(
    named: &Location<'f>,
    pass: &'f Directive,
    Faults { statuses, status }: Faults<'_>,
    work: &mut Work<'_, 'f>,
    route: &mut Route,
) -> Result<Option<Value>, String> {
    // What is no file is theirs, as with `try_files`.
    if statuses == [404]
        && status.as_deref() == Some(OWN)
        && route.value("files").is_some()
        && route.value("upstream").is_none()
        && route.value("fallback").is_none()
    {
        let before = route.value("body_bytes_max").map(str::to_owned);
        if !proxied(named, pass, work, route) {
            return Err("the node of the named location was not translated".to_owned());
        }
        if let Some(before) = before {
            route.set("body_bytes_max", before);
        }
        return Ok(None);
    }
    let mut theirs = Route::of(named.directive, Takes::Prefix("/".to_owned()));
    if !proxied(named, pass, work, &mut theirs) {
        return Err("the node of the named location was not translated".to_owned());
    }
    if theirs.replaced_by.is_some() {
        return Err("the named location changes the path".to_owned());
    }
    crate::nginx::headers::of_answers(named, &mut theirs, work.left);
    if theirs.value("response_headers") != route.value("response_headers") {
        return Err("the named location has other headers of answers".to_owned());
    }
    if theirs.value("request_headers") != route.value("request_headers") {
        route.remarks.push(
            "The nodes that answer for those of this route get the same header lines as these.".to_owned(),
        );
    }
    route.remarks.push("They are asked where nothing can have been done yet; no POST that may have arrived is sent twice, and nothing of Engine.IO.".to_owned());
    let name = theirs.upstream().ok_or("the named location has no node")?;
    route.asks.push(name.clone());
    Ok(Some(Value::Upstream(name, status)))
}

/// Whether its folder is on this machine, and it is not.
fn is_missing(path: &str) -> bool {
    let path = Path::new(path);
    !path.exists() && path.parent().is_some_and(Path::is_dir)
}

/// What the answer says, in the place of a number.
const OWN: &str = "own";
