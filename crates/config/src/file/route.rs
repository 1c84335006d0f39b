//! Reads `[[route]]`.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::fields::Fields;
use super::keys::route as keys;
use super::kinds::route::{ListenAddresses, RedirectTo, RespondWith, RewritePath};
use crate::plan::{Listen, Upstream, UpstreamId};
use crate::problem::Problem;
use crate::routing::{
    Action, Cache, Edits, Files, HostPattern, Methods, PathEdit, PathPattern, Pattern, Route,
};
use crate::suggest::nearest;

/// The upstreams a route may name.
pub(crate) struct Upstreams<'f> {
    /// Those that could be read.
    pub(crate) read: &'f [Upstream],
    /// Those that are in the file, readable or not: a route to one with a mistake in it is no second mistake.
    pub(crate) named: &'f [Fields<'f>],
}

/// Which upstreams the routes read so far send something to.
#[derive(Default)]
struct Used {
    names: HashSet<String>,
    /// Whether a route misses its upstream.
    is_one_astray: bool,
}

/// What a route takes, by which two of them are told apart.
#[derive(PartialEq, Eq, Hash)]
struct Takes {
    host: String,
    path: String,
    methods: Methods,
    ports: Vec<u16>,
}

/// Reads every route, and puts the most specific first. Routes that cannot be read are left out, and have been told
/// then; so have upstreams that no route uses.
pub(crate) fn read(
    root: &Fields<'_>,
    upstreams: &Upstreams<'_>,
    listens: &[Listen],
    base: &Path,
) -> Vec<Route> {
    let mut seen: HashMap<Takes, Option<Range<usize>>> = HashMap::new();
    let mut used = Used::default();
    let mut routes = Vec::new();
    for (number, fields) in (1..).zip(root.many(&keys::ROUTE)) {
        // A host that cannot be read is not every host.
        let hosts = fields.or_if_absent(&keys::HOST, vec![HostPattern::Any]);
        let path = path(&fields);
        let pattern = match &path {
            Some(PathPattern::Regex(pattern)) => Some(pattern),
            _ => None,
        };
        let methods = fields.or_if_absent(&keys::METHODS, Methods::ALL);
        let ports = ports(&fields, listens);
        let action = action(&fields, pattern, base, upstreams, &mut used);
        let edits = edits(&fields, path.as_ref());
        let route = Route {
            host: HostPattern::Any,
            path: PathPattern::Prefix(String::new()),
            methods: methods.unwrap_or(Methods::ALL),
            ports: ports.clone().unwrap_or_default(),
            paths: fields.or_default(&keys::PATHS),
            action: Action::Upstream(UpstreamId(usize::MAX)),
            edits: edits.filter(|edits| *edits != Edits::default()).map(Box::new),
            body_bytes_max: fields.optional(&keys::BODY_BYTES_MAX),
            is_logged: fields.or_default(&keys::ACCESS_LOG),
            number,
        };
        let (Some(hosts), Some(path), Some(methods), Some(ports)) = (hosts, path, methods, ports) else {
            continue;
        };
        for host in hosts {
            let takes = Takes { host: name_of(&host), path: text_of(&path), methods, ports: ports.clone() };
            if let Some(first) = seen.get(&takes) {
                twice(&fields, first.clone());
                continue;
            }
            seen.insert(takes, fields.span.clone());
            let Some(action) = action.clone() else { continue };
            routes.push(Route { host, path: path.clone(), action, ..route.clone() });
        }
    }
    used.warn_of_others(upstreams);
    routes.sort_by_key(specificity);
    routes
}

/// The path, in whichever of three ways it is said.
fn path(fields: &Fields<'_>) -> Option<PathPattern> {
    let said = [keys::EXACT.name, keys::REGEX.name, keys::PATH.name];
    let said: Vec<&str> = said.into_iter().filter(|name| fields.has(name)).collect();
    if let [_, second, ..] = said[..] {
        let both = said.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" and ");
        fields.push(
            Problem::error(fields.span_of(second), format!("{both} say the path in different ways"))
                .hint("keep one of them; another route can have the other"),
        );
        return None;
    }
    match said.first() {
        Some(name) if *name == keys::EXACT.name => fields.optional(&keys::EXACT).map(PathPattern::Exact),
        Some(name) if *name == keys::REGEX.name => fields.optional(&keys::REGEX).map(PathPattern::Regex),
        _ => fields.or_if_absent(&keys::PATH, "/".to_owned()).map(PathPattern::Prefix),
    }
}

