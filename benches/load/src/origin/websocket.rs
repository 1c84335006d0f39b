//! WebSockets at the origin. Frames are taken apart by hand: a message that is echoed costs one read and one write.

use std::collections::HashMap;
use std::io;
use std::rc::{Rc, Weak};

use tokio::io::AsyncReadExt as _;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::yield_now;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Connection, Shared, engineio, write_all};

/// Who listens in which room.
#[derive(Default)]
pub(super) struct Rooms(HashMap<String, Vec<Weak<OwnedWriteHalf>>>);

/// What becomes of a message.
enum Purpose {
    Echo,
    /// To all in the room.
    Say(String),
    /// Nothing: it only listens.
    Listen,
    SocketIo,
}

/// A frame of a client, unmasked.
struct Frame {
    opcode: u8,
    payload: std::ops::Range<usize>,
    /// Where the next one begins.
    end: usize,
}

impl Connection {
    pub(super) async fn upgrade(mut self, key: &str, target: &str) -> io::Result<()> {
        let accept = derive_accept_key(key.as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        write_all(&self.write, answer.as_bytes()).await?;
        let purpose = if target.starts_with(engineio::PATH) {
            let open_packet = self.shared.sessions.borrow_mut().open(false);
            write_all(&self.write, &frame(TEXT, open_packet.as_bytes())).await?;
            Purpose::SocketIo
        } else if let Some(room) = target.strip_prefix("/room/") {
            self.shared.join(room, &self.write);
            Purpose::Listen
        } else if let Some(room) = target.strip_prefix("/say/") {
            Purpose::Say(room.to_owned())
        } else {
            Purpose::Echo
        };
        let mut out = Vec::new();
        loop {
            out.clear();
            let mut at = 0;
            while let Some(found) = next_frame(&mut self.buffer, at)? {
                at = found.end;
                let payload = &self.buffer[found.payload];
                match found.opcode {
                    CLOSE => {
                        push(&mut out, CLOSE, payload);
                        return write_all(&self.write, &out).await;
                    }
                    PING => push(&mut out, PONG, payload),
                    opcode @ (TEXT | BINARY) => match &purpose {
                        Purpose::Echo => push(&mut out, opcode, payload),
                        Purpose::Say(room) => self.shared.say(room, payload),
                        Purpose::Listen => {}
                        Purpose::SocketIo => self.shared.answer_socket_io(payload, &self.write, &mut out),
                    },
                    _ => {}
                }
            }
            self.buffer.drain(..at);
            write_all(&self.write, &out).await?;
            // One read, one turn: tokio would give a flood a hundred before others come, which is not the proxy's doing.
            yield_now().await;
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Ok(());
            }
        }
    }
}

impl Shared {
    pub(super) fn join(&self, room: &str, write: &Rc<OwnedWriteHalf>) {
        self.rooms.borrow_mut().0.entry(room.to_owned()).or_default().push(Rc::downgrade(write));
    }

    /// To everybody at once, without waiting for any: a listener whose buffers are full is cut, and will be missed.
    pub(super) fn say(&self, room: &str, payload: &[u8]) {
        let bytes = frame(TEXT, payload);
        let mut rooms = self.rooms.borrow_mut();
        let Some(members) = rooms.0.get_mut(room) else { return };
        let whole =
            |write: Rc<OwnedWriteHalf>| write.try_write(&bytes).is_ok_and(|count| count == bytes.len());
        members.retain(|member| member.upgrade().is_some_and(whole));
    }

    /// A text of Socket.IO: it connects, joins, speaks, or wants an echo.
    fn answer_socket_io(&self, payload: &[u8], write: &Rc<OwnedWriteHalf>, out: &mut Vec<u8>) {
        let text = std::str::from_utf8(payload).unwrap_or_default();
        let argument = |begin: &str| text.strip_prefix(begin)?.split('"').next();
        if let Some(room) = argument("42[\"join\",\"") {
            self.join(room, write);
        } else if let Some(room) = argument("42[\"say\",\"") {
            self.say(room, payload);
        } else if let Some(answer) = engineio::answer(text) {
            push(out, TEXT, answer.as_bytes());
        }
    }
}

/// The next whole frame of `bytes` from `at` on, if it is there; it is unmasked where it lies.
fn next_frame(bytes: &mut [u8], at: usize) -> io::Result<Option<Frame>> {
    let [first, second, ..] = bytes[at..] else { return Ok(None) };
    let rest = &bytes[at + 2..];
    let (length, length_bytes) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (usize::from(u16::from_be_bytes([*a, *b])), 2),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) as usize, 8)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (usize::from(short), 0),
    };
    if second & 0x80 == 0 || length > super::MESSAGE_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mask_at = at + 2 + length_bytes;
    let begin = mask_at + 4;
    let end = begin + length;
    if bytes.len() < end {
        return Ok(None);
    }
    let mask = [bytes[mask_at], bytes[mask_at + 1], bytes[mask_at + 2], bytes[mask_at + 3]];
    for (byte, key) in bytes[begin..end].iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok(Some(Frame { opcode: first & 0x0f, payload: begin..end, end }))
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 10);
    push(&mut out, opcode, payload);
    out
}

fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match payload.len() {
        length @ 0..126 => out.push(length as u8),
        length @ 126..=0xffff => {
            out.push(126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
