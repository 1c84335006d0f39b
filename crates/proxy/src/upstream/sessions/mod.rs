//! The Engine.IO sessions that this tidelock has met. Tags route without it; it is what counting, idle timeouts and
//! draining need, and what routes sessions without a tag. Shared by the workers, in shards.
//!
//! A session comes in by the answer of its node: to its handshake, or, where another tidelock saw that, to a request with
//! a true tag. What a client says alone enters nothing.

mod address;
mod session;
mod shard;

use std::collections::BinaryHeap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

pub(crate) use self::address::AddressedAs;
use self::address::Addresses;
pub(crate) use self::session::{Begun, Closing, Contact, Moment, Use};
use self::session::{Session, Stage};
use self::shard::Shard;
use crate::upstream::node::Node;
use crate::upstream::node::counted::InSession;

/// Sessions by the id that their node gave them.
#[derive(Debug)]
pub(crate) struct SessionTable {
    shards: [Mutex<Shard>; SHARDS],
    addresses: Addresses,
    hasher: RandomState,
    /// What sessions count their time from.
    born: Instant,
    /// Which shards the next sweep begins with.
    next_swept: AtomicUsize,
    count: AtomicUsize,
    max: AtomicUsize,
    /// Who hears of each session that comes in, with the name of the upstream: the tidelock that has taken over.
    successor: OnceLock<(String, mpsc::Sender<(String, Passed)>)>,
}

/// A session's id and its hash, which takes longer than all else that is done to find it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hashed<'s> {
    pub(crate) sid: &'s [u8],
    pub(crate) hash: u64,
}

/// What is known of a session that comes in.
#[derive(Debug)]
pub(crate) struct Entering<'a> {
    pub(crate) sid: &'a [u8],
    /// What its node said of its pings.
    pub(crate) silence: Option<Duration>,
    pub(crate) contact: Contact,
}

/// A session that polls, as another tidelock has to know it.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) sid: Box<[u8]>,
    pub(crate) node: Arc<Node>,
    pub(crate) silence: Option<Duration>,
    pub(crate) contact: Contact,
}

