//! What answers say to browsers, whose ids of requests are kept, and who passes while there is maintenance.

use std::time::Duration;

use ipnet::IpNet;
use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::headers::is_token_byte;
use super::pages::is_line_text;
use super::route::folder::CacheTime;
use super::{Flag, Time, quote, schema};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;
use crate::file::kinds::proxies::network_of;
use crate::routing::{Cache, Cors, KeptIds, Origin, RequestIds};

/// Addresses and networks.
pub(crate) struct Networks;

impl Kind for Networks {
    type Read = Vec<IpNet>;

    fn read(&self, given: Given<'_>) -> Option<Vec<IpNet>> {
        let elements = given.elements("a list of addresses and networks", "[\"10.0.0.0/8\"]")?;
        let networks = elements.filter_map(|element| {
            let text = element.text("an address or a network", || quote("10.0.0.0/8"))?;
            if let Some(network) = network_of(text) {
                return Some(network);
            }
            element.refuse(
                format!("\"{text}\" is neither an address nor a network"),
                Some("write \"192.0.2.7\", \"10.0.0.0/8\" or \"fd00::/8\"".to_owned()),
            )
        });
        Some(networks.collect())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "string" } }))
    }
}

impl Written for Networks {
    fn written(&self, value: &Vec<IpNet>) -> Json {
        json!(value.iter().map(ToString::to_string).collect::<Vec<_>>())
    }
}

/// `true`, or whose ids are kept.
pub(crate) struct IdsOf;

impl Unsaid for IdsOf {}

impl Kind for IdsOf {
    type Read = Option<RequestIds>;

    fn read(&self, given: Given<'_>) -> Option<Option<RequestIds>> {
        let kept = match given.value.get_ref() {
            DeValue::Boolean(false) => return Some(None),
            DeValue::Boolean(true) => KeptIds::Trusted,
            DeValue::String(text) => match &**text {
                "trusted" => KeptIds::Trusted,
                "client" => KeptIds::Anyones,
                "new" => KeptIds::None,
                other => {
                    return given.refuse(
                        format!("`{}` cannot be \"{other}\"", given.name),
                        Some("it may be true, false, \"trusted\", \"client\" or \"new\"".to_owned()),
                    );
                }
            },
            _ => return given.wrong_type("true, false or a word", "true".to_owned()),
        };
        Some(Some(RequestIds { kept, is_sent: true }))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "boolean" }, { "enum": ["trusted", "client", "new"] }] }))
    }
}

/// A time, or a table, of which Strict-Transport-Security is made.
pub(crate) struct Hsts;

impl Unsaid for Hsts {}

declare! {
    /// `hsts`, where it is a table.
    struct HstsTable in HSTS = "hsts", One: "What Strict-Transport-Security says.";
    keys {
        /// How long browsers speak HTTPS alone: "1y". "0s" takes it back.
        HSTS_MAX_AGE max_age: Option<u64> => "\"1y\"", Seconds;
        /// Whether it holds for every name under this one.
        HSTS_SUBDOMAINS subdomains: bool = false, Flag;
        /// Whether browsers may have it built in. Not easily taken back; it wants a year and `subdomains`.
        HSTS_PRELOAD preload: bool = false, Flag;
    }
}

impl Kind for Hsts {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        if let DeValue::String(_) = given.value.get_ref() {
            return Seconds.read(given).map(|seconds| format!("max-age={seconds}"));
        }
        let Some(fields) = given.table(HSTS.section) else {
            return given.wrong_type("a time or a table", quote("1y"));
        };
        let HstsTable { max_age, subdomains, preload } = fields.reading.sound(|| HstsTable::read(&fields))?;
        let max_age_s = max_age.unwrap_or(YEAR_S);
        if preload && (!subdomains || max_age_s < YEAR_S) {
            return given.refuse(
                "browsers build in nothing that holds for less than a year, or not for the names under it",
                Some("write `{ max_age = \"1y\", subdomains = true, preload = true }`".to_owned()),
            );
        }
        let subdomains = if subdomains { "; includeSubDomains" } else { "" };
        let preload = if preload { "; preload" } else { "" };
        Some(format!("max-age={max_age_s}{subdomains}{preload}"))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "string", "minLength": 2 }, HSTS.section.schema()] }))
    }
}

