//! One request on one connection to a node, and its answer on the way back. Two futures share the two sockets: one
//! passes the request's body on and then watches the client, the other passes the answer back. Whichever has
//! something final to say ends both.

mod compressed;
mod download;
mod events;
mod lasting;
mod learned;
mod request;

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use wire::forward::{self, ForOrigin};

use crate::fault::{ClientFault, Fault, OriginFault};
use crate::net::buffers::Buffers;
use crate::net::splice::Stopped;
use crate::net::stream::{Io, join, spend_on_pieces};
use crate::observe::record::{Logged, Record, Sticky};
use crate::request::downstream::BodySource;
use crate::request::exchange::download::{Answered, Download, Origin};
use crate::request::exchange::lasting::Lasting;
pub(crate) use crate::request::exchange::request::{
    ExchangeKind, Exchanged, Outcome, Registered, Request, Session,
};
use crate::request::exchange::request::{ExchangeTimeouts, Progress, answer_timeout};
use crate::request::upgrade::{OriginEnd, TunnelSession};
use crate::upstream::pool::Lease;

/// Sends the request on `lease` and brings back what the node answers.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function keeps what it was called with beside what it has made of it, and each request would carry both"
)]
pub(crate) fn run(
    request: &Request<'_>,
    mut lease: Lease,
    kind: ExchangeKind,
    body: &mut BodySource<'_>,
    record: &mut Record,
) -> impl Future<Output = Result<Exchanged, Fault>> {
    async move {
        let head_sent = send_head(request, &mut lease, &kind, body, record).await?;
        let progress = Progress {
            head_sent,
            request_sent: Cell::new(head_sent && body.is_done()),
            said_close: Cell::new(head_sent && body.held_close_packet()),
            answered: Cell::new(false),
            lasting: Lasting::default(),
        };
        let timeouts = ExchangeTimeouts {
            body: request.timeouts().body,
            answer: answer_timeout(request, &kind),
            tunnel: request.timeouts().tunnel,
        };
        let Lease { io, inbound, reused, in_flight } = &mut lease;
        let origin = Origin { io, inbound, node: in_flight.node(), reused: *reused };
        let sent = request.reply.now();
        let (node, client) = (in_flight.node(), record.client);
        let mut download = Download { request, origin, kind, progress: &progress, timeouts, sent, record };
        let answered = {
            let alarm = request.reply.alarm();
            let mut upload = pin!(upload(body, io, &progress, timeouts));
            let mut answered = pin!(download.run());
            poll_fn(|cx| match answered.as_mut().poll(cx) {
                Poll::Ready(answered) => Poll::Ready(answered),
                Poll::Pending => match upload.as_mut().poll(cx) {
                    Poll::Ready(fault) => Poll::Ready(Err(fault)),
                    Poll::Pending => progress.lasting.poll(cx, node, client, alarm).map(Err),
                },
            })
            .await?
        };
        let kind = download.kind;
        request.worker.buffers.give_back_if_empty(&mut lease.inbound);
        Ok(match answered {
            Answered::Whole { keep_alive, origin_keeps } => {
                // A node that answered before it had the whole request may take the rest of it for another one.
                if let Some(keeps) = origin_keeps.filter(|_| body.is_done() && progress.request_sent.get()) {
                    request.worker.pool.give_back(lease, keeps.timeout, request.reply.now());
                }
                if keep_alive && body.is_done() { Exchanged::KeepAlive } else { Exchanged::Close }
            }
            Answered::Upgraded => Exchanged::Upgraded(Box::new(origin_end(lease, kind, timeouts, record))),
        })
    }
}

