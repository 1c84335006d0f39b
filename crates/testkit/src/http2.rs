//! One connection of HTTP/2 in the test's own hands, frame by frame. It follows no rule by itself but the preface, so that
//! whatever a client may do wrong can be done.

use std::net::SocketAddr;

use crate::raw::{End, RawConnection};

/// How every connection begins.
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 section 6).
#[expect(missing_docs, reason = "they are the RFC's words")]
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const PRIORITY: u8 = 2;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub mod flag {
    /// Of DATA and HEADERS.
    pub const END_STREAM: u8 = 1;
    /// Of SETTINGS and PING.
    pub const ACK: u8 = 1;
    /// Of HEADERS and CONTINUATION.
    pub const END_HEADERS: u8 = 4;
    /// Of DATA and HEADERS.
    pub const PADDED: u8 = 8;
    /// Of HEADERS.
    pub const PRIORITY: u8 = 0x20;
}

/// A frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Some of [`flag`].
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// What follows its header.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame of any kind.
    #[must_use]
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// HEADERS with all of these fields.
    #[must_use]
    pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Self {
        Self::new(kind::HEADERS, flags | flag::END_HEADERS, stream, block(fields))
    }

    /// DATA.
    #[must_use]
    pub fn data(stream: u32, flags: u8, content: impl AsRef<[u8]>) -> Self {
        Self::new(kind::DATA, flags, stream, content.as_ref())
    }

    /// `RST_STREAM`.
    #[must_use]
    pub fn reset(stream: u32, code: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, code.to_be_bytes())
    }

    /// SETTINGS with these parameters.
    #[must_use]
    pub fn settings(parameters: &[(u16, u32)]) -> Self {
        let bytes = parameters.iter().flat_map(|(id, value)| {
            id.to_be_bytes().into_iter().chain(value.to_be_bytes()).collect::<Vec<_>>()
        });
        Self::new(kind::SETTINGS, 0, 0, bytes.collect::<Vec<_>>())
    }

    /// PING.
    #[must_use]
    pub fn ping(payload: [u8; 8]) -> Self {
        Self::new(kind::PING, 0, 0, payload)
    }

    /// `WINDOW_UPDATE`.
    #[must_use]
    pub fn window(stream: u32, more: u32) -> Self {
        Self::new(kind::WINDOW_UPDATE, 0, stream, more.to_be_bytes())
    }

    /// As it is sent.
    ///
    /// # Panics
    /// If it is longer than a frame can be.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("a frame is short").to_be_bytes();
        let stream = self.stream.to_be_bytes();
        [&length[1..], &[self.kind, self.flags], &stream, &self.payload].concat()
    }

    /// The code of a `RST_STREAM` or a GOAWAY.
    #[must_use]
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload.get(at..at + 4)?.try_into().ok()?))
    }

    /// The status that HEADERS begin with, if they do.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        if self.kind != kind::HEADERS {
            return None;
        }
        // A change of the table's size may stand in front.
        let sizes = self.payload.iter().take_while(|byte| **byte & 0xe0 == 0x20).count();
        let block = self.payload.get(sizes..)?;
        match *block.first()? {
            // The static table has seven (RFC 7541, appendix A).
            indexed @ 0x88..=0x8e => Some([200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]),
            // A literal whose name is the one of these, with or without indexing.
            0x48..=0x4e | 0x08..=0x0e | 0x18..=0x1e => {
                let length = usize::from(block.get(1)? & 0x7f);
                let value = block.get(2..2 + length)?;
                if block[1] & 0x80 == 0 {
                    return std::str::from_utf8(value).ok()?.parse().ok();
                }
                digits(value)
            }
            _ => None,
        }
    }
}

/// Digits in the code of Huffman (RFC 7541, appendix B).
fn digits(coded: &[u8]) -> Option<u16> {
    let bits: Vec<bool> =
        coded.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    let (mut at, mut number) = (0, 0);
    let take = |at: usize, count: usize| {
        let bits = bits.get(at..at + count)?;
        Some(bits.iter().fold(0_u16, |so_far, &bit| so_far << 1 | u16::from(bit)))
    };
    for _ in 0..3 {
        let digit = match take(at, 5)? {
            short @ 0..=2 => {
                at += 5;
                short
            }
            _ => {
                let long = take(at, 6)?;
                at += 6;
                long.checked_sub(0b01_1001)? + 3
            }
        };
        number = number * 10 + digit;
    }
    Some(number)
}

