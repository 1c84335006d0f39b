//! The same node for the same key. The hashing is `wire`'s; here is what of a request is the key, and that a node which
//! cannot be had leaves its keys to the others.

use std::net::IpAddr;

use config::plan::HashKey;
use wire::cookie;
use wire::rendezvous::{self, Score};
use wire::request::RequestHead;

use crate::upstream::balance::ask::{Ask, Fit, Unpicked};
use crate::upstream::member::Member;

/// The key of a request; `None` if it does not say what is hashed.
pub(crate) fn key(of: &HashKey, head: &RequestHead, client: IpAddr) -> Option<u64> {
    match of {
        HashKey::Ip => Some(of_address(client)),
        of => value(of, head).map(rendezvous::key),
    }
}

/// What a request says of what is hashed, where that is not the client's address; `None` if it says nothing.
pub(crate) fn value<'h>(of: &HashKey, head: &'h RequestHead) -> Option<&'h [u8]> {
    let value = match of {
        HashKey::Ip => None,
        HashKey::Header(name) => head.header(name),
        HashKey::Cookie(name) => cookie::find(head, name.as_bytes()),
        HashKey::Query(name) => head.query_value(name.as_bytes()),
        HashKey::Path(number) => head.path_segment(*number),
    };
    value.filter(|value| !value.is_empty())
}

/// Of an IPv6 address only the network's half counts: devices change the other one every day.
fn of_address(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(client) => rendezvous::key(&client.octets()),
        IpAddr::V6(client) => rendezvous::key(&client.octets()[..8]),
    }
}

/// The node with the best score. In its ramp a node draws its keys to it one after the other, for more weight only
/// ever does that. A suspicion moves nobody: it is settled in a moment, and most of them come to nothing.
pub(super) fn pick(ask: &Ask<'_>, key: u64) -> Result<usize, Unpicked> {
    let score = |member: &Member| Score::new(member.seed, key, member.weight());
    let fit = |index: usize, member: &Member| match ask.fit_of(index, member) {
        Fit::Second => Fit::Ready,
        fit => fit,
    };
    ask.best(0, |index, member| (fit(index, member), score(member)), Score::beats)
}
