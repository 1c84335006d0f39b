//! How a client came in.

use wire::forward::ClientEnd;

use crate::request::reply::Redirect;

/// How a client came in: over its connection, and by the listener that took that.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'c> {
    pub(crate) end: &'c ClientEnd,
    /// Where all its requests are sent to, if that listener does nothing else.
    pub(crate) redirects: Option<Redirect>,
}
