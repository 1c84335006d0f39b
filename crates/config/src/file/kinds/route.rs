//! What a route takes and what it does.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::headers::{OF_THE_CONNECTION, SAID_BY_US, is_token_byte, title};
use super::{Count, Time, quote, schema};
use crate::file::declared::{Key, Kind, Optional, Or, Section, Written};
use crate::file::fields::{Fields, Given};
use crate::file::hosts::{ListenAddress, RouteHost, RoutePath};
use crate::file::kinds::Word;
use crate::plan::Listen;
use crate::routing::{
    Cache, Destination, HeaderEdits, HostPattern, Methods, NotAPattern, NotATemplate, PathEdit, Pattern,
    Redirect, Respond, Template,
};
use crate::suggest::nearest;

/// A host, or a list of them.
pub(crate) struct RouteHosts;

/// A whole path.
pub(crate) struct ExactPath;

/// A regular expression over paths.
pub(crate) struct PathRegex;

/// Names of methods.
pub(crate) struct MethodNames;

/// Addresses of listens.
pub(crate) struct ListenAddresses;

/// A URL, or a table of its parts.
pub(crate) struct RedirectTo;

/// A status, or a table.
pub(crate) struct RespondWith;

/// What a node sees in the place of the path.
pub(crate) struct RewritePath;

/// Header lines that are set, added and removed.
pub(crate) struct HeaderChanges {
    /// Whether they are those of requests.
    pub(crate) of_requests: bool,
}

impl Kind for RouteHosts {
    type Read = Vec<HostPattern>;

    fn read(&self, given: Given<'_>) -> Option<Vec<HostPattern>> {
        let DeValue::Array(_) = given.value.get_ref() else {
            return RouteHost.read(given).map(|host| vec![host]);
        };
        let hosts: Vec<Given<'_>> =
            given.elements("a host, or a list of them", "[\"example.com\"]")?.collect();
        if hosts.is_empty() {
            return given.refuse("`host` is empty", Some("leave `host` out to match every host".to_owned()));
        }
        hosts.into_iter().map(|host| RouteHost.read(host)).collect()
    }

    fn schema(&self) -> Map<String, Json> {
        let one = Json::Object(RouteHost.schema());
        schema(json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] }))
    }
}

impl Kind for ExactPath {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a path", || quote("/"))?;
        // Here a slash at the end makes a difference.
        let ends_in_slash = text.len() > 1 && text.ends_with('/');
        RoutePath.read(given).map(|path| if ends_in_slash { path + "/" } else { path })
    }

    fn schema(&self) -> Map<String, Json> {
        RoutePath.schema()
    }
}

impl Kind for PathRegex {
    type Read = Pattern;

    fn read(&self, given: Given<'_>) -> Option<Pattern> {
        let text = given.text("a regular expression", || "'/assets/.*\\.(js|css)'".to_owned())?;
        match Pattern::new(text) {
            Ok(pattern) => Some(pattern),
            Err(NotAPattern::TooBig) => given.refuse(
                "this regular expression would take more than a megabyte",
                Some(
                    "ask for fewer repetitions: `{1,1000}` of a group is as big as a thousand groups"
                        .to_owned(),
                ),
            ),
            Err(NotAPattern::Unreadable(why)) => {
                // The last line is the sentence; those before it draw a picture.
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                let hint = match text.contains("(?=") || text.contains("(?!") || text.contains("(?<") {
                    true => {
                        "expressions that look around are not here; another route can take what this one must not"
                    }
                    false => "in TOML a regular expression is best written in single quotes: '/a/\\d+'",
                };
                given.refuse(format!("not a regular expression: {why}"), Some(hint.to_owned()))
            }
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Kind for MethodNames {
    type Read = Methods;

    fn read(&self, given: Given<'_>) -> Option<Methods> {
        let example = "[\"GET\", \"POST\"]";
        let names: Vec<Given<'_>> = given.elements("a list of methods", example)?.collect();
        if names.is_empty() {
            let hint = "leave it out to take every method".to_owned();
            return given.refuse(format!("`{}` is empty", given.name), Some(hint));
        }
        let read = names.into_iter().filter_map(|name| {
            let text = name.text("a method", || quote("GET"))?;
            if Methods::of([text]).is_ok() {
                return Some(text);
            }
            let hint = match nearest(&text.to_uppercase(), Methods::NAMES) {
                Some(meant) => format!("did you mean \"{meant}\"?"),
                None => format!("there are {}", Methods::NAMES.join(", ")),
            };
            name.refuse(format!("\"{text}\" is not a method that routes tell apart"), Some(hint))
        });
        Methods::of(read.collect::<Vec<_>>()).ok()
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "minItems": 1, "items": { "enum": Methods::NAMES } }))
    }
}

