//! What a route changes of what passes, and how long it waits.

use std::sync::Arc;

use super::upstreams::Upstreams;
use crate::file::fields::Fields;
use crate::file::kinds::route::rewrite::RewritePath;
use crate::file::sections::route as keys;
use crate::file::sections::timeouts::ROUTE_TIMEOUTS;
use crate::plan::{Timeouts, UpstreamId};
use crate::problem::Problem;
use crate::routing::{
    Action, Edits, ErrorPages, Methods, NodeTimeouts, PathEdit, PathPattern, Policy, Template,
};

/// What a route changes on the way.
pub(super) fn edits(fields: &Fields<'_>, path: Option<&PathPattern>) -> Option<Edits> {
    let pattern = match path {
        Some(PathPattern::Regex(pattern)) => Some(pattern),
        _ => None,
    };
    let mut edits = Edits {
        policy: Policy {
            is_secure: fields.or_default(&keys::SECURE_HEADERS),
            hsts: fields.optional(&keys::HSTS),
            cors: fields.optional(&keys::CORS),
        },
        request_ids: fields.optional(&keys::REQUEST_ID).flatten(),
        compress: fields.optional(&keys::COMPRESS).flatten().map(Arc::new),
        ..Edits::default()
    };
    if let Some(given) = fields.given(keys::REQUEST_HEADERS.name) {
        (edits.request, edits.host) = keys::REQUEST_HEADERS.kind.read_with(given, pattern)?;
    }
    if let Some(given) = fields.given(keys::RESPONSE_HEADERS.name) {
        (edits.response, _) = keys::RESPONSE_HEADERS.kind.read_with(given, pattern)?;
    }
    let names_node = |lines: &[(String, Template)]| lines.iter().any(|(_, value)| value.names_node());
    let says_node = names_node(&edits.response.set) || names_node(&edits.response.add);
    if says_node && !fields.has(keys::UPSTREAM.name) {
        let span = fields.span_of(keys::RESPONSE_HEADERS.name);
        let problem = Problem::error(span, "`{node}` is the node that answers, and this route asks none");
        fields.push(problem.hint("leave it out, or answer by an `upstream`"));
    }
    if fields.or_default(&keys::STRIP) {
        edits.path = Some(PathEdit::Prefix(String::new()));
    }
    if let Some(given) = fields.given(keys::REWRITE.name) {
        if edits.path.is_some() {
            let problem = Problem::error(
                fields.span_of(keys::REWRITE.name),
                "`strip` and `rewrite` change the same path",
            );
            fields.push(problem.hint("`rewrite = { prefix = \"/v2\" }` strips the prefix already"));
        }
        edits.path = RewritePath::read_with(given, pattern);
    }
    let is_prefix = matches!(path, Some(PathPattern::Prefix(_)) | None);
    if matches!(edits.path, Some(PathEdit::Prefix(_))) && !is_prefix {
        let key = if fields.has(keys::REWRITE.name) { keys::REWRITE.name } else { keys::STRIP.name };
        fields.push(
            Problem::error(fields.span_of(key), "there is no prefix here to take away")
                .hint("it goes with `path`; behind `regex` write `rewrite = \"/{1}\"`"),
        );
        edits.path = None;
    }
    let has_files = fields.has(keys::FILES.name);
    let changes_requests =
        (edits.path.is_some() && !has_files) || edits.host.is_some() || !edits.request.is_empty();
    if changes_requests && !fields.has(keys::UPSTREAM.name) {
        let keys = [keys::STRIP.name, keys::REWRITE.name, keys::REQUEST_HEADERS.name];
        let key = keys.into_iter().find(|key| fields.has(key)).unwrap_or_default();
        fields.push(
            Problem::error(fields.span_of(key), format!("`{key}` is for nodes, and this route asks none"))
                .hint("leave it out, or answer by an `upstream`"),
        );
    }
    Some(edits)
}

/// How long the requests of a route wait, if it says so.
pub(super) fn timeouts(
    fields: &Fields<'_>,
    action: Option<&Action>,
    upstreams: &Upstreams<'_>,
) -> Option<NodeTimeouts> {
    let own = Some(fields.one(&ROUTE_TIMEOUTS)).filter(|_| fields.has(ROUTE_TIMEOUTS.name))?;
    let Some(UpstreamId(number)) = action?.upstream() else {
        let message = "`timeouts` is for nodes, and this route asks none";
        let problem = Problem::error(fields.span_of(ROUTE_TIMEOUTS.name), message);
        fields.push(problem.hint("leave it out, or answer by an `upstream`"));
        return None;
    };
    let Timeouts { connect, body, answer, tunnel, .. } = upstreams.read.get(number)?.timeouts.at(&own);
    Some(NodeTimeouts { connect, body, answer, tunnel })
}

/// The pages that come in the place of what nodes answer, if the route wants that.
pub(super) fn intercepts(
    fields: &Fields<'_>,
    action: Option<&Action>,
    own: Option<&Arc<ErrorPages>>,
    others: &ErrorPages,
) -> Option<Arc<ErrorPages>> {
    if !fields.or_default(&keys::INTERCEPT_ERRORS) {
        return None;
    }
    let pages = own.cloned().unwrap_or_else(|| Arc::new(others.clone()));
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
    if *pages == ErrorPages::default() {
        return refuse(
            "there is no page that would come in the place of an answer",
            "add `error_pages = { 5xx = \"pages/5xx.html\" }`",
        );
    }
    Some(pages)
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
