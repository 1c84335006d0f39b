//! Routes that are answered without a node: redirects, answers that stand in the file, and files.

use config::routing::{Action, Destination, Redirect, Respond};
use wire::Malformed;
use wire::forward::LineEdits;

use crate::fault::{ClientFault, Fault};
use crate::observe::record::Record;
use crate::request::downstream::{BodySource, ReplySink};
use crate::request::edits::{Escaping, Values, default_port};
use crate::request::exchange::{Exchanged, Outcome};
use crate::request::files;
use crate::request::reply;
use crate::state::local::Local;

/// Gives the answer of a route that asks no node, or not at first.
pub(crate) async fn answer(
    values: &Values<'_>,
    body: &BodySource<'_>,
    reply: &ReplySink<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<Outcome, Fault> {
    let own = match &values.route.action {
        Action::Upstream(_) => return Ok(Outcome::NotHere),
        Action::Files(_) => return files::answer(values, body, reply, worker, record).await,
        Action::Respond(Respond { status: STATUS_CLOSE, .. }) => {
            record.status = STATUS_CLOSE;
            return Ok(Outcome::Answered(Exchanged::Cut));
        }
        Action::Respond(respond) => respond_with(respond, values),
        Action::Redirect(redirect) => redirect_to(redirect, values)?,
    };
    let mut lines = LineEdits::default();
    if let Some(edits) = &values.route.edits {
        values.edit(&edits.response, &mut lines);
    }
    // What the client still says of its body is no request.
    let keep_alive = reply.keep_alive && body.is_done();
    record.status = own.status;
    let bytes = reply::own(&own, values.head, &lines, keep_alive);
    reply.send_whole(&bytes, worker.body_patience()).await?;
    Ok(Outcome::Answered(if keep_alive { Exchanged::KeepAlive } else { Exchanged::Close }))
}

fn respond_with(respond: &Respond, values: &Values<'_>) -> reply::Own {
    let Respond { status, text, content_type } = respond;
    let is_html = content_type.to_ascii_lowercase().starts_with("text/html");
    let body = values.fill(text, if is_html { Escaping::Html } else { Escaping::Text });
    let lines = match body.is_empty() {
        true => Vec::new(),
        false => vec![("Content-Type", content_type.clone().into_bytes())],
    };
    reply::Own { status: *status, lines, body }
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
