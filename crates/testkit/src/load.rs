//! Plain requests, steadily: GET, HEAD and POST that a node takes a moment for, so that some are always under way, and
//! handshakes whose sessions are closed politely at once. Whatever fails meanwhile is kept. For nodes in Node.js.

use std::fmt;
use std::iter::repeat_n;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::TIMEOUT;
use crate::engineio::sid;
use crate::message::Message;
use crate::raw::RawConnection;

/// A running load. Dropping it ends it.
#[derive(Debug)]
pub struct Load {
    kinds: Vec<Kind>,
    seen: watch::Sender<LoadReport>,
    tasks: JoinSet<()>,
}

/// What a [`Load`] has seen.
#[derive(Clone, Debug, Default)]
pub struct LoadReport {
    /// How many GETs were answered 200.
    pub gets: usize,
    /// How many HEADs were.
    pub heads: usize,
    /// How many POSTs were.
    pub posts: usize,
    /// How many handshakes opened a session.
    pub handshakes: usize,
    /// Everything else that happened.
    pub failures: Vec<Failure>,
}

/// A request that was not answered as wanted.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What it was.
    pub kind: Kind,
    /// What its target ends with as `n=NUMBER`, where the load numbers its requests: a log tells more of it.
    pub number: u64,
    /// When it began, before there was a connection.
    pub begun: Instant,
    /// When it had failed.
    pub ended: Instant,
    /// The status of its answer, if there was one.
    pub status: Option<u16>,
    /// Its answer, or why there was none.
    pub why: String,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Over a connection that is kept.
    Get,
    /// Over a connection of its own.
    Head,
    /// With a body, over a connection that is kept. No proxy may send it twice.
    Post,
    /// The begin of a session, which is closed at once.
    Handshake,
}

/// What a loop asks, again and again.
#[derive(Clone, Debug)]
struct Asking {
    address: SocketAddr,
    target: &'static str,
    kind: Kind,
    /// The numbers of the load, if it says them.
    numbers: Option<Arc<AtomicU64>>,
}

impl Load {
    /// Starts to load `address`.
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        let kinds = [Kind::Get, Kind::Get, Kind::Get, Kind::Head, Kind::Head, Kind::Handshake];
        Self::of(address, SLOW, kinds, None)
    }

    /// Starts to load `address` with POSTs, too, and with requests that say their numbers.
    #[must_use]
    pub fn numbered(address: SocketAddr) -> Self {
        let gets = repeat_n(Kind::Get, 3).chain(repeat_n(Kind::Head, 2));
        let kinds = gets.chain([Kind::Post, Kind::Post, Kind::Handshake]);
        Self::of(address, SLOW, kinds, Some(Arc::default()))
    }

    /// Starts to load `address` with so many loops of each kind, and no handshakes: for what keeps no sessions.
    #[must_use]
    pub fn plain(address: SocketAddr, gets: usize, heads: usize) -> Self {
        Self::of(address, SLOW, repeat_n(Kind::Get, gets).chain(repeat_n(Kind::Head, heads)), None)
    }

    /// Starts to load `address` with plain requests for `target`, which any node may have.
    #[must_use]
    pub fn asking(address: SocketAddr, target: &'static str) -> Self {
        Self::of(address, target, [Kind::Get, Kind::Get, Kind::Get, Kind::Head, Kind::Head], None)
    }

    fn of(
        address: SocketAddr,
        target: &'static str,
        kinds: impl IntoIterator<Item = Kind>,
        numbers: Option<Arc<AtomicU64>>,
    ) -> Self {
        let seen = watch::Sender::new(LoadReport::default());
        let mut tasks = JoinSet::new();
        let kinds: Vec<_> = kinds.into_iter().collect();
        for &kind in &kinds {
            let asking = Asking { address, target, kind, numbers: numbers.clone() };
            tasks.spawn(ask_on_and_on(asking, seen.clone()));
        }
        Self { kinds, seen, tasks }
    }

    /// Waits until `count` more requests of each kind are answered, or one has failed.
    pub async fn until_answered(&self, count: usize) {
        let mut seen = self.seen.subscribe();
        let before = seen.borrow().clone();
        let enough = |now: &LoadReport| {
            let answered = |&kind: &Kind| now.answered(kind) >= before.answered(kind) + count;
            !now.failures.is_empty() || self.kinds.iter().all(answered)
        };
        match timeout(TIMEOUT, seen.wait_for(enough)).await {
            Ok(_) => {}
            Err(_) => panic!("the load stands still: {:?}", self.seen.borrow()),
        }
    }

    /// Ends the load and says what it has seen.
    pub async fn stop(mut self) -> LoadReport {
        self.tasks.shutdown().await;
        self.seen.borrow().clone()
    }
}

