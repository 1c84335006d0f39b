//! The places that client connections have: how many there are, how many of them each client has, and how fast it takes
//! new ones. A client is an IPv4 address, or the /64 of an IPv6 address, of which everybody has a whole one.
//!
//! Bounds that the file sets always hold. Those that it leaves to tidelock hold only while more than half of all places are
//! taken, so that no company behind one address is ever locked out of a proxy that has room. What is remembered is bounded,
//! too: a client without a connection is forgotten as soon as its rates have nothing to say about it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::limits::Limits;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// All places.
#[derive(Debug)]
pub(crate) struct Places {
    free: Semaphore,
    all: AtomicUsize,
    /// From which rates count.
    start: Instant,
    shards: [Mutex<Shard>; SHARDS],
}

/// A place that was taken, for a connection that is about to be accepted.
#[derive(Debug)]
pub(crate) struct Vacancy(Option<Arc<Places>>);

/// The place of a connection. Free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    client: ClientKey,
}

/// By which a client is known. Takes eight bytes in each connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ClientKey(u64);

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Its client has as many as it may have.
    TooMany,
    /// Its client opens them faster than it may.
    TooFast,
    /// Its client begins TLS handshakes faster than it may.
    HandshakesTooFast,
}

/// Clients of which something is known.
#[derive(Debug, Default)]
struct Shard {
    clients: HashMap<u64, Known>,
    /// When so many are known, those of whom nothing has to be known are forgotten.
    sweep_at: usize,
    swept_us: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    connections: u32,
    connects: Pace,
    handshakes: Pace,
}

/// How fast something is done: when it would be even with its rate (GCRA, ITU-T I.371), in microseconds.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    even_at: u64,
}

impl Pace {
    /// Counts one more, if it is within so many a second, of which a second's worth may come at once. Whether it
    /// was.
    fn allows(&mut self, per_second: u32, now: u64) -> bool {
        let even_at = self.even_at.max(now);
        if even_at - now >= SECOND {
            return false;
        }
        self.even_at = even_at + SECOND / u64::from(per_second.max(1));
        true
    }
}

impl Known {
    /// Something is remembered of it, so that its entry may not be dropped.
    fn counts(&self, now: u64) -> bool {
        self.connections > 0 || self.connects.even_at > now || self.handshakes.even_at > now
    }
}

impl ClientKey {
    /// For those who are not bounded: trusted proxies have the connections of all their clients.
    pub(crate) const NOBODY: Self = Self(0);

    /// The same for every tidelock.
    pub(crate) fn to_bytes(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(u64::from(address.to_bits())),
            IpAddr::V6(address) => Self((address.to_bits() >> 64) as u64),
        }
    }
}

impl Places {
    pub(crate) fn new(all: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Semaphore::new(all),
            all: AtomicUsize::new(all),
            start: Instant::now(),
            shards: std::array::from_fn(|_| Mutex::default()),
        })
    }

    /// One that is free now.
    pub(crate) fn try_take(self: &Arc<Self>) -> Option<Vacancy> {
        self.free.try_acquire().ok()?.forget();
        Some(Vacancy(Some(self.clone())))
    }

    /// The next one that becomes free, first come, first served. Cancel-safe.
    pub(crate) async fn take(self: &Arc<Self>) -> Vacancy {
        self.free.acquire().await.expect("open: nobody closes it").forget();
        Vacancy(Some(self.clone()))
    }

    pub(crate) fn all(&self) -> usize {
        self.all.load(Relaxed)
    }

    /// Another number of them. Who has a place keeps it; if there are fewer now, nobody comes in before enough have gone,
    /// for which this waits.
    pub(crate) async fn resize(self: Arc<Self>, all: usize) {
        let before = self.all.swap(all, Relaxed);
        if all > before {
            self.free.add_permits(all - before);
        } else if let Ok(surplus) = u32::try_from(before - all)
            && let Ok(permits) = self.free.acquire_many(surplus).await
        {
            permits.forget();
        }
    }

    pub(crate) fn are_all_taken(&self) -> bool {
        self.free.available_permits() == 0
    }

    fn is_crowded(&self) -> bool {
        self.free.available_permits() < self.all() / 2
    }

    fn shard(&self, client: ClientKey) -> MutexGuard<'_, Shard> {
        // 2^64 divided by the golden ratio: the good bits are the high ones.
        let number = client.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SHARDS.ilog2());
        // Nothing in there is left half done by a panic.
        self.shards[number as usize].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn leave(&self, client: ClientKey) {
        if client != ClientKey::NOBODY {
            let mut shard = self.shard(client);
            let Some(known) = shard.clients.get_mut(&client.0) else { return };
            known.connections = known.connections.saturating_sub(1);
            // Without a rate there is nothing else to know, and no need of the time.
            let is_done =
                known.connections == 0 && known.connects.even_at == 0 && known.handshakes.even_at == 0;
            if is_done {
                shard.clients.remove(&client.0);
            }
        }
    }

    /// Whether a client may begin another TLS handshake.
    pub(crate) fn may_shake_hands(&self, client: ClientKey, limits: &Limits) -> Result<(), Refused> {
        let rate = limits.client_handshakes_per_second_max;
        let rate = if rate == 0 && self.is_crowded() { HANDSHAKES_PER_SECOND } else { rate };
        if rate == 0 || client == ClientKey::NOBODY {
            return Ok(());
        }
        let now = self.now();
        let mut shard = self.shard(client);
        // One who is not known has a connection for which there was no room in memory.
        let allows = shard.clients.get_mut(&client.0).is_none_or(|known| known.handshakes.allows(rate, now));
        if allows { Ok(()) } else { Err(Refused::HandshakesTooFast) }
    }
}

