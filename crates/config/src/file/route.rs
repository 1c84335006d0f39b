//! Reads `[[route]]`.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::Range;

use super::fields::Fields;
use super::keys;
use crate::plan::{HostPattern, Route, Upstream, UpstreamId};
use crate::problem::Problem;
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

/// Reads every route, and puts the most specific first. Routes that cannot be read are left out, and have been told
/// then; so have upstreams that no route uses.
pub(crate) fn read(root: &Fields<'_>, upstreams: &Upstreams<'_>) -> Vec<Route> {
    let mut seen: Vec<(HostPattern, String, Option<Range<usize>>)> = Vec::new();
    let mut used = Used::default();
    let mut routes = Vec::new();
    for fields in root.many(&keys::ROUTE) {
        // A host that cannot be read is not every host.
        let host = fields.or_if_absent(&keys::HOST, HostPattern::Any);
        let path = fields.or_if_absent(&keys::PATH, "/".to_owned());
        let paths = fields.or_default(&keys::PATHS);
        let name = fields.required(&keys::ROUTE_UPSTREAM);
        let upstream = name.as_ref().and_then(|name| find(&fields, name, upstreams));
        used.note(name, upstreams);
        let (Some(host), Some(path)) = (host, path) else { continue };
        if let Some((.., first)) =
            seen.iter().find(|(host_of, path_of, _)| (host_of, path_of) == (&host, &path))
        {
            twice(&fields, first.clone());
            continue;
        }
        seen.push((host.clone(), path.clone(), fields.span.clone()));
        routes.extend(upstream.map(|upstream| Route { host, path, paths, upstream }));
    }
    used.warn_of_others(upstreams);
    routes.sort_by_key(specificity);
    routes
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
        Problem::error(fields.span_of(keys::ROUTE_UPSTREAM.name), format!("there is no upstream \"{name}\""))
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

/// Sorts the most specific first: an exact host, the longest wildcard, no host; then the longest path.
fn specificity(route: &Route) -> (u8, Reverse<usize>, Reverse<usize>) {
    let (rank, host_bytes) = match &route.host {
        HostPattern::Exact(_) => (0, 0),
        HostPattern::Wildcard(suffix) => (1, suffix.len()),
        HostPattern::Any => (2, 0),
    };
    (rank, Reverse(host_bytes), Reverse(route.path.len()))
}
