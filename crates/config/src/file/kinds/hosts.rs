//! Kinds of values that say where: addresses to listen on, hosts and paths of routes, what is sent as Host.
//! Pure text; no name is looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Map, Value as Json, json};

use super::{quote, schema};
use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;
use crate::routing::HostPattern;

/// An address and port to listen on.
pub(crate) struct ListenAddress;

/// The host of a route.
pub(crate) struct RouteHost;

/// The path of a route.
pub(crate) struct RoutePath;

impl Unsaid for RoutePath {}

/// What is sent as Host.
pub(crate) struct HostHeader;

/// The name that a certificate is for.
pub(crate) struct ServerName;

/// A list of DNS resolvers.
pub(crate) struct Nameservers;

impl Kind for ListenAddress {
    type Read = SocketAddr;

    fn read(&self, given: Given<'_>) -> Option<SocketAddr> {
        let text = given.text("an address and port", || quote(":80"))?;
        let every_interface = text.strip_prefix('*').unwrap_or(text).strip_prefix(':');
        if let Some(port) = every_interface.and_then(|port| port.parse().ok()) {
            return Some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)));
        }
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let hint = if text.contains("://") {
            "an address has no scheme; TLS is `tls = { certificate = \"…\", key = \"…\" }`".to_owned()
        } else if text.parse::<u16>().is_ok() {
            format!("on every interface that is `{} = \":{text}\"`", given.name)
        } else if let Ok(address) = text.parse::<IpAddr>() {
            format!("with its port that is `{} = \"{}\"`", given.name, SocketAddr::new(address, 80))
        } else if text.starts_with("localhost") {
            format!("a name may mean several addresses; write `{} = \"127.0.0.1:8080\"`", given.name)
        } else {
            "an address and a port: \"127.0.0.1:8080\" or, on every interface, \":80\"".to_owned()
        };
        given.refuse(format!("\"{text}\" is not an address to listen on"), Some(hint))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": ":[0-9]+$" }))
    }
}

/// An address to listen on as people write it.
pub(crate) fn written(address: SocketAddr) -> String {
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return format!(":{}", address.port());
    }
    address.to_string()
}

impl Kind for RouteHost {
    type Read = HostPattern;

    fn read(&self, given: Given<'_>) -> Option<HostPattern> {
        let text = given.text("a host", || quote("api.example.com"))?.to_lowercase();
        let (name, wildcard) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (&*text, false),
        };
        if is_name(name) || (is_address(name) && !wildcard) {
            return Some(match wildcard {
                true => HostPattern::Wildcard(format!(".{name}")),
                false => HostPattern::Exact(text),
            });
        }
        given.refuse(format!("\"{text}\" is not a host"), Some(host_hint(&text)))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

/// What to write instead of something that is not a host, by the mistake that it looks like: a URL, a path, a port,
/// a star.
fn host_hint(text: &str) -> String {
    if let Some((_, rest)) = text.split_once("://") {
        let host = rest.split('/').next().unwrap_or(rest);
        format!("a host has no scheme: \"{host}\"")
    } else if let Some((host, path)) = text.split_once('/') {
        format!("a path has its own key: `host = \"{host}\"` and `path = \"/{path}\"`")
    } else if text == "*" {
        "leave `host` out to match every host".to_owned()
    } else if text.contains('*') {
        "a star may only be the whole first label: \"*.example.com\"".to_owned()
    } else if let Some((host, _)) = text.rsplit_once(':') {
        format!("routes do not look at the port: \"{host}\"")
    } else if let Some(host) = text.strip_suffix('.') {
        format!("without the dot at the end: \"{host}\"")
    } else if !text.is_ascii() {
        "names outside ASCII are written as clients send them: \"xn--…\"".to_owned()
    } else {
        "a host is \"api.example.com\", or \"*.example.com\" for every name under it".to_owned()
    }
}

impl Kind for RoutePath {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a path", || quote("/"))?;
        let hint = if !text.starts_with('/') {
            format!("a path begins with a slash: `{} = \"/{text}\"`", given.name)
        } else if text.contains(['?', '#']) {
            "only the path is compared, up to the `?`".to_owned()
        } else if text.contains('*') {
            "a path takes everything under it: \"/chat\" takes \"/chat\" and \"/chat/x\"".to_owned()
        } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            "what is not visible ASCII is written as clients send it: \"%20\"".to_owned()
        } else {
            // The prefix ends on a segment border whether or not that slash is written.
            let trimmed = text.trim_end_matches('/');
            return Some(if trimmed.is_empty() { "/".to_owned() } else { trimmed.to_owned() });
        };
        given.refuse(format!("\"{text}\" is not the beginning of a path"), Some(hint))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^/[^?#*\\s]*$" }))
    }
}

