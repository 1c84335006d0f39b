//! The access log: lines are made in a worker's own buffer and written by a thread of their own, so that a slow disk
//! or reader loses lines, which are counted, and never holds up a request.

mod calendar;
mod cut;
#[cfg(any(test, fuzzing))]
pub(crate) mod forge;
mod json;
mod layout;
mod log_file;
mod object;
mod syslog;
mod text;
mod told;
mod writer;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};
use wire::engineio::Sid;
use wire::request::RequestHead;

use crate::net::clock::Clock;
use crate::observe::access::calendar::{Calendar, Moment};
use crate::observe::access::layout::{Form, Layout};
use crate::observe::access::told::Told;
use crate::observe::access::writer::BATCH_BYTES;
pub(crate) use crate::observe::access::writer::{FLUSH_EVERY, Sink, Unwritten, Writer};
use crate::observe::counters::Counters;
use crate::observe::record::{Came, Logged, Record, TunnelRecord};
use crate::observe::routes::RouteCounters;

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

impl Lines {
    pub(crate) fn new(sink: Arc<ArcSwap<Sink>>, counters: Arc<Counters>, clock: Rc<Clock>) -> Self {
        Self { made: RefCell::default(), clock, sink: RefCell::new(Cache::new(sink)), counters }
    }

    pub(crate) fn exchange(&self, record: &Record, head: &RequestHead, came: Came<'_>) {
        self.counters.count(record);
        if let Some(routes) = &self.counters.routes {
            self.collect(routes, record, Some(head));
        }
        let is_logged = match record.logged {
            Logged::Always => true,
            Logged::IfBad => record.fault.is_some() || record.status >= 400,
            Logged::Never => false,
        };
        if is_logged {
            self.add_exchange(record, Some(head), came);
        }
    }

    /// A request that was refused before it was one.
    pub(crate) fn refusal(&self, record: &Record, came: Came<'_>) {
        self.counters.count(record);
        if let Some(routes) = &self.counters.routes {
            self.collect(routes, record, None);
        }
        self.add_exchange(record, None, came);
    }

    fn add_exchange(&self, record: &Record, head: Option<&RequestHead>, came: Came<'_>) {
        self.add(|layout, moment, out| {
            layout.print(&Told { record, head, came, cut: &layout.cut }, moment, out);
        });
    }

    pub(crate) fn tunnel(&self, record: &TunnelRecord) {
        self.counters.count_tunnel(record);
        if !record.is_logged {
            return;
        }
        self.add(|layout, moment, out| match layout.form {
            Form::Json(fields) => object::tunnel(fields, record, moment, out),
            // nginx's variables have no words for a tunnel; its 101 was logged as an exchange.
            Form::Text { .. } => {}
        });
    }

    /// Apart, so that a request of which nothing is collected does not save the registers that this takes.
    #[inline(never)]
    fn collect(&self, routes: &RouteCounters, record: &Record, head: Option<&RequestHead>) {
        let is_poll =
            head.and_then(|head| head.engine_io()).is_some_and(|engine_io| engine_io.sid != Sid::None);
        routes.count(record, is_poll, self.clock.now().duration_since(record.begun));
    }

    fn add(&self, print: impl FnOnce(&Layout, Moment<'_>, &mut Vec<u8>)) {
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
        print(&sink.layout, calendar.at(self.clock.now()), bytes);
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
