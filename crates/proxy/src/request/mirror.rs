//! Copies of requests, for an upstream whose answers nobody gets (nginx's `mirror`). The request that is copied waits for nothing: a
//! copy is sent by a task of its own once the body is whole, and one that finds no room is left out and counted.

use std::rc::Rc;

use config::routing::Mirror;
use tokio::task::spawn_local;
use tokio::time::timeout;
use wire::forward::{self, ForOrigin};
use wire::request::{Method, RequestBody};

use crate::net::clock::by_clock;
use crate::observe::record::Record;
use crate::request::downstream::BodySource;
use crate::request::edits::Values;
use crate::request::sticky::SentPin;
use crate::request::subrequest::Question;
use crate::state::copies::{BodyCopy, Copied, TOO_LONG};
use crate::state::local::Local;

/// Sends what there is to send, for as long as the worker lives.
pub(crate) async fn attend(worker: Rc<Local>) {
    loop {
        let copied = worker.copies.next().await;
        spawn_local(by_clock(worker.clock.clone(), Box::pin(send(copied, worker.clone()))));
    }
}

async fn send(copied: Copied, worker: Rc<Local>) {
    let snapshot = worker.snapshot();
    // A reload may have taken it out.
    let Some(upstream) = snapshot.upstream(&copied.upstream) else { return };
    let Copied { bytes, is_head, is_repeatable, place, .. } = copied;
    let question = Question { bytes: &bytes, is_head, is_repeatable, keeps: None };
    let asked = timeout(upstream.plan.timeouts.answer, question.ask(upstream, NODES_MAX, &worker)).await;
    worker.counters.count_beside(if let Ok(Some(_)) = asked { SENT } else { UNANSWERED });
    drop(place);
}

/// Has the request copied for whom its route names, if its turn comes.
pub(super) fn copy(values: &Values<'_>, body: &mut BodySource<'_>, worker: &Local, record: &mut Record) {
    let Some(mirror) = &values.route.mirror else { return };
    // Another snapshot may decide it anew.
    if std::mem::replace(&mut record.guarded.get_or_insert_default().is_copied, true) {
        return;
    }
    let head = values.head;
    // Nobody has their sessions there.
    let is_of_session = head.engine_io().is_some() || head.websocket_key().is_some();
    if is_of_session || (mirror.percent < 100 && fastrand::u32(..100) >= mirror.percent) {
        return;
    }
    if matches!(head.body(), RequestBody::Length(length) if length > mirror.body_bytes_max) {
        worker.counters.count_beside(TOO_LONG);
        return;
    }
    let Some(place) = worker.copies.place() else { return };
    let Some(bytes) = printed(mirror, values, worker) else { return };
    let copied = Copied {
        upstream: mirror.upstream.clone(),
        bytes,
        is_head: head.method() == Method::Head,
        is_repeatable: head.method().is_safe(),
        place,
    };
    match head.body() {
        RequestBody::None => worker.copies.send(copied),
        RequestBody::Length(_) | RequestBody::Chunked => {
            body.copy_to(Box::new(BodyCopy::new(copied, mirror.body_bytes_max)));
        }
    }
}

/// The head, with what the route changes of it. Where its nodes stand below their hosts is the other upstream's.
fn printed(mirror: &Mirror, values: &Values<'_>, worker: &Local) -> Option<Vec<u8>> {
    let snapshot = worker.snapshot();
    let upstream = snapshot.upstream(&mirror.upstream)?;
    let mut edits = values.route.edits.as_deref().cloned().unwrap_or_default();
    edits.base.clone_from(&upstream.plan.base);
    let mut changed = values.changed(&edits);
    // The body is here when the copy is sent.
    changed.request.drop_lines("Expect");
    let mut head = values.head.clone();
    head.send_path(values.path_at_node(&edits).as_deref());
    let strips_pins = values.upstream.map(|own| SentPin::read(&head, own).strips(own)).unwrap_or_default();
    let how = ForOrigin {
        host_override: changed.host.as_deref().or(upstream.plan.host.as_deref()),
        host_default: &mirror.upstream,
        client_end: values.end,
        client_address: values.client,
        strips_tag: false,
        wants_plain: false,
        strips_pins,
        pass_headers: &upstream.plan.pass_headers,
        edits: Some(&changed.request),
    };
    let mut bytes = Vec::new();
    forward::print_request(&head, &how, &mut bytes);
    if upstream.plan.forwarded {
        forward::add_forwarded(&head, &how, &mut bytes);
    }
    Some(bytes)
}

/// Nodes that are asked, one after the other.
const NODES_MAX: usize = 2;
/// Under what they are counted.
const SENT: &str = "copies sent to a mirror";
const UNANSWERED: &str = "copies that a mirror did not answer";
