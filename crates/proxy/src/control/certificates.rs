//! The certificates and keys of a plan, those of its listens and those for its nodes: read together, so that all that is wrong is
//! told at once.

use std::sync::Arc;

use config::plan::Plan;

use crate::net::tls::{self, ServerTls, Store, TlsProblem};
use crate::net::{node_tls, shared_rates};
use crate::state::shared::NodesTls;

/// What was read.
pub(crate) struct Certificates {
    /// In the order of the listens.
    pub(crate) listens: Vec<Option<ServerTls>>,
    /// In the order of the upstreams.
    pub(crate) nodes: NodesTls,
    /// Whom the Redis must be known to, as PEM; those that the system trusts, if it is not said.
    pub(crate) redis: Option<Vec<u8>>,
}

/// The certificates of listens that were read before the start, as root: it may be that nobody can read them any more then.
#[derive(Debug, Default)]
pub struct FirstRead(pub(crate) Vec<Arc<Store>>);

impl FirstRead {
    /// Reads those that can be read. What is wrong with others is told at the start.
    pub fn of(plan: &Plan) -> Self {
        Self(tls::read_first(&plan.listens))
    }
}

/// Reads all that `plan` names. `served` are the certificates of listens until now.
pub(crate) fn load_all(plan: &Plan, served: &[Arc<Store>]) -> Result<Certificates, Vec<TlsProblem>> {
    let nodes = node_tls::of_upstreams(&plan.upstreams);
    match (tls::load_all(plan, served), nodes, shared_rates::read_ca(&plan.redis)) {
        (Ok(listens), Ok(nodes), Ok(redis)) => Ok(Certificates { listens, nodes, redis }),
        (listens, nodes, redis) => {
            let problems = listens.err().into_iter().chain(nodes.err()).flatten();
            Err(problems.chain(redis.err()).collect())
        }
    }
}

/// All that is wrong with the certificates and keys that `plan` names, also what a start only warns of.
pub fn check_certificates(plan: &Plan) -> Vec<TlsProblem> {
    let redis = shared_rates::read_ca(&plan.redis).err().into_iter().collect();
    [tls::check_all(&plan.listens), node_tls::check_all(&plan.upstreams), redis].concat()
}

/// What some clients will not like about the certificates that `plan` names, though they are good.
pub fn warn_of_certificates(plan: &Plan) -> Vec<TlsProblem> {
    tls::warn_all(&plan.listens)
}
