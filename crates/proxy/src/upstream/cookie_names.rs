//! What the cookies that pin clients to nodes are called.

use config::plan::{self, Plan, Sticky};
use wire::pin_names::PinNames;
use wire::tag::Key;

/// The names of the cookie of the upstream with this number, one for each key, if clients are pinned to its nodes. Upstreams
/// with the same nodes share it.
pub(crate) fn names(plan: &Plan, number: usize, keys: &[Key]) -> Option<PinNames> {
    let upstream = &plan.upstreams[number];
    match &upstream.sticky {
        Sticky::Auto(Some(name)) | Sticky::Cookie(Some(name)) => Some(PinNames::only(name)),
        Sticky::Auto(None) | Sticky::Cookie(None) => Some(PinNames::telling(&front(plan, upstream), keys)),
        Sticky::EngineIo | Sticky::EngineIoLearned | Sticky::Key(_) | Sticky::None => None,
    }
}

/// `tidelock-NAME-`: what is the same for all keys of the upstream.
fn front(plan: &Plan, upstream: &plan::Upstream) -> String {
    let pool = |upstream: &plan::Upstream| {
        let mut nodes: Vec<String> = upstream.nodes.iter().map(|node| node.written.clone()).collect();
        nodes.sort_unstable();
        (nodes, upstream.app.clone())
    };
    let own = pool(upstream);
    let first = plan.upstreams.iter().find(|other| pool(other) == own);
    format!("tidelock-{}-", first.map_or(&upstream.name, |first| &first.name))
}
