//! Whom a file trusts to speak for its clients: addresses, networks, and names of lists of networks.

use std::net::IpAddr;
use std::ops::Range;

use ipnet::IpNet;
use serde_json::{Map, Value as Json, json};

use super::{quote, schema};
use crate::file::declared::{Kind, Written};
use crate::file::given::Given;

/// A list of addresses, networks and names of lists.
pub(crate) struct Trusted;

/// One element of it.
#[derive(Debug, Clone)]
pub(crate) enum Trusts {
    Network(IpNet),
    /// A list, and where it is named.
    List(String, Range<usize>),
}

impl Kind for Trusted {
    type Read = Vec<Trusts>;

    fn read(&self, given: Given<'_>) -> Option<Vec<Trusts>> {
        let example = "[\"10.0.0.0/8\"]";
        let trusts =
            given.elements("a list of addresses, networks and names", example)?.filter_map(|element| {
                let text = element.text("addresses, networks and names", || quote("10.0.0.0/8"))?;
                let is_name = text.starts_with(|first: char| first.is_ascii_alphabetic())
                    && !text.contains([':', '/', '.']);
                match network_of(text) {
                    Some(network) => Some(Trusts::Network(network)),
                    None if is_name => Some(Trusts::List(text.to_owned(), element.value.span())),
                    None => element.refuse(
                        format!("\"{text}\" is neither an address nor a network"),
                        Some("write \"192.0.2.7\", \"10.0.0.0/8\" or \"fd00::/8\"".to_owned()),
                    ),
                }
            });
        Some(trusts.collect())
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "string" } }))
    }
}

impl Written for Trusted {
    fn written(&self, value: &Vec<Trusts>) -> Json {
        let written = value.iter().map(|trusts| match trusts {
            Trusts::Network(network) => network.to_string(),
            Trusts::List(name, _) => name.clone(),
        });
        json!(written.collect::<Vec<_>>())
    }
}

/// An address is the network of itself.
pub(crate) fn network_of(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse::<IpNet>().ok()?,
    };
    Some(network.trunc())
}