impl Kind for ListenAddresses {
    /// With what stands in the file, for whoever knows which listens there are.
    type Read = Vec<std::net::SocketAddr>;

    fn read(&self, given: Given<'_>) -> Option<Self::Read> {
        let elements = given.elements("a list of addresses to listen on", "[\":80\"]")?;
        elements.map(|element| ListenAddress.read(element)).collect()
    }

    fn schema(&self) -> Map<String, Json> {
        let one = Json::Object(ListenAddress.schema());
        schema(json!({ "type": "array", "minItems": 1, "items": one }))
    }
}

impl ListenAddresses {
    /// The ports of these listens; the error is one that is not there, or cannot be told from another.
    pub(crate) fn ports(addresses: &[std::net::SocketAddr], listens: &[Listen]) -> Result<Vec<u16>, String> {
        let port = |address: &std::net::SocketAddr| {
            let is_there = listens.iter().any(|listen| listen.address == *address);
            let of_port = listens.iter().filter(|listen| listen.address.port() == address.port()).count();
            match (is_there, of_port) {
                (false, _) => Err(format!("no `[[listen]]` has the address \"{address}\"")),
                (true, _) if address.port() == 0 => {
                    Err("a listen whose port the system chooses cannot be named".to_owned())
                }
                (true, 1) => Ok(address.port()),
                (true, _) => Err(format!(
                    "several listens have the port {}, and routes tell them apart by that",
                    address.port()
                )),
            }
        };
        addresses.iter().map(port).collect()
    }
}

/// Reads a text with variables, or says what is wrong with it.
fn template(given: Given<'_>, text: &str, pattern: Option<&Pattern>) -> Option<Template> {
    match Template::read(text, pattern) {
        Ok(template) => Some(template),
        Err(NotATemplate { message, hint }) => given.refuse(message, Some(hint)),
    }
}

/// The same, of what stands in a header line or a URL: visible ASCII, and blanks where they may be.
fn line(given: Given<'_>, pattern: Option<&Pattern>, may_have_blanks: bool) -> Option<Template> {
    let text = given.text("a string", || quote("…"))?;
    let read = template(given, text, pattern)?;
    let fits = |byte: u8| byte.is_ascii_graphic() || (may_have_blanks && byte == b' ') || byte >= 0x80;
    if !read.texts_fit(fits) {
        return given.refuse(
            format!("`{}` holds a character that cannot be there", given.name),
            Some("line breaks and other control characters are left out".to_owned()),
        );
    }
    Some(read)
}

/// How long caches may keep a file.
pub(crate) struct CacheTime;

impl Kind for CacheTime {
    type Read = Cache;

