//! What the workers and the control thread share, and the snapshot of it that a request works with.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use config::app;
use config::limits::Limits;
use config::plan::{self, Listen, PathRule, Plan, Scheme, UpstreamId};
use config::roster::{Instance, Roster};
use config::routing::{Access, Action, Route};
use wire::request::RequestHead;
use wire::tag::Key;
use wire::{HeadBounds, Malformed};

use crate::fault::{ClientFault, Fault, OurFault};
use crate::net::memory::Memory;
use crate::net::node_tls::ClientTls;
use crate::net::passwords::Verifier;
use crate::net::rates::Rates;
use crate::net::shared_rates::SharedRates;
use crate::net::tls::{ServerTls, Store};
use crate::observe::access::{self, Sink};
use crate::observe::counters::Counters;
use crate::observe::lifecycle::Drain;
use crate::observe::routes::RouteNames;
use crate::state::route::{Asks, Routes};
use crate::upstream::Upstream;
use crate::upstream::cookie_names;
use crate::upstream::gone::Gone;
use crate::upstream::health::ProbeQueue;
use crate::upstream::node::Observed;
use crate::upstream::route_number::RouteNumber;

/// Shared by all threads for the life of the process.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshot: Arc<ArcSwap<Snapshot>>,
    pub(crate) log: Arc<ArcSwap<Sink>>,
    /// Lines of the access log that its place did not take.
    pub(crate) log_unwritten: access::Unwritten,
    pub(crate) probe_queue: ProbeQueue,
    pub(crate) drain: Drain,
    pub(crate) memory: Arc<Memory>,
    /// What the apps have running, by name. Only the control thread looks at it, whenever it makes a snapshot.
    pub(crate) instances: Mutex<Instances>,
    /// What limits of routes remember of whom. It outlives every plan.
    pub(crate) rates: Arc<Rates>,
    /// Where limits are counted that other tidelocks have, too.
    pub(crate) shared_rates: SharedRates,
    /// Whose passwords are right.
    pub(crate) verifier: Verifier,
    /// One for each worker, in their order.
    pub(crate) counters: Vec<Arc<Counters>>,
    /// As what routes are counted.
    pub(crate) route_names: RouteNames,
    /// What instances have counted that are gone. Only the control thread looks at it.
    pub(crate) gone: Mutex<Gone>,
}

/// What each app has running.
pub(crate) type Instances = HashMap<String, Running>;

/// What an app has running.
#[derive(Debug, Default)]
pub(crate) struct Running {
    /// Those that can be reached.
    pub(crate) instances: Vec<Instance>,
    /// Nothing more runs by itself.
    pub(crate) is_stopped: bool,
}

/// How each upstream speaks TLS with its nodes, in the plan's order; none where that is left out.
pub(crate) type NodesTls = Vec<Option<Arc<ClientTls>>>;

/// How clients and nodes are spoken with under a plan, beside what stands in the plan itself.
#[derive(Debug, Default)]
pub(crate) struct Sides {
    /// Those that the plan has, and others that are being closed.
    pub(crate) listens: Vec<ListenNow>,
    /// One for each upstream, in the plan's order.
    pub(crate) nodes: NodesTls,
}

/// The plan with everything that is made from it, at one moment. A request takes one and sees no other.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) plan: Arc<Plan>,
    routes: Arc<Routes>,
    /// As what each of them is counted; empty before it is in force.
    route_numbers: Arc<[RouteNumber]>,
    /// In the plan's order.
    pub(crate) upstreams: Vec<Upstream>,
    /// What tags and pins are made and proved with; never empty. The first one signs.
    keys: Arc<[Key]>,
    /// With those that the last reload has closed.
    listens: Arc<Vec<ListenNow>>,
    /// Where the answers to the challenges of an ACME authority are, if one is asked for certificates.
    pub(crate) challenges: Option<PathBuf>,
}

/// A listen that is open, whatever its address: several may have port 0 in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ListenId(pub(crate) u64);

/// How a listen speaks at this moment.
#[derive(Debug, Clone)]
pub(crate) struct ListenNow {
    pub(crate) id: ListenId,
    pub(crate) scheme: Scheme,
    /// Each connection begins with a PROXY header.
    pub(crate) is_proxied: bool,
    /// HTTP/2 is spoken beside HTTP/1: by ALPN where there is TLS, and else by who knows it beforehand.
    pub(crate) http2: bool,
    pub(crate) tls: Option<ServerTls>,
    /// Whose connections are taken, if not everybody's.
    pub(crate) access: Option<Arc<Access>>,
}

