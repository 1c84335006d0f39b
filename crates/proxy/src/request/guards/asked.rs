//! By somebody else's word: each request is asked about before a node gets it (nginx's `auth_request`, Traefik's forward auth).
//! Without an answer nobody may.

use std::future::poll_fn;

use config::routing::Ask;
use wire::forward::{ForOrigin, LineEdits, print_request};
use wire::pin_names::StripPins;
use wire::request::{Method, RequestHead};

use crate::fault::{ClientFault, Fault, OurFault};
use crate::observe::guarded::Granted;
use crate::observe::record::Record;
use crate::request::downstream::BodySource;
use crate::request::edits::Values;
use crate::request::reply::Own;
use crate::request::subrequest::{Answer, Question};
use crate::state::local::Local;
use crate::upstream::Upstream;

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

/// The answer of the first that gives one.
async fn answer(ask: &Ask, asked: &RequestHead, values: &Values<'_>, worker: &Local) -> Option<Answer> {
    let snapshot = worker.snapshot();
    let upstream = snapshot.upstream(&ask.authority).or_else(|| snapshot.upstream(&ask.origin))?;
    let question = Question {
        bytes: &printed(ask, asked, values, upstream),
        is_head: asked.method() == Method::Head,
        is_repeatable: true,
        keeps: Some(BODY_BYTES_MAX),
    };
    question.ask(upstream, TRIES_MAX, worker).await
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
