//! The access log: lines are made in a worker's own buffer and written by a thread of their own, so that a slow disk
//! or reader loses lines, which are counted, and never holds up a request.

mod json;
mod writer;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::{ArcSwap, Cache};
use config::plan::LogFormat;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;
use wire::Version;
use wire::engineio::Sid;
use wire::forward::print_ip;
use wire::request::RequestHead;

use crate::net::clock::Clock;
use crate::observe::access::json::{JsonLine, push_number};
use crate::observe::access::writer::BATCH_BYTES;
pub(crate) use crate::observe::access::writer::{FLUSH_EVERY, Sink, Unwritten, Writer};
use crate::observe::counters::Counters;
use crate::observe::record::{Record, TunnelRecord, target_for_log};
use crate::observe::routes::RouteCounters;
use crate::upstream::node::Node;

/// A worker's end of the access log.
#[derive(Debug)]
pub(crate) struct Lines {
    made: RefCell<Made>,
    clock: Rc<Clock>,
    /// Knows by a look at one pointer whether there is another one.
    sink: RefCell<Cache<Arc<ArcSwap<Sink>>, Arc<Sink>>>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Made {
    bytes: Vec<u8>,
    lines: u64,
    calendar: Calendar,
}

/// When a line is made.
#[derive(Debug, Clone, Copy)]
struct Moment<'a> {
    now: Instant,
    /// As the format writes it, to the second.
    text: &'a str,
}

/// The time as the format writes it: it is asked for and printed once a second, not once a line.
#[derive(Debug, Default)]
struct Calendar {
    /// When another second begins.
    until: Option<Instant>,
    format: LogFormat,
    text: String,
}

impl Calendar {
    fn at(&mut self, now: Instant, format: LogFormat) -> &str {
        if self.format != format || self.until.is_none_or(|until| now >= until) {
            let time = SystemTime::now();
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let left = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
            self.until = Some(now + left);
            self.format = format;
            self.text = print_time(time.into(), format).unwrap_or_default();
        }
        &self.text
    }
}