impl ListenNow {
    pub(crate) fn new(id: ListenId, listen: &Listen, tls: Option<ServerTls>) -> Self {
        Self {
            id,
            scheme: listen.scheme.clone(),
            is_proxied: listen.proxy_protocol,
            http2: listen.http2,
            tls,
            access: listen.access().map(Arc::new),
        }
    }
}

impl Shared {
    /// Puts `next` in the place of the snapshot in force, which it returns. From now on nodes are what `next` says.
    pub(crate) fn publish(&self, mut next: Snapshot) -> Arc<Snapshot> {
        let before = self.snapshot.load_full();
        next.route_numbers = match Arc::ptr_eq(&before.plan, &next.plan) && !before.route_numbers.is_empty() {
            true => before.route_numbers.clone(),
            false => self.route_names.numbers(&next.plan),
        };
        for upstream in &next.upstreams {
            upstream.take_effect(before.upstream(&upstream.plan.name));
        }
        tell(&next, &self.instances());
        let here: HashSet<_> =
            next.upstreams.iter().flat_map(Upstream::nodes).map(|node| node.number).collect();
        let was_here = before.upstreams.iter().flat_map(Upstream::nodes);
        self.gone().note(was_here, |node| here.contains(&node.number));
        self.snapshot.store(Arc::new(next));
        before
    }

    pub(crate) fn gone(&self) -> MutexGuard<'_, Gone> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts where `plan` says what other tidelocks count, too. `ca`: the authorities of that Redis, as PEM.
    pub(crate) fn share_rates(&self, plan: &Plan, ca: Option<Vec<u8>>) {
        let is_used = plan.routes.iter().flat_map(|route| &*route.limits).any(|limit| limit.is_shared);
        self.shared_rates.follow_plan(&plan.redis, ca, is_used);
    }

    pub(crate) fn instances(&self) -> MutexGuard<'_, Instances> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The upstream that shares the clients of a route with others, as this route or side has it.
fn side(route: &Route) -> Option<usize> {
    match route.action {
        Action::Upstream(upstream) if route.is_side || route.split.is_some() => Some(upstream.0),
        _ => None,
    }
}

impl Snapshot {
    /// A snapshot whose upstreams have no nodes yet.
    pub(crate) fn new(plan: Arc<Plan>, Sides { listens, nodes }: Sides) -> Self {
        let keys = keys_of(&plan);
        let sides: HashSet<usize> = plan.routes.iter().filter_map(side).collect();
        let new = |(number, upstream): (usize, &Arc<plan::Upstream>)| {
            let pin_names = cookie_names::names(&plan, number, &keys);
            let is_fleet = plan.apps.iter().any(|app| {
                upstream.app.as_ref() == Some(&app.name)
                    && app.instances != app::Instances::Count(NonZeroU32::MIN)
            });
            Upstream::new(Arc::clone(upstream), number, plan.limits.sessions_max)
                .pinning_by(pin_names, is_fleet || sides.contains(&number))
        };
        let tls = nodes.into_iter().chain(std::iter::repeat(None));
        let upstreams = plan.upstreams.iter().enumerate().map(new);
        let upstreams = upstreams.zip(tls).map(|(upstream, tls)| upstream.speaking(tls));
        Self {
            routes: Arc::new(Routes::new(&plan.routes)),
            route_numbers: Arc::default(),
            upstreams: upstreams.collect(),
            keys,
            listens: Arc::new(listens),
            challenges: plan.uses_acme().then(|| plan.acme.http_challenges()),
            plan,
        }
    }

    /// A snapshot of another plan. An upstream keeps what it has, its session table, its nodes and what they carry, by its
    /// name.
    pub(crate) fn replanned(&self, plan: Arc<Plan>, sides: Sides, rosters: &[Roster]) -> Self {
        let mut next = Self::new(plan, sides);
        for (upstream, roster) in next.upstreams.iter_mut().zip(rosters) {
            let before = self.upstream(&upstream.plan.name);
            let planned = before.map_or_else(|| upstream.clone(), |before| before.replanned(upstream));
            *upstream = planned.with_roster(roster, &next.keys);
            upstream.session_table.set_max(next.plan.limits.sessions_max);
        }
        next
    }

