//! The answer of a stream, which is written as it is printed for HTTP/1: its head becomes fields, of its body the chunks are taken
//! off, and what stands behind the last of them becomes its trailers.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use memchr::memchr;
use wire::http2::{PrintedAnswer, Unchunked};

use crate::net::stream::http2_io::connection::Http2Connection;

/// How far the answer has come.
#[derive(Debug)]
pub(super) struct Answer {
    send: Sending,
    writing: Writing,
    /// Its request was HEAD: no body follows, whatever its head says.
    is_head: bool,
}

#[derive(Debug)]
enum Sending {
    Unanswered(SendResponse<Bytes>),
    Begun(SendStream<Bytes>),
}

/// Chunks as they are written, which HTTP/2 has none of.
#[derive(Debug)]
struct Chunks {
    unchunked: Box<Unchunked>,
    /// What has come of a line that is not whole.
    line: Vec<u8>,
}

/// What comes next of what is written.
#[derive(Debug)]
enum Writing {
    /// A head, of which this much has come.
    Head(Vec<u8>),
    /// Content, so much of it where that is known.
    Content(Option<u64>),
    Chunks(Chunks),
    /// Nothing: the answer has ended.
    Nothing,
    /// The bytes of a WebSocket.
    Tunnel {
        has_ended: bool,
    },
}

impl Answer {
    pub(super) fn new(send: SendResponse<Bytes>, is_head: bool) -> Self {
        Self { send: Sending::Unanswered(send), writing: Writing::Head(Vec::new()), is_head }
    }

    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self.writing, Writing::Tunnel { .. })
    }

    /// It has not ended.
    pub(super) fn is_awaited(&self) -> bool {
        !matches!(self.writing, Writing::Nothing | Writing::Tunnel { .. })
    }

    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        match &mut self.send {
            Sending::Unanswered(send) => send.poll_reset(cx),
            Sending::Begun(send) => send.poll_reset(cx),
        }
    }

    /// Ends a WebSocket.
    pub(super) fn end_tunnel(&mut self) -> Result<(), h2::Error> {
        if let (Writing::Tunnel { has_ended }, Sending::Begun(send)) = (&mut self.writing, &mut self.send)
            && !std::mem::replace(has_ended, true)
        {
            send.send_data(Bytes::new(), true)?;
        }
        Ok(())
    }

    /// Nothing more of it comes.
    pub(super) fn cut(&mut self, reason: Reason) {
        match &mut self.send {
            _ if matches!(self.writing, Writing::Tunnel { has_ended: true }) => {}
            Sending::Unanswered(send) => send.send_reset(reason),
            Sending::Begun(send) => send.send_reset(reason),
        }
    }

    /// Sends what the client's window takes of `bytes`, and returns how many of them are done with.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        connection: &Http2Connection,
    ) -> Poll<Result<usize, h2::Error>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let send = match (&mut self.send, &mut self.writing) {
            (_, Writing::Nothing) => return Poll::Ready(Ok(bytes.len())),
            (_, Writing::Head(_)) | (Sending::Unanswered(_), _) => return Poll::Ready(self.head(bytes)),
            (Sending::Begun(send), Writing::Chunks(chunks)) => {
                let written = ready!(poll_chunks(cx, send, bytes, chunks, connection))?;
                if chunks.unchunked.is_at_end() {
                    self.writing = Writing::Nothing;
                }
                return Poll::Ready(Ok(written));
            }
            (Sending::Begun(send), Writing::Content(_) | Writing::Tunnel { .. }) => send,
        };
        let room = ready!(poll_window(cx, send, bytes.len()))?;
        let sent = room.min(bytes.len());
        let mut is_end = false;
        if let Writing::Content(Some(left)) = &mut self.writing {
            *left = left.saturating_sub(sent as u64);
            is_end = *left == 0;
        }
        send.send_data(Bytes::copy_from_slice(&bytes[..sent]), is_end)?;
        connection.note_moved(sent);
        if is_end {
            self.writing = Writing::Nothing;
        }
        Poll::Ready(Ok(sent))
    }

    /// Reads a head, and sends it when it is whole. Nearly always it comes in one piece.
    fn head(&mut self, bytes: &[u8]) -> Result<usize, h2::Error> {
        let Writing::Head(so_far) = &mut self.writing else { return Ok(bytes.len()) };
        if so_far.is_empty() {
            return match PrintedAnswer::read(bytes) {
                Some((answer, rest)) => {
                    send_head(answer, self.is_head, &mut self.send, &mut self.writing)?;
                    Ok(bytes.len() - rest.len())
                }
                None => {
                    so_far.extend_from_slice(bytes);
                    Ok(bytes.len())
                }
            };
        }
        let mut whole = std::mem::take(so_far);
        whole.extend_from_slice(bytes);
        match PrintedAnswer::read(&whole) {
            Some((answer, rest)) => {
                let taken = bytes.len() - rest.len();
                send_head(answer, self.is_head, &mut self.send, &mut self.writing)?;
                Ok(taken)
            }
            None => {
                *so_far = whole;
                Ok(bytes.len())
            }
        }
    }
}

