//! Asks the running tidelock. What it is told is given back in words that can be printed as they are.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::api::{APP, DRAIN, FLUSH, LOGS, RELOAD, STATUS, UNDRAIN, UPGRADE};
use crate::api::{AppRequest, Event, LogLine, LogsWanted, NodeSelector, Status, Upgrade, to_json};

/// A verb that changes something, with what it is about: each is one request to the admin socket.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Read the file again and apply it; nothing is applied of one with a mistake.
    Reload,
    /// Let another tidelock go on.
    Upgrade(Upgrade),
    /// Send sessions away from nodes, and nothing new to them.
    Drain(NodeSelector),
    /// Give nodes new sessions again, after a drain.
    Undrain(NodeSelector),
    /// Run what was stopped or given up.
    Start(AppRequest),
    /// Empty an app's instances and stop them.
    Stop(AppRequest),
    /// End an app's instances at once, and start them again.
    Restart(AppRequest),
    /// Replace an app's instances, one after the other.
    Roll(AppRequest),
    /// Run so many instances of an app.
    Scale(AppRequest),
    /// Forget what apps have written.
    Flush(AppRequest),
}

/// Why a verb was not done.
#[derive(Debug, thiserror::Error)]
pub enum AskProblem {
    /// There is no tidelock at any of the places.
    #[error("no tidelock answers at {}; is it running?", list(.0))]
    Nobody(Vec<(PathBuf, io::Error)>),
    /// The tidelock that was asked says why not, in lines.
    #[error("{}", .0.trim_end())]
    Refused(String),
    /// It does not answer as tidelock does.
    #[error("the tidelock at {} {what}", path.display())]
    Broken {
        /// The socket that it answers at.
        path: PathBuf,
        /// What is wrong with its answer, as the end of a sentence that begins with "the tidelock".
        what: String,
    },
}

fn list(tried: &[(PathBuf, io::Error)]) -> String {
    let place = |(path, error): &(PathBuf, io::Error)| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "nothing is there".to_owned(),
            io::ErrorKind::ConnectionRefused => "one that ended has left it".to_owned(),
            io::ErrorKind::PermissionDenied => "it is another user's".to_owned(),
            io::ErrorKind::WouldBlock => "too many others wait there to be let in; try again".to_owned(),
            _ => error.to_string(),
        };
        format!("{} ({why})", path.display())
    };
    tried.iter().map(place).collect::<Vec<_>>().join(" or ")
}

/// What `tidelock status` shows, from the first of `paths` where somebody answers.
///
/// # Errors
/// If nobody answers at any of them, or the one who does is no tidelock.
///
/// # Cancel safety
/// Safe: asking changes nothing.
pub async fn status(paths: &[PathBuf]) -> Result<Status, AskProblem> {
    let mut asked = Asked::connect(paths, Method::GET, STATUS, Bytes::new()).await?;
    let mut text = Vec::new();
    while let Some(more) = asked.more().await? {
        text.extend_from_slice(&more);
        asked.demand_short(text.len())?;
    }
    asked.parse(&text)
}

/// The process that listens at `path`, as the system knows it.
///
/// # Errors
/// If nobody listens there.
///
/// # Cancel safety
/// Safe: asking changes nothing.
pub async fn process(path: &Path) -> Result<Option<i32>, AskProblem> {
    let stream = connect(path).await.map_err(|error| AskProblem::Nobody(vec![(path.to_owned(), error)]))?;
    Ok(stream.peer_cred().ok().and_then(|process| process.pid()))
}

/// The output of apps, line by line as it comes, from the first of `paths` where somebody answers, until its end or
/// until `take` gives `false`.
///
/// # Errors
/// Nobody answers, or not as tidelock does.
///
/// # Cancel safety
/// Lines that have come and were not taken are lost; they are in the log still.
pub async fn logs(
    paths: &[PathBuf],
    wanted: &LogsWanted,
    mut take: impl FnMut(LogLine) -> bool,
) -> Result<(), AskProblem> {
    let body = to_json(wanted);
    let mut asked = Asked::connect(paths, Method::POST, LOGS, body.into()).await?;
    // An app may have nothing to say for days.
    asked.silence_max = None;
    let is_refused = !asked.answer.status().is_success();
    let mut unread = Vec::new();
    while let Some(more) = asked.more().await? {
        unread.extend_from_slice(&more);
        while let Some(line) = next_line(&mut unread) {
            if is_refused {
                return Err(match asked.parse(&line)? {
                    Event::Error { message } | Event::Done { message } | Event::Step { message } => {
                        AskProblem::Refused(message)
                    }
                    Event::Progress { .. } => asked.broken(SILENT),
                });
            }
            if !take(asked.parse(&line)?) {
                return Ok(());
            }
        }
        asked.demand_short(unread.len())?;
    }
    Ok(())
}

