//! The plain HTTP side of a node: the page, which is compiled in, and two answers for whoever watches it.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use socketioxide::SocketIo;
use socketioxide::adapter::Adapter;

use crate::NodeName;

/// The routes beside `/socket.io/`.
pub fn routes<A: Adapter>(io: SocketIo<A>, node: NodeName) -> Router {
    Router::new()
        .route("/", get(async || page("text/html; charset=utf-8", include_str!("../page/index.html"))))
        // Where `/` is another page, as in the demo.
        .route("/chat", get(async || page("text/html; charset=utf-8", include_str!("../page/index.html"))))
        .route(
            "/page/chat.css",
            get(async || page("text/css; charset=utf-8", include_str!("../page/chat.css"))),
        )
        .route("/page/chat.js", get(async || page(JAVASCRIPT, include_str!("../page/chat.js"))))
        .route(
            "/page/socket.io.min.js",
            get(async || page(JAVASCRIPT, include_str!("../page/socket.io.min.js"))),
        )
        .route("/health", get(async || "ok"))
        .route("/sessions", get(async move || sessions(&io, &node)))
}

fn page(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Messages are other people's words: nothing in them may run, or load anything from elsewhere.
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data: blob:; base-uri 'none'; frame-ancestors 'none'",
        ),
    ];
    (headers, text).into_response()
}

fn sessions<A: Adapter>(io: &SocketIo<A>, NodeName(node): &NodeName) -> Response {
    // A session of this app has one socket, in the main namespace; only those of this process count.
    let sessions = io.local().sockets().len();
    let body = json!({ "node": &**node, "sessions": sessions }).to_string();
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
