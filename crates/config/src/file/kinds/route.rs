//! What a route takes, and what its keys have in common; a file of its own for each thing that a route does.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::hosts::{ListenAddress, RouteHost, RoutePath, written};
use super::{quote, schema};
use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;
use crate::routing::{HostPattern, Methods, NotAPattern, NotATemplate, Pattern, Template};
use crate::suggest::nearest;

pub(crate) mod folder;
pub(crate) mod header_changes;
pub(crate) mod matches;
pub(crate) mod redirect;
pub(crate) mod respond;
pub(crate) mod rewrite;

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

impl Unsaid for RouteHosts {}
impl Unsaid for ExactPath {}
impl Unsaid for PathRegex {}
impl Unsaid for MethodNames {}
impl Unsaid for ListenAddresses {}

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
    pub(crate) fn ports(
        addresses: &[std::net::SocketAddr],
        listens: &[std::net::SocketAddr],
    ) -> Result<Vec<u16>, String> {
        let port = |address: &std::net::SocketAddr| {
            // By its port: "0.0.0.0:80" may name ":80", which has it too.
            let is_every = |one: &std::net::SocketAddr| one.ip().is_unspecified();
            let is_it = |listen: &std::net::SocketAddr| {
                listen == address
                    || (listen.port() == address.port() && is_every(listen) && is_every(address))
            };
            let is_there = listens.iter().any(is_it);
            let of_port = listens.iter().filter(|listen| listen.port() == address.port()).count();
            match (is_there, of_port) {
                (false, _) => Err(format!("no `[[listen]]` has the address \"{}\"", written(*address))),
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
fn template(given: Given<'_>, text: &str) -> Option<Template> {
    match Template::read(text, given.groups) {
        Ok(template) => without_node(given, template),
        Err(NotATemplate { message, hint }) => given.refuse(message, Some(hint)),
    }
}

/// A text that is made before the node is chosen.
fn without_node(given: Given<'_>, read: Template) -> Option<Template> {
    if !read.names_node() {
        return Some(read);
    }
    given.refuse(
        "`{node}` is not known here: the node is chosen later",
        Some("`{node}` can stand in values of `request_headers` and `response_headers`".to_owned()),
    )
}

/// The same, of what stands in a URL or a header line that no node is asked for.
fn line(given: Given<'_>, may_have_blanks: bool) -> Option<Template> {
    let text = given.text("a string", || quote("…"))?;
    let read = template(given, text)?;
    one_line(given, read, may_have_blanks)
}

/// The same of a header line that passes between a client and a node.
fn passing_line(given: Given<'_>) -> Option<Template> {
    let text = given.text("a string", || quote("…"))?;
    match Template::read(text, given.groups) {
        Ok(read) => one_line(given, read, true),
        Err(NotATemplate { message, hint }) => given.refuse(message, Some(hint)),
    }
}

/// Visible ASCII, and blanks where they may be.
fn one_line(given: Given<'_>, read: Template, may_have_blanks: bool) -> Option<Template> {
    let fits = |byte: u8| byte.is_ascii_graphic() || (may_have_blanks && byte == b' ') || byte >= 0x80;
    if !read.texts_fit(fits) {
        return given.refuse(
            format!("`{}` holds a character that cannot be there", given.name),
            Some("line breaks and other control characters are left out".to_owned()),
        );
    }
    Some(read)
}

/// A part of a URL, which may hold variables.
pub(crate) struct UrlPart;

impl Kind for UrlPart {
    type Read = Template;

    fn read(&self, given: Given<'_>) -> Option<Template> {
        line(given, false)
    }

    fn schema(&self) -> Map<String, Json> {
        Text.schema()
    }
}

impl Unsaid for UrlPart {}

/// A text of any length, which may hold variables.
pub(crate) struct BodyText;

impl Kind for BodyText {
    type Read = Template;

    fn read(&self, given: Given<'_>) -> Option<Template> {
        template(given, given.text("a string", || quote("ok"))?)
    }

    fn schema(&self) -> Map<String, Json> {
        Text.schema()
    }
}

impl Unsaid for BodyText {}

/// What a header line says, with blanks, but without variables.
pub(crate) struct LineText;

impl Kind for LineText {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        line(Given { groups: None, ..given }, true).map(|line| line.written().to_owned())
    }

    fn schema(&self) -> Map<String, Json> {
        Text.schema()
    }
}

impl Unsaid for LineText {}

/// Any string.
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
