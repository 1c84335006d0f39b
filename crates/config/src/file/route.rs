//! What routes a file has: each `[[route]]` with what stands around it. Its keys are read by their declaration.

use std::collections::{HashMap, HashSet};
use std::iter;
use std::ops::Range;
use std::sync::Arc;

use ipnet::IpNet;

use self::action::action;
use self::edits::{base, edits, intercepts, timeouts, warn_of_preflights};
use self::takes::{Order, Takes, matches, path, ports, twice};
use self::upstreams::Used;
use super::fields::Fields;
use super::sections::route::{self as keys, RouteParts, RouteTable};
use crate::plan::{Listen, UpstreamId};
use crate::problem::Problem;
use crate::routing::{
    Access, Action, Auth, Edits, ErrorPages, HostPattern, KeptIds, Limit, Matches, Methods, PathPattern,
    PathRule, RequestIds, Respond, Route, Satisfy,
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

/// The file's routes.
pub(crate) struct Routes {
    /// The most specific first.
    pub(crate) sorted: Vec<Route>,
    /// As the file has them.
    pub(crate) tables: Vec<RouteTable>,
}

/// What stands in the file outside of `[[route]]`, and routes depend on.
pub(crate) struct Around<'f> {
    pub(crate) upstreams: Upstreams<'f>,
    pub(crate) listens: &'f [Listen],
    pub(crate) pages: Arc<ErrorPages>,
    /// Whether routes that say nothing of it are in maintenance.
    pub(crate) is_closed: bool,
    /// Who is answered all the same.
    pub(crate) allowed: Arc<[IpNet]>,
    /// Whether there is a Redis in which limits can be shared.
    pub(crate) has_redis: bool,
}

/// Reads every route. Routes that cannot be read are left out, and have been told then; so have upstreams that no route uses.
pub(crate) fn read(root: &Fields<'_>, around: &Around<'_>) -> Routes {
    let mut seen: HashMap<Takes, Option<Range<usize>>> = HashMap::new();
    let mut used = Used::default();
    let mut paths = Paths::default();
    let mut read = Routes { sorted: Vec::new(), tables: Vec::new() };
    upstreams::of_pages(root, &around.pages, &around.upstreams, &mut used);
    for (number, fields) in (1..).zip(root.many(&keys::ROUTE)) {
        let regex = fields.optional(&keys::REGEX);
        let groups = regex.clone();
        let fields = fields.with_groups(groups.as_ref());
        let table = RouteTable::read(&fields, RouteParts { regex });
        if !fields.has(keys::PATHS.name) {
            paths.unsaid.insert(number);
        }
        for route in routes(&fields, number, &table, around, &mut used) {
            if route.is_side {
                read.sorted.push(whole(route));
                continue;
            }
            let takes = Takes::of(&route);
            if let Some(first) = seen.get(&takes) {
                twice(&fields, first.clone());
                continue;
            }
            seen.insert(takes, fields.span.clone());
            if is_a_refusal(&route.action) || is_guarded(&route) {
                paths.protected.insert(route.host.written());
            }
            read.sorted.push(whole(route));
        }
        read.tables.push(table);
    }
    used.warn_of_others(&around.upstreams);
    paths.decide(&mut read.sorted);
    let order = Order::of(&read.sorted);
    read.sorted.sort_by_key(|route| order.specificity(route));
    read
}

