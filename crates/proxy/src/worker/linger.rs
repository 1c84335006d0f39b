//! The end of a connection that the client is still owed.

use std::task::{Poll, ready};
use std::time::Duration;

use bytes::BytesMut;

use crate::net::stream::ClientStream;
use crate::state::local::Local;
use crate::worker::connection::ClientConnection;

/// Sends the end and reads on until the client's own, or until it has had long enough: a close while bytes of the
/// client are unread would be a reset, and a reset can eat the answer (RFC 9112 section 9.6).
pub(crate) async fn linger(client: &ClientConnection, worker: &Local) {
    // The end of a stream has gone out with its answer.
    if client.is_stream {
        return;
    }
    let mut discarded = BytesMut::new();
    let mut is_shut = false;
    let ClientStream { io, alarm } = &client.stream;
    let end = alarm.within(LINGER, |cx| {
        if !is_shut {
            ready!(io.poll_shutdown(cx))?;
            is_shut = true;
        }
        while ready!(io.poll_read(cx, &mut discarded, &worker.buffers))? > 0 {
            discarded.clear();
        }
        Poll::Ready(Ok::<_, std::io::Error>(()))
    });
    // However it ends, the connection is over.
    let _ = end.await;
    worker.buffers.give(discarded);
}

/// How long an early close waits for the client's own end.
const LINGER: Duration = Duration::from_secs(2);