    fn read(&self, given: Given<'_>) -> Option<Cache> {
        match given.value.get_ref() {
            DeValue::String(text) if text == HASHED => Some(Cache::Hashed),
            // Years, which other times do not have.
            DeValue::String(text)
                if text.strip_suffix('y').is_some_and(|years| years.parse::<u32>().is_ok()) =>
            {
                let years = text.trim_end_matches('y').parse::<u32>().ok().filter(|years| *years <= 10);
                match years {
                    Some(years) => Some(Cache::For(Duration::from_secs(u64::from(years) * YEAR_S))),
                    None => given.out_of_range("1s to 10y"),
                }
            }
            _ => Time { least: Duration::ZERO, most: Duration::from_secs(10 * YEAR_S) }
                .read(given)
                .map(Cache::For),
        }
    }

    fn range(&self) -> Option<String> {
        Some("0s to 10y".to_owned())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 2 }))
    }
}

/// Names of files in a folder, or one.
pub(crate) struct FileNames;

impl Kind for FileNames {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let DeValue::Array(_) = given.value.get_ref() else {
            return FileName.read(given).map(|name| vec![name]);
        };
        let names = given.elements("the name of a file, or a list of them", "[\"index.html\"]")?;
        names.map(|name| FileName.read(name)).collect()
    }

    fn schema(&self) -> Map<String, Json> {
        let one = Json::Object(FileName.schema());
        schema(json!({ "anyOf": [one, { "type": "array", "items": one }] }))
    }
}

impl Written for FileNames {
    fn written(&self, value: &Vec<String>) -> Json {
        json!(value)
    }
}

/// The name of a file in a folder, or under it.
pub(crate) struct FileName;

impl Kind for FileName {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("the name of a file", || quote("index.html"))?;
        let name = text.trim_start_matches('/');
        let is_within = !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if is_within {
            return Some(name.to_owned());
        }
        given.refuse(
            format!("\"{text}\" is not the name of a file in the folder"),
            Some("write it as seen from `files`: \"index.html\"".to_owned()),
        )
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

/// A table of redirects, in which each key is one of these.
pub(crate) static REDIRECT_SECTION: Section = Section {
    doc: "Parts of the URL that are replaced; the others stay as the client asked.",
    keys: &[&REDIRECT_SCHEME, &REDIRECT_HOST, &REDIRECT_PORT, &REDIRECT_PATH, &REDIRECT_TO, &REDIRECT_STATUS],
    later: &[],
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

/// Any string; read again where the groups of the route are known.
pub(crate) struct Text;

impl Kind for Text {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        given.text("a string", || quote("…")).map(str::to_owned)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string" }))
    }
}

impl Written for Text {
    fn written(&self, value: &String) -> Json {
        json!(value)
    }
}

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
        let table = crate::schema::section(&REDIRECT_SECTION);
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

/// A table of answers.
pub(crate) static RESPOND_SECTION: Section = Section {
    doc: "An answer that stands in the file.",
    keys: &[&RESPOND_STATUS, &RESPOND_TEXT, &RESPOND_TYPE],
    later: &[],
};
static RESPOND_STATUS: Key<Count, Or<u64>> = Key {
    name: "status",
    kind: Count { least: 200, most: 599 },
    absent: Or(200),
    doc: "The status. 444 closes the connection without an answer, as in nginx.",
};
static RESPOND_TEXT: Key<Text, Optional> =
    Key { name: "text", kind: Text, absent: Optional("no body"), doc: "The body. May hold variables." };
static RESPOND_TYPE: Key<Text, Optional> = Key {
    name: "content_type",
    kind: Text,
    absent: Optional("\"text/plain; charset=utf-8\""),
    doc: "The media type of the body.",
};

impl RespondWith {
    /// Reads it, with the groups of the route's pattern.
    pub(crate) fn read_with(given: Given<'_>, pattern: Option<&Pattern>) -> Option<Respond> {
        let plain = "text/plain; charset=utf-8";
        if let DeValue::Integer(_) = given.value.get_ref() {
            let status = RESPOND_STATUS.kind.read(given)?;
            let status = u16::try_from(status).ok()?;
            return Some(Respond { status, text: Template::default(), content_type: plain.to_owned() });
        }
        let Some(fields) = given.table(&RESPOND_SECTION) else {
            return given.wrong_type("a status or a table", "{ status = 200, text = \"ok\" }".to_owned());
        };
        let status = u16::try_from(fields.readable(&RESPOND_STATUS)?).ok()?;
        let text = match fields.given(RESPOND_TEXT.name) {
            Some(text) => template(text, text.text("a string", || quote("ok"))?, pattern)?,
            None => Template::default(),
        };
        let content_type = match fields.given(RESPOND_TYPE.name) {
            Some(given) => line(given, None, true)?.written().to_owned(),
            None => plain.to_owned(),
        };
        if !text.pieces().is_empty() && matches!(status, 204 | 205 | 304) {
            return given.refuse(
                format!("an answer of {status} has no body"),
                Some("leave `text` out, or write another status".to_owned()),
            );
        }
        Some(Respond { status, text, content_type })
    }
}

/// Read by [`RespondWith::read_with`], once the groups of the route are known.
impl Kind for RespondWith {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        let table = crate::schema::section(&RESPOND_SECTION);
        schema(json!({ "anyOf": [{ "type": "integer", "minimum": 200, "maximum": 599 }, table] }))
    }
}

