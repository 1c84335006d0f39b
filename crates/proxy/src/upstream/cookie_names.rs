//! What the cookies that pin clients to nodes are called.

use std::sync::Arc;

use config::plan::{self, Plan, Sticky};
use wire::tag::Key;

/// The names of the cookie of the upstream with this number, one for each key. A name tells the key, so that two sites
/// under one domain do not overwrite each other's; and upstreams with the same nodes share it.
pub(crate) fn names(plan: &Plan, number: usize, keys: &[Key]) -> Arc<[Arc<str>]> {
    let upstream = &plan.upstreams[number];
    let prefix = match &upstream.sticky {
        Sticky::Auto(Some(name)) | Sticky::Cookie(Some(name)) => return Arc::new([name.as_str().into()]),
        Sticky::Auto(None) | Sticky::Cookie(None) => prefix(plan, upstream),
        Sticky::EngineIo | Sticky::EngineIoLearned | Sticky::Key(_) | Sticky::None => return Arc::default(),
    };
    let name = |key: &Key| format!("{prefix}{}", String::from_utf8_lossy(&key.name())).into();
    keys.iter().map(name).collect()
}

/// What stands in front of the key's name.
fn prefix(plan: &Plan, upstream: &plan::Upstream) -> String {
    let pool = |upstream: &plan::Upstream| {
        let mut nodes: Vec<String> = upstream.nodes.iter().map(|node| node.written.clone()).collect();
        nodes.sort_unstable();
        (nodes, upstream.app.clone())
    };
    let own = pool(upstream);
    let first = plan.upstreams.iter().find(|other| pool(other) == own);
    format!("tidelock-{}-", first.map_or(&upstream.name, |first| &first.name))
}
