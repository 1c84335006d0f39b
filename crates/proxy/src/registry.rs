//! The Engine.IO sessions that this tidelock has met. Tags route without it; it is what counting, idle timeouts and
//! draining need, and what routes sessions without a tag. Shared by the workers, in shards.

use std::collections::HashMap;
use std::collections::hash_map::Entry as MapEntry;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::node::{InSession, Node};

/// Sessions by the id that their node gave them.
#[derive(Debug)]
pub(crate) struct Registry {
    shards: [Mutex<HashMap<Box<[u8]>, Session>>; SHARDS],
    hasher: RandomState,
    count: AtomicUsize,
    max: usize,
}

/// One session.
#[derive(Debug)]
struct Session {
    in_session: InSession,
    /// `pingInterval + pingTimeout`, once it is known.
    silence: Option<Duration>,
    last_seen: Instant,
    /// Polling requests under way.
    requests: u32,
    tunnels: u32,
}

/// How a session is being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Request,
    Tunnel,
}

impl Registry {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            max,
        }
    }

    /// A handshake's answer has told of a session. Beyond the bound it is served but not remembered.
    pub(crate) fn open(&self, sid: &[u8], in_session: InSession, silence: Duration, now: Instant) {
        let session = Session { in_session, silence: Some(silence), last_seen: now, requests: 0, tunnels: 0 };
        if self.count.load(Relaxed) < self.max && self.shard(sid).insert(sid.into(), session).is_none() {
            self.count.fetch_add(1, Relaxed);
        }
    }

    /// The session's node, if the session is known.
    pub(crate) fn find(&self, sid: &[u8]) -> Option<Arc<Node>> {
        self.shard(sid).get(sid).map(|session| session.in_session.node().clone())
    }

    /// A request or a tunnel of a session begins on `node`. A session that was not known, because another tidelock
    /// opened it or this one was restarted, is from now on. Returns its `pingInterval + pingTimeout`, once known.
    pub(crate) fn begin(&self, sid: &[u8], node: &Arc<Node>, how: Use, now: Instant) -> Option<Duration> {
        let mut shard = self.shard(sid);
        let session = match shard.entry(sid.into()) {
            MapEntry::Occupied(entry) => entry.into_mut(),
            MapEntry::Vacant(entry) => {
                let silence = node.silence_ms().map(Duration::from_millis);
                if self.count.load(Relaxed) >= self.max {
                    return silence;
                }
                self.count.fetch_add(1, Relaxed);
                let in_session = InSession::new(node.clone());
                entry.insert(Session { in_session, silence, last_seen: now, requests: 0, tunnels: 0 })
            }
        };
        session.last_seen = now;
        *session.uses(how) += 1;
        session.silence
    }

    /// A request or a tunnel has ended. A session ends with its tunnel, unless it goes on polling beside it: then
    /// the tunnel was a probe that failed.
    pub(crate) fn end(&self, sid: &[u8], how: Use, now: Instant) {
        let mut shard = self.shard(sid);
        let Some(session) = shard.get_mut(sid) else { return };
        session.last_seen = now;
        let uses = session.uses(how);
        *uses = uses.saturating_sub(1);
        if how == Use::Tunnel && session.requests == 0 && session.tunnels == 0 {
            self.remove(shard, sid);
        }
    }

    /// The session is known to be over.
    pub(crate) fn close(&self, sid: &[u8]) {
        let shard = self.shard(sid);
        self.remove(shard, sid);
    }

    /// Forgets the sessions that have been silent for longer than a living one can be. Called now and then, off the
    /// workers.
    pub(crate) fn sweep(&self, now: Instant) {
        for shard in &self.shards {
            let mut sessions = lock(shard);
            let before = sessions.len();
            sessions.retain(|_, session| {
                let patience = session.silence.unwrap_or(SILENCE_DEFAULT) + SLACK;
                session.requests > 0
                    || session.tunnels > 0
                    || now.duration_since(session.last_seen) < patience
            });
            self.count.fetch_sub(before - sessions.len(), Relaxed);
        }
    }

    fn remove(&self, mut shard: MutexGuard<'_, HashMap<Box<[u8]>, Session>>, sid: &[u8]) {
        if shard.remove(sid).is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
    }

    fn shard(&self, sid: &[u8]) -> MutexGuard<'_, HashMap<Box<[u8]>, Session>> {
        lock(&self.shards[self.hasher.hash_one(sid) as usize % SHARDS])
    }
}