impl Vacancy {
    /// Gives the place to `client`, if it may have it.
    ///
    /// # Errors
    /// Why it may not. The place is free again.
    pub(crate) fn give(mut self, client: ClientKey, limits: &Limits) -> Result<Place, Refused> {
        let places = self.0.as_ref().expect("there until it is given away, once");
        let client = match client {
            ClientKey::NOBODY => client,
            client => places.admit(client, limits)?,
        };
        let places = self.0.take().expect("as before");
        Ok(Place { places, client })
    }
}

impl Places {
    /// As whom this client is known from now on.
    fn admit(&self, client: ClientKey, limits: &Limits) -> Result<ClientKey, Refused> {
        let is_crowded = self.is_crowded();
        let or_usual = |said: usize, usual: usize| match said {
            0 if is_crowded => usual,
            said => said,
        };
        let connections_max =
            or_usual(limits.connections_per_client_max, (self.all() / SHARE).max(CONNECTIONS_LEAST));
        let rate = or_usual(limits.client_connections_per_second_max as usize, CONNECTIONS_PER_SECOND);
        let mut shard = self.shard(client);
        let now = if rate > 0 || shard.clients.len() >= shard.sweep_at { self.now() } else { 0 };
        if !shard.has_room_for(client, now) {
            return Ok(ClientKey::NOBODY);
        }
        let known = shard.clients.entry(client.0).or_default();
        let refused = if connections_max > 0 && known.connections as usize >= connections_max {
            Some(Refused::TooMany)
        } else if rate > 0 && !known.connects.allows(u32::try_from(rate).unwrap_or(u32::MAX), now) {
            Some(Refused::TooFast)
        } else {
            known.connections += 1;
            None
        };
        refused.map_or(Ok(client), Err)
    }
}

impl Shard {
    /// A client that is known already needs no room; the table of others is bounded.
    fn has_room_for(&mut self, client: ClientKey, now: u64) -> bool {
        if self.clients.len() < self.sweep_at || self.clients.contains_key(&client.0) {
            return true;
        }
        // If many are known for good reason, they are not looked through for each that comes.
        if self.clients.len() < CLIENTS_MAX / SHARDS || now >= self.swept_us + SECOND {
            self.clients.retain(|_, known| known.counts(now));
            self.clients.shrink_to(2 * self.clients.len());
            self.sweep_at = (2 * self.clients.len()).clamp(SWEEP_LEAST, CLIENTS_MAX / SHARDS);
            self.swept_us = now;
        }
        self.clients.len() < CLIENTS_MAX / SHARDS
    }
}