/// Says a verb at the first of `paths` where somebody answers, and waits for its end; `progress` is called with each
/// event before it. Gives back what was done, in lines.
///
/// # Errors
/// Nobody answers, or it was not done.
///
/// # Cancel safety
/// A verb that has been sent may go on to its end; only its outcome is not heard.
pub async fn ask(
    paths: &[PathBuf],
    ask: &Ask,
    mut progress: impl FnMut(&Event),
) -> Result<String, AskProblem> {
    let app = |verb: &str, told: &AppRequest| (format!("{APP}{verb}"), to_json(told));
    let (path, body) = match ask {
        Ask::Reload => (RELOAD.to_owned(), String::new()),
        Ask::Upgrade(to) => (UPGRADE.to_owned(), to_json(to)),
        Ask::Drain(which) => (DRAIN.to_owned(), to_json(which)),
        Ask::Undrain(which) => (UNDRAIN.to_owned(), to_json(which)),
        Ask::Start(told) => app("start", told),
        Ask::Stop(told) => app("stop", told),
        Ask::Restart(told) => app("restart", told),
        Ask::Roll(told) => app("roll", told),
        Ask::Scale(told) => app("scale", told),
        Ask::Flush(told) => (FLUSH.to_owned(), to_json(told)),
    };
    let mut asked = Asked::connect(paths, Method::POST, &path, body.into()).await?;
    let mut unread = Vec::new();
    loop {
        let Some(more) = asked.more().await? else {
            return Err(asked.broken("ended before it was done"));
        };
        unread.extend_from_slice(&more);
        while let Some(line) = next_line(&mut unread) {
            match asked.parse(&line)? {
                event @ (Event::Progress { .. } | Event::Step { .. }) => progress(&event),
                Event::Done { message } => return Ok(message),
                Event::Error { message } => return Err(AskProblem::Refused(message)),
            }
        }
        asked.demand_short(unread.len())?;
    }
}

/// A request that was made, and its answer as far as it has come.
struct Asked {
    path: PathBuf,
    answer: Response<Incoming>,
    silence_max: Option<Duration>,
    /// Moves the bytes; ends with the request.
    _connection: JoinSet<()>,
}

impl Asked {
    async fn connect(
        paths: &[PathBuf],
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<Self, AskProblem> {
        let (stream, path) = first_that_answers(paths).await?;
        let broken = |what: String| AskProblem::Broken { path: path.to_owned(), what };
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header(HOST, "tidelock")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| broken(format!("cannot be asked that: {error}")))?;
        let answers_wrong = |error: hyper::Error| broken(format!("does not answer as it should: {error}"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(answers_wrong)?;
        let mut moving = JoinSet::new();
        // What goes wrong with it is told to whoever reads the answer.
        moving.spawn(async move { drop(connection.await) });
        let answer = timeout(SILENCE_MAX, sender.send_request(request)).await;
        let answer = answer.map_err(|_| broken(SILENT.to_owned()))?.map_err(answers_wrong)?;
        Ok(Self { path: path.to_owned(), answer, silence_max: Some(SILENCE_MAX), _connection: moving })
    }

    /// The next bytes of the answer; `None` at its end.
    async fn more(&mut self) -> Result<Option<Bytes>, AskProblem> {
        loop {
            let next = self.answer.body_mut().frame();
            let frame = match self.silence_max {
                Some(timeout) => {
                    tokio::time::timeout(timeout, next).await.map_err(|_| self.broken(SILENT))?
                }
                None => next.await,
            };
            match frame {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(self.broken(&format!("ended before it was done: {error}"))),
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, text: &[u8]) -> Result<T, AskProblem> {
        serde_json::from_slice(text)
            .map_err(|error| self.broken(&format!("says what this one does not know: {error}")))
    }

    fn demand_short(&self, bytes: usize) -> Result<(), AskProblem> {
        if bytes > ANSWER_BYTES_MAX { Err(self.broken("says too much at once")) } else { Ok(()) }
    }

    fn broken(&self, what: &str) -> AskProblem {
        AskProblem::Broken { path: self.path.clone(), what: what.to_owned() }
    }
}

/// Takes the first line out of what has come.
fn next_line(unread: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = unread.iter().position(|byte| *byte == b'\n')?;
    Some(unread.drain(..=end).collect())
}

async fn first_that_answers(paths: &[PathBuf]) -> Result<(UnixStream, &Path), AskProblem> {
    let mut tried = Vec::new();
    for path in paths {
        match connect(path).await {
            Ok(stream) => return Ok((stream, path)),
            Err(error) => tried.push((path.clone(), error)),
        }
    }
    Err(AskProblem::Nobody(tried))
}

/// Connecting to a Unix socket never waits: it works, or says at once why it does not. EAGAIN is no fault but a full queue
/// of others who wait, and those who say nothing soon have to go.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                sleep(BUSY_AGAIN).await;
            }
            connected => return connected,
        }
    }
}

/// For a place in the queue of a socket: twice as long as it takes to send a queue of silent ones away.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);
const BUSY_AGAIN: Duration = Duration::from_millis(20);
/// A drain says every few seconds how far it is, and a reload waits at most for names to be looked up.
const SILENCE_MAX: Duration = Duration::from_secs(60);
const SILENT: &str = "is silent; is it stopped?";
/// Far more than the status of thousands of nodes.
const ANSWER_BYTES_MAX: usize = 16 << 20;
