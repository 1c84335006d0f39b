//! Which of several upstreams a request is for.

use config::routing::Split;
use wire::cookie;
use wire::rendezvous::{Score, key, seed};
use wire::request::RequestHead;

use crate::observe::record::Record;
use crate::request::sticky::{self, SentPin};
use crate::state::shared::Snapshot;
use crate::upstream::Upstream;
use crate::upstream::balance::hash;

/// The place in the plan of the side for a request that the route at `found` takes, which is its own if there is one only. A
/// session stays on its side; then counts what the client asks for by name, then where it is pinned, and then the shares.
pub(crate) fn chosen(snapshot: &Snapshot, found: usize, head: &RequestHead, record: &mut Record) -> usize {
    let Some(split) = &snapshot.plan.routes[found].split else { return found };
    let known = |is_there: &dyn Fn(&Upstream) -> bool| {
        (0..split.sides.len()).find(|side| snapshot.upstream_of(found + side).is_some_and(is_there))
    };
    let side = known(&|upstream| sticky::is_in_session(head, upstream))
        .or_else(|| named(split, head))
        .or_else(|| known(&|upstream| SentPin::read(head, upstream).index().is_some()))
        .unwrap_or_else(|| by_share(split, head, record));
    found + side
}

/// The one that the client names, by a header line or a cookie.
fn named(split: &Split, head: &RequestHead) -> Option<usize> {
    let said = |name: Option<&[u8]>| split.sides.iter().position(|share| Some(share.name.as_bytes()) == name);
    let header = split.by.header.as_ref().and_then(|name| said(head.header(name)));
    header.or_else(|| split.by.cookie.as_ref().and_then(|name| said(cookie::find(head, name.as_bytes()))))
}

/// The one whose share it falls into: for the same client always the same, on every tidelock, and with other weights no more
/// clients move than have to.
fn by_share(split: &Split, head: &RequestHead, record: &mut Record) -> usize {
    let key = match &split.by.key {
        // Once for each request, whichever snapshot decides it.
        None => *record.draw.get_or_insert_with(|| fastrand::u64(..)),
        Some(of) => {
            hash::key(of, head, record.client).unwrap_or_else(|| key(record.client.to_string().as_bytes()))
        }
    };
    let sides = split.sides.iter().enumerate().filter(|(_, share)| share.weight > 0);
    let scores = sides.map(|(at, share)| (at, Score::new(seed(&share.name, ""), key, share.weight.into())));
    let best = scores.reduce(|best, next| if next.1.beats(best.1) { next } else { best });
    best.map_or(0, |(at, _)| at)
}
