//! `[upstream.NAME]`.

use std::time::Duration;

use super::admission::{ADMISSION, Admission};
use super::health::{HEALTH, Health};
use super::node_tls::{NODE_TLS, NodeTls};
use super::outliers::{OUTLIERS, Outliers};
use super::rebalance::{REBALANCE, Rebalance};
use super::timeouts::{OwnTimeouts, Timeouts, UPSTREAM_TIMEOUTS};
use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::app::AppName;
use crate::file::kinds::choices::{BalanceChoice, StickyChoice};
use crate::file::kinds::headers::HeaderNames;
use crate::file::kinds::hosts::HostHeader;
use crate::file::kinds::nodes::NodeList;
use crate::file::kinds::{Flag, OrNone, Time};
use crate::plan::values::{Balance, NodeSpec, Sticky};
use crate::problem::Problem;

declare! {
    /// A named pool of nodes.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Upstream in UPSTREAM = "upstream", Named: "A named pool of nodes. At least one, unless no route asks nodes.";
    given UpstreamParts {
        /// Its key in the file.
        name: String;
        /// What stands before each path that nodes are asked for: empty, or a path without a slash at its end.
        base: String;
        /// The plan's own, with what this upstream says otherwise.
        timeouts: Timeouts;
    }
    handed {
        /// The running backends: "host:port", or `{ address = "host:port", weight = 1, … }` to say more. A name with several
        /// addresses is several nodes, and is asked for again while tidelock runs: see `[resolver]`.
        /// "srv:_chat._tcp.example.com" stands for what SRV records name, with their ports and weights; those whose priority
        /// is not the lowest are backups. "unix:/run/app.sock" is a Unix socket on this machine, of at most 107 bytes.
        /// "https://host" speaks TLS, on port 443 if none is said: see `[upstream.NAME.tls]`. A path behind it, as in
        /// "http://host:3000/base", stands before each path that is asked for; it is the same for all nodes, and what answers
        /// say of it in Location and cookies is put right.
        NODES nodes: Vec<NodeSpec> => "the nodes are the processes of `app`", NodeList;
        /// The NAME of an `[app.NAME]`, whose processes are the nodes, in the place of `nodes`.
        APP app: Option<String> => "the nodes are those in `nodes`", AppName;
    }
    keys {
        /// What keeps a client on its node. A session of Engine.IO stays on its node by a tag behind its id, whatever
        /// this says but "none". A node that is down, draining or removed is left, and so is a full one by what begins a
        /// session. In a drain the plain requests of a client with our cookie stay for `drain.window`. The cookie holds a
        /// code of the node keyed by `sticky_secret`, and is HttpOnly; a CDN in front has to pass it on. With Socket.IO's
        /// connection state recovery, and an adapter that keeps missed messages on its node (that is memory's, and Redis
        /// pub/sub's), "ip" brings a client that lost its connection back to them. Where there is no session of
        /// Engine.IO:
        /// - "auto", or "auto:NAME": a cookie of ours, which the nodes do not see, set when the app sets one of its own,
        ///   so that logins which the app keeps in its process hold; as long-lived and for the same hosts as the app's.
        ///   Without NAME it is called "tidelock-", the name of the upstream and a name of the key
        /// - "cookie", or "cookie:NAME": the same cookie with the first answer that no shared cache may keep, for apps
        ///   whose state has no cookie; over HTTPS Secure and SameSite=None
        /// - "ip", "header:NAME", "query:NAME", "path:N" (the N-th segment of the path, 1 to 16; SockJS is "path:3"): the
        ///   node follows from what the request says, by rendezvous hashing, on every tidelock alike; when a node is
        ///   added only its share moves. Of an IPv6 address the first 64 bits count
        /// - "engineio": the tag alone, for apps whose sessions are in a shared store; "engineio-learned": the id itself,
        ///   learned from the handshake, for apps that compare ids
        /// - "none": nothing
        STICKY sticky: Sticky = Sticky::Auto(None), StickyChoice;
        /// Who gets the next one:
        /// - "least-sessions": the node with the fewest sessions for its weight, or with the fewest requests under way
        ///   for requests that are no session's
        /// - "round-robin": one after the other, smoothly by weight
        /// - "least-requests": the fewest requests under way for its weight; a WebSocket is one. Requests are counted on
        ///   the 32 nodes whose turn is next, where there are more; sessions are counted on all
        /// - "random-two": of two drawn by weight, the one with fewer of them
        /// - "peak-ewma": of two drawn by weight, the one that answers sooner: latency times requests under way
        /// - "hash:ip", "hash:header:NAME", "hash:cookie:NAME", "hash:query:NAME": the same node for the same value, as
        ///   above, but a full one is passed over by everything; "least-sessions" for requests without it
        BALANCE balance: Balance = Balance::LeastSessions, BalanceChoice;
        /// Sent to the nodes as Host.
        HOST host: Option<String> => "what the client sent", HostHeader;
        /// Headers that the nodes get though they came from somebody who is no trusted proxy, and that are dropped
        /// otherwise: "CF-Connecting-IP". See docs/proxies.md for all of them.
        PASS_HEADERS pass_headers: Vec<String> = Vec::new(), HeaderNames;
        /// Whether nodes are told who the client is by Forwarded (RFC 7239), too, beside X-Forwarded-For, -Proto and -Host.
        FORWARDED forwarded: bool = false, Flag;
        /// A GET, HEAD or OPTIONS without a session whose node has not begun to answer by then is asked of another node, if there
        /// is one; "none" waits as long as `timeouts.answer`.
        TRY_TIMEOUT try_timeout: Option<Duration> = None,
            OrNone<Time>(Time { least: Duration::from_millis(10), most: Duration::from_hours(1) });
    }
    also { NODES, APP, UPSTREAM_TIMEOUTS }
    flat {
        /// How a crowd is kept from overrunning the nodes.
        ADMISSION admission: Admission;
    }
    tables {
        /// How it is seen that nodes are well.
        HEALTH health: Health, checked;
        /// Whether sessions are moved to nodes that have fewer.
        REBALANCE rebalance: Rebalance;
        /// What is held against a node.
        OUTLIERS outliers: Outliers;
        /// How nodes at `https://` are spoken with.
        NODE_TLS tls: NodeTls;
    }
}

