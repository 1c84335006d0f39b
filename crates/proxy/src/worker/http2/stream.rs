//! One stream of a client's HTTP/2 connection, which becomes a connection that asks once: its header section is printed as
//! HTTP/1 has it, and read as every request is.

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::ext::Protocol;
use h2::server::SendResponse;
use http::{Method, Request};
use wire::Malformed;
use wire::http2::{PrintedRequest, StreamHead, print_request};

use crate::net::stream::{Http2Io, Io, Stream};
use crate::observe::lifecycle::Lives;
use crate::state::local::Local;
use crate::worker::connection::ClientConnection;
use crate::worker::http2::shared::Shared;

/// A stream that has been opened, as a connection, and what is wrong with its header section if anything is. `None` if the client
/// has reset it already.
pub(super) fn open(
    request: Request<RecvStream>,
    send: SendResponse<Bytes>,
    shared: &Shared,
    worker: &Rc<Local>,
) -> Option<(ClientConnection, Result<(), Malformed>)> {
    let (parts, recv) = request.into_parts();
    let printed = print(&parts, !recv.is_end_stream());
    let (head, is_chunked, read) = match printed {
        Ok(PrintedRequest { head, is_chunked }) => (BytesMut::from(&*head), is_chunked, Ok(())),
        Err(malformed) => (BytesMut::new(), false, Err(malformed)),
    };
    let is_head = parts.method == Method::HEAD;
    let mut io = Http2Io::new(recv, send, is_chunked, is_head, shared.connection.clone());
    if io.is_gone() {
        return None;
    }
    let io = Io::new(Stream::Http2(Box::new(io)));
    let live = Lives::OnAStream(shared.live.clone());
    let mut client = ClientConnection::of_stream(io, shared.end.clone(), shared.redirects, live, worker);
    client.inbound = head;
    Some((client, read))
}

/// The head as HTTP/1 would have said it.
fn print(parts: &http::request::Parts, has_body: bool) -> Result<PrintedRequest, Malformed> {
    let key = websocket_key();
    let head = StreamHead {
        method: parts.method.as_str().as_bytes(),
        scheme: parts.uri.scheme_str().map(str::as_bytes),
        authority: parts.uri.authority().map(|authority| authority.as_str().as_bytes()),
        path: parts.uri.path_and_query().map(|path| path.as_str().as_bytes()),
        protocol: parts.extensions.get::<Protocol>().map(|protocol| protocol.as_str().as_bytes()),
        key: &key,
        has_body,
    };
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    print_request(&head, &fields.collect::<Vec<_>>())
}

/// The key that a node is asked with for a WebSocket, of which HTTP/2 has none: 16 bytes in base64, which nobody has to guess.
fn websocket_key() -> [u8; 24] {
    let mut key = *b"AAAAAAAAAAAAAAAAAAAAAA==";
    for byte in &mut key[..21] {
        *byte = fastrand::alphanumeric() as u8;
    }
    key
}
