//! Bytes to meaning and back: HTTP/1 heads and bodies, hop-by-hop headers, WebSocket handshakes, Engine.IO.
//! No I/O, no clock, no async: what comes in is a slice, what goes out is a buffer.
//!
//! The modules stand in the order in which a request meets them: its head is found ([`scan`]), read
//! ([`request`]), its target understood ([`engineio`]), printed for the origin ([`forward`]), its body walked
//! ([`body`]), the answer's head read ([`answer`]), its events told apart
//! ([`events`]) and, when it opens a WebSocket, checked ([`websocket`]).

pub mod proxy_protocol;
pub mod scan;
mod lines;
mod host;
pub mod request;
pub mod path;
pub mod engineio;
pub mod tag;
pub mod cookie;
pub mod pin_names;
pub mod rendezvous;
mod forwarded;
mod trace;
pub mod forward;
pub mod http2;
mod page_request;
pub mod body;
mod chunked;
pub mod answer;
pub mod events;
pub mod websocket;
pub mod frame;
mod span;
mod malformed;

pub use malformed::Malformed;
pub use span::{HeadBounds, Span, Version};
