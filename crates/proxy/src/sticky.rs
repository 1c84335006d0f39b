//! Where a request belongs: to its session's node, to a new session, or anywhere. Reads the Engine.IO session id in
//! the query, its tag, and the registry; chooses nothing by load.

use std::sync::Arc;

use config::plan;
use wire::engineio::{Revision, Sid, Transport};
use wire::request::{Method, RequestHead};
use wire::tag::Tag;

use crate::upstream::Upstream;
use crate::upstream::node::Node;

/// Where a request belongs.
#[derive(Debug)]
pub(crate) enum Place {
    /// To whichever node has the least to do.
    Anywhere,
    /// To the node with the fewest sessions, for it becomes one.
    NewSession(Opening),
    /// To the node of its session, or nowhere.
    Session(InPlace),
    /// To a session that nobody knows.
    Nowhere,
}

/// How a new session begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// With a polling handshake; its answer tells the session id, which is tagged or only learned.
    Handshake { tags: bool },
    /// With a WebSocket; the session lives and ends with its tunnel.
    WebSocket { is_engine_io: bool },
}

/// A session that has its node.
#[derive(Debug)]
pub(crate) struct InPlace {
    pub(crate) node: Arc<Node>,
    /// The id as the node knows it.
    pub(crate) sid: Box<[u8]>,
    /// Whether the id in the query carries a tag, which the node must not see.
    pub(crate) is_tagged: bool,
}

/// Finds the place of a request.
pub(crate) fn place(head: &RequestHead, upstream: &Upstream) -> Place {
    let opens_websocket = head.websocket_key().is_some();
    let engine_io = match upstream.plan.sticky {
        plan::Sticky::EngineIo | plan::Sticky::EngineIoLearned => head.engine_io(),
        plan::Sticky::None => None,
    };
    let Some(engine_io) = engine_io else {
        return if opens_websocket {
            Place::NewSession(Opening::WebSocket { is_engine_io: false })
        } else {
            Place::Anywhere
        };
    };
    match (engine_io.sid, engine_io.transport) {
        (Sid::Plain(_), _) => {
            head.sid().and_then(|sid| in_place(sid, upstream)).map_or(Place::Nowhere, Place::Session)
        }
        (Sid::Odd, _) => Place::Nowhere,
        (Sid::None, Transport::WebSocket) if opens_websocket => {
            Place::NewSession(Opening::WebSocket { is_engine_io: true })
        }
        (Sid::None, Transport::Polling) if head.method() == Method::Get => {
            let tags = upstream.plan.sticky == plan::Sticky::EngineIo
                && engine_io.revision == Revision::V4
                && !engine_io.jsonp;
            Place::NewSession(Opening::Handshake { tags })
        }
        // A preflight, or something that the node will refuse.
        (Sid::None, Transport::Polling | Transport::WebSocket) => Place::Anywhere,
    }
}

/// The tag needs no memory and is asked first; the registry knows the ids that have none.
fn in_place(sid: &[u8], upstream: &Upstream) -> Option<InPlace> {
    let by_tag = match upstream.plan.sticky {
        plan::Sticky::EngineIo => Tag::split(sid).and_then(|(sid, tag)| Some((sid, upstream.by_tag(&tag)?))),
        plan::Sticky::EngineIoLearned | plan::Sticky::None => None,
    };
    match by_tag {
        Some((sid, node)) => Some(InPlace { node: node.clone(), sid: sid.into(), is_tagged: true }),
        None => {
            let node = upstream.registry.find(sid)?;
            Some(InPlace { node, sid: sid.into(), is_tagged: false })
        }
    }
}
