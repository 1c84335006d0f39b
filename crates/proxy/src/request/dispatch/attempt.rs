//! One attempt: a connection to a node, the exchange on it, and what the node is held for afterwards.

use std::sync::Arc;

use tokio::time::Instant;

use crate::fault::{Fault, OriginFault, OurFault};
use crate::observe::record::Record;
use crate::request::downstream::BodySource;
use crate::request::edits::Changed;
use crate::request::exchange::{self, ExchangeKind, Exchanged, Request};
use crate::upstream::connect::connect;
use crate::upstream::health::state::{Change, Observed};
use crate::upstream::node::Node;
use crate::upstream::pool::Lease;

/// Where an attempt goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct To<'a> {
    pub(super) node: &'a Arc<Node>,
    /// Over a new connection: an idle one has just turned out to be dead.
    pub(super) fresh: bool,
}

/// One attempt at one node.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function keeps what it was called with beside what it has made of it, and each request would carry both"
)]
pub(super) fn try_once(
    request: &Request<'_>,
    to: To<'_>,
    kind: ExchangeKind,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> impl Future<Output = Result<Exchanged, Fault>> {
    async move {
        let node = to.node;
        record.node = Some(node.clone());
        record.attempts += 1;
        record.asked.turn(record.begun, request.reply.now());
        let outcome_of = OutcomeOf::begin(request, &kind);
        let outcome = match lease(request, to, record).await {
            // Boxed, because it is rare.
            Ok(lease) if request.changed.is_some_and(Changed::names_node) => {
                Box::pin(run_named(request, lease, kind, body, record)).await
            }
            Ok(lease) => exchange::run(request, lease, kind, body, record).await,
            Err(fault) => Err(fault),
        };
        let outliers = &request.upstream.plan.outliers;
        let observed = match &outcome {
            Ok(_) | Err(Fault::Ours(OurFault::Replaced { .. })) => {
                let is_bad = record.status >= 500 && outliers.errors > 0;
                Some(if is_bad { Observed::AnsweredBadly } else { Observed::Answered })
            }
            Err(fault) => {
                if let Fault::Origin(_) = fault {
                    node.has_failed(fault.reason());
                }
                observation(*fault)
            }
        };
        if let Some(outcome_of) = outcome_of {
            outcome_of.end(node, &outcome, record);
        }
        match observed.map(|observed| node.observe(observed)) {
            Some(Change::Fell) => {
                request.worker.shared.probe_queue.push(node);
                request.worker.pool.forget(node);
            }
            Some(Change::Suspected) => request.worker.shared.probe_queue.push(node),
            _ => {}
        }
        outcome
    }
}

/// An exchange in whose lines the node is named.
async fn run_named(
    request: &Request<'_>,
    lease: Lease,
    kind: ExchangeKind,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    let node = lease.in_flight.node().written();
    let named = request.changed.map(|changed| changed.named(&node));
    let request = Request { changed: named.as_ref(), ..request.again() };
    exchange::run(&request, lease, kind, body, record).await
}

/// Counts an exchange for those who look for outliers, if anybody does.
struct OutcomeOf {
    begun: Instant,
    slot: usize,
}

impl OutcomeOf {
    /// Polls are not counted: how long they take is their session's affair.
    pub(super) fn begin(request: &Request<'_>, kind: &ExchangeKind) -> Option<Self> {
        let outliers = &request.upstream.plan.outliers;
        let is_wanted = (outliers.error_percent > 0 || outliers.latency_factor > 0)
            && !matches!(kind, ExchangeKind::Session(_));
        is_wanted.then(|| Self { begun: request.reply.now(), slot: request.worker.slot })
    }

    pub(super) fn end(self, node: &Node, outcome: &Result<Exchanged, Fault>, record: &Record) {
        match outcome {
            Ok(_) if record.status >= 500 => node.outcomes.failed(self.slot),
            Ok(Exchanged::Upgraded(_)) => {}
            Ok(_) => {
                let answered = record.answered_after.map(|after| record.begun + after);
                let after = answered.map(|at| at.saturating_duration_since(self.begun));
                node.outcomes.answered(self.slot, after.unwrap_or_default());
            }
            // What died in the pool says nothing of the node.
            Err(Fault::Origin(OriginFault::ClosedUnanswered { reused: true })) => {}
            Err(Fault::Origin(_)) => node.outcomes.failed(self.slot),
            Err(Fault::Client(_) | Fault::Ours(_)) => {}
        }
    }
}

/// A connection to a node: an idle one, or a new one.
async fn lease(
    request: &Request<'_>,
    To { node, fresh }: To<'_>,
    record: &mut Record,
) -> Result<Lease, Fault> {
    let worker = request.worker;
    if fresh {
        // What died took its siblings with it more often than not.
        worker.pool.forget(node);
    } else if let Some(lease) = worker.pool.take(node, !request.is_repeatable(), request.reply.now()) {
        return Ok(lease);
    }
    let lease = connect(node, request.timeouts().connect).await?;
    record.asked.connected(record.begun, request.reply.now());
    Ok(lease)
}

/// A fault of the client or of ours says nothing of the node.
fn observation(fault: Fault) -> Option<Observed> {
    match fault {
        Fault::Origin(OriginFault::Refused) => Some(Observed::Refused),
        Fault::Origin(OriginFault::ClosedUnanswered { reused: true }) => None,
        Fault::Origin(
            OriginFault::Unreachable
            | OriginFault::ConnectTimedOut
            | OriginFault::TlsTimedOut
            | OriginFault::NoTls
            | OriginFault::ClosedUnanswered { reused: false }
            | OriginFault::AnswerTimedOut
            | OriginFault::RequestUntaken,
        ) => Some(Observed::Failed(fault.reason())),
        // It answered, if badly: that is its app's business, and another node's app is the same.
        Fault::Origin(OriginFault::Malformed(_) | OriginFault::CutShort | OriginFault::BodyTimedOut) => {
            Some(Observed::Answered)
        }
        Fault::Client(_) | Fault::Ours(_) => None,
    }
}