/// A time of up to ten years, in seconds.
pub(crate) struct Seconds;

impl Unsaid for Seconds {}

impl Kind for Seconds {
    type Read = u64;

    fn read(&self, given: Given<'_>) -> Option<u64> {
        match CacheTime.read(given)? {
            Cache::For(time) => Some(time.as_secs()),
            Cache::Unsaid | Cache::Hashed => {
                given.refuse("a time is wanted here", Some("write \"1y\"".to_owned()))
            }
        }
    }

    fn range(&self) -> Option<String> {
        CacheTime.range()
    }

    fn schema(&self) -> Map<String, Json> {
        CacheTime.schema()
    }
}

/// A table of who may read answers.
pub(crate) struct CorsTable;

impl Unsaid for CorsTable {}

declare! {
    /// `cors`, a table.
    struct CorsKeys in CORS = "cors", One: "Which pages of other origins may read the answers.";
    keys {
        /// Origins: "https://app.example.com", "https://*.example.com" for all names under it, "null", or "*" for all.
        CORS_ORIGINS origins: Option<Vec<Origin>> => "it must be said", Origins;
        /// Methods that a preflight allows.
        CORS_METHODS methods: Option<String> => "GET, HEAD, POST, PUT, PATCH and DELETE", Names("a method", "PUT");
        /// Names of header lines that a preflight allows.
        CORS_HEADERS headers: Option<String>
            => "those that the browser asks for", Names("the name of a header", "Authorization");
        /// Names of header lines of answers that scripts may read, beside those that they may read anyway.
        CORS_EXPOSED exposed: Option<String> => "none", Names("the name of a header", "X-Total");
        /// Whether cookies may go along. Not with "*".
        CORS_CREDENTIALS credentials: bool = false, Flag;
        /// How long browsers keep the answer to a preflight; they have bounds of their own.
        CORS_MAX_AGE max_age: Duration = Duration::from_hours(1),
            Time { least: Duration::ZERO, most: Duration::from_hours(24) };
    }
}

impl Kind for CorsTable {
    type Read = Cors;

    fn read(&self, given: Given<'_>) -> Option<Cors> {
        let example = "{ origins = [\"https://app.example.com\"] }";
        let Some(fields) = given.table(CORS.section) else {
            return given.wrong_type("a table", example.to_owned());
        };
        let CorsKeys { origins, methods, headers, exposed, credentials, max_age } =
            fields.reading.sound(|| CorsKeys::read(&fields))?;
        let Some((origins, said)) = origins.zip(fields.given(CORS_ORIGINS.name)) else {
            return given.refuse("`origins` is missing here", Some(format!("write `cors = {example}`")));
        };
        if credentials && origins.contains(&Origin::Any) {
            return said.refuse(
                "every page of the world could act in the name of whoever looks at it",
                Some("with `credentials` name the origins, or \"https://*.example.com\"".to_owned()),
            );
        }
        Some(Cors {
            origins,
            methods: methods.unwrap_or_else(|| USUAL_METHODS.to_owned()),
            headers,
            exposed: exposed.filter(|names| !names.is_empty()),
            credentials,
            max_age_s: max_age.as_secs(),
        })
    }

    fn schema(&self) -> Map<String, Json> {
        schema(CORS.section.schema())
    }
}

/// A list of short texts, or one: what one is, and an example.
struct Tokens(&'static str, &'static str);

