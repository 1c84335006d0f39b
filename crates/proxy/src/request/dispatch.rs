//! One request, one node after another until one has answered. Which node, which connection, and whether to try
//! again are decided here; what happens on the connection is in `exchange`.

mod attempt;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire::engineio::CloseScan;
use wire::request::{Method, RequestHead};

use self::attempt::{To, try_once};
use crate::fault::{Fault, OriginFault, OurFault, Retry};
use crate::observe::record::{self, Record};
use crate::request::await_node::NodeWait;
use crate::request::downstream::BodySource;
use crate::request::exchange::{ExchangeKind, Exchanged, Registered, Request, Session};
use crate::request::reply;
use crate::request::sticky::{self, Affinity, SessionStart, SessionTarget};
use crate::request::upgrade::TunnelSession;
use crate::request::waits::while_wanted;
use crate::upstream::NodeQuery;
use crate::upstream::admission::NotAdmitted;
use crate::upstream::balance::Preference;
use crate::upstream::death::have_died;
use crate::upstream::member::Begins;
use crate::upstream::node::Node;
use crate::upstream::node::counted::InSession;
use crate::upstream::sessions::{Begun, Hashed, SessionUse, Use};

/// Tries until a node has answered, or until it may not be tried again. What fails for want of a node may be asked once
/// more when there is a newer snapshot.
pub(crate) async fn dispatch(
    request: &Request<'_>,
    place: Affinity,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    request.upstream.budget.count(request.worker.slot);
    match place {
        Affinity::Session(session_target) => to_session_node(request, session_target, body, record).await,
        Affinity::NewSession(opening, preference) => {
            to_any_node(request, Seeks { opening: Some(opening), preference }, body, record).await
        }
        Affinity::Any(preference) => {
            to_any_node(request, Seeks { opening: None, preference }, body, record).await
        }
        Affinity::Unknown => Err(OurFault::SessionUnknown.into()),
    }
}

/// What a request without a session wants.
#[derive(Debug, Clone, Copy)]
struct Seeks {
    /// A session begins with it.
    opening: Option<SessionStart>,
    preference: Preference,
}

/// A request that any node may answer, and that may begin a session there. While all are full, or none can be reached,
/// it waits for as long as the upstream says.
async fn to_any_node(
    request: &Request<'_>,
    seeks: Seeks,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    if seeks.opening.is_some() {
        record.sticky = record::Sticky::Handshake;
    }
    let mut has_lost_its_last = false;
    loop {
        let fault = match try_nodes(request, seeks, body, record, &mut has_lost_its_last).await {
            Ok(exchanged) => return Ok(exchanged),
            Err(fault) if fault.is_want_of_a_node() && request.is_outdated() => return Err(fault),
            Err(Fault::Ours(OurFault::NoNode)) if request.upstream.is_stopped => {
                return Err(OurFault::AppStopped.into());
            }
            Err(fault) => fault,
        };
        Box::pin(until_next_try(request, fault, body, record.begun)).await?;
    }
}

/// Waits until a node may be tried again, for want of one that could be reached or that had room. Returns the fault where there is no
/// more time for that, or where a newer snapshot may have others.
async fn until_next_try(
    request: &Request<'_>,
    fault: Fault,
    body: &mut BodySource<'_>,
    begun: Instant,
) -> Result<(), Fault> {
    let admission = &request.upstream.plan.admission;
    // Counted for as long as it waits.
    let Some(wait) = NodeWait::after(fault, admission, &request.worker.await_nodes) else {
        return Err(fault);
    };
    if request.reply.now() + wait.pause > begun + wait.timeout || request.worker.is_leaving() {
        return Err(fault);
    }
    while_wanted(request.worker, body, sleep(wait.pause)).await?;
    if request.is_outdated() { Err(fault) } else { Ok(()) }
}

