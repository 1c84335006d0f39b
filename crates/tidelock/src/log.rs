//! The log of the program itself, on standard error. Whoever reads that may stop reading: a terminal after Ctrl-S, a
//! pager, a container's runtime whose disk is full. A write would then wait for ever, and with it a worker or the control
//! thread. So one thread of its own writes, and everybody else puts lines into a queue that is bounded; what finds no
//! room is lost and counted, and the log says so in the place where it is missing.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts the thread that writes, and logs to it from now on.
pub(crate) fn start(colour: bool) -> io::Result<()> {
    thread::Builder::new().name("log".into()).spawn(|| QUEUE.write_all())?;
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

/// Waits until everything is written, but no longer than `patience`.
pub(crate) fn finish(patience: Duration) {
    let queue = QUEUE.lock();
    // Whether it was in time makes no difference: nobody reads.
    drop(
        QUEUE
            .written
            .wait_timeout_while(queue, patience, |queue| queue.is_writing || !queue.lines.is_empty()),
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
            let told =
                format!("tidelock: {lost} lines of the log were lost here: standard error was not read\n");
            lines.push(told.into_bytes());
        }
        lines.push(text.to_vec());
        drop(lines);
        self.more.notify_one();
    }

    fn write_all(&self) {
        loop {
            let waiting = self.more.wait_while(self.lock(), |queue| queue.lines.is_empty());
            let mut queue = waiting.unwrap_or_else(PoisonError::into_inner);
            let Some(line) = queue.lines.pop_front() else { continue };
            queue.bytes -= line.len();
            queue.is_writing = true;
            drop(queue);
            // Nobody may be there any more to read it, which is no reason to stop.
            let _ = io::stderr().write_all(&line);
            self.lock().is_writing = false;
            self.written.notify_all();
        }
    }
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
