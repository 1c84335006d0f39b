//! `[redis]`.

use std::path::PathBuf;
use std::time::Duration;

use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::Time;
use crate::file::kinds::paths::ExistingFile;
use crate::file::kinds::redis::{RedisLocation, RedisPrefix};
use crate::file::kinds::secrets::SecretTexts;
use crate::plan::values::{RedisPlace, RedisUrl, Secrets};
use crate::problem::Problem;

declare! {
    /// The Redis in which several tidelocks count together.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Redis in REDIS = "redis", One:
        "The Redis in which limits with `shared = true` are counted, by all tidelocks that name it. While it is away, each tidelock counts for itself.";
    keys {
        /// Where it is: "redis://HOST:6379", with TLS "rediss://HOST:6379", or "unix:/run/redis/redis.sock". A user and a
        /// password may stand before the host, "redis://tidelock:${REDIS_PASSWORD}@HOST", and the number of a database behind
        /// it: "redis://HOST/1". Redis 5 or later, or Valkey, but no cluster.
        URL url: Option<RedisUrl> => "no limit may be shared", RedisLocation;
        /// The password, if it is not in `url`. "file:PATH" is read from a file, relative to the folder of this one.
        PASSWORD password: Secrets => "that of `url`, or none", SecretTexts { bytes_min: 1, count_max: 1 };
        /// PEM file of the authorities whose certificates it may have behind "rediss://", and no others. Relative to the folder of
        /// this file.
        CA ca: Option<PathBuf> => "those that the system trusts", ExistingFile;
        /// How long a request waits for its answer. A limit is then counted by this tidelock alone.
        TIMEOUT timeout: Duration = Duration::from_millis(50),
            Time { least: Duration::from_millis(1), most: Duration::from_secs(10) };
        /// What all keys in it begin with. Tidelocks with the same prefix count together.
        PREFIX prefix: Option<String> => "\"tidelock:\"", RedisPrefix;
    }
}

impl Redis {
    /// What all keys in it begin with.
    pub fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or("tidelock:")
    }

    /// Reads the table, which is nothing without a URL.
    pub(crate) fn checked(fields: &Fields<'_>) -> Self {
        if fields.span.is_some() && !fields.has(URL.name) {
            let problem = Problem::error(fields.span.clone(), "`url` is missing here");
            fields.push(problem.hint("write `url = \"redis://127.0.0.1:6379\"`, or leave the table out"));
        }
        let redis = Self::read(fields);
        if let (Some(RedisUrl { password: Some(_), .. }), false) = (&redis.url, redis.password.is_empty()) {
            let problem = Problem::error(fields.span_of(PASSWORD.name), "`url` has a password already");
            fields.push(problem.hint("say it once"));
        }
        let is_tls = |url: &RedisUrl| matches!(url.place, RedisPlace::Network { is_tls: true, .. });
        if redis.ca.is_some() && redis.url.as_ref().is_some_and(|url| !is_tls(url)) {
            let problem = Problem::error(
                fields.span_of(CA.name),
                "this Redis is asked without TLS, and shows no certificate",
            );
            fields.push(problem.hint("write `url = \"rediss://…\"`, or leave `ca` out"));
        }
        redis
    }
}
