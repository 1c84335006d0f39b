//! Kinds of values that say where: addresses to listen on, hosts and paths of routes, nodes.
//! Pure text; no name is looked up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde_json::{Map, Value as Json, json};

use super::declared::Kind;
use super::fields::Given;
use super::kinds::{quote, schema};
use crate::plan::NodeHost;
use crate::roster::why_no_node;
use crate::routing::HostPattern;

/// An address and port to listen on.
pub(crate) struct ListenAddress;

/// The host of a route.
pub(crate) struct RouteHost;

/// The path of a route.
pub(crate) struct RoutePath;

/// What is sent as Host.
pub(crate) struct HostHeader;

/// A list of DNS resolvers.
pub(crate) struct Nameservers;

/// The host and port of a node.
pub(crate) struct NodeAddress;

/// What [`NodeAddress`] reads; the port is 0 where SRV records say it.
pub(crate) struct HostAndPort {
    pub(crate) written: String,
    pub(crate) host: NodeHost,
    pub(crate) port: u16,
}

impl Kind for ListenAddress {
    type Read = SocketAddr;

    fn read(&self, given: Given<'_>) -> Option<SocketAddr> {
        let text = given.text("an address and port", || quote("0.0.0.0:80"))?;
        let every_interface = text.strip_prefix(':').and_then(|port| port.parse().ok());
        if let Some(port) = every_interface {
            return Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
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
            "an address and a port: \"0.0.0.0:80\", \"[::]:80\" or, on every IPv4 interface, \":80\""
                .to_owned()
        };
        given.refuse(format!("\"{text}\" is not an address to listen on"), Some(hint))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": ":[0-9]+$" }))
    }
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

/// What to write instead of something that is not a host.
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

impl Kind for NodeAddress {
    type Read = HostAndPort;

    fn read(&self, given: Given<'_>) -> Option<HostAndPort> {
        let text = given.text("the host and port of a node", || quote("server1.example.com:3000"))?;
        if let Some(name) = text.strip_prefix(SRV) {
            return service(given, text, name);
        }
        let (host, port) = match text.rsplit_once(':') {
            // The colons of a bare IPv6 address are not the one before a port.
            Some((host, port)) if host.starts_with('[') || !host.contains(':') => (host, Some(port)),
            _ => (text, None),
        };
        if text.contains('/') {
            return given.refuse(format!("\"{text}\" is not the address of a node"), Some(node_hint(text)));
        }
        let node_host = match host.parse::<Ipv4Addr>() {
            Ok(address) => Some(NodeHost::Address(address.into())),
            Err(_) => bracketed(host)
                .map(|address| NodeHost::Address(address.into()))
                .or_else(|| is_name(host).then(|| NodeHost::Name(host.to_lowercase()))),
        };
        let port = port.map(|port| port.parse::<u16>().ok().filter(|&port| port != 0));
        if let Some(NodeHost::Address(address)) = node_host
            && let Some(why) = why_no_node(address)
        {
            let port = port.flatten().unwrap_or(3000);
            let hint = format!(
                "write where the node is: \"10.0.0.7:{port}\", or \"127.0.0.1:{port}\" on this machine"
            );
            return given.refuse(format!("\"{text}\" {why}"), Some(hint));
        }
        match (node_host, port) {
            (Some(host), Some(Some(port))) => Some(HostAndPort { written: text.to_owned(), host, port }),
            (Some(_), None) if is_service(text) => given.refuse(
                format!("\"{text}\" has no port"),
                Some(format!("if SRV records of that name say where the nodes listen: \"{SRV}{text}\"")),
            ),
            (Some(_), None) => given.refuse(
                format!("\"{text}\" has no port"),
                Some(format!("say where the node listens: \"{text}:3000\"")),
            ),
            (Some(_), Some(None)) => given.refuse(
                format!("\"{text}\" has no port from 1 to 65535"),
                Some(format!("say where the node listens: \"{host}:3000\"")),
            ),
            (None, _) => {
                given.refuse(format!("\"{text}\" is not the address of a node"), Some(node_hint(text)))
            }
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": format!(":[0-9]+$|^{SRV}") }))
    }
}

/// Reads the name of SRV records. It need not be `_service._proto`: Consul and Docker answer for plain names too.
fn service(given: Given<'_>, text: &str, name: &str) -> Option<HostAndPort> {
    let hint = match name.rsplit_once(':') {
        Some((host, _)) => format!("SRV records say the port: \"{SRV}{host}\""),
        None if is_name(name) => {
            let host = NodeHost::Service(name.to_lowercase());
            return Some(HostAndPort { written: text.to_owned(), host, port: 0 });
        }
        None => format!("behind `{SRV}` stands the name of SRV records: \"{SRV}_chat._tcp.example.com\""),
    };
    given.refuse(format!("\"{text}\" is not the address of a node"), Some(hint))
}

/// Whether a name looks like those that SRV records have: `_chat._tcp.example.com`.
fn is_service(name: &str) -> bool {
    name.starts_with('_') && ["._tcp.", "._udp."].iter().any(|protocol| name.contains(protocol))
}

/// What to write instead of something that is not the address of a node.
fn node_hint(text: &str) -> String {
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split('/').next().unwrap_or(rest);
        format!("a node has no scheme and no path: \"{authority}\"")
    } else if let Ok(address) = text.parse::<IpAddr>() {
        format!("with its port that is \"{}\"", SocketAddr::new(address, 3000))
    } else if text.starts_with("unix:") || text.starts_with('/') {
        "nodes are reached over TCP: \"127.0.0.1:3000\"".to_owned()
    } else if let Some((authority, _)) = text.split_once('/') {
        format!("a node has no path: \"{authority}\"")
    } else {
        "a host and a port: \"server1.example.com:3000\", \"10.0.0.7:3000\" or \"[fd00::7]:3000\"".to_owned()
    }
}

/// The address in `[fd00::7]`.
fn bracketed(text: &str) -> Option<Ipv6Addr> {
    text.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// Whether a text is an address as URLs write it.
fn is_address(text: &str) -> bool {
    bracketed(text).is_some() || text.parse::<Ipv4Addr>().is_ok()
}

/// Whether a text can be a host name: labels of 1 to 63 letters, digits, `-` and `_`, 253 bytes in all (RFC 1035
/// section 2.3.4; underscores because Docker's networks have them). A last label of digits alone is a mistyped
/// address, as no top-level domain is a number.
fn is_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let ends_in_number =
        text.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(is_label) && !ends_in_number
}

/// What stands before the name of SRV records.
const SRV: &str = "srv:";
const DNS_PORT: u16 = 53;
/// More are never asked: the first that answers is enough.
const NAMESERVERS_MAX: usize = 8;
