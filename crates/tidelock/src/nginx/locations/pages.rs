//! `error_page`, as far as its page is a file, and what is compressed.

use std::path::Path;

use crate::nginx::globals::bytes;
use crate::nginx::ours::{Left, Route, list};
use crate::nginx::parse::Directive;
use crate::nginx::place::{Kind, Location, Work, told};
use crate::quote::quoted;

/// The pages that answers of ours have in this place.
pub(super) fn of_errors(place: &Location<'_>, work: &mut Work<'_, '_>, route: &mut Route) {
    let mut pages: Vec<(u16, String)> = Vec::new();
    for directive in place.scope.list("error_page") {
        if is_for_all(directive) {
            for_all(place, directive, work, route);
            continue;
        }
        match page(place, directive, work) {
            Ok(Page { path, statuses }) if !is_missing(&path) => {
                // The first of a status wins.
                let new =
                    statuses.into_iter().filter(|status| !pages.iter().any(|(known, _)| known == status));
                let new: Vec<u16> = new.collect();
                pages.extend(new.into_iter().map(|status| (status, path.clone())));
            }
            Ok(Page { path, .. }) => {
                route.remarks.push(format!("There is no {path}, and nginx has no page in its place either."));
            }
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
        let table = pages.iter().map(|(status, page)| format!("{status} = {}", quoted(page)));
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

fn for_all(place: &Location<'_>, directive: &Directive, work: &mut Work<'_, '_>, route: &mut Route) {
    let Some(files) = route.value("files") else {
        // What a node answers is left alone, and nothing else is not there.
        let intercepts = place.scope.one("proxy_intercept_errors").is_some_and(|one| one.arg() == "on");
        if route.value("upstream").is_none() || intercepts {
            work.left.push(told(directive, "an error becomes another answer here"));
        }
        return;
    };
    if route.value("fallback").is_some() || route.value("upstream").is_some() {
        return;
    }
    let page = directive.args.last().map_or("", String::as_str);
    let is_here = place.scope.one("root").is_some_and(|root| quoted(root.arg()) == files)
        && route.value("strip").is_none();
    match work.answering(page).is_none_or(|other| other.scope.one("root") == place.scope.one("root"))
        && is_here
    {
        true => {
            route.set("fallback", quoted(page.trim_start_matches('/')));
            route.remarks.push(super::disk::NO_PAGE_FOR_SCRIPTS.to_owned());
        }
        false => work.left.push(told(directive, "the page is in another folder than the files")),
    }
}

struct Page {
    statuses: Vec<u16>,
    path: String,
}

/// The file that a page is, by the location that answers its path.
fn page(place: &Location<'_>, directive: &Directive, work: &Work<'_, '_>) -> Result<Page, String> {
    let (uri, codes) = directive.args.split_last().ok_or("it names no page")?;
    if codes.iter().any(|code| code.starts_with('=')) {
        return Err("an error becomes another answer here".to_owned());
    }
    if !uri.starts_with('/') || uri.contains(['$', '?', '#']) {
        return Err("only a page that is a file is translated".to_owned());
    }
    let read = |code: &String| code.parse().ok().filter(|status| (400..600).contains(status));
    let statuses: Option<Vec<u16>> = codes.iter().map(read).collect();
    let statuses = statuses.ok_or("pages are for 400 to 599")?;
    let answers = work.answering(uri);
    let is_no_file = |one: &Directive| one.name.ends_with("_pass") || one.name == "return";
    if answers.is_some_and(|it| it.directive.inside().iter().any(is_no_file)) {
        return Err("the page is what another location answers".to_owned());
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
        return Err("the page is what another location answers".to_owned());
    }
    Ok(Page { statuses, path })
}

/// Whether its folder is on this machine, and it is not.
fn is_missing(path: &str) -> bool {
    let path = Path::new(path);
    !path.exists() && path.parent().is_some_and(Path::is_dir)
}

/// What is compressed in this place.
pub(super) fn compressed(place: &Location<'_>, left: &mut Vec<Left>, route: &mut Route) {
    let is_on = |name: &str| place.scope.one(name).is_some_and(|one| one.arg() == "on");
    let is_content = ["upstream", "files"].iter().any(|key| route.value(key).is_some());
    if !is_content || !["gzip", "brotli"].into_iter().any(is_on) {
        return;
    }
    let named = ["gzip_types", "brotli_types"].into_iter().find_map(|name| place.scope.one(name));
    let least = ["gzip_min_length", "brotli_min_length"].into_iter().find_map(|name| place.scope.one(name));
    let mut keys = Vec::new();
    if let Some(named) = named {
        let mut types = vec!["text/html".to_owned()];
        types.extend(named.args.iter().filter(|one| *one != "text/html").cloned());
        keys.push(format!("types = {}", list(&types)));
    }
    match least.map(|least| (least, bytes(least.arg()))) {
        Some((_, Some(bytes))) => keys.push(format!("bytes_min = \"{}B\"", bytes.min(1 << 30))),
        Some((least, None)) => left.push(told(least, "it is no number of bytes")),
        None => {}
    }
    if keys.is_empty() {
        route.set("compress", "true");
    } else {
        route.set("compress", format!("{{ {} }}", keys.join(", ")));
    }
}