impl Kind for Tokens {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let Self(what, example) = *self;
        let one = |given: Given<'_>| {
            let text = given.text(what, || quote(example))?;
            if !text.is_empty() && is_line_text(text) && !text.contains([' ', ',']) {
                return Some(text.to_owned());
            }
            given.refuse(format!("\"{text}\" is not {what}"), Some(format!("write {}", quote(example))))
        };
        if let DeValue::String(_) = given.value.get_ref() {
            return one(given).map(|text| vec![text]);
        }
        let example = format!("[{}]", quote(example));
        let read = given.elements("a list", &example)?.filter_map(one).collect();
        Some(read)
    }

    fn schema(&self) -> Map<String, Json> {
        let one = json!({ "type": "string", "minLength": 1 });
        schema(json!({ "anyOf": [one, { "type": "array", "items": one }] }))
    }
}

/// A single name: what it is, and an example.
pub(crate) struct Token(pub(crate) &'static str, pub(crate) &'static str);

impl Unsaid for Token {}

impl Kind for Token {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let Self(what, example) = *self;
        let text = given.text(what, || quote(example))?;
        match !text.is_empty() && text.bytes().all(is_token_byte) {
            true => Some(text.to_owned()),
            false => {
                given.refuse(format!("\"{text}\" is not {what}"), Some(format!("write {}", quote(example))))
            }
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

/// Names as a header line lists them: what one is, and an example.
pub(crate) struct Names(&'static str, &'static str);

impl Unsaid for Names {}

impl Kind for Names {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let Self(what, example) = *self;
        let names = Tokens(what, example).read(given)?;
        if let Some(wrong) = names.iter().find(|name| !name.bytes().all(is_token_byte)) {
            let hint = format!("write {}", quote(example));
            return given.refuse(format!("\"{wrong}\" is not {what}"), Some(hint));
        }
        Some(names.join(", "))
    }

    fn schema(&self) -> Map<String, Json> {
        Tokens(self.0, self.1).schema()
    }
}

/// Origins, one at least.
pub(crate) struct Origins;

impl Unsaid for Origins {}

impl Kind for Origins {
    type Read = Vec<Origin>;

    fn read(&self, given: Given<'_>) -> Option<Vec<Origin>> {
        let texts = Tokens("an origin", "https://app.example.com").read(given)?;
        if texts.is_empty() {
            return given.refuse("`origins` is empty", Some("leave `cors` out to allow none".to_owned()));
        }
        Some(texts.iter().filter_map(|text| origin(given, text)).collect())
    }

    fn schema(&self) -> Map<String, Json> {
        Tokens("", "").schema()
    }
}

/// An origin as browsers write it: without a slash at its end, and without a port that is the scheme's own.
fn origin(given: Given<'_>, text: &str) -> Option<Origin> {
    if text == "*" {
        return Some(Origin::Any);
    }
    if text == "null" {
        return Some(Origin::Is(text.to_owned()));
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, host)) = lower.split_once("://") else {
        let hint = format!("an origin has a scheme: \"https://{text}\"");
        return given.refuse(format!("\"{text}\" is not an origin"), Some(hint));
    };
    if host.is_empty() || host.contains(['/', '?', '#', '@']) {
        let host = host.split(['/', '?', '#']).next().unwrap_or_default();
        let hint = format!("browsers say scheme, host and port alone: \"{scheme}://{host}\"");
        return given.refuse(format!("\"{text}\" is more than an origin"), Some(hint));
    }
    let own_port = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let host = host.strip_suffix(own_port).unwrap_or(host);
    match host.split_once('*') {
        None => Some(Origin::Is(format!("{scheme}://{host}"))),
        Some(("", behind)) if behind.starts_with('.') && behind.len() > 1 && !behind.contains('*') => {
            Some(Origin::Under(format!("{scheme}://"), behind.to_owned()))
        }
        Some(_) => given.refuse(
            format!("\"{text}\" has its star in a place where it means nothing"),
            Some("a star stands for whole names: \"https://*.example.com\"".to_owned()),
        ),
    }
}

const USUAL_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
const YEAR_S: u64 = 365 * 24 * 60 * 60;
