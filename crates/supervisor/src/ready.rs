//! When an instance counts as ready. It is asked again and again, each time on a connection of its own, until it
//! answers as wanted or the deadline passes; then what stood in the way is said, with where the app listens instead.

use std::io;
use std::time::Duration;

use client::{Answer, Connection, NoAnswer};
use config::app::ReadyWhen;
use config::roster::InstanceAddress;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use wire::engineio::{escape_sid, read_open_packet};

use crate::listen_diagnosis::{self, Shown};
use crate::process::Process;

/// Why an instance is not ready at its deadline. Says a whole sentence, that begins with what it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct NotReady {
    said: String,
}

/// Waits until the process is ready. Does not notice that it ends; the caller races this with [`Process::ended`].
///
/// # Errors
/// If it is not ready at the deadline.
///
/// # Cancel safety
/// Cancel-safe: a question that was asked is closed, and the next call asks anew.
pub async fn until_ready(process: &Process, when: &ReadyWhen, deadline: Instant) -> Result<(), NotReady> {
    let address = process.address();
    let began = Instant::now();
    let mut last = match when {
        // It was started, or there would be no process.
        ReadyWhen::Running => return Ok(()),
        ReadyWhen::Message => {
            if timeout_at(deadline, process.told_ready()).await.is_ok() {
                return Ok(());
            }
            "it has not said process.send('ready')".to_owned()
        }
        _ => match until_answered(address, when, deadline).await {
            Ok(()) => return Ok(()),
            Err(last) => last,
        },
    };
    if let Some(explained) = listen_diagnosis::explain(process).await {
        last = format!("{last}; {explained}");
    }
    let took = deadline.duration_since(began);
    Err(NotReady { said: format!("{} is not ready after {took:.1?}: {last}", process.launch()) })
}

/// `Err` is what the last attempt said.
async fn until_answered(
    address: &InstanceAddress,
    when: &ReadyWhen,
    deadline: Instant,
) -> Result<(), String> {
    let mut last = "it was not asked yet".to_owned();
    let mut pause = PAUSE_MIN;
    loop {
        match timeout_at(deadline, timeout(ATTEMPT, attempt(address, when))).await {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(error))) => last = error,
            Ok(Err(_)) => last = format!("{} does not answer within {ATTEMPT:?}", Shown(address)),
            Err(_) => return Err(last),
        }
        if timeout_at(deadline, sleep(pause)).await.is_err() {
            return Err(last);
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn attempt(address: &InstanceAddress, when: &ReadyWhen) -> Result<(), String> {
    let stream = connect(address).await?;
    match when {
        ReadyWhen::Port | ReadyWhen::Message | ReadyWhen::Running => Ok(()),
        ReadyWhen::Http { path, status } => {
            let answer = get(stream, path).await?;
            let is_wanted =
                status.map_or((200..400).contains(&answer.status), |status| status == answer.status);
            is_wanted.then_some(()).ok_or_else(|| format!("GET {path} was answered {}", answer.status))
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
            Ok(())
        }
    }
}

async fn connect(address: &InstanceAddress) -> Result<Stream, String> {
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
type Stream = Box<dyn Bytes>;

trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Bytes for S {}

async fn get(stream: Stream, target: &str) -> Result<Answer, String> {
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

const ABOUT: &str = "Host: localhost\r\nUser-Agent: tidelock\r\nAccept: */*\r\nConnection: close\r\n";
/// An attempt that takes longer is given up; one that is late for a moment is asked again.
const ATTEMPT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 64 << 10;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);
