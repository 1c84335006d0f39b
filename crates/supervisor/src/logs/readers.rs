//! The lines in memory, and those who read them; and the thread on which the pipes are read.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use config::app::Logs as Settings;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::echo::{self, Echo};
use super::files;
use super::lines::{Line, Splitter, Stream};
use super::queue::Queue;
use super::ring::Ring;
use crate::account::Account;
use crate::process::launch::Launch;

/// Whose lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogSelector {
    /// Of this app, or of all.
    pub app: Option<String>,
    /// Of this of its instances, or of all.
    pub slot: Option<u32>,
}

/// What a reader gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A line.
    Line(Arc<Line>),
    /// So many lines were written here that the reader was too slow for.
    Lost(u64),
}

/// Reads lines.
pub struct Reader {
    past: VecDeque<Arc<Line>>,
    follows: Option<(mpsc::Receiver<Said>, Arc<Behind>)>,
    wanted: Option<Wanted>,
}

/// Which lines are wanted.
type Wanted = Box<dyn Fn(&Line) -> bool + Send>;

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").field("past", &self.past.len()).finish_non_exhaustive()
    }
}

/// The reading ends of a process's stdout and stderr.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) stdout: OwnedFd,
    pub(crate) stderr: OwnedFd,
}

/// What a process writes, until its end.
#[derive(Debug)]
pub(crate) struct Read {
    reading: [JoinHandle<()>; 2],
    is_over: watch::Sender<bool>,
}

impl Read {
    /// Waits until all is read that it has written. Whoever has been given its output may hold it open, so that this may last.
    pub(crate) async fn until_its_end(self) {
        for reading in self.reading {
            // One that has panicked reads no more.
            let _ = reading.await;
        }
    }

    /// Reads no more: what is written from now on is somebody else's to read.
    pub(crate) async fn stop(self) {
        self.is_over.send_replace(true);
        self.until_its_end().await;
    }
}

/// The thread that reads, and what it has read.
#[derive(Debug)]
pub(crate) struct Keeping {
    state: Arc<Mutex<State>>,
    echo: Option<Queue>,
    reading: Handle,
    /// Its thread ends with this.
    _ends: oneshot::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    lines: u64,
    apps: BTreeMap<Arc<str>, AppLines>,
    followers: Vec<Follower>,
}

#[derive(Debug)]
struct AppLines {
    settings: Settings,
    /// Whom the app runs as, if not as tidelock does.
    account: Option<Account>,
    rings: BTreeMap<u32, Ring>,
    files: Option<Queue>,
}

/// The other end of a [`Reader`].
#[derive(Debug)]
struct Follower {
    which: LogSelector,
    sender: mpsc::Sender<Said>,
    behind: Arc<Behind>,
}

/// How far a reader is behind.
#[derive(Debug, Default)]
struct Behind {
    bytes: AtomicUsize,
    lost: AtomicU64,
}

impl Keeping {
    pub(crate) fn start(echo: Option<Echo>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let reading = runtime.handle().clone();
        let (ends, end) = oneshot::channel::<()>();
        // Whatever ends the other side ends this.
        thread::Builder::new().name("logs".to_owned()).spawn(move || drop(runtime.block_on(end)))?;
        let echo = echo.map(echo::start).transpose()?;
        Ok(Self { state: Arc::default(), echo, reading, _ends: ends })
    }

    pub(crate) fn follow(&self, launch: &Launch, account: Option<Account>, output: Output) -> Read {
        let app = &launch.app;
        let mut state = lock(&self.state);
        let is_same = state
            .apps
            .get(app.name.as_str())
            .is_some_and(|lines| lines.settings == app.logs && lines.account == account);
        if !is_same {
            let rings = state.apps.remove(app.name.as_str()).map(|lines| lines.rings).unwrap_or_default();
            let files =
                app.logs.folder.as_ref().and_then(|folder| files::start(folder, app, account.clone()));
            let lines = AppLines { settings: app.logs.clone(), account, rings, files };
            state.apps.insert(app.name.as_str().into(), lines);
        }
        drop(state);
        let pipes = [(output.stdout, Stream::Stdout), (output.stderr, Stream::Stderr)];
        let (is_over, over) = watch::channel(false);
        let reading = pipes.map(|(pipe, stream)| {
            let over = over.clone();
            let reading = Reading {
                launch: launch.clone(),
                stream,
                state: self.state.clone(),
                echo: self.echo.clone(),
            };
            self.reading.spawn(async move {
                // It is a pipe: it was made as one.
                if let Ok(pipe) = pipe::Receiver::from_owned_fd(pipe) {
                    reading.until_its_end(pipe, over).await;
                }
            })
        });
        Read { reading, is_over }
    }