/// The ports of the listens that a route names.
fn ports(fields: &Fields<'_>, listens: &[Listen]) -> Option<Vec<u16>> {
    let addresses = fields.or_if_absent(&keys::LISTEN, Vec::new())?;
    match ListenAddresses::ports(&addresses, listens) {
        Ok(ports) => Some(ports),
        Err(message) => {
            let addresses = listens.iter().map(|listen| format!("\"{}\"", listen.address));
            let hint = format!("the file has {}", addresses.collect::<Vec<_>>().join(", "));
            fields.push(Problem::error(fields.span_of(keys::LISTEN.name), message).hint(hint));
            None
        }
    }
}

/// What a route does. Exactly one thing.
fn action(
    fields: &Fields<'_>,
    pattern: Option<&Pattern>,
    base: &Path,
    upstreams: &Upstreams<'_>,
    used: &mut Used,
) -> Option<Action> {
    let ways = [keys::UPSTREAM.name, keys::FILES.name, keys::REDIRECT.name, keys::RESPOND.name];
    let said: Vec<&str> = ways.into_iter().filter(|way| fields.has(way)).collect();
    let way = match said[..] {
        [] => {
            let problem = Problem::error(fields.span.clone(), "this route says nothing of what is answered");
            let hint =
                "write `upstream = \"nodes\"`, `files = \"public\"`, `redirect = { … }` or `respond = 404`";
            fields.push(problem.hint(hint));
            used.is_one_astray = true;
            return None;
        }
        [one] => one,
        // What is no file is the upstream's.
        [upstream, files] if (upstream, files) == (keys::UPSTREAM.name, keys::FILES.name) => files,
        [_, second, ..] => {
            let both = said.iter().map(|way| format!("`{way}`")).collect::<Vec<_>>().join(" and ");
            let problem =
                Problem::error(fields.span_of(second), format!("a route has one answer, not {both}"));
            let hint =
                "keep one of them; another route, with a path or methods of its own, can have the other";
            fields.push(problem.hint(hint));
            used.is_one_astray = true;
            return None;
        }
    };
    if way != keys::FILES.name {
        for key in [keys::INDEX.name, keys::FALLBACK.name, keys::CACHE.name]
            .into_iter()
            .filter(|key| fields.has(key))
        {
            let problem = Problem::error(fields.span_of(key), format!("`{key}` goes with `files`"));
            fields.push(problem.hint("write `files = \"public\"`, or leave it out"));
        }
    }
    let given = fields.given(way)?;
    match way {
        way if way == keys::REDIRECT.name => RedirectTo::read_with(given, pattern).map(Action::Redirect),
        way if way == keys::RESPOND.name => RespondWith::read_with(given, pattern).map(Action::Respond),
        way if way == keys::FILES.name => {
            let folder = fields.optional(&keys::FILES)?;
            let upstream = match fields.has(keys::UPSTREAM.name) {
                true => Some(upstream(fields, upstreams, used)?),
                false => None,
            };
            Some(Action::Files(Files {
                folder: base.join(folder),
                index: fields.or_if_absent(&keys::INDEX, vec!["index.html".to_owned()])?,
                fallback: fields.optional(&keys::FALLBACK),
                cache: fields.or_if_absent(&keys::CACHE, Cache::Unsaid)?,
                upstream,
            }))
        }
        _ => upstream(fields, upstreams, used).map(Action::Upstream),
    }
}

fn upstream(fields: &Fields<'_>, upstreams: &Upstreams<'_>, used: &mut Used) -> Option<UpstreamId> {
    let name = fields.optional(&keys::UPSTREAM);
    let upstream = name.as_ref().and_then(|name| find(fields, name, upstreams));
    used.note(name, upstreams);
    upstream
}

/// What a route changes on the way.
fn edits(fields: &Fields<'_>, path: Option<&PathPattern>) -> Option<Edits> {
    let pattern = match path {
        Some(PathPattern::Regex(pattern)) => Some(pattern),
        _ => None,
    };
    let mut edits = Edits::default();
    if let Some(given) = fields.given(keys::REQUEST_HEADERS.name) {
        (edits.request, edits.host) = keys::REQUEST_HEADERS.kind.read_with(given, pattern)?;
    }
    if let Some(given) = fields.given(keys::RESPONSE_HEADERS.name) {
        (edits.response, _) = keys::RESPONSE_HEADERS.kind.read_with(given, pattern)?;
    }
    if fields.or_default(&keys::STRIP) {
        edits.path = Some(PathEdit::Prefix(String::new()));
    }
    if let Some(given) = fields.given(keys::REWRITE.name) {
        if edits.path.is_some() {
            let problem = Problem::error(
                fields.span_of(keys::REWRITE.name),
                "`strip` and `rewrite` change the same path",
            );
            fields.push(problem.hint("`rewrite = { prefix = \"/v2\" }` strips the prefix already"));
        }
        edits.path = RewritePath::read_with(given, pattern);
    }
    let is_prefix = matches!(path, Some(PathPattern::Prefix(_)) | None);
    if matches!(edits.path, Some(PathEdit::Prefix(_))) && !is_prefix {
        let key = if fields.has(keys::REWRITE.name) { keys::REWRITE.name } else { keys::STRIP.name };
        fields.push(
            Problem::error(fields.span_of(key), "there is no prefix here to take away")
                .hint("it goes with `path`; behind `regex` write `rewrite = \"/{1}\"`"),
        );
        edits.path = None;
    }
    let has_files = fields.has(keys::FILES.name);
    let changes_requests =
        (edits.path.is_some() && !has_files) || edits.host.is_some() || !edits.request.is_empty();
    if changes_requests && !fields.has(keys::UPSTREAM.name) {
        let keys = [keys::STRIP.name, keys::REWRITE.name, keys::REQUEST_HEADERS.name];
        let key = keys.into_iter().find(|key| fields.has(key)).unwrap_or_default();
        fields.push(
            Problem::error(fields.span_of(key), format!("`{key}` is for nodes, and this route asks none"))
                .hint("leave it out, or answer by an `upstream`"),
        );
    }
    Some(edits)
}