fn print_time(time: OffsetDateTime, format: LogFormat) -> Result<String, time::error::Format> {
    match format {
        LogFormat::Json => time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")),
        LogFormat::Combined => {
            time.format(format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000"))
        }
    }
}

impl Lines {
    pub(crate) fn new(sink: Arc<ArcSwap<Sink>>, counters: Arc<Counters>, clock: Rc<Clock>) -> Self {
        Self { made: RefCell::default(), clock, sink: RefCell::new(Cache::new(sink)), counters }
    }

    pub(crate) fn exchange(&self, record: &Record, head: &RequestHead) {
        self.counters.count(record);
        if let Some(routes) = &self.counters.routes {
            self.collect(routes, record, Some(head));
        }
        if !record.is_logged {
            return;
        }
        self.add(|format, moment, out| match format {
            LogFormat::Json => exchange_json(record, Some(head), moment, out),
            LogFormat::Combined => exchange_combined(record, head, moment, out),
        });
    }

    /// A request that was refused before it was one.
    pub(crate) fn refusal(&self, record: &Record) {
        self.counters.count(record);
        if let Some(routes) = &self.counters.routes {
            self.collect(routes, record, None);
        }
        self.add(|format, moment, out| match format {
            LogFormat::Json => exchange_json(record, None, moment, out),
            LogFormat::Combined => combined(record, moment, out, |out| out.push(b'-'), None),
        });
    }

    pub(crate) fn tunnel(&self, record: &TunnelRecord) {
        self.counters.count_tunnel(record);
        self.add(|format, moment, out| match format {
            LogFormat::Json => tunnel_json(record, moment, out),
            // It has no words for a tunnel; its 101 was logged as an exchange.
            LogFormat::Combined => {}
        });
    }

    /// Apart, so that a request of which nothing is collected does not save the registers that this takes.
    #[inline(never)]
    fn collect(&self, routes: &RouteCounters, record: &Record, head: Option<&RequestHead>) {
        let is_poll =
            head.and_then(|head| head.engine_io()).is_some_and(|engine_io| engine_io.sid != Sid::None);
        routes.count(record, is_poll, self.clock.now().duration_since(record.begun));
    }

    fn add(&self, print: impl FnOnce(LogFormat, Moment<'_>, &mut Vec<u8>)) {
        let mut sink = self.sink.borrow_mut();
        let sink = sink.load();
        if sink.is_off() {
            return;
        }
        let mut made = self.made.borrow_mut();
        let Made { bytes, lines, calendar } = &mut *made;
        if bytes.capacity() == 0 {
            *bytes = sink.take_buffer();
        }
        let length = bytes.len();
        let now = self.clock.now();
        print(sink.format, Moment { now, text: calendar.at(now, sink.format) }, bytes);
        if bytes.len() == length {
            return;
        }
        bytes.push(b'\n');
        *lines += 1;
        if bytes.len() >= BATCH_BYTES {
            self.hand_over(&mut made, sink);
        }
    }

    /// Hands what was made to the writer. Called now and then, so that a quiet proxy's log is current too.
    pub(crate) fn flush(&self) {
        self.hand_over(&mut self.made.borrow_mut(), self.sink.borrow_mut().load());
    }

    fn hand_over(&self, made: &mut Made, sink: &Sink) {
        let (bytes, lines) = (std::mem::take(&mut made.bytes), std::mem::take(&mut made.lines));
        if lines > 0 && !sink.take(bytes) {
            self.counters.count_lost_lines(lines);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush();
    }
}

/// What every line of an exchange has, and what it was, if it became one.
fn exchange_json(record: &Record, head: Option<&RequestHead>, moment: Moment<'_>, out: &mut Vec<u8>) {
    let mut line = JsonLine::begin(out);
    line.word("time", moment.text);
    line.ip("client", record.client);
    if let Some(head) = head {
        line.text("method", head.method_bytes());
        match head.host_bytes() {
            Some(host) => line.text("host", host),
            None => line.null("host"),
        }
        line.text("target", &target_for_log(head));
        if head.is_over_http2() {
            line.word("protocol", "HTTP/2.0");
        }
    }
    if let Some(id) = &record.request_id {
        line.text("request_id", id.as_bytes());
    }
    line.number("status", record.status.into());
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
    line.milliseconds("ms", moment.now.duration_since(record.begun));
    if let Some(answered) = record.answered_after {
        line.milliseconds("answered_ms", answered);
    }
    if let Some(node) = &record.node {
        node_json(node, &mut line);
        line.word("sticky", record.sticky.as_str());
        line.number("attempts", record.attempts.into());
    }
    if let Some(guarded) = &record.guarded {
        if let Some(user) = &guarded.user {
            line.text("user", user.as_bytes());
        }
        if let Some(limit) = guarded.limit {
            line.word("limit", limit.as_str());
        }
    }
    if let Some(fault) = record.fault {
        line.word("fault", fault.reason());
        if let Some(detail) = fault.detail() {
            line.word("detail", detail);
        }
    }
    line.end();
}

fn tunnel_json(record: &TunnelRecord, moment: Moment<'_>, out: &mut Vec<u8>) {
    let mut line = JsonLine::begin(out);
    line.word("time", moment.text);
    line.ip("client", record.client);
    line.word("tunnel", record.ended_by.as_str());
    node_json(&record.node, &mut line);
    line.number("bytes_in", record.bytes_to_origin);
    line.number("bytes_out", record.bytes_to_client);
    line.number("frames_in", record.frames_to_origin);
    line.number("frames_out", record.frames_to_client);
    if let Some(code) = record.close_code {
        line.number("close", code.into());
    }
    line.milliseconds("ms", record.lasted);
    line.end();
}

fn node_json(node: &Node, line: &mut JsonLine<'_>) {
    let label = node.label();
    line.members(label.in_log.get_or_init(|| {
        let mut out = Vec::new();
        let mut line = JsonLine::begin(&mut out);
        line.text("upstream", node.upstream.as_bytes());
        line.text("node", label.written.as_bytes());
        line.text("address", node.address().to_string().as_bytes());
        // Without its brace: it becomes a part of other objects.
        out[1..].into()
    }));
}

fn exchange_combined(record: &Record, head: &RequestHead, moment: Moment<'_>, out: &mut Vec<u8>) {
    let request = |out: &mut Vec<u8>| {
        push_escaped(head.method_bytes(), out);
        out.push(b' ');
        push_escaped(&target_for_log(head), out);
        out.extend_from_slice(match head.version() {
            Version::Http10 => b" HTTP/1.0",
            Version::Http11 if head.is_over_http2() => b" HTTP/2.0",
            Version::Http11 => b" HTTP/1.1",
        });
    };
    combined(record, moment, out, request, Some(head));
}

/// nginx's `combined`, so that what reads nginx's log reads ours.
fn combined(
    record: &Record,
    moment: Moment<'_>,
    out: &mut Vec<u8>,
    request: impl FnOnce(&mut Vec<u8>),
    head: Option<&RequestHead>,
) {
    let header = |name, out: &mut Vec<u8>| {
        push_escaped(head.and_then(|head| head.header(name)).unwrap_or(b"-"), out);
    };
    print_ip(record.client, out);
    out.extend_from_slice(b" - ");
    let user = record.guarded.as_ref().and_then(|guarded| guarded.user.as_ref());
    push_escaped(user.map_or(b"-", |user| user.as_bytes()), out);
    out.extend_from_slice(b" [");
    out.extend_from_slice(moment.text.as_bytes());
    out.extend_from_slice(b"] \"");
    request(out);
    out.extend_from_slice(b"\" ");
    push_number(record.status.into(), out);
    out.push(b' ');
    push_number(record.body_bytes_out, out);
    out.extend_from_slice(b" \"");
    header("referer", out);
    out.extend_from_slice(b"\" \"");
    header("user-agent", out);
    out.push(b'"');
}

/// A client's bytes between quotes: nothing in them can end the quote or the line.
fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | 0..b' ' | 0x7f.. => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_write_the_log() {
        let evil = b"a\" 200 0\n\x1b[2J\\\xff";
        let mut out = Vec::new();
        push_escaped(evil, &mut out);
        assert_eq!(out, b"a\\x22 200 0\\x0A\\x1B[2J\\x5C\\xFF");
    }
}
