//! The access log: lines are made in a worker's own buffer and written by a thread of their own, so that a slow disk
//! or reader loses lines, which are counted, and never holds up a request.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use config::plan::{self, AccessLog, LogFormat};
use serde::Serializer;
use serde::ser::SerializeMap;
use time::OffsetDateTime;
use time::macros::format_description;
use wire::Version;
use wire::request::RequestHead;

use crate::record::{Counters, Record, TunnelRecord, target_for_log};
use crate::shared::Shared;
use crate::upstream::node::Node;

/// Where lines go at this moment, and how they look.
#[derive(Debug)]
pub(crate) struct Sink {
    format: LogFormat,
    to_writer: Option<SyncSender<Vec<u8>>>,
}

/// A worker's end of the access log.
#[derive(Debug)]
pub(crate) struct Lines {
    made: RefCell<Made>,
    shared: Arc<Shared>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Made {
    bytes: Vec<u8>,
    lines: u64,
    clock: Clock,
}

/// The time as the format writes it, to the second: it is printed once a second, not once a line.
#[derive(Debug, Default)]
struct Clock {
    second: u64,
    format: LogFormat,
    text: String,
}

impl Clock {
    fn now(&mut self, format: LogFormat) -> &str {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if (second, format) != (self.second, self.format) || self.text.is_empty() {
            (self.second, self.format) = (second, format);
            let now = OffsetDateTime::from(now);
            let text = match format {
                LogFormat::Json => {
                    now.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z"))
                }
                LogFormat::Combined => now.format(format_description!(
                    "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000"
                )),
            };
            self.text = text.unwrap_or_default();
        }
        &self.text
    }
}

impl Lines {
    pub(crate) fn new(shared: Arc<Shared>, counters: Arc<Counters>) -> Self {
        Self { made: RefCell::default(), shared, counters }
    }

    pub(crate) fn exchange(&self, record: &Record, head: &RequestHead) {
        self.counters.count(record);
        self.add(|format, time, out| match format {
            LogFormat::Json => exchange_json(record, Some(head), time, out),
            LogFormat::Combined => exchange_combined(record, head, time, out),
        });
    }

    /// A request that was refused before it was one.
    pub(crate) fn refusal(&self, record: &Record) {
        self.counters.count(record);
        self.add(|format, time, out| match format {
            LogFormat::Json => exchange_json(record, None, time, out),
            LogFormat::Combined => combined(record, "-", ("-", "-"), time, out),
        });
    }

    pub(crate) fn tunnel(&self, record: &TunnelRecord) {
        self.counters.count_tunnel(record);
        self.add(|format, time, out| match format {
            LogFormat::Json => tunnel_json(record, time, out),
            // It has no words for a tunnel; its 101 was logged as an exchange.
            LogFormat::Combined => {}
        });
    }

    fn add(&self, print: impl FnOnce(LogFormat, &str, &mut Vec<u8>)) {
        let sink = self.shared.log.load();
        if sink.to_writer.is_none() {
            return;
        }
        let mut made = self.made.borrow_mut();
        let Made { bytes, lines, clock } = &mut *made;
        let length = bytes.len();
        print(sink.format, clock.now(sink.format), bytes);
        if bytes.len() == length {
            return;
        }
        bytes.push(b'\n');
        *lines += 1;
        if bytes.len() >= BATCH_BYTES {
            drop(made);
            self.flush();
        }
    }

