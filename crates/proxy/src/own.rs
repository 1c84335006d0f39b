//! Routes that are answered without a node: redirects, and answers that stand in the file.

use std::time::Duration;

use config::routing::{Action, Destination, Redirect, Respond, Route};
use wire::Malformed;
use wire::forward::LineEdits;

use crate::conversation::Exchanged;
use crate::edits::{Into, Values, default_port};
use crate::ends::{BodySource, ReplySink};
use crate::fault::{ClientFault, Fault};
use crate::record::Record;
use crate::reply;

/// Gives the answer of a route that asks no node.
pub(crate) async fn answer(
    values: &Values<'_>,
    body: &BodySource<'_>,
    reply: &ReplySink<'_>,
    patience: Duration,
    record: &mut Record,
) -> Result<Exchanged, Fault> {
    let Route { action, edits, .. } = values.route;
    let mut lines = LineEdits::default();
    if let Some(edits) = edits {
        values.edit(&edits.response, &mut lines);
    }
    // What the client still says of its body is no request.
    let keep_alive = reply.keep_alive && body.is_done();
    let own = match action {
        Action::Upstream(_) => return Ok(Exchanged::Cut),
        Action::Respond(Respond { status: STATUS_CLOSE, .. }) => {
            record.status = STATUS_CLOSE;
            return Ok(Exchanged::Cut);
        }
        Action::Respond(respond) => respond_with(respond, values),
        Action::Redirect(redirect) => redirect_to(redirect, values)?,
    };
    record.status = own.status;
    let bytes = reply::own(&own, values.head, &lines, keep_alive);
    reply.send_whole(&bytes, patience).await?;
    Ok(if keep_alive { Exchanged::KeepAlive } else { Exchanged::Close })
}

fn respond_with(respond: &Respond, values: &Values<'_>) -> reply::Own {
    let Respond { status, text, content_type } = respond;
    let is_html = content_type.to_ascii_lowercase().starts_with("text/html");
    let body = values.fill(text, if is_html { Into::Html } else { Into::Text });
    reply::Own { status: *status, line: ("Content-Type", content_type.clone().into_bytes()), body }
}

fn redirect_to(redirect: &Redirect, values: &Values<'_>) -> Result<reply::Own, Fault> {
    let location = match &redirect.to {
        Destination::Url(url) => values.fill(url, Into::Url),
        Destination::Parts { scheme, host, port, path } => {
            let asked = values.head.host_name().map(<[u8]>::to_vec);
            let host_said = host.as_ref().map(|host| values.fill(host, Into::Url));
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
                Some(path) => url.extend(values.fill(path, Into::Url)),
                None => url.extend_from_slice(values.head.path_and_query()),
            }
            url
        }
    };
    Ok(reply::Own { status: redirect.status, line: ("Location", location), body: Vec::new() })
}

/// nginx's code for a connection that is closed without an answer.
const STATUS_CLOSE: u16 = 444;
