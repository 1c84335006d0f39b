//! What has to be done when one plan takes the place of another. Pure: compares, and touches nothing.
//! Order alone is no difference: two plans with nothing between them serve the same.
//!
//! What the plan only points at is not compared: a certificate may have changed in its file, a name may mean another
//! address.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::app::App;
use crate::plan::{Admin, Listen, NodeSpec, Plan, Upstream, UpstreamId};
use crate::routing::{Action, Files, PathPattern, Route};

mod say;

/// What is different in the new plan. Its `Display` says it in a line for each thing, without a line feed at the end.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diff {
    /// Addresses to open, to close, or to speak otherwise on.
    pub listens: Listens,
    /// Pools of nodes that come, go or change, by name.
    pub upstreams: Upstreams,
    /// Apps to start, to stop, or to run otherwise, by name.
    pub apps: Apps,
    /// Whether some request now goes to an upstream of another name, or to none.
    pub routes: bool,
    /// Whether [`Plan::timeouts`] differ. Upstreams that inherit them are among the changed ones.
    pub timeouts: bool,
    /// Whether [`Plan::limits`] differ.
    pub limits: bool,
    /// Whether [`Plan::log`] differs.
    pub log: bool,
    /// Whether [`Plan::drain`] differs.
    pub drain: bool,
    /// Whether [`Plan::trusted_proxies`] differ.
    pub trusted_proxies: bool,
    /// Whether [`Plan::sticky_secrets`] differ: what was made under one that is gone is believed no more.
    pub sticky_secret: bool,
    /// Whether [`Admin::watch`] differs.
    pub watch: bool,
    /// Whether [`Plan::resolver`] differs.
    pub resolver: bool,
    /// Keys that differ and cannot be applied while tidelock runs, as the file spells them: `workers`,
    /// `admin.socket`.
    pub needs_restart: Vec<&'static str>,
}

/// The listens that differ. One is the same if it has the same address; of several at the same address, which must
/// have port 0, the first is the same as the first, and so on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listens {
    /// Those to open, in the new plan's order.
    pub added: Vec<Listen>,
    /// Those to close, in the old plan's order.
    pub removed: Vec<Listen>,
    /// Those at an address that stays open, the bytes of which are treated otherwise.
    pub changed: Vec<Changed<Listen>>,
    /// For each of the new plan's listens, the index of the old plan's that is already open at its address. Says
    /// which of several at port 0 is meant; holds no difference by itself.
    pub open: Vec<Option<usize>>,
}

/// The upstreams that differ; one is the same if it has the same name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Upstreams {
    /// Those that only the new plan has, in its order.
    pub added: Vec<Arc<Upstream>>,
    /// Those that only the old plan has, in its order.
    pub removed: Vec<Arc<Upstream>>,
    /// Those that both have, but not alike, in the new plan's order.
    pub changed: Vec<UpstreamChange>,
}

/// The apps that differ; one is the same if it has the same name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Apps {
    /// Those that only the new plan has, in its order.
    pub added: Vec<Arc<App>>,
    /// Those that only the old plan has, in its order: their processes are emptied and stopped.
    pub removed: Vec<Arc<App>>,
    /// Those that both have, but not alike, in the new plan's order: rolled, if more than their number changed.
    pub changed: Vec<Changed<Arc<App>>>,
}

/// An upstream that both plans have, with at least one difference.
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamChange {
    /// All of it.
    pub upstream: Changed<Arc<Upstream>>,
    /// Its nodes that differ; none do if only its other keys do.
    pub nodes: Nodes,
}

/// The nodes that differ in one upstream; one is the same if it is written the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes {
    /// Those that only the new plan has, in its order.
    pub added: Vec<NodeSpec>,
    /// Those that only the old plan has, in its order: they are to be drained.
    pub removed: Vec<NodeSpec>,
    /// Those with another weight or other bounds, or that became a backup or ceased to be one, in the new plan's order.
    pub changed: Vec<Changed<NodeSpec>>,
}

/// Something that both plans have, but not alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed<T> {
    /// As it was.
    pub old: T,
    /// As it is to be.
    pub new: T,
}

