//! How `sticky`, `balance` and `by` of a limit are written: a word, or a word with a name behind a colon. `"hash:header:X-User"` reads
//! as it is said, and needs no second key that means nothing without the first.

use serde_json::{Map, Value as Json, json};

use super::{quote, schema};
use crate::file::declared::{Kind, Written};
use crate::file::foreign;
use crate::file::given::Given;
use crate::plan::values::{Balance, HashKey, Sticky};
use crate::routing::LimitKey;
use crate::suggest::nearest;

/// What `sticky` may be.
pub(crate) struct StickyChoice;

/// What `balance` may be.
pub(crate) struct BalanceChoice;

/// What `by` of a limit may be.
pub(crate) struct LimitBy;

/// What `by` of a split may be.
pub(crate) struct SplitKey;

impl Kind for StickyChoice {
    type Read = Sticky;

    fn read(&self, given: Given<'_>) -> Option<Sticky> {
        let text = given.text("a word", || quote("auto"))?;
        if let Some((_, sticky)) = STICKY_WORDS.iter().find(|(word, _)| *word == text) {
            return Some(sticky.clone());
        }
        match text.split_once(':') {
            Some(("auto", name)) => token(given, name).map(|name| Sticky::Auto(Some(name))),
            Some(("cookie", name)) => token(given, name).map(|name| Sticky::Cookie(Some(name))),
            Some(("path", number)) => segment(given, number).map(|number| Sticky::Key(HashKey::Path(number))),
            Some(("header", name)) => token(given, name).map(|name| Sticky::Key(header(&name))),
            Some(("query", name)) => query_key(given, name).map(|name| Sticky::Key(HashKey::Query(name))),
            Some(_) | None => unknown(given, text, &sticky_forms()),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        choice(
            &STICKY_WORDS.map(|(word, _)| word),
            "^((auto|cookie|header|query):[^\\s]+|path:([1-9]|1[0-6]))$",
        )
    }
}

impl Written for StickyChoice {
    fn written(&self, value: &Sticky) -> Json {
        match value {
            Sticky::Auto(None)
            | Sticky::EngineIo
            | Sticky::EngineIoLearned
            | Sticky::Cookie(None)
            | Sticky::None => {
                json!(STICKY_WORDS.iter().find(|(_, means)| means == value).map(|(word, _)| word))
            }
            Sticky::Auto(Some(name)) => json!(format!("auto:{name}")),
            Sticky::Cookie(Some(name)) => json!(format!("cookie:{name}")),
            Sticky::Key(key) => json!(key.to_string()),
        }
    }
}

impl Kind for BalanceChoice {
    type Read = Balance;

    fn read(&self, given: Given<'_>) -> Option<Balance> {
        let text = given.text("a word", || quote("least-sessions"))?;
        if let Some((_, balance)) = BALANCE_WORDS.iter().find(|(word, _)| *word == text) {
            return Some(balance.clone());
        }
        let key = text.strip_prefix("hash:").and_then(|rest| rest.split_once(':'));
        match key {
            Some(("cookie", name)) => token(given, name).map(|name| Balance::Hash(HashKey::Cookie(name))),
            Some(("header", name)) => token(given, name).map(|name| Balance::Hash(header(&name))),
            Some(("query", name)) => query_key(given, name).map(|name| Balance::Hash(HashKey::Query(name))),
            Some(_) | None => unknown(given, text, &balance_forms()),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        choice(&BALANCE_WORDS.map(|(word, _)| word), "^hash:(cookie|header|query):[^\\s]+$")
    }
}

impl Written for BalanceChoice {
    fn written(&self, value: &Balance) -> Json {
        match value {
            Balance::Hash(key) => json!(format!("hash:{key}")),
            plain => json!(BALANCE_WORDS.iter().find(|(_, means)| means == plain).map(|(word, _)| word)),
        }
    }
}

impl Kind for LimitBy {
    type Read = LimitKey;

    fn read(&self, given: Given<'_>) -> Option<LimitKey> {
        let text = given.text("a word", || quote("ip"))?;
        if let Some((_, by)) = LIMIT_WORDS.iter().find(|(word, _)| *word == text) {
            return Some(by.clone());
        }
        let key = match text.split_once(':') {
            Some(("header", name)) => token(given, name).map(|name| header(&name)),
            Some(("cookie", name)) => token(given, name).map(HashKey::Cookie),
            Some(("query", name)) => query_key(given, name).map(HashKey::Query),
            Some(_) | None => {
                let named = ["header:NAME", "cookie:NAME", "query:NAME"];
                let forms = LIMIT_WORDS.iter().map(|(word, _)| *word).chain(named);
                return unknown(given, text, &forms.map(str::to_owned).collect::<Vec<_>>());
            }
        };
        key.map(LimitKey::Of)
    }

