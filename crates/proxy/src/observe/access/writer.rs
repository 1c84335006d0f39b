//! The thread that writes the access log, and the way to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use config::plan::{self, AccessLog, LogFormat};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Where lines go at this moment, and how they look.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    pub(super) format: LogFormat,
    to_writer: Option<SyncSender<Vec<u8>>>,
    written: Arc<Written>,
}

impl Sink {
    fn off(format: LogFormat) -> Self {
        Self { format, to_writer: None, written: Arc::default() }
    }

    pub(super) fn is_off(&self) -> bool {
        self.to_writer.is_none()
    }

    /// Somewhere to make lines.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.written.take().unwrap_or_else(|| Vec::with_capacity(BATCH_BYTES + LINE_BYTES))
    }

    /// Whether the writer has room for `batch`, and gets it.
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
    pub(crate) fn start(log: &plan::Log) -> io::Result<Self> {
        let reopen = Arc::new(AtomicBool::new(false));
        let out = match &log.access {
            AccessLog::Off => {
                return Ok(Self { sink: Sink::off(log.format), reopen, ended: None });
            }
            AccessLog::Stdout => Out::Stdout,
            AccessLog::File(path) => Out::File { file: open(path)?, path: path.clone() },
        };
        let (to_writer, batches) = sync_channel(BATCHES_MAX);
        let sink = Sink { format: log.format, to_writer: Some(to_writer), written: Arc::default() };
        let (asked, written) = (reopen.clone(), sink.written.clone());
        let (ends, ended) = oneshot::channel();
        std::thread::Builder::new().name("access-log".into()).spawn(move || {
            write_all(out, &batches, &written, &asked);
            // If nobody waits for it, that is as well.
            let _ = ends.send(());
        })?;
        Ok(Self { sink, reopen, ended: Some(ended) })
    }

    /// What the workers write to.
    pub(crate) fn sink(&self) -> Sink {
        self.sink.clone()
    }

    /// Opens the file again at its path, after a rotation.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// A sink that swallows: for when the writer is to end.
    pub(crate) fn nothing() -> Sink {
        Sink::off(LogFormat::Json)
    }

    /// Waits until what the workers have handed over is written, but not for a reader that has stopped: after `patience`
    /// the rest is lost. The workers' sinks must be gone.
    pub(crate) async fn finish(mut self, patience: Duration) {
        self.sink.to_writer = None;
        if let Some(ended) = self.ended.take()
            && timeout(patience, ended).await.is_err()
        {
            tracing::warn!("the last lines of the access log are lost: nobody takes them");
        }
    }
}

enum Out {
    Stdout,
    File { file: File, path: PathBuf },
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Takes batches until there is nobody left to send one.
fn write_all(mut out: Out, batches: &Receiver<Vec<u8>>, written: &Written, reopen: &AtomicBool) {
    let mut is_failing = false;
    loop {
        let batch = batches.recv_timeout(FLUSH_EVERY);
        if reopen.swap(false, Relaxed) {
            reopen_file(&mut out);
        }
        match batch {
            Ok(batch) => write(&mut out, batch, written, &mut is_failing),
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // A worker that sends to a thread that waits must wake it, which costs the worker a system call and the core
        // a switch. A thread that sleeps gets what came meanwhile in one go.
        while let Ok(batch) = batches.try_recv() {
            write(&mut out, batch, written, &mut is_failing);
        }
        std::thread::sleep(NAP);
    }
}

fn write(out: &mut Out, batch: Vec<u8>, written: &Written, is_failing: &mut bool) {
    let result = match out {
        Out::Stdout => io::stdout().write_all(&batch),
        Out::File { file, .. } => file.write_all(&batch),
    };
    match result {
        Ok(()) => *is_failing = false,
        // Said once, not once a batch: a full disk is full for a while.
        Err(error) if !*is_failing => {
            *is_failing = true;
            tracing::error!(%error, "access log cannot be written; lines are lost until it can");
        }
        Err(_) => {}
    }
    written.keep(batch);
}

fn reopen_file(out: &mut Out) {
    if let Out::File { file, path } = out {
        match open(path) {
            Ok(opened) => *file = opened,
            Err(error) => tracing::error!(path = %path.display(), %error, "access log stays where it was"),
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