impl Drop for Vacancy {
    fn drop(&mut self) {
        if let Some(places) = &self.0 {
            places.free.add_permits(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.leave(self.client);
        self.places.free.add_permits(1);
    }
}

impl Place {
    pub(crate) fn client(&self) -> ClientKey {
        self.client
    }

    /// It was nobody's, and is this client's from now on, if that may have it.
    ///
    /// # Errors
    /// Why it may not. The place stays nobody's.
    pub(crate) fn is_of(&mut self, client: ClientKey, limits: &Limits) -> Result<(), Refused> {
        debug_assert_eq!(self.client, ClientKey::NOBODY);
        self.client = self.places.admit(client, limits)?;
        Ok(())
    }

    /// Of which places it is one.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }
}

/// A second, as rates count.
const SECOND: u64 = Duration::from_secs(1).as_micros() as u64;
/// What one client may have of a crowded proxy, if the file does not say: an eighth of all places, but no fewer than a
/// browser's few connections for each of a few people.
const SHARE: usize = 8;
const CONNECTIONS_LEAST: usize = 64;
/// The same for what it may do in a second: far more than the people behind one address, and a small part of what a worker
/// can do.
const CONNECTIONS_PER_SECOND: usize = 1000;
const HANDSHAKES_PER_SECOND: u32 = 200;
/// Of which something is known at once. Beyond it new ones are let in and not counted.
const CLIENTS_MAX: usize = 1 << 20;
/// So that workers seldom wait for each other.
const SHARDS: usize = 64;
const SWEEP_LEAST: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(more: &str) -> Limits {
        let file = format!(
            "[[listen]]\naddress = \":1\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\n\
             nodes = [\"127.0.0.1:1\"]\n[limits]\n{more}"
        );
        config::parse(&file, std::path::Path::new("file")).unwrap().plan.limits
    }

    fn key(address: &str) -> ClientKey {
        ClientKey::of(address.parse().unwrap())
    }

    fn take(places: &Arc<Places>, client: ClientKey, limits: &Limits) -> Result<Place, Refused> {
        places.try_take().expect("a place").give(client, limits)
    }

    #[test]
    fn a_client_is_an_address_or_a_64() {
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
    }

    #[test]
    fn a_bound_that_was_set_always_holds() {
        let (places, limits) = (Places::new(1000), limits("connections_per_client_max = 2"));
        let one = take(&places, key("192.0.2.1"), &limits).unwrap();
        let _two = take(&places, key("192.0.2.1"), &limits).unwrap();
        assert_eq!(take(&places, key("192.0.2.1"), &limits).unwrap_err(), Refused::TooMany);
        assert!(take(&places, key("192.0.2.2"), &limits).is_ok());
        drop(one);
        assert!(take(&places, key("192.0.2.1"), &limits).is_ok());
    }

    /// What nobody has set holds only where there is a crowd, and never for a trusted proxy.
    #[tokio::test(start_paused = true)]
    async fn a_usual_bound_needs_a_crowd() {
        let (places, limits) = (Places::new(1600), limits(""));
        let client = key("192.0.2.1");
        let mut taken = Vec::new();
        while taken.len() < 800 {
            taken.push(take(&places, client, &limits).unwrap());
        }
        assert_eq!(take(&places, client, &limits).unwrap_err(), Refused::TooMany);
        for number in 0..100 {
            taken.push(take(&places, ClientKey(1 << 40 | number), &limits).unwrap());
            taken.push(take(&places, ClientKey::NOBODY, &limits).unwrap());
        }
        // The client's own share of a crowd is an eighth.
        taken.drain(..601);
        taken.extend((0..603).map(|_| take(&places, ClientKey::NOBODY, &limits).unwrap()));
        assert_eq!(take(&places, client, &limits).map(|_| ()), Ok(()));
        let _last = take(&places, client, &limits).unwrap();
        assert_eq!(take(&places, client, &limits).unwrap_err(), Refused::TooMany);
    }

    #[tokio::test(start_paused = true)]
    async fn rates_let_a_seconds_worth_come_at_once() {
        let (places, limits) = (
            Places::new(1000),
            limits("client_connections_per_second_max = 10\nclient_handshakes_per_second_max = 2"),
        );
        let client = key("192.0.2.1");
        let come = || (0..100).filter(|_| take(&places, client, &limits).is_ok()).count();
        assert_eq!(come(), 10);
        tokio::time::advance(Duration::from_millis(300)).await;
        assert_eq!(come(), 3);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(come(), 10);
        let _place = take(&places, key("192.0.2.2"), &limits).unwrap();
        let shake = || (0..100).filter(|_| places.may_shake_hands(key("192.0.2.2"), &limits).is_ok()).count();
        assert_eq!((shake(), shake()), (2, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_million_addresses_are_forgotten_again() {
        let (places, limits) = (Places::new(10), limits("client_connections_per_second_max = 1"));
        let known = || places.shards.iter().map(|shard| shard.lock().unwrap().clients.len()).sum::<usize>();
        for number in 1..1_100_000_u64 {
            drop(take(&places, ClientKey(number << 8), &limits));
        }
        assert!(known() <= CLIENTS_MAX, "{}", known());
        tokio::time::advance(Duration::from_secs(5)).await;
        for number in 1..10_000_u64 {
            drop(take(&places, ClientKey(1 << 50 | number), &limits));
        }
        assert!(known() < 40_000, "{}", known());
    }

    #[tokio::test]
    async fn there_may_be_more_and_fewer() {
        let places = Places::new(2);
        let (one, two) = (places.try_take().unwrap(), places.try_take().unwrap());
        assert!(places.try_take().is_none());
        places.clone().resize(3).await;
        let three = places.try_take().unwrap();
        let shrinking = tokio::spawn(places.clone().resize(1));
        tokio::task::yield_now().await;
        drop((one, two));
        shrinking.await.unwrap();
        assert!(places.try_take().is_none());
        drop(three);
        assert!(places.try_take().is_some());
    }
}