/// Sends the head, and what is here of the body, in one piece. Whether the node has taken it all: one that does not may
/// have answered already, and said why.
async fn send_head(
    request: &Request<'_>,
    lease: &mut Lease,
    kind: &ExchangeKind,
    body: &mut BodySource<'_>,
    record: &Record,
) -> Result<bool, Fault> {
    let plan = &request.upstream.plan;
    // Nearly every client says a Host.
    let written = request.head.host_bytes().is_none().then(|| lease.in_flight.node().written());
    let how = ForOrigin {
        host_override: request.changed.and_then(|changed| changed.host.as_deref()).or(plan.host.as_deref()),
        host_default: written.as_deref().unwrap_or_default(),
        client_end: request.reply.arrival().end,
        client_address: record.client,
        strips_tag: matches!(kind, ExchangeKind::Session(Session { is_tagged: true, .. })),
        wants_plain: matches!(kind, ExchangeKind::Handshake { .. }),
        strips_pins: request.sent_pin.strips(request.upstream),
        pass_headers: &plan.pass_headers,
        edits: request.changed.map(|changed| &changed.request),
    };
    let buffers = &request.worker.buffers;
    let mut head = buffers.take_for_head();
    forward::print_request(request.head, &how, &mut head);
    if plan.forwarded {
        forward::add_forwarded(request.head, &how, &mut head);
    }
    let (content, walked) = body.at_hand()?;
    let content = join(&mut head, content);
    let Lease { io, inbound, .. } = lease;
    let sent = {
        let writing = io.write_all(&head, content, request.reply.alarm(), request.timeouts().body);
        unless_answered(writing, io, inbound, buffers).await
    };
    body.pass(walked);
    buffers.give_for_head(head);
    match sent {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(OriginFault::AnswerTimedOut.into()),
        Err(_) => Ok(false),
    }
}

/// Writes, until a final answer has begun or the node has left: `BrokenPipe` then.
async fn unless_answered(
    writing: impl Future<Output = io::Result<()>>,
    io: &Io,
    inbound: &mut BytesMut,
    buffers: &Buffers,
) -> io::Result<()> {
    let mut writing = pin!(writing);
    poll_fn(|cx| match writing.as_mut().poll(cx) {
        Poll::Pending => poll_final_answer(cx, io, inbound, buffers).map(Err),
        written => written,
    })
    .await
}

/// Ready when a final answer has begun, or the node has left. An interim one says only that the rest is wanted.
fn poll_final_answer(
    cx: &mut Context<'_>,
    io: &Io,
    inbound: &mut BytesMut,
    buffers: &Buffers,
) -> Poll<io::Error> {
    while inbound.len() < INTERIM.len() {
        if !matches!(ready!(io.poll_read(cx, inbound, buffers)), Ok(1..)) {
            return Poll::Ready(io::ErrorKind::BrokenPipe.into());
        }
    }
    match inbound.starts_with(INTERIM) {
        true => Poll::Pending,
        false => Poll::Ready(io::ErrorKind::BrokenPipe.into()),
    }
}

fn origin_end(lease: Lease, kind: ExchangeKind, timeouts: ExchangeTimeouts, record: &Record) -> OriginEnd {
    let mut is_pinned = record.sticky == Sticky::Cookie;
    let (session, silence) = match kind {
        ExchangeKind::Plain { session } => (session, None),
        ExchangeKind::Session(Session { registered, silence, is_pinned: session_is_pinned, .. }) => {
            is_pinned |= session_is_pinned;
            // After a 101 it is known.
            let counted = match registered {
                Registered::Known(in_use) => Some(TunnelSession::Registered { in_use }),
                Registered::NotYet { .. } => None,
            };
            (counted, silence)
        }
        ExchangeKind::Handshake { .. } => (None, None),
    };
    let node = lease.in_flight.node().clone();
    OriginEnd {
        io: lease.io,
        early: lease.inbound,
        node,
        session,
        silence,
        idle: timeouts.tunnel,
        client: record.client,
        is_pinned,
        route: record.route,
        is_logged: record.logged == Logged::Always,
        guarded: None,
    }
}

/// Passes the body on; then sees to it that the answer comes in time, and that the client is still there to get it.
/// It ends with a fault or not at all.
async fn upload(
    body: &mut BodySource<'_>,
    origin: &Io,
    progress: &Progress,
    timeouts: ExchangeTimeouts,
) -> Fault {
    if progress.head_sent {
        match pass_body(body, origin, progress, timeouts).await {
            Ok(all) => {
                progress.request_sent.set(all);
                progress.said_close.set(body.held_close_packet());
            }
            Err(fault) => return fault,
        }
    }
    let late = match body.alarm().within(timeouts.answer, |cx| body.poll_client_gone(cx)).await {
        Some(()) => return ClientFault::Gone.into(),
        None => !progress.answered.get(),
    };
    if late {
        return OriginFault::AnswerTimedOut.into();
    }
    poll_fn(|cx| body.poll_client_gone(cx)).await;
    ClientFault::Gone.into()
}

