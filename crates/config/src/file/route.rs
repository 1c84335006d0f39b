//! Reads `[[route]]`.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;

use self::action::action;
use self::edits::{edits, intercepts, timeouts, warn_of_preflights};
use self::takes::{Takes, path, ports, specificity, twice};
use self::upstreams::Used;
use super::fields::Fields;
use super::sections::route as keys;
use crate::plan::{self, Listen, UpstreamId};
use crate::problem::Problem;
use crate::routing::{
    Access, Action, Edits, ErrorPages, HostPattern, KeptIds, Methods, PathPattern, PathRule, RequestIds,
    Route,
};

mod action;
mod edits;
mod takes;
mod upstreams;

pub(crate) use self::upstreams::Upstreams;

/// What decides on the paths that a route takes where it does not say.
#[derive(Default)]
struct Paths {
    /// The numbers of the routes that do not say.
    unsaid: HashSet<usize>,
    /// Hosts that keep something from somebody.
    protected: HashSet<String>,
}

/// Reads every route, and puts the most specific first. Routes that cannot be read are left out, and have been told
/// then; so have upstreams that no route uses.
pub(crate) fn read(
    root: &Fields<'_>,
    (upstreams, pages): (&Upstreams<'_>, &ErrorPages),
    listens: &[Listen],
    base: &Path,
) -> Vec<Route> {
    let mut seen: HashMap<Takes, Option<Range<usize>>> = HashMap::new();
    let mut used = Used::default();
    let mut paths = Paths::default();
    let mut routes = Vec::new();
    let allowed: Arc<[IpNet]> = root.or_default(&plan::MAINTENANCE_ALLOW).into();
    let is_closed = root.or_default(&plan::MAINTENANCE);
    upstreams::of_pages(root, pages, upstreams, &mut used);
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
        let timeouts = timeouts(&fields, action.as_ref(), upstreams).map(Arc::new);
        let base_of = |UpstreamId(number)| upstreams.read.get(number).map(|upstream| upstream.base.clone());
        let node_base = action.as_ref().and_then(Action::upstream).and_then(base_of).unwrap_or_default();
        let own_pages = fields.optional(&keys::ERROR_PAGES);
        if let Some(own) = &own_pages {
            upstreams::of_pages(&fields, own, upstreams, &mut used);
        }
        let own_pages = own_pages.map(|own| Arc::new(own.before(pages)));
        let intercepts = intercepts(&fields, action.as_ref(), own_pages.as_ref(), pages);
        let edits = edits(&fields, path.as_ref());
        let edits = edits.map(|edits| Edits { timeouts, base: node_base, intercepts, ..edits });
        if !fields.has(keys::PATHS.name) {
            paths.unsaid.insert(number);
        }
        warn_of_preflights(&fields, methods);
        let is_closed = fields.optional(&keys::MAINTENANCE).unwrap_or(is_closed);
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
            access: access(&fields),
            maintenance: is_closed.then(|| allowed.clone()),
            error_pages: own_pages,
            is_straight: false,
            number,
        };
        let (Some(hosts), Some(path), Some(methods), Some(ports)) = (hosts, path, methods, ports) else {
            continue;
        };
        for host in hosts {
            let takes = Takes { host: host.written(), path: path.written(), methods, ports: ports.clone() };
            if let Some(first) = seen.get(&takes) {
                twice(&fields, first.clone());
                continue;
            }
            seen.insert(takes, fields.span.clone());
            let Some(action) = action.clone() else { continue };
            if is_a_refusal(&action) || route.access.is_some() {
                paths.protected.insert(host.written());
            }
            routes.push(whole(Route { host, path: path.clone(), action, ..route.clone() }));
        }
    }
    used.warn_of_others(upstreams);
    paths.decide(&mut routes);
    routes.sort_by_key(specificity);
    routes
}

/// With what follows from its parts.
fn whole(mut route: Route) -> Route {
    if route.tells_ids() {
        let edits = route.edits.get_or_insert_default();
        edits.request_ids.get_or_insert(RequestIds { kept: KeptIds::Trusted, is_sent: false });
    }
    let has_cors = route.edits.as_ref().is_some_and(|edits| edits.policy.cors.is_some());
    route.is_straight = matches!(route.action, Action::Upstream(_))
        && route.access.is_none()
        && route.maintenance.is_none()
        && !has_cors;
    route
}

/// Whose requests are answered, if it says so.
fn access(fields: &Fields<'_>) -> Option<Arc<Access>> {
    let (allow, deny) = (fields.optional(&keys::ALLOW), fields.optional(&keys::DENY));
    if allow.as_ref().is_some_and(Vec::is_empty) {
        let problem = Problem::error(fields.span_of(keys::ALLOW.name), "nobody is allowed here");
        fields.push(problem.hint("leave it out, or write `respond = 403`"));
    }
    if allow.is_none() && deny.as_ref().is_none_or(Vec::is_empty) {
        return None;
    }
    Some(Arc::new(Access { allow: allow.unwrap_or_default(), deny: deny.unwrap_or_default() }))
}

/// Whether a route is there to keep its path from everybody.
fn is_a_refusal(action: &Action) -> bool {
    matches!(action, Action::Respond(respond) if matches!(respond.status, 401 | 403))
}

impl Paths {
    /// Who goes round a refusal by a path that nodes may read in another way does so by any other route of the host.
    fn decide(&self, routes: &mut [Route]) {
        for route in routes {
            if self.unsaid.contains(&route.number) && self.protected.contains(&route.host.written()) {
                route.paths = PathRule::Strict;
            }
        }
    }
}