/// The routes that a table makes, one for each host; none if what it takes or does cannot be read.
fn routes(
    fields: &Fields<'_>,
    number: usize,
    table: &RouteTable,
    around: &Around<'_>,
    used: &mut Used,
) -> Vec<Route> {
    // A host that cannot be read is not every host.
    let hosts = fields.said_or(keys::HOST.name, table.host.clone(), vec![HostPattern::Any]);
    let path = path(fields, table);
    let methods = fields.said_or(keys::METHODS.name, table.methods, Methods::ALL);
    let ports = ports(fields, table, around.listens);
    let matches = matches(fields, table);
    let action = action(fields, table, &around.upstreams, used);
    let error_pages = table.error_pages.clone().map(|own| Arc::new(own.before(&around.pages)));
    if let Some(own) = &table.error_pages {
        upstreams::of_pages(fields, own, &around.upstreams, used);
    }
    let pages = error_pages.as_ref().unwrap_or(&around.pages);
    let edits = Edits {
        timeouts: timeouts(fields, table, action.as_ref(), &around.upstreams).map(Arc::new),
        base: base(action.as_ref(), &around.upstreams),
        intercepts: intercepts(fields, table, action.as_ref(), pages),
        ..edits(fields, table, path.as_ref())
    };
    warn_of_preflights(fields, methods);
    let (Some(hosts), Some(path), Some(methods), Some(ports), Some(matches), Some(action)) =
        (hosts, path, methods, ports, matches, action)
    else {
        return Vec::new();
    };
    if let Some(Auth::Ask(ask)) = &table.auth {
        upstreams::of_ask(fields, ask, &around.upstreams, used);
    }
    let split = upstreams::split(fields, table, &around.upstreams);
    let mirror = upstreams::of_mirror(fields, table, &around.upstreams, used).map(Arc::new);
    let access = access(fields, table);
    if let Some(said) = fields
        .given(keys::SATISFY.name)
        .filter(|_| table.satisfy == Satisfy::Any && (access.is_none() || !fields.has(keys::AUTH.name)))
    {
        let hint = "it says whether both have to let a request pass, or one is enough".to_owned();
        said.refuse::<()>("`satisfy` goes with `auth` and `allow` or `deny`", Some(hint));
    }
    let limits = limits(table, &hosts, &path, methods, matches.as_deref());
    if limits.iter().any(|limit| limit.is_shared) && !around.has_redis {
        let message = "this limit is shared, and there is no `[redis]` to count it in";
        let hint = "add `[redis]` with `url = \"redis://127.0.0.1:6379\"`, or leave `shared` out";
        fields.push(Problem::error(fields.span_of(keys::LIMIT.name), message).hint(hint));
    }
    let is_closed = table.maintenance.unwrap_or(around.is_closed);
    let route = |host: &HostPattern| Route {
        host: host.clone(),
        path: path.clone(),
        methods,
        ports: ports.clone(),
        matches: matches.clone(),
        paths: table.paths,
        action: action.clone(),
        edits: (edits != Edits::default()).then(|| Box::new(edits.clone())),
        body_bytes_max: table.body_bytes_max,
        logged: table.access_log,
        access: access.clone(),
        split: split.as_ref().map(|(split, _)| split.clone()),
        is_side: false,
        mirror: mirror.clone(),
        auth: table.auth.clone(),
        satisfy: table.satisfy,
        limits: limits.clone(),
        maintenance: is_closed.then(|| around.allowed.clone()),
        error_pages: error_pages.clone(),
        is_straight: false,
        number,
    };
    // How long its nodes are waited for, and where they stand below their hosts, is another upstream's.
    let side = |host: &HostPattern, upstream: UpstreamId| {
        let action = Action::Upstream(upstream);
        let edits = Edits {
            timeouts: timeouts(fields, table, Some(&action), &around.upstreams).map(Arc::new),
            base: base(Some(&action), &around.upstreams),
            ..edits.clone()
        };
        let edits = (edits != Edits::default()).then(|| Box::new(edits));
        Route { action, edits, split: None, is_side: true, ..route(host) }
    };
    let others = || split.iter().flat_map(|(_, upstreams)| &upstreams[1..]);
    hosts
        .iter()
        .flat_map(|host| {
            iter::once(route(host)).chain(others().map(|id| side(host, *id)).collect::<Vec<_>>())
        })
        .collect()
}

/// With what follows from its parts.
fn whole(mut route: Route) -> Route {
    if route.tells_ids() {
        let edits = route.edits.get_or_insert_default();
        edits.request_ids.get_or_insert(RequestIds { kept: KeptIds::Trusted, is_sent: false });
    }
    if let Some(Auth::Ask(_)) = &route.auth {
        // What it says of the client is told to nodes.
        route.edits.get_or_insert_default();
    }
    let has_cors = route.edits.as_ref().is_some_and(|edits| edits.policy.cors.is_some());
    route.is_straight = matches!(route.action, Action::Upstream(_))
        && route.access.is_none()
        && route.split.is_none()
        && route.mirror.is_none()
        && route.auth.is_none()
        && route.limits.is_empty()
        && route.maintenance.is_none()
        && !has_cors;
    route
}

/// Whose requests are answered, if it says so.
fn access(fields: &Fields<'_>, table: &RouteTable) -> Option<Arc<Access>> {
    let RouteTable { allow, deny, .. } = table;
    if allow.as_ref().is_some_and(Vec::is_empty) {
        let problem = Problem::error(fields.span_of(keys::ALLOW.name), "nobody is allowed here");
        fields.push(problem.hint("leave it out, or write `respond = 403`"));
    }
    if allow.is_none() && deny.as_ref().is_none_or(Vec::is_empty) {
        return None;
    }
    Some(Arc::new(Access {
        allow: allow.clone().unwrap_or_default(),
        deny: deny.clone().unwrap_or_default(),
    }))
}

/// Its limits, each with a name of its own where the file says none: it stays while the file changes around the route.
fn limits(
    table: &RouteTable,
    hosts: &[HostPattern],
    path: &PathPattern,
    methods: Methods,
    matches: Option<&Matches>,
) -> Arc<[Limit]> {
    let hosts = hosts.iter().map(HostPattern::written).collect::<Vec<_>>().join(" ");
    let named = |(number, limit): (usize, &Limit)| match limit.name.is_empty() {
        // A name in the file has no line break.
        true => {
            let path = path.written();
            let matches = matches.map(|matches| format!("{matches:?}")).unwrap_or_default();
            Limit { name: format!("{hosts}\n{path}\n{methods:?}\n{matches}{number}"), ..limit.clone() }
        }
        false => limit.clone(),
    };
    table.limit.iter().flatten().enumerate().map(named).collect()
}

/// Whether a route asks who may, or how often, where another path would not.
fn is_guarded(route: &Route) -> bool {
    let is_root = matches!(&route.path, PathPattern::Prefix(path) if path == "/");
    route.access.is_some() || route.auth.is_some() || (!route.limits.is_empty() && !is_root)
}

/// Whether a route is there to keep its path from everybody.
fn is_a_refusal(action: &Action) -> bool {
    let Action::Respond(respond) = action else { return false };
    matches!(&**respond, Respond::Written(answer) if matches!(answer.status, 401 | 403))
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
