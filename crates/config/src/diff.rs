//! What has to be done when one plan takes the place of another. Pure: compares, and touches nothing.
//! Order alone is no difference: two plans with nothing between them serve the same.
//!
//! What the plan only points at is not compared: a certificate may have changed in its file, a name may mean another
//! address.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::app::App;
use crate::file::declare::{Difference, texts};
use crate::file::sections::app::APP;
use crate::file::sections::drain::DRAIN;
use crate::file::sections::limits::LIMITS;
use crate::file::sections::log::LOG;
use crate::file::sections::resolver::RESOLVER;
use crate::file::sections::timeouts::TIMEOUTS;
use crate::file::sections::upstream::UPSTREAM;
use crate::plan::{ERROR_PAGES, FILE, Listen, NodeSpec, Plan, STICKY_SECRET, TRUSTED_PROXIES, Upstream};

mod routes;
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
    /// What is said of each route that comes, goes or changes, and of their order where that means something.
    pub routes: Vec<String>,
    /// Whether [`Plan::error_pages`] differ.
    pub error_pages: bool,
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
    /// Whether [`Plan::sticky_secret`] differ: what was made under one that is gone is believed no more.
    pub sticky_secret: bool,
    /// Whether [`watch`](crate::plan::Admin::watch) differs.
    pub watch: bool,
    /// Whether [`Plan::resolver`] differs.
    pub resolver: bool,
    /// Keys that differ and cannot be applied while tidelock runs, as the file spells them: `workers`,
    /// `admin.socket`.
    pub needs_restart: Vec<String>,
    /// What is said of the keys and tables of which the fields above only say that something differs.
    changed: Vec<Difference>,
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
    /// The upstream as a whole, in both plans.
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
    /// The value in the plan in force.
    pub old: T,
    /// The value in the plan that takes its place.
    pub new: T,
}

/// Compares both plans part by part; neither is changed, and nothing is looked up.
pub fn diff(old: &Plan, new: &Plan) -> Diff {
    let mut said = old.differences(new);
    FILE.section.sort(&mut said, |part| part.name);
    let said = said.into_iter().flat_map(|part| match part.name {
        // These are compared one by one, or as what they mean.
        "listens" | "upstreams" | "apps" | "routes" | "route_tables" => Vec::new(),
        "timeouts" => Difference::of_table(part.name, old.timeouts.differences(&new.timeouts)),
        "acme" => Difference::of_table(part.name, old.acme.differences(&new.acme)),
        _ => vec![part],
    });
    let (later, changed): (Vec<_>, Vec<_>) = said.partition(|part| part.needs_restart);
    let differs = |name: &str| changed.iter().any(|part| part.name == name);
    Diff {
        listens: Listens::between(&old.listens, &new.listens),
        upstreams: Upstreams::between(&old.upstreams, &new.upstreams),
        apps: Apps::between(&old.apps, &new.apps),
        routes: routes::lines(old, new),
        error_pages: differs(ERROR_PAGES.name),
        timeouts: differs(TIMEOUTS.name),
        limits: differs(LIMITS.name),
        log: differs(LOG.name),
        drain: differs(DRAIN.name),
        trusted_proxies: differs(TRUSTED_PROXIES.name),
        sticky_secret: differs(STICKY_SECRET.name),
        watch: old.admin.watch != new.admin.watch,
        resolver: differs(RESOLVER.name),
        needs_restart: later.into_iter().map(|part| part.text).collect(),
        changed,
    }
}

impl Diff {
    /// Whether a reload by it would change nothing that runs.
    pub fn is_empty(&self) -> bool {
        self.listens.is_empty()
            && self.upstreams.is_empty()
            && self.apps.is_empty()
            && self.needs_restart.is_empty()
            && self.changed.is_empty()
            && self.routes.is_empty()
    }

    /// The keys that differ, without the nodes, which are compared one by one.
    fn parts(&self) -> Vec<&str> {
        // Behind "changed" nobody has to be told that it is another one.
        let changed = self.changed.iter().map(|part| &*part.text);
        changed.map(|text| text.strip_prefix("other ").unwrap_or(text)).collect()
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

    /// Whether each listen is the same in both plans. Their order may differ.
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

    /// Whether each app is the same in both plans, down to keys that only its next process notices.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }
}

/// What is different between two apps of one name.
fn app_parts(Changed { old, new }: &Changed<Arc<App>>) -> Vec<Difference> {
    let mut parts = old.differences(new);
    // Without what its variables hold, the command may be shown the same.
    parts.retain(|part| part.name != "shown");
    for part in &mut parts {
        if let ("watch", Some(old), Some(new)) = (part.name, &old.watch, &new.watch) {
            part.text = texts(&Difference::of_table(part.name, old.differences(new)));
        }
    }
    APP.section.sort(&mut parts, |part| part.name);
    parts
}

impl UpstreamChange {
    fn between(upstream: Changed<Arc<Upstream>>) -> Option<Self> {
        let nodes = Nodes::between(&upstream.old.nodes, &upstream.new.nodes);
        let change = Self { upstream, nodes };
        (!change.nodes.is_empty() || !change.parts().is_empty()).then_some(change)
    }

    /// The keys that differ, without the nodes, which are compared one by one.
    fn parts(&self) -> Vec<Difference> {
        let Changed { old, new } = &self.upstream;
        let mut parts = old.differences(new);
        parts.retain(|part| part.name != "nodes");
        for part in &mut parts {
            if part.name == TIMEOUTS.name {
                let keys = old.timeouts.differences(&new.timeouts);
                part.text = texts(&Difference::of_table(part.name, keys));
            }
        }
        UPSTREAM.section.sort(&mut parts, |part| part.name);
        parts
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

#[cfg(test)]
mod tests;
