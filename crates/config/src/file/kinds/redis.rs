//! Where a Redis is, and what its keys begin with.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json, json};
use url::Url;

use super::{quote, schema};
use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;
use crate::plan::values::{RedisPlace, RedisUrl};

/// The URL of a Redis. It may hold a password, so that nothing of it is said again.
pub(crate) struct RedisLocation;

impl Unsaid for RedisLocation {}

/// The beginning of keys, which may be empty.
pub(crate) struct RedisPrefix;

impl Kind for RedisLocation {
    type Read = RedisUrl;

    fn read(&self, given: Given<'_>) -> Option<RedisUrl> {
        let text = given.text("the URL of a Redis", || quote("redis://127.0.0.1:6379"))?;
        match read(text) {
            Ok(url) => Some(url),
            Err(Wrong { message, hint }) => given.refuse(message, Some(hint.to_owned())),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^((redis|valkey)s?://|(redis\\+)?unix:)|\\$\\{" }))
    }
}

/// What is wrong with a URL, without a word of it.
struct Wrong {
    message: &'static str,
    hint: &'static str,
}

fn read(text: &str) -> Result<RedisUrl, Wrong> {
    let has_scheme = SCHEMES.iter().any(|scheme| text.starts_with(scheme));
    let url = Url::parse(text).ok().filter(|_| has_scheme).ok_or(NOT_A_URL)?;
    let decoded = |part: &str| {
        percent_decode_str(part).decode_utf8().map(|text| text.into_owned()).map_err(|_| NOT_UTF8)
    };
    let is_socket = url.scheme().ends_with("unix");
    let place = if is_socket {
        let path = decoded(url.path())?;
        if url.has_host() && url.host_str().is_some_and(|host| !host.is_empty()) || !path.starts_with('/') {
            return Err(NOT_A_SOCKET);
        }
        RedisPlace::Socket(PathBuf::from(path))
    } else {
        let host = url.host().ok_or(NO_HOST)?;
        let host = match host {
            url::Host::Domain(name) => decoded(name)?,
            url::Host::Ipv4(address) => address.to_string(),
            url::Host::Ipv6(address) => address.to_string(),
        };
        let is_tls = matches!(url.scheme(), "rediss" | "valkeys");
        RedisPlace::Network { host, port: url.port().unwrap_or(PORT), is_tls }
    };
    let said = if is_socket {
        url.query().and_then(|query| query.strip_prefix("db="))
    } else {
        url.path().strip_prefix('/')
    };
    let is_more = url.fragment().is_some() || (url.query().is_some() && !(is_socket && said.is_some()));
    let database = match said.filter(|number| !number.is_empty()) {
        None => 0,
        Some(number) => number.parse().map_err(|_| NOT_A_DATABASE)?,
    };
    if is_more {
        return Err(MORE);
    }
    let user = Some(url.username()).filter(|user| !user.is_empty()).map(decoded).transpose()?;
    let password = url.password().map(decoded).transpose()?;
    if user.is_some() && password.is_none() {
        return Err(NO_PASSWORD);
    }
    Ok(RedisUrl { place, user, password, database })
}

impl Kind for RedisPrefix {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a string", || quote("tidelock:"))?;
        if text.len() > PREFIX_BYTES_MAX || text.chars().any(char::is_control) {
            let hint = format!("it may be up to {PREFIX_BYTES_MAX} bytes, without control characters");
            return given.refuse("this cannot be a prefix", Some(hint));
        }
        Some(text.to_owned())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "maxLength": PREFIX_BYTES_MAX }))
    }
}

impl Written for RedisPrefix {
    fn written(&self, value: &String) -> Json {
        json!(value)
    }
}

const PORT: u16 = 6379;
const PREFIX_BYTES_MAX: usize = 128;
const SCHEMES: [&str; 6] = ["redis://", "rediss://", "valkey://", "valkeys://", "unix:", "redis+unix:"];
const NOT_A_URL: Wrong = Wrong {
    message: "this is not the URL of a Redis",
    hint: "write \"redis://HOST:6379\", \"rediss://HOST:6379\" for TLS, or \"unix:/run/redis/redis.sock\"; what is not \
           a letter, a digit, `-`, `.`, `_` or `~` in a password is written as `%` and two hexadecimal digits",
};
const NOT_UTF8: Wrong =
    Wrong { message: "this URL is not UTF-8", hint: "a `%` and two hexadecimal digits are a byte" };
const NOT_A_SOCKET: Wrong = Wrong {
    message: "this URL names no socket",
    hint: "write its whole path: \"unix:/run/redis/redis.sock\"",
};
const NO_HOST: Wrong = Wrong { message: "this URL names no host", hint: "write \"redis://HOST:6379\"" };
const NOT_A_DATABASE: Wrong = Wrong {
    message: "the database in this URL is not a number",
    hint: "write \"redis://HOST/1\", \"unix:/run/redis/redis.sock?db=1\", or nothing for the first one",
};
const MORE: Wrong = Wrong {
    message: "this URL says more than where a Redis is",
    hint: "leave out what is behind `?` or `#`; timeouts and the prefix have keys of their own",
};
const NO_PASSWORD: Wrong = Wrong {
    message: "this URL has a user without a password",
    hint: "write \"redis://USER:PASSWORD@HOST\", or \"redis://:PASSWORD@HOST\" where there are no users",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_say_where_and_who() {
        let network = |host: &str, port, is_tls| RedisPlace::Network { host: host.to_owned(), port, is_tls };
        let plain = |place| RedisUrl { place, user: None, password: None, database: 0 };
        for (text, want) in [
            ("redis://127.0.0.1", plain(network("127.0.0.1", 6379, false))),
            ("rediss://redis.example.com:1/", plain(network("redis.example.com", 1, true))),
            ("valkey://[::1]:7000/3", RedisUrl { database: 3, ..plain(network("::1", 7000, false)) }),
            ("unix:/run/redis.sock", plain(RedisPlace::Socket("/run/redis.sock".into()))),
            (
                "unix:///run/a%20b.sock?db=2",
                RedisUrl { database: 2, ..plain(RedisPlace::Socket("/run/a b.sock".into())) },
            ),
            (
                "redis://:p%40ss@h",
                RedisUrl { password: Some("p@ss".to_owned()), ..plain(network("h", 6379, false)) },
            ),
            (
                "redis://me:x@h/1",
                RedisUrl {
                    user: Some("me".to_owned()),
                    password: Some("x".to_owned()),
                    database: 1,
                    ..plain(network("h", 6379, false))
                },
            ),
        ] {
            assert_eq!(read(text).map_err(|wrong| wrong.message), Ok(want), "{text}");
        }
        for (text, want) in [
            ("127.0.0.1:6379", NOT_A_URL),
            ("localhost:6379", NOT_A_URL),
            ("http://h", NOT_A_URL),
            ("redis://", NO_HOST),
            ("redis://h/x", NOT_A_DATABASE),
            ("redis://h/-1", NOT_A_DATABASE),
            ("unix:redis.sock", NOT_A_SOCKET),
            ("unix://run/redis.sock", NOT_A_SOCKET),
            ("redis://h?protocol=resp3", MORE),
            ("rediss://h#insecure", MORE),
            ("redis://me@h", NO_PASSWORD),
        ] {
            assert_eq!(read(text).map_err(|wrong| wrong.message), Err(want.message), "{text}");
        }
    }
}
