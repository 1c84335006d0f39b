//! Who may ask a route for something, and how often. Whatever a request is, it comes by here before a page, a file or a node
//! answers it: handshakes, polls and the upgrades of WebSockets as much as any other. Routes without guards are answered
//! elsewhere, and pay nothing for these.

mod asked;
mod limits;
mod users;

use config::routing::{Auth, Satisfy};

use crate::fault::{Fault, OurFault};
use crate::observe::record::Record;
use crate::request::downstream::BodySource;
use crate::request::edits::Values;
use crate::request::reply::Own;
use crate::state::local::Local;

/// Asks about the client's address, which needs no time. Where that or something else is enough, the latter is asked about in
/// [`pass`].
///
/// # Errors
/// The fault that the client is told.
pub(crate) fn by_address(values: &Values<'_>) -> Result<(), Fault> {
    let is_enough = values.route.satisfy == Satisfy::Any && values.route.auth.is_some();
    if is_enough || is_admitted(values) { Ok(()) } else { Err(OurFault::Denied.into()) }
}

/// Asks all others, one after the other. What a browser asks beforehand, without credentials, is answered before. Returns the
/// answer of whoever does not let it pass, where that has one.
///
/// # Errors
/// The fault that the client is told.
pub(crate) async fn pass(
    values: &Values<'_>,
    body: &mut BodySource<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<Option<Own>, Fault> {
    limits::pass(values, body, worker, record).await?;
    match &values.route.auth {
        None => Ok(None),
        Some(_) if values.route.satisfy == Satisfy::Any && is_admitted(values) => Ok(None),
        Some(Auth::Users(users)) => users::pass(users, values, body, worker, record).await.map(|()| None),
        // Boxed, because it is an exchange of its own.
        Some(Auth::Ask(ask)) => Box::pin(asked::pass(ask, values, body, worker, record)).await,
    }
}

fn is_admitted(values: &Values<'_>) -> bool {
    values.route.access.as_ref().is_none_or(|access| access.admits(values.client))
}
