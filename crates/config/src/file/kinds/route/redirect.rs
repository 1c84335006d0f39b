//! Where a route sends clients: `redirect`.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{UrlPart, line};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::fields::Fields;
use crate::file::given::Given;
use crate::file::kinds::{Count, Word, schema};
use crate::routing::{Destination, Redirect, Template};

/// A URL, or a table of its parts.
pub(crate) struct RedirectTo;

declare! {
    /// `redirect`, where it is a table.
    struct RedirectTable in TABLE = "redirect", One: "Parts of the URL that are replaced; the others stay as the client asked.";
    keys {
        /// "https" or "http". The port is that scheme's own then, unless `port` says another.
        SCHEME scheme: Option<&'static str> => "the client's", Word<&'static str>(&[("https", "https"), ("http", "http")]);
        /// The host, without a port. May hold variables.
        HOST host: Option<Template> => "the client's, with its port", UrlPart;
        /// The port.
        PORT port: Option<u16> => "the scheme's own where `scheme` or `host` is said, else the client's",
            Count { least: 1, most: 65_535 };
        /// The path, from its slash on, and the query if there is to be one. May hold variables.
        PATH path: Option<Template> => "the client's, with its query", UrlPart;
        /// The whole URL, in the place of the keys above: "https://example.com{uri}".
        TO to: Option<Template> => "made of the other keys", Url;
        /// 301 or 308 for ever, 302 or 307 for now, 303 to be fetched with GET. 307 and 308 keep the method.
        STATUS status: u16 = 302, Count { least: 301, most: 308 };
    }
}

impl Kind for RedirectTo {
    type Read = Redirect;

    fn read(&self, given: Given<'_>) -> Option<Redirect> {
        if let DeValue::String(_) = given.value.get_ref() {
            return Some(Redirect { status: STATUS_UNSAID, to: Destination::Url(Url.read(given)?) });
        }
        let Some(fields) = given.table(TABLE.section) else {
            return given
                .wrong_type("a URL or a table", "{ host = \"example.com\", status = 301 }".to_owned());
        };
        let table = fields.reading.sound(|| RedirectTable::read(&fields))?;
        table.redirect(given, &fields)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "string", "minLength": 1 }, TABLE.section.schema()] }))
    }
}

impl Unsaid for RedirectTo {}

impl RedirectTable {
    fn redirect(self, given: Given<'_>, fields: &Fields<'_>) -> Option<Redirect> {
        let Self { scheme, host, port, path, to, status } = self;
        if ![301, 302, 303, 307, 308].contains(&status) {
            return given.refuse(
                format!("{status} is no redirect"),
                Some("write 301 or 308 for ever, 302 or 307 for now, 303 to be fetched with GET".to_owned()),
            );
        }
        let is_in_parts =
            [SCHEME.name, HOST.name, PORT.name, PATH.name].into_iter().any(|name| fields.has(name));
        let to = match (to, is_in_parts) {
            (Some(_), true) => {
                return given.refuse(
                    "`to` is the whole URL, and the other keys are parts of it",
                    Some("write either of both".to_owned()),
                );
            }
            (Some(url), false) => Destination::Url(url),
            (None, true) => Destination::Parts { scheme, host, port, path },
            (None, false) => {
                return given.refuse(
                    "a redirect to where?",
                    Some("write `to`, or one of `scheme`, `host`, `port` and `path`".to_owned()),
                );
            }
        };
        if let Destination::Parts { host, path, .. } = &to {
            demand_a_host(given, host.as_ref())?;
            demand_a_path(given, path.as_ref())?;
        }
        Some(Redirect { status, to })
    }
}

fn demand_a_host(given: Given<'_>, host: Option<&Template>) -> Option<()> {
    match host.and_then(Template::constant) {
        Some(host) if host.contains(['/', ':']) && !host.starts_with('[') => given.refuse(
            format!("\"{host}\" is more than a host"),
            Some("the scheme, the port and the path have keys of their own; a whole URL is `to`".to_owned()),
        ),
        _ => Some(()),
    }
}

fn demand_a_path(given: Given<'_>, path: Option<&Template>) -> Option<()> {
    match path {
        Some(path) if !path.written().starts_with(['/', '{']) => {
            let hint = format!("write `path = \"/{}\"`", path.written());
            given.refuse("a path begins with a slash", Some(hint))
        }
        _ => Some(()),
    }
}

/// Where somebody is sent: a URL with its scheme, or a path.
pub(crate) struct Url;

impl Kind for Url {
    type Read = Template;

    fn read(&self, given: Given<'_>) -> Option<Template> {
        let read = line(given, false)?;
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

    fn schema(&self) -> Map<String, Json> {
        UrlPart.schema()
    }
}

impl Unsaid for Url {}

/// The status of a redirect that is only a URL.
const STATUS_UNSAID: u16 = 302;
