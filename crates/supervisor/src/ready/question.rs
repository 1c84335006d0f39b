//! What an instance is asked to find out whether it is ready, each time on a connection of its own.

use std::io;
use std::time::Duration;

use client::{Answer, Connection, NoAnswer};
use config::app::ReadyWhen;
use config::roster::InstanceAddress;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use wire::engineio::{escape_sid, read_open_packet};

use crate::listen_diagnosis::Shown;

pub(super) async fn ask(address: &InstanceAddress, path: &str) -> Result<Answer, String> {
    let stream = connect(address).await?;
    timeout(QUESTION, get(stream, path)).await.unwrap_or_else(|_| Err("it does not answer".to_owned()))
}

pub(super) async fn attempt(address: &InstanceAddress, when: &ReadyWhen) -> Result<Option<Answer>, String> {
    let stream = connect(address).await?;
    match when {
        ReadyWhen::Port | ReadyWhen::Message | ReadyWhen::Running => Ok(None),
        ReadyWhen::Http { path, status } => {
            let answer = get(stream, path).await?;
            let is_wanted =
                status.map_or((200..400).contains(&answer.status), |status| status == answer.status);
            let status = answer.status;
            is_wanted.then_some(Some(answer)).ok_or_else(|| format!("GET {path} was answered {status}"))
        }
        ReadyWhen::EngineIo { path } => {
            let opening = format!("{path}?EIO=4&transport=polling");
            let answer = get(stream, &opening).await?;
            let open = read_open_packet(&answer.body).ok_or_else(|| {
                format!("GET {opening} was answered {}, and not by an Engine.IO handshake", answer.status)
            })?;
            // It was only opened to see whether it can be. If it is not closed now, the node closes it when nobody
            // answers its ping.
            if let Ok(stream) = connect(address).await {
                close_session(stream, &opening, &open.sid).await;
            }
            Ok(Some(answer))
        }
    }
}

pub(super) async fn connect(address: &InstanceAddress) -> Result<Stream, String> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("nothing listens on {}", Shown(address)),
        io::ErrorKind::NotFound => format!("there is no socket {}", Shown(address)),
        _ => format!("{}: {error}", Shown(address)),
    };
    match address {
        InstanceAddress::Tcp(to) => {
            let stream = TcpStream::connect(to).await.map_err(failed)?;
            // A port of the ephemeral range can be connected to itself.
            if stream.local_addr().ok() == stream.peer_addr().ok() {
                return Err(format!("nothing listens on {to}"));
            }
            Ok(Box::new(stream))
        }
        InstanceAddress::Unix(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(failed)?)),
    }
}

/// A connection to an instance, of either kind.
pub(super) type Stream = Box<dyn Bytes>;

pub(super) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytes for S {}

pub(super) async fn get(stream: Stream, target: &str) -> Result<Answer, String> {
    // HTTP/1.0 would do, but there are apps that refuse it.
    let request = format!("GET {target} HTTP/1.1\r\n{ABOUT}\r\n");
    let answer = Connection::over(stream).ask(request.as_bytes(), ANSWER_BYTES_MAX).await;
    answer.map_err(|none| match none {
        NoAnswer::Wire(error) => format!("GET {target}: {error}"),
        NoAnswer::Malformed => format!("GET {target} was not answered in HTTP"),
    })
}

async fn close_session(stream: Stream, opening: &str, sid: &[u8]) {
    let mut request = format!("POST {opening}&sid=").into_bytes();
    escape_sid(sid, &mut request);
    let content = "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: 1\r\n\r\n1";
    request.extend_from_slice(format!(" HTTP/1.1\r\n{ABOUT}{content}").as_bytes());
    let _ = Connection::over(stream).ask(&request, 0).await;
}

/// Whether the other end takes blank lines, which HTTP lets be, for the end of everything, and answers a greeting.
pub(super) async fn is_tls(address: &InstanceAddress) -> bool {
    let Ok(mut stream) = connect(address).await else { return false };
    let mut byte = [0; 1];
    let ends = async {
        stream.write_all(b"\r\n\r\n\r\n").await?;
        stream.read(&mut byte).await
    };
    match timeout(BLANK, ends).await {
        Err(_) => return false,
        Ok(Ok(1)) => return matches!(byte[0], TLS_ALERT | TLS_HANDSHAKE),
        Ok(_) => {}
    }
    let Ok(mut stream) = connect(address).await else { return false };
    let answered = async {
        stream.write_all(&GREETING).await?;
        stream.read(&mut byte).await
    };
    matches!(timeout(QUESTION, answered).await, Ok(Ok(1)) if matches!(byte[0], TLS_ALERT | TLS_HANDSHAKE))
}

const ABOUT: &str = "Host: localhost\r\nUser-Agent: tidelock\r\nAccept: */*\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n";
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A page may take long to make, and what is asked here is only whether somebody answers in HTTP.
pub(super) const QUESTION: Duration = Duration::from_secs(1);
/// Whoever does not understand TLS records that are blank lines says so at once.
const BLANK: Duration = Duration::from_millis(50);
const TLS_ALERT: u8 = 0x15;
const TLS_HANDSHAKE: u8 = 0x16;
/// A ClientHello of TLS 1.2 with one cipher suite and nothing else (RFC 5246 section 7.4.1.2), which is refused at least.
const GREETING: [u8; 50] = {
    let mut greeting = [7; 50];
    let begin = [TLS_HANDSHAKE, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    let end = [0, 0, 2, 0xc0, 0x2f, 1, 0];
    let mut at = 0;
    while at < begin.len() {
        greeting[at] = begin[at];
        at += 1;
    }
    at = 0;
    while at < end.len() {
        greeting[50 - end.len() + at] = end[at];
        at += 1;
    }
    greeting
};
