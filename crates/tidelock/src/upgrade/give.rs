//! The side of the tidelock that was there: it starts the other, gives it what it has, and is as it was before if the other does
//! not get ready.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Duration;

use admin::{Collectors, UpgradeWanted};
use proxy::{Newcomers, Proxy};
use rustix::process::{Pid, Signal, kill_process};
use supervisor::Supervisor;
use supervisor::handover::{Handover, InstanceFiles};
use supervisor::privileges;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use super::launcher;
use super::message::{FORMAT, Message, SESSIONS_MAX, WORD};
use super::program;
use super::stream::{FILES_MAX, Stream};
use crate::admin_file::AdminFile;
use crate::{lock, secret, systemd};

/// What this one has.
#[derive(Debug)]
pub(crate) struct Here<'a> {
    pub(crate) proxy: &'a Proxy,
    pub(crate) supervisor: &'a Supervisor,
    /// The text of the file in force, if there is one.
    pub(crate) file: Option<&'a [u8]>,
    pub(crate) admin: Option<AdminFile>,
    /// Where what is counted is collected from.
    pub(crate) collectors: Option<&'a Collectors>,
    pub(crate) is_service: bool,
}

/// The tidelock that goes on.
#[derive(Debug)]
pub(crate) struct HandedOver {
    pub(crate) pid: u32,
    stream: Option<Stream>,
    newcomers: Newcomers,
}

impl HandedOver {
    /// Tells it of sessions that still come in here, until this is dropped. It sees by the end of that when this one has ended.
    pub(crate) async fn tell_of_newcomers(mut self) {
        while let (Some(stream), Some(first)) = (self.stream.take(), self.newcomers.next().await) {
            let told = spawn_blocking(move || {
                let message = Message::Sessions { sessions: vec![first.into()] };
                stream.send(&message, &[]).is_ok().then_some(stream)
            });
            self.stream = told.await.unwrap_or_default();
        }
        std::future::pending::<()>().await;
    }
}

/// Starts the program that is wanted and gives it everything. This tidelock has nothing to do then but to finish what it has
/// begun.
///
/// # Errors
/// Why the other one does not go on; this one does then.
pub(crate) async fn hand_over(here: Here<'_>, wanted: &UpgradeWanted) -> Result<HandedOver, String> {
    let until = Instant::now() + wanted.timeout;
    let program = wanted.binary.clone().or_else(program::place);
    let program = program.ok_or("where this program was started from is not known; say a path")?;
    if let Some(why) = privileges::why_not_to_be_trusted(&program) {
        return Err(why);
    }
    let system = |error: io::Error| format!("{}: {error}", program.display());
    let (stream, mut successor) = start(&program).map_err(system)?;
    tracing::info!(event = "upgrading", program = %program.display(), "another tidelock is started to go on");
    let first = here.first().map_err(system)?;
    let mut exchange = Exchange { stream: Some(stream), until, timeout: wanted.timeout };
    let Message::Prepared { pid } = exchange.say(first, Expected::Prepared, &mut successor).await? else {
        return Err("the new one does not say which process it is".to_owned());
    };
    let apps = until_settled(here.supervisor, until).await?;
    // From before the others are counted.
    let newcomers = here.proxy.newcomers();
    let second = here.second(&apps.handover)?;
    exchange.say(second, Expected::Serving, &mut successor).await?;
    if !successor.is_there() {
        return Err(successor.how_it_ended());
    }
    // It is the child of whoever systemd would have it be, before it is the main process.
    successor.is_let_go();
    systemd::main_pid(pid);
    apps.finish().await;
    // What it has begun to serve it serves, whatever becomes of this one now.
    let told = exchange.say(vec![(Message::Yours, Vec::new())], Expected::Nothing, &mut successor).await;
    if let Err(why) = told {
        tracing::error!("{why}");
    }
    Ok(HandedOver { pid, stream: exchange.stream.take(), newcomers })
}