/// What is different in `new`.
pub fn diff(old: &Plan, new: &Plan) -> Diff {
    // Taken apart, so that a part that a plan gets later is not forgotten here.
    let Plan {
        workers,
        listens,
        routes: _,
        upstreams,
        apps,
        trusted_proxies,
        sticky_secrets,
        limits,
        timeouts,
        log,
        drain,
        admin: Admin { socket, watch },
        resolver,
    } = old;
    let restart = [("workers", *workers != new.workers), ("admin.socket", *socket != new.admin.socket)];
    Diff {
        listens: Listens::between(listens, &new.listens),
        upstreams: Upstreams::between(upstreams, &new.upstreams),
        apps: Apps::between(apps, &new.apps),
        routes: !are_routes_alike(old, new),
        timeouts: *timeouts != new.timeouts,
        limits: *limits != new.limits,
        log: *log != new.log,
        drain: *drain != new.drain,
        trusted_proxies: *trusted_proxies != new.trusted_proxies,
        sticky_secret: *sticky_secrets != new.sticky_secrets,
        watch: *watch != new.admin.watch,
        resolver: *resolver != new.resolver,
        needs_restart: restart.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect(),
    }
}

impl Diff {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.listens.is_empty()
            && self.upstreams.is_empty()
            && self.apps.is_empty()
            && self.needs_restart.is_empty()
            && self.parts().all(|(_, differs)| !differs)
    }

    /// What is only known to differ or not, as the file calls it.
    fn parts(&self) -> impl Iterator<Item = (&'static str, bool)> {
        [
            ("routes", self.routes),
            ("timeouts", self.timeouts),
            ("limits", self.limits),
            ("log", self.log),
            ("drain", self.drain),
            ("trusted_proxies", self.trusted_proxies),
            ("sticky_secret", self.sticky_secret),
            ("admin.watch", self.watch),
            ("resolver", self.resolver),
        ]
        .into_iter()
    }
}

impl Listens {
    fn between(old: &[Listen], new: &[Listen]) -> Self {
        let mut unmatched: HashMap<SocketAddr, VecDeque<usize>> = HashMap::new();
        for (index, listen) in old.iter().enumerate() {
            unmatched.entry(listen.address).or_default().push_back(index);
        }
        let mut listens = Self::default();
        for listen in new {
            let open = unmatched.get_mut(&listen.address).and_then(VecDeque::pop_front);
            match open.and_then(|index| old.get(index)) {
                Some(before) if before == listen => {}
                Some(before) => listens.changed.push(Changed { old: before.clone(), new: listen.clone() }),
                None => listens.added.push(listen.clone()),
            }
            listens.open.push(open);
        }
        let mut left: Vec<usize> = unmatched.into_values().flatten().collect();
        left.sort_unstable();
        listens.removed = left.into_iter().filter_map(|index| old.get(index).cloned()).collect();
        listens
    }

    /// Whether each listen is the same in both plans.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Upstreams {
    fn between(old: &[Arc<Upstream>], new: &[Arc<Upstream>]) -> Self {
        let Sorted { added, removed, both } = sort(old, new, |upstream| &*upstream.name);
        let changed = both.into_iter().filter_map(UpstreamChange::between).collect();
        Self { added, removed, changed }
    }

    /// Whether each upstream is the same in both plans.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

impl Apps {
    fn between(old: &[Arc<App>], new: &[Arc<App>]) -> Self {
        let Sorted { added, removed, mut both } = sort(old, new, |app| &*app.name);
        both.retain(|app| app.old != app.new);
        Self { added, removed, changed: both }
    }

    /// Whether each app is the same in both plans.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What is different between two apps of one name, as the file calls it.
fn app_parts(Changed { old, new }: &Changed<Arc<App>>) -> impl Iterator<Item = (&'static str, bool)> {
    // Taken apart, so that a part that an app gets later is not forgotten here.
    let App {
        name: _,
        command,
        cwd,
        env,
        env_file,
        user,
        group,
        no_new_privs,
        instances,
        port,
        ports,
        socket,
        ready,
        stop,
        restart,
        memory_max,
        cron,
        watch,
        logs,
    } = &**old;
    [
        ("command", *command != new.command),
        ("cwd", *cwd != new.cwd),
        ("env", *env != new.env),
        ("env_file", *env_file != new.env_file),
        ("user", *user != new.user),
        ("group", *group != new.group),
        ("no_new_privs", *no_new_privs != new.no_new_privs),
        ("instances", *instances != new.instances),
        ("port", *port != new.port),
        ("ports", *ports != new.ports),
        ("socket", *socket != new.socket),
        ("ready", *ready != new.ready),
        ("stop", *stop != new.stop),
        ("restart", *restart != new.restart),
        ("memory_max", *memory_max != new.memory_max),
        ("cron", *cron != new.cron),
        ("watch", *watch != new.watch),
        ("logs", *logs != new.logs),
    ]
    .into_iter()
}

impl UpstreamChange {
    fn between(upstream: Changed<Arc<Upstream>>) -> Option<Self> {
        let nodes = Nodes::between(&upstream.old.nodes, &upstream.new.nodes);
        let change = Self { upstream, nodes };
        let is_alike = change.nodes.is_empty() && change.parts().all(|(_, differs)| !differs);
        (!is_alike).then_some(change)
    }

