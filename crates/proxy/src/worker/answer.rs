//! One request, head to answer. Read [`answer`] to know the proxy; everything it calls is a leaf.

use std::cell::Cell;
use std::future::poll_fn;
use std::time::Duration;

use config::routing::{AnswerPage, AnsweredBy, Edits, PageStatus, Route};
use wire::forward::LineEdits;
use wire::request::RequestHead;

use crate::fault::{ClientFault, Fault, OriginFault, OurFault, Retry};
use crate::observe::record::{self, Logged, Record, Sticky};
use crate::request::await_instance;
use crate::request::challenge;
use crate::request::dispatch;
use crate::request::downstream::{BodySource, ReplySink, RequestEnds};
use crate::request::edits::{Changed, Values};
use crate::request::exchange::{Exchanged, Outcome, Request};
use crate::request::own;
use crate::request::pages;
use crate::request::reply;
use crate::request::sides;
use crate::request::sticky::{self, Affinity, SentPin};
use crate::state::local::Local;
use crate::state::shared::Snapshot;
use crate::upstream::Upstream;
use crate::upstream::route_number::RouteNumber;

/// Answers one request: finds its route, and for one of an upstream its place, a node, and exchanges.
pub(super) async fn answer(
    head: &mut RequestHead,
    body: &mut BodySource<'_>,
    reply: &ReplySink<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    if let Some(redirect) = reply.arrival().redirects {
        let snapshot = worker.snapshot();
        if snapshot.challenges.is_some()
            && let Outcome::Answered(exchanged) = challenged(head, body, reply, worker, record).await?
        {
            return Ok(exchanged);
        }
        let keep_alive = reply.keep_alive() && body.is_done();
        let (status, bytes) = reply::redirect_to_https(head, redirect, keep_alive)
            .ok_or(ClientFault::Malformed(wire::Malformed::HostMissing))?;
        record.status = status;
        reply.send_whole(&bytes, worker.body_timeout()).await?;
        return Ok(if keep_alive { Exchanged::KeepAlive } else { Exchanged::Close });
    }
    if worker.shared.memory.is_out() {
        return Err(OurFault::NoMemory.into());
    }
    let end = reply.arrival().end;
    let port = end.port();
    if end.is_asked_for_certificate() && reply.is_for_another_host(head) {
        return Err(ClientFault::Misdirected.into());
    }
    loop {
        let mut snapshot = worker.snapshot();
        if snapshot.challenges.is_some()
            && let Outcome::Answered(exchanged) = challenged(head, body, reply, worker, record).await?
        {
            return Ok(exchanged);
        }
        let found = snapshot.route(head, port);
        let mut found = found.map_err(|fault| misdirected(fault, head, reply, &snapshot))?;
        let mut route = &snapshot.plan.routes[found];
        record.logged = Logged::by(route.logged);
        record.route = snapshot.route_number(found);
        if !route.is_straight && record.instead_upstream.is_none() {
            found = sides::chosen(&snapshot, found, head, record);
            route = &snapshot.plan.routes[found];
            let upstream = snapshot.upstream_of(found);
            let values = Values::new(head, reply.arrival().end, route, record).with_upstream(upstream);
            // Boxed, for a request's memory is what the largest of its ways takes.
            match Box::pin(own::answer(&values, body, reply, worker, record)).await? {
                Outcome::Answered(exchanged) => return Ok(exchanged),
                // It took its time to find that out.
                Outcome::NotHere if !worker.is_newest(&snapshot) => continue,
                Outcome::NotHere => {}
            }
        }
        if record.instead_upstream.is_none()
            && snapshot.upstream_of(found).is_some_and(Upstream::awaits_instance)
        {
            // Boxed, because it is rare.
            let gone = poll_fn(|cx| body.poll_client_gone(cx));
            let awaited = Box::pin(await_instance::awaited(head, port, worker, record, gone)).await;
            snapshot = awaited.ok_or(ClientFault::Gone)?;
            found = sides::chosen(&snapshot, snapshot.route(head, port)?, head, record);
        }
        let upstream = match &record.instead_upstream {
            // Another plan may have another answer by now.
            None => match snapshot.upstream_of(found) {
                Some(upstream) => upstream,
                None => continue,
            },
            Some(name) => snapshot.upstream(name).ok_or(OurFault::NoNode)?,
        };
        let route = &snapshot.plan.routes[found];
        body.accept(head, route.body_bytes_max.unwrap_or(snapshot.plan.limits.body_bytes_max))?;
        let changed = match record.instead {
            None => route.edits.as_deref().map(|edits| changed(edits, head, reply, route, record)),
            Some(_) => Some(changed_instead(upstream, head, reply, route, record)),
        };
        let sent_pin = SentPin::read(head, upstream);
        let place = sticky::affinity(head, sent_pin, upstream, record.client);
        if let Affinity::Unknown = place {
            record.sticky = Sticky::Unknown;
            return Err(OurFault::SessionUnknown.into());
        }
        let request = Request {
            head: &*head,
            reply,
            upstream,
            snapshot: &snapshot,
            worker,
            changed: changed.as_deref(),
            sent_pin,
            answer_within: Cell::default(),
        };
        match dispatch::dispatch(&request, place, body, record).await {
            // The nodes that it knew of have left meanwhile, and those that came in their place have not been asked.
            // What this route had said of the path is not what the next one says.
            Err(fault) if fault.is_want_of_a_node() && request.is_outdated() => head.send_path(None),
            answered => return answered,
        }
    }
}

