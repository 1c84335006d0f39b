//! One socket, plain or TLS, and the few ways in which the rest reads and writes it. Deadlines are put around these
//! futures by their callers; every one of them is cancel-safe unless it says otherwise.
//!
//! `Stream` is a socket, `Reader` one that a task reads, `Io` one that two futures of a task share, and which the runtime may
//! not know yet, and `ClientStream` that of a client, with its alarm.

mod as_tokio;
mod client;
mod duplex;
pub(crate) mod eager_read;
mod http2_io;
mod known;
mod reader;
mod socket;
pub(crate) mod tls;
mod turn;
mod unread;
mod unregistered;

pub(crate) use crate::net::stream::client::ClientStream;
pub(crate) use crate::net::stream::duplex::Io;
pub(crate) use crate::net::stream::http2_io::{Http2Connection, Http2Io};
pub(crate) use crate::net::stream::reader::Reader;
pub(crate) use crate::net::stream::socket::Stream;
pub(crate) use crate::net::stream::turn::{spend, spend_on_pieces};

/// Puts a short body behind its head, for copying it costs less than a second piece to send. Returns what is to be sent
/// behind the head.
pub(crate) fn join<'a>(head: &mut Vec<u8>, body: &'a [u8]) -> &'a [u8] {
    if body.len() > JOINED_BYTES_MAX {
        return body;
    }
    head.extend_from_slice(body);
    b""
}

/// So much is copied in less time than a second piece takes.
const JOINED_BYTES_MAX: usize = 2048;

#[cfg(test)]
mod tests;