impl LoadReport {
    fn answered(&self, kind: Kind) -> usize {
        match kind {
            Kind::Get => self.gets,
            Kind::Head => self.heads,
            Kind::Post => self.posts,
            Kind::Handshake => self.handshakes,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.kind, self.why)
    }
}

/// A test that wants none compares with an empty list of texts.
impl PartialEq<&str> for Failure {
    fn eq(&self, text: &&str) -> bool {
        self.why == *text
    }
}

async fn ask_on_and_on(asking: Asking, seen: watch::Sender<LoadReport>) {
    let Asking { address, kind, .. } = asking;
    // A load that takes every core it can get would starve what it is a background for.
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    loop {
        pace.tick().await;
        let (number, request) = asking.next();
        let begun = Instant::now();
        let failed = |status, why| Failure { kind, number, begun, ended: Instant::now(), status, why };
        let connected = match kept.take() {
            Some(connection) => Ok(connection),
            None => RawConnection::try_connect(address).await,
        };
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                let failure = failed(None, format!("no connection: {error}"));
                seen.send_modify(|seen| seen.failures.push(failure));
                continue;
            }
        };
        let answer = connection.try_ask(&request).await;
        let failure = match &answer {
            Ok(answer) if answer.status() == 200 => None,
            Ok(answer) => Some(failed(Some(answer.status()), format!("{} {}", answer.start, answer.text()))),
            Err(error) => Some(failed(None, error.clone())),
        };
        seen.send_modify(|seen| match (failure, kind) {
            (Some(failure), _) => seen.failures.push(failure),
            (None, Kind::Get) => seen.gets += 1,
            (None, Kind::Head) => seen.heads += 1,
            (None, Kind::Post) => seen.posts += 1,
            (None, Kind::Handshake) => seen.handshakes += 1,
        });
        let Ok(answer) = answer else { continue };
        if kind == Kind::Handshake {
            close_session(address, &answer).await;
        }
        // HEAD takes a new connection each time, the others keep theirs: both ways must be open.
        if kind != Kind::Head && answer.header("connection") != Some("close") {
            kept = Some(connection);
        }
    }
}

impl Asking {
    /// The next request, and its number.
    fn next(&self) -> (u64, String) {
        let Self { address, target, kind, numbers } = self;
        let target = if *kind == Kind::Handshake { HANDSHAKE } else { target };
        let (number, numbered) = match numbers {
            None => (0, String::new()),
            Some(numbers) => {
                let number = numbers.fetch_add(1, Relaxed);
                (number, format!("&n={number}"))
            }
        };
        let (method, body) = match kind {
            Kind::Get | Kind::Handshake => ("GET", ""),
            Kind::Head => ("HEAD", ""),
            Kind::Post => ("POST", "Content-Length: 10\r\n\r\n0123456789"),
        };
        let end = if body.is_empty() { "\r\n" } else { body };
        (number, format!("{method} {target}{numbered} HTTP/1.1\r\nHost: {address}\r\n{end}"))
    }
}

/// The session's node may be gone by now; nobody minds.
async fn close_session(address: SocketAddr, handshake: &Message) {
    let Some(sid) = sid(&handshake.text()) else { return };
    let Ok(mut connection) = RawConnection::try_connect(address).await else { return };
    let request = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nContent-Length: 1\r\n\r\n1"
    );
    let _ = connection.try_ask(&request).await;
}

/// What a node in Node.js takes a moment for.
const SLOW: &str = "/slow?ms=20";
const HANDSHAKE: &str = "/socket.io/?EIO=4&transport=polling";
/// Between two requests of one kind.
const PACE: Duration = Duration::from_millis(4);
