//! What the requests of a connection have in common.

use std::cell::Cell;
use std::rc::Rc;

use wire::forward::ClientEnd;

use crate::net::stream::Http2Connection;
use crate::observe::lifecycle::Live;
use crate::request::reply::Redirect;
use crate::state::shared::ListenId;

/// What the requests of a connection have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) end: ClientEnd,
    pub(super) redirects: Option<Redirect>,
    pub(super) listen: ListenId,
    /// No other stream is to follow.
    pub(super) is_going: Cell<bool>,
    pub(super) connection: Rc<Http2Connection>,
    /// Its place among all connections, which it has until the last of its streams has ended.
    pub(super) live: Rc<Live>,
}