/// Reads one upstream; `timeouts` are the file's own. Nothing if it has no nodes or no usable name, which has been
/// told then.
pub(crate) fn read(fields: &Fields<'_>, timeouts: &Timeouts) -> Option<Upstream> {
    let named = check_name(fields, "an upstream");
    let (nodes, app) = nodes_or_app(fields);
    let parts = UpstreamParts {
        name: fields.name.to_owned(),
        base: nodes.iter().flatten().next().map(|node| node.base.clone()).unwrap_or_default(),
        nodes: nodes.clone().unwrap_or_default(),
        app,
        timeouts: timeouts.with(OwnTimeouts::read(&fields.one(&UPSTREAM_TIMEOUTS))),
    };
    let upstream = Upstream::read(fields, parts);
    upstream.demand_moves(fields);
    if let Some(nodes) = &nodes {
        NodeTls::demand_sense(fields, nodes);
    }
    named?;
    nodes?;
    Some(upstream)
}

impl Upstream {
    /// One of a single node that no table has; `root` is the file.
    pub(crate) fn of_node(root: &Fields<'_>, name: &str, node: NodeSpec, timeouts: &Timeouts) -> Self {
        let nothing = root.nothing();
        let parts = UpstreamParts {
            name: name.to_owned(),
            base: node.base.clone(),
            nodes: vec![node],
            app: None,
            timeouts: timeouts.with(OwnTimeouts::read(&nothing)),
        };
        Self::read(&nothing, parts)
    }

    /// Sessions that come back to the node that they were moved from would be moved for ever.
    fn demand_moves(&self, fields: &Fields<'_>) {
        let moves = matches!(
            self.sticky,
            Sticky::Auto(_) | Sticky::EngineIo | Sticky::EngineIoLearned | Sticky::None
        );
        if self.rebalance.percent == 0 || (moves && self.balance == Balance::LeastSessions) {
            return;
        }
        let at_fault = if moves { BALANCE.name } else { STICKY.name };
        let problem = Problem::error(
            fields.span_of(REBALANCE.name),
            "sessions that are moved here would come back to their node",
        );
        let problem = match fields.span_of(at_fault) {
            Some(span) => problem.related(span, "because of this"),
            None => problem,
        };
        fields.push(problem.hint(
            "`rebalance` goes with `balance = \"least-sessions\"` and `sticky = \"auto\"`, \"engineio\", \
             \"engineio-learned\" or \"none\"",
        ));
    }
}

/// Where the nodes come from: they are listed, or they are an app's processes. Having both or neither is told, and
/// is `(None, None)`.
fn nodes_or_app(fields: &Fields<'_>) -> (Option<Vec<NodeSpec>>, Option<String>) {
    let nodes = fields.optional(&NODES);
    let app = fields.optional(&APP);
    match (fields.has(NODES.name), fields.has(APP.name)) {
        (true, false) => (nodes, None),
        (false, true) => (app.is_some().then(Vec::new), app),
        (true, true) => {
            fields.push(
                Problem::error(fields.span_of(APP.name), "an upstream has `nodes` or `app`, not both")
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

/// Longest name of an upstream or an app.
const NAME_BYTES_MAX: usize = 64;