impl Kind for HostHeader {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a host", || quote("app.internal"))?;
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok());
        if port_fits && (is_name(host) || is_address(host)) {
            return Some(text.to_owned());
        }
        let hint = "a host, with a port if need be: \"app.internal\" or \"app.internal:3000\"";
        given.refuse(format!("\"{text}\" cannot be sent as Host"), Some(hint.to_owned()))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Written for HostHeader {
    fn written(&self, value: &String) -> Json {
        json!(value)
    }
}

impl Kind for ServerName {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("a name", || quote("app.internal"))?;
        let address = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if is_name(text) || address.parse::<IpAddr>().is_ok() {
            return Some(address.to_lowercase());
        }
        let hint = "a name or an address, without scheme and port: \"app.internal\"";
        given.refuse(format!("\"{text}\" cannot be the name in a certificate"), Some(hint.to_owned()))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Written for ServerName {
    fn written(&self, value: &String) -> Json {
        json!(value)
    }
}

impl Kind for Nameservers {
    type Read = Vec<SocketAddr>;

    fn read(&self, given: Given<'_>) -> Option<Vec<SocketAddr>> {
        let example = "[\"127.0.0.1:53\"]";
        let elements: Vec<Given<'_>> = given.elements("a list of DNS resolvers", example)?.collect();
        if elements.is_empty() || elements.len() > NAMESERVERS_MAX {
            let hint = "leave it out to ask the system's, in /etc/resolv.conf";
            return given.refuse(
                format!("`{}` wants 1 to {NAMESERVERS_MAX} resolvers", given.name),
                Some(hint.to_owned()),
            );
        }
        let nameservers = elements.into_iter().filter_map(|element| {
            let text = element.text("the address of a DNS resolver", || quote("127.0.0.1:53"))?;
            let address = match text.parse::<IpAddr>() {
                Ok(address) => Some(SocketAddr::new(address, DNS_PORT)),
                Err(_) => text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0),
            };
            address.or_else(|| {
                element.refuse(
                    format!("\"{text}\" is not the address of a DNS resolver"),
                    Some("write \"127.0.0.1\", \"127.0.0.1:53\" or \"[fd00::53]:53\"".to_owned()),
                )
            })
        });
        Some(nameservers.collect())
    }

    fn schema(&self) -> Map<String, Json> {
        let items = json!({ "type": "string" });
        schema(json!({ "type": "array", "minItems": 1, "maxItems": NAMESERVERS_MAX, "items": items }))
    }
}

impl Written for Nameservers {
    fn written(&self, value: &Vec<SocketAddr>) -> Json {
        json!(value)
    }
}

/// The address in `[fd00::7]`.
pub(super) fn bracketed(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// As URLs write it: IPv6 in brackets.
fn is_address(text: &str) -> bool {
    bracketed(text).is_some() || text.parse::<Ipv4Addr>().is_ok()
}

/// Whether a text can be a host name: labels of 1 to 63 letters, digits, `-` and `_`, 253 bytes in all (RFC 1035
/// section 2.3.4; underscores because Docker's networks have them). A last label of digits alone is a mistyped
/// address, as no top-level domain is a number.
pub(super) fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let ends_in_number =
        text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(is_label) && !ends_in_number
}

const DNS_PORT: u16 = 53;
/// More are never asked: the first that answers is enough.
const NAMESERVERS_MAX: usize = 8;