fn name_of(host: &HostPattern) -> String {
    match host {
        HostPattern::Exact(name) => name.clone(),
        HostPattern::Wildcard(suffix) => format!("*{suffix}"),
        HostPattern::Any => String::new(),
    }
}

/// Two paths with the same text are the same.
fn text_of(path: &PathPattern) -> String {
    match path {
        PathPattern::Exact(path) => format!("= {path}"),
        PathPattern::Regex(pattern) => format!("~ {}", pattern.written()),
        PathPattern::Prefix(path) => path.clone(),
    }
}

fn find(fields: &Fields<'_>, name: &str, upstreams: &Upstreams<'_>) -> Option<UpstreamId> {
    if upstreams.named.iter().any(|upstream| upstream.name == name) {
        return upstreams.read.iter().position(|upstream| upstream.name == name).map(UpstreamId);
    }
    let names: Vec<&str> = upstreams.named.iter().map(|upstream| upstream.name).collect();
    let hint = match (nearest(name, names.iter().copied()), &names[..]) {
        (Some(meant), _) => format!("did you mean \"{meant}\"?"),
        (None, []) => format!("write one: `[upstream.{name}]`, and `nodes = [\"127.0.0.1:3000\"]` under it"),
        (None, names) => format!("there is \"{}\"", names.join("\", \"")),
    };
    fields.push(
        Problem::error(fields.span_of(keys::UPSTREAM.name), format!("there is no upstream \"{name}\""))
            .hint(hint),
    );
    None
}

impl Used {
    fn note(&mut self, name: Option<String>, upstreams: &Upstreams<'_>) {
        match name.filter(|name| upstreams.named.iter().any(|upstream| upstream.name == name)) {
            Some(name) => {
                self.names.insert(name);
            }
            None => self.is_one_astray = true,
        }
    }

    fn warn_of_others(&self, upstreams: &Upstreams<'_>) {
        // A route that misses its upstream may well mean the one that seems unused.
        if self.is_one_astray {
            return;
        }
        for upstream in upstreams.named.iter().filter(|upstream| !self.names.contains(upstream.name)) {
            let message = format!("no route uses the upstream `{}`", upstream.name);
            upstream.push(
                Problem::warning(upstream.span.clone(), message).hint(format!(
                    "send something there: `upstream = \"{}\"` in a `[[route]]`",
                    upstream.name
                )),
            );
        }
    }
}

fn twice(fields: &Fields<'_>, first: Option<Range<usize>>) {
    let problem = Problem::error(fields.span.clone(), "a route has the same host and path already")
        .hint("one of them would never be used; change its host or path, or leave it out");
    fields.push(match first {
        Some(first) => problem.related(first, "this one"),
        None => problem,
    });
}

/// Sorts the most specific first: an exact host, the longest wildcard, no host; an exact path, regular expressions in the
/// order of the file, the longest prefix; then a route that names its methods or listens.
fn specificity(route: &Route) -> (u8, Reverse<usize>, u8, Reverse<usize>, bool, bool) {
    let (rank, host_bytes) = match &route.host {
        HostPattern::Exact(_) => (0, 0),
        HostPattern::Wildcard(suffix) => (1, suffix.len()),
        HostPattern::Any => (2, 0),
    };
    let (kind, path_bytes) = match &route.path {
        PathPattern::Exact(_) => (0, 0),
        PathPattern::Regex(_) => (1, 0),
        PathPattern::Prefix(path) => (2, path.len()),
    };
    (
        rank,
        Reverse(host_bytes),
        kind,
        Reverse(path_bytes),
        route.methods == Methods::ALL,
        route.ports.is_empty(),
    )
}