/// Asks one node after the other, each once. `has_lost_its_last` is whether it did so before, and the last has died.
async fn try_nodes(
    request: &Request<'_>,
    seeks: Seeks,
    body: &mut BodySource<'_>,
    record: &mut Record,
    has_lost_its_last: &mut bool,
) -> Result<Exchanged, Fault> {
    let mut tried = Vec::new();
    let mut fault = Fault::from(OurFault::NoNode);
    // A connection that died in the pool says nothing of its node, and costs none of the attempts; but not for ever.
    let mut stale = 0;
    let mut cut_by: Vec<Arc<Node>> = Vec::new();
    while tried.len() < request.snapshot.plan.limits.attempts_max && stale < STALE_MAX {
        // What was never sent, or only to a connection that was dead, is no second try.
        let is_second_try = fault.retry() == Retry::IfSafe && !is_stale(fault);
        if is_second_try && !request.upstream.budget.allows(request.upstream.plan.admission.retry_percent) {
            return Err(fault);
        }
        // A first node may have taken its time to fail, and the next must not be one that a reload has taken out meanwhile: a
        // session that began there would be nobody's.
        if fault.retry() != Retry::Never && request.is_outdated() {
            return Err(OurFault::NoNode.into());
        }
        let (index, in_session) = match choose(request, Wants { seeks, tried: &tried }, body, record).await {
            Ok(chosen) => chosen,
            Err(unchosen) if tried.is_empty() || matches!(unchosen, Fault::Client(_)) => {
                return Err(unchosen);
            }
            Err(unchosen) if unchosen.is_want_of_a_node() && request.is_outdated() => return Err(unchosen),
            Err(Fault::Ours(OurFault::NoNode)) if fault.may_be_a_death() => {
                // Boxed, because it is rare.
                let has_died = Box::pin(loses_its_last(request, &cut_by, has_lost_its_last)).await;
                // From now on it is as those are that come now, and waits for a node as they do.
                return Err(if has_died { OriginFault::Refused.into() } else { fault });
            }
            Err(_) => break,
        };
        match sticky::decided(seeks.preference, index) {
            Some(decided) => record.sticky = decided,
            // It led to a node that has failed.
            None if record.sticky == record::Sticky::Cookie => {
                record.sticky = seeks.opening.map_or(record::Sticky::Balance, |_| record::Sticky::Handshake);
            }
            None => {}
        }
        let node = &request.upstream.members[index].node;
        let may_move = || {
            request.is_repeatable()
                && tried.len() + 1 < request.snapshot.plan.limits.attempts_max
                && request.upstream.has_another(index, &tried)
        };
        request.answer_within.set(request.upstream.plan.try_timeout.filter(|_| may_move()));
        let kind = kind_of(seeks.opening, in_session);
        fault = match try_once(request, To { node, fresh: stale > 0 }, kind, body, record).await {
            Ok(exchanged) => return Ok(exchanged),
            Err(fault) => fault,
        };
        if !may_repeat(request, fault) {
            return Err(fault);
        }
        // Several connections of one process end with it, and are one death.
        if fault.may_be_a_death() && !cut_by.iter().any(|known| Arc::ptr_eq(known, node)) {
            cut_by.push(node.clone());
            // Boxed, because it is rare.
            if Box::pin(kills(request, &cut_by, record)).await {
                return Err(fault);
            }
        }
        if is_stale(fault) {
            stale += 1;
        } else {
            tried.push(index);
        }
    }
    Err(fault)
}

/// Whether this request is not sent again, because processes die of it: the last two have, or its like has killed
/// two lately, and now one more.
async fn kills(request: &Request<'_>, cut_by: &[Arc<Node>], record: &Record) -> bool {
    let Request { head, upstream, .. } = *request;
    let last_two = cut_by.last_chunk::<2>();
    let now = request.reply.now();
    match last_two {
        Some(nodes) if have_died(nodes).await => {
            let path = String::from_utf8_lossy(head.path_bytes());
            tracing::warn!(upstream = upstream.plan.name, %path, request_id = record.request_id.as_deref(), "two processes have died of one request; it is not sent to a third");
            upstream.poison.note(head, now);
            true
        }
        _ => upstream.poison.knows(head, now) && have_died(&cut_by[cut_by.len() - 1..]).await,
    }
}

