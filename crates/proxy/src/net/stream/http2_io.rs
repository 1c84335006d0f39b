//! One stream of a client's HTTP/2 connection as a socket that speaks HTTP/1: what is read of it is the body of its request as
//! HTTP/1 frames it, chunks where no length was said, and what is written to it is an answer as it is printed for HTTP/1. So
//! that whatever serves a connection serves a stream, and a request of HTTP/1 carries nothing for it.
//!
//! Once it has been answered with 101 it is a WebSocket, and moves bytes as they are. The end of one is END_STREAM, and a close
//! without it RST_STREAM (RFC 8441 section 5).

mod answer;
mod connection;

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::net::stream::http2_io::answer::Answer;
pub(crate) use crate::net::stream::http2_io::connection::Http2Connection;
use crate::net::stream::tls::TlsWords;

/// Such a stream.
#[derive(Debug)]
pub(crate) struct Http2Io {
    recv: RecvStream,
    answer: Answer,
    reading: Reading,
    /// The body of its request is read in chunks.
    is_chunked: bool,
    /// What has come and was not read: the size of a chunk, its content, and what is behind that.
    size: Bytes,
    content: Bytes,
    behind: Bytes,
    connection: Rc<Http2Connection>,
}

/// How far what the client sends has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Content,
    Trailers,
    /// Nothing more comes but maybe a reset.
    Ended,
    Reset,
}

impl Http2Io {
    pub(crate) fn new(
        recv: RecvStream,
        send: SendResponse<Bytes>,
        is_chunked: bool,
        is_head: bool,
        connection: Rc<Http2Connection>,
    ) -> Self {
        Self {
            recv,
            answer: Answer::new(send, is_head),
            reading: Reading::Content,
            is_chunked,
            size: Bytes::new(),
            content: Bytes::new(),
            behind: Bytes::new(),
            connection,
        }
    }

    /// The client has reset it already.
    pub(crate) fn is_gone(&mut self) -> bool {
        self.poll_reset(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    /// The host that the TLS handshake of its connection was for.
    pub(super) fn server_name(&self) -> Option<&str> {
        self.connection.server_name.as_deref()
    }

    /// What that handshake has agreed on.
    pub(super) fn tls_words(&self) -> Option<TlsWords> {
        self.connection.tls
    }

    /// Ready when a read gives something, or the end. The end of a request is none: who has asked waits for the answer, and is
    /// gone when it resets the stream.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.has_read_all() {
            match self.reading {
                Reading::Content => match ready!(self.recv.poll_data(cx)) {
                    Some(Ok(data)) => self.take(data),
                    Some(Err(error)) => return Poll::Ready(Err(self.reset(&error))),
                    None => self.reading = Reading::Trailers,
                },
                Reading::Trailers => match ready!(self.recv.poll_trailers(cx)) {
                    Ok(trailers) => {
                        self.reading = Reading::Ended;
                        if self.is_chunked {
                            self.behind = last_chunk(trailers).into();
                        }
                    }
                    Err(error) => return Poll::Ready(Err(self.reset(&error))),
                },
                Reading::Ended if self.answer.is_tunnel() => return Poll::Ready(Ok(())),
                Reading::Ended => {
                    ready!(self.poll_reset(cx));
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
                }
                Reading::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing has come that was not read, as far as it was asked.
    pub(super) fn is_quiet(&self) -> bool {
        self.has_read_all() && matches!(self.reading, Reading::Content | Reading::Trailers)
    }

    /// The client has ended its side, or reset it.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.reading, Reading::Ended | Reading::Reset) || self.recv.is_end_stream()
    }

    fn has_read_all(&self) -> bool {
        self.size.is_empty() && self.content.is_empty() && self.behind.is_empty()
    }

    /// Takes the content of a DATA frame. Padding is released by itself.
    fn take(&mut self, data: Bytes) {
        if self.is_chunked && !data.is_empty() {
            self.size = format!("{:x}\r\n", data.len()).into();
            self.behind = Bytes::from_static(b"\r\n");
        }
        self.content = data;
    }

    /// Ready when the client does not want its answer any more, or its connection is gone.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = ready!(self.answer.poll_reset(cx));
        self.note_reset();
        drop(reset);
        Poll::Ready(())
    }

    fn reset(&mut self, error: &h2::Error) -> io::Error {
        self.note_reset();
        io::Error::new(io::ErrorKind::ConnectionReset, error.to_string())
    }

    /// Who resets what it has asked for is counted.
    fn note_reset(&mut self) {
        if self.reading != Reading::Reset && self.answer.is_awaited() {
            self.connection.count_reset();
        }
        self.reading = Reading::Reset;
    }
}

impl AsyncRead for Http2Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_readable(cx))?;
        move_bytes(&mut self.size, buf);
        if self.size.is_empty() {
            let content = move_bytes(&mut self.content, buf);
            self.connection.note_moved(content);
            // The client may send as much again; a stream that has ended has no window.
            let _ = self.recv.flow_control().release_capacity(content);
        }
        if self.size.is_empty() && self.content.is_empty() {
            move_bytes(&mut self.behind, buf);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        ready!(this.answer.poll_write(cx, bytes, &this.connection))
            .map_or_else(|error| Poll::Ready(Err(this.reset(&error))), |written| Poll::Ready(Ok(written)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The task of the connection does.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.answer.end_tunnel().map_err(|error| self.reset(&error)))
    }
}

impl Drop for Http2Io {
    /// Whatever has gone out of an answer that was not ended, it is not whole.
    fn drop(&mut self) {
        if self.answer.is_tunnel() {
            self.answer.cut(Reason::CANCEL);
        } else if self.answer.is_awaited() {
            self.answer.cut(Reason::INTERNAL_ERROR);
        }
    }
}

/// Moves what there is room for, and returns how much that is.
fn move_bytes(from: &mut Bytes, to: &mut ReadBuf<'_>) -> usize {
    let here = from.len().min(to.remaining());
    to.put_slice(&from[..here]);
    from.advance(here);
    here
}

/// The last chunk and what is behind it.
fn last_chunk(trailers: Option<HeaderMap>) -> Vec<u8> {
    let mut out = b"0\r\n".to_vec();
    for (name, value) in trailers.iter().flatten() {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            out.extend_from_slice(part);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}
