//! A session as its client sees it: whether it goes on, is told to go, or is lost.

use testkit::TIMEOUT;
use testkit::engineio::PollingSession;
use testkit::message::Message;
use testkit::raw::RawConnection;
use tokio::time::timeout;

use crate::stand::Tunnel;

pub(super) enum Session {
    Tunnel(Tunnel),
    /// Polls when it is asked to.
    Polls(PollingSession),
    /// A poll of it is pending.
    Waits(PollingSession, RawConnection),
}

impl Session {
    pub(super) fn kind(&self) -> String {
        match self {
            Self::Tunnel(_) => "a WebSocket".to_owned(),
            Self::Polls(session) => format!("a session that polls, {}", session.sid),
            Self::Waits(session, _) => format!("a session that waits, {}", session.sid),
        }
    }

    pub(super) async fn goes_on(&mut self, node: &str) {
        match self {
            Self::Tunnel(tunnel) => assert!(tunnel.is_quiet(), "a WebSocket on {node} is told something"),
            Self::Polls(session) => {
                let answer = session.poll().await;
                assert_eq!(
                    (answer.status(), answer.header("x-node")),
                    (200, Some(node)),
                    "{}",
                    answer.text()
                );
            }
            Self::Waits(session, poll) => {
                assert!(poll.is_quiet(), "a poll on {node} is answered: {}", session.sid);
            }
        }
    }

    /// It ends by a Close, or by a close packet in this poll or in the next.
    pub(super) async fn until_told(self) {
        match self {
            Self::Tunnel(mut tunnel) => tunnel.is_told().await,
            Self::Polls(session) => is_closed(&session, None).await,
            Self::Waits(session, mut poll) => {
                let answer = poll.read_message().await;
                is_closed(&session, Some(answer)).await;
            }
        }
    }

    /// Its node is dead: it ends, and its client hears that nobody knows it.
    pub(super) async fn until_lost(self) {
        match self {
            Self::Tunnel(tunnel) => tunnel.until_over().await,
            Self::Polls(session) => {
                let answer = session.poll().await;
                assert_eq!(answer.status(), 400, "{}: {}", session.sid, answer.text());
            }
            Self::Waits(session, mut poll) => {
                let answer = poll.read_message().await;
                assert!(matches!(answer.status(), 400 | 502), "{}: {}", answer.start, answer.text());
                assert_eq!(session.poll().await.status(), 400);
            }
        }
    }
}

/// A session that polls is told of its end by a close packet, in the answer to the poll that waits or to a later one.
async fn is_closed(session: &PollingSession, pending: Option<Message>) {
    let mut last = pending;
    let polling = async {
        loop {
            let answer = match last.take() {
                Some(answer) => answer,
                None => session.poll().await,
            };
            assert_eq!(answer.status(), 200, "{}: {}", session.sid, answer.text());
            if has_close(&answer.text()) {
                return;
            }
        }
    };
    timeout(TIMEOUT, polling).await.unwrap_or_else(|_| panic!("{} is not told", session.sid));
}

/// Whether a payload of any form has a close packet in it.
fn has_close(payload: &str) -> bool {
    let payload = payload.split_once("](\"").map_or(payload, |(_, script)| script.trim_end_matches("\");"));
    payload.contains("1:1")
        || payload.split('\x1e').chain(payload.split("\\u001e")).any(|packet| packet == "1")
}

pub(super) fn close_of(session: &PollingSession) -> &'static str {
    if session.handshake.text().contains(":0{") { "1:1" } else { "1" }
}
