//! The thread that writes the access log, and the way to it.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::plan::{self, AccessLog};
use tokio::sync::oneshot;

use crate::observe::access::layout::Layout;
use crate::observe::access::log_file::LogFile;
use crate::observe::access::syslog::Syslog;

/// Where lines go at this moment, and how they look.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    pub(super) layout: Arc<Layout>,
    to_writer: Option<SyncSender<Vec<u8>>>,
    written: Arc<Written>,
}

impl Sink {
    fn off() -> Self {
        Self { layout: Arc::new(Layout::of(&plan::Log::default())), to_writer: None, written: Arc::default() }
    }

    pub(super) fn is_off(&self) -> bool {
        self.to_writer.is_none()
    }

    /// Somewhere to make lines.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.written.take().unwrap_or_else(|| Vec::with_capacity(BATCH_BYTES + LINE_BYTES))
    }

    /// Hands `batch` to the writer. False if that has no room: the batch is gone then, and its lines are to be counted as lost.
    pub(super) fn take(&self, batch: Vec<u8>) -> bool {
        self.to_writer.as_ref().is_none_or(|writer| writer.try_send(batch).is_ok())
    }
}

/// Buffers whose lines are written, for the next ones.
#[derive(Debug, Default)]
struct Written(Mutex<Vec<Vec<u8>>>);

impl Written {
    fn take(&self) -> Option<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX && buffer.capacity() >= BATCH_BYTES {
            kept.push(buffer);
        }
    }
}

/// Lines that were handed over and could not be written, by all writers since the start.
pub(crate) type Unwritten = Arc<AtomicU64>;

/// The thread that writes. It ends when every sink that was made from it is gone.
#[derive(Debug)]
pub(crate) struct Writer {
    sink: Sink,
    reopen: Arc<AtomicBool>,
    /// Resolves when the thread has ended; `None` if there is none.
    ended: Option<oneshot::Receiver<()>>,
}

impl Writer {
    /// Opens the log. Fails if its file cannot be opened.
    pub(crate) fn start(log: &plan::Log, unwritten: &Unwritten) -> io::Result<Self> {
        let reopen = Arc::new(AtomicBool::new(false));
        let out = match &log.access {
            AccessLog::Off => {
                return Ok(Self { sink: Sink::off(), reopen, ended: None });
            }
            AccessLog::Stdout => Output::Stdout,
            AccessLog::File(path) => Output::File(LogFile::open(path, log)?),
            AccessLog::Syslog(path) => Output::Syslog(Syslog::new(path.clone())?),
        };
        let out = Out { place: out, unwritten: unwritten.clone(), failing: None, is_torn: false };
        let (to_writer, batches) = sync_channel(BATCHES_MAX);
        let sink =
            Sink { layout: Arc::new(Layout::of(log)), to_writer: Some(to_writer), written: Arc::default() };
        let (asked, written) = (reopen.clone(), sink.written.clone());
        let (ends, ended) = oneshot::channel();
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            write_all(out, &batches, &written, &asked);
            // If nobody waits for it, that is as well.
            let _ = ends.send(());
        })?;
        Ok(Self { sink, reopen, ended: Some(ended) })
    }

    pub(crate) fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Opens the file again at its path, after a rotation.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// A sink that swallows: for when the writer is to end.
    pub(crate) fn nothing() -> Sink {
        Sink::off()
    }

    /// Waits until what the workers have handed over is written, but not for a reader that has stopped: after `timeout`
    /// the rest is lost. The workers' sinks must be gone.
    pub(crate) async fn finish(mut self, timeout: Duration) {
        self.sink.to_writer = None;
        if let Some(ended) = self.ended.take()
            && tokio::time::timeout(timeout, ended).await.is_err()
        {
            tracing::warn!("the last lines of the access log are lost: nobody takes them");
        }
    }
}

/// Where lines go, and how that goes.
struct Out {
    place: Output,
    unwritten: Unwritten,
    /// So many lines are lost since it began to fail.
    failing: Option<u64>,
    /// The last line that is there is a part of one.
    is_torn: bool,
}

