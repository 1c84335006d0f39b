//! What an exchange that ends with a 101 hands over to the tunnel.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use config::limits::Limits;

use crate::net::stream::Io;
use crate::observe::guarded::Guarded;
use crate::observe::lifecycle::Lives;
use crate::upstream::node::Node;
use crate::upstream::node::counted::InSession;
use crate::upstream::route_number::RouteNumber;
use crate::upstream::sessions::SessionUse;

/// What a tunnel keeps of its session.
#[derive(Debug)]
pub(crate) enum TunnelSession {
    /// It is the tunnel's own.
    Own { _counted: InSession, is_engine_io: bool },
    /// It is in the session table.
    Registered { in_use: SessionUse },
}

/// The origin's half of a tunnel. Exists only after a 101 that answers the handshake.
#[derive(Debug)]
pub(crate) struct OriginEnd {
    pub(crate) io: Io,
    /// What the origin sent directly behind its 101.
    pub(crate) early: BytesMut,
    pub(crate) node: Arc<Node>,
    pub(crate) session: Option<TunnelSession>,
    /// `pingInterval + pingTimeout` of that session, once it is known.
    pub(crate) silence: Option<Duration>,
    /// Nothing moves for so long: it has been left.
    pub(crate) idle: Duration,
    pub(crate) client: IpAddr,
    /// The client is pinned to the node, and would come back to it.
    pub(crate) is_pinned: bool,
    /// The route that has taken it, as it is counted.
    pub(crate) route: RouteNumber,
    /// Its route wants it in the access log.
    pub(crate) is_logged: bool,
    /// What the guards of its route found out, and count for as long as it lives.
    pub(crate) guarded: Option<Box<Guarded>>,
}

/// Both ends, after a 101. What each sent early belongs to the tunnel and is the first thing that moves.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) client: Io,
    pub(crate) client_early: BytesMut,
    pub(crate) origin: OriginEnd,
    pub(crate) limits: Limits,
    pub(crate) live: Lives,
}
