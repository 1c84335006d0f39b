//! What answers in a location from disk: `root`, `alias`, `index` and `try_files`.

use super::access::asks_who;
use super::node::proxied;
use crate::nginx::ours::{Route, list};
use crate::nginx::parse::Directive;
use crate::nginx::place::{Kind, Location, Work, told};
use crate::nginx::pools::seconds;
use crate::quote::quoted;

/// What a folder holds. Without one nginx has its own, in which such a file is seldom. Whether it was translated.
pub(super) fn answers<'f>(place: &Location<'f>, work: &mut Work<'_, 'f>, main: &mut Route) -> bool {
    let alias = place.directive.inside().iter().find(|one| one.name == "alias");
    let Some(root) = alias.or_else(|| place.scope.one("root")) else {
        main.set("respond", "404");
        return true;
    };
    if root.arg().contains('$') {
        work.left.push(told(root, "which folder it is, is decided by a variable"));
        return false;
    }
    if !folder(place, root, work, main) {
        return false;
    }
    if let Some(autoindex) = place.scope.one("autoindex").filter(|one| one.arg() == "on") {
        work.left.push(told(autoindex, "folders are not listed"));
    }
    let mut index = place.scope.one("index").map(|index| index.args.clone()).unwrap_or_default();
    // A page of that name would be another location's.
    index.retain(|name| !name.contains(['/', '$']));
    if !index.is_empty() && index != ["index.html"] {
        main.set("index", list(&index));
    }
    let index_page = |name: &String| format!("{}/{name}", place.path.trim_end_matches('/'));
    let mut pages: Vec<String> = index.iter().map(index_page).collect();
    let is_tried = match place.scope.one("try_files") {
        Some(tried) => try_files(place, tried, work, main, &mut pages),
        None => true,
    };
    apart(place, &pages, work);
    let asks = |page: &String| work.answering(page).filter(|own| asks_who(own.directive.inside()));
    let asking = pages.iter().filter_map(asks).find(|own| !std::ptr::eq(own.directive, place.directive));
    if let Some(asking) = asking {
        work.left.push(told(asking.directive, "it asks who may get a page that another location sends"));
        return false;
    }
    is_tried
}

/// The folder of a `root`, or of an `alias`, which stands for the location's path.
fn folder(place: &Location<'_>, root: &Directive, work: &mut Work<'_, '_>, main: &mut Route) -> bool {
    main.set("files", quoted(root.arg()));
    if root.name != "alias" {
        return true;
    }
    match place.kind {
        Kind::Exact => {
            // It is one file.
            let (folder, file) = root.arg().rsplit_once('/').unwrap_or((".", root.arg()));
            if file.is_empty() {
                work.left.push(told(root, "a folder stands for one exact path"));
                return false;
            }
            main.set("files", quoted(if folder.is_empty() { "/" } else { folder }));
            main.set("rewrite", quoted(&format!("/{}", file.replace('{', "{{").replace('}', "}}"))));
            true
        }
        Kind::Regex { .. } => {
            work.left.push(told(root, "an `alias` beside an expression"));
            false
        }
        Kind::Prefix | Kind::Firm | Kind::Named => {
            main.set("strip", "true");
            true
        }
    }
}

fn try_files<'f>(
    place: &Location<'f>,
    tried: &'f Directive,
    work: &mut Work<'_, 'f>,
    main: &mut Route,
    pages: &mut Vec<String>,
) -> bool {
    let last = tried.args.last().map_or("", String::as_str);
    let others = &tried.args[..tried.args.len().saturating_sub(1)];
    if let Some(odd) = others.iter().find(|name| !TRIED.contains(&name.as_str())) {
        work.left.push(told(tried, &format!("{odd} is no file of the path that is asked for")));
    }
    // Without it a folder is no answer, and its page neither.
    if !others.iter().any(|name| name.starts_with("$uri/")) {
        main.set("index", "[]");
        pages.clear();
    }
    if let Some(named) = last.strip_prefix('@') {
        return named_location(named, work, main).is_some() || {
            work.left.push(told(tried, "that named location has no node, or asks who may"));
            false
        };
    }
    let page = last.split('?').next().unwrap_or_default();
    if page.ends_with(".php") {
        let mut told = told(tried, "FastCGI is not spoken");
        told.todo = "keep nginx for it, on a port of its own behind tidelock, and make that the `upstream` beside `files`".to_owned();
        work.left.push(told);
        return true;
    }
    if last.starts_with('=') {
        if last != "=404" {
            work.left.push(told(tried, "what is not there is 404"));
        }
        return true;
    }
    if page.contains('$') || page.ends_with('/') {
        // `$uri/` as the last is the path itself once more.
        if !TRIED.contains(&page) {
            work.left.push(told(tried, "the page for all is none that has a name"));
        }
        return true;
    }
    pages.push(page.to_owned());
    // It is looked for as a path is, so that under an `alias` its own is cut off.
    let name = match main.value("strip") {
        Some(_) => page.strip_prefix(place.path.trim_end_matches('/')),
        None => Some(page),
    };
    let Some(name) = name.map(|name| name.trim_start_matches('/')).filter(|name| !name.is_empty()) else {
        work.left.push(told(tried, "the page is in another folder than the files"));
        return true;
    };
    main.set("fallback", quoted(name));
    main.remarks.push(NO_PAGE_FOR_SCRIPTS.to_owned());
    true
}

