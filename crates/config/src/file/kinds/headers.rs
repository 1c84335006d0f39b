//! Names of header lines.

use serde_json::{Map, Value as Json, json};

use super::{quote, schema};
use crate::file::declared::{Kind, Written};
use crate::file::given::Given;

/// A list of names of header lines that may pass though they are dropped otherwise. Reads them in lower case.
pub(crate) struct HeaderNames;

impl Kind for HeaderNames {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let example = "[\"CF-Connecting-IP\"]";
        let names = given.elements("a list of header names", example)?.filter_map(|element| {
            let text = element.text("header names", || quote("CF-Connecting-IP"))?;
            let name = text.to_ascii_lowercase();
            if text.is_empty() || !text.bytes().all(is_token_byte) {
                return element.refuse(
                    format!("\"{text}\" is not the name of a header"),
                    Some("a name stands without its colon: \"CF-Connecting-IP\"".to_owned()),
                );
            }
            // An app that folds underscores would take a stranger's line for ours.
            let folded = name.replace('_', "-");
            if SAID_BY_US.contains(&&*folded) {
                return element.refuse(
                    format!("tidelock says {} itself", title(&folded)),
                    Some("whoever may say it is one of `trusted_proxies`".to_owned()),
                );
            }
            if OF_THE_CONNECTION.contains(&&*folded) {
                return element.refuse(
                    format!("{} is between two ends of a connection and never passes", title(&folded)),
                    Some("leave it out".to_owned()),
                );
            }
            Some(name)
        });
        Some(names.collect())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }))
    }
}

impl Written for HeaderNames {
    fn written(&self, value: &Vec<String>) -> Json {
        json!(value)
    }
}

/// `x-real-ip` as people write it.
pub(crate) fn title(name: &str) -> String {
    let word = |word: &str| match word {
        "ip" | "te" | "ssl" => word.to_ascii_uppercase(),
        word => word[..1].to_ascii_uppercase() + &word[1..],
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What nodes are told of a client.
pub(crate) const SAID_BY_US: [&str; 10] = [
    "host",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
    "x-ssl-client-cert",
    "x-ssl-client-fingerprint",
    "x-ssl-client-subject",
    "x-ssl-client-verify",
];
/// Hop by hop, or how a message is framed.
pub(crate) const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "content-length",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];
