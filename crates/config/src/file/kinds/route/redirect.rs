//! Where a route sends clients: `redirect`.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Text, line};
use crate::file::declared::{Key, Kind, Optional, Or, Section};
use crate::file::given::Given;
use crate::file::kinds::{Count, Word, schema};
use crate::routing::{Destination, Pattern, Redirect, Template};

/// A URL, or a table of its parts.
pub(crate) struct RedirectTo;

/// A table of redirects, in which each key is one of these.
pub(crate) static REDIRECT_SECTION: Section = Section {
    doc: "Parts of the URL that are replaced; the others stay as the client asked.",
    keys: &[&REDIRECT_SCHEME, &REDIRECT_HOST, &REDIRECT_PORT, &REDIRECT_PATH, &REDIRECT_TO, &REDIRECT_STATUS],
};
static REDIRECT_SCHEME: Key<Word<&'static str>, Optional> = Key {
    name: "scheme",
    kind: Word(&[("https", "https"), ("http", "http")]),
    absent: Optional("the client's"),
    doc: "\"https\" or \"http\". The port is that scheme's own then, unless `port` says another.",
};
static REDIRECT_HOST: Key<Text, Optional> = Key {
    name: "host",
    kind: Text,
    absent: Optional("the client's, with its port"),
    doc: "The host, without a port. May hold variables.",
};
static REDIRECT_PORT: Key<Count, Optional> = Key {
    name: "port",
    kind: Count { least: 1, most: 65_535 },
    absent: Optional("the scheme's own where `scheme` or `host` is said, else the client's"),
    doc: "The port.",
};
static REDIRECT_PATH: Key<Text, Optional> = Key {
    name: "path",
    kind: Text,
    absent: Optional("the client's, with its query"),
    doc: "The path, from its slash on, and the query if there is to be one. May hold variables.",
};
static REDIRECT_TO: Key<Text, Optional> = Key {
    name: "to",
    kind: Text,
    absent: Optional("made of the other keys"),
    doc: "The whole URL, in the place of the keys above: \"https://example.com{uri}\".",
};
static REDIRECT_STATUS: Key<Count, Or<u64>> = Key {
    name: "status",
    kind: Count { least: 301, most: 308 },
    absent: Or(302),
    doc: "301 or 308 for ever, 302 or 307 for now, 303 to be fetched with GET. 307 and 308 keep the method.",
};

impl RedirectTo {
    /// Reads it, with the groups of the route's pattern.
    pub(crate) fn read_with(given: Given<'_>, pattern: Option<&Pattern>) -> Option<Redirect> {
        if let DeValue::String(_) = given.value.get_ref() {
            return Some(Redirect { status: 302, to: Destination::Url(url(given, pattern)?) });
        }
        let Some(fields) = given.table(&REDIRECT_SECTION) else {
            return given
                .wrong_type("a URL or a table", "{ host = \"example.com\", status = 301 }".to_owned());
        };
        let status = fields.readable(&REDIRECT_STATUS)?;
        if ![301, 302, 303, 307, 308].contains(&status) {
            return given.refuse(
                format!("{status} is no redirect"),
                Some("write 301 or 308 for ever, 302 or 307 for now, 303 to be fetched with GET".to_owned()),
            );
        }
        let status = u16::try_from(status).ok()?;
        let part = |key: &Key<Text, Optional>| match fields.given(key.name) {
            Some(given) => line(given, pattern, false).map(Some),
            None => Some(None),
        };
        let parts = [REDIRECT_SCHEME.name, REDIRECT_HOST.name, REDIRECT_PORT.name, REDIRECT_PATH.name];
        let is_in_parts = parts.into_iter().any(|name| fields.has(name));
        if let Some(to) = fields.given(REDIRECT_TO.name) {
            if is_in_parts {
                return given.refuse(
                    "`to` is the whole URL, and the other keys are parts of it",
                    Some("write either of both".to_owned()),
                );
            }
            return Some(Redirect { status, to: Destination::Url(url(to, pattern)?) });
        }
        if !is_in_parts {
            return given.refuse(
                "a redirect to where?",
                Some("write `to`, or one of `scheme`, `host`, `port` and `path`".to_owned()),
            );
        }
        let (host, path) = (part(&REDIRECT_HOST)?, part(&REDIRECT_PATH)?);
        if let Some(host) = host.as_ref().and_then(Template::constant)
            && (host.contains(['/', ':']) && !host.starts_with('['))
        {
            return given.refuse(
                format!("\"{host}\" is more than a host"),
                Some(
                    "the scheme, the port and the path have keys of their own; a whole URL is `to`"
                        .to_owned(),
                ),
            );
        }
        if let Some(path) = &path
            && !path.written().starts_with(['/', '{'])
        {
            let hint = format!("write `path = \"/{}\"`", path.written());
            return given.refuse("a path begins with a slash", Some(hint));
        }
        let scheme = fields.optional(&REDIRECT_SCHEME);
        let port = fields.optional(&REDIRECT_PORT).and_then(|port| u16::try_from(port).ok());
        Some(Redirect { status, to: Destination::Parts { scheme, host, port, path } })
    }
}

/// Read by [`RedirectTo::read_with`], once the groups of the route are known.
impl Kind for RedirectTo {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        let table = REDIRECT_SECTION.schema();
        schema(json!({ "anyOf": [{ "type": "string", "minLength": 1 }, table] }))
    }
}

/// Where somebody is sent: a URL with its scheme, or a path.
fn url(given: Given<'_>, pattern: Option<&Pattern>) -> Option<Template> {
    let read = line(given, pattern, false)?;
    let written = read.written();
    if written.starts_with('/') || written.starts_with('{') || written.contains("://") {
        return Some(read);
    }
    let hint = match written.contains('.') {
        true => format!("a URL has a scheme: \"https://{written}\""),
        false => format!("a path begins with a slash: \"/{written}\""),
    };
    given.refuse(format!("\"{written}\" is neither a URL nor a path"), Some(hint))
}
