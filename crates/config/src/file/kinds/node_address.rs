//! Where a node is: a host and a port, a Unix socket, the name of SRV records, or a URL that says how it is spoken with.
//! Pure text; no name is looked up.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::{Map, Value as Json, json};

use super::hosts::{bracketed, is_name};
use super::{quote, schema};
use crate::file::declared::Kind;
use crate::file::given::Given;
use crate::plan::values::NodeHost;
use crate::roster::why_no_node;

/// The host and port of a node.
pub(crate) struct NodeAddress;

/// What [`NodeAddress`] reads; the port is 0 where SRV records say it, and where there is none.
#[derive(PartialEq)]
pub(crate) struct NodePlace {
    pub(crate) written: String,
    pub(crate) host: NodeHost,
    pub(crate) port: u16,
    /// The host as its certificate has to name it, where it speaks TLS.
    pub(crate) tls_name: Option<String>,
    /// What stands before each path that it is asked for, without a slash at its end.
    pub(crate) base: String,
}

/// How a URL says that a node is spoken with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    const ALL: [(&str, Self); 2] = [("http", Self::Http), ("https", Self::Https)];

    /// The port that it means by itself (RFC 9110 sections 4.2.1 and 4.2.2).
    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Kind for NodeAddress {
    type Read = NodePlace;

    fn read(&self, given: Given<'_>) -> Option<NodePlace> {
        let text = given.text("the host and port of a node", || quote("server1.example.com:3000"))?;
        Self::read_text(given, text)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": format!(":[0-9]+$|^{SRV}|^{UNIX}/|^https?://") }))
    }
}

impl NodeAddress {
    /// Reads the address of a node in `text`, which is `given`, or a part of it.
    pub(crate) fn read_text(given: Given<'_>, text: &str) -> Option<NodePlace> {
        if let Some(name) = text.strip_prefix(SRV) {
            return service(given, text, name);
        }
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix_socket(given, text, path);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            let (host, port) = host_and_port(given, text, text, None)?;
            return Some(NodePlace {
                written: text.to_owned(),
                host,
                port,
                tls_name: None,
                base: String::new(),
            });
        };
        let Some(&(_, scheme)) = Scheme::ALL.iter().find(|(name, _)| scheme.eq_ignore_ascii_case(name))
        else {
            return given.refuse(format!("\"{text}\" is not the address of a node"), Some(node_hint(text)));
        };
        url(given, text, scheme, rest)
    }
}

/// Reads what stands behind `https://`.
fn url(given: Given<'_>, text: &str, scheme: Scheme, rest: &str) -> Option<NodePlace> {
    if [SRV, UNIX].iter().any(|start| rest.starts_with(start)) {
        let hint = format!("leave the scheme out: \"{rest}\"; TLS is for nodes at a host and a port");
        return given.refuse(format!("\"{text}\" is not the address of a node"), Some(hint));
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let refuse =
        |hint: &str| given.refuse(format!("\"{text}\" is not the URL of a node"), Some(hint.to_owned()));
    if authority.contains('@') {
        return refuse("a node gets no name and password from here; send them with `request_headers`");
    }
    if path.contains(['?', '#']) {
        return refuse("a query is the request's own; leave out what stands behind the path");
    }
    let is_dotted = path.split('/').any(|segment| matches!(segment, "." | ".."));
    if is_dotted || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refuse(
            "its path is what stands before each path that is asked for, as it is sent: \"/base\"",
        );
    }
    let (host, port) = host_and_port(given, text, authority, Some(scheme.port()))?;
    let name = match &host {
        NodeHost::Address(address) => address.to_string(),
        NodeHost::Name(name) | NodeHost::Service(name) => name.clone(),
        NodeHost::Unix(_) => String::new(),
    };
    let tls_name = (scheme == Scheme::Https).then_some(name);
    let base = path.trim_end_matches('/').to_owned();
    Some(NodePlace { written: text.to_owned(), host, port, tls_name, base })
}

