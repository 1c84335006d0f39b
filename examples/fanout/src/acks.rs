//! The acknowledgements of a broadcast: those of local clients and those that other nodes report.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::{FusedStream, Stream};
use socketioxide_core::{
    Sid,
    adapter::{AckStreamItem, SocketEmitter},
};
use tokio::{
    sync::mpsc,
    time::{Sleep, sleep},
};

use crate::{delivery::LocalAcks, message::Answer, pending::Ticket};

/// What a broadcast with acknowledgements yields, until all clients of all nodes have answered or the time is up.
///
/// Other nodes do not say which client an acknowledgement is from: those come with [`Sid::ZERO`]. Clients of other
/// nodes that have not answered when the time is up come as a timeout each, as local ones do, and so does each node that
/// is silent altogether.
pub struct AckStream<E: SocketEmitter> {
    local: Option<LocalAcks<E>>,
    remote: Option<Remote>,
    /// Of other nodes and their clients, to be yielded as timeouts.
    missing: u64,
}

struct Remote {
    acks: mpsc::Receiver<Answer>,
    /// Nodes that have not said yet how many clients they wait for.
    uncounted: usize,
    /// Clients that have not answered. Negative while acknowledgements are ahead of their node's count.
    unanswered: i64,
    deadline: Pin<Box<Sleep>>,
    /// Answers find their way here as long as it lives.
    _ticket: Ticket,
}

impl<E: SocketEmitter> AckStream<E> {
    pub(crate) fn local(local: LocalAcks<E>) -> Self {
        Self { local: Some(local), remote: None, missing: 0 }
    }

    /// With so many other nodes that could not be asked, or that nobody can wait for.
    pub(crate) fn unasked(local: LocalAcks<E>, nodes: usize) -> Self {
        Self { missing: nodes as u64, ..Self::local(local) }
    }

    pub(crate) fn with_remote(
        local: LocalAcks<E>,
        ticket: Ticket,
        acks: mpsc::Receiver<Answer>,
        nodes: usize,
        timeout: Duration,
    ) -> Self {
        let deadline = Box::pin(sleep(timeout));
        let remote = Remote { acks, uncounted: nodes, unanswered: 0, deadline, _ticket: ticket };
        Self { remote: Some(remote), ..Self::local(local) }
    }

    fn poll_local(&mut self, context: &mut Context<'_>) -> Poll<Option<AckStreamItem<E::AckError>>> {
        let Some(local) = &mut self.local else { return Poll::Ready(None) };
        let polled = local.as_mut().poll_next(context);
        if matches!(polled, Poll::Ready(None)) {
            self.local = None;
        }
        polled
    }

    fn poll_remote(&mut self, context: &mut Context<'_>) -> Poll<Option<AckStreamItem<E::AckError>>> {
        while let Some(remote) = &mut self.remote {
            if remote.uncounted == 0 && remote.unanswered <= 0 {
                self.remote = None;
                break;
            }
            match remote.acks.poll_recv(context) {
                Poll::Ready(Some(Answer::ClientCount(count))) => {
                    remote.uncounted = remote.uncounted.saturating_sub(1);
                    remote.unanswered += i64::from(count);
                }
                Poll::Ready(Some(Answer::ClientAck(arguments))) => {
                    remote.unanswered -= 1;
                    return Poll::Ready(Some((Sid::ZERO, Ok(arguments.into_value()))));
                }
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => self.remote = None,
                Poll::Pending => {
                    std::task::ready!(remote.deadline.as_mut().poll(context));
                    // A node that has not even said how many clients it has is one that hangs.
                    self.missing = remote.unanswered.max(0).unsigned_abs() + remote.uncounted as u64;
                    self.remote = None;
                }
            }
        }
        match self.missing {
            0 => Poll::Ready(None),
            _ => {
                self.missing -= 1;
                Poll::Ready(timed_out::<E>().map(|error| (Sid::ZERO, Err(error))))
            }
        }
    }
}

/// The emitter's own timeout error. Its type is not known here, but it is made to be sent between
/// nodes, and its wire form is.
fn timed_out<E: SocketEmitter>() -> Option<E::AckError> {
    serde_json::from_str("\"Timeout\"").ok()
}

impl<E: SocketEmitter> Stream for AckStream<E> {
    type Item = AckStreamItem<E::AckError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let local = self.poll_local(context);
        if let Poll::Ready(Some(_)) = local {
            return local;
        }
        match self.poll_remote(context) {
            Poll::Ready(None) => local,
            other => other,
        }
    }
}

impl<E: SocketEmitter> FusedStream for AckStream<E> {
    fn is_terminated(&self) -> bool {
        self.local.is_none() && self.remote.is_none() && self.missing == 0
    }
}

impl<E: SocketEmitter> fmt::Debug for AckStream<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AckStream").field("terminated", &self.is_terminated()).finish()
    }
}
