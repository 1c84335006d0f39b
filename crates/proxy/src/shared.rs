//! What the workers and the control thread share, and the snapshot of it that a request works with.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use arc_swap::ArcSwap;
use config::limits::Limits;
use config::plan::{Plan, UpstreamId};
use config::roster::Roster;
use wire::HeadBounds;
use wire::request::RequestHead;
use wire::tag::Tagger;

use crate::drain::Drain;
use crate::fault::OurFault;
use crate::record::Counters;
use crate::route::Routes;
use crate::tls::{ServerTls, TlsProblem};
use crate::upstream::Upstream;
use crate::upstream::health::Fallen;

/// Shared by all threads for the life of the process.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) snapshot: ArcSwap<Snapshot>,
    pub(crate) fallen: Fallen,
    pub(crate) drain: Drain,
    /// One for each worker, in their order.
    pub(crate) counters: Vec<Arc<Counters>>,
}

/// The plan with everything that is made from it, at one moment. A request takes one and sees no other.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) plan: Arc<Plan>,
    routes: Arc<Routes>,
    pub(crate) upstreams: Vec<Upstream>,
    tagger: Tagger,
    /// By the address in the plan.
    tls: Arc<HashMap<SocketAddr, ServerTls>>,
}

impl Snapshot {
    /// A snapshot whose upstreams have no nodes yet. Fails if a certificate cannot be used.
    pub(crate) fn new(plan: Arc<Plan>) -> Result<Self, Vec<TlsProblem>> {
        let upstreams =
            plan.upstreams.iter().map(|upstream| Upstream::new(upstream.clone(), plan.limits.sessions_max));
        Ok(Self {
            routes: Arc::new(Routes::new(&plan.routes)),
            upstreams: upstreams.collect(),
            tagger: Tagger::new(&plan.sticky_secret.bytes),
            tls: Arc::new(crate::tls::load_all(&plan.listens)?),
            plan,
        })
    }

    /// The same with other nodes, one roster for each upstream.
    pub(crate) fn with_rosters(&self, rosters: &[Roster]) -> Self {
        let upstreams = self.upstreams.iter().zip(rosters);
        Self {
            plan: self.plan.clone(),
            routes: self.routes.clone(),
            upstreams: upstreams
                .map(|(upstream, roster)| upstream.with_roster(roster, &self.tagger))
                .collect(),
            tagger: self.tagger.clone(),
            tls: self.tls.clone(),
        }
    }

    /// The upstream that answers `head`.
    pub(crate) fn route(&self, head: &RequestHead) -> Result<&Upstream, OurFault> {
        let UpstreamId(index) =
            self.routes.find(head.host_name(), head.path_bytes()).ok_or(OurFault::NoRoute)?;
        Ok(&self.upstreams[index])
    }

    /// TLS as it is now on a listen.
    pub(crate) fn tls(&self, listen: SocketAddr) -> Option<&ServerTls> {
        self.tls.get(&listen)
    }

    /// Whether a peer may say who its client is.
    pub(crate) fn is_trusted(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.plan.trusted_proxies.iter().any(|net| net.contains(&peer))
    }
}

/// The bounds of a head as `wire` wants them.
pub(crate) fn head_bounds(limits: &Limits) -> HeadBounds {
    HeadBounds {
        target_bytes_max: limits.target_bytes_max,
        head_bytes_max: limits.head_bytes_max,
        lines_max: limits.header_lines_max,
    }
}