impl Session {
    fn uses(&mut self, how: Use) -> &mut u32 {
        match how {
            Use::Request => &mut self.requests,
            Use::Tunnel => &mut self.tunnels,
        }
    }
}

/// A panic in another worker's critical section ends one connection, not the registry.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request or a tunnel of a session, under way for as long as this lives.
#[derive(Debug)]
pub(crate) struct SessionUse {
    pub(crate) registry: Arc<Registry>,
    pub(crate) sid: Box<[u8]>,
    pub(crate) how: Use,
}

impl Drop for SessionUse {
    fn drop(&mut self) {
        self.registry.end(&self.sid, self.how, Instant::now());
    }
}

const SHARDS: usize = 32;
/// Engine.IO's own defaults, `25 s + 20 s`, for sessions whose handshake another tidelock saw.
const SILENCE_DEFAULT: Duration = Duration::from_secs(45);
/// The network's share of a silence.
const SLACK: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use config::roster::RosterNode;

    use super::*;

    fn node() -> Arc<Node> {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let roster = RosterNode { written: "a:1".into(), address, weight: 1, backup: false };
        Arc::new(Node::new("nodes", roster, wire::tag::Tagger::new(b"x").tag("nodes", "a:1", address)))
    }

    const SILENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_session_counts_from_its_handshake_until_it_falls_silent() {
        let (registry, node) = (Registry::new(10), node());
        registry.open(b"sid", InSession::new(node.clone()), SILENCE, Instant::now());
        assert_eq!(node.sessions(), 1);
        registry.begin(b"sid", &node, Use::Request, Instant::now());
        tokio::time::advance(SILENCE * 9).await;
        registry.sweep(Instant::now());
        assert_eq!(node.sessions(), 1, "a pending poll is no silence");
        registry.end(b"sid", Use::Request, Instant::now());
        tokio::time::advance(SILENCE).await;
        registry.sweep(Instant::now());
        assert_eq!(node.sessions(), 1, "the slack holds");
        tokio::time::advance(SLACK).await;
        registry.sweep(Instant::now());
        assert_eq!(node.sessions(), 0);
        assert!(registry.find(b"sid").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_session_and_its_tunnel_count_once_and_end_together() {
        let (registry, node) = (Registry::new(10), node());
        let now = Instant::now();
        registry.open(b"sid", InSession::new(node.clone()), SILENCE, now);
        registry.begin(b"sid", &node, Use::Tunnel, now);
        assert_eq!(node.sessions(), 1);
        registry.end(b"sid", Use::Tunnel, now);
        assert_eq!(node.sessions(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_leaves_a_polling_session() {
        let (registry, node) = (Registry::new(10), node());
        let now = Instant::now();
        registry.open(b"sid", InSession::new(node.clone()), SILENCE, now);
        registry.begin(b"sid", &node, Use::Request, now);
        registry.begin(b"sid", &node, Use::Tunnel, now);
        registry.end(b"sid", Use::Tunnel, now);
        assert!(registry.find(b"sid").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_bound_sessions_are_served_but_not_remembered() {
        let (registry, node) = (Registry::new(1), node());
        let now = Instant::now();
        registry.begin(b"one", &node, Use::Request, now);
        registry.begin(b"two", &node, Use::Request, now);
        assert_eq!(node.sessions(), 1);
        registry.close(b"one");
        registry.close(b"one");
        registry.begin(b"two", &node, Use::Request, now);
        assert!(registry.find(b"two").is_some());
    }
}
