//! Plain requests, steadily: GET and HEAD that a node takes a moment for, so that some are always under way, and
//! handshakes whose sessions are closed politely at once. Whatever fails meanwhile is kept. For nodes in Node.js.

use std::iter::repeat_n;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::PATIENCE;
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
    /// How many handshakes opened a session.
    pub handshakes: usize,
    /// Everything else that happened.
    pub failures: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Head,
    Handshake,
}

impl Load {
    /// Starts to load `address`.
    #[must_use]
    pub fn start(address: SocketAddr) -> Self {
        let kinds = [Kind::Get, Kind::Get, Kind::Get, Kind::Head, Kind::Head, Kind::Handshake];
        Self::of(address, SLOW, kinds)
    }

    /// Starts to load `address` with so many loops of each kind, and no handshakes: for what keeps no sessions.
    #[must_use]
    pub fn plain(address: SocketAddr, gets: usize, heads: usize) -> Self {
        Self::of(address, SLOW, repeat_n(Kind::Get, gets).chain(repeat_n(Kind::Head, heads)))
    }

    /// Starts to load `address` with plain requests for `target`, which any node may have.
    #[must_use]
    pub fn asking(address: SocketAddr, target: &'static str) -> Self {
        Self::of(address, target, [Kind::Get, Kind::Get, Kind::Get, Kind::Head, Kind::Head])
    }

    fn of(address: SocketAddr, target: &'static str, kinds: impl IntoIterator<Item = Kind>) -> Self {
        let seen = watch::Sender::new(LoadReport::default());
        let mut tasks = JoinSet::new();
        let kinds: Vec<_> = kinds.into_iter().collect();
        for &kind in &kinds {
            tasks.spawn(ask_on_and_on(address, target, kind, seen.clone()));
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
        match timeout(PATIENCE, seen.wait_for(enough)).await {
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
            Kind::Handshake => self.handshakes,
        }
    }
}

async fn ask_on_and_on(
    address: SocketAddr,
    target: &'static str,
    kind: Kind,
    seen: watch::Sender<LoadReport>,
) {
    // A load that takes every core it can get would starve what it is a background for.
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut kept = None;
    loop {
        pace.tick().await;
        let connected = match kept.take() {
            Some(connection) => Ok(connection),
            None => RawConnection::try_connect(address).await,
        };
        let mut connection = match connected {
            Ok(connection) => connection,
            Err(error) => {
                let failure = format!("{kind:?}: no connection: {error}");
                seen.send_modify(|seen| seen.failures.push(failure));
                continue;
            }
        };
        let answer = connection.try_ask(&request(address, target, kind)).await;
        let failure = match &answer {
            Ok(answer) if answer.status() == 200 => None,
            Ok(answer) => Some(format!("{kind:?}: {} {}", answer.start, answer.text())),
            Err(error) => Some(format!("{kind:?}: {error}")),
        };
        seen.send_modify(|seen| match (failure, kind) {
            (Some(failure), _) => seen.failures.push(failure),
            (None, Kind::Get) => seen.gets += 1,
            (None, Kind::Head) => seen.heads += 1,
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

fn request(address: SocketAddr, target: &str, kind: Kind) -> String {
    let (method, target) = match kind {
        Kind::Get => ("GET", target),
        Kind::Head => ("HEAD", target),
        Kind::Handshake => ("GET", "/socket.io/?EIO=4&transport=polling"),
    };
    format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\n\r\n")
}

/// What a node in Node.js takes a moment for.
const SLOW: &str = "/slow?ms=20";
/// Between two requests of one kind.
const PACE: Duration = Duration::from_millis(4);
