//! Waits of a request, before anybody has answered it.

use std::future::poll_fn;

use crate::fault::{ClientFault, Fault, OurFault};
use crate::request::downstream::BodySource;
use crate::state::local::Local;

/// What `wait` gives, unless the client leaves first, or the proxy begins to. Boxed by its callers: few requests
/// wait, and all would carry it.
pub(crate) async fn while_wanted<T>(
    worker: &Local,
    body: &mut BodySource<'_>,
    wait: impl Future<Output = T>,
) -> Result<T, Fault> {
    let leaving = worker.leaving();
    let left = async {
        if !worker.is_leaving() {
            leaving.await;
        }
    };
    tokio::select! {
        biased;
        waited = wait => Ok(waited),
        () = poll_fn(|cx| body.poll_client_gone(cx)) => Err(ClientFault::Gone.into()),
        () = left => Err(OurFault::Leaving.into()),
    }
}