/// Whether the last node that could be asked has died, and not of this request: one that it is asked of again, and
/// that dies as well, is not asked for a third time, nor at all for its like.
async fn loses_its_last(request: &Request<'_>, cut_by: &[Arc<Node>], before: &mut bool) -> bool {
    let Some(last) = cut_by.last_chunk::<1>() else { return false };
    // One that is quickly back is found down by its probes, and is there again when it is asked.
    if !have_died(last).await && last[0].is_up() {
        return false;
    }
    if std::mem::replace(before, true) {
        request.upstream.poison.note(request.head, request.reply.now());
        return false;
    }
    true
}

/// What a node is chosen for.
#[derive(Debug, Clone, Copy)]
struct Wants<'t> {
    seeks: Seeks,
    /// Nodes that have failed the request already.
    tried: &'t [usize],
}

/// A node that was not tried, and the session's place on it if it begins one; that may have to wait for its turn. If there
/// are other nodes when it comes, it is theirs: that is a want of a node, and the ticket is in the record.
async fn choose(
    request: &Request<'_>,
    Wants { seeks, tried }: Wants<'_>,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<(usize, Option<InSession>), Fault> {
    let upstream = request.upstream;
    let asked = NodeQuery { preference: seeks.preference, tried, now: request.reply.now() };
    if seeks.opening.is_none() {
        let cursor = request.worker.cursors.of(upstream.number);
        return Ok((upstream.choose(asked, cursor)?, None));
    }
    let claimed = match upstream.plan.admission.handshake_rate {
        None => upstream.claim_session(asked),
        Some(rate) => {
            let is_outdated = || request.is_outdated();
            let turn = upstream.claim_in_turn(asked, rate, &mut record.ticket, is_outdated);
            let turn = Box::pin(while_wanted(request.worker, body, turn)).await?;
            if let (Some(ticket), Ok(_)) = (&record.ticket, &turn) {
                request.worker.counters.count_queued(record.route, ticket.waited());
            }
            turn.map_err(|refused| match refused {
                NotAdmitted::Overrun => OurFault::Overrun,
                NotAdmitted::Outdated => OurFault::NoNode,
            })?
        }
    };
    let (index, in_session) = claimed?;
    Ok((index, Some(in_session)))
}

fn kind_of(opening: Option<SessionStart>, in_session: Option<InSession>) -> ExchangeKind {
    match (opening, in_session) {
        (Some(SessionStart::Handshake { tags }), Some(in_session)) => {
            ExchangeKind::Handshake { tags, in_session }
        }
        (Some(SessionStart::WebSocket { is_engine_io }), Some(in_session)) => {
            ExchangeKind::Plain { session: Some(TunnelSession::Own { _counted: in_session, is_engine_io }) }
        }
        (None, _) | (_, None) => ExchangeKind::Plain { session: None },
    }
}

/// A request of a session: to its node, or nowhere (Engine.IO allows one GET and one POST of a session at a time, so
/// that one that may have arrived is never sent again but on proof that it has not).
async fn to_session_node(
    request: &Request<'_>,
    place: SessionTarget,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    record.sticky = if place.is_tagged { record::Sticky::Tag } else { record::Sticky::Learned };
    let session_table = &request.upstream.session_table;
    let how = use_of(request.head);
    let hash = session_table.hashed(&place.sid).hash;
    let (first_use, silence, is_pinned) = match begin_use(request, &place, hash, how).await {
        Begun::Open { silence, is_pinned } => (registered(request, &place, hash, how), silence, is_pinned),
        Begun::Leaving => {
            // Counted until it has been told.
            let _in_use = registered(request, &place, hash, how);
            let told = close_reply(request, how, body, record).await;
            if how == Use::Poll {
                session_table.close(&place.sid);
            }
            return told;
        }
        Begun::Unknown => {
            let silence = place.node.silence_ms().map(Duration::from_millis);
            (admit_unknown(request, &place, how)?, silence, false)
        }
    };
    if let (Use::Poll | Use::Post, Some(engine_io)) = (how, request.head.engine_io()) {
        body.watch_for_close_packet(CloseScan::new(engine_io.revision, engine_io.jsonp));
    }
    let session = |registered| Session { registered, is_tagged: place.is_tagged, silence, is_pinned };
    let mut in_use = first_use;
    let mut fresh = false;
    let exchanged = loop {
        let to = To { node: &place.node, fresh };
        let tried = try_once(request, to, ExchangeKind::Session(session(in_use)), body, record).await;
        match tried {
            // An idle connection that died under a poll: the node has not seen it, or has already closed the session.
            Err(fault) if is_stale(fault) && !fresh && request.is_repeatable() => fresh = true,
            // Nothing was sent, and no other node knows the session.
            Err(fault) if fault.is_want_of_a_node() && !is_refused(fault) => {
                Box::pin(until_next_try(request, fault, body, record.begun)).await?;
            }
            ended => break ended,
        }
        in_use = match begin_use(request, &place, hash, how).await {
            Begun::Open { .. } | Begun::Leaving => registered(request, &place, hash, how),
            Begun::Unknown => admit_unknown(request, &place, how)?,
        };
    };
    match exchanged {
        // Engine.IO closes a session whose pending poll is cut.
        Err(Fault::Client(_)) if how == Use::Poll => session_table.close(&place.sid),
        // Nobody listens there any more, so the process that knew the session is gone, and the client may know.
        Err(fault) if is_refused(fault) => {
            session_table.close(&place.sid);
            return Err(OurFault::SessionUnknown.into());
        }
        Ok(_) | Err(_) => {}
    }
    exchanged
}

