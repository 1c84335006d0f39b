//! The Engine.IO sessions that this tidelock has met. Tags route without it; it is what counting, idle timeouts and
//! draining need, and what routes sessions without a tag. Shared by the workers, in shards.

use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use tokio::time::Instant;
use wire::engineio::Revision;

use crate::upstream::node::{InSession, Node};

/// Sessions by the id that their node gave them.
#[derive(Debug)]
pub(crate) struct Registry {
    /// A table by hash instead of a map: one hash finds the shard and the session in it.
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// What sessions count their time from.
    born: Instant,
    /// Which shards the next sweep begins with.
    next_swept: AtomicUsize,
    count: AtomicUsize,
    max: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    sessions: HashTable<Session>,
    /// The one that a session has learned last. Nearly all of them have the same.
    address: Option<Arc<Address>>,
}

/// One session. There may be a million, and sweeping looks at each, so that it is kept small.
#[derive(Debug)]
struct Session {
    sid: Box<[u8]>,
    node: Arc<Node>,
    /// Counts it on its node, until it is closed there.
    counted: Option<InSession>,
    last_seen_us: u64,
    /// When it was first met.
    since_us: u64,
    /// `pingInterval + pingTimeout`; 0 until it is known.
    silence_ms: u32,
    polls: u32,
    posts: u32,
    tunnels: u32,
    stage: Stage,
    /// How its requests are addressed, once one has come: what closing it politely needs.
    address: Option<Arc<Address>>,
}

/// How far a session is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    /// It has a slot in a drain.
    Scheduled,
    /// It is being closed on its node, or is closed there; its client will be told by its next poll.
    Leaving,
}

/// How a session's requests are addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) path: Box<[u8]>,
    pub(crate) host: Box<[u8]>,
    pub(crate) revision: Revision,
}

impl Address {
    fn is(&self, path: &[u8], host: &[u8], revision: Revision) -> bool {
        (&*self.path, &*self.host, self.revision) == (path, host, revision)
    }
}

/// How a session is being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Poll,
    Post,
    Tunnel,
}

/// What a request learns of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It goes on.
    Open {
        /// `pingInterval + pingTimeout`, once known.
        silence: Option<Duration>,
        /// Whether somebody should tell how its requests are addressed.
        wants_address: bool,
    },
    /// It is closed on its node. The client must be told, not the node.
    Leaving,
}

/// Whether a session can be closed politely at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Closing {
    /// It can, and from now on no request of it reaches the node.
    Now(Arc<Address>),
    /// A POST of its client is under way, and two at once would be an error.
    Busy,
    /// It is over, or a tunnel carries it.
    Never,
}

