//! Reads `[upstream.NAME]` and its nodes.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::app_keys::UPSTREAM_APP;
use super::care;
use super::declared::Kind;
use super::fields::{Fields, Given};
use super::hosts::HostAndPort;
use super::keys;
use super::kinds::schema;
use super::rebalance;
use super::sections::outliers::OUTLIERS;
use super::sections::timeouts::UPSTREAM_TIMEOUTS;
use crate::plan::{NodeBounds, NodeHost, NodeSpec, Outliers, Timeouts, Upstream};
use crate::problem::Problem;

/// The nodes of an upstream: not empty, none twice, not only backups.
pub(crate) struct NodeList;

/// Reads one upstream; `timeouts` are the file's own. Nothing if it has no nodes or no usable name, which has been
/// told then.
pub(crate) fn read(fields: &Fields<'_>, timeouts: &Timeouts) -> Option<Upstream> {
    let named = check_name(fields, "an upstream");
    let (nodes, app) = nodes_or_app(fields);
    let timeouts = timeouts.at_upstream(&fields.one(&UPSTREAM_TIMEOUTS));
    let sticky = fields.or_default(&keys::STICKY);
    let balance = fields.or_default(&keys::BALANCE);
    let rebalance = rebalance::read(fields, &sticky, &balance);
    let host = fields.optional(&keys::UPSTREAM_HOST);
    let pass_headers = fields.or_default(&keys::PASS_HEADERS);
    let try_timeout = fields.or_default(&keys::care::TRY_TIMEOUT);
    let health = care::health(&fields.one(&keys::care::HEALTH));
    let outliers = Outliers::read(&fields.one(&OUTLIERS));
    let admission = care::admission(fields);
    named?;
    Some(Upstream {
        name: fields.name.to_owned(),
        nodes: nodes?,
        app,
        sticky,
        balance,
        rebalance,
        host,
        pass_headers,
        timeouts,
        try_timeout,
        health,
        outliers,
        admission,
    })
}

/// Where the nodes come from: they are listed, or they are an app's processes.
fn nodes_or_app(fields: &Fields<'_>) -> (Option<Vec<NodeSpec>>, Option<String>) {
    let nodes = fields.optional(&keys::NODES);
    let app = fields.optional(&UPSTREAM_APP);
    match (fields.has(keys::NODES.name), fields.has(UPSTREAM_APP.name)) {
        (true, false) => (nodes, None),
        (false, true) => (app.is_some().then(Vec::new), app),
        (true, true) => {
            fields.push(
                Problem::error(
                    fields.span_of(UPSTREAM_APP.name),
                    "an upstream has `nodes` or `app`, not both",
                )
                .hint("two upstreams can have one each; leave one of them out here"),
            );
            (None, None)
        }
        (false, false) => {
            fields.push(
                Problem::error(fields.span.clone(), "`nodes` is missing here")
                    .hint("write `nodes = [\"127.0.0.1:3000\"]`, or `app = \"NAME\"` if tidelock runs them"),
            );
            (None, None)
        }
    }
}

/// Names stand in logs, metrics and on the command line, where nothing should have to be quoted.
pub(crate) fn check_name(fields: &Fields<'_>, whose: &str) -> Option<()> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=NAME_BYTES_MAX).contains(&fields.name.len()) && fields.name.bytes().all(fits) {
        return Some(());
    }
    fields.push(
        Problem::error(fields.span.clone(), format!("\"{}\" cannot be the name of {whose}", fields.name))
            .hint(format!("a name is 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`")),
    );
    None
}

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
        if !nodes.is_empty() && nodes.iter().all(|node| node.backup) {
            let hint = "a backup stands in for the others: leave `backup` out of at least one";
            return given.refuse("every node here is a backup", Some(hint.to_owned()));
        }
        Some(nodes)
    }

    fn schema(&self) -> Map<String, Json> {
        let address = Json::Object(keys::NODE_ADDRESS.kind.schema());
        let node = json!({ "anyOf": [address, crate::schema::section(&keys::NODE)] });
        schema(json!({ "type": "array", "minItems": 1, "items": node }))
    }
}

fn node(element: Given<'_>) -> Option<NodeSpec> {
    let DeValue::Table(_) = element.value.get_ref() else {
        let HostAndPort { written, host, port } = keys::NODE_ADDRESS.kind.read(element)?;
        let weight = u32::try_from(keys::WEIGHT.absent.0).ok()?;
        let backup = keys::BACKUP.absent.0;
        return Some(NodeSpec { written, host, port, weight, backup, bounds: NodeBounds::default() });
    };
    let fields = element.table(&keys::NODE)?;
    let count = |key| fields.optional(key).and_then(|count| usize::try_from(count).ok());
    let weight = fields.or_default(&keys::WEIGHT);
    let backup = fields.or_default(&keys::BACKUP);
    let bounds = NodeBounds {
        connections_max: count(&keys::MAX_CONNECTIONS),
        sessions_max: count(&keys::MAX_SESSIONS),
    };
    let HostAndPort { written, host, port } = fields.required(&keys::NODE_ADDRESS)?;
    if matches!(host, NodeHost::Service(_)) && fields.has(keys::WEIGHT.name) {
        refuse_weight(&fields);
    }
    Some(NodeSpec { written, host, port, weight: u32::try_from(weight).ok()?, backup, bounds })
}

/// A share that is written here would say nothing about the nodes that the records name tomorrow.
fn refuse_weight(fields: &Fields<'_>) {
    let span = fields.span_of(keys::WEIGHT.name);
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
        NodeHost::Name(_) | NodeHost::Address(_) => {
            problem.hint("to give it a larger share of the load, write `{ address = \"…\", weight = 2 }`")
        }
    });
}

/// Longest name of an upstream or an app.
const NAME_BYTES_MAX: usize = 64;
