//! A crowd of WebSockets that only stay, and how each of them ends.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

/// Open WebSockets. Dropping it cuts them.
pub(crate) struct Sockets {
    reading: JoinSet<How>,
    ask: watch::Sender<bool>,
    since: Instant,
}

/// How the WebSockets ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Those that still answered at the end.
    pub(crate) alive: usize,
    /// Those that got a Close, by its code; 0 where it held none.
    pub(crate) closed: BTreeMap<u16, usize>,
    /// Those that were cut without one.
    pub(crate) cut: usize,
    /// From the fault to the first end and to the last.
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

enum How {
    Alive,
    Closed(u16, Instant),
    Cut(Instant),
}

impl Sockets {
    /// Opens `count` of them.
    pub(crate) async fn open(address: SocketAddr, count: usize) -> Result<Self> {
        let (ask, asked) = watch::channel(false);
        let mut reading = JoinSet::new();
        for number in 0..count {
            let stream = open(address).await.with_context(|| format!("WebSocket {number}"))?;
            reading.spawn(read(stream, asked.clone()));
        }
        Ok(Self { reading, ask, since: Instant::now() })
    }

    /// From now on the time counts.
    pub(crate) fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// Asks those that are left whether they are alive.
    pub(crate) async fn end(mut self) -> Ends {
        self.ask.send_replace(true);
        let mut ends = Ends::default();
        let mut moments = Vec::new();
        while let Some(how) = self.reading.join_next().await {
            match how {
                Ok(How::Alive) => ends.alive += 1,
                Ok(How::Closed(code, at)) => {
                    *ends.closed.entry(code).or_default() += 1;
                    moments.push(at);
                }
                Ok(How::Cut(at)) => {
                    ends.cut += 1;
                    moments.push(at);
                }
                Err(_) => ends.cut += 1,
            }
        }
        let since = |at: Option<&Instant>| at.map_or(Duration::ZERO, |at| at.duration_since(self.since));
        ends.first = since(moments.iter().min());
        ends.last = since(moments.iter().max());
        ends
    }
}

async fn open(address: SocketAddr) -> Result<TcpStream> {
    let opening = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET /chat HTTP/1.1\r\nHost: {address}\r\n{UPGRADE}");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(stream.read_buf(&mut head).await? > 0, "closed: {}", head.escape_ascii());
        }
        ensure!(head.starts_with(b"HTTP/1.1 101 "), "refused: {}", head.escape_ascii());
        Ok(stream)
    };
    timeout(TIMEOUT, opening).await.context("no answer")?
}

/// Stays until the other end ends it, or until it is asked whether it is alive.
async fn read(mut stream: TcpStream, mut asked: watch::Receiver<bool>) -> How {
    let mut got = Vec::new();
    let mut is_asked = false;
    loop {
        let read = tokio::select! {
            read = stream.read_buf(&mut got) => read,
            _ = asked.changed(), if !is_asked => {
                is_asked = true;
                // A short text, masked with zeros.
                if stream.write_all(b"\x81\x82\0\0\0\0hi").await.is_err() {
                    return How::Cut(Instant::now());
                }
                match timeout(TIMEOUT, stream.read_buf(&mut got)).await {
                    Ok(read) => read,
                    Err(_) => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        };
        // The node says nothing but its one short message, so that a Close stands at a place that is known.
        let frames = got.strip_prefix(MESSAGE).unwrap_or(&got);
        match frames {
            [0x88, length, rest @ ..] if rest.len() >= usize::from(*length) => {
                let code = rest.first_chunk().map_or(0, |code| u16::from_be_bytes(*code));
                let at = Instant::now();
                let _ = stream.write_all(&[&b"\x88\x82\0\0\0\0"[..], &code.to_be_bytes()].concat()).await;
                return How::Closed(code, at);
            }
            _ if !matches!(read, Ok(1..)) => return How::Cut(Instant::now()),
            _ if is_asked && got.starts_with(MESSAGE) => return How::Alive,
            _ => {}
        }
    }
}

/// What the node answers to anything.
const MESSAGE: &[u8] = b"\x81\x02ok";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const TIMEOUT: Duration = Duration::from_secs(5);
