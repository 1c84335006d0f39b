//! By somebody else's word: each request is asked about before a node gets it (nginx's `auth_request`, Traefik's forward auth).
//! Without an answer nobody may.

use std::future::poll_fn;
use std::task::{Poll, ready};

use bytes::Buf;
use config::routing::Ask;
use wire::HeadBounds;
use wire::answer::{AnswerHead, AnswerTo};
use wire::body::BodyWalk;
use wire::forward::{ForOrigin, LineEdits, print_request};
use wire::pin_names::StripPins;
use wire::request::{Method, RequestHead};
use wire::scan::{HeadScan, Side};

use crate::fault::{ClientFault, Fault, OriginFault, OurFault};
use crate::net::clock::Alarm;
use crate::observe::guarded::Granted;
use crate::observe::record::Record;
use crate::request::downstream::BodySource;
use crate::request::edits::Values;
use crate::request::reply::Own;
use crate::state::local::Local;
use crate::upstream::balance::Preference;
use crate::upstream::connect::connect;
use crate::upstream::health::state::{Change, Observed};
use crate::upstream::pool::Lease;
use crate::upstream::{NodeQuery, Upstream};

/// Asks, and returns the answer that the client gets if it may not.
pub(super) async fn pass(
    ask: &Ask,
    values: &Values<'_>,
    body: &mut BodySource<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<Option<Own>, Fault> {
    // Somebody who was asked already has another snapshot decide anew, which may ask somebody else.
    let asked = values.head.asking_for(ask.path.as_bytes()).map_err(|_| OurFault::AuthUnanswered)?;
    let answering = tokio::time::timeout(ask.timeout, answer(ask, &asked, values, worker));
    let answer = tokio::select! {
        answer = answering => answer,
        () = poll_fn(|cx| body.poll_client_gone(cx)) => return Err(ClientFault::Gone.into()),
    };
    let Ok(Some(Answer { head, body })) = answer else { return Err(OurFault::AuthUnanswered.into()) };
    let guarded = record.guarded.get_or_insert_default();
    let status = head.status();
    match status {
        200..300 => {
            let copied = ask.copy.iter().flat_map(|name| {
                head.lines_of(name).map(|value| (name.clone(), value.to_vec())).collect::<Vec<_>>()
            });
            let cookies = head.lines_of("set-cookie").map(<[u8]>::to_vec);
            guarded.granted = Some(Granted { copied: copied.collect(), cookies: cookies.collect() }.into());
            Ok(None)
        }
        401 | 403 if has_page(status, values, worker) => {
            let said =
                head.lines_of("www-authenticate").map(|value| String::from_utf8_lossy(value).into_owned());
            guarded.lines = said.map(|value| ("WWW-Authenticate", value)).collect();
            Err(if status == 401 { OurFault::Unauthorized } else { OurFault::Denied }.into())
        }
        300..500 => {
            let lines =
                PASSED_ON.iter().flat_map(|name| head.lines_of(name).map(|value| (*name, value.to_vec())));
            Ok(Some(Own { status, lines: lines.collect(), body }))
        }
        _ => Err(OurFault::AuthUnanswered.into()),
    }
}

fn has_page(status: u16, values: &Values<'_>, worker: &Local) -> bool {
    let snapshot = worker.snapshot();
    let pages = values.route.error_pages.as_deref().unwrap_or(&snapshot.plan.error_pages);
    values.instead.is_none() && pages.find(status).is_some()
}

struct Answer {
    head: AnswerHead,
    body: Vec<u8>,
}

/// The answer of the first that gives one.
async fn answer(ask: &Ask, asked: &RequestHead, values: &Values<'_>, worker: &Local) -> Option<Answer> {
    let snapshot = worker.snapshot();
    let upstream = snapshot.upstream(&ask.authority).or_else(|| snapshot.upstream(&ask.origin))?;
    let request = printed(ask, asked, values, upstream);
    let (mut tried, mut is_stale) = (Vec::new(), false);
    while tried.len() < TRIES_MAX {
        let query = NodeQuery { preference: Preference::None, tried: &tried, now: worker.clock.now() };
        let index = upstream.choose(query, worker.cursors.of(upstream.number)).ok()?;
        let node = &upstream.members[index].node;
        let idle = if is_stale { None } else { worker.pool.take(node, false, worker.clock.now()) };
        let lease = match idle {
            Some(lease) => Ok(lease),
            None => connect(node, upstream.plan.timeouts.connect).await,
        };
        let answer = match lease {
            Ok(lease) => {
                let reused = lease.reused;
                let answer = exchange(lease, &request, asked.method() == Method::Head, worker).await;
                answer.map_err(|fault| match fault {
                    OriginFault::ClosedUnanswered { .. } => OriginFault::ClosedUnanswered { reused },
                    other => other,
                })
            }
            Err(Fault::Origin(fault)) => Err(fault),
            Err(_) => return None,
        };
        let observed = match answer {
            Ok(answer) => {
                node.observe(Observed::Answered);
                return Some(answer);
            }
            // It died in the pool, which says nothing of its node.
            Err(OriginFault::ClosedUnanswered { reused: true }) if !is_stale => {
                is_stale = true;
                worker.pool.forget(node);
                continue;
            }
            Err(OriginFault::Refused) => Observed::Refused,
            Err(fault) => Observed::Failed(Fault::from(fault).reason()),
        };
        if let Change::Fell | Change::Suspected = node.observe(observed) {
            worker.shared.probe_queue.push(node);
        }
        tried.push(index);
    }
    None
}

/// The question: the client's own request without its body, as a GET, and what it has asked for.
fn printed(ask: &Ask, asked: &RequestHead, values: &Values<'_>, upstream: &Upstream) -> Vec<u8> {
    let head = values.head;
    let mut edits = LineEdits::default();
    let (uri, method) = (head.path_and_query(), head.method_bytes());
    for (name, value) in [
        // nginx's people say it so, and those of Traefik and Caddy so.
        ("X-Original-URI", uri),
        ("X-Original-Method", method),
        ("X-Forwarded-Uri", uri),
        ("X-Forwarded-Method", method),
    ] {
        edits.drop_lines(name);
        edits.say(name, value);
    }
    if head.websocket_key().is_some() {
        edits.say("X-Original-Upgrade", b"websocket");
    }
    let how = ForOrigin {
        host_override: Some(upstream.plan.host.as_deref().unwrap_or(&ask.authority)),
        host_default: &ask.authority,
        client_end: values.end,
        client_address: values.client,
        strips_tag: false,
        wants_plain: false,
        strips_pins: StripPins::None,
        pass_headers: &upstream.plan.pass_headers,
        edits: Some(&edits),
    };
    let mut request = Vec::new();
    print_request(asked, &how, &mut request);
    request
}

/// Sends it and reads the answer; a connection that can carry another one is kept.
async fn exchange(
    mut lease: Lease,
    request: &[u8],
    is_head: bool,
    worker: &Local,
) -> Result<Answer, OriginFault> {
    let alarm = Alarm::new(worker.clock.clone());
    let unanswered = OriginFault::ClosedUnanswered { reused: false };
    lease.io.write_all(request, b"", &alarm, WRITE_TIMEOUT).await.map_err(|_| unanswered)?;
    let head = loop {
        let head = head(&mut lease, is_head, worker).await?;
        if !head.is_interim() {
            break head;
        }
    };
    let mut body = Vec::new();
    let mut walk = BodyWalk::of_answer(head.body(), false);
    while !walk.is_at_end() {
        let walked =
            walk.walk(&mut lease.inbound).map_err(|_| OriginFault::Malformed(wire::Malformed::ChunkSize))?;
        body.extend_from_slice(&lease.inbound[..walked.kept]);
        lease.inbound.advance(walked.taken);
        if walked.is_end {
            break;
        }
        if body.len() > BODY_BYTES_MAX {
            return Err(OriginFault::CutShort);
        }
        match read(&mut lease, worker).await {
            Some(1..) => {}
            _ if walk.ends_at_close() => return Ok(Answer { head, body }),
            _ => return Err(OriginFault::CutShort),
        }
    }
    if walk.is_at_end() && head.keep_alive() {
        let timeout = head.keep_alive_timeout_s().map(std::time::Duration::from_secs);
        worker.pool.give_back(lease, timeout, worker.clock.now());
    }
    Ok(Answer { head, body })
}

async fn head(lease: &mut Lease, is_head: bool, worker: &Local) -> Result<AnswerHead, OriginFault> {
    let mut scan = HeadScan::new(Side::Answer);
    loop {
        if let Some(length) = scan.advance(&lease.inbound, &BOUNDS).map_err(OriginFault::Malformed)? {
            let asked = AnswerTo { is_head, accept: None, is_connect: false };
            let bytes = lease.inbound.split_to(length);
            return AnswerHead::parse(&bytes, &BOUNDS, &asked).map_err(OriginFault::Malformed);
        }
        if !matches!(read(lease, worker).await, Some(1..)) {
            return Err(OriginFault::ClosedUnanswered { reused: false });
        }
    }
}

/// How many bytes have come; `None` if the connection broke.
async fn read(lease: &mut Lease, worker: &Local) -> Option<usize> {
    let Lease { io, inbound, .. } = lease;
    poll_fn(|cx| Poll::Ready(ready!(io.poll_read(cx, inbound, &worker.buffers)).ok())).await
}

/// Lines of a refusal that the client gets.
const PASSED_ON: [&str; 12] = [
    "Location",
    "WWW-Authenticate",
    "Set-Cookie",
    "Content-Type",
    "Content-Encoding",
    "Content-Language",
    "Content-Security-Policy",
    "Cache-Control",
    "Vary",
    "Retry-After",
    "Refresh",
    "X-Auth-Request-Redirect",
];
/// Nodes that are asked, one after the other.
const TRIES_MAX: usize = 3;
/// Of a refusal, which is a page at most.
const BODY_BYTES_MAX: usize = 64 * 1024;
const WRITE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
const BOUNDS: HeadBounds =
    HeadBounds { target_bytes_max: 0, head_bytes_max: 64 * 1024, lines_max: HeadBounds::LINES_MAX };
