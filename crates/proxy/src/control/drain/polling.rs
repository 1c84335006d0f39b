//! Closes one polling session through its node: tidelock POSTs Engine.IO's close packet for the client, the node
//! answers the pending poll at once, and that answer, with a close packet behind it, ends the session on both sides.
//!
//! It says no more than the client's own session would say: to the path at which sessions are opened, with the Host that
//! a request would get, and in the name of the client's address.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
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
use crate::upstream::sessions::{Closing, Contact, Moment, SessionTable};

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
    /// Sessions whose moment has not come.
    waiting: RefCell<HashSet<Box<[u8]>>>,
}

impl Closer {
    pub(crate) fn new(node: Arc<Node>, session_table: Arc<SessionTable>, until: Instant) -> Rc<Self> {
        let [hangs, takes_close_alone] = [const { Cell::new(false) }; 2];
        let (idle, waiting) = (RefCell::default(), RefCell::default());
        Rc::new(Self { node, session_table, until, idle, hangs, takes_close_alone, waiting })
    }

    /// Sessions that nothing was said of yet stay, and may have a turn in another drain from this moment on.
    pub(crate) fn call_off(&self) {
        for sid in self.waiting.take() {
            self.session_table.unschedule(&sid);
        }
    }

    /// Closes the session. Until `waits_until` it waits for its client to say something and be answered; then for what
    /// was last said to be answered, unless the client never stops; and always for its POST that is under way.
    pub(crate) fn close(
        self: Rc<Self>,
        sid: Box<[u8]>,
        waits_until: Instant,
    ) -> impl Future<Output = (Box<[u8]>, Closed)> {
        self.waiting.borrow_mut().insert(sid.clone());
        async move {
            let closed = match self.await_moment(&sid, waits_until.min(self.until)).await {
                Ok(contact) => self.close_now(&sid, &contact).await,
                Err(closed) => closed,
            };
            (sid, closed)
        }
    }

    /// Waits for a good moment to close the session, and for any at the deadline. The error is what has become of
    /// it instead.
    async fn await_moment(&self, sid: &[u8], waits_until: Instant) -> Result<Contact, Closed> {
        let hurries_at = (waits_until.max(Instant::now()) + QUIET_WITHIN).min(self.until);
        while self.waiting.borrow().contains(sid) {
            let now = Instant::now();
            let moment = match now {
                now if now < waits_until => Moment::Answered,
                now if now < hurries_at => Moment::Quiet,
                _ => Moment::Any,
            };
            let closing = self.session_table.begin_close(sid, moment, now);
            if matches!(closing, Closing::Busy) && now < self.until {
                sleep(BUSY_PAUSE).await;
                continue;
            }
            self.waiting.borrow_mut().remove(sid);
            match closing {
                Closing::Now(contact) => return Ok(contact),
                Closing::Never => return Err(Closed::ByItself),
                Closing::Busy => self.session_table.unschedule(sid),
            }
        }
        Err(Closed::NotYet)
    }

    async fn close_now(&self, sid: &[u8], contact: &Contact) -> Closed {
        let closed = if self.hangs.get() { Closed::Failed } else { self.tell(sid, contact).await };
        self.session_table.closed_there(sid);
        closed
    }

    /// Whether the session's client has said something lately, so that a moment right behind its next word is worth
    /// waiting for.
    pub(crate) fn talks(&self, sid: &[u8]) -> bool {
        self.session_table.has_talked_within(sid, TALKS_WITHIN, Instant::now())
    }

