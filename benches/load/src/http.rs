//! HTTP/1.1 requests, on connections that are kept or on one for each. Understands as much of an answer as it takes to
//! find its end, and treats everything else as a failure.

use std::io::ErrorKind;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout};

use crate::destination::{Destination, Stream};
use crate::meter::{Meter, Report, Window};
use crate::pace::{Pace, Turn};

/// What is asked, by how many and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Path and query.
    pub target: String,
    /// Bytes of the request's body; 0 is a GET, everything else a POST.
    pub upload_bytes: usize,
    /// Header lines beside Host and Content-Length, each with its CRLF.
    pub header_lines: String,
    /// Connections that are open at once.
    pub connections: usize,
    /// How many of them ask at once, in turn; the others rest meanwhile.
    pub in_flight: usize,
    /// Requests in a second, due whether or not there were answers; `None` asks again at once after each answer.
    pub per_second: Option<f64>,
    /// Whether each request has a connection of its own.
    pub anew: bool,
}

/// A connection and what was read from it beyond an answer, which must be nothing.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    /// Bytes of the answer before, with its head.
    received: usize,
}

/// Where an answer's body ends.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Said(usize),
    Chunked,
}

impl Connection {
    /// On a fresh stream.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, buffer: Vec::with_capacity(BUFFER_BYTES), received: 0 }
    }

    /// Sends `request` and reads a whole answer; its body is in the returned slice if `keeps_body`, or if it comes in chunks,
    /// and then with what frames them.
    ///
    /// # Errors
    /// If there is no answer, or one that is not 2xx or says no length.
    pub async fn exchange(&mut self, request: &[u8], keeps_body: bool) -> Result<&[u8]> {
        self.stream.write_all(request).await.context("the request was not taken")?;
        self.buffer.clear();
        let head_length = loop {
            let read = self.stream.read_buf(&mut self.buffer).await.context("no answer")?;
            ensure!(read > 0, "closed instead of an answer, after {} bytes", self.buffer.len());
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            ensure!(self.buffer.len() < HEAD_BYTES_MAX, "a head without an end");
        };
        let body_length = match answer_length(&self.buffer[..head_length])? {
            Length::Said(length) => length,
            Length::Chunked => return self.chunks(head_length).await,
        };
        let whole = head_length + body_length;
        self.received = whole;
        if keeps_body || whole <= self.buffer.capacity() {
            while self.buffer.len() < whole {
                let read = self.stream.read_buf(&mut self.buffer).await.context("half an answer")?;
                ensure!(read > 0, "closed in the middle of an answer");
            }
            ensure!(self.buffer.len() == whole, "more than an answer");
            return Ok(&self.buffer[head_length..]);
        }
        self.discard(whole - self.buffer.len()).await?;
        Ok(&[])
    }

    async fn chunks(&mut self, head_length: usize) -> Result<&[u8]> {
        let mut at = head_length;
        while !end_of_chunks(&self.buffer, &mut at)? {
            ensure!(self.buffer.len() < CHUNKED_BYTES_MAX, "chunks without an end");
            let read = self.stream.read_buf(&mut self.buffer).await.context("half an answer")?;
            ensure!(read > 0, "closed in the middle of an answer");
        }
        ensure!(self.buffer.len() == at, "more than an answer");
        self.received = at;
        Ok(&self.buffer[head_length..])
    }

    async fn discard(&mut self, mut left: usize) -> Result<()> {
        // One piece is enough for a large body, and is kept: 200 connections of it are not too much.
        self.buffer.clear();
        self.buffer.reserve(LARGE_BYTES);
        while left > 0 {
            self.buffer.clear();
            let read = self.stream.read_buf(&mut self.buffer).await.context("half an answer")?;
            ensure!(read > 0 && read <= left, "closed {left} bytes before the end of an answer");
            left -= read;
        }
        Ok(())
    }

    /// Reads the end that the other side has promised, and then closes.
    async fn end(mut self) -> Result<()> {
        self.buffer.clear();
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Ok(()),
            Ok(_) => bail!("more than an answer"),
            // An end without TLS's own close: the answer had a length, so that nothing can be missing.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(()),
            Err(error) => Err(error).context("no end"),
        }
    }
}