/// Tells of a location that nginx would go on to for one of these pages, and that says something else of it.
fn apart(place: &Location<'_>, pages: &[String], work: &mut Work<'_, '_>) {
    for page in pages {
        let own = work.alone(page).filter(|own| own.kind == Kind::Exact);
        let Some(own) = own.filter(|own| says(own) != says(place)) else { continue };
        let mut told = told(
            own.directive,
            "it holds where that path is asked for, and not where the page stands for another",
        );
        told.todo = "say `cache = \"hashed\"` on the route of the folder, which keeps pages from being kept, or its `response_headers` on both".to_owned();
        if !work.left.contains(&told) {
            work.left.push(told);
        }
    }
}

/// What a location says of its answers.
fn says<'f>(place: &Location<'f>) -> Vec<&'f Directive> {
    ["add_header", "expires", "more_set_headers", "root"]
        .iter()
        .flat_map(|name| place.scope.list(name))
        .collect()
}

/// Nodes beside the files.
fn named_location<'f>(name: &str, work: &mut Work<'_, 'f>, main: &mut Route) -> Option<()> {
    let named = work.alone(&format!("@{name}")).filter(|place| place.kind == Kind::Named)?.clone();
    // Who may here may not there.
    let inside = Some(named.directive.inside()).filter(|inside| !asks_who(inside))?;
    let pass = inside.iter().find(|one| one.name == "proxy_pass")?;
    proxied(&named, pass, work, main).then_some(())
}

/// Where nodes answer what is no file, what is said of files is not said of their answers: that they may be kept, above all.
pub(super) fn keeps_from_nodes(place: &Location<'_>, work: &mut Work<'_, '_>, main: &mut Route) {
    if main.value("files").is_none() || main.value("upstream").is_none() {
        return;
    }
    let own: Vec<&Directive> = ["add_header", "expires"]
        .iter()
        .flat_map(|name| place.scope.list(name))
        .filter(|line| place.directive.inside().contains(line))
        .collect();
    if own.is_empty() {
        return;
    }
    let is_cache =
        |line: &&Directive| line.name == "expires" || line.arg().eq_ignore_ascii_case("cache-control");
    let (cache, others): (Vec<&Directive>, Vec<&Directive>) = own.into_iter().partition(is_cache);
    main.keys.retain(|(key, _)| *key != "response_headers");
    for line in others {
        work.left.push(told(line, BESIDE));
    }
    let ages = cache.iter().filter_map(|line| max_age(line));
    match (ages.max(), cache.first()) {
        (Some(seconds), _) => {
            main.set("cache", quoted(&format!("{seconds}s")));
            main.remarks.push("`cache` is said of files alone, as in nginx.".to_owned());
        }
        (None, Some(line)) => {
            work.left.push(told(line, BESIDE));
        }
        (None, None) => {}
    }
}

/// Seconds for which a public file may be kept.
fn max_age(line: &Directive) -> Option<u64> {
    if line.name == "expires" {
        return match line.arg() {
            "max" => Some(315_360_000),
            time => seconds(time.trim_start_matches('+')),
        };
    }
    let value = line.args.get(1)?;
    let mut age = None;
    for word in value.split(',').map(str::trim) {
        match word.strip_prefix("max-age=") {
            Some(seconds) => age = seconds.parse().ok(),
            // Said of hashed names only by ours, which asks once more than it need, and never keeps too long.
            None if ["public", "immutable"].contains(&word) => {}
            None => return None,
        }
    }
    age
}

/// What is said beside a `fallback`.
pub(super) const NO_PAGE_FOR_SCRIPTS: &str =
    "nginx answers a script or an image that is missing with this page, too; here it is 404.";
/// Other words of a `try_files` than its last that mean what the folder does by itself.
const TRIED: [&str; 5] = ["$uri", "$uri/", "$uri/index.html", "$document_uri", "$uri/index.htm"];
const BESIDE: &str = "it is said of files, and not of what a node answers beside them";
