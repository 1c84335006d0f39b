//! Says in plain lines what a reload changes. Decides nothing.

use std::fmt;
use std::sync::Arc;

use super::{Changed, Diff, UpstreamChange, app_parts};
use crate::app::App;
use crate::file::declare::texts;
use crate::file::sections::listen::REUSE_PORT;
use crate::plan::{Listen, NodeBounds, NodeSpec, Scheme, Upstream};

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changed");
        }
        f.write_str(&self.lines().join("\n"))
    }
}

impl Diff {
    fn lines(&self) -> Vec<String> {
        let Self { listens, upstreams, apps, .. } = self;
        let listen = |sign: &str, listen: &Listen| {
            format!("listen {sign} {} ({})", listen.address, words(&listen.scheme))
        };
        let upstream = |sign: &str, upstream: &Upstream| {
            let nodes: Vec<&str> = upstream.nodes.iter().map(|node| &*node.written).collect();
            let from = upstream.app.as_ref().map_or_else(|| nodes.join(", "), |app| format!("app {app}"));
            format!("upstream {sign} {} ({from})", upstream.name)
        };
        let app = |sign: &str, app: &App| format!("app {sign} {} ({})", app.name, app.shown);
        let mut lines: Vec<String> = Vec::new();
        lines.extend(listens.added.iter().map(|added| listen("+", added)));
        lines.extend(listens.removed.iter().map(|removed| listen("-", removed)));
        lines.extend(listens.changed.iter().map(changed_listen));
        lines.extend(upstreams.added.iter().map(|added| upstream("+", added)));
        lines.extend(upstreams.removed.iter().map(|removed| upstream("-", removed)));
        lines.extend(upstreams.changed.iter().map(changed_upstream));
        lines.extend(apps.added.iter().map(|added| app("+", added)));
        lines.extend(apps.removed.iter().map(|removed| app("-", removed)));
        lines.extend(apps.changed.iter().map(changed_app));
        lines.extend(self.routes.iter().cloned());
        let parts = self.parts();
        lines.extend((!parts.is_empty()).then(|| format!("changed: {}", parts.join(", "))));
        lines.extend(
            (!self.needs_restart.is_empty())
                .then(|| format!("needs a restart: {}", self.needs_restart.join(", "))),
        );
        lines
    }
}

fn changed_listen(Changed { old, new }: &Changed<Listen>) -> String {
    let address = new.address;
    match (words(&old.scheme), words(&new.scheme)) {
        _ if old.differences(new).iter().all(|key| key.name == REUSE_PORT.name) => {
            format!("listen {address}: reuse_port counts when it is opened next")
        }
        (before, after) if before != after => format!("listen {address}: {before} to {after}"),
        _ if old.proxy_protocol != new.proxy_protocol => {
            let now = if new.proxy_protocol { "with" } else { "without" };
            format!("listen {address}: new connections begin {now} a PROXY header")
        }
        _ if (&old.allow, &old.deny) != (&new.allow, &new.deny) => {
            format!("listen {address}: new connections are taken of other addresses")
        }
        _ if old.client_certificates != new.client_certificates => {
            format!("listen {address}: new connections are asked for other client certificates, or for none")
        }
        _ if old.tls_profile != new.tls_profile => {
            format!("listen {address}: new connections have another tls_profile")
        }
        _ => format!("listen {address}: other certificates"),
    }
}

fn changed_upstream(change: &UpstreamChange) -> String {
    let nodes = &change.nodes;
    let mut said: Vec<String> = Vec::new();
    said.extend(nodes.added.iter().map(|node| format!("+ {}", node.written)));
    said.extend(nodes.removed.iter().map(|node| format!("- {}", node.written)));
    said.extend(nodes.changed.iter().map(changed_node));
    said.extend(change.parts().into_iter().map(|part| part.text));
    format!("upstream {}: {}", change.upstream.new.name, said.join(", "))
}

fn changed_app(change: &Changed<Arc<App>>) -> String {
    format!("app {}: {}", change.new.name, texts(&app_parts(change)))
}

fn changed_node(Changed { old, new }: &Changed<NodeSpec>) -> String {
    let weight = (old.weight != new.weight).then(|| format!("weight {} to {}", old.weight, new.weight));
    let backup = (old.backup != new.backup)
        .then(|| (if new.backup { "now a backup" } else { "no backup any more" }).to_owned());
    let bound = |name: &str, old: Option<usize>, new: Option<usize>| {
        let number =
            |bound: Option<usize>| bound.map_or_else(|| "none".to_owned(), |bound| bound.to_string());
        (old != new).then(|| format!("{name} {} to {}", number(old), number(new)))
    };
    let NodeBounds { connections_max, sessions_max } = old.bounds;
    let connections = bound("max_connections", connections_max, new.bounds.connections_max);
    let sessions = bound("max_sessions", sessions_max, new.bounds.sessions_max);
    let said: Vec<String> = weight.into_iter().chain(backup).chain(connections).chain(sessions).collect();
    format!("~ {} ({})", new.written, said.join(", "))
}

fn words(scheme: &Scheme) -> String {
    match scheme {
        Scheme::Plain => "http".to_owned(),
        Scheme::RedirectToHttps { port: None } => "redirect to https".to_owned(),
        Scheme::RedirectToHttps { port: Some(port) } => format!("redirect to https on port {port}"),
        Scheme::Tls(_) | Scheme::Automatic { .. } => "https".to_owned(),
    }
}
