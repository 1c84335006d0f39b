//! Rates that several tidelocks count together, in a Redis: by GCRA as `rates` does, in one script, by the clock of Redis.
//!
//! While Redis is away, or slower than it may be, nobody waits for it: the first request that finds out says so, and from then on
//! callers are told at once to count for themselves. A task of the control thread tries the script until it is answered again.
//! Each worker has a connection of its own, on which it asks without waiting for the answers before.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use config::plan::Redis;
use rustls::RootCertStore;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

mod own;
mod server;

use crate::net::tls::{TlsProblem, read_chain};
use server::Server;

pub(crate) use own::Own;
pub use server::RedisNow;
pub(crate) use server::{Asked, SharedKey};

/// The Redis of the plan in force, if limits are counted in one.
#[derive(Debug, Default)]
pub(crate) struct SharedRates {
    server: ArcSwapOption<Server>,
    /// Wakes the task that looks after it.
    wake: Arc<Notify>,
}

impl SharedRates {
    /// Counts in the Redis of a plan from now on; in none if no route has a limit that is shared. `ca` is what
    /// [`read_ca`] has read.
    pub(crate) fn follow_plan(&self, redis: &Redis, ca: Option<Vec<u8>>, is_used: bool) {
        let before = self.server.load_full();
        if is_used && before.as_ref().is_some_and(|before| before.said == *redis && before.ca == ca) {
            return;
        }
        let url = redis.url.as_ref().filter(|_| is_used);
        let server = url.map(|url| Arc::new(Server::new(redis, url, ca, self.wake.clone())));
        self.server.store(server);
        self.wake.notify_one();
    }

    /// Counts one more for each that is asked for, and returns how far ahead of its rate it is with it, or after what time it may
    /// come again; as [`crate::net::rates::Rates::take`] does. `None` if Redis does not say.
    ///
    /// Where it is dropped Redis may have counted all the same.
    pub(crate) async fn take(&self, own: &Own, asked: &[Asked]) -> Option<Vec<Result<Duration, Duration>>> {
        let server = self.server.load_full()?;
        let answers = ask(&server, own, asked).await;
        if answers.is_none() {
            server.count_alone();
        }
        answers
    }

    /// How it is, if there is one.
    pub(crate) fn now(&self) -> Option<RedisNow> {
        let server = self.server.load_full()?;
        Some(server.now())
    }

    /// Looks after the Redis in force whenever it does not answer, for as long as the proxy runs.
    pub(crate) async fn look_after(&self) {
        let mut pause = PAUSE_MIN;
        let mut back_at: Option<Instant> = None;
        loop {
            let away = self.server.load_full().filter(|server| server.epoch_if_up().is_none());
            let Some(server) = away else {
                self.wake.notified().await;
                continue;
            };
            // One that answers us and nobody else would be back every second.
            if let Some(back_at) = back_at.take() {
                pause = if back_at.elapsed() < STABLE { (pause * 2).min(PAUSE_MAX) } else { PAUSE_MIN };
            }
            sleep(pause).await;
            match server.prove().await {
                Ok(()) => {
                    server.is_back();
                    back_at = Some(Instant::now());
                }
                Err(reason) => {
                    server.is_still_away(reason);
                }
            }
        }
    }
}

/// Reads the authorities that a Redis is to be known to, if the plan names some: a file in PEM, as it is.
pub(crate) fn read_ca(redis: &Redis) -> Result<Option<Vec<u8>>, TlsProblem> {
    let Some(file) = &redis.ca else { return Ok(None) };
    let problem = |reason: String| TlsProblem { section: "redis", file: file.clone(), reason };
    let chain = read_chain(file).map_err(|other| problem(other.reason))?;
    let mut roots = RootCertStore::empty();
    for authority in chain {
        roots
            .add(authority)
            .map_err(|error| problem(format!("is no certificate of an authority: {error}")))?;
    }
    fs::read(file).map(Some).map_err(|error| problem(format!("cannot be read: {error}")))
}

async fn ask(server: &Arc<Server>, own: &Own, asked: &[Asked]) -> Option<Vec<Result<Duration, Duration>>> {
    let epoch = server.epoch_if_up()?;
    let until = Instant::now() + server.said.timeout;
    // One that has died while nobody asked says nothing of Redis.
    for may_be_stale in [true, false] {
        let line = own.line(server, epoch);
        let mut redis = line.connection(until).await?;
        match timeout_at(until, server.count(&mut redis, asked)).await {
            Ok(Ok(answers)) => return Some(answers),
            Ok(Err(error)) if may_be_stale && error.is_unrecoverable_error() => own.forget(&line),
            Ok(Err(error)) => {
                server.is_away(epoch, error.to_string());
                return None;
            }
            Err(_) => {
                server.is_away(epoch, format!("no answer within {:?}", server.said.timeout));
                return None;
            }
        }
    }
    None
}

/// Before it is tried whether Redis is back.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The same for one that has been back for less than [`STABLE`], several times in a row.
const PAUSE_MAX: Duration = Duration::from_secs(16);
const STABLE: Duration = Duration::from_secs(60);