/// A table of what is done to a path.
pub(crate) static REWRITE_SECTION: Section =
    Section { doc: "Another beginning of the path.", keys: &[&REWRITE_PREFIX], later: &[] };
static REWRITE_PREFIX: Key<Text, Optional> = Key {
    name: "prefix",
    kind: Text,
    absent: Optional("nothing, as `strip = true` has it"),
    doc: "What comes in the place of the route's `path`.",
};

impl RewritePath {
    /// Reads it, with the groups of the route's pattern.
    pub(crate) fn read_with(given: Given<'_>, pattern: Option<&Pattern>) -> Option<PathEdit> {
        let begins_right = |given: Given<'_>, text: &str| {
            if text.starts_with('/') || text.starts_with("{path}") || text.starts_with("{1}") {
                return Some(());
            }
            given.refuse("a path begins with a slash", Some(format!("write \"/{text}\"")))
        };
        let has_query = |given: Given<'_>, text: &str| {
            if !text.contains(['?', '#']) {
                return Some(());
            }
            let hint = "the query of the request goes on behind the path as it is".to_owned();
            given.refuse("a rewritten path holds no query", Some(hint))
        };
        if let DeValue::String(text) = given.value.get_ref() {
            let read = line(given, pattern, false)?;
            begins_right(given, text)?;
            has_query(given, text)?;
            return Some(PathEdit::Whole(read));
        }
        let Some(fields) = given.table(&REWRITE_SECTION) else {
            return given.wrong_type("a path or a table", "{ prefix = \"/v2\" }".to_owned());
        };
        let prefix = match fields.given(REWRITE_PREFIX.name) {
            Some(prefix) => RoutePath.read(prefix)?,
            None => String::new(),
        };
        Some(PathEdit::Prefix(prefix.trim_end_matches('/').to_owned()))
    }
}

/// Read by [`RewritePath::read_with`], once the groups of the route are known.
impl Kind for RewritePath {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        let table = crate::schema::section(&REWRITE_SECTION);
        schema(json!({ "anyOf": [{ "type": "string", "minLength": 1 }, table] }))
    }
}

/// A table of changes to header lines.
pub(crate) static HEADERS_SECTION: Section = Section {
    doc: "Header lines that are set, added and removed.",
    keys: &[&HEADERS_SET, &HEADERS_ADD, &HEADERS_REMOVE],
    later: &[],
};
static HEADERS_SET: Key<LineTable, Optional> = Key {
    name: "set",
    kind: LineTable,
    absent: Optional("none"),
    doc: "Lines in the place of those of the same name: `{ \"Cache-Control\" = \"no-store\" }`. Values may hold variables; \
          an empty one sends no line.",
};
static HEADERS_ADD: Key<LineTable, Optional> = Key {
    name: "add",
    kind: LineTable,
    absent: Optional("none"),
    doc: "Lines beside those of the same name.",
};
static HEADERS_REMOVE: Key<LineNames, Optional> = Key {
    name: "remove",
    kind: LineNames,
    absent: Optional("none"),
    doc: "Names of lines that go no further.",
};

