//! An origin that does as little as it can: one thread, no allocation for a request.
//!
//! - any method at `/bytes/N` gets N bytes, after its body was read; a GET at any other path gets 128 of them.
//! - a GET at `/json/N` gets about N bytes of JSON as an API lists users.
//! - a chunked body at `/swallow` is read for as long as it comes, and never answered.
//! - a WebSocket at `/echo` gets back what it says, at `/room/NAME` it hears all that is said there, and at `/say/NAME` it
//!   speaks.
//! - `/socket.io/` is Engine.IO 4, polling or WebSocket: an echo of every message, and the events `join`, `say`, `echo`.
//!   It never pings.

mod engineio;
mod request;
mod websocket;

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::{LocalSet, spawn_local};

use request::{Head, Wanted};

/// What the connections of an origin share.
#[derive(Default)]
struct Shared {
    bodies: RefCell<HashMap<Wanted, Rc<[u8]>>>,
    rooms: RefCell<websocket::Rooms>,
    sessions: RefCell<engineio::Sessions>,
}

/// One connection of a proxy.
struct Connection {
    read: OwnedReadHalf,
    write: Rc<OwnedWriteHalf>,
    buffer: Vec<u8>,
    shared: Rc<Shared>,
}

/// Answers on all of `listeners` until it is dropped.
///
/// # Errors
/// Only if none can accept any more.
pub async fn serve(listeners: Vec<TcpListener>) -> io::Result<()> {
    let shared = Rc::new(Shared::default());
    let tasks = LocalSet::new();
    for listener in listeners {
        let shared = shared.clone();
        tasks.spawn_local(async move {
            loop {
                // An accept that fails (no file is left) may succeed later, and there is nobody to tell.
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(AFTER_FAILURE).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let (read, write) = stream.into_split();
                let buffer = Vec::with_capacity(BUFFER_BYTES);
                let connection = Connection { read, write: Rc::new(write), buffer, shared: shared.clone() };
                spawn_local(async move {
                    // A connection that ends is the proxy's affair.
                    let _ = connection.run().await;
                });
            }
        });
    }
    tasks.await;
    Ok(())
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        loop {
            let Some(length) = self.read_head().await? else { return Ok(()) };
            let head = Head::parse(&self.buffer[..length])?;
            if let Some(key) = head.websocket_key {
                let key = key.to_owned();
                let target = head.target.to_owned();
                self.buffer.drain(..length);
                return self.upgrade(&key, &target).await;
            }
            if head.is_endless {
                return self.swallow().await;
            }
            let closes = head.closes;
            if head.target.starts_with(engineio::PATH) {
                let (target, is_post, body_bytes) = (head.target.to_owned(), head.is_post, head.body_bytes);
                let body = self.read_body(length, body_bytes).await?;
                self.answer_engine_io(&target, is_post, &body).await?;
            } else {
                let wanted = head.wanted();
                let body_bytes = head.body_bytes;
                self.skip_body(length, body_bytes).await?;
                let answer = self.shared.answer(wanted);
                write_all(&self.write, &answer).await?;
            }
            if closes {
                return Ok(());
            }
        }
    }

    /// Reads until a head is whole, and says how long it is.
    async fn read_head(&mut self) -> io::Result<Option<usize>> {
        loop {
            if let Some(end) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                return Ok(Some(end + 4));
            }
            if self.buffer.len() > HEAD_BYTES_MAX || self.read.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn skip_body(&mut self, head: usize, body: usize) -> io::Result<()> {
        let whole = head + body;
        if self.buffer.len() >= whole {
            self.buffer.drain(..whole);
            return Ok(());
        }
        let mut left = whole - self.buffer.len();
        self.buffer.clear();
        if left > BUFFER_BYTES {
            self.buffer.reserve(LARGE_BYTES);
        }
        while left > 0 {
            self.buffer.clear();
            let mut limited = (&mut self.read).take(left as u64);
            let read = limited.read_buf(&mut self.buffer).await?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            left -= read;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Reads to the end of the connection, and answers nothing.
    async fn swallow(&mut self) -> io::Result<()> {
        loop {
            self.buffer.clear();
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    async fn read_body(&mut self, head: usize, body: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < head + body {
            if body > MESSAGE_BYTES_MAX || self.read.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let bytes = self.buffer[head..head + body].to_vec();
        self.buffer.drain(..head + body);
        Ok(bytes)
    }
}

impl Shared {
    /// A whole answer with that body, made once.
    fn answer(&self, wanted: Wanted) -> Rc<[u8]> {
        let mut bodies = self.bodies.borrow_mut();
        if bodies.len() >= BODIES_MAX {
            bodies.clear();
        }
        let make = || {
            let (line, body) = match wanted {
                Wanted::Bytes(bytes) => ("", vec![b'x'; bytes]),
                Wanted::Json(bytes) => ("Content-Type: application/json\r\n", users(bytes).into_bytes()),
            };
            let head = format!("HTTP/1.1 200 OK\r\n{line}Content-Length: {}\r\n\r\n", body.len());
            [head.as_bytes(), &body].concat().into()
        };
        bodies.entry(wanted).or_insert_with(make).clone()
    }
}

/// A list of users, the same ones each time, until it has so many bytes.
fn users(bytes: usize) -> String {
    let names =
        ["Ada", "Björn", "Chiara", "Dmitri", "Élodie", "Farid", "Grace", "Hannah", "Ivo", "Jun", "Kofi"];
    let towns = ["Lisbon", "Kraków", "Osaka", "Nairobi", "Montréal", "Graz", "Quito"];
    let mut text = String::from("[");
    // Numbers that repeat nothing, as ids and times do not (Knuth's multiplicative hash).
    let mut seed: u64 = 1;
    let mut number = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    while text.len() + 1 < bytes {
        let (name, town) = (names[number(11) as usize], towns[number(7) as usize]);
        let (id, seen, posts) = (number(1 << 30), 1_700_000_000 + number(50_000_000), number(900));
        let comma = if text.len() > 1 { "," } else { "" };
        text += &format!(
            "{comma}{{\"id\":\"{id:08x}\",\"name\":\"{name}\",\"town\":\"{town}\",\"lastSeen\":{seen},\"posts\":{posts},\
             \"isOnline\":{},\"avatar\":\"/avatars/{id:08x}.png\"}}",
            number(2) == 0
        );
    }
    text + "]"
}

/// Writes all of it, and waits for room only when there is none.
async fn write_all(write: &OwnedWriteHalf, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => write.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

const BUFFER_BYTES: usize = 4096;
const LARGE_BYTES: usize = 256 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;
const MESSAGE_BYTES_MAX: usize = 1 << 20;
const BODIES_MAX: usize = 64;
const AFTER_FAILURE: std::time::Duration = std::time::Duration::from_millis(50);
