//! One request, one node after another until one has answered. Which node, which connection, and whether to try
//! again are decided here; what happens on the connection is in `exchange`.

use std::sync::Arc;
use std::time::Duration;

use wire::engineio::CloseScan;
use wire::request::{Method, RequestBody, RequestHead};

use crate::balance::Unpicked;
use crate::conversation::Exchanged;
use crate::ends::{BodySource, ReplySink};
use crate::exchange::{self, Purpose, Session, TunnelSession};
use crate::fault::{Fault, OriginFault, OurFault, Retry};
use crate::record::{self, Record};
use crate::registry::{Address, Begun, SessionUse, Use};
use crate::reply;
use crate::shared::Snapshot;
use crate::sticky::{InPlace, Opening, Place, Wish};
use crate::upstream::connect::connect;
use crate::upstream::node::{InSession, Node, Observed};
use crate::upstream::pool::Lease;
use crate::upstream::{Asked, Upstream};
use crate::worker::Worker;

/// What stays the same from attempt to attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) reply: &'a ReplySink<'a>,
    pub(crate) upstream: &'a Upstream,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) worker: &'a Worker,
}

impl Request<'_> {
    /// Whether a request that may have reached a node may be sent again.
    fn is_repeatable(&self) -> bool {
        self.head.method().is_safe() && self.head.body() == RequestBody::None
    }
}

/// Tries until a node has answered, or until it may not be tried again.
pub(crate) async fn until_answered(
    request: &Request<'_>,
    place: Place,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    match place {
        Place::Session(in_place) => at_its_node(request, in_place, body, record).await,
        Place::NewSession(opening, wish) => anywhere(request, Some(opening), wish, body, record).await,
        Place::Anywhere(wish) => anywhere(request, None, wish, body, record).await,
        Place::Nowhere => Err(OurFault::SessionUnknown.into()),
    }
}

/// A request that any node may answer, and that may begin a session there.
async fn anywhere(
    request: &Request<'_>,
    opening: Option<Opening>,
    wish: Wish,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    if opening.is_some() {
        record.sticky = record::Sticky::Handshake;
    }
    let mut tried = Vec::new();
    let mut fault = Fault::from(OurFault::NoNode);
    // A connection that died in the pool says nothing of its node, and costs none of the attempts; but not for ever.
    let mut stale = 0;
    while tried.len() < request.snapshot.plan.limits.attempts_max && stale < STALE_MAX {
        let (index, in_session) = match choose(request, opening.is_some(), wish, &tried) {
            Ok(chosen) => chosen,
            Err(unpicked) if tried.is_empty() => return Err(unpicked.into()),
            Err(_) => break,
        };
        if let Some(sticky) = wish.decided(index) {
            record.sticky = sticky;
        }
        let node = &request.upstream.nodes[index];
        let purpose = purpose_of(opening, in_session);
        fault = match one(request, To { node, fresh: stale > 0 }, purpose, body, record).await {
            Ok(exchanged) => return Ok(exchanged),
            Err(fault) => fault,
        };
        if !may_repeat(request, fault) {
            return Err(fault);
        }
        match fault {
            Fault::Origin(OriginFault::ClosedUnanswered { reused: true }) => stale += 1,
            _ => tried.push(index),
        }
    }
    Err(fault)
}

/// A node that was not tried, and the session's place on it if it begins one.
fn choose(
    request: &Request<'_>,
    begins_session: bool,
    wish: Wish,
    tried: &[usize],
) -> Result<(usize, Option<InSession>), Unpicked> {
    let upstream = request.upstream;
    let asked = Asked { wish, tried, now: request.reply.alarm.now() };
    if begins_session {
        return upstream.claim_session(asked).map(|(index, in_session)| (index, Some(in_session)));
    }
    let cursor = request.worker.cursors.of(upstream.number);
    upstream.choose(asked, cursor).map(|index| (index, None))
}

fn purpose_of(opening: Option<Opening>, in_session: Option<InSession>) -> Purpose {
    match (opening, in_session) {
        (Some(Opening::Handshake { tags }), Some(in_session)) => Purpose::Handshake { tags, in_session },
        (Some(Opening::WebSocket { is_engine_io }), Some(in_session)) => {
            Purpose::Plain { session: Some(TunnelSession::Own { _counted: in_session, is_engine_io }) }
        }
        (None, _) | (_, None) => Purpose::Plain { session: None },
    }
}

