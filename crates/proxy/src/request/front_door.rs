//! Says how a front door is believed, where one seems to stand in front of us and what it says of its clients is dropped:
//! apps behind it would take everybody for the same client, and nobody would know why.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use wire::request::RequestHead;

/// A kind of front door.
struct FrontDoor {
    name: &'static str,
    /// What it says of a client.
    says: &'static str,
    /// What it, and hardly anybody else, sends beside that.
    evidence: &'static str,
    /// The list of its networks, where there is one.
    list: Option<&'static str>,
    is_told: AtomicBool,
}

static FRONT_DOORS: [FrontDoor; 3] = [
    FrontDoor {
        name: "Cloudflare",
        says: "cf-connecting-ip",
        evidence: "cf-ray",
        list: Some("cloudflare"),
        is_told: AtomicBool::new(false),
    },
    FrontDoor {
        name: "Fastly",
        says: "fastly-client-ip",
        evidence: "fastly-ff",
        list: Some("fastly"),
        is_told: AtomicBool::new(false),
    },
    FrontDoor {
        name: "an AWS load balancer",
        says: "x-forwarded-for",
        evidence: "x-amzn-trace-id",
        list: None,
        is_told: AtomicBool::new(false),
    },
];

/// Looks whether what `peer` said of its client, and was not believed, is a front door's word. Each kind is told of once
/// in the life of the process: a stranger who plays one gets one line.
#[cold]
pub(crate) fn hint(head: &RequestHead, peer: IpAddr) {
    let has = |name| head.header(name).is_some();
    for door in FRONT_DOORS.iter().filter(|door| has(door.says) && has(door.evidence)) {
        if door.is_told.swap(true, Ordering::Relaxed) {
            continue;
        }
        let trusts = match door.list {
            _ if is_private(peer) => "trusted_proxies = [\"private\"]".to_owned(),
            Some(list) => format!("trusted_proxies = [\"{list}\"]"),
            None => "the networks that it connects from into trusted_proxies".to_owned(),
        };
        tracing::warn!(
            event = "front_door_unbelieved",
            %peer,
            "what seems to be {} says who its clients are, and is not believed; if it is yours, write {trusts}",
            door.name
        );
    }
}

fn is_private(peer: IpAddr) -> bool {
    match peer {
        IpAddr::V4(peer) => peer.is_private() || peer.is_loopback(),
        IpAddr::V6(peer) => peer.is_unique_local() || peer.is_loopback(),
    }
}