/// Sends a head, and decides what follows it.
fn send_head(
    answer: PrintedAnswer<'_>,
    is_head: bool,
    sending: &mut Sending,
    writing: &mut Writing,
) -> Result<(), h2::Error> {
    let Sending::Unanswered(send) = sending else { return Ok(()) };
    if matches!(answer.status, 100 | 102..200) {
        return send.send_informational(response_of(answer));
    }
    let has_none = is_head || matches!(answer.status, 204 | 304) || answer.length == Some(0);
    let is_end = has_none && answer.status != 101;
    let begun = send.send_response(response_of(answer), is_end)?;
    *writing = match answer {
        PrintedAnswer { status: 101, .. } => Writing::Tunnel { has_ended: false },
        _ if is_end => Writing::Nothing,
        PrintedAnswer { is_chunked: true, .. } => {
            Writing::Chunks(Chunks { unchunked: Box::new(Unchunked::of_answer()), line: Vec::new() })
        }
        PrintedAnswer { length, .. } => Writing::Content(length),
    };
    *sending = Sending::Begun(begun);
    Ok(())
}

/// Takes chunks off. What stands between their contents needs no window of the client's.
fn poll_chunks(
    cx: &mut Context<'_>,
    send: &mut SendStream<Bytes>,
    bytes: &[u8],
    Chunks { unchunked, line }: &mut Chunks,
    connection: &Http2Connection,
) -> Poll<Result<usize, h2::Error>> {
    let mut content = Vec::new();
    let taken = if line.is_empty() {
        let room = match unchunked.is_in_data() {
            true => ready!(poll_window(cx, send, bytes.len()))?,
            false => {
                send.reserve_capacity(bytes.len());
                send.capacity()
            }
        };
        let taken = unchunked.walk(bytes, &mut content, room).map_err(|_| Reason::INTERNAL_ERROR)?;
        if taken == 0 {
            line.extend_from_slice(bytes);
            bytes.len()
        } else {
            taken
        }
    } else {
        let taken = memchr(b'\n', bytes).map_or(bytes.len(), |lf| lf + 1);
        line.extend_from_slice(&bytes[..taken]);
        let walked = unchunked.walk(line, &mut content, 0).map_err(|_| Reason::INTERNAL_ERROR)?;
        line.drain(..walked);
        taken
    };
    connection.note_moved(content.len());
    let trailers = if unchunked.is_at_end() { trailers(unchunked) } else { HeaderMap::new() };
    let is_end = unchunked.is_at_end() && trailers.is_empty();
    if is_end || !content.is_empty() {
        send.send_data(content.into(), is_end)?;
    }
    if !trailers.is_empty() {
        send.send_trailers(trailers)?;
    }
    Poll::Ready(Ok(taken))
}

/// Waits until some of so many bytes can go: the client's window takes no more at once, and we keep no more for it.
fn poll_window(
    cx: &mut Context<'_>,
    send: &mut SendStream<Bytes>,
    wanted: usize,
) -> Poll<Result<usize, h2::Error>> {
    send.reserve_capacity(wanted);
    loop {
        match send.capacity() {
            0 => match ready!(send.poll_capacity(cx)) {
                Some(room) => drop(room?),
                None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
            },
            room => return Poll::Ready(Ok(room)),
        }
    }
}

/// What stands behind the last chunk.
fn trailers(unchunked: &Unchunked) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in unchunked.trailers() {
        append(&mut fields, name, value);
    }
    fields
}

/// The fields of an answer. A 101, which opens a WebSocket, is a 200 (RFC 8441 section 5).
fn response_of(answer: PrintedAnswer<'_>) -> Response<()> {
    let status = if answer.status == 101 { 200 } else { answer.status };
    let mut response = Response::new(());
    // From 100 to 999, as `wire` has seen.
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let fields = response.headers_mut();
    for (name, value) in answer.fields() {
        append(fields, name, value);
    }
    response
}

/// What is no field, though it is a line, does not travel.
fn append(fields: &mut HeaderMap, name: &[u8], value: &[u8]) {
    if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
        fields.append(name, value);
    }
}