    pub(crate) fn read(&self, which: &LogSelector, lines: usize, follow: bool) -> Option<Reader> {
        let mut state = lock(&self.state);
        state.followers.retain(|follower| !follower.sender.is_closed());
        if follow && state.followers.len() >= READERS_MAX {
            return None;
        }
        let mut past: Vec<_> = state.rings(which).flat_map(|(_, ring)| ring.last(lines).cloned()).collect();
        past.sort_by_key(|line| line.number);
        past.drain(..past.len().saturating_sub(lines));
        // Under the same lock, so that no line is missed between the two, or given twice.
        let follows = follow.then(|| {
            let (sender, receiver) = mpsc::channel(READER_LINES_MAX);
            let behind = Arc::new(Behind::default());
            state.followers.push(Follower { which: which.clone(), sender, behind: behind.clone() });
            (receiver, behind)
        });
        Some(Reader { past: past.into(), follows, wanted: None })
    }

    pub(crate) fn flush(&self, which: &LogSelector) {
        let mut state = lock(&self.state);
        for (name, app) in &mut state.apps {
            if which.app.as_deref().is_none_or(|app| app == &**name) {
                app.rings
                    .iter_mut()
                    .filter(|(slot, _)| which.slot.is_none_or(|of| of == **slot))
                    .for_each(|(_, ring)| ring.clear());
                app.files.iter().for_each(|files| files.flush(which.slot));
            }
        }
    }

    pub(crate) fn forget(&self, app: &str) {
        lock(&self.state).apps.remove(app);
    }
}

impl State {
    fn rings(&self, which: &LogSelector) -> impl Iterator<Item = (u32, &Ring)> {
        let apps =
            self.apps.iter().filter(|(name, _)| which.app.as_deref().is_none_or(|app| app == &***name));
        let rings = apps.flat_map(|(_, app)| &app.rings);
        rings.filter(|(slot, _)| which.slot.is_none_or(|of| of == **slot)).map(|(slot, ring)| (*slot, ring))
    }

    /// Takes lines of one instance in, and says where they have to be written.
    fn take(&mut self, lines: Vec<Line>) -> (Vec<Arc<Line>>, Option<Queue>) {
        let mut taken = Vec::with_capacity(lines.len());
        let mut files = None;
        for mut line in lines {
            self.lines += 1;
            line.number = self.lines;
            let line = Arc::new(line);
            // An app that was forgotten meanwhile has no ring.
            if let Some(app) = self.apps.get_mut(&line.app) {
                app.rings
                    .entry(line.instance.slot)
                    .or_default()
                    .push(line.clone(), app.settings.ring_lines_max);
                files = files.or_else(|| app.files.clone());
            }
            self.followers.retain(|follower| follower.tell(&line));
            taken.push(line);
        }
        (taken, files)
    }
}

impl Follower {
    /// `false` if it has gone.
    fn tell(&self, line: &Arc<Line>) -> bool {
        if !self.which.is(line) {
            return !self.sender.is_closed();
        }
        // Two places: one to say what was lost before it.
        let has_room =
            self.behind.bytes.load(Ordering::Acquire) < READER_BYTES_MAX && self.sender.capacity() >= 2;
        if !has_room {
            self.behind.lost.fetch_add(1, Ordering::AcqRel);
            return !self.sender.is_closed();
        }
        let lost = self.behind.lost.swap(0, Ordering::AcqRel);
        if lost > 0 {
            // There is room for it: nobody else sends.
            let _ = self.sender.try_send(Said::Lost(lost));
        }
        self.behind.bytes.fetch_add(line.weight(), Ordering::AcqRel);
        self.sender.try_send(Said::Line(line.clone())).is_ok()
    }
}

