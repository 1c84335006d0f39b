//! The page that shows the fleet, and what it talks to: over a Unix socket that tidelock alone connects to, for itself alone.
//!
//! Its buttons end processes. So whoever asks has to be this page: the request names this machine (a name that somebody else
//! has pointed at 127.0.0.1 is not one of its), and comes from a page of the same origin, which every browser says of a
//! WebSocket's handshake.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde::Deserialize;
use socketioxide::extract::{AckSender, Data, SocketRef};
use socketioxide::handler::ConnectHandler as _;
use socketioxide::{SocketIo, TransportType};
use tokio::net::UnixListener;

use crate::fleet::Fleet;
use crate::history::History;
use crate::verbs::{Buttons, Press};

/// The page, while it is served.
pub(crate) struct Page {
    port: Arc<AtomicU16>,
}

impl Page {
    /// Serves it at a socket until the runtime ends.
    pub(crate) fn serve(socket: &Path, fleet: Fleet, history: History) -> Result<Self> {
        let listener = UnixListener::bind(socket).context("the page's socket cannot be made")?;
        let (layer, io) = SocketIo::builder()
            .req_path(SOCKETS)
            // Polls would take the connections that the sessions on the page need.
            .transports([TransportType::Websocket])
            .build_layer();
        let buttons = Buttons::new(fleet.clone(), io.clone());
        io.ns(
            "/",
            (async || {}).with(async move |socket: SocketRef| {
                welcome(&socket, &buttons, &history);
                Ok::<_, std::convert::Infallible>(())
            }),
        );
        let port = Arc::new(AtomicU16::new(0));
        let files = FILES.iter().fold(Router::new(), |router, &(path, content_type, text)| {
            router.route(path, get(async move || file(content_type, text)))
        });
        let app = files.layer(layer).layer(from_fn_with_state(port.clone(), own_alone));
        tokio::spawn(fleet.tell(io));
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(Self { port })
    }

    /// It is told where tidelock listens, and answers from then on.
    pub(crate) fn is_at(&self, port: u16) {
        self.port.store(port, Relaxed);
    }
}

/// What a page may say.
fn welcome(socket: &SocketRef, buttons: &Buttons, history: &History) {
    // The fleet as it is; what changes is told to all.
    let _ = socket.emit("fleet", &buttons.fleet.last());
    let buttons = buttons.clone();
    socket.on("press", move |Data(press): Data<Press>, ack: AckSender| {
        let buttons = buttons.clone();
        async move {
            let done = buttons.press(press).await;
            // It fails when the page is gone, and then nobody waits for it.
            let _ = ack.send(&done);
        }
    });
    let history = history.clone();
    socket.on("missed", move |Data(missed): Data<Missed>, ack: AckSender| {
        let history = history.clone();
        async move {
            let _ = ack.send(&history.since(&missed.room, missed.since));
        }
    });
}

#[derive(Debug, Deserialize)]
struct Missed {
    room: String,
    since: u64,
}

async fn own_alone(State(port): State<Arc<AtomicU16>>, request: Request, next: Next) -> Response {
    let is_socket = request.uri().path().starts_with(SOCKETS);
    if is_own(request.headers(), port.load(Relaxed), is_socket) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "this is for the demo's own page, at the address that it was started with\n")
        .into_response()
}

/// Whether a request is for this machine by a name of its own and, where it must be, from a page of the same origin.
fn is_own(headers: &HeaderMap, port: u16, must_have_origin: bool) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(HOST) else { return false };
    let is_here = ["127.0.0.1", "localhost"].iter().any(|name| host == format!("{name}:{port}"));
    let is_from_here = match text(ORIGIN) {
        Some(origin) => origin.strip_prefix("http://") == Some(host),
        None => !must_have_origin,
    };
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let is_same_site = !must_have_origin || site.is_none_or(|site| site == "same-origin");
    is_here && is_from_here && is_same_site
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, text).into_response()
}

/// Nothing from elsewhere, nothing that stands in the page itself, and in nobody's frame, where a click could be led astray.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SOCKETS: &str = "/fleet/live";
const CSS: &str = "text/css; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [(&str, &str, &str); 7] = [
    ("/", HTML, include_str!("../../../page/fleet/index.html")),
    ("/fleet/fleet.css", CSS, include_str!("../../../page/fleet/fleet.css")),
    ("/fleet/fleet.js", JAVASCRIPT, include_str!("../../../page/fleet/fleet.js")),
    ("/fleet/guests.js", JAVASCRIPT, include_str!("../../../page/fleet/guests.js")),
    ("/fleet/ledger.js", JAVASCRIPT, include_str!("../../../page/fleet/ledger.js")),
    ("/fleet/lines.js", JAVASCRIPT, include_str!("../../../page/fleet/lines.js")),
    ("/fleet/socket.io.min.js", JAVASCRIPT, include_str!("../../../page/socket.io.min.js")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_page_itself_may_press_its_buttons() {
        let is_own = |said: &[(&'static str, &str)], is_socket| {
            let headers = said
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().expect("a value")));
            super::is_own(&headers.collect(), 8080, is_socket)
        };
        let (host, origin) = (("host", "127.0.0.1:8080"), ("origin", "http://127.0.0.1:8080"));
        assert!(is_own(&[host, origin], true));
        assert!(is_own(&[host, origin, ("sec-fetch-site", "same-origin")], true));
        assert!(is_own(&[("host", "localhost:8080"), ("origin", "http://localhost:8080")], true));
        assert!(is_own(&[host], false), "a page that is typed has no origin");
        for others in [
            &[host][..],
            &[host, ("origin", "http://evil.example")],
            &[host, ("origin", "null")],
            &[host, ("origin", "http://127.0.0.1:8081")],
            &[host, ("origin", "http://localhost:8080")],
            &[host, origin, ("sec-fetch-site", "cross-site")],
            &[("host", "evil.example:8080"), ("origin", "http://evil.example:8080")],
        ] {
            assert!(!is_own(others, true), "{others:?}");
        }
        // A name that somebody else has pointed here reads no page either.
        assert!(!is_own(&[("host", "evil.example:8080")], false));
    }
}
