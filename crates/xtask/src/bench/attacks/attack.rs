//! What the attacker does. It has a thread of its own, asks again as often as it is thrown out, and ends with its guard.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustls::ClientConnection;
use testkit::certificates::Authority;
use testkit::process::{Process, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::runtime;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    Nothing,
    Silent,
    SlowHeads,
    SlowBodies,
    SlowReads,
    Ranges,
    TlsSilent,
    ClientHellos,
    TlsHandshakes,
    NewConnections,
    Sessions,
    Pipelining,
    Chunks,
    Frames,
    Pings,
    NeverReading,
}

/// An attack under way. It ends when this is dropped.
pub(crate) struct Attacking {
    goes_on: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    program: Option<Process>,
}

impl Attack {
    pub(crate) const ALL: [Self; 16] = [
        Self::Nothing,
        Self::Silent,
        Self::SlowHeads,
        Self::SlowBodies,
        Self::SlowReads,
        Self::Ranges,
        Self::TlsSilent,
        Self::ClientHellos,
        Self::TlsHandshakes,
        Self::NewConnections,
        Self::Sessions,
        Self::Pipelining,
        Self::Chunks,
        Self::Frames,
        Self::Pings,
        Self::NeverReading,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Silent => "silent",
            Self::SlowHeads => "slow-heads",
            Self::SlowBodies => "slow-bodies",
            Self::SlowReads => "slow-reads",
            Self::Ranges => "ranges",
            Self::TlsSilent => "tls-silent",
            Self::ClientHellos => "client-hellos",
            Self::TlsHandshakes => "tls-handshakes",
            Self::NewConnections => "new-connections",
            Self::Sessions => "sessions",
            Self::Pipelining => "pipelining",
            Self::Chunks => "chunks",
            Self::Frames => "frames",
            Self::Pings => "pings",
            Self::NeverReading => "never-reading",
        }
    }

    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Nothing => "nobody attacks",
            Self::Silent => "3,500 connections that say nothing",
            Self::SlowHeads => "`slowhttptest -H`: 3,500 heads, a line every 3 s",
            Self::SlowBodies => "`slowhttptest -B`: 3,500 bodies, some bytes every 3 s",
            Self::SlowReads => "`slowhttptest -X`: 3,500 answers of 1 MB, read byte by byte",
            Self::Ranges => "`slowhttptest -R`: 1,000 requests for overlapping ranges",
            Self::TlsSilent => "3,500 connections to the TLS port that say nothing",
            Self::ClientHellos => "700 ClientHellos a second, and then gone",
            Self::TlsHandshakes => "whole TLS handshakes, eight at a time",
            Self::NewConnections => "a connection for each request, eight at a time",
            Self::Sessions => "Engine.IO handshakes on eight connections",
            Self::Pipelining => "four connections with 64 requests under way each",
            Self::Chunks => "four bodies in chunks of one byte",
            Self::Frames => "four WebSockets with empty messages",
            Self::Pings => "four WebSockets with empty pongs",
            Self::NeverReading => "200 answers of 16 MiB that nobody reads",
        }
    }

    /// Begins it, for so many seconds at most and a few more.
    pub(crate) fn begin(self, plain: SocketAddr, tls: SocketAddr, seconds: u64) -> Result<Attacking> {
        let (goes_on, going) = watch::channel(true);
        let slow = |bytes: usize, arguments: &[&str]| {
            let mut command = Command::new("slowhttptest");
            let length = (seconds + 10).to_string();
            command.args(arguments).args(["-r", "3500", "-l", &length, "-p", "3", "-u"]);
            command.arg(format!("http://{plain}/bytes/{bytes}"));
            Process::spawn("slowhttptest", command)
        };
        let program = match self {
            Self::SlowHeads => Some(slow(128, &["-H", "-c", "3500", "-i", "3", "-x", "24"])),
            Self::SlowBodies => Some(slow(128, &["-B", "-c", "3500", "-i", "3", "-s", "8192", "-x", "10"])),
            Self::SlowReads => Some(slow(
                1_000_000,
                &["-X", "-c", "3500", "-w", "1", "-y", "8", "-n", "3", "-z", "1", "-k", "1"],
            )),
            Self::Ranges => Some(slow(128, &["-R", "-c", "1000", "-a", "1", "-b", "3000", "-t", "GET"])),
            _ => None,
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let hello = client_hello()?;
        let target = Target { plain, tls, hello: hello.into() };
        let thread = std::thread::Builder::new().name("attacker".into()).spawn(move || {
            runtime.block_on(self.run(target, going));
        })?;
        Ok(Attacking { goes_on, thread: Some(thread), program })
    }

    async fn run(self, target: Target, mut going: watch::Receiver<bool>) {
        let mut hands = JoinSet::new();
        for _ in 0..self.hands() {
            let target = target.clone();
            hands.spawn(async move {
                loop {
                    // Thrown out or refused, it comes back; but it does not burn its own core meanwhile.
                    if self.once(&target).await.is_err() {
                        sleep(AGAIN).await;
                    }
                }
            });
        }
        let _ = going.wait_for(|goes_on| !goes_on).await;
    }

    /// How many things it does at once.
    fn hands(self) -> usize {
        match self {
            Self::Nothing | Self::SlowHeads | Self::SlowBodies | Self::SlowReads | Self::Ranges => 0,
            Self::Silent | Self::TlsSilent => 3500,
            Self::ClientHellos | Self::TlsHandshakes | Self::NewConnections | Self::Sessions => 8,
            Self::Pipelining | Self::Chunks | Self::Frames | Self::Pings => 4,
            Self::NeverReading => 200,
        }
    }

    /// One of them, until the proxy has had enough of it.
    async fn once(self, target: &Target) -> Result<()> {
        match self {
            Self::Nothing | Self::SlowHeads | Self::SlowBodies | Self::SlowReads | Self::Ranges => {}
            Self::Silent => until_closed(connect(target.plain).await?).await?,
            Self::TlsSilent => until_closed(connect(target.tls).await?).await?,
            Self::ClientHellos => {
                let mut stream = connect(target.tls).await?;
                stream.write_all(&target.hello).await?;
                stream.set_zero_linger()?;
                drop(stream);
                // As many for each proxy: one that throws them out at once would get thirty times as many as the others.
                sleep(HELLO_EVERY).await;
            }
            Self::TlsHandshakes => {
                let config = Authority::new("nobody").client(&[]);
                // The certificate is not one that it trusts: by then the proxy has done its part.
                let _ = testkit::raw::RawConnection::connect_tls(target.tls, "bench.example", config).await;
            }
            Self::NewConnections => {
                let mut stream = connect(target.plain).await?;
                stream.write_all(&get("/bytes/128", "Connection: close\r\n")).await?;
                until_closed(stream).await?;
            }
            Self::Sessions => {
                let handshake = get("/socket.io/?EIO=4&transport=polling", "");
                return ask_on(connect(target.plain).await?, handshake.clone(), handshake).await;
            }
            Self::Pipelining => {
                let one = get("/bytes/128", "");
                return ask_on(connect(target.plain).await?, one.repeat(64), one).await;
            }
            Self::Chunks => {
                let head = b"POST /swallow HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
                return pour(connect(target.plain).await?, head, &b"1\r\nx\r\n".repeat(2048)).await;
            }
            Self::Frames => {
                return pour(connect(target.plain).await?, UPGRADE, &b"\x82\x80\0\0\0\0".repeat(2048)).await;
            }
            Self::Pings => {
                return pour(connect(target.plain).await?, UPGRADE, &b"\x8a\x80\0\0\0\0".repeat(2048)).await;
            }
            Self::NeverReading => {
                let socket = TcpSocket::new_v4()?;
                socket.set_recv_buffer_size(4096)?;
                let mut stream = bound(socket, target.plain).await?;
                stream.write_all(&get("/bytes/16000000", "")).await?;
                // It looks whether it was thrown out, and takes nothing.
                while stream.peek(&mut [0]).await? > 0 {
                    sleep(AGAIN).await;
                }
            }
        }
        Ok(())
    }
}

