//! A Redis: whether it answers, and what it is asked.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use config::plan::{Redis, RedisPlace, RedisUrl};
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult, ServerErrorKind, TlsCertificates,
};
use sha1::{Digest, Sha1};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::net::rates::Allowance;

/// A Redis, and whether it answers.
pub(super) struct Server {
    pub(super) said: Redis,
    /// The authorities that it must be known to, as PEM, where those of the system do not count.
    pub(super) ca: Option<Vec<u8>>,
    shown: String,
    info: ConnectionInfo,
    /// Even while it answers. Each time it stops or begins to it grows by one, so that whoever has asked before says nothing of
    /// how it is now.
    epoch: AtomicU64,
    lately: Mutex<Lately>,
    /// Requests that were counted without it.
    alone: AtomicU64,
    wake: Arc<Notify>,
}

/// Since when it does or does not answer.
struct Lately {
    since: Instant,
    reason: String,
}

/// Who asks, by a digest that is the same for all tidelocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SharedKey([u8; 16]);

/// One that is to be counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) key: SharedKey,
    pub(crate) allowance: Allowance,
    /// Where it may not come, none of the others is counted either.
    pub(crate) is_binding: bool,
}

/// A Redis at one moment.
#[derive(Debug, Clone)]
pub struct RedisNow {
    /// Its URL, without who asks it.
    pub url: String,
    /// Whether limits are counted there, and not by each tidelock for itself.
    pub is_up: bool,
    /// For how long.
    pub since: Duration,
    /// Why it is not, in words; empty if it is.
    pub reason: String,
    /// Requests that were counted without it.
    pub alone: u64,
}

impl SharedKey {
    /// Of what tells it from other keys.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut digest = Context::new(&SHA256);
        for part in parts {
            digest.update(&(part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&digest.finish().as_ref()[..16]);
        Self(key)
    }
}

impl Server {
    pub(super) fn new(redis: &Redis, url: &RedisUrl, ca: Option<Vec<u8>>, wake: Arc<Notify>) -> Self {
        Self {
            said: redis.clone(),
            ca,
            shown: url.to_string(),
            info: connection_info(redis, url),
            epoch: AtomicU64::new(0),
            lately: Mutex::new(Lately { since: Instant::now(), reason: String::new() }),
            alone: AtomicU64::new(0),
            wake,
        }
    }

    pub(super) fn now(&self) -> RedisNow {
        let lately = self.lately();
        RedisNow {
            url: self.shown.clone(),
            is_up: self.epoch_if_up().is_some(),
            since: lately.since.elapsed(),
            reason: lately.reason.clone(),
            alone: self.alone.load(Relaxed),
        }
    }

    pub(super) fn count_alone(&self) {
        self.alone.fetch_add(1, Relaxed);
    }

    /// It was tried again, and why it was in vain.
    pub(super) fn is_still_away(&self, reason: String) {
        self.lately().reason = reason;
    }

    fn lately(&self) -> MutexGuard<'_, Lately> {
        // Nothing in there is left half done by a panic.
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which time it is that it answers.
    pub(super) fn epoch_if_up(&self) -> Option<u64> {
        Some(self.epoch.load(Acquire)).filter(|epoch| epoch % 2 == 0)
    }

    /// One call of the script, and another one with the script in it if Redis does not know it yet.
    pub(super) async fn count(
        &self,
        redis: &mut MultiplexedConnection,
        asked: &[Asked],
    ) -> RedisResult<Vec<Result<Duration, Duration>>> {
        let command = |name: &str, script: &str| {
            let mut command = redis::cmd(name);
            command.arg(script).arg(asked.len());
            for Asked { key: SharedKey(key), .. } in asked {
                command.arg(format!("{}{:032x}", self.said.prefix(), u128::from_be_bytes(*key)));
            }
            for Asked { allowance: Allowance { interval, burst }, is_binding, .. } in asked {
                command.arg(interval.as_secs_f64() * 1e6).arg(*burst).arg(u8::from(*is_binding));
            }
            command
        };
        let known: RedisResult<Vec<i64>> = command("EVALSHA", &DIGEST).query_async(redis).await;
        let answers = match known {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                command("EVAL", SCRIPT).query_async(redis).await?
            }
            known => known?,
        };
        if answers.len() != asked.len() {
            return Err((ErrorKind::UnexpectedReturnType, "another number of answers than questions").into());
        }
        let told = |answer: i64| {
            let time = Duration::from_micros(answer.unsigned_abs());
            if answer < 0 { Err(time) } else { Ok(time) }
        };
        Ok(answers.into_iter().map(told).collect())
    }

