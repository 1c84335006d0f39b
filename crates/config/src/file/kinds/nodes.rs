//! The nodes of an upstream: addresses, and tables where one is more than its address.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::node_address::{NodeAddress, NodePlace};
use super::{Count, Flag, schema};
use crate::file::declare::declare;
use crate::file::declared::Kind;
use crate::file::fields::Fields;
use crate::file::given::Given;
use crate::plan::values::{NodeBounds, NodeHost, NodeSpec};
use crate::problem::Problem;

/// The nodes of an upstream: not empty, none twice, not only backups.
pub(crate) struct NodeList;

impl Kind for NodeList {
    type Read = Vec<NodeSpec>;

    fn read(&self, given: Given<'_>) -> Option<Vec<NodeSpec>> {
        let elements: Vec<Given<'_>> = given.elements("a list of nodes", "[\"127.0.0.1:3000\"]")?.collect();
        if elements.is_empty() {
            let hint = "list where the app listens: `nodes = [\"127.0.0.1:3000\"]`";
            return given.refuse("an upstream needs a node", Some(hint.to_owned()));
        }
        let mut seen: HashMap<(NodeHost, u16), Range<usize>> = HashMap::new();
        let mut nodes = Vec::with_capacity(elements.len());
        for &element in &elements {
            let Some(node) = node(element) else { continue };
            match seen.get(&(node.host.clone(), node.port)) {
                Some(first) => twice(element, &node, first),
                None => {
                    seen.insert((node.host.clone(), node.port), element.value.span());
                    nodes.push(node);
                }
            }
        }
        // What routes and probes ask for is asked of any of them.
        if let [first, rest @ ..] = &nodes[..]
            && let Some(other) = rest.iter().find(|other| other.base != first.base)
        {
            let path =
                |node: &NodeSpec| if node.base.is_empty() { "/".to_owned() } else { node.base.clone() };
            let message =
                format!("the nodes of an upstream have one path, not {} and {}", path(first), path(other));
            return given.refuse(message, Some("two upstreams can have one each".to_owned()));
        }
        if !nodes.is_empty() && nodes.iter().all(|node| node.backup) {
            let hint = "a backup stands in for the others: leave `backup` out of at least one";
            return given.refuse("every node here is a backup", Some(hint.to_owned()));
        }
        Some(nodes)
    }

    fn schema(&self) -> Map<String, Json> {
        let address = Json::Object(NodeAddress.schema());
        let node = json!({ "anyOf": [address, NODE.section.schema()] });
        schema(json!({ "type": "array", "minItems": 1, "items": node }))
    }
}

fn node(element: Given<'_>) -> Option<NodeSpec> {
    let DeValue::Table(_) = element.value.get_ref() else {
        let NodePlace { written, host, port, tls_name, base } = NodeAddress.read(element)?;
        let (weight, backup) = (u32::try_from(WEIGHT.absent.0).ok()?, BACKUP.absent.0);
        let bounds = NodeBounds::default();
        return Some(NodeSpec { written, host, port, tls_name, base, weight, backup, bounds });
    };
    let fields = element.table(NODE.section)?;
    // All that is wrong is told, and not the first of it alone.
    let address = fields.required(&ADDRESS);
    let NodeTable { address, weight, backup, max_connections, max_sessions } =
        NodeTable::read(&fields, NodeParts { address });
    let bounds = NodeBounds { connections_max: max_connections, sessions_max: max_sessions };
    let NodePlace { written, host, port, tls_name, base } = address?;
    if matches!(host, NodeHost::Service(_)) && fields.has(WEIGHT.name) {
        refuse_weight(&fields);
    }
    Some(NodeSpec { written, host, port, tls_name, base, weight, backup, bounds })
}

/// A share that is written here would say nothing about the nodes that the records name tomorrow.
fn refuse_weight(fields: &Fields<'_>) {
    let span = fields.span_of(WEIGHT.name);
    fields.push(
        Problem::error(span, "SRV records have weights of their own")
            .hint("leave `weight` out, and set it in the records"),
    );
}

fn twice(element: Given<'_>, node: &NodeSpec, first: &Range<usize>) {
    let written = &node.written;
    let problem =
        Problem::error(element.value.span(), format!("\"{written}\" is a node of this upstream already"))
            .related(first.clone(), "here it is first");
    element.push(match node.host {
        NodeHost::Service(_) => problem.hint("leave one of them out"),
        NodeHost::Name(_) | NodeHost::Address(_) | NodeHost::Unix(_) => {
            problem.hint("to give it a larger share of the load, write `{ address = \"…\", weight = 2 }`")
        }
    });
}

declare! {
    /// One node, where it is more than its address.
    struct NodeTable in NODE = "node", One: "A node that is more than its address.";
    given NodeParts {}
    handed {
        /// "host:port", "https://host", "unix:/run/app.sock", or "srv:" and the name of SRV records.
        ADDRESS address: Option<NodePlace> => required "\"127.0.0.1:3000\"", NodeAddress;
    }
    keys {
        /// Share of the load: a node of weight 2 gets twice the sessions of one of weight 1.
        WEIGHT weight: u32 = 1, Count { least: 1, most: 256 };
        /// Used only while no other node that is up has room.
        BACKUP backup: bool = false, Flag;
        /// Most requests under way and tunnels at once; beyond it the node is passed over. Requests of sessions that are there
        /// already are not held to it.
        MAX_CONNECTIONS max_connections: Option<usize> => "no bound", Count { least: 1, most: 1_000_000 };
        /// Most sessions at once; beyond it new ones go to other nodes.
        MAX_SESSIONS max_sessions: Option<usize> => "no bound", Count { least: 1, most: 10_000_000 };
    }
    also { ADDRESS }
}