    /// The nodes of each upstream, in the plan's order.
    pub(crate) fn rosters(&self) -> Vec<Roster> {
        let roster = |upstream: &Upstream| Roster {
            nodes: upstream.members.iter().map(|member| member.entry.clone()).collect(),
            is_stopped: upstream.is_stopped,
        };
        self.upstreams.iter().map(roster).collect()
    }

    /// The same with other nodes, one roster for each upstream.
    pub(crate) fn with_rosters(&self, rosters: &[Roster]) -> Self {
        let nodes = self.upstreams.iter().map(|upstream| upstream.tls.clone()).collect();
        let sides = Sides { listens: self.listens.to_vec(), nodes };
        self.replanned(self.plan.clone(), sides, rosters)
    }

    /// The upstream of this name.
    pub(crate) fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|upstream| upstream.plan.name == name)
    }

    /// The place in the plan of the route that takes a request which came in on a listen of this port.
    pub(crate) fn route(&self, head: &RequestHead, port: u16) -> Result<usize, Fault> {
        let path = head.path_bytes();
        let asks = Asks { host: head.host_name(), path, method: head.method_bytes(), port, head: Some(head) };
        let found = self.routes.find(asks).ok_or(OurFault::NoRoute)?;
        if self.plan.routes[found].paths == PathRule::Strict && wire::path::is_ambiguous(path) {
            return Err(ClientFault::Malformed(Malformed::Path).into());
        }
        Ok(found)
    }

    /// As what a route of the plan is counted.
    pub(crate) fn route_number(&self, route: usize) -> RouteNumber {
        self.route_numbers.get(route).copied().unwrap_or(RouteNumber::NONE)
    }

    /// Whether some listen with TLS serves this request, so that a client that came without it can be sent there.
    pub(crate) fn is_served_over_tls(&self, head: &RequestHead) -> bool {
        let listens = self.plan.listens.iter();
        let over_tls =
            listens.filter(|listen| matches!(listen.scheme, Scheme::Tls(_) | Scheme::Automatic { .. }));
        over_tls.map(|listen| listen.address.port()).any(|port| self.route(head, port).is_ok())
    }

    /// The upstream of a route, if a node answers.
    pub(crate) fn upstream_of(&self, route: usize) -> Option<&Upstream> {
        let UpstreamId(number) = self.plan.routes[route].action.upstream()?;
        Some(&self.upstreams[number])
    }

    /// `None` after a reload has closed it, for connections that were accepted before.
    pub(crate) fn listen(&self, id: ListenId) -> Option<&ListenNow> {
        self.listens.iter().find(|listen| listen.id == id)
    }

    /// A reload has not closed it.
    pub(crate) fn is_open(&self, id: ListenId) -> bool {
        // Behind them are those that have just been closed.
        self.listens.iter().take(self.plan.listens.len()).any(|listen| listen.id == id)
    }

    /// The certificates of the listens that are open, in the order of the plan.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = &Arc<Store>> {
        // Behind them are those that have just been closed.
        let open = self.listens.iter().take(self.plan.listens.len());
        open.filter_map(|listen| listen.tls.as_ref()).map(|tls| &tls.certificates)
    }

    /// A trusted peer may say who its client is.
    pub(crate) fn is_trusted(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.plan.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// Tells the nodes of a snapshot which of them are what their app is now.
fn tell(snapshot: &Snapshot, instances: &Instances) {
    for upstream in &snapshot.upstreams {
        let Some(app) = &upstream.plan.app else { continue };
        for (node, id) in upstream.instances_of(app) {
            let running = instances.get(app).map(|running| &running.instances);
            let published = running.and_then(|all| all.iter().find(|instance| instance.id == id));
            if let Some(Instance { is_current, .. }) = published {
                node.observe(Observed::Published { is_current: *is_current });
            }
        }
    }
}

/// Whoever runs a plan without a secret has put one of their own in; if nobody has, tags live as long as this process.
fn keys_of(plan: &Plan) -> Arc<[Key]> {
    static OWN: LazyLock<[u8; 32]> = LazyLock::new(|| std::array::from_fn(|_| fastrand::u8(..)));
    if plan.sticky_secret.is_empty() {
        return Arc::new([Key::new(&*OWN)]);
    }
    plan.sticky_secret.iter().map(Key::new).collect()
}

/// The bounds of a head as `wire` wants them.
pub(crate) fn head_bounds(limits: &Limits) -> HeadBounds {
    HeadBounds {
        target_bytes_max: limits.target_bytes_max,
        head_bytes_max: limits.head_bytes_max,
        lines_max: limits.header_lines_max,
    }
}
