//! Which requests a route takes, and which of several that take the same is asked first.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::file::fields::Fields;
use crate::file::kinds::hosts::written;
use crate::file::kinds::route::ListenAddresses;
use crate::file::sections::route::{self as keys, RouteTable};
use crate::plan::Listen;
use crate::problem::Problem;
use crate::routing::{HostPattern, Matches, Methods, PathPattern, Route};

/// What a route takes, by which two of them are told apart.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Takes {
    host: String,
    path: String,
    methods: Methods,
    ports: Vec<u16>,
    matches: Option<Arc<Matches>>,
}

impl Takes {
    pub(super) fn of(route: &Route) -> Self {
        let Route { host, path, methods, ports, matches, .. } = route;
        let (host, path) = (host.written(), path.written());
        Self { host, path, methods: *methods, ports: ports.clone(), matches: matches.clone() }
    }
}

/// The path, in whichever of three ways it is said.
pub(super) fn path(fields: &Fields<'_>, table: &RouteTable) -> Option<PathPattern> {
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
        Some(name) if *name == keys::EXACT.name => table.exact.clone().map(PathPattern::Exact),
        Some(name) if *name == keys::REGEX.name => table.regex.clone().map(PathPattern::Regex),
        _ => fields.said_or(keys::PATH.name, table.path.clone(), "/".to_owned()).map(PathPattern::Prefix),
    }
}

/// The ports of the listens that a route names.
pub(super) fn ports(fields: &Fields<'_>, table: &RouteTable, listens: &[Listen]) -> Option<Vec<u16>> {
    let addresses = fields.said_or(keys::LISTEN.name, table.listen.clone(), Vec::new())?;
    let listening: Vec<_> = listens.iter().map(|listen| listen.address).collect();
    match ListenAddresses::ports(&addresses, &listening) {
        Ok(ports) => Some(ports),
        Err(message) => {
            let addresses = listens.iter().map(|listen| format!("\"{}\"", written(listen.address)));
            let hint = format!("the file has {}", addresses.collect::<Vec<_>>().join(", "));
            fields.push(Problem::error(fields.span_of(keys::LISTEN.name), message).hint(hint));
            None
        }
    }
}

pub(super) fn twice(fields: &Fields<'_>, first: Option<Range<usize>>) {
    let problem = Problem::error(fields.span.clone(), "a route has the same host and path already")
        .hint("one of them would never be used; change its host or path, or leave it out");
    fields.push(match first {
        Some(first) => problem.related(first, "this one"),
        None => problem,
    });
}

/// What a route wants of header lines and the query; `Some(None)` if nothing.
pub(super) fn matches(fields: &Fields<'_>, table: &RouteTable) -> Option<Option<Arc<Matches>>> {
    let headers = fields.said_or(keys::HEADERS.name, table.headers.clone(), Vec::new())?;
    let query = fields.said_or(keys::QUERY.name, table.query.clone(), Vec::new())?;
    let matches = Matches { headers, query };
    Some((matches != Matches::default()).then(|| Arc::new(matches)))
}

/// Which of several routes is asked first.
pub(super) struct Order {
    /// The number of the first route that has a regular expression, by its host and it.
    patterns: HashMap<(String, String), usize>,
}

/// The least is asked first.
type Specificity = (u8, Reverse<usize>, u8, usize, bool, bool, Reverse<usize>, Reverse<usize>);

impl Order {
    /// Among these, in the order of the file.
    pub(super) fn of(routes: &[Route]) -> Self {
        let mut patterns = HashMap::new();
        for route in routes.iter().filter(|route| matches!(route.path, PathPattern::Regex(_))) {
            patterns.entry((route.host.written(), route.path.written())).or_insert(route.number);
        }
        Self { patterns }
    }

    /// An exact host, the longest wildcard, no host; an exact path, regular expressions in the order of the file, the longest
    /// prefix; then a route that names its methods or listens; then more header lines, and more of the query.
    pub(super) fn specificity(&self, route: &Route) -> Specificity {
        let (rank, host_bytes) = match &route.host {
            HostPattern::Exact(_) => (0, 0),
            HostPattern::Wildcard(suffix) => (1, suffix.len()),
            HostPattern::Any => (2, 0),
        };
        let (kind, path_rank) = match &route.path {
            PathPattern::Exact(_) => (0, 0),
            PathPattern::Regex(_) => {
                (1, *self.patterns.get(&(route.host.written(), route.path.written())).unwrap_or(&0))
            }
            PathPattern::Prefix(path) => (2, usize::MAX - path.len()),
        };
        let matches = route.matches.as_deref();
        (
            rank,
            Reverse(host_bytes),
            kind,
            path_rank,
            route.methods == Methods::ALL,
            route.ports.is_empty(),
            Reverse(matches.map_or(0, |matches| matches.headers.len())),
            Reverse(matches.map_or(0, |matches| matches.query.len())),
        )
    }
}