impl SessionTable {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            addresses: Addresses::default(),
            hasher: RandomState::new(),
            born: Instant::now(),
            next_swept: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            successor: OnceLock::new(),
        }
    }

    /// Tells of each session that comes in from now on, as one of `upstream`.
    pub(crate) fn tell_of_newcomers(&self, upstream: &str, tell: mpsc::Sender<(String, Passed)>) {
        // Where an upgrade has failed and another is tried, the first to ask is told still, or is gone.
        let _ = self.successor.set((upstream.to_owned(), tell));
    }

    /// How the requests of a session are addressed, for [`Contact::address`]. Sessions that are addressed alike
    /// share it.
    pub(crate) fn addressed(&self, address: AddressedAs<'_>) -> Option<Arc<address::Address>> {
        self.addresses.intern(address)
    }

    /// A handshake's answer has told of a session.
    pub(crate) fn open(&self, entering: Entering<'_>, in_session: InSession, now: Instant) {
        if let Some(address) = &entering.contact.address {
            self.addresses.prove(&address.path);
        }
        self.insert(entering, in_session, now);
    }

    /// The sessions that poll, for another tidelock to go on with: what a tunnel carries ends with the tunnel.
    pub(crate) fn polling(&self) -> Vec<Passed> {
        let passed = |session: &Session| Passed {
            sid: session.sid.clone(),
            node: session.node.clone(),
            silence: session.silence(),
            contact: session.contact.clone(),
        };
        let polls = |session: &Session| session.tunnels == 0 && session.stage != Stage::Leaving;
        let of = |shard: &Mutex<Shard>| {
            let shard = lock(shard);
            let places = shard.places(polls);
            places.into_iter().map(|place| passed(shard.at(place))).collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// The node of a session that was not known has answered it: another tidelock opened it, or this one was restarted. A
    /// use of it is under way.
    pub(crate) fn enter(&self, entering: Entering<'_>, node: &Arc<Node>, how: Use, now: Instant) {
        let (sid, now_us) = (entering.sid, self.micros(now));
        if self.with(sid, |session| session.begin(how, now_us)).is_none() {
            self.insert(entering, InSession::new(node.clone()), now);
            self.with(sid, |session| session.begin(how, now_us));
        }
    }

    fn insert(&self, entering: Entering<'_>, in_session: InSession, now: Instant) {
        let Entering { sid, silence, contact } = entering;
        let node = in_session.node().clone();
        if let Some((upstream, tell)) = self.successor.get() {
            let (sid, contact) = (sid.into(), contact.clone());
            // One that is not told of begins anew, if only this table would know its node.
            let _ = tell.try_send((upstream.clone(), Passed { sid, node: node.clone(), silence, contact }));
        }
        let session = Session::new(sid, in_session, silence, contact, self.micros(now));
        let hash = self.hash(sid);
        {
            let mut shard = self.shard(hash);
            if let Some(known) = shard.find(hash, sid) {
                // The node has given the id anew.
                shard.remove(hash, known);
            } else {
                self.make_room(&mut shard);
                self.count.fetch_add(1, Relaxed);
            }
            shard.insert(hash, session, |sid| self.hash(sid));
        }
        node.has_newcomer(sid);
    }

    /// At the bound a session goes that was never used, or else the one that has been silent longest, of those that are
    /// looked at. Where each is in use nobody goes: there are no more of these than connections.
    fn make_room(&self, shard: &mut Shard) {
        if self.count.load(Relaxed) < self.max.load(Relaxed) {
            return;
        }
        let dice = self.next_swept.load(Relaxed).wrapping_mul(0x9e37_79b9) ^ self.count.load(Relaxed);
        let least = shard
            .sample(dice as u32, SAMPLED)
            .filter(|&place| shard.at(place).is_unused())
            .min_by_key(|&place| (shard.at(place).was_used, shard.at(place).last_seen_us));
        if let Some(place) = least {
            let hash = self.hash(&shard.at(place).sid);
            shard.remove(hash, place);
            self.count.fetch_sub(1, Relaxed);
        }
    }

    /// The session's node, if the session is known.
    pub(crate) fn find(&self, sid: &[u8]) -> Option<Arc<Node>> {
        self.with(sid, |session| session.node.clone())
    }

    /// A request or a tunnel of a session begins. `poller` is the task of a poll, which may have to be told to end it.
    pub(crate) fn begin(&self, sid: Hashed<'_>, how: Use, poller: Option<&Waker>, now: Instant) -> Begun {
        let now_us = self.micros(now);
        let mut shard = self.shard(sid.hash);
        let Some(session) = shard.find_mut(sid.hash, sid.sid) else { return Begun::Unknown };
        if let Some(poller) = poller {
            session.poller = Some(poller.clone());
        }
        session.begin(how, now_us)
    }

    /// A session that polled goes on over its tunnel, and ends with it.
    pub(crate) fn came_over(&self, Hashed { sid, hash }: Hashed<'_>) {
        if let Some(session) = self.shard(hash).find_mut(hash, sid) {
            session.has_come_over = true;
        }
    }

    /// A request or a tunnel has ended. A session ends with the tunnel that it has come over to. Any other tunnel was a
    /// probe that failed, as it does behind front doors that take no WebSockets, and its session goes on polling, even if
    /// none of its polls is under way at this moment: forgotten, it would lose its node where only this table knows
    /// that, and a drain would come to its end without it.
    pub(crate) fn end(&self, Hashed { sid, hash }: Hashed<'_>, how: Use, now: Instant) {
        let mut shard = self.shard(hash);
        let Some(place) = shard.find(hash, sid) else { return };
        let session = shard.at_mut(place);
        session.last_seen_us = self.micros(now);
        let uses = session.uses(how);
        *uses = uses.saturating_sub(1);
        match how {
            Use::Poll => {
                session.poller = None;
                session.overdue = None;
                session.has_fetched = true;
            }
            Use::Post => session.posted_ms = self.millis(now),
            Use::Tunnel => {}
        }
        if how != Use::Tunnel || session.stage == Stage::Leaving {
            return;
        }
        if session.has_come_over && session.is_unused() {
            shard.remove(hash, place);
            self.count.fetch_sub(1, Relaxed);
        } else if session.polls_openly() {
            session.node.has_newcomer(sid);
        }
    }

    /// Sessions on `node` that poll and have no slot yet, which they are taken to get now. One shard after the other, each
    /// of which is one item, so that whoever asks can do something else in between.
    pub(crate) fn schedule_polling(&self, node: &Node) -> impl Iterator<Item = Vec<Box<[u8]>>> {
        let number = node.number;
        self.shards.iter().map(move |shard| {
            let mut shard = lock(shard);
            let places: Vec<u32> =
                shard.places_of(number).filter(|&place| shard.at(place).polls_openly()).collect();
            let schedule = |place| {
                let session = shard.at_mut(place);
                session.stage = Stage::Scheduled;
                session.sid.clone()
            };
            places.into_iter().map(schedule).collect()
        })
    }

    /// The same for one session, if it is still such a one.
    pub(crate) fn schedule(&self, sid: &[u8]) -> bool {
        let is_scheduled = self.with(sid, |session| {
            let polls = session.polls_openly();
            if polls {
                session.stage = Stage::Scheduled;
            }
            polls
        });
        is_scheduled == Some(true)
    }

    /// The same for so many of them at most, those that were met first, and would not come back.
    pub(crate) fn schedule_oldest_polling(&self, node: &Node, count: usize) -> Vec<Box<[u8]>> {
        if count == 0 {
            return Vec::new();
        }
        // The youngest of those that were found is on top, and makes room for an older one.
        let mut oldest = BinaryHeap::with_capacity(count + 1);
        for shard in &self.shards {
            let shard = lock(shard);
            for session in shard.places_of(node.number).map(|place| shard.at(place)) {
                let is_older = oldest.len() < count
                    || oldest
                        .peek()
                        .is_some_and(|(since_us, _): &(u64, Box<[u8]>)| session.since_us < *since_us);
                if is_older && session.polls_openly() && !session.contact.is_pinned {
                    oldest.push((session.since_us, session.sid.clone()));
                    if oldest.len() > count {
                        oldest.pop();
                    }
                }
            }
        }
        // Much can have happened to each meanwhile.
        oldest.into_sorted_vec().into_iter().map(|(_, sid)| sid).filter(|sid| self.schedule(sid)).collect()
    }

    /// The drain was called off for this session.
    pub(crate) fn unschedule(&self, sid: &[u8]) {
        self.with(sid, |session| {
            if session.stage == Stage::Scheduled {
                session.stage = Stage::Open;
            }
        });
    }

    /// Begins to close a session on its node, if this is such a moment.
    pub(crate) fn begin_close(&self, sid: &[u8], moment: Moment, now: Instant) -> Closing {
        let may_tell = |address: &address::Address| self.addresses.is_proven(address);
        let now_us = self.micros(now);
        self.with(sid, |session| session.begin_close(may_tell, moment, now_us)).unwrap_or(Closing::Never)
    }

    /// Whether the session's client has said something within `time`. One that is not known has not.
    pub(crate) fn has_talked_within(&self, sid: &[u8], time: Duration, now: Instant) -> bool {
        let (ms, now_us) = (u64::try_from(time.as_millis()).unwrap_or(u64::MAX), self.micros(now));
        self.with(sid, |session| session.has_talked_within(ms, now_us)) == Some(true)
    }

    /// Closed on its node, where it counts no more; remembered here until its client has been told.
    pub(crate) fn closed_there(&self, sid: &[u8]) {
        self.with(sid, |session| session.counted = None);
    }

    /// Its poll has had its time to end and has not: whoever carries it answers it.
    pub(crate) fn poll_is_overdue(&self, sid: &[u8]) {
        self.with(sid, |session| {
            if session.polls > 0 && session.stage == Stage::Leaving && session.overdue.is_none() {
                session.overdue = Some(session.node.overdue());
                if let Some(poller) = session.poller.take() {
                    poller.wake();
                }
            }
        });
    }

    /// Whether the session's poll is to be answered here, because its node has not ended it in time.
    pub(crate) fn is_overdue(&self, sid: &[u8]) -> bool {
        self.with(sid, |session| session.overdue.is_some()) == Some(true)
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
        let mut shard = self.shard(hash);
        if let Some(place) = shard.find(hash, sid) {
            shard.remove(hash, place);
            self.count.fetch_sub(1, Relaxed);
        }
    }

    /// Forgets every session on `node`, whose process is gone, and they with it.
    pub(crate) fn forget(&self, node: &Node) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let places = shard.places_of(node.number).collect();
            self.remove_all(&mut shard, places);
        }
    }

    /// Forgets the sessions that have been silent for longer than a living one can be. Called now and then, off the
    /// workers. A call looks at a part of them, and the next one at another part: looking at all of a million each time
    /// would take longer than all that they ask for, and would leave the caches to them.
    pub(crate) fn sweep(&self, now: Instant) {
        let now_us = self.micros(now);
        let first = self.next_swept.fetch_add(SWEPT_AT_ONCE, Relaxed);
        for index in first..first + SWEPT_AT_ONCE {
            let mut shard = lock(&self.shards[index % SHARDS]);
            let over = shard.places(|session| session.is_over(now_us));
            self.remove_all(&mut shard, over);
        }
    }

    fn remove_all(&self, shard: &mut Shard, places: Vec<u32>) {
        self.count.fetch_sub(places.len(), Relaxed);
        for place in places {
            let hash = self.hash(&shard.at(place).sid);
            shard.remove(hash, place);
        }
    }

    fn with<R>(&self, sid: &[u8], look: impl FnOnce(&mut Session) -> R) -> Option<R> {
        let hash = self.hash(sid);
        self.shard(hash).find_mut(hash, sid).map(look)
    }

    /// An id with its hash, for those who ask for it more than once.
    pub(crate) fn hashed<'s>(&self, sid: &'s [u8]) -> Hashed<'s> {
        Hashed { sid, hash: self.hash(sid) }
    }

    fn hash(&self, sid: &[u8]) -> u64 {
        self.hasher.hash_one(sid)
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The table finds its places by the lowest bits and the highest ones.
        lock(&self.shards[(hash >> 32) as usize % SHARDS])
    }

    /// What has more than seven weeks of them has seven weeks.
    /// They begin again at 1 after seven weeks; 0 is never.
    fn millis(&self, now: Instant) -> u32 {
        session::wrapped_ms(self.micros(now)).max(1)
    }

    fn micros(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.born).as_micros() as u64
    }
}

/// A panic in another worker's critical section ends one connection, not the session table.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request or a tunnel of a session, under way for as long as this lives.
#[derive(Debug)]
pub(crate) struct SessionUse {
    pub(crate) session_table: Arc<SessionTable>,
    pub(crate) sid: Arc<[u8]>,
    /// Of [`SessionTable::hashed`].
    pub(crate) hash: u64,
    pub(crate) how: Use,
}

impl SessionUse {
    /// See [`SessionTable::came_over`].
    pub(crate) fn came_over(&self) {
        self.session_table.came_over(Hashed { sid: &self.sid, hash: self.hash });
    }
}

impl Drop for SessionUse {
    fn drop(&mut self) {
        let hashed = Hashed { sid: &self.sid, hash: self.hash };
        self.session_table.end(hashed, self.how, Instant::now());
    }
}

/// Many, so that a sweep of one holds up few sessions, and not for long.
const SHARDS: usize = 128;
/// So that each shard is swept by one call in four.
const SWEPT_AT_ONCE: usize = SHARDS / 4;
/// Looked at for one that can go.
const SAMPLED: usize = 32;
#[cfg(test)]
mod tests;