/// Passes the body on. Whether the node took all of it: one that stops taking it may still answer, and often says
/// why.
async fn pass_body(
    body: &mut BodySource<'_>,
    origin: &Io,
    progress: &Progress,
    timeouts: ExchangeTimeouts,
) -> Result<bool, Fault> {
    while !body.is_done() {
        if progress.answered.get() {
            body.is_answered();
        }
        if let Some(spliced) = body.splice(origin, timeouts.body).await {
            match spliced.stopped {
                None => continue,
                Some(Stopped::SourceEnded) => return Err(ClientFault::Gone.into()),
                Some(Stopped::SourceLate) => return Err(ClientFault::BodyTimedOut.into()),
                Some(Stopped::SinkEnded) => return Ok(false),
                Some(Stopped::SinkLate) => return Err(OriginFault::RequestUntaken.into()),
            }
        }
        body.fill(timeouts.body).await?;
        let alarm = body.alarm();
        let (content, walked) = body.at_hand()?;
        let sent = origin.write_all(content, b"", alarm, timeouts.body).await;
        body.pass(walked);
        spend_on_pieces(walked.pieces);
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(OriginFault::RequestUntaken.into());
            }
            Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// How an interim answer begins; HTTP/1.0 has none.
const INTERIM: &[u8] = b"HTTP/1.1 1";

#[cfg(test)]
mod tests {
    use crate::net::memory::Memory;
    use std::rc::Rc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::net::clock::{Alarm, Clock};
    use crate::net::stream::Stream;

    /// What becomes of a head of this length, and what has been read meanwhile, while the node does as `node` says.
    async fn check<F: Future>(bytes: usize, node: impl FnOnce(UnixStream) -> F) -> (io::Result<()>, Vec<u8>) {
        let (near, far) = UnixStream::pair().expect("there are files left");
        let (io, buffers) = (Io::new(Stream::Unix(Box::new(near))), Buffers::new(4096, Memory::new()));
        let (alarm, mut inbound) = (Alarm::new(Rc::new(Clock::new())), BytesMut::new());
        let head = vec![b'x'; bytes];
        let writing = io.write_all(&head, b"", &alarm, Duration::from_secs(30));
        let sending = unless_answered(writing, &io, &mut inbound, &buffers);
        let (sent, _kept) = tokio::join!(sending, node(far));
        (sent, inbound.to_vec())
    }

    const ANSWER: &[u8] = b"HTTP/1.1 431 Too Long\r\nContent-Length: 0\r\n\r\n";

    #[tokio::test]
    async fn a_final_answer_ends_the_sending_of_what_nobody_reads() {
        let answers = async |mut far: UnixStream| {
            far.write_all(ANSWER).await.expect("the other end is there");
            far
        };
        let (sent, inbound) = check(MORE_THAN_A_SOCKET_TAKES, answers).await;
        assert_eq!(sent.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
        assert_eq!(inbound, ANSWER);
        // The same when it closes.
        let closes = async |far| drop(answers(far).await);
        let (sent, inbound) = check(MORE_THAN_A_SOCKET_TAKES, closes).await;
        assert!(sent.is_err());
        assert!(ANSWER.starts_with(&inbound), "what has not been read yet is still to be read");
    }

    #[tokio::test]
    async fn an_interim_answer_does_not() {
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        let reads = async |mut far: UnixStream| {
            far.write_all(interim).await.expect("the other end is there");
            let mut seen = vec![0; MORE_THAN_A_SOCKET_TAKES];
            far.read_exact(&mut seen).await.expect("all of it comes");
            far
        };
        let (sent, inbound) = check(MORE_THAN_A_SOCKET_TAKES, reads).await;
        assert!(sent.is_ok());
        assert_eq!(inbound, interim);
    }

    const MORE_THAN_A_SOCKET_TAKES: usize = 8 << 20;
}