    fn schema(&self) -> Map<String, Json> {
        choice(&LIMIT_WORDS.map(|(word, _)| word), "^(cookie|header|query):[^\\s]+$")
    }
}

impl Written for LimitBy {
    fn written(&self, value: &LimitKey) -> Json {
        match value {
            LimitKey::Of(key) => json!(key.to_string()),
            LimitKey::All => json!("all"),
        }
    }
}

impl Kind for SplitKey {
    type Read = Option<HashKey>;

    fn read(&self, given: Given<'_>) -> Option<Option<HashKey>> {
        if given.text("a word", || quote("ip"))? == "random" {
            return Some(None);
        }
        match LimitBy.read(given)? {
            LimitKey::Of(key) => Some(Some(key)),
            LimitKey::All => {
                given.refuse("`by` does not know \"all\"", Some("it may be \"ip\" or \"random\"".to_owned()))
            }
        }
    }

    fn schema(&self) -> Map<String, Json> {
        choice(&["ip", "random"], "^(cookie|header|query):[^\\s]+$")
    }
}

impl Written for SplitKey {
    fn written(&self, value: &Option<HashKey>) -> Json {
        json!(value.as_ref().map_or_else(|| "random".to_owned(), ToString::to_string))
    }
}

/// Names of header lines have no case; what is compared on the way is lower case already.
fn header(name: &str) -> HashKey {
    HashKey::Header(name.to_ascii_lowercase())
}

/// The name of a header line or a cookie, which both are tokens (RFC 9110 section 5.6.2, RFC 6265 section 4.1.1).
fn token(given: Given<'_>, name: &str) -> Option<String> {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_token_byte) {
        return Some(name.to_owned());
    }
    given.refuse(
        format!("\"{name}\" cannot be the name of a header or a cookie"),
        Some(format!("a name is 1 to {NAME_BYTES_MAX} letters, digits and `-`, `_` or `.`")),
    )
}

fn query_key(given: Given<'_>, name: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && !b"&=#?".contains(&byte);
    if !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(fits) {
        return Some(name.to_owned());
    }
    given.refuse(
        format!("\"{name}\" cannot be a key in a query"),
        Some(format!("write it as URLs have it, in 1 to {NAME_BYTES_MAX} characters")),
    )
}

fn segment(given: Given<'_>, number: &str) -> Option<usize> {
    match number.parse() {
        Ok(number) if (1..=SEGMENTS_MAX).contains(&number) => Some(number),
        _ => given.refuse(
            format!("\"path:{number}\" names no segment of a path"),
            Some(format!(
                "write \"path:1\" to \"path:{SEGMENTS_MAX}\": in /echo/000/abcdef the third is abcdef"
            )),
        ),
    }
}

fn unknown<T>(given: Given<'_>, text: &str, forms: &[String]) -> Option<T> {
    let quoted: Vec<String> = forms.iter().map(|form| quote(form)).collect();
    let hint = match (foreign::value(given.name, text), nearest(text, forms.iter().map(String::as_str))) {
        (Some(line), _) => format!("write `{line}`"),
        (None, Some(meant)) => format!("did you mean \"{meant}\"?"),
        (None, None) => format!("it may be {}", quoted.join(", ")),
    };
    given.refuse(format!("`{}` does not know \"{text}\"", given.name), Some(hint))
}

fn sticky_forms() -> Vec<String> {
    let named = ["auto:NAME", "cookie:NAME", "header:NAME", "query:NAME", "path:N"];
    STICKY_WORDS.iter().map(|(word, _)| *word).chain(named).map(str::to_owned).collect()
}

fn balance_forms() -> Vec<String> {
    let named = ["hash:header:NAME", "hash:cookie:NAME", "hash:query:NAME"];
    BALANCE_WORDS.iter().map(|(word, _)| *word).chain(named).map(str::to_owned).collect()
}

fn choice(words: &[&str], pattern: &str) -> Map<String, Json> {
    schema(json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": pattern }] }))
}

const STICKY_WORDS: [(&str, Sticky); 6] = [
    ("auto", Sticky::Auto(None)),
    ("engineio", Sticky::EngineIo),
    ("engineio-learned", Sticky::EngineIoLearned),
    ("cookie", Sticky::Cookie(None)),
    ("ip", Sticky::Key(HashKey::Ip)),
    ("none", Sticky::None),
];
const BALANCE_WORDS: [(&str, Balance); 6] = [
    ("least-sessions", Balance::LeastSessions),
    ("round-robin", Balance::RoundRobin),
    ("least-requests", Balance::LeastRequests),
    ("random-two", Balance::RandomTwo),
    ("peak-ewma", Balance::PeakEwma),
    ("hash:ip", Balance::Hash(HashKey::Ip)),
];
const LIMIT_WORDS: [(&str, LimitKey); 2] = [("ip", LimitKey::Of(HashKey::Ip)), ("all", LimitKey::All)];
/// Longest name of a header, a cookie or a query key.
const NAME_BYTES_MAX: usize = 128;
const SEGMENTS_MAX: usize = 16;