impl Drop for Attacking {
    fn drop(&mut self) {
        self.goes_on.send_replace(false);
        if let Some(program) = &self.program {
            program.signal(Signal::KILL);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Target {
    plain: SocketAddr,
    tls: SocketAddr,
    hello: Arc<[u8]>,
}

async fn connect(to: SocketAddr) -> Result<TcpStream> {
    bound(TcpSocket::new_v4()?, to).await
}

/// All of an attack comes from one address.
async fn bound(socket: TcpSocket, to: SocketAddr) -> Result<TcpStream> {
    socket.bind((ATTACKER, 0).into())?;
    Ok(socket.connect(to).await?)
}

async fn until_closed(mut stream: TcpStream) -> Result<()> {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Asks `first`, and `again` for as much as was answered.
async fn ask_on(mut stream: TcpStream, first: Vec<u8>, again: Vec<u8>) -> Result<()> {
    stream.write_all(&first).await?;
    let mut buffer = vec![0; 1 << 16];
    let mut answered = 0;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            anyhow::bail!("closed");
        }
        answered += answers_in(&buffer[..count]);
        let due = again.repeat(std::mem::take(&mut answered));
        stream.write_all(&due).await?;
    }
}

/// Answers that begin in `bytes`, nearly: one is missed where a read ends inside these letters.
fn answers_in(bytes: &[u8]) -> usize {
    bytes.windows(9).filter(|window| *window == b"HTTP/1.1 ").count()
}

/// Sends `head` and then `more` for ever, and reads what comes.
async fn pour(stream: TcpStream, head: &[u8], more: &[u8]) -> Result<()> {
    let (mut read, mut write) = stream.into_split();
    let reading = async {
        let mut buffer = vec![0; 1 << 16];
        while read.read(&mut buffer).await? > 0 {}
        anyhow::bail!("closed")
    };
    let writing = async {
        write.write_all(head).await?;
        loop {
            write.write_all(more).await?;
        }
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}

fn get(target: &str, more: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: bench.example\r\n{more}\r\n").into_bytes()
}

/// The first flight of a real client.
fn client_hello() -> Result<Vec<u8>> {
    let config = Authority::new("nobody").client(&[]);
    let name = "bench.example".try_into().context("a name")?;
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello)?;
    Ok(hello)
}

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 9, 0, 1);
const AGAIN: Duration = Duration::from_millis(50);
/// Of each of eight.
const HELLO_EVERY: Duration = Duration::from_millis(10);
/// To a room in which nobody is: what is said there costs the origin little.
const UPGRADE: &[u8] =
    b"GET /say/nobody HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
