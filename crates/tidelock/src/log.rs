//! The log of the program itself, on standard error. Whoever reads that may stop reading: a terminal after Ctrl-S, a
//! pager, a container's runtime whose disk is full. A write would then wait for ever, and with it a worker or the control
//! thread. So one thread of its own writes, and everybody else puts lines into a queue that is bounded; what finds no
//! room is lost and counted, and the log says so in the place where it is missing.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts the thread that writes, and logs to it from now on. Where standard error is the file at `rotated`, another takes
/// its place before it gets too long.
pub(crate) fn start(colour: bool, rotated: Option<PathBuf>) -> io::Result<()> {
    thread::Builder::new().name("log".into()).spawn(move || QUEUE.write_all(rotated.as_deref()))?;
    let filter = EnvFilter::try_from_env("TIDELOCK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colour)
        .with_target(false)
        .with_writer(&QUEUE)
        .init();
    // The usual hook writes to standard error itself, on the thread that panicked.
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let backtrace = match backtrace.status() {
            std::backtrace::BacktraceStatus::Captured => format!("\n{backtrace}"),
            _ => String::new(),
        };
        tracing::error!("{panic}{backtrace}");
    }));
    Ok(())
}

/// Says `text` as it is, lines with their ends.
pub(crate) fn say(text: &str) {
    if !text.is_empty() {
        QUEUE.put(text.as_bytes());
    }
}

/// So many lines were lost since the start, because standard error was not read.
pub(crate) fn lost() -> u64 {
    QUEUE.lock().lost
}

/// Waits until everything is written, but no longer than `timeout`.
pub(crate) fn finish(timeout: Duration) {
    let queue = QUEUE.lock();
    // Whether it was in time makes no difference: nobody reads.
    drop(
        QUEUE.written.wait_timeout_while(queue, timeout, |queue| queue.is_writing || !queue.lines.is_empty()),
    );
}

static QUEUE: Queue = Queue { lines: Mutex::new(Lines::NONE), more: Condvar::new(), written: Condvar::new() };

#[derive(Debug)]
struct Queue {
    lines: Mutex<Lines>,
    more: Condvar,
    written: Condvar,
}

#[derive(Debug)]
struct Lines {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    is_writing: bool,
    lost: u64,
    /// Of these, those that the log has not told of.
    lost_untold: u64,
}

impl Lines {
    const NONE: Self = Self { lines: VecDeque::new(), bytes: 0, is_writing: false, lost: 0, lost_untold: 0 };

    fn push(&mut self, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push_back(line);
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Nothing in there is left half done by a panic.
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, text: &[u8]) {
        let mut lines = self.lock();
        // What comes alone is always taken, however long it is.
        let has_room = lines.lines.is_empty()
            || (lines.bytes + text.len() <= QUEUE_BYTES_MAX && lines.lines.len() < QUEUE_LINES_MAX);
        if !has_room {
            let count = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
            lines.lost += count;
            lines.lost_untold += count;
            return;
        }
        let lost = std::mem::take(&mut lines.lost_untold);
        if lost > 0 {
            let told = format!(
                "tidelock: lines of the log lost here, because standard error was not read: {lost}\n"
            );
            lines.push(told.into_bytes());
        }
        lines.push(text.to_vec());
        drop(lines);
        self.more.notify_one();
    }

    fn write_all(&self, rotated: Option<&Path>) {
        loop {
            let waiting = self.more.wait_while(self.lock(), |queue| queue.lines.is_empty());
            let mut queue = waiting.unwrap_or_else(PoisonError::into_inner);
            let Some(line) = queue.lines.pop_front() else { continue };
            queue.bytes -= line.len();
            queue.is_writing = true;
            drop(queue);
            if let Some(path) = rotated {
                rotate(path, line.len());
            }
            // Nobody may be there any more to read it, which is no reason to stop.
            let _ = io::stderr().write_all(&line);
            self.lock().is_writing = false;
            self.written.notify_all();
        }
    }
}

/// Opens the log of a tidelock in the background, with another in its place if it is long.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|file| file.len() >= FILE_BYTES_MAX) {
        fs::rename(path, before(path))?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Makes room for a line: a file that is full becomes the one before, and a new one standard output and error. What fails
/// is tried at the next line.
fn rotate(path: &Path, bytes: usize) {
    let is_full = fs::metadata(path).is_ok_and(|file| file.len() + bytes as u64 > FILE_BYTES_MAX);
    let is_gone = !path.exists();
    if is_full && fs::rename(path, before(path)).is_err() {
        return;
    }
    if (is_full || is_gone)
        && let Ok(file) = open(path)
    {
        let _ = rustix::stdio::dup2_stdout(&file);
        let _ = rustix::stdio::dup2_stderr(&file);
    }
}

fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

impl<'q> MakeWriter<'q> for &'static Queue {
    type Writer = ToQueue;

    fn make_writer(&'q self) -> ToQueue {
        ToQueue(self)
    }
}

/// Takes an event a write, as tracing-subscriber does it.
#[derive(Debug)]
struct ToQueue(&'static Queue);

impl Write for ToQueue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What waits for a reader who has stopped for a while.
const QUEUE_BYTES_MAX: usize = 1 << 20;
const QUEUE_LINES_MAX: usize = 8 * 1024;
/// Of a tidelock in the background: as long as its log may be, and the one before.
const FILE_BYTES_MAX: u64 = 8 << 20;
