//! Goal: what works over HTTP/1 works over HTTP/2, and nothing that a client does in frames brings a node anything else than the
//! request that was meant.
//! Method: raw frames, by tables, through the real binary to origins that record every request; and real clients.

mod downgrade;
mod floods;
mod going;
mod real;
mod rfc9113;
mod same;
mod through;
mod websockets;

use testkit::http2::{Frame, Http2Connection, flag, get};
use testkit::origin::{ScriptedOrigin, Step};
use testkit::tidelock::{Tidelock, config_for};

/// A proxy that speaks HTTP/2 without TLS, and its origin.
struct World {
    proxy: Tidelock,
    origin: ScriptedOrigin,
}

impl World {
    /// `origin` answers; `more` stands behind what every file has.
    async fn with(origin: ScriptedOrigin, more: &str) -> Self {
        let config = config_for(&[origin.address()]).replace("[[route]]", "http2 = true\n[[route]]");
        let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &format!("{config}{more}")).await;
        Self { proxy, origin }
    }

    /// An origin that says what it was asked.
    async fn new() -> Self {
        let echo = |request: &testkit::message::Message| {
            let asked = request.start.strip_suffix(" HTTP/1.1").unwrap_or("no HTTP/1.1").to_owned();
            let length = if asked.starts_with("HEAD") { 5 } else { asked.len() };
            let body = if asked.starts_with("HEAD") { "" } else { &asked };
            vec![Step::send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"))]
        };
        Self::with(ScriptedOrigin::start(echo).await, "[limits]\nbody_bytes_max = \"64KiB\"\n").await
    }

    async fn connect(&self) -> Http2Connection {
        Http2Connection::connect(self.proxy.address(), &[]).await
    }

    /// Somebody else gets an answer of its own.
    async fn assert_is_well(&self) {
        let mut client = self.connect().await;
        client.send(&Frame::headers(1, flag::END_STREAM, &get("/innocent"))).await;
        assert_eq!(client.answer(1).await, (200, b"GET /innocent".to_vec()));
    }
}