/// Tells the session table, with the task of a poll, which a drain may have to wake.
async fn begin_use(request: &Request<'_>, place: &SessionTarget, hash: u64, how: Use) -> Begun {
    let session_table = &request.upstream.session_table;
    let now = request.reply.now();
    poll_fn(|cx| {
        let poller = (how == Use::Poll).then(|| cx.waker());
        Poll::Ready(session_table.begin(Hashed { sid: &place.sid, hash }, how, poller, now))
    })
    .await
}

fn registered(request: &Request<'_>, place: &SessionTarget, hash: u64, how: Use) -> Registered {
    let session_table = request.upstream.session_table.clone();
    Registered::Known(SessionUse { session_table, sid: place.sid.clone(), hash, how })
}

/// A session that nobody knows here is its node's to judge; but what bounds the node bounds it too.
fn admit_unknown(request: &Request<'_>, place: &SessionTarget, how: Use) -> Result<Registered, Fault> {
    let member = request.upstream.member_of(&place.node);
    if member.is_some_and(|member| member.is_full(Begins::Request)) {
        return Err(OurFault::AllFull.into());
    }
    Ok(Registered::NotYet {
        session_table: request.upstream.session_table.clone(),
        sid: place.sid.clone(),
        how,
    })
}

fn use_of(head: &RequestHead) -> Use {
    match head.method() {
        _ if head.websocket_key().is_some() => Use::Tunnel,
        Method::Post => Use::Post,
        Method::Get | Method::Head | Method::Options | Method::Other => Use::Poll,
    }
}

/// The session was closed on its node, politely; now its client hears of it.
async fn close_reply(
    request: &Request<'_>,
    how: Use,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    if how == Use::Tunnel {
        return Err(OurFault::SessionUnknown.into());
    }
    let timeout = request.worker.body_timeout();
    while !body.is_done() {
        let (_, walked) = body.at_hand()?;
        body.pass(walked);
        if !body.is_done() {
            body.fill(timeout).await?;
        }
    }
    let keep_alive = request.reply.keep_alive();
    let (status, bytes) = reply::close_reply(request.head, how, keep_alive);
    record.status = status;
    request.reply.send_whole(&bytes, timeout).await?;
    Ok(if keep_alive { Exchanged::KeepAlive } else { Exchanged::Close })
}

fn may_repeat(request: &Request<'_>, fault: Fault) -> bool {
    match fault.retry() {
        Retry::Never => false,
        Retry::NothingSent => true,
        Retry::IfSafe => request.is_repeatable() && !request.reply.has_begun(),
    }
}

/// Whether an idle connection turned out to be dead, which says nothing of its node.
fn is_stale(fault: Fault) -> bool {
    fault == Fault::Origin(OriginFault::ClosedUnanswered { reused: true })
}

/// Whether nobody listens at the node's address.
fn is_refused(fault: Fault) -> bool {
    fault == Fault::Origin(OriginFault::Refused)
}

const STALE_MAX: usize = 2;