impl LogSelector {
    fn is(&self, line: &Line) -> bool {
        self.app.as_deref().is_none_or(|app| app == &*line.app)
            && self.slot.is_none_or(|slot| slot == line.instance.slot)
    }
}

impl Reader {
    /// Passes over all lines but those that are `wanted`, and begins with the last `lines` of these.
    pub fn keep(&mut self, lines: usize, wanted: impl Fn(&Line) -> bool + Send + 'static) {
        self.past.retain(|line| wanted(line));
        self.past.drain(..self.past.len().saturating_sub(lines));
        self.wanted = Some(Box::new(wanted));
    }

    /// The next line; `None` after the last. A reader that follows has no last one.
    ///
    /// # Cancel safety
    /// Cancel-safe: no line is lost.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            let said = self.next_of_all().await?;
            let is_wanted = match (&said, &self.wanted) {
                (Said::Line(line), Some(wanted)) => wanted(line),
                _ => true,
            };
            if is_wanted {
                return Some(said);
            }
        }
    }

    async fn next_of_all(&mut self) -> Option<Said> {
        if let Some(line) = self.past.pop_front() {
            return Some(Said::Line(line));
        }
        let (receiver, behind) = self.follows.as_mut()?;
        let said = match receiver.try_recv() {
            Ok(said) => said,
            Err(mpsc::error::TryRecvError::Disconnected) => return None,
            Err(mpsc::error::TryRecvError::Empty) => match behind.lost.swap(0, Ordering::AcqRel) {
                0 => receiver.recv().await?,
                // Nothing was written since.
                lost => Said::Lost(lost),
            },
        };
        if let Said::Line(line) = &said {
            behind.bytes.fetch_sub(line.weight(), Ordering::AcqRel);
        }
        Some(said)
    }
}

/// One stream of one process.
#[derive(Debug)]
struct Reading {
    launch: Launch,
    stream: Stream,
    state: Arc<Mutex<State>>,
    echo: Option<Queue>,
}

impl Reading {
    /// Or until this is `over`.
    async fn until_its_end(self, mut pipe: pipe::Receiver, mut over: watch::Receiver<bool>) {
        let app: Arc<str> = self.launch.app.name.as_str().into();
        let mut splitter = Splitter::default();
        let mut bytes = vec![0; READ_BYTES];
        loop {
            let read = tokio::select! {
                biased;
                // The end of whoever could say so says nothing.
                Ok(_) = over.wait_for(|&over| over) => 0,
                read = pipe.read(&mut bytes) => match read {
                    Ok(read) => read,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => 0,
                },
            };
            let at = SystemTime::now();
            let mut lines = Vec::new();
            let give = |bytes, cut_bytes| {
                let (app, instance) = (app.clone(), self.launch.id);
                lines.push(Line { at, app, instance, stream: self.stream, bytes, cut_bytes, number: 0 });
            };
            if read == 0 {
                splitter.finish(give);
            } else {
                splitter.feed(&bytes[..read], give);
            }
            self.hand_out(lines).await;
            if read == 0 {
                return;
            }
        }
    }

    async fn hand_out(&self, lines: Vec<Line>) {
        if lines.is_empty() {
            return;
        }
        let (lines, files) = lock(&self.state).take(lines);
        if let Some(files) = files {
            files.put(&lines).await;
        }
        if let Some(echo) = &self.echo {
            echo.put(&lines).await;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing in there is left half done by a panic.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Read at once.
const READ_BYTES: usize = 16 << 10;
/// Lines that wait for a reader, and how long they are together.
const READER_LINES_MAX: usize = 16 << 10;
const READER_BYTES_MAX: usize = 1 << 20;

/// Readers that follow at once.
pub const READERS_MAX: usize = 64;