/// A roll ends, and so does a stop; what is under way is waited for.
async fn until_settled(
    supervisor: &Supervisor,
    until: Instant,
) -> Result<supervisor::handover::HandingOver, String> {
    loop {
        match supervisor.hand_over().await {
            Ok(apps) => return Ok(apps),
            Err(why) if Instant::now() >= until => {
                return Err(format!("the apps cannot be handed over: {why}; try again when that is over"));
            }
            Err(_) => sleep(LOOK_AGAIN).await,
        }
    }
}

type Said = (Message, Vec<OwnedFd>);

impl Here<'_> {
    fn first(&self) -> io::Result<Vec<Said>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let hello = Message::Hello {
            tidelock: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            is_service: self.is_service,
            secret: secret::kept().map(text),
            file: self.file.map(text),
        };
        let mut all = vec![(hello, Vec::new())];
        for (address, mut sockets) in self.proxy.listen_sockets()? {
            let mut continues = false;
            while !sockets.is_empty() {
                let rest = sockets.split_off(sockets.len().min(FILES_MAX));
                all.push((Message::Listen { address, continues }, sockets));
                (sockets, continues) = (rest, true);
            }
        }
        if let Some(collectors) = self.collectors {
            let listen = Message::Listen { address: collectors.address(), continues: false };
            all.push((listen, vec![collectors.once_more()?]));
        }
        if let Some(AdminFile { path, socket, is_systemds }) = &self.admin {
            let admin = Message::Admin { path: path.clone(), is_systemds: *is_systemds };
            all.push((admin, vec![socket.try_clone()?]));
        }
        if let Some(lock) = lock::once_more() {
            all.push((Message::Lock, vec![lock?]));
        }
        all.push((Message::Prepare, Vec::new()));
        Ok(all)
    }

    fn second(&self, handover: &Handover) -> Result<Vec<Said>, String> {
        let files = |error: io::Error| format!("no files are left for the apps: {error}");
        let Handover { folder, alive, apps, files: instances } = handover;
        let mut all =
            vec![(Message::Folder { path: folder.clone() }, vec![alive.try_clone().map_err(files)?])];
        all.extend(apps.iter().map(|app| (Message::App(app.clone()), Vec::new())));
        for (app, id, InstanceFiles { keeper, stdout, stderr, channel }) in instances {
            let held = [Some(keeper), Some(stdout), Some(stderr), channel.as_ref()];
            let held = held.into_iter().flatten().map(OwnedFd::try_clone).collect::<io::Result<_>>();
            let (slot, generation) = (id.slot, id.generation);
            all.push((Message::Instance { app: app.clone(), slot, generation }, held.map_err(files)?));
        }
        let drained = self.proxy.drained_nodes();
        all.extend(drained.into_iter().map(|node| (Message::Drained { node }, Vec::new())));
        let mut sessions = self.proxy.polling_sessions().into_iter().map(Into::into);
        loop {
            let some: Vec<_> = sessions.by_ref().take(SESSIONS_MAX).collect();
            if some.is_empty() {
                break;
            }
            all.push((Message::Sessions { sessions: some }, Vec::new()));
        }
        all.push((Message::Serve, Vec::new()));
        Ok(all)
    }
}

/// The other process, by the launcher between the two, which ends as it does. Dropped before it is let go, it is ended.
#[derive(Debug)]
struct Successor {
    launcher: Child,
    is_let_go: bool,
}

impl Successor {
    fn is_there(&mut self) -> bool {
        matches!(self.launcher.try_wait(), Ok(None))
    }

    /// It serves, and is nobody's child any more.
    fn is_let_go(&mut self) {
        self.is_let_go = true;
        let _ = self.launcher.kill();
        let _ = self.launcher.wait();
    }