/// Walks over the chunks that are here, from `at` on. `true` behind the last of them.
fn end_of_chunks(buffer: &[u8], at: &mut usize) -> Result<bool> {
    loop {
        let rest = buffer.get(*at..).unwrap_or_default();
        let Some(line) = memmem::find(rest, b"\r\n") else { return Ok(false) };
        let size = std::str::from_utf8(&rest[..line])?;
        let size = usize::from_str_radix(size, 16).context("the size of a chunk that is none")?;
        let whole = line + 2 + size + 2;
        ensure!(whole <= CHUNKED_BYTES_MAX, "a chunk of {size} bytes");
        if rest.len() < whole {
            return Ok(false);
        }
        *at += whole;
        if size == 0 {
            return Ok(true);
        }
    }
}

/// The length of the body that a head announces.
fn answer_length(head: &[u8]) -> Result<Length> {
    ensure!(head.starts_with(b"HTTP/1.1 2"), "{}", first_line(head));
    for line in head.split(|&byte| byte == b'\n').skip(1) {
        let name = line.get(..NAME.len()).unwrap_or_default();
        if name.eq_ignore_ascii_case(NAME) {
            let value = line[NAME.len()..].trim_ascii();
            let length = std::str::from_utf8(value)?.parse().context("a Content-Length that is none");
            return length.map(Length::Said);
        }
        if line.trim_ascii().eq_ignore_ascii_case(CHUNKED) {
            return Ok(Length::Chunked);
        }
    }
    ensure!(head.starts_with(b"HTTP/1.1 204"), "an answer without a Content-Length");
    Ok(Length::Said(0))
}

fn first_line(head: &[u8]) -> String {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or_default();
    format!("answered {:?}", String::from_utf8_lossy(line))
}

/// The bytes of a request.
#[must_use]
pub fn request(method: &str, target: &str, host: &str, header_lines: &str, body: &[u8]) -> Vec<u8> {
    let length = match method {
        "POST" => format!("Content-Length: {}\r\n", body.len()),
        _ => String::new(),
    };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{header_lines}{length}\r\n");
    [head.as_bytes(), body].concat()
}

impl Plan {
    fn request(&self, destination: &Destination) -> Vec<u8> {
        let method = if self.upload_bytes > 0 { "POST" } else { "GET" };
        let close = if self.anew { "Connection: close\r\n" } else { "" };
        let lines = format!("{}{close}", self.header_lines);
        request(method, &self.target, destination.name(), &lines, &vec![b'x'; self.upload_bytes])
    }
}

/// Runs `plan`.
///
/// # Errors
/// If no connection can be opened, or nothing is answered well.
pub async fn run(destination: &Destination, plan: &Plan, window: &Window) -> Result<Report> {
    let loops = plan.in_flight.clamp(1, plan.connections.max(1));
    ensure!(!plan.anew || plan.per_second.is_none(), "new connections are asked for in a closed loop");
    let meter = Rc::new(Meter::default());
    let request: Rc<[u8]> = plan.request(destination).into();
    let mut shares: Vec<Vec<Connection>> = (0..loops).map(|_| Vec::new()).collect();
    if !plan.anew {
        for index in 0..plan.connections {
            let stream = destination.connect().await.with_context(|| format!("connection {index}"))?;
            shares[index % loops].push(Connection::new(stream));
        }
    }
    let pace = plan.per_second.map(|per_second| Pace::new(per_second, loops));
    let tasks = LocalSet::new();
    let mut joins = Vec::new();
    for (index, share) in shares.into_iter().enumerate() {
        let (destination, meter, request) = (destination.clone(), meter.clone(), request.clone());
        let asking = Asking { destination, meter, request };
        joins.push(match pace.as_ref().map(|pace| pace.turn(index)) {
            None if plan.anew => tasks.spawn_local(asking.anew(index)),
            None => tasks.spawn_local(asking.closed(share)),
            Some(turn) => tasks.spawn_local(asking.open(share, turn)),
        });
    }
    let watching = async {
        let watch = meter.watch(window);
        match &pace {
            None => watch.await,
            Some(pace) => {
                let (report, paced) = tokio::join!(watch, pace.run(|| meter.is_over()));
                paced?;
                report
            }
        }
    };
    let report = tasks
        .run_until(async {
            let report = watching.await?;
            for join in joins {
                if timeout(LAST_ANSWER, join).await.is_err() {
                    meter.failed("the last answer did not come");
                }
            }
            Ok::<_, anyhow::Error>(report)
        })
        .await?;
    meter.report(report)
}

/// One loop of requests.
struct Asking {
    destination: Destination,
    meter: Rc<Meter>,
    request: Rc<[u8]>,
}

