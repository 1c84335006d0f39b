//! When an instance counts as ready. It is asked again and again, each time on a connection of its own, until it
//! answers as wanted or the deadline passes; then what stood in the way is said, with where the app listens instead.

use std::fmt;
use std::io;
use std::time::Duration;

use config::app::ReadyWhen;
use config::roster::InstanceAddress;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::elsewhere;
use crate::process::Process;

/// Why an instance is not ready at its deadline. Says a whole sentence, that begins with what it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{said}")]
pub struct NotReady {
    said: String,
}

/// Waits until the process is ready. Does not notice that it ends; the caller races this with [`Process::ended`].
/// Cancel-safe.
///
/// # Errors
/// If it is not ready at the deadline.
pub async fn until_ready(process: &Process, when: &ReadyWhen, deadline: Instant) -> Result<(), NotReady> {
    let address = process.address();
    let began = Instant::now();
    let mut last = match when {
        // It was started, or there would be no process.
        ReadyWhen::Running => return Ok(()),
        ReadyWhen::Told => {
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
    if let Some(explained) = elsewhere::explain(process).await {
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
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("nothing listens on {}", Shown(address)),
        io::ErrorKind::NotFound => format!("there is no socket {}", Shown(address)),
        _ => format!("{}: {error}", Shown(address)),
    };
    let connect = async || match address {
        InstanceAddress::Tcp(to) => {
            let stream = TcpStream::connect(to).await.map_err(failed)?;
            // A port of the ephemeral range can be connected to itself.
            if stream.local_addr().ok() == stream.peer_addr().ok() {
                return Err(format!("nothing listens on {to}"));
            }
            Ok(Stream::Tcp(stream))
        }
        InstanceAddress::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await.map_err(failed)?)),
    };
    let mut stream = connect().await?;
    match when {
        ReadyWhen::Port | ReadyWhen::Told | ReadyWhen::Running => Ok(()),
        ReadyWhen::Http { path, status } => {
            let answer = stream.get(path).await?;
            let is_wanted =
                status.map_or((200..400).contains(&answer.status), |status| status == answer.status);
            is_wanted.then_some(()).ok_or_else(|| format!("GET {path} was answered {}", answer.status))
        }
        ReadyWhen::EngineIo { path } => {
            let opening = format!("{path}?EIO=4&transport=polling");
            let answer = stream.get(&opening).await?;
            let sid = sid(&answer.body).ok_or_else(|| {
                format!("GET {opening} was answered {}, and not by an Engine.IO handshake", answer.status)
            })?;
            // It was only opened to see whether it can be. If it is not closed now, the node closes it when nobody
            // answers its ping.
            if let Ok(mut stream) = connect().await {
                stream.close_session(&format!("{opening}&sid={sid}")).await;
            }
            Ok(())
        }
    }
}

/// A connection to an instance.
#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The answer to a GET, as far as it is looked at.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Stream {
    async fn get(&mut self, target: &str) -> Result<Answer, String> {
        let failed = |error: io::Error| format!("GET {target}: {error}");
        // HTTP/1.0 would do, but there are apps that refuse it. With `close` the answer ends with the connection.
        let request = format!("GET {target} HTTP/1.1\r\n{ABOUT}\r\n");
        let answer = self.exchange(&request).await.map_err(failed)?;
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let status = status.ok_or_else(|| format!("GET {target} was not answered in HTTP"))?;
        Ok(Answer { status, body: body.to_owned() })
    }

    async fn close_session(&mut self, target: &str) {
        let body = "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: 1\r\n\r\n1";
        let _ = self.exchange(&format!("POST {target} HTTP/1.1\r\n{ABOUT}{body}")).await;
    }

    async fn exchange(&mut self, request: &str) -> io::Result<Vec<u8>> {
        match self {
            Self::Tcp(stream) => exchange(stream, request).await,
            Self::Unix(stream) => exchange(stream, request).await,
        }
    }
}

async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// The session id of `0{"sid":"…",…}`, wherever in the body: it may be chunked.
fn sid(body: &str) -> Option<&str> {
    let open = &body[body.find("0{")? + 1..];
    let (_, after) = open.split_once("\"sid\":\"")?;
    let sid = after.split('"').next()?;
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=' | b'+' | b'.' | b'~');
    (!sid.is_empty() && sid.bytes().all(is_plain)).then_some(sid)
}

/// An address as people know it.
#[derive(Debug)]
pub(crate) struct Shown<'a>(pub(crate) &'a InstanceAddress);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            InstanceAddress::Tcp(address) => address.fmt(formatter),
            InstanceAddress::Unix(path) => path.display().fmt(formatter),
        }
    }
}

const ABOUT: &str = "Host: localhost\r\nUser-Agent: tidelock\r\nAccept: */*\r\nConnection: close\r\n";
/// An attempt that takes longer is given up; one that is late for a moment is asked again.
const ATTEMPT: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: u64 = 64 << 10;
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);
