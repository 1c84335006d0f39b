//! Routes that are answered without a node: redirects, answers that stand in the file, and files.

use config::routing::{Action, Destination, Probe, Redirect, Respond, Written};
use wire::Malformed;
use wire::forward::LineEdits;

use crate::fault::{ClientFault, Fault, OurFault};
use crate::observe::record::Record;
use crate::request::downstream::{BodySource, ReplySink, RequestEnds};
use crate::request::edits::{Escaping, Values, default_port};
use crate::request::exchange::{Exchanged, Outcome};
use crate::request::files;
use crate::request::guards;
use crate::request::mirror;
use crate::request::pages;
use crate::request::policy;
use crate::request::reply;
use crate::state::local::Local;
use crate::upstream::Upstream;

/// Gives the answer of a route that asks no node, or not at first.
pub(crate) async fn answer(
    values: &Values<'_>,
    body: &mut BodySource<'_>,
    reply: &ReplySink<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<Outcome, Fault> {
    guards::by_address(values)?;
    let edits = values.route.edits.as_deref();
    if let Some((own, lines)) = edits.and_then(|edits| policy::preflight(&edits.policy, values.head)) {
        record.status = own.status;
        return send(&own, values, &lines, RequestEnds { body, reply }, worker).await;
    }
    // Browsers ask first, without credentials, and want the answer of somebody who is there.
    if let Some(allowed) = &values.route.maintenance
        && values.instead.is_none()
        && !allowed.iter().any(|network| network.contains(&values.client))
    {
        return Err(OurFault::Maintenance.into());
    }
    if let Some(own) = guards::pass(values, body, worker, record).await? {
        record.status = own.status;
        return send(&own, values, &values.answer_lines(), RequestEnds { body, reply }, worker).await;
    }
    let own = match &values.route.action {
        Action::Upstream(_) => return Ok(for_a_node(values, body, worker, record)),
        // A file would be taken for what the other end of a WebSocket says.
        Action::Files(_) if values.head.is_extended_connect() => {
            return match values.upstream {
                Some(_) => Ok(Outcome::NotHere),
                None => Err(OurFault::Bare { status: 501 }.into()),
            };
        }
        Action::Files(_) => {
            return Ok(match files::answer(values, body, reply, worker, record).await? {
                Outcome::NotHere => for_a_node(values, body, worker, record),
                answered @ Outcome::Answered(_) => answered,
            });
        }
        Action::Respond(respond) => match &**respond {
            Respond::Written(answer) if answer.status == STATUS_CLOSE => {
                record.status = STATUS_CLOSE;
                return Ok(Outcome::Answered(Exchanged::Cut));
            }
            Respond::Written(answer) => written(answer, values),
            Respond::Probe(Probe::Health) => plainly(200, "ok\n"),
            Respond::Probe(Probe::Ready) => ready(worker),
        },
        Action::Redirect(redirect) => redirect_to(redirect, values)?,
    };
    let own = with_page(own, values, worker, record)?;
    record.status = own.status;
    send(&own, values, &values.answer_lines(), RequestEnds { body, reply }, worker).await
}

/// A node is asked, and maybe another one for nobody.
fn for_a_node(
    values: &Values<'_>,
    body: &mut BodySource<'_>,
    worker: &Local,
    record: &mut Record,
) -> Outcome {
    mirror::copy(values, body, worker, record);
    Outcome::NotHere
}

/// Sends it, with what the route changes of it.
async fn send(
    own: &reply::Own,
    values: &Values<'_>,
    lines: &LineEdits,
    ends: RequestEnds<'_, '_>,
    worker: &Local,
) -> Result<Outcome, Fault> {
    // A success would have opened the WebSocket.
    if values.head.is_extended_connect() && (200..300).contains(&own.status) {
        return Err(OurFault::Bare { status: 501 }.into());
    }
    let keep_alive = ends.keep_alive();
    let bytes = reply::own(own, values.head, lines, keep_alive);
    ends.reply.send_whole(&bytes, worker.body_timeout()).await?;
    Ok(Outcome::Answered(if keep_alive { Exchanged::KeepAlive } else { Exchanged::Close }))
}

/// The page that the file has for a status without a body of its own.
fn with_page(
    own: reply::Own,
    values: &Values<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<reply::Own, Fault> {
    let snapshot = worker.snapshot();
    let pages = values.route.error_pages.as_deref().unwrap_or(&snapshot.plan.error_pages);
    if !own.body.is_empty() || pages.find(own.status).is_none() {
        return Ok(own);
    }
    if values.instead.is_none() && pages::answer_for(pages, own.status, values.head).is_some() {
        return Err(OurFault::Bare { status: own.status }.into());
    }
    let content = pages::of(own.status, None, Some(values.head), Some(pages), record);
    let lines = vec![("Content-Type", content.content_type.into_bytes())];
    Ok(reply::Own { lines, body: content.body, ..own })
}

fn written(answer: &Written, values: &Values<'_>) -> reply::Own {
    let Written { status, text, content_type } = answer;
    let is_html = content_type.to_ascii_lowercase().starts_with("text/html");
    let body = values.fill(text, if is_html { Escaping::Html } else { Escaping::Text });
    let lines = match body.is_empty() {
        true => Vec::new(),
        false => vec![("Content-Type", content_type.clone().into_bytes())],
    };
    reply::Own { status: *status, lines, body }
}

/// Strangers may read it, so that it names no node.
fn ready(worker: &Local) -> reply::Own {
    let snapshot = worker.snapshot();
    let serves = |upstream: &Upstream| {
        upstream.members.iter().any(|member| member.node.is_up() && !member.node.is_draining())
    };
    if !worker.shared.drain.is_welcoming() {
        return plainly(503, "not ready: it is about to end\n");
    }
    if !snapshot.upstreams.is_empty() && !snapshot.upstreams.iter().any(serves) {
        return plainly(503, "not ready: no node takes clients\n");
    }
    plainly(200, "ready\n")
}

/// An answer that is never kept by whoever stands between.
fn plainly(status: u16, text: &str) -> reply::Own {
    let lines = vec![
        ("Content-Type", b"text/plain; charset=utf-8".to_vec()),
        ("Cache-Control", b"no-store".to_vec()),
    ];
    reply::Own { status, lines, body: text.as_bytes().to_vec() }
}

fn redirect_to(redirect: &Redirect, values: &Values<'_>) -> Result<reply::Own, Fault> {
    let location = match &redirect.to {
        Destination::Url(url) => {
            let filled = values.fill(url, Escaping::Url);
            let is_host = url.written().starts_with("//");
            // Where a path is meant, one that a client began with two slashes is none to another host.
            match filled.iter().take_while(|&&byte| byte == b'/').count() {
                slashes @ 2.. if !is_host => filled[slashes - 1..].to_vec(),
                _ => filled,
            }
        }
        Destination::Parts { scheme, host, port, path } => {
            let asked = values.head.host_name().map(<[u8]>::to_vec);
            let host_said = host.as_ref().map(|host| values.fill(host, Escaping::Url));
            // Only HTTP/1.0 may leave the host out.
            let host = host_said.clone().or(asked).ok_or(ClientFault::Malformed(Malformed::HostMissing))?;
            let is_elsewhere = scheme.is_some() || host_said.is_some();
            let scheme = scheme.unwrap_or(values.scheme());
            let asked_port = values.head.host_port().filter(|_| !is_elsewhere).map(<[u8]>::to_vec);
            let port = port.map(|port| port.to_string().into_bytes()).or(asked_port);
            let mut url = [scheme.as_bytes(), b"://", &host].concat();
            if let Some(port) = port.filter(|port| port != default_port(scheme)) {
                url.extend_from_slice(&[b":", &*port].concat());
            }
            match path {
                Some(path) => url.extend(values.fill(path, Escaping::Url)),
                None => url.extend_from_slice(values.head.path_and_query()),
            }
            url
        }
    };
    Ok(reply::Own { status: redirect.status, lines: vec![("Location", location)], body: Vec::new() })
}

/// nginx's code for a connection that is closed without an answer.
const STATUS_CLOSE: u16 = 444;
