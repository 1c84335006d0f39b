//! Receiving from servers that speak RESP2 alone, where a connection with subscriptions can do nothing else. redis-rs hands
//! messages on through a queue without a bound; the gate in front of it stops reading while that holds much.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicUsize,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    task::{Context, Poll},
};

use futures_util::{FutureExt, Stream, StreamExt, task::AtomicWaker};
use redis::{
    ConnectionAddr, ConnectionInfo, Msg, PushInfo, PushKind, RedisResult, Value,
    aio::{PubSub, PubSubSink},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    task::{AbortHandle, coop::unconstrained},
};

use super::{address::invalid, connector::Receive};

/// Bytes read since the queue was last seen empty at which reading stops.
const UNREAD_MAX: usize = 8 << 20;

#[derive(Clone)]
pub(crate) struct Receiver {
    pub(super) sink: PubSubSink,
    _task: Arc<AbortOnDrop>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `receive` is called for every message, and once more when the connection ends.
pub(super) async fn connect(address: &ConnectionInfo, receive: Receive) -> RedisResult<Receiver> {
    let gate = Arc::new(Gate::default());
    let pubsub = match address.addr() {
        ConnectionAddr::Tcp(host, port) => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            PubSub::new(address.redis_settings(), Gated { stream, gate: gate.clone() }).await?
        }
        ConnectionAddr::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            PubSub::new(address.redis_settings(), Gated { stream, gate: gate.clone() }).await?
        }
        _ => return Err(invalid("a server without RESP3 (HELLO 3) is supported without TLS only")),
    };
    let (sink, messages) = pubsub.split();
    let task = tokio::spawn(pass_on(messages, gate, receive)).abort_handle();
    Ok(Receiver { sink, _task: Arc::new(AbortOnDrop(task)) })
}

async fn pass_on(mut messages: impl Stream<Item = Msg> + Unpin, gate: Arc<Gate>, receive: Receive) {
    loop {
        let next = match unconstrained(messages.next()).now_or_never() {
            Some(next) => next,
            None => {
                gate.open();
                messages.next().await
            }
        };
        let Some(message) = next else { break };
        let _ = receive(push(&message));
    }
    let _ = receive(PushInfo { kind: PushKind::Disconnection, data: Vec::new() });
}

/// As RESP3 would have said it.
fn push(message: &Msg) -> PushInfo {
    let bulk = |bytes: &[u8]| Value::BulkString(bytes.to_vec());
    let mut data = Vec::with_capacity(3);
    let pattern = message.get_pattern::<Option<Vec<u8>>>().ok().flatten();
    let kind = if pattern.is_some() { PushKind::PMessage } else { PushKind::Message };
    data.extend(pattern.map(Value::BulkString));
    data.push(bulk(message.get_channel_name().as_bytes()));
    data.push(bulk(message.get_payload_bytes()));
    PushInfo { kind, data }
}

#[derive(Default)]
struct Gate {
    unread: AtomicUsize,
    waiting: AtomicWaker,
}

impl Gate {
    fn open(&self) {
        self.unread.store(0, Release);
        self.waiting.wake();
    }
}

struct Gated<S> {
    stream: S,
    gate: Arc<Gate>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Gated<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gate.unread.load(Acquire) >= UNREAD_MAX {
            self.gate.waiting.register(context.waker());
            // It may have been opened in between.
            if self.gate.unread.load(Acquire) >= UNREAD_MAX {
                return Poll::Pending;
            }
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.gate.unread.fetch_add(buffer.filled().len() - before, AcqRel);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gated<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::{Gate, Gated, UNREAD_MAX};
    use futures_util::FutureExt;
    use std::sync::Arc;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn reading_stops_at_the_bound_and_goes_on_when_the_queue_is_empty() {
        let gate = Arc::new(Gate::default());
        let mut gated = Gated { stream: tokio::io::repeat(b'x'), gate: gate.clone() };
        let mut buffer = vec![0; UNREAD_MAX];
        gated.read_exact(&mut buffer).await.unwrap();
        let mut next = Box::pin(gated.read_u8());
        assert!(next.as_mut().now_or_never().is_none());
        gate.open();
        assert_eq!(next.await.unwrap(), b'x');
    }
}
