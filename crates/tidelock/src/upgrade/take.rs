//! The side of the tidelock that comes: it listens to the one before, gets ready, and says so, or why not.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use config::roster::InstanceId;
use proxy::{ListenSockets, PassedSession};
use supervisor::handover::{Handover, InstanceFiles};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::message::{FORMAT, Message};
use super::stream::Stream;
use crate::admin_file::AdminFile;

/// The tidelock before, and what it has given so far. Dropped, it goes on as it was.
#[derive(Debug)]
pub(crate) struct Predecessor {
    stream: Stream,
    pub(crate) pid: u32,
    /// It was root once, and became the user of the file.
    pub(crate) is_service: bool,
    pub(crate) secret: Option<String>,
    /// The file that was in force.
    pub(crate) file: Option<String>,
    pub(crate) listens: ListenSockets,
    pub(crate) admin: Option<AdminFile>,
    pub(crate) lock: Option<OwnedFd>,
}

/// What comes once everything else is ready.
#[derive(Debug)]
pub(crate) struct Going {
    stream: Stream,
    pub(crate) handover: Handover,
    pub(crate) drained: Vec<String>,
    pub(crate) sessions: Vec<PassedSession>,
}

impl Predecessor {
    /// Listens to whoever is at the other end of standard input.
    pub(super) fn listen(format: &str) -> Result<Self, String> {
        let broken = |error: io::Error| format!("the tidelock before is not understood: {error}");
        let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3);
        let socket = UnixStream::from(socket.map_err(|error| broken(error.into()))?);
        let null = File::open("/dev/null").map_err(broken)?;
        rustix::stdio::dup2_stdin(&null).map_err(|error| broken(error.into()))?;
        let mut stream = Stream::new(socket);
        if format != FORMAT.to_string() {
            let why = format!(
                "this tidelock, {}, hands over in format {FORMAT} and not {format}: restart it instead",
                env!("CARGO_PKG_VERSION")
            );
            return Err(refuse(&stream, why));
        }
        stream.set_timeout(Some(FIRST_TIMEOUT)).map_err(broken)?;
        let mut listens: Vec<(std::net::SocketAddr, Vec<OwnedFd>)> = Vec::new();
        let (mut hello, mut admin, mut lock) = (None, None, None);
        loop {
            let (message, mut files) =
                stream.receive().map_err(broken)?.ok_or("the tidelock before is gone")?;
            match message {
                Message::Hello { pid, is_service, secret, file, .. } => {
                    hello = Some((pid, is_service, secret, file));
                }
                Message::Listen { continues: true, .. } => {
                    if let Some((_, sockets)) = listens.last_mut() {
                        sockets.append(&mut files);
                    }
                }
                Message::Listen { address, .. } => listens.push((address, files)),
                Message::Admin { path, is_systemds } => {
                    admin = files.pop().map(|socket| AdminFile { path, socket, is_systemds });
                }
                Message::Lock => lock = files.pop(),
                Message::Prepare => break,
                _ => {}
            }
        }
        stream.set_timeout(None).map_err(broken)?;
        let (pid, is_service, secret, file) = hello.ok_or("the tidelock before does not say who it is")?;
        let mut sockets = ListenSockets::default();
        listens.into_iter().for_each(|(address, of_it)| sockets.add(address, of_it));
        Ok(Self { stream, pid, is_service, secret, file, listens: sockets, admin, lock })
    }

    /// Says why this one does not go on.
    pub(crate) fn refuse(&self, why: &str) {
        refuse(&self.stream, why.to_owned());
    }

    /// Says that everything is ready, and waits for the apps.
    ///
    /// # Errors
    /// If the one before is gone, or has thought better of it.
    pub(crate) async fn prepared(self) -> io::Result<Going> {
        let stream = self.stream;
        spawn_blocking(move || {
            stream.send(&Message::Prepared { pid: std::process::id() }, &[])?;
            Going::listen(stream)
        })
        .await?
    }
}

impl Going {
    fn listen(mut stream: Stream) -> io::Result<Self> {
        let (mut folder, mut apps, mut files) = (None, Vec::new(), Vec::new());
        let (mut drained, mut sessions) = (Vec::new(), Vec::new());
        loop {
            let (message, with) = stream.receive()?.ok_or_else(gone)?;
            let mut with = with.into_iter();
            match message {
                Message::Folder { path } => folder = with.next().map(|alive| (path, alive)),
                Message::App(app) => apps.push(app),
                Message::Instance { app, slot, generation } => {
                    let id = InstanceId { slot, generation };
                    let mut next = || with.next().ok_or(io::ErrorKind::InvalidData);
                    let (keeper, stdout, stderr) = (next()?, next()?, next()?);
                    files.push((app, id, InstanceFiles { keeper, stdout, stderr, channel: with.next() }));
                }
                Message::Drained { node } => drained.push(node),
                Message::Sessions { sessions: some } => sessions.extend(some.into_iter().map(Into::into)),
                Message::Serve => break,
                _ => {}
            }
        }
        let (folder, alive) = folder.ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { stream, handover: Handover { folder, alive, apps, files }, drained, sessions })
    }

    /// Takes the apps out.
    pub(crate) fn handover(&mut self) -> io::Result<Handover> {
        let null = OwnedFd::from(File::open("/dev/null")?);
        let nothing = Handover { folder: PathBuf::new(), alive: null, apps: Vec::new(), files: Vec::new() };
        Ok(std::mem::replace(&mut self.handover, nothing))
    }

    /// Says why this one does not go on.
    pub(crate) fn refuse(&self, why: &str) {
        refuse(&self.stream, why.to_owned());
    }

    /// Says that this one serves, and waits until everything is its own. Gives back what ends when the one before has, and the
    /// sessions that come in there until then.
    ///
    /// # Errors
    /// If the one before is gone, or has thought better of it.
    pub(crate) async fn serving(self) -> io::Result<(JoinHandle<()>, mpsc::Receiver<Vec<PassedSession>>)> {
        let mut stream = self.stream;
        let stream = spawn_blocking(move || {
            stream.send(&Message::Serving, &[])?;
            loop {
                if matches!(stream.receive()?.ok_or_else(gone)?, (Message::Yours, _)) {
                    return Ok::<_, io::Error>(stream);
                }
            }
        });
        let mut stream = stream.await??;
        let (tell, told) = mpsc::channel(NEWCOMERS_MAX);
        let listening = spawn_blocking(move || {
            while let Ok(Some((message, _))) = stream.receive() {
                if let Message::Sessions { sessions } = message {
                    // Without a proxy nobody comes for them.
                    let _ = tell.blocking_send(sessions.into_iter().map(Into::into).collect());
                }
            }
        });
        Ok((listening, told))
    }
}

fn refuse(stream: &Stream, why: String) -> String {
    // It sees the end, too.
    let _ = stream.send(&Message::Failed { why: why.clone() }, &[]);
    why
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the tidelock before goes on by itself")
}

/// It has all of it ready.
const FIRST_TIMEOUT: Duration = Duration::from_secs(30);
/// Messages that wait to be taken in.
const NEWCOMERS_MAX: usize = 64;