    pub(super) async fn connect(&self) -> RedisResult<MultiplexedConnection> {
        // Whoever asks has a timeout of its own.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let client = match self.ca.clone() {
            Some(ca) => {
                let certificates = TlsCertificates { client_tls: None, root_cert: Some(ca) };
                Client::build_with_tls(self.info.clone(), certificates)?
            }
            None => Client::open(self.info.clone())?,
        };
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connected = timeout(CONNECT_TIMEOUT, connecting).await;
        connected.unwrap_or_else(|_| Err((ErrorKind::Io, "no connection within a second").into()))
    }

    /// Does all that a request would want of it, by a new connection.
    pub(super) async fn prove(&self) -> Result<(), String> {
        let mut redis = self.connect().await.map_err(|error| error.to_string())?;
        let allowance = Allowance { interval: Duration::from_micros(1), burst: 0 };
        let asked = [Asked { key: SharedKey::of(&[b"probe"]), allowance, is_binding: false }];
        match timeout(self.said.timeout, self.count(&mut redis, &asked)).await {
            Ok(answer) => answer.map(|_| ()).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.said.timeout)),
        }
    }

    /// Somebody who began to ask in that epoch has found out that it does not answer. Who comes second says nothing.
    pub(super) fn is_away(&self, epoch: u64, reason: String) {
        if self.epoch.compare_exchange(epoch, epoch + 1, AcqRel, Relaxed).is_err() {
            return;
        }
        tracing::warn!(
            event = "redis_away",
            redis = %self.shown,
            reason,
            "limits are not shared now: each tidelock counts for itself"
        );
        *self.lately() = Lately { since: Instant::now(), reason };
        self.wake.notify_one();
    }

    pub(super) fn is_back(&self) {
        let lately = Lately { since: Instant::now(), reason: String::new() };
        let before = std::mem::replace(&mut *self.lately(), lately);
        tracing::info!(
            event = "redis_back",
            redis = %self.shown,
            away = ?before.since.elapsed(),
            "limits are shared again"
        );
        self.epoch.fetch_add(1, AcqRel);
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({})", self.shown)
    }
}

fn connection_info(redis: &Redis, url: &RedisUrl) -> ConnectionInfo {
    let place = match url.place.clone() {
        RedisPlace::Network { host, port, is_tls: false } => ConnectionAddr::Tcp(host, port),
        RedisPlace::Network { host, port, is_tls: true } => {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        }
        RedisPlace::Socket(path) => ConnectionAddr::Unix(path),
    };
    let mut who = RedisConnectionInfo::default()
        .set_db(url.database.into())
        .set_lib_name("tidelock", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &url.user {
        who = who.set_username(user);
    }
    let password = redis.password.iter().next().map(String::from_utf8_lossy);
    if let Some(password) = password.as_deref().or(url.password.as_deref()) {
        who = who.set_password(password);
    }
    let info =
        place.into_connection_info().expect("an address always becomes one: it only gets the defaults");
    info.set_redis_settings(who).set_tcp_settings(TcpSettings::default().set_nodelay(true))
}

/// GCRA for several keys at once. Times are in microseconds, of which Lua's numbers have enough for a thousand years. Each answer
/// is how far ahead the key was, or, as a negative number, after what time it may come.
const SCRIPT: &str = include_str!("gcra.lua");
/// By which Redis knows the script.
static DIGEST: LazyLock<String> =
    LazyLock::new(|| Sha1::digest(SCRIPT).iter().map(|byte| format!("{byte:02x}")).collect());
/// With the TLS handshake and the password. Requests do not wait so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