impl Registry {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            born: Instant::now(),
            next_swept: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
        }
    }

    /// A handshake's answer has told of a session. Beyond the bound it is served but not remembered.
    pub(crate) fn open(&self, sid: &[u8], in_session: InSession, silence: Duration, now: Instant) {
        if self.count.load(Relaxed) >= self.max.load(Relaxed) {
            return;
        }
        let session = Session::new(sid, in_session, Some(silence), self.micros(now));
        let hash = self.hash(sid);
        match self.shard(hash).sessions.entry(hash, is(sid), |known| self.hash(&known.sid)) {
            Entry::Occupied(mut entry) => *entry.get_mut() = session,
            Entry::Vacant(entry) => {
                entry.insert(session);
                self.count.fetch_add(1, Relaxed);
            }
        }
    }

    /// The session's node, if the session is known.
    pub(crate) fn find(&self, sid: &[u8]) -> Option<Arc<Node>> {
        self.with(sid, |session| session.node.clone())
    }

    /// A request or a tunnel of a session begins on `node`. A session that was not known, because another tidelock
    /// opened it or this one was restarted, is from now on.
    pub(crate) fn begin(&self, sid: &[u8], node: &Arc<Node>, how: Use, now: Instant) -> Begun {
        let now_us = self.micros(now);
        let hash = self.hash(sid);
        let mut shard = self.shard(hash);
        let session = match shard.sessions.entry(hash, is(sid), |known| self.hash(&known.sid)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => {
                let silence = node.silence_ms().map(Duration::from_millis);
                if self.count.load(Relaxed) >= self.max.load(Relaxed) {
                    return Begun::Open { silence, wants_address: false };
                }
                self.count.fetch_add(1, Relaxed);
                entry.insert(Session::new(sid, InSession::new(node.clone()), silence, now_us)).into_mut()
            }
        };
        session.last_seen_us = now_us;
        *session.uses(how) += 1;
        match session.stage {
            Stage::Open | Stage::Scheduled => {
                Begun::Open { silence: session.silence(), wants_address: session.address.is_none() }
            }
            Stage::Leaving => Begun::Leaving,
        }
    }

    /// How the session's requests are addressed; told once.
    pub(crate) fn learn_address(&self, sid: &[u8], path: &[u8], host: &[u8], revision: Revision) {
        let hash = self.hash(sid);
        let Shard { sessions, address: latest } = &mut *self.shard(hash);
        let Some(session) = sessions.find_mut(hash, is(sid)) else { return };
        if session.address.is_none() {
            let known = latest.take().filter(|known| known.is(path, host, revision));
            let told =
                known.unwrap_or_else(|| Arc::new(Address { path: path.into(), host: host.into(), revision }));
            *latest = Some(told.clone());
            session.address = Some(told);
        }
    }

    /// A request or a tunnel has ended. A session ends with its tunnel, unless it goes on polling beside it: then
    /// the tunnel was a probe that failed.
    pub(crate) fn end(&self, sid: &[u8], how: Use, now: Instant) {
        let hash = self.hash(sid);
        let mut shard = self.shard(hash);
        let Ok(mut entry) = shard.sessions.find_entry(hash, is(sid)) else { return };
        let session = entry.get_mut();
        session.last_seen_us = self.micros(now);
        let uses = session.uses(how);
        *uses = uses.saturating_sub(1);
        if how == Use::Tunnel && session.is_unused() {
            self.count.fetch_sub(1, Relaxed);
            entry.remove();
        }
    }

    /// Sessions on `node` that poll and have no slot yet, which they are taken to get now.
    pub(crate) fn schedule_polling(&self, node: &Arc<Node>) -> Vec<Box<[u8]>> {
        let mut scheduled = Vec::new();
        for shard in &self.shards {
            for session in &mut lock(shard).sessions {
                if session.polls_openly_on(node) {
                    session.stage = Stage::Scheduled;
                    scheduled.push(session.sid.clone());
                }
            }
        }
        scheduled
    }

    /// The same for so many of them at most, those that were met first.
    pub(crate) fn schedule_oldest_polling(&self, node: &Arc<Node>, count: usize) -> Vec<Box<[u8]>> {
        if count == 0 {
            return Vec::new();
        }
        // The youngest of those that were found is on top, and makes room for an older one.
        let mut oldest = BinaryHeap::with_capacity(count + 1);
        for shard in &self.shards {
            for session in &lock(shard).sessions {
                let is_older = oldest.len() < count
                    || oldest
                        .peek()
                        .is_some_and(|(since_us, _): &(u64, Box<[u8]>)| session.since_us < *since_us);
                if is_older && session.polls_openly_on(node) {
                    oldest.push((session.since_us, session.sid.clone()));
                    if oldest.len() > count {
                        oldest.pop();
                    }
                }
            }
        }
        let mut scheduled = Vec::with_capacity(oldest.len());
        for (_, sid) in oldest.into_sorted_vec() {
            // Much can have happened to it meanwhile.
            let is_scheduled = self.with(&sid, |session| {
                let polls = session.polls_openly_on(node);
                if polls {
                    session.stage = Stage::Scheduled;
                }
                polls
            });
            if is_scheduled == Some(true) {
                scheduled.push(sid);
            }
        }
        scheduled
    }

    /// The drain was called off for this session.
    pub(crate) fn unschedule(&self, sid: &[u8]) {
        self.with(sid, |session| {
            if session.stage == Stage::Scheduled {
                session.stage = Stage::Open;
            }
        });
    }

    /// Begins to close a session on its node.
    pub(crate) fn begin_close(&self, sid: &[u8]) -> Closing {
        self.with(sid, Session::begin_close).unwrap_or(Closing::Never)
    }

    /// Closed on its node, where it counts no more; remembered here until its client has been told.
    pub(crate) fn closed_there(&self, sid: &[u8]) {
        self.with(sid, |session| session.counted = None);
    }

    /// Whether the session is being closed, so that its polls end it.
    pub(crate) fn is_leaving(&self, sid: &[u8]) -> bool {
        self.with(sid, |session| session.stage == Stage::Leaving) == Some(true)
    }

    /// How many sessions more can be remembered is up to the plan, which can change.
    pub(crate) fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// The session is known to be over.
    pub(crate) fn close(&self, sid: &[u8]) {
        let hash = self.hash(sid);
        if let Ok(entry) = self.shard(hash).sessions.find_entry(hash, is(sid)) {
            self.count.fetch_sub(1, Relaxed);
            entry.remove();
        }
    }

    /// Forgets every session on `node`, whose process is gone, and they with it.
    pub(crate) fn forget(&self, node: &Arc<Node>) {
        for shard in &self.shards {
            self.retain(shard, |session| !Arc::ptr_eq(&session.node, node));
        }
    }

    /// Forgets the sessions that have been silent for longer than a living one can be. Called now and then, off the
    /// workers. A call looks at a part of them, and the next one at another part: looking at all of a million each time
    /// would take longer than all that they ask for, and would leave the caches to them.
    pub(crate) fn sweep(&self, now: Instant) {
        let now_us = self.micros(now);
        let first = self.next_swept.fetch_add(SWEPT_AT_ONCE, Relaxed);
        for index in first..first + SWEPT_AT_ONCE {
            self.retain(&self.shards[index % SHARDS], |session| !session.is_over(now_us));
        }
    }

    fn retain(&self, shard: &Mutex<Shard>, keeps: impl Fn(&Session) -> bool) {
        let sessions = &mut lock(shard).sessions;
        let before = sessions.len();
        sessions.retain(|session| keeps(session));
        self.count.fetch_sub(before - sessions.len(), Relaxed);
    }

    /// What `look` makes of a session, if it is known.
    fn with<R>(&self, sid: &[u8], look: impl FnOnce(&mut Session) -> R) -> Option<R> {
        let hash = self.hash(sid);
        self.shard(hash).sessions.find_mut(hash, is(sid)).map(look)
    }

    fn hash(&self, sid: &[u8]) -> u64 {
        self.hasher.hash_one(sid)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The table finds its places by the lowest bits and the highest ones.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_micros() as u64
    }
}