    async fn tell(&self, sid: &[u8], contact: &Contact) -> Closed {
        let mut telling = std::pin::pin!(self.post(sid, contact));
        let told = match timeout(SILENCE_MAX, &mut telling).await {
            Ok(told) => told,
            Err(_) => {
                // The client need not wait for a node that is busy, or hangs. The node is told all the same.
                self.hangs.set(true);
                self.session_table.poll_is_overdue(sid);
                let timeout = self.until.saturating_duration_since(Instant::now());
                match tokio::time::timeout(timeout, telling).await {
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
        let mut connection = Connection::over(open(&self.node).await.map_err(NoAnswer::Wire)?);
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
        let plan = self.node.plan();
        match (plan.as_ref().and_then(|plan| plan.host.as_deref()), &address.host) {
            (Some(host), _) => out.extend_from_slice(host.as_bytes()),
            (None, Some(host)) => out.extend_from_slice(host),
            (None, None) => out.extend_from_slice(self.node.host().as_bytes()),
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
/// Who has said something within this time is taken to say something again within it.
pub(crate) const TALKS_WITHIN: Duration = Duration::from_millis(1500);
/// A client that says something all the time is not waited for longer.
const QUIET_WITHIN: Duration = Duration::from_millis(500);
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// A node that takes a close answers within milliseconds.
const SILENCE_MAX: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: usize = 4096;
const REQUEST_BYTES: usize = 512;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use config::roster::{NodeAddress, RosterNode};
    use tokio::task::{JoinHandle, LocalSet, spawn_local};
    use tokio::time::advance;

    use super::*;
    use crate::upstream::node::counted::InSession;
    use crate::upstream::sessions::{AddressedAs, Entering, Hashed, Use};

    /// A session with a client, on a node at which nobody listens: what counts here is when it is closed.
    struct Talk {
        session_table: Arc<SessionTable>,
        node: Arc<Node>,
    }

    impl Talk {
        async fn begin() -> Self {
            let entry = RosterNode {
                written: "a".into(),
                address: NodeAddress::Unix("/nowhere".into()),
                tls_name: None,
                instance: None,
                weight: 1,
                backup: false,
                bounds: config::plan::NodeBounds::default(),
            };
            let (session_table, node) =
                (Arc::new(SessionTable::new(10)), Arc::new(Node::new("nodes", &entry)));
            let at = AddressedAs { path: b"/", host: None, revision: Revision::V4, jsonp: false };
            let contact = Contact {
                address: session_table.addressed(at),
                client: IpAddr::V4(Ipv4Addr::LOCALHOST),
                is_https: false,
                is_pinned: false,
            };
            session_table.open(
                Entering { sid: b"sid", silence: None, contact },
                InSession::new(node.clone()),
                Instant::now(),
            );
            let talk = Self { session_table, node };
            talk.starts(Use::Poll);
            advance(Duration::from_secs(5)).await;
            talk
        }

        fn sid(&self) -> Hashed<'static> {
            self.session_table.hashed(b"sid")
        }

        fn starts(&self, how: Use) {
            self.session_table.begin(self.sid(), how, None, Instant::now());
        }

        fn ends(&self, how: Use) {
            self.session_table.end(self.sid(), how, Instant::now());
        }

        /// The client says something and is answered.
        fn says(&self) {
            self.starts(Use::Post);
            self.ends(Use::Post);
            self.ends(Use::Poll);
            self.starts(Use::Poll);
        }

        fn talks(&self) -> bool {
            self.session_table.has_talked_within(b"sid", TALKS_WITHIN, Instant::now())
        }

        /// Its turn is in `ms`.
        fn has_turn_in(&self, ms: u64) -> JoinHandle<(Box<[u8]>, Closed)> {
            assert_eq!(self.session_table.schedule_polling(&self.node).flatten().count(), 1);
            let now = Instant::now();
            let closer =
                Closer::new(self.node.clone(), self.session_table.clone(), now + Duration::from_secs(60));
            spawn_local(closer.close(b"sid"[..].into(), now + Duration::from_millis(ms)))
        }

        /// After how many milliseconds it is closed.
        async fn is_closed_after(&self) -> u64 {
            for ms in 0..5000 {
                tokio::task::yield_now().await;
                if self.session_table.is_leaving(b"sid") {
                    return ms;
                }
                advance(Duration::from_millis(1)).await;
            }
            panic!("it is not closed")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_something_each_second_is_closed_behind_the_answer() {
        let test = async |uptime| {
            let talk = Talk::begin().await;
            advance(uptime).await;
            talk.says();
            assert!(talk.talks(), "after {uptime:?}");
            advance(Duration::from_millis(980)).await;
            let closing = talk.has_turn_in(1000);
            for _ in 0..20 {
                tokio::task::yield_now().await;
                assert!(!talk.session_table.is_leaving(b"sid"), "it will say something any time now");
                advance(Duration::from_millis(1)).await;
            }
            talk.says();
            let after = talk.is_closed_after().await;
            assert!((100..=150).contains(&after), "{after} ms after the answer");
            closing.await.unwrap();
        };
        // Its milliseconds do not fit into 32 bits any more in the second.
        for uptime in [Duration::ZERO, Duration::from_hours(24 * 60)] {
            LocalSet::new().run_until(test(uptime)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_falls_silent_is_closed_at_its_turn() {
        let test = async {
            let talk = Talk::begin().await;
            talk.says();
            advance(Duration::from_millis(500)).await;
            let closing = talk.has_turn_in(1000);
            let after = talk.is_closed_after().await;
            assert!((1000..=1050).contains(&after), "{after} ms");
            closing.await.unwrap();
        };
        LocalSet::new().run_until(test).await;
    }
}