    /// It is about to, if it has not.
    fn how_it_ended(&mut self) -> String {
        match self.end() {
            Ok(status) => {
                format!("the new one has ended before it was ready ({status}); the log may say why")
            }
            Err(error) => format!("the new one is lost: {error}"),
        }
    }

    fn end(&mut self) -> io::Result<ExitStatus> {
        if self.is_there() {
            kill_process(Pid::from_child(&self.launcher), Signal::TERM)?;
        }
        self.launcher.wait()
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.is_let_go {
            let _ = self.end();
        }
    }
}

fn start(program: &Path) -> io::Result<(Stream, Successor)> {
    let (ours, theirs) = UnixStream::pair()?;
    let mut own = std::env::args_os();
    let name = own.next().unwrap_or_else(|| program.into());
    let is_word = |word: &OsString| word.to_str().is_some_and(|word| word.starts_with(WORD));
    let rest = own.enumerate().filter(|(at, word)| *at > 0 || !is_word(word)).map(|(_, word)| word);
    let arguments = [name, format!("{WORD}{FORMAT}").into()].into_iter().chain(rest);
    let mut command = launcher::command(program, arguments);
    // They are said to one process, and that is this one.
    for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::from(OwnedFd::from(theirs)));
    let launcher = privileges::handing_on(|| command.spawn())?;
    Ok((Stream::new(ours), Successor { launcher, is_let_go: false }))
}

/// What the other one says when it has understood.
#[derive(Debug, Clone, Copy)]
enum Expected {
    Prepared,
    Serving,
    Nothing,
}

struct Exchange {
    /// Away while it is spoken over.
    stream: Option<Stream>,
    until: Instant,
    timeout: Duration,
}

impl Exchange {
    /// Says all of it, and waits for what is expected.
    async fn say(
        &mut self,
        said: Vec<Said>,
        expected: Expected,
        to: &mut Successor,
    ) -> Result<Message, String> {
        let mut stream = self.stream.take().ok_or("the new one is gone")?;
        let left = self.until.saturating_duration_since(Instant::now());
        let spoken = spawn_blocking(move || {
            let heard = speak(&mut stream, &said, expected, left);
            (stream, heard)
        });
        let (stream, heard) = spoken.await.map_err(|error| error.to_string())?;
        self.stream = Some(stream);
        match heard {
            Ok(Some(Message::Failed { why })) => {
                Err(format!("the new one does not start: {}", why.trim_end()))
            }
            Ok(Some(message)) => Ok(message),
            Ok(None) => Err(to.how_it_ended()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(format!(
                "the new one was not ready within {:?}, and was ended; `--timeout` gives it longer",
                self.timeout
            )),
            Err(error) if is_gone(&error) || !to.is_there() => Err(to.how_it_ended()),
            Err(error) => Err(format!("the new one is not understood: {error}")),
        }
    }
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

fn speak(
    stream: &mut Stream,
    said: &[Said],
    expected: Expected,
    timeout: Duration,
) -> io::Result<Option<Message>> {
    stream.set_timeout(Some(timeout))?;
    for (message, files) in said {
        if let Err(error) = stream.send(message, files) {
            // One that has refused to go on has said why before it closed its end.
            return match stream.receive() {
                Ok(Some((message @ Message::Failed { .. }, _))) => Ok(Some(message)),
                Ok(None) => Ok(None),
                _ => Err(error),
            };
        }
    }
    loop {
        let message = match expected {
            Expected::Nothing => return Ok(Some(Message::Yours)),
            Expected::Prepared | Expected::Serving => stream.receive()?,
        };
        match (message, expected) {
            (None, _) => return Ok(None),
            (Some((message @ Message::Failed { .. }, _)), _)
            | (Some((message @ Message::Prepared { .. }, _)), Expected::Prepared)
            | (Some((message @ Message::Serving, _)), Expected::Serving) => return Ok(Some(message)),
            _ => {}
        }
    }
}

/// Whether the apps have got to where they can be handed over.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