/// What a route changes, which is told to the head as far as it is the path.
fn changed(
    edits: &Edits,
    head: &mut RequestHead,
    reply: &ReplySink<'_>,
    route: &Route,
    record: &mut Record,
) -> Box<Changed> {
    let values = Values::new(head, reply.arrival().end, route, record);
    let changed = Box::new(values.changed(edits));
    let path = values.path_at_node(edits);
    head.send_path(path.as_deref());
    changed
}

/// The same, of an answer in the place of a fault. How long the nodes of another upstream are waited for, and where they stand
/// below their hosts, is that one's.
#[cold]
fn changed_instead(
    upstream: &Upstream,
    head: &mut RequestHead,
    reply: &ReplySink<'_>,
    route: &Route,
    record: &mut Record,
) -> Box<Changed> {
    let mut edits = route.edits.as_deref().cloned().unwrap_or_default();
    if record.instead_upstream.is_some() {
        edits.base.clone_from(&upstream.plan.base);
        edits.timeouts = None;
    }
    changed(&edits, head, reply, route, record)
}

/// Answers an authority that looks whose a name is. Boxed, because it is rare.
async fn challenged(
    head: &RequestHead,
    body: &BodySource<'_>,
    reply: &ReplySink<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<Outcome, Fault> {
    let Some(token) = challenge::token(head) else { return Ok(Outcome::NotHere) };
    Box::pin(challenge::answer(token, head, RequestEnds { body, reply }, worker, record)).await
}

/// What is wrong where no route was found: a client that has shaken hands for another host, and whose request another listen
/// would serve, is to connect there (RFC 9110 section 15.5.20).
#[cold]
fn misdirected(fault: Fault, head: &RequestHead, reply: &ReplySink<'_>, snapshot: &Snapshot) -> Fault {
    let is_misdirected = fault == Fault::Ours(OurFault::NoRoute)
        && reply.is_for_another_host(head)
        && snapshot.is_served_over_tls(head);
    if is_misdirected { ClientFault::Misdirected.into() } else { fault }
}

/// What is known of a fault while somebody else answers in its place.
pub(super) struct Instead {
    fault: Fault,
    status: Option<u16>,
    /// The route that it happened on.
    route: RouteNumber,
    /// The request that is answered, if it is not the client's own.
    pub(super) get: Option<RequestHead>,
}

/// Both ends of a request that is not answered yet: what is unread of its body may be left, and its connection closed for it.
pub(super) struct OpenEnds<'e, 'b, 'r> {
    pub(super) body: &'e mut BodySource<'b>,
    pub(super) reply: &'e mut ReplySink<'r>,
}

/// Finds who answers in the place of a fault, as `error_pages` says: [`answer`] is asked again then, and knows it by the record.
pub(super) fn instead_of(
    fault: Fault,
    head: &RequestHead,
    ends: OpenEnds<'_, '_, '_>,
    worker: &Local,
    record: &mut Record,
) -> Option<Box<Instead>> {
    let OpenEnds { body, reply } = ends;
    let (status, page) = page_of(fault, head, reply, worker)?;
    let get = match &page.by {
        // What the route answers which takes a GET of this path.
        AnsweredBy::Path(path) => {
            let get = head.asking_for(path.as_bytes()).ok()?;
            if !body.is_done() {
                reply.close_after();
            }
            body.leave();
            Some(get)
        }
        AnsweredBy::Upstream(name) if may_ask_again(fault, head, body) => {
            record.instead_upstream = Some(name.as_str().into());
            None
        }
        AnsweredBy::Upstream(_) => return None,
    };
    if is_suspect(fault) {
        reply.close_after();
    }
    let status = match page.status {
        PageStatus::OfFault => Some(status),
        PageStatus::Own => None,
        PageStatus::Is(status) => Some(status),
    };
    record.instead = Some(record::Instead { status });
    Some(Box::new(Instead { fault, status, route: record.route, get }))
}

