//! From a plan to a running proxy, and from a signal to its end.

use std::sync::Arc;
use std::time::Duration;

use config::plan::Plan;
use proxy::{Proxy, StartProblem};
use tracing_subscriber::EnvFilter;

use crate::signals::{Signal, Signals};

/// What a plan comes down to, in a line.
pub(crate) fn summary(plan: &Plan) -> String {
    let nodes: usize = plan.upstreams.iter().map(|upstream| upstream.nodes.len()).sum();
    let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}, {}",
        count(plan.listens.len(), "listen"),
        count(plan.routes.len(), "route"),
        count(plan.upstreams.len(), "upstream"),
        count(nodes, "node"),
    )
}

/// The log of the program itself, on standard error; the access log is another.
pub(crate) fn start_log(colour: bool) {
    let filter = EnvFilter::try_from_env("TIDELOCK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_target(false)
        .with_writer(std::io::stderr)
        .init();
}

/// Serves `plan` on this thread, which becomes the control thread, until a signal says that it is enough.
pub(crate) fn until_told(plan: Plan) -> Result<(), StartProblem> {
    let deadline = plan.drain.deadline;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(StartProblem::Thread)?;
    runtime.block_on(async {
        let mut signals = Signals::new().map_err(StartProblem::Thread)?;
        let proxy = Proxy::start(Arc::new(plan)).await?;
        while signals.next().await == Signal::Reopen {
            proxy.reopen_log();
        }
        tracing::info!(?deadline, "leaving: no new connections, what runs may finish");
        proxy.leave(deadline);
        leave(proxy, signals).await;
        Ok(())
    })
}

/// Waits for the end; a second signal asks for it at once.
async fn leave(proxy: Proxy, mut signals: Signals) {
    let mut ended = std::pin::pin!(proxy.ended());
    loop {
        tokio::select! {
            () = &mut ended => break,
            signal = signals.next() => match signal {
                Signal::Leave => {
                    tracing::warn!("told again: ending at once");
                    proxy.leave(Duration::ZERO);
                }
                Signal::Reopen => {}
            }
        }
    }
    tracing::info!("ended");
}
