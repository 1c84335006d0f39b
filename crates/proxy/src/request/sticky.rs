//! Where a request belongs: to its session's node, to a new session, or anywhere. Reads the Engine.IO session id in
//! the query, its tag, and the session table, or the cookie or key that the plan wants instead; chooses nothing by load.

pub(crate) mod cookie;
mod sent_pin;

use std::net::IpAddr;
use std::sync::Arc;

use config::plan;
use wire::engineio::{Revision, Sid, Transport};
use wire::request::{Method, RequestHead};
use wire::tag::Tag;

use crate::observe::record;
pub(crate) use crate::request::sticky::sent_pin::SentPin;
use crate::upstream::Upstream;
use crate::upstream::balance::{Preference, hash};
use crate::upstream::node::Node;

/// Where a request belongs.
#[derive(Debug)]
pub(crate) enum Affinity {
    /// Where it wishes, or to whichever node the balance says.
    Any(Preference),
    /// The same, and it becomes a session there.
    NewSession(SessionStart, Preference),
    /// To the node of its session, or nowhere.
    Session(SessionTarget),
    /// To a session that nobody knows.
    Unknown,
}

/// How a new session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionStart {
    /// With a polling handshake; its answer tells the session id, which is tagged or only learned.
    Handshake { tags: bool },
    /// With a WebSocket; the session lives and ends with its tunnel.
    WebSocket { is_engine_io: bool },
}

/// A session that has its node.
#[derive(Debug)]
pub(crate) struct SessionTarget {
    pub(crate) node: Arc<Node>,
    /// The id as the node knows it.
    pub(crate) sid: Arc<[u8]>,
    /// Whether the id in the query carries a tag, which the node must not see.
    pub(crate) is_tagged: bool,
}

/// What the access log says of how the node was chosen, if `preference` has decided for the one with the index
/// `chosen`; `None` where it was somewhere else, or there was no preference.
pub(crate) fn decided(preference: Preference, chosen: usize) -> Option<record::Sticky> {
    match preference {
        Preference::Node { index, .. } => (index == chosen).then_some(record::Sticky::Cookie),
        Preference::Key { is_sticky, .. } => is_sticky.then_some(record::Sticky::Key),
        Preference::None => None,
    }
}

/// Finds the place of a request of `client`, whose cookies say `sent_pin`.
pub(crate) fn affinity(
    head: &RequestHead,
    sent_pin: SentPin,
    upstream: &Upstream,
    client: IpAddr,
) -> Affinity {
    let opens_websocket = head.websocket_key().is_some();
    let preference = || preference(head, sent_pin, upstream, client);
    let engine_io = head.engine_io().filter(|_| upstream.plan.sticky != plan::Sticky::None);
    let Some(engine_io) = engine_io else {
        return if opens_websocket {
            Affinity::NewSession(SessionStart::WebSocket { is_engine_io: false }, preference())
        } else {
            Affinity::Any(preference())
        };
    };
    match (engine_io.sid, engine_io.transport) {
        (Sid::Is(_), _) => head
            .sid()
            .and_then(|sid| session_target(&sid, upstream))
            .map_or(Affinity::Unknown, Affinity::Session),
        (Sid::TooLong, _) => {
            upstream.oddities.sid_too_long(&upstream.plan.name);
            Affinity::Any(preference())
        }
        (Sid::None, Transport::WebSocket) if opens_websocket => {
            Affinity::NewSession(SessionStart::WebSocket { is_engine_io: true }, preference())
        }
        (Sid::None, Transport::Polling) if head.method() == Method::Get => {
            let tags = upstream.plan.sticky != plan::Sticky::EngineIoLearned
                && engine_io.revision == Revision::V4
                && !engine_io.jsonp;
            Affinity::NewSession(SessionStart::Handshake { tags }, preference())
        }
        // A preflight, or something that the node will refuse.
        (Sid::None, Transport::Polling | Transport::WebSocket) => Affinity::Any(preference()),
    }
}

/// Whether a session begins with the request, as [`affinity`] has it. Limits that count handshakes count these.
pub(crate) fn begins_session(head: &RequestHead, upstream: &Upstream) -> bool {
    let engine_io = head.engine_io().filter(|_| upstream.plan.sticky != plan::Sticky::None);
    match engine_io.map(|engine_io| (engine_io.sid, engine_io.transport)) {
        None | Some((Sid::None, Transport::WebSocket)) => head.websocket_key().is_some(),
        Some((Sid::None, Transport::Polling)) => head.method() == Method::Get,
        Some((Sid::Is(_) | Sid::TooLong, _)) => false,
    }
}

/// Whether the request belongs to a session that has begun, and that its tag or the session table proves: what a
/// client merely claims is none.
pub(crate) fn is_in_session(head: &RequestHead, upstream: &Upstream) -> bool {
    let engine_io = head.engine_io().filter(|_| upstream.plan.sticky != plan::Sticky::None);
    engine_io.is_some_and(|engine_io| matches!(engine_io.sid, Sid::Is(_)))
        && head.sid().is_some_and(|sid| known(&sid, upstream).is_some())
}

/// What belongs to the client decides first, then what the balance spreads by.
fn preference(head: &RequestHead, sent_pin: SentPin, upstream: &Upstream, client: IpAddr) -> Preference {
    let sticky = match &upstream.plan.sticky {
        plan::Sticky::Auto(_) | plan::Sticky::Cookie(_) => {
            sent_pin.index_or_counted(head, upstream).map(|index| Preference::Node {
                index,
                leaves_at_once: upstream.members[index].node.is_draining() && head.asks_for_events(),
            })
        }
        plan::Sticky::Key(of) => {
            hash::key(of, head, client).map(|key| Preference::Key { key, is_sticky: true })
        }
        plan::Sticky::EngineIo | plan::Sticky::EngineIoLearned | plan::Sticky::None => None,
    };
    let spread = || match &upstream.plan.balance {
        plan::Balance::Hash(of) => {
            hash::key(of, head, client).map(|key| Preference::Key { key, is_sticky: false })
        }
        _ => None,
    };
    sticky.or_else(spread).unwrap_or(Preference::None)
}

/// The tag needs no memory and is asked first; the session table knows the ids that have none. Where there is one node only it
/// is for that to say what it knows.
fn session_target(sid: &[u8], upstream: &Upstream) -> Option<SessionTarget> {
    if let Some(known) = known(sid, upstream) {
        return Some(known);
    }
    if split_tag(sid, upstream).is_some() {
        upstream.oddities.unverifiable(&upstream.plan.name);
    }
    match &*upstream.members {
        [only] if upstream.has_none_removed() => {
            Some(SessionTarget { node: only.node.clone(), sid: sid.into(), is_tagged: false })
        }
        _ => None,
    }
}

/// The session that the tag proves, or the table knows.
fn known(sid: &[u8], upstream: &Upstream) -> Option<SessionTarget> {
    if let Some((sid, tag)) = &split_tag(sid, upstream)
        && let Some(node) = upstream.by_tag(sid, tag)
    {
        return Some(SessionTarget { node: node.clone(), sid: (*sid).into(), is_tagged: true });
    }
    let node = upstream.session_table.find(sid)?;
    Some(SessionTarget { node, sid: sid.into(), is_tagged: false })
}

fn split_tag<'s>(sid: &'s [u8], upstream: &Upstream) -> Option<(&'s [u8], Tag)> {
    Tag::split(sid).filter(|_| upstream.plan.sticky != plan::Sticky::EngineIoLearned)
}
