//! What a route changes of what passes, and how long it waits.

use std::sync::Arc;

use super::upstreams::Upstreams;
use crate::file::fields::Fields;
use crate::file::sections::route::{self as keys, RouteTable};
use crate::file::sections::timeouts::ROUTE_TIMEOUTS;
use crate::plan::{Timeouts, Upstream, UpstreamId};
use crate::problem::Problem;
use crate::routing::{
    Action, Edits, ErrorPages, HeaderEdits, Methods, NodeTimeouts, PathEdit, PathPattern, Policy, Template,
};

/// What a route changes on the way by itself.
pub(super) fn edits(fields: &Fields<'_>, table: &RouteTable, path: Option<&PathPattern>) -> Edits {
    let mut request = table.request_headers.clone().unwrap_or_default();
    let edits = Edits {
        path: path_edit(fields, table, path),
        host: take_host(&mut request),
        request,
        response: table.response_headers.clone().unwrap_or_default(),
        policy: Policy {
            is_secure: table.secure_headers,
            hsts: table.hsts.clone(),
            cors: table.cors.clone(),
        },
        request_ids: table.request_id,
        compress: table.compress.clone().map(Arc::new),
        ..Edits::default()
    };
    demand_nodes(fields, &edits);
    edits
}

/// Takes what nodes get as Host, in the place of the client's, out of the lines that are set.
fn take_host(request: &mut HeaderEdits) -> Option<Template> {
    let at = request.set.iter().position(|(name, _)| name.eq_ignore_ascii_case("host"))?;
    Some(request.set.remove(at).1)
}

fn path_edit(fields: &Fields<'_>, table: &RouteTable, path: Option<&PathPattern>) -> Option<PathEdit> {
    if table.strip && fields.has(keys::REWRITE.name) {
        let problem =
            Problem::error(fields.span_of(keys::REWRITE.name), "`strip` and `rewrite` change the same path");
        fields.push(problem.hint("`rewrite = { prefix = \"/v2\" }` strips the prefix already"));
    }
    let strip = table.strip.then(|| PathEdit::Prefix(String::new()));
    let edit = table.rewrite.clone().or(strip)?;
    let is_prefix = matches!(path, Some(PathPattern::Prefix(_)) | None);
    if matches!(edit, PathEdit::Prefix(_)) && !is_prefix {
        let key = if fields.has(keys::REWRITE.name) { keys::REWRITE.name } else { keys::STRIP.name };
        fields.push(
            Problem::error(fields.span_of(key), "there is no prefix here to take away")
                .hint("it goes with `path`; behind `regex` write `rewrite = \"/{1}\"`"),
        );
        return None;
    }
    Some(edit)
}

/// What is said of nodes says nothing where none is asked.
fn demand_nodes(fields: &Fields<'_>, edits: &Edits) {
    if fields.has(keys::UPSTREAM.name) {
        return;
    }
    let names_node = |lines: &[(String, Template)]| lines.iter().any(|(_, value)| value.names_node());
    if names_node(&edits.response.set) || names_node(&edits.response.add) {
        let span = fields.span_of(keys::RESPONSE_HEADERS.name);
        let problem = Problem::error(span, "`{node}` is the node that answers, and this route asks none");
        fields.push(problem.hint("leave it out, or answer by an `upstream`"));
    }
    let changes_path = edits.path.is_some() && !fields.has(keys::FILES.name);
    if changes_path || edits.host.is_some() || !edits.request.is_empty() {
        let keys = [keys::STRIP.name, keys::REWRITE.name, keys::REQUEST_HEADERS.name];
        let key = keys.into_iter().find(|key| fields.has(key)).unwrap_or_default();
        fields.push(
            Problem::error(fields.span_of(key), format!("`{key}` is for nodes, and this route asks none"))
                .hint("leave it out, or answer by an `upstream`"),
        );
    }
}

/// What stands before the paths that its upstream is asked for.
pub(super) fn base(action: Option<&Action>, upstreams: &Upstreams<'_>) -> String {
    upstream(action, upstreams).map(|upstream| upstream.base.clone()).unwrap_or_default()
}

fn upstream<'u>(action: Option<&Action>, upstreams: &'u Upstreams<'_>) -> Option<&'u Upstream> {
    let UpstreamId(number) = action?.upstream()?;
    upstreams.read.get(number)
}

/// How long the requests of a route wait, if it says so.
pub(super) fn timeouts(
    fields: &Fields<'_>,
    table: &RouteTable,
    action: Option<&Action>,
    upstreams: &Upstreams<'_>,
) -> Option<NodeTimeouts> {
    if !fields.has(ROUTE_TIMEOUTS.name) {
        return None;
    }
    if action?.upstream().is_none() {
        let message = "`timeouts` is for nodes, and this route asks none";
        let problem = Problem::error(fields.span_of(ROUTE_TIMEOUTS.name), message);
        fields.push(problem.hint("leave it out, or answer by an `upstream`"));
        return None;
    }
    let Timeouts { connect, body, answer, tunnel, .. } =
        upstream(action, upstreams)?.timeouts.with(table.timeouts);
    Some(NodeTimeouts { connect, body, answer, tunnel })
}

/// The pages that come in the place of what nodes answer, if the route wants that.
pub(super) fn intercepts(
    fields: &Fields<'_>,
    table: &RouteTable,
    action: Option<&Action>,
    pages: &Arc<ErrorPages>,
) -> Option<Arc<ErrorPages>> {
    if !table.intercept_errors {
        return None;
    }
    let refuse = |message: &str, hint: &str| {
        fields.push(Problem::error(fields.span_of(keys::INTERCEPT_ERRORS.name), message).hint(hint));
        None
    };
    if action.is_some_and(|action| action.upstream().is_none()) {
        return refuse(
            "`intercept_errors` is for nodes, and this route asks none",
            "leave it out, or answer by an `upstream`",
        );
    }
    if **pages == ErrorPages::default() {
        return refuse(
            "there is no page that would come in the place of an answer",
            "add `error_pages = { 5xx = \"pages/5xx.html\" }`",
        );
    }
    Some(pages.clone())
}

/// A preflight is a request of its own, and a route that does not take it does not answer it.
pub(super) fn warn_of_preflights(fields: &Fields<'_>, methods: Option<Methods>) {
    if fields.has(keys::CORS.name) && methods.is_some_and(|methods| !methods.contains(b"OPTIONS")) {
        let message = "no preflight comes to this route, for `methods` has no OPTIONS";
        fields.push(Problem::warning(fields.span_of(keys::CORS.name), message).hint(
            "add \"OPTIONS\" to `methods`; only what needs no preflight can be read by other origins otherwise",
        ));
    }
}