/// Fields as literals that nobody remembers (RFC 7541 section 6.2.2).
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        literal(name.as_bytes(), &mut block);
        literal(value.as_bytes(), &mut block);
    }
    block
}

fn literal(text: &[u8], block: &mut Vec<u8>) {
    match text.len() {
        short @ 0..127 => block.push(u8::try_from(short).unwrap_or_default()),
        long => {
            block.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128).unwrap_or_default() | 0x80);
                rest /= 128;
            }
            block.push(u8::try_from(rest).unwrap_or_default());
        }
    }
    block.extend_from_slice(text);
}

/// A connection.
#[derive(Debug)]
pub struct Http2Connection {
    connection: RawConnection,
    /// Whether SETTINGS and PING of the other end are answered, as every client has to.
    pub answers: bool,
}

impl Http2Connection {
    /// Connects to `address`, and says the preface and `settings`.
    pub async fn connect(address: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut connection = Self::over(RawConnection::connect(address).await);
        connection.send_bytes([PREFACE, &Frame::settings(settings).bytes()].concat()).await;
        connection
    }

    /// A connection on which nothing was said yet.
    #[must_use]
    pub fn over(connection: RawConnection) -> Self {
        Self { connection, answers: true }
    }

    /// Sends a frame.
    pub async fn send(&mut self, frame: &Frame) {
        self.send_bytes(frame.bytes()).await;
    }

    /// Sends bytes that may be no frame.
    pub async fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) {
        // Whoever was told to go away may not listen any more.
        let _ = self.connection.try_send(bytes).await;
    }

    /// The next frame; `None` at the end of the connection, however it comes.
    pub async fn next(&mut self) -> Option<Frame> {
        let head = self.connection.try_read_exactly(9).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let payload = self.connection.try_read_exactly(length as usize).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) & 0x7fff_ffff;
        let frame = Frame { kind: head[3], flags: head[4], stream, payload };
        if self.answers && matches!(frame.kind, kind::SETTINGS | kind::PING) && frame.flags & flag::ACK == 0 {
            let payload = if frame.kind == kind::PING { frame.payload.clone() } else { Vec::new() };
            self.send(&Frame::new(frame.kind, flag::ACK, 0, payload)).await;
        }
        Some(frame)
    }

    /// Reads until a frame is as `wanted`, and gives it with those before it.
    ///
    /// # Panics
    /// If the connection ends before.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> (Frame, Vec<Frame>) {
        let mut seen = Vec::new();
        loop {
            let frame =
                self.next().await.unwrap_or_else(|| panic!("ended before that came; until then {seen:?}"));
            if wanted(&frame) {
                return (frame, seen);
            }
            seen.push(frame);
        }
    }

    /// Reads the answer on a stream: its status, and its content up to the end of the stream.
    ///
    /// # Panics
    /// If it is reset, or the connection ends before.
    pub async fn answer(&mut self, stream: u32) -> (u16, Vec<u8>) {
        let (mut status, mut content) = (0, Vec::new());
        loop {
            let (frame, _) = self.until(|frame| frame.stream == stream).await;
            match frame.kind {
                kind::HEADERS if status < 200 => status = frame.status().expect("it has a status"),
                kind::HEADERS => {}
                kind::DATA => content.extend_from_slice(&frame.payload),
                _ => panic!("no answer: {frame:?}"),
            }
            if frame.flags & flag::END_STREAM != 0 {
                return (status, content);
            }
        }
    }

    /// Everything until the connection ends, and how it does.
    pub async fn until_end(&mut self) -> Vec<Frame> {
        let mut seen = Vec::new();
        while let Some(frame) = self.next().await {
            seen.push(frame);
        }
        seen
    }

    /// Closes this end.
    pub async fn close(mut self) -> End {
        self.connection.half_close().await;
        self.connection.read_to_end().await.1
    }
}

/// The fields of a request for `path`.
#[must_use]
pub fn get(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a")]
}
