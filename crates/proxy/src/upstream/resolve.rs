//! Names to addresses, on the control thread. A name that does not resolve yet is asked again until it does; its
//! node is down meanwhile, and nothing else waits for it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use config::plan::{NodeHost, NodeSpec};
use config::roster::{NodeAddress, Roster, RosterNode};

/// The nodes of one upstream, and whether every name has resolved.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) roster: Roster,
    pub(crate) is_complete: bool,
}

/// Looks all names up once. Several addresses of one name are several nodes. A name that does not resolve now keeps
/// the addresses that `known` has for it.
pub(crate) async fn resolve(specs: &[NodeSpec], known: &[RosterNode]) -> Resolved {
    let mut resolved = Resolved { roster: Roster::default(), is_complete: true };
    for spec in specs {
        let mut addresses = match &spec.host {
            NodeHost::Address(address) => vec![SocketAddr::new(*address, spec.port)],
            NodeHost::Name(name) => look_up(name, spec.port).await,
        };
        if addresses.is_empty() {
            addresses = known.iter().filter(|node| node.written == spec.written).filter_map(tcp_of).collect();
        }
        resolved.is_complete &= !addresses.is_empty();
        // Resolvers rotate their answers; the order here decides nothing but must not change what is compared.
        addresses.sort_unstable();
        addresses.dedup();
        for address in addresses {
            let node = RosterNode {
                written: spec.written.clone(),
                address: address.into(),
                instance: None,
                weight: spec.weight,
                backup: spec.backup,
                bounds: spec.bounds,
            };
            if resolved.roster.nodes.iter().all(|known| known.address != node.address) {
                resolved.roster.nodes.push(node);
            }
        }
    }
    resolved
}

/// What a name has resolved to.
fn tcp_of(node: &RosterNode) -> Option<SocketAddr> {
    match node.address {
        NodeAddress::Tcp(address) => Some(address),
        NodeAddress::Unix(_) => None,
    }
}

async fn look_up(name: &str, port: u16) -> Vec<SocketAddr> {
    match tokio::net::lookup_host((name, port)).await {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.collect();
            // `localhost` is 127.0.0.1 and ::1 of one machine: one node, not two.
            let is_loopback = addresses.iter().all(|address| address.ip().is_loopback());
            match addresses.iter().find(|address| matches!(address.ip(), IpAddr::V4(_))) {
                Some(&v4) if is_loopback => vec![v4],
                _ => addresses,
            }
        }
        Err(error) => {
            tracing::warn!(name, %error, "name does not resolve; asking again in {AGAIN:?}");
            Vec::new()
        }
    }
}

/// Between two tries of names that did not resolve.
pub(crate) const AGAIN: Duration = Duration::from_secs(2);