    /// Hands what was made to the writer. Called now and then, so that a quiet proxy's log is current too.
    pub(crate) fn flush(&self) {
        let mut made = self.made.borrow_mut();
        let (bytes, lines) = (std::mem::take(&mut made.bytes), std::mem::take(&mut made.lines));
        if lines > 0
            && self.shared.log.load().to_writer.as_ref().is_some_and(|writer| writer.try_send(bytes).is_err())
        {
            self.counters.count_lost_lines(lines);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The thread that writes. It ends when every sink that was made from it is gone.
#[derive(Debug)]
pub(crate) struct Writer {
    to_writer: Option<SyncSender<Vec<u8>>>,
    format: LogFormat,
    reopen: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Opens the log. Fails if its file cannot be opened.
    pub(crate) fn start(log: &plan::Log) -> io::Result<Self> {
        let reopen = Arc::new(AtomicBool::new(false));
        let out = match &log.access {
            AccessLog::Off => {
                return Ok(Self { to_writer: None, format: log.format, reopen, thread: None });
            }
            AccessLog::Stdout => Out::Stdout,
            AccessLog::File(path) => Out::File { file: open(path)?, path: path.clone() },
        };
        let (to_writer, batches) = sync_channel(BATCHES_MAX);
        let asked = reopen.clone();
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(out, &batches, &asked))?;
        Ok(Self { to_writer: Some(to_writer), format: log.format, reopen, thread: Some(thread) })
    }

    /// What the workers write to.
    pub(crate) fn sink(&self) -> Sink {
        Sink { format: self.format, to_writer: self.to_writer.clone() }
    }

    /// Opens the file again at its path, after a rotation.
    pub(crate) fn reopen(&self) {
        self.reopen.store(true, Relaxed);
    }

    /// A sink that swallows: for when the writer is to end.
    pub(crate) fn nothing() -> Sink {
        Sink { format: LogFormat::Json, to_writer: None }
    }

    /// Writes what the workers have handed over. Their sinks must be gone, or this waits for ever.
    pub(crate) fn finish(mut self) {
        self.to_writer = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by itself.
            let _ = thread.join();
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

fn write_all(mut out: Out, batches: &Receiver<Vec<u8>>, reopen: &AtomicBool) {
    let mut is_failing = false;
    loop {
        let batch = batches.recv_timeout(FLUSH_EVERY);
        if reopen.swap(false, Relaxed) {
            reopen_file(&mut out);
        }
        let batch = match batch {
            Ok(batch) => batch,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let written = match &mut out {
            Out::Stdout => io::stdout().write_all(&batch),
            Out::File { file, .. } => file.write_all(&batch),
        };
        match written {
            Ok(()) => is_failing = false,
            // Said once, not once a batch: a full disk is full for a while.
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::error!(%error, "access log cannot be written; lines are lost until it can");
            }
            Err(_) => {}
        }
    }
}

fn reopen_file(out: &mut Out) {
    if let Out::File { file, path } = out {
        match open(path) {
            Ok(opened) => *file = opened,
            Err(error) => tracing::error!(path = %path.display(), %error, "access log stays where it was"),
        }
    }
}

/// What every line of an exchange has, and what it was, if it became one.
fn exchange_json(record: &Record, head: Option<&RequestHead>, time: &str, out: &mut Vec<u8>) {
    json(out, |line| {
        line.serialize_entry("time", time)?;
        line.serialize_entry("client", &record.client)?;
        if let Some(head) = head {
            line.serialize_entry("method", &printable(head.method_bytes()))?;
            line.serialize_entry("host", &head.host_bytes().map(printable))?;
            line.serialize_entry("target", &printable(&target_for_log(head)))?;
        }
        line.serialize_entry("status", &record.status)?;
        line.serialize_entry("bytes_in", &record.bytes_in)?;
        line.serialize_entry("bytes_out", &record.bytes_out)?;
        line.serialize_entry("ms", &milliseconds(record.begun.elapsed()))?;
        if let Some(answered) = record.answered_after {
            line.serialize_entry("answered_ms", &milliseconds(answered))?;
        }
        if let Some(node) = &record.node {
            node_json(node, line)?;
            line.serialize_entry("sticky", record.sticky.as_str())?;
            line.serialize_entry("attempts", &record.attempts)?;
        }
        if let Some(fault) = record.fault {
            line.serialize_entry("fault", fault.reason())?;
            if let Some(detail) = fault.detail() {
                line.serialize_entry("detail", detail)?;
            }
        }
        Ok(())
    });
}

fn tunnel_json(record: &TunnelRecord, time: &str, out: &mut Vec<u8>) {
    json(out, |line| {
        line.serialize_entry("time", time)?;
        line.serialize_entry("client", &record.client)?;
        line.serialize_entry("tunnel", record.ended_by.as_str())?;
        node_json(&record.node, line)?;
        line.serialize_entry("bytes_in", &record.bytes_to_origin)?;
        line.serialize_entry("bytes_out", &record.bytes_to_client)?;
        line.serialize_entry("frames_in", &record.frames_to_origin)?;
        line.serialize_entry("frames_out", &record.frames_to_client)?;
        if let Some(code) = record.close_code {
            line.serialize_entry("close", &code)?;
        }
        line.serialize_entry("ms", &milliseconds(record.lasted))
    });
}

type JsonLine<'a, 'b> = serde_json::ser::Compound<'a, &'b mut Vec<u8>, serde_json::ser::CompactFormatter>;

fn node_json(node: &Node, line: &mut JsonLine<'_, '_>) -> Result<(), serde_json::Error> {
    line.serialize_entry("upstream", &node.upstream)?;
    line.serialize_entry("node", &node.roster.written)?;
    line.serialize_entry("address", &format_args!("{}", node.address()))
}

/// Writes an object without building it first: this is on every request's path.
fn json(out: &mut Vec<u8>, fill: impl FnOnce(&mut JsonLine<'_, '_>) -> Result<(), serde_json::Error>) {
    let mut serializer = serde_json::Serializer::new(out);
    let written = serializer.serialize_map(None).and_then(|mut line| {
        fill(&mut line)?;
        line.end()
    });
    written.expect("strings and numbers, into memory");
}

/// A client's bytes as text. JSON escapes the control characters of ASCII; those behind it mean as much to a terminal.
fn printable(bytes: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(bytes);
    if !text.chars().any(|character| character.is_control() && !character.is_ascii()) {
        return text;
    }
    text.replace(char::is_control, "\u{fffd}").into()
}

/// To the microsecond.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}

fn exchange_combined(record: &Record, head: &RequestHead, time: &str, out: &mut Vec<u8>) {
    let version = match head.version() {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
    };
    let target = target_for_log(head);
    let request = format!("{} {} HTTP/{version}", Escaped(head.method_bytes()), Escaped(&target));
    let header = |name| Escaped(head.header(name).unwrap_or(b"-")).to_string();
    combined(record, &request, (&header("referer"), &header("user-agent")), time, out);
}

/// nginx's `combined`, so that what reads nginx's log reads ours.
fn combined(
    record: &Record,
    request: &str,
    (referer, user_agent): (&str, &str),
    time: &str,
    out: &mut Vec<u8>,
) {
    let Record { client, status, bytes_out, .. } = record;
    write!(out, "{client} - - [{time}] \"{request}\" {status} {bytes_out} \"{referer}\" \"{user_agent}\"")
        .expect("into memory");
}

/// A client's bytes between quotes: nothing in them can end the quote or the line.
struct Escaped<'a>(&'a [u8]);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\\' | 0..b' ' | 0x7f.. => write!(f, "\\x{byte:02X}")?,
                _ => write!(f, "{}", char::from(byte))?,
            }
        }
        Ok(())
    }
}

/// A worker's lines are handed over in batches of about so much.
const BATCH_BYTES: usize = 32 * 1024;
/// Batches under way; about 8 MiB of lines wait for a slow disk before more are lost.
const BATCHES_MAX: usize = 256;
/// A line is at most about so old when it is written.
pub(crate) const FLUSH_EVERY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_write_the_log() {
        let evil = b"a\" 200 0\n\x1b[2J\\\xff";
        assert_eq!(Escaped(evil).to_string(), "a\\x22 200 0\\x0A\\x1B[2J\\x5C\\xFF");
    }
}