impl Instead {
    /// Notes in the record that it was answered.
    pub(super) fn is_answered(&self, record: &mut Record) {
        record.fault = Some(self.fault);
        record.route = self.route;
        if let Some(status) = self.status.filter(|_| !KEEPS_ITS_STATUS.contains(&record.status)) {
            record.status = status;
        }
    }

    /// Gives up: the client is told of the fault itself.
    pub(super) fn into_fault(self, record: &mut Record) -> Fault {
        record.route = self.route;
        record.instead = None;
        record.instead_upstream = None;
        self.fault
    }
}

/// The page that somebody answers in the place of a fault, and the status of that.
fn page_of(
    fault: Fault,
    head: &RequestHead,
    reply: &ReplySink<'_>,
    worker: &Local,
) -> Option<(u16, AnswerPage)> {
    let status = fault.status()?;
    if reply.has_begun() || fault == Fault::Ours(OurFault::NoMemory) || worker.shared.memory.is_out() {
        return None;
    }
    let snapshot = worker.snapshot();
    let route = snapshot.route(head, reply.arrival().end.port()).ok();
    let route = route.and_then(|found| snapshot.plan.routes.get(found));
    let own_pages = route.and_then(|route| route.error_pages.as_deref());
    let page = pages::answer_for(own_pages.unwrap_or(&snapshot.plan.error_pages), status, head)?;
    Some((status, page.clone()))
}

/// Whether a request may go to other nodes after this fault: whatever it asks for, if nothing can have been done,
/// and if it changes nothing, where that is not known. Its body is not kept.
fn may_ask_again(fault: Fault, head: &RequestHead, body: &BodySource<'_>) -> bool {
    let is_asked_once =
        matches!(fault, Fault::Ours(OurFault::Replaced { .. })) || fault.retry() == Retry::IfSafe;
    body.bytes() == 0 && (fault.is_undone() || (is_asked_once && pages::is_repeatable(head)))
}

/// Where a client or a node broke the rules, nothing of the connection is trusted any further. Nor is there memory for one
/// that goes on asking.
fn is_suspect(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::Client(_) | Fault::Origin(OriginFault::Malformed(_)) | Fault::Ours(OurFault::NoMemory)
    )
}

/// Turns a fault into an answer, where there is still somebody to tell and nothing of an answer has gone out.
pub(super) async fn tell(
    fault: Fault,
    head: &RequestHead,
    ends: RequestEnds<'_, '_>,
    worker: &Local,
    record: &mut Record,
) -> Exchanged {
    let reply = ends.reply;
    record.fault = Some(fault);
    if reply.has_begun() {
        return Exchanged::Cut;
    }
    let keep_alive = ends.keep_alive() && !is_suspect(fault);
    let snapshot = worker.snapshot();
    let route = snapshot.route(head, reply.arrival().end.port()).ok();
    let route = route.and_then(|found| snapshot.plan.routes.get(found));
    let mut lines = LineEdits::default();
    if let Some(route) = route {
        Values::new(head, reply.arrival().end, route, record).say_policy(&mut lines);
    }
    for (name, value) in record.guarded.iter().flat_map(|guarded| &guarded.lines) {
        lines.say(name, value.as_bytes());
    }
    let own_pages = route.and_then(|route| route.error_pages.as_deref());
    let pages = own_pages.unwrap_or(&snapshot.plan.error_pages);
    let content = |status| pages::of(status, fault.reason_told(), Some(head), Some(pages), record);
    let Some((status, bytes)) = reply::fault(fault, Some(head), content, &lines, keep_alive) else {
        record.status = STATUS_CLIENT_CLOSED;
        return Exchanged::Cut;
    };
    record.status = status;
    match reply.send_whole(&bytes, LAST_WORD_TIMEOUT).await {
        Ok(()) if keep_alive => Exchanged::KeepAlive,
        Ok(()) => Exchanged::Close,
        Err(_) => Exchanged::Cut,
    }
}

/// nginx's code in logs for a client that closed before its answer; never sent.
const STATUS_CLIENT_CLOSED: u16 = 499;
/// A client that does not take a short answer in so long is not waiting for it.
pub(super) const LAST_WORD_TIMEOUT: Duration = Duration::from_secs(5);
/// What `LineEdits::status_instead` leaves as it is.
const KEEPS_ITS_STATUS: [u16; 7] = [101, 204, 301, 302, 303, 307, 308];
