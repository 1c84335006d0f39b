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
/// is silent altogether. A node is believed to have 262,144 clients at most: what it claims beyond them, or answers beyond
/// what it has claimed, is ignored.
pub struct AckStream<E: SocketEmitter> {
    local: Option<LocalAcks<E>>,
    remote: Option<Remote>,
    /// Of other nodes and their clients, to be yielded as timeouts.
    missing: u64,
}

/// What is believed of one node. It may claim any number, and each client that does not answer is an item of the stream.
const CLIENTS_MAX: u32 = 1 << 18;

struct Remote {
    acks: mpsc::Receiver<Answer>,
    /// Nodes that have not said yet how many clients they wait for.
    uncounted: usize,
    /// Clients that have not answered. Negative while acknowledgements are ahead of their node's count.
    unanswered: i64,
    deadline: Pin<Box<Sleep>>,
    /// Over, but for what had come before.
    late: bool,
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
        let remote = Remote { acks, uncounted: nodes, unanswered: 0, deadline, late: false, _ticket: ticket };
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
            // Also while answers keep coming: a node that never stops must not hold the asker for ever.
            if !remote.late && remote.deadline.as_mut().poll(context).is_ready() {
                remote.late = true;
                remote.acks.close();
            }
            match std::task::ready!(remote.acks.poll_recv(context)) {
                Some(Answer::ClientCount(count)) => remote.count(count),
                Some(Answer::ClientAck(arguments)) if remote.answer() => {
                    return Poll::Ready(Some((Sid::ZERO, Ok(arguments.into_value()))));
                }
                Some(_) => {}
                None => {
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

impl Remote {
    fn count(&mut self, clients: u32) {
        // Each node says it once, and nobody else has anything to say.
        if self.uncounted > 0 {
            self.uncounted -= 1;
            self.unanswered += i64::from(clients.min(CLIENTS_MAX));
        }
    }

    /// Whether it is one of a client that was counted, or that may still be.
    fn answer(&mut self) -> bool {
        let is_credible = self.unanswered + self.uncounted as i64 * i64::from(CLIENTS_MAX) > 0;
        self.unanswered -= i64::from(is_credible);
        is_credible
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

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicU64},
        time::Duration,
    };

    use futures_util::{StreamExt, stream};
    use socketioxide::adapter::Emitter;
    use tokio::{task::yield_now, time::Instant};

    use super::{AckStream, CLIENTS_MAX};
    use crate::{message::Answer, payload::Payload, pending::Pending};

    const TIMEOUT: Duration = Duration::from_secs(5);

    /// A question to so many nodes, and a way to answer it.
    fn asked(nodes: usize) -> (AckStream<Emitter>, impl Fn(Answer)) {
        let pending = Arc::new(Pending::new(1));
        let (ticket, acks) = pending.acks(16).unwrap();
        let id = ticket.id.clone();
        let local = Box::pin(stream::empty());
        let stream = AckStream::with_remote(local, ticket, acks, nodes, TIMEOUT);
        (stream, move |answer| pending.resolve(&id, answer, &AtomicU64::new(0)))
    }

    fn ack() -> Answer {
        Answer::ClientAck(Payload::from_json("[1]".to_owned()))
    }

    /// How many answers and how many timeouts there are.
    async fn counts(stream: AckStream<Emitter>) -> (usize, usize) {
        let each = stream.fold((0, 0), |(answers, timeouts), (_, answer)| async move {
            if answer.is_ok() { (answers + 1, timeouts) } else { (answers, timeouts + 1) }
        });
        each.await
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_believed_within_bounds() {
        let max = CLIENTS_MAX as usize;
        let rows = [
            (1, vec![Answer::ClientCount(u32::MAX)], (0, max)),
            (1, vec![Answer::ClientCount(u32::MAX), ack()], (1, max - 1)),
            // Each node says it once.
            (2, vec![Answer::ClientCount(1), Answer::ClientCount(1), Answer::ClientCount(u32::MAX)], (0, 2)),
            (1, vec![Answer::ClientCount(2), ack(), ack(), ack()], (2, 0)),
            (1, vec![ack(), Answer::ClientCount(1)], (1, 0)),
            // What is no answer to this question changes nothing.
            (1, vec![Answer::Done, Answer::Rooms(vec![]), Answer::ClientCount(0)], (0, 0)),
            (3, vec![Answer::ClientCount(1)], (0, 3)),
        ];
        for (nodes, answers, expected) in rows {
            let (stream, answer) = asked(nodes);
            let said = format!("{answers:?}");
            answers.into_iter().for_each(answer);
            assert_eq!(counts(stream).await, expected, "{nodes} {said}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_never_stops_answering_holds_nobody_for_ever() {
        let (stream, answer) = asked(2);
        let began = Instant::now();
        let flood = tokio::spawn(async move {
            loop {
                answer(ack());
                yield_now().await;
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        });
        let (answers, timeouts) = counts(stream).await;
        assert!(answers > 0 && timeouts >= 2, "{answers} {timeouts}");
        assert!(began.elapsed() < 2 * TIMEOUT, "{:?}", began.elapsed());
        flood.abort();
    }
}