struct LineTable;
struct LineNames;

impl Kind for LineTable {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "object", "additionalProperties": { "type": "string" } }))
    }
}

impl Kind for LineNames {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "string", "minLength": 1 } }))
    }
}

impl HeaderChanges {
    /// Reads them, with the groups of the route's pattern. What requests say as Host comes apart.
    pub(crate) fn read_with(
        &self,
        given: Given<'_>,
        pattern: Option<&Pattern>,
    ) -> Option<(HeaderEdits, Option<Template>)> {
        let Some(fields) = given.table(&HEADERS_SECTION) else {
            let example = "{ set = { \"Cache-Control\" = \"no-store\" } }".to_owned();
            return given.wrong_type("a table", example);
        };
        let mut set = self.lines(&fields, HEADERS_SET.name, pattern)?;
        let add = self.lines(&fields, HEADERS_ADD.name, pattern)?;
        let remove = match fields.given(HEADERS_REMOVE.name) {
            Some(names) => names
                .elements("a list of header names", "[\"X-Powered-By\"]")?
                .filter_map(|name| {
                    let text = name.text("a header name", || quote("X-Powered-By"))?;
                    self.name(name, text).map(|()| text.to_ascii_lowercase())
                })
                .collect(),
            None => Vec::new(),
        };
        let host = set.iter().position(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = host.filter(|_| self.of_requests).map(|at| set.remove(at).1);
        Some((HeaderEdits { set, add, remove }, host))
    }

    fn lines(
        &self,
        fields: &Fields<'_>,
        key: &str,
        pattern: Option<&Pattern>,
    ) -> Option<Vec<(String, Template)>> {
        let Some(given) = fields.given(key) else { return Some(Vec::new()) };
        let Some(entries) = given.entries() else {
            return given.wrong_type("a table", "{ \"Cache-Control\" = \"no-store\" }".to_owned());
        };
        // One that is wrong has been told, and the others may be wrong as well.
        let lines = entries.filter_map(|(name, value)| {
            let is_host = self.of_requests && key == HEADERS_SET.name && name.eq_ignore_ascii_case("host");
            if !is_host {
                self.name(value, name)?;
            }
            Some((name.to_owned(), line(value, pattern, true)?))
        });
        Some(lines.collect())
    }

    /// Whether a line of this name may be changed.
    fn name(&self, given: Given<'_>, name: &str) -> Option<()> {
        let lower = name.to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return given.refuse(
                format!("\"{name}\" is not the name of a header"),
                Some("a name stands without its colon: \"X-Frame-Options\"".to_owned()),
            );
        }
        if OF_THE_CONNECTION.contains(&&*lower) {
            return given.refuse(
                format!("{} is between two ends of a connection, and tidelock says it itself", title(&lower)),
                Some("leave it out".to_owned()),
            );
        }
        if self.of_requests && SAID_BY_US.contains(&&*lower) {
            let hint = match &*lower {
                "host" => "write it under `set`: `set = { Host = \"app.internal\" }`",
                _ => "leave it out: nodes are told who the client is on every request",
            };
            return given.refuse(format!("tidelock says {} itself", title(&lower)), Some(hint.to_owned()));
        }
        Some(())
    }
}

/// Read by [`HeaderChanges::read_with`], once the groups of the route are known.
impl Kind for HeaderChanges {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(crate::schema::section(&HEADERS_SECTION))
    }
}

const HASHED: &str = "hashed";
const YEAR_S: u64 = 365 * 24 * 60 * 60;
