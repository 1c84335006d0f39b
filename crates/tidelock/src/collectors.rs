//! Where what is counted is collected from.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use admin::Collectors;
use config::plan::Plan;
use proxy::ListenSockets;

/// Why nothing can be collected.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}, the `admin.listen`: {error}")]
pub(crate) struct NoCollectors {
    address: SocketAddr,
    error: io::Error,
}

/// Listens where a plan says, if it says so: on the socket of the tidelock before, where that has been there.
pub(crate) fn of(
    plan: &Plan,
    before: Option<&mut ListenSockets>,
) -> Result<Option<Rc<Collectors>>, NoCollectors> {
    let Some(address) = plan.admin.listen else { return Ok(None) };
    let socket = before.and_then(|sockets| sockets.take_at(address));
    let collectors = Collectors::listen(address, socket);
    collectors.map(Rc::new).map(Some).map_err(|error| NoCollectors { address, error })
}
