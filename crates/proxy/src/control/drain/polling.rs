//! Closes one polling session through its node: tidelock POSTs Engine.IO's close packet for the client, the node
//! answers the pending poll at once, and that answer, with a close packet behind it, ends the session on both sides.
//!
//! It says no more than the client's own session would say: to the path at which sessions are opened, with the Host that
//! a request would get, and in the name of the client's address.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use client::{Answer, Connection, NoAnswer};
use tokio::time::{Instant, sleep, timeout};
use wire::engineio::{Revision, escape_sid};
use wire::forward::print_ip;

use crate::net::stream::Stream;
use crate::request::reply;
use crate::upstream::connect::open;
use crate::upstream::node::Node;
use crate::upstream::sessions::{Closing, Contact, SessionTable};

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The node has closed the session.
    Politely,
    /// It was over before, or a tunnel carries it now.
    ByItself,
    /// The drain ended before the session's POST did. It is as it was.
    NotYet,
    /// The node did not take the close. Its client is told all the same.
    Failed,
}

/// Closes the sessions of one node.
#[derive(Debug)]
pub(crate) struct Closer {
    node: Arc<Node>,
    session_table: Arc<SessionTable>,
    /// From then on nobody waits for a node.
    until: Instant,
    /// Connections that one session's close has left for another's.
    idle: RefCell<Vec<Connection<Stream>>>,
    /// The node has let a close wait for too long, and answered none since. It hangs, and others are not held up by it.
    hangs: Cell<bool>,
    /// It has refused a close with anything in front of it.
    takes_close_alone: Cell<bool>,
    /// Nobody wants the node empty any more.
    is_called_off: Cell<bool>,
}

impl Closer {
    pub(crate) fn new(node: Arc<Node>, session_table: Arc<SessionTable>, until: Instant) -> Rc<Self> {
        let [hangs, takes_close_alone, is_called_off] = [const { Cell::new(false) }; 3];
        let idle = RefCell::default();
        Rc::new(Self { node, session_table, until, idle, hangs, takes_close_alone, is_called_off })
    }

    /// Sessions that nothing was said of yet stay.
    pub(crate) fn call_off(&self) {
        self.is_called_off.set(true);
    }

    /// Closes the session once none of its client's POSTs is under way; two at once are an error to Engine.IO. What the last
    /// of them has asked is given a moment to be answered, unless the client never stops asking.
    pub(crate) async fn close(self: Rc<Self>, sid: Box<[u8]>) -> (Box<[u8]>, Closed) {
        let hurries_at = (Instant::now() + QUIET_WITHIN).min(self.until);
        let contact = loop {
            let now = Instant::now();
            let quiet = if now < hurries_at { QUIET } else { Duration::ZERO };
            match self.session_table.begin_close(&sid, now.checked_sub(quiet).unwrap_or(now)) {
                Closing::Now(contact) => break contact,
                Closing::Never => return (sid, Closed::ByItself),
                Closing::Busy if now >= self.until || self.is_called_off.get() => {
                    self.session_table.unschedule(&sid);
                    return (sid, Closed::NotYet);
                }
                Closing::Busy => sleep(BUSY_PAUSE).await,
            }
        };
        let closed = if self.hangs.get() { Closed::Failed } else { self.tell(&sid, &contact).await };
        self.session_table.closed_there(&sid);
        (sid, closed)
    }

    async fn tell(&self, sid: &[u8], contact: &Contact) -> Closed {
        let mut telling = std::pin::pin!(self.post(sid, contact));
        let told = match timeout(SILENCE_MAX, &mut telling).await {
            Ok(told) => told,
            Err(_) => {
                // The client need not wait for a node that is busy, or hangs. The node is told all the same.
                self.hangs.set(true);
                self.session_table.poll_is_overdue(sid);
                let patience = self.until.saturating_duration_since(Instant::now());
                match timeout(patience, telling).await {
                    Ok(told) => told,
                    Err(_) => return Closed::Failed,
                }
            }
        };
        self.hangs.set(false);
        match told {
            Ok(Answer { status: 200..=299, .. }) => Closed::Politely,
            Ok(_) | Err(_) => Closed::Failed,
        }
    }