/// A request of a session: to its node, or nowhere (Engine.IO allows one GET and one POST of a session at a time, so
/// that one that may have arrived is never sent again but on proof that it has not).
async fn at_its_node(
    request: &Request<'_>,
    place: InPlace,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    record.sticky = if place.is_tagged { record::Sticky::Tag } else { record::Sticky::Learned };
    let registry = &request.upstream.registry;
    let how = use_of(request.head);
    let registered = || SessionUse { registry: registry.clone(), sid: place.sid.clone(), how };
    let begun = registry.begin(&place.sid, &place.node, how, request.reply.alarm.now());
    let first_use = registered();
    let Begun::Open { silence } = begun else {
        let told = goodbye(request, how, body, record).await;
        if how == Use::Poll {
            registry.close(&place.sid);
        }
        return told;
    };
    if let (Use::Poll | Use::Post, Some(engine_io)) = (how, request.head.engine_io()) {
        body.watch_for_close_packet(CloseScan::new(engine_io.revision, engine_io.jsonp));
        registry.learn_address(&place.sid, || Address {
            path: request.head.path_bytes().into(),
            host: request.head.host_bytes().unwrap_or(place.node.roster.written.as_bytes()).into(),
            revision: engine_io.revision,
        });
    }
    let session = |registered| Session { registered, is_tagged: place.is_tagged, silence };
    let to = |fresh| To { node: &place.node, fresh };
    let first = one(request, to(false), Purpose::Session(session(first_use)), body, record).await;
    let exchanged = match first {
        // An idle connection that died under a poll: the node has not seen it, or has already closed the session.
        Err(Fault::Origin(OriginFault::ClosedUnanswered { reused: true })) if request.is_repeatable() => {
            registry.begin(&place.sid, &place.node, how, request.reply.alarm.now());
            one(request, to(true), Purpose::Session(session(registered())), body, record).await
        }
        other => other,
    };
    match exchanged {
        // Engine.IO closes a session whose pending poll is cut.
        Err(Fault::Client(_)) if how == Use::Poll => registry.close(&place.sid),
        // Nobody listens there any more, so the process that knew the session is gone, and the client may know.
        Err(Fault::Origin(OriginFault::Refused)) => {
            registry.close(&place.sid);
            return Err(OurFault::SessionUnknown.into());
        }
        Ok(_) | Err(_) => {}
    }
    exchanged
}

fn use_of(head: &RequestHead) -> Use {
    match head.method() {
        _ if head.websocket_key().is_some() => Use::Tunnel,
        Method::Post => Use::Post,
        Method::Get | Method::Head | Method::Options | Method::Other => Use::Poll,
    }
}

/// The session was closed on its node, politely; now its client hears of it.
async fn goodbye(
    request: &Request<'_>,
    how: Use,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    if how == Use::Tunnel {
        return Err(OurFault::SessionUnknown.into());
    }
    let patience = request.worker.body_patience();
    while !body.is_done() {
        let (_, walked) = body.at_hand()?;
        body.pass(walked);
        if !body.is_done() {
            body.fill(patience).await?;
        }
    }
    let keep_alive = request.reply.keep_alive;
    let (status, bytes) = reply::goodbye(request.head, how, keep_alive);
    record.status = status;
    request.reply.send_whole(&bytes, patience).await?;
    Ok(if keep_alive { Exchanged::KeepAlive } else { Exchanged::Close })
}

/// Where an attempt goes.
#[derive(Debug, Clone, Copy)]
struct To<'a> {
    node: &'a Arc<Node>,
    /// Over a new connection: an idle one has just turned out to be dead.
    fresh: bool,
}

/// One attempt at one node.
async fn one(
    request: &Request<'_>,
    to: To<'_>,
    purpose: Purpose,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    let node = to.node;
    record.node = Some(node.clone());
    record.attempts += 1;
    let outcome = match lease(request, to).await {
        Ok(lease) => exchange::run(request, lease, purpose, body, record).await,
        Err(fault) => Err(fault),
    };
    let observed = match &outcome {
        Ok(_) => Some(Observed::Answered),
        Err(fault) => observation(*fault),
    };
    if let Some(observed) = observed
        && node.observe(observed)
    {
        request.worker.shared.fallen.tell(node);
        request.worker.pool.forget(node);
    }
    outcome
}

/// A connection to a node: an idle one, or a new one.
async fn lease(request: &Request<'_>, To { node, fresh }: To<'_>) -> Result<Lease, Fault> {
    let worker = request.worker;
    if fresh {
        // What died took its siblings with it more often than not.
        worker.pool.forget(node);
    } else if let Some(lease) = worker.pool.take(node, !request.is_repeatable(), request.reply.alarm.now()) {
        return Ok(lease);
    }
    connect(node, request.upstream.plan.timeouts.connect).await
}

fn may_repeat(request: &Request<'_>, fault: Fault) -> bool {
    match fault.retry() {
        Retry::Never => false,
        Retry::NothingSent => true,
        Retry::IfSafe => request.is_repeatable() && !request.reply.has_begun(),
    }
}

/// What a fault says of the node, if it says anything.
fn observation(fault: Fault) -> Option<Observed> {
    match fault {
        Fault::Origin(OriginFault::Refused) => Some(Observed::Refused),
        Fault::Origin(OriginFault::ClosedUnanswered { reused: true }) => None,
        Fault::Origin(
            OriginFault::Unreachable
            | OriginFault::ConnectTimedOut
            | OriginFault::ClosedUnanswered { reused: false }
            | OriginFault::AnswerTimedOut,
        ) => Some(Observed::Failed(fault.reason())),
        // It answered, if badly: that is its app's business, and another node's app is the same.
        Fault::Origin(OriginFault::Malformed(_) | OriginFault::CutShort | OriginFault::BodyTimedOut) => {
            Some(Observed::Answered)
        }
        Fault::Client(_) | Fault::Ours(_) => None,
    }
}

/// How long an answer is waited for: a poll of a session for as long as the session can be silent.
pub(crate) fn answer_patience(answer: Duration, purpose: &Purpose) -> Duration {
    match purpose {
        Purpose::Session(session) => answer.max(session.silence.unwrap_or(SILENCE_UNKNOWN) + SLACK),
        Purpose::Handshake { .. } | Purpose::Plain { .. } => answer,
    }
}

const STALE_MAX: usize = 2;
/// For a session whose handshake another tidelock saw, on a node whose settings are not known yet.
const SILENCE_UNKNOWN: Duration = Duration::from_secs(600);
const SLACK: Duration = Duration::from_secs(5);
