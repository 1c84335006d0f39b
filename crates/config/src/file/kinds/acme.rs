//! Kinds of values that an ACME authority is spoken with by.

use serde_json::{Map, Value as Json, json};

use super::{quote, schema};
use crate::file::declared::{Kind, Written};
use crate::file::given::Given;

/// An address of electronic mail.
pub(crate) struct Email;

/// An ACME directory: a word for one that everybody knows, or its URL.
pub(crate) struct Directory;

impl Kind for Email {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("an address", || quote("ops@example.com"))?;
        let is_plain =
            text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b':' | b'<' | b'>'));
        if is_plain && text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'))
        {
            return Some(text.to_owned());
        }
        let hint = match text.strip_prefix("mailto:") {
            Some(rest) => format!("write `{} = \"{rest}\"`", given.name),
            None => "one address, without a name beside it: \"ops@example.com\"".to_owned(),
        };
        given.refuse(format!("\"{text}\" is not an address that can be written to"), Some(hint))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$|\\$\\{" }))
    }
}

impl Written for Email {
    fn written(&self, value: &String) -> Json {
        json!(value)
    }
}

impl Kind for Directory {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("an authority", || quote("letsencrypt"))?;
        if let Some((_, url)) = DIRECTORIES.iter().find(|(word, _)| *word == text) {
            return Some((*url).to_owned());
        }
        let is_url = |rest: &str| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
        if text.strip_prefix("https://").is_some_and(is_url) {
            return Some(text.to_owned());
        }
        let words: Vec<&str> = DIRECTORIES.iter().map(|(word, _)| *word).collect();
        let hint = if text.starts_with("http://") {
            "an authority is only believed over https://".to_owned()
        } else {
            let instead = given.reading.instead(text, &words).unwrap_or_default();
            format!("{instead}; or the URL of its directory: \"https://ca.internal/acme/acme/directory\"")
        };
        given.refuse(format!("\"{text}\" is not an authority"), Some(hint))
    }

    fn schema(&self) -> Map<String, Json> {
        let words: Vec<&str> = DIRECTORIES.iter().map(|(word, _)| *word).collect();
        schema(json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": "^https://." }] }))
    }
}

impl Written for Directory {
    fn written(&self, value: &String) -> Json {
        let word = DIRECTORIES.iter().find(|(_, url)| url == value).map(|(word, _)| *word);
        json!(word.unwrap_or(value))
    }
}

/// The authorities that have a word of their own, and the URLs of their directories.
pub(crate) const DIRECTORIES: [(&str, &str); 3] = [
    ("letsencrypt", LETS_ENCRYPT),
    ("letsencrypt-staging", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
];
/// Who is asked where the file names nobody.
pub(crate) const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
