//! A client's connection, and the one timer of the task that serves it.

use std::task::{Context, Poll};

use tokio::time::Instant;

use crate::net::clock::Alarm;
use crate::net::stream::duplex::Io;

/// A client's connection with its alarm, on which every wait of its exchanges is set: those for a node's socket, too, for the
/// same task waits.
#[derive(Debug)]
pub(crate) struct ClientStream {
    pub(crate) io: Io,
    pub(crate) alarm: Alarm,
}

impl ClientStream {
    /// The instant at which the running task woke.
    pub(crate) fn now(&self) -> Instant {
        self.alarm.now()
    }

    /// Ready when it is time to watch whether the client is still there: a while after its first request, and ever since.
    pub(crate) fn poll_worth_watching(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_worth_watching(cx, &self.alarm)
    }
}