    /// What is not its nodes, as the file calls it.
    fn parts(&self) -> impl Iterator<Item = (&'static str, bool)> {
        let Changed { old, new } = &self.upstream;
        // The name is what they were matched by.
        let Upstream {
            name: _,
            nodes: _,
            app,
            sticky,
            balance,
            rebalance,
            host,
            pass_headers,
            timeouts,
            try_timeout,
            health,
            outliers,
            admission,
        } = &**old;
        [
            ("app", *app != new.app),
            ("sticky", *sticky != new.sticky),
            ("balance", *balance != new.balance),
            ("rebalance", *rebalance != new.rebalance),
            ("host", *host != new.host),
            ("pass_headers", *pass_headers != new.pass_headers),
            ("timeouts", *timeouts != new.timeouts),
            ("try_timeout", *try_timeout != new.try_timeout),
            ("health", *health != new.health),
            ("outliers", *outliers != new.outliers),
            ("admission", *admission != new.admission),
        ]
        .into_iter()
    }
}

impl Nodes {
    fn between(old: &[NodeSpec], new: &[NodeSpec]) -> Self {
        let Sorted { added, removed, mut both } = sort(old, new, |node| &*node.written);
        both.retain(|node| node.old != node.new);
        Self { added, removed, changed: both }
    }

    /// Whether each node is the same in both plans.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

struct Sorted<T> {
    added: Vec<T>,
    removed: Vec<T>,
    both: Vec<Changed<T>>,
}

/// Puts what has the same key together; no key may be twice on one side.
fn sort<T: Clone>(old: &[T], new: &[T], key: impl Fn(&T) -> &str) -> Sorted<T> {
    let mut before: HashMap<&str, &T> = old.iter().map(|old| (key(old), old)).collect();
    let mut sorted = Sorted { added: Vec::new(), removed: Vec::new(), both: Vec::new() };
    for new in new {
        match before.remove(key(new)) {
            Some(old) => sorted.both.push(Changed { old: old.clone(), new: new.clone() }),
            None => sorted.added.push(new.clone()),
        }
    }
    sorted.removed = old.iter().filter(|old| before.contains_key(key(old))).cloned().collect();
    sorted
}

/// Whether every request is answered in the same way. Upstreams are the same by their name, for their ids mean something
/// else in every plan. The order of routes follows from what they match, and no two match the same, but that of regular
/// expressions, which is that of the file.
fn are_routes_alike(old: &Plan, new: &Plan) -> bool {
    let before: Vec<Resolved<'_>> = resolved(old).collect();
    let patterns = |plan: &Plan| {
        let patterns = plan.routes.iter().filter_map(|route| match &route.path {
            PathPattern::Regex(pattern) => Some((route.host.clone(), pattern.clone())),
            PathPattern::Exact(_) | PathPattern::Prefix(_) => None,
        });
        patterns.collect::<Vec<_>>()
    };
    old.routes.len() == new.routes.len()
        && resolved(new).all(|route| before.contains(&route))
        && patterns(old) == patterns(new)
}

/// A route, but for its place in the file, and the name of its upstream in the place of the id.
type Resolved<'p> = (Route, Option<&'p str>);

fn resolved(plan: &Plan) -> impl Iterator<Item = Resolved<'_>> {
    let name = |UpstreamId(index): UpstreamId| plan.upstreams.get(index).map(|upstream| &*upstream.name);
    plan.routes.iter().map(move |route| {
        let upstream = route.action.upstream();
        let action = match &route.action {
            Action::Upstream(_) => Action::Upstream(UpstreamId(0)),
            Action::Files(files) => {
                Action::Files(Files { upstream: files.upstream.map(|_| UpstreamId(0)), ..files.clone() })
            }
            other => other.clone(),
        };
        (Route { number: 0, action, ..route.clone() }, upstream.and_then(name))
    })
}

#[cfg(test)]
mod tests;