    /// Posts the close, behind what makes a server end the pending poll, where the node takes that.
    async fn post(&self, sid: &[u8], contact: &Contact) -> Result<Answer, NoAnswer> {
        let revision = contact.address.as_ref().map(|address| address.revision);
        if revision == Some(Revision::V4) && !self.takes_close_alone.get() {
            let answer = self.ask(&self.request(sid, contact, ENDS_POLL_AND_CLOSE)).await?;
            if matches!(answer.status, 200..=299) {
                return Ok(answer);
            }
            self.takes_close_alone.set(true);
        }
        self.ask(&self.request(sid, contact, reply::close_packet(revision.unwrap_or(Revision::V4)))).await
    }

    async fn ask(&self, request: &[u8]) -> Result<Answer, NoAnswer> {
        let idle = self.idle.borrow_mut().pop();
        if let Some(mut connection) = idle {
            // One that the node has closed meanwhile says nothing of the session.
            if let Ok(answer) = connection.ask(request, ANSWER_BYTES_MAX).await {
                self.keep(connection);
                return Ok(answer);
            }
        }
        let mut connection = Connection::over(open(self.node.address()).await.map_err(NoAnswer::Wire)?);
        let answer = connection.ask(request, ANSWER_BYTES_MAX).await?;
        self.keep(connection);
        Ok(answer)
    }

    fn keep(&self, connection: Connection<Stream>) {
        if connection.is_reusable() {
            self.idle.borrow_mut().push(connection);
        }
    }

    fn request(&self, sid: &[u8], contact: &Contact, packets: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(REQUEST_BYTES);
        let Some(address) = &contact.address else { return out };
        out.extend_from_slice(b"POST ");
        out.extend_from_slice(&address.path);
        out.extend_from_slice(match address.revision {
            Revision::V3 => b"?EIO=3",
            Revision::V4 => b"?EIO=4",
        });
        out.extend_from_slice(if address.jsonp {
            b"&transport=polling&j=0&sid="
        } else {
            b"&transport=polling&sid="
        });
        escape_sid(sid, &mut out);
        out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
        let (plan, label) = (self.node.plan(), self.node.label());
        match plan.as_ref().and_then(|plan| plan.host.as_deref()) {
            Some(host) => out.extend_from_slice(host.as_bytes()),
            None => out.extend_from_slice(address.host.as_deref().unwrap_or(label.written.as_bytes())),
        }
        out.extend_from_slice(b"\r\nUser-Agent: tidelock\r\nX-Forwarded-For: ");
        print_ip(contact.client, &mut out);
        out.extend_from_slice(b"\r\nX-Real-IP: ");
        print_ip(contact.client, &mut out);
        out.extend_from_slice(b"\r\nX-Forwarded-Proto: ");
        out.extend_from_slice(if contact.is_https { b"https" } else { b"http" });
        let (content_type, content) = match address.jsonp {
            true => (
                "application/x-www-form-urlencoded",
                format!("d={}", packets.replace(':', "%3A").replace('\x1e', "%1E")),
            ),
            false => ("text/plain;charset=UTF-8", packets.to_owned()),
        };
        let length = content.len();
        let rest = format!("\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{content}");
        out.extend_from_slice(rest.as_bytes());
        out
    }
}

/// An upgrade packet, and the close. Nobody upgrades without a probe, so that Engine.IO's server in Node.js passes over the
/// first; python-engineio answers it with a noop, which ends the poll that its asyncio servers would leave pending for 45 s,
/// and would wait for when their process is to end.
const ENDS_POLL_AND_CLOSE: &str = "5\x1e1";
/// Most apps answer a message sooner than this after its POST, and then the answer is with the client before the close is.
const QUIET: Duration = Duration::from_millis(100);
/// A client that says something all the time is not waited for longer.
const QUIET_WITHIN: Duration = Duration::from_millis(500);
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// A node that takes a close answers within milliseconds.
const SILENCE_MAX: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 4096;
const REQUEST_BYTES: usize = 512;