impl Session {
    fn new(sid: &[u8], in_session: InSession, silence: Option<Duration>, now_us: u64) -> Self {
        let silence_ms = silence.map_or(0, |silence| u32::try_from(silence.as_millis()).unwrap_or(u32::MAX));
        Self {
            sid: sid.into(),
            node: in_session.node().clone(),
            counted: Some(in_session),
            silence_ms,
            last_seen_us: now_us,
            since_us: now_us,
            polls: 0,
            posts: 0,
            tunnels: 0,
            stage: Stage::Open,
            address: None,
        }
    }

    fn silence(&self) -> Option<Duration> {
        (self.silence_ms > 0).then(|| Duration::from_millis(u64::from(self.silence_ms)))
    }

    /// Whether it has been silent for longer than a living one can be.
    fn is_over(&self, now_us: u64) -> bool {
        let silence_ms = if self.silence_ms > 0 { self.silence_ms } else { SILENCE_DEFAULT_MS };
        let patience_us = (u64::from(silence_ms) + SLACK_MS) * 1000;
        self.is_unused() && now_us >= self.last_seen_us + patience_us
    }

    fn begin_close(&mut self) -> Closing {
        if self.tunnels > 0 {
            // Once it has failed, if it was a probe, the session is scheduled again.
            self.stage = Stage::Open;
            return Closing::Never;
        }
        match &self.address {
            Some(_) if self.posts > 0 => Closing::Busy,
            Some(address) if self.stage == Stage::Scheduled => {
                self.stage = Stage::Leaving;
                Closing::Now(address.clone())
            }
            Some(_) | None => Closing::Never,
        }
    }

    fn uses(&mut self, how: Use) -> &mut u32 {
        match how {
            Use::Poll => &mut self.polls,
            Use::Post => &mut self.posts,
            Use::Tunnel => &mut self.tunnels,
        }
    }

    /// Whether a drain could close it there, and has not been asked to.
    fn polls_openly_on(&self, node: &Arc<Node>) -> bool {
        let polls_here = Arc::ptr_eq(&self.node, node) && self.tunnels == 0;
        polls_here && self.stage == Stage::Open && self.address.is_some()
    }

    fn is_unused(&self) -> bool {
        self.polls == 0 && self.posts == 0 && self.tunnels == 0
    }
}

/// Whether a session is the one with this id.
fn is(sid: &[u8]) -> impl Fn(&Session) -> bool {
    move |session| *session.sid == *sid
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

/// Many, so that a sweep of one holds up few sessions, and not for long.
const SHARDS: usize = 128;
/// So that each shard is swept by one call in four.
const SWEPT_AT_ONCE: usize = SHARDS / 4;
/// Engine.IO's own defaults, `25 s + 20 s`, for sessions whose handshake another tidelock saw.
const SILENCE_DEFAULT_MS: u32 = 45_000;
/// The network's share of a silence.
const SLACK_MS: u64 = 5_000;

#[cfg(test)]
mod tests;