enum Output {
    Stdout,
    File(LogFile),
    Syslog(Syslog),
}

/// Takes batches until there is nobody left to send one.
fn write_all(mut out: Out, batches: &Receiver<Vec<u8>>, written: &Written, reopen: &AtomicBool) {
    loop {
        let batch = batches.recv_timeout(FLUSH_EVERY);
        if reopen.swap(false, Relaxed) {
            out.reopen();
        }
        match batch {
            Ok(batch) => written.keep(out.write(batch)),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // A worker that sends to a thread that waits must wake it, which costs the worker a system call and the core
        // a switch. A thread that sleeps gets what came meanwhile in one go.
        while let Ok(batch) = batches.try_recv() {
            written.keep(out.write(batch));
        }
        std::thread::sleep(NAP);
    }
}

impl Out {
    /// Writes whole lines, as many as can be, and counts the others.
    fn write(&mut self, batch: Vec<u8>) -> Vec<u8> {
        let written = match &mut self.place {
            Output::Syslog(syslog) => syslog.send(&batch),
            Output::File(_) | Output::Stdout => self.write_all(&batch).map_err(|(written, error)| {
                let whole = memchr::memrchr(b'\n', &batch[..written]).map_or(0, |end| end + 1);
                self.take_back(written - whole);
                (memchr::memchr_iter(b'\n', &batch[whole..]).count() as u64, error)
            }),
        };
        let lost = match written {
            Ok(()) => {
                if let Some(lines_lost) = self.failing.take() {
                    tracing::info!(event = "access_log_back", lines_lost, "access log can be written again");
                }
                return batch;
            }
            Err((lost, error)) => {
                // Said once, not once a batch: a full disk is full for a while.
                if self.failing.is_none() {
                    tracing::error!(event = "access_log_failed", %error, "access log cannot be written; lines are lost until it can");
                }
                lost
            }
        };
        self.failing = Some(self.failing.unwrap_or(0) + lost);
        self.unwritten.fetch_add(lost, Relaxed);
        batch
    }

    /// An error comes with how much was written before it.
    fn write_all(&mut self, batch: &[u8]) -> Result<(), (usize, io::Error)> {
        if let Output::File(file) = &mut self.place {
            file.make_room(batch.len());
        }
        if self.is_torn {
            self.place.write(b"\n").map_err(|error| (0, error))?;
            self.is_torn = false;
        }
        let mut written = 0;
        while written < batch.len() {
            match self.place.write(&batch[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        // Standard output keeps what has no end of a line behind it.
        self.place.flush().map_err(|error| (written, error))
    }

    /// The part of a line that found room is none.
    fn take_back(&mut self, bytes: usize) {
        if bytes > 0 {
            let is_taken = match &mut self.place {
                Output::Stdout | Output::Syslog(_) => false,
                Output::File(file) => file.take_back(bytes),
            };
            self.is_torn = !is_taken;
        }
    }

    fn reopen(&mut self) {
        if let Output::File(file) = &mut self.place
            && file.reopen()
        {
            self.is_torn = false;
        }
    }
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout => io::stdout().write(bytes),
            Self::File(file) => file.write(bytes),
            // It takes lines, not pieces of them.
            Self::Syslog(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => io::stdout().flush(),
            Self::File(_) | Self::Syslog(_) => Ok(()),
        }
    }
}

/// Batches under way; about 8 MiB of lines wait for a slow disk before more are lost.
const BATCHES_MAX: usize = 128;
/// As many as are filled in a nap; the rest goes back to the allocator.
const KEPT_MAX: usize = 8;
/// The line that fills a batch is longer than the room left in it.
const LINE_BYTES: usize = 4 * 1024;
/// How long the thread sleeps after it has written. At a million lines a second the queue holds seven naps' worth.
const NAP: Duration = Duration::from_millis(5);
/// A worker's lines are handed over in batches of about so much.
pub(super) const BATCH_BYTES: usize = 64 * 1024;
/// A line is at most about so old when it is written.
pub(crate) const FLUSH_EVERY: Duration = Duration::from_millis(500);