/// Reads `host:port`. `default` is the port where none is said.
fn host_and_port(
    given: Given<'_>,
    text: &str,
    authority: &str,
    default: Option<u16>,
) -> Option<(NodeHost, u16)> {
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of a bare IPv6 address are not the one before a port.
        Some((host, port)) if host.starts_with('[') || !host.contains(':') => (host, Some(port)),
        _ => (authority, None),
    };
    // That of "[::1]" is none either.
    let (host, port) = if authority.ends_with(']') { (authority, None) } else { (host, port) };
    if authority.contains('/') {
        return given.refuse(format!("\"{text}\" is not the address of a node"), Some(node_hint(text)));
    }
    let node_host = match host.parse::<Ipv4Addr>() {
        Ok(address) => Some(NodeHost::Address(address.into())),
        Err(_) => bracketed(host)
            .map(|address| NodeHost::Address(address.into()))
            .or_else(|| is_name(host).then(|| NodeHost::Name(host.to_lowercase()))),
    };
    let said = port.map(|port| port.parse::<u16>().ok().filter(|&port| port != 0));
    let port = said.or(default.map(Some));
    if let Some(NodeHost::Address(address)) = node_host
        && let Some(why) = why_no_node(address)
    {
        let port = port.flatten().unwrap_or(3000);
        let hint =
            format!("write where the node is: \"10.0.0.7:{port}\", or \"127.0.0.1:{port}\" on this machine");
        return given.refuse(format!("\"{text}\" {why}"), Some(hint));
    }
    match (node_host, port) {
        (Some(host), Some(Some(port))) => Some((host, port)),
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
        (None, _) => given.refuse(format!("\"{text}\" is not the address of a node"), Some(node_hint(text))),
    }
}

/// Reads the name of SRV records. It need not be `_service._proto`: Consul and Docker answer for plain names too.
fn service(given: Given<'_>, text: &str, name: &str) -> Option<NodePlace> {
    let hint = match name.rsplit_once(':') {
        Some((host, _)) => format!("SRV records say the port: \"{SRV}{host}\""),
        None if is_name(name) => {
            let host = NodeHost::Service(name.to_lowercase());
            return Some(without_port(text, host));
        }
        None => format!("behind `{SRV}` stands the name of SRV records: \"{SRV}_chat._tcp.example.com\""),
    };
    given.refuse(format!("\"{text}\" is not the address of a node"), Some(hint))
}

/// Reads the path of a Unix socket. A path that begins somewhere would mean another socket after `cd`.
fn unix_socket(given: Given<'_>, text: &str, path: &str) -> Option<NodePlace> {
    let hint = if let Some(path) = path.strip_suffix(':').filter(|path| path.starts_with('/')) {
        format!("without the colon at the end: \"{UNIX}{path}\"")
    } else if !path.starts_with('/') {
        format!("the whole path, from the root: \"{UNIX}/run/app.sock\"")
    } else if path.len() > UNIX_PATH_BYTES_MAX {
        format!(
            "the system takes paths of {UNIX_PATH_BYTES_MAX} bytes at most for a socket: put it into /run"
        )
    } else if path.bytes().any(|byte| byte.is_ascii_control()) {
        "leave control characters out".to_owned()
    } else {
        let host = NodeHost::Unix(path.into());
        return Some(without_port(text, host));
    };
    given.refuse(format!("\"{text}\" is not the path of a Unix socket"), Some(hint))
}

/// A node whose place says all.
fn without_port(text: &str, host: NodeHost) -> NodePlace {
    NodePlace { written: text.to_owned(), host, port: 0, tls_name: None, base: String::new() }
}

/// Whether a name looks like those that SRV records have (RFC 2782): `_chat._tcp.example.com`.
fn is_service(name: &str) -> bool {
    name.starts_with('_') && ["._tcp.", "._udp."].iter().any(|protocol| name.contains(protocol))
}

/// What to write instead of something that is not the address of a node, by the mistake that it looks like.
fn node_hint(text: &str) -> String {
    if let Some((_, rest)) = text.split_once("://") {
        let authority = rest.split('/').next().unwrap_or(rest);
        format!("a node is spoken with by \"http://\" or \"https://\": \"http://{authority}\"")
    } else if let Ok(address) = text.parse::<IpAddr>() {
        format!("with its port that is \"{}\"", SocketAddr::new(address, 3000))
    } else if text.starts_with('/') {
        format!("a Unix socket is \"{UNIX}{text}\"")
    } else if text.contains('/') {
        format!("with a path it is a URL: \"http://{text}\"")
    } else {
        "a host and a port: \"server1.example.com:3000\", \"10.0.0.7:3000\" or \"[fd00::7]:3000\"".to_owned()
    }
}

/// What stands before the name of SRV records.
const SRV: &str = "srv:";
/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";
/// Of the 108 that unix(7) has room for, one is the zero at the end.
const UNIX_PATH_BYTES_MAX: usize = 107;