impl Asking {
    /// The next request follows an answer.
    async fn closed(self, mut share: Vec<Connection>) {
        let mut turn = 0;
        while !self.meter.is_over() {
            self.ask(&mut share, turn, Instant::now()).await;
            turn += 1;
        }
    }

    /// The next request is due when the schedule says so.
    async fn open(self, mut share: Vec<Connection>, mut turn: Turn) {
        let mut index = 0;
        while let Some(due) = turn.next().await {
            self.ask(&mut share, index, due).await;
            index += 1;
        }
    }

    async fn ask(&self, share: &mut [Connection], turn: usize, due: Instant) {
        let at = turn % share.len();
        match share[at].exchange(&self.request, false).await {
            Ok(_) => {
                self.meter.done(due);
                self.meter.received(share[at].received);
            }
            Err(error) => {
                self.meter.failed(&format!("{error:#}"));
                // What is left of the connection cannot be trusted.
                match self.destination.connect().await {
                    Ok(stream) => share[at] = Connection::new(stream),
                    Err(_) => tokio::time::sleep(AFTER_FAILURE).await,
                }
            }
        }
    }

    /// Each request has a connection of its own.
    async fn anew(self, index: usize) {
        let mut source = index;
        while !self.meter.is_over() {
            let begun = Instant::now();
            source = source.wrapping_add(1);
            match self.once(source).await {
                Ok(()) => self.meter.done(begun),
                Err(error) => {
                    self.meter.failed(&format!("{error:#}"));
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
        }
    }

    async fn once(&self, source: usize) -> Result<()> {
        let stream = self.destination.connect_from(source).await.context("connecting")?;
        if stream.has_resumed() {
            self.meter.resumed();
        }
        let mut connection = Connection::new(stream);
        connection.exchange(&self.request, false).await?;
        connection.end().await
    }
}

/// Opens one connection and asks once, for those who wait until something answers.
///
/// # Errors
/// If it does not answer well.
pub async fn ask_once(destination: &Destination, target: &str, header_lines: &str) -> Result<()> {
    let mut connection = Connection::new(destination.connect().await?);
    let Ok(answer) = timeout(
        LAST_ANSWER,
        connection.exchange(&request("GET", target, destination.name(), header_lines, b""), false),
    )
    .await
    else {
        bail!("no answer in {LAST_ANSWER:?}");
    };
    answer.map(|_| ())
}

const NAME: &[u8] = b"content-length:";
const CHUNKED: &[u8] = b"transfer-encoding: chunked";
const CHUNKED_BYTES_MAX: usize = 16 << 20;
const BUFFER_BYTES: usize = 2048;
const LARGE_BYTES: usize = 256 << 10;
const HEAD_BYTES_MAX: usize = 64 << 10;
const LAST_ANSWER: std::time::Duration = std::time::Duration::from_secs(10);
const AFTER_FAILURE: std::time::Duration = std::time::Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, want: Result<usize, &str>) {
        match (answer_length(head.as_bytes()), want) {
            (Ok(length), Ok(want)) => assert_eq!(length, Length::Said(want), "{head:?}"),
            (Err(error), Err(want)) => assert!(format!("{error:#}").contains(want), "{head:?}: {error:#}"),
            (got, want) => panic!("{head:?}: {got:?}, not {want:?}"),
        }
    }

    #[test]
    fn the_length_of_an_answer_is_read_and_nothing_else_is_taken_for_one() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n", Ok(128));
        check("HTTP/1.1 201 Created\r\nX: y\r\nCONTENT-LENGTH:7\r\n\r\n", Ok(7));
        check("HTTP/1.1 204 No Content\r\n\r\n", Ok(0));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Err("without a Content-Length"));
        check("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\n", Err("502 Bad Gateway"));
        check("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", Err("that is none"));
        let chunked = answer_length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n");
        assert_eq!(chunked.unwrap(), Length::Chunked);
    }

    #[test]
    fn chunks_end_behind_the_last_of_them() {
        let whole = b"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n";
        let mut at = 0;
        for end in 0..whole.len() {
            assert!(!end_of_chunks(&whole[..end], &mut at).unwrap(), "{end}");
        }
        assert!(end_of_chunks(whole, &mut at).unwrap());
        assert_eq!(at, whole.len());
        assert!(end_of_chunks(b"many\r\n", &mut 0).is_err());
        assert!(end_of_chunks(b"ffffffffffff\r\n", &mut 0).is_err());
    }
}
